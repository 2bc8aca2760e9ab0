// Tickets at the broker: whom it lets in by one, and what such a client may do. The handshake is over before.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/dataplane.hpp"

namespace klaw::dataplane::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// A client that comes by this ticket. What it hears is left to the test.
Peer& comes_by(BrokerByHand& broker, std::uint8_t number, std::uint8_t token) {
  Peer& peer = broker.unattached(number);
  peer.ticket = id_of<Token>(token);
  peer.attach();
  return peer;
}
Peer& holder(BrokerByHand& broker, std::uint8_t number, std::uint8_t token, Side side) {
  Peer& peer = comes_by(broker, number, token);
  peer.claim(1, token, side);
  EXPECT_THAT(peer.heard(), ElementsAre(HasSubstr("ATTACHED"), "OPENED 1"));
  return peer;
}

constexpr const char* kUsed = "REFUSED ticket: this ticket was used before: each is for one handle";
constexpr const char* kLapsed = "REFUSED ticket: this ticket has lapsed: it had to be used within 10 minutes";
constexpr const char* kUnknown =
    "REFUSED ticket: the channel does not know this ticket: it was used or has lapsed long ago";

TEST(BrokerTickets, ATicketIsOneHandleFromTheTimeThatItIsMade) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.hold(7, Side::sender);
  tx.close(1);
  EXPECT_EQ(broker.stats().sender_count, 1);
  Peer& other = holder(broker, 3, 7, Side::sender);
  EXPECT_EQ(broker.stats().sender_count, 1);
  other.close(1);
  rx.demand(1, 1, 1);
  EXPECT_THAT(rx.heard(), testing::Contains("END 1 ended"));
}

TEST(BrokerTickets, AUsedTicketLetsNobodyElseIn) {
  BrokerByHand broker;
  broker.sender(1).hold(7, Side::sender);
  holder(broker, 2, 7, Side::sender);
  Peer& late = comes_by(broker, 3, 7);
  EXPECT_THAT(late.heard(), ElementsAre(kUsed));
  EXPECT_EQ(broker.stats().sender_count, 2);
}

TEST(BrokerTickets, TheFirstThatComesByATicketHasItBeforeItOpensAHandle) {
  BrokerByHand broker;
  broker.sender(1).hold(7, Side::sender);
  Peer& first = comes_by(broker, 2, 7);
  EXPECT_THAT(comes_by(broker, 3, 7).heard(), ElementsAre(kUsed));
  (void)first.heard();
  first.claim(1, 7, Side::sender);
  EXPECT_THAT(first.heard(), ElementsAre("OPENED 1"));
}

TEST(BrokerTickets, ATicketStaysUsedWhenItsUserIsDead) {
  BrokerByHand broker;
  broker.sender(1).hold(7, Side::sender);
  const Peer& dead = holder(broker, 2, 7, Side::sender);
  broker.died(dead);
  EXPECT_EQ(broker.stats().sender_count, 1);
  EXPECT_THAT(comes_by(broker, 3, 7).heard(), ElementsAre(kUsed));
}

TEST(BrokerTickets, AUserThatDiesBeforeItHasItsHandleReleasesIt) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  tx.hold(7, Side::sender);
  broker.died(comes_by(broker, 2, 7));
  broker.pass(seconds(4), {&tx});
  EXPECT_EQ(broker.stats().sender_count, 1);
  EXPECT_THAT(comes_by(broker, 3, 7).heard(), ElementsAre(kUsed));
}

TEST(BrokerTickets, ATicketLapsesAfterTenMinutes) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  tx.hold(7, Side::sender);
  tx.hold(8, Side::sender);
  broker.pass(minutes(10) - seconds(1), {&tx});
  holder(broker, 2, 7, Side::sender);
  broker.pass(seconds(1), {&tx});
  EXPECT_THAT(comes_by(broker, 3, 8).heard(), ElementsAre(kLapsed));
  EXPECT_EQ(broker.stats().sender_count, 2);
}

TEST(BrokerTickets, ATicketMayLapseUnderAUserThatHasNotOpenedItsHandle) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  tx.hold(7, Side::sender);
  broker.pass(minutes(10) - milliseconds(100), {&tx});
  Peer& slow = comes_by(broker, 2, 7);
  broker.pass(milliseconds(200));
  (void)slow.heard();
  slow.claim(1, 7, Side::sender);
  EXPECT_THAT(slow.heard(),
              ElementsAre("OPENED 1 refused backend: this ticket has lapsed: it had to be used within 10 minutes"));
}

TEST(BrokerTickets, ATicketThatWasNeverMadeIsUnknown) {
  BrokerByHand broker;
  Peer& stranger = comes_by(broker, 1, 7);
  EXPECT_THAT(stranger.heard(), ElementsAre(kUnknown));
  EXPECT_THAT(stranger.closed_because, HasSubstr("does not know this ticket"));
}

TEST(BrokerTickets, OnlySoManyEndedTicketsAreRemembered) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  tx.hold(7, Side::sender);
  broker.died(holder(broker, 2, 7, Side::sender));
  for (std::size_t i = 0; i < kEndedTicketsMax; ++i) {
    Token token = id_of<Token>(9);
    token.bytes[1] = static_cast<std::uint8_t>(i);
    token.bytes[2] = static_cast<std::uint8_t>(i >> 8U);
    tx.say(Hold{.token = token, .side = Side::sender});
  }
  broker.pass(minutes(11), {&tx});
  EXPECT_THAT(comes_by(broker, 3, 7).heard(), ElementsAre(kUnknown));
}

TEST(BrokerTickets, AUserThatLostItsConnectionComesBack) {
  BrokerByHand broker;
  broker.sender(1).hold(7, Side::sender);
  Peer& user = holder(broker, 2, 7, Side::sender);
  user.cut();
  user.attach(true, 1);
  EXPECT_THAT(user.heard(), ElementsAre("ATTACHED epoch=1 resumed received=1"));
  EXPECT_EQ(broker.stats().sender_count, 2);
}

TEST(BrokerTickets, NobodyTakesOverTheClientOfAnotherTicket) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  tx.hold(7, Side::sender);
  tx.hold(8, Side::sender);
  Peer& user = holder(broker, 2, 7, Side::sender);
  user.ticket = id_of<Token>(8);
  user.attach(true, 1);
  EXPECT_EQ(user.closed_because, "it came by another ticket than that client");
  tx.ticket = id_of<Token>(8);
  tx.attach(true, 1);
  EXPECT_EQ(tx.closed_because, "it came by another ticket than that client");
}

TEST(BrokerTickets, AHandleOfTheOtherSideIsRefused) {
  BrokerByHand broker;
  broker.sender(1).hold(7, Side::sender);
  broker.receiver(2).hold(8, Side::receiver);
  Peer& tx = holder(broker, 3, 7, Side::sender);
  tx.open_receiver(2);
  EXPECT_THAT(tx.heard(), ElementsAre("OPENED 2 refused backend: a ticket for a sender gives no receiver"));
  Peer& rx = comes_by(broker, 4, 8);
  (void)rx.heard();
  rx.claim(1, 8, Side::sender);
  EXPECT_THAT(rx.heard(), ElementsAre("OPENED 1 refused backend: a ticket for a receiver gives no sender"));
  rx.claim(2, 8, Side::receiver);
  EXPECT_THAT(rx.heard(), ElementsAre("OPENED 2"));
}

TEST(BrokerTickets, AUserOpensItsTicketsHandleFirstAndThenItsClones) {
  BrokerByHand broker;
  broker.sender(1).hold(7, Side::sender);
  Peer& user = comes_by(broker, 2, 7);
  (void)user.heard();
  user.open_sender(1);
  user.claim(2, 7, Side::sender);
  user.open_sender(3);
  EXPECT_THAT(user.heard(), ElementsAre("OPENED 1 refused backend: its ticket comes first", "OPENED 2", "OPENED 3"));
  EXPECT_EQ(broker.stats().sender_count, 3);
}

TEST(BrokerTickets, AUserGivesTicketsOfItsSideOnly) {
  BrokerByHand broker;
  broker.sender(1).hold(7, Side::sender);
  Peer& user = holder(broker, 2, 7, Side::sender);
  user.hold(8, Side::sender);
  Peer& next = holder(broker, 3, 8, Side::sender);
  EXPECT_EQ(broker.stats().sender_count, 3);
  next.hold(9, Side::receiver);
  EXPECT_THAT(next.closed_because, HasSubstr("HOLD of the other side than that of the client's ticket"));
}

TEST(BrokerTickets, TheWayToATicketIsKnownWhileSomebodyMayComeByIt) {
  BrokerByHand broker;
  broker.sender(1).hold(7, Side::sender);
  EXPECT_THAT(broker.state().path_of(id_of<Token>(7)), ElementsAre(id_of<Token>(7)));
  Peer& first = holder(broker, 2, 7, Side::sender);
  first.hold(8, Side::sender);
  broker.died(first);
  EXPECT_THAT(broker.state().path_of(id_of<Token>(8)), ElementsAre(id_of<Token>(7), id_of<Token>(8)));
  holder(broker, 3, 8, Side::sender);
  EXPECT_THAT(broker.state().path_of(id_of<Token>(8)), ElementsAre(id_of<Token>(7), id_of<Token>(8)));
}

TEST(BrokerTickets, OnlySoManyTicketsAreMadeOneOfTheOther) {
  BrokerByHand broker;
  broker.sender(1).hold(2, Side::sender);
  for (std::uint8_t n = 2; n < 2 + kTicketDepthMax; ++n) {
    holder(broker, n, n, Side::sender).hold(static_cast<std::uint8_t>(n + 1), Side::sender);
  }
  Peer& last = holder(broker, 2 + kTicketDepthMax, 2 + kTicketDepthMax, Side::sender);
  last.hold(3 + kTicketDepthMax, Side::sender);
  EXPECT_THAT(last.closed_because, HasSubstr("too many tickets of tickets"));
}

TEST(BrokerTickets, AReceiverOfABroadcastBeginsWhereItsTicketWasMade) {
  BrokerByHand broker(BrokerSettings{.kind = ChannelKind::broadcast, .capacity = 4});
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  rx.hold(7, Side::receiver);
  tx.offer(1, 1, {"a"});
  Peer& user = holder(broker, 3, 7, Side::receiver);
  user.demand(1, 1, 1);
  EXPECT_THAT(user.heard(), ElementsAre(HasSubstr("DELIVER 1 a")));
}

TEST(BrokerTickets, AnUnusedTicketOfADeletedChannelIsTold) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  tx.hold(7, Side::sender);
  broker.remove();
  EXPECT_THAT(comes_by(broker, 2, 7).heard(), ElementsAre("REFUSED deleted"));
  EXPECT_THAT(tx.heard(), testing::Not(IsEmpty()));
}

}  // namespace
}  // namespace klaw::dataplane::test
