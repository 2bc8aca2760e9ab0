// A lost connection is no event: both streams go on where they were, on a newer connection, until the client is dead.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/dataplane.hpp"

namespace klaw::dataplane::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Resuming, WhatTheClientLacksIsSentAgainInOrderAndItIsToldWhatTheBrokerHas) {
  BrokerByHand broker;
  Peer& c = broker.client(1);
  c.open_sender(1);
  c.offer(1, 1, {"a"});
  c.offer(1, 2, {"b"});
  EXPECT_THAT(c.heard(), ElementsAre("OPENED 1", "STORED 1:1", "STORED 1:2"));
  c.cut();
  c.received = 1;  // the rest was lost on its way
  c.attach(true, 1);
  EXPECT_THAT(c.heard(), ElementsAre("ATTACHED epoch=1 resumed received=3", "STORED 1:1", "STORED 1:2"));
}

TEST(Resuming, WhatHappensMeanwhileIsKeptForTheNextConnection) {
  BrokerByHand broker({.capacity = 1});
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.offer(1, 1, {"a"});
  tx.offer(1, 2, {"b"});
  (void)tx.heard();
  tx.cut();
  rx.demand(1, 1, 1);
  rx.consume(1, {attempt(1)});
  EXPECT_THAT(broker.places(), ElementsAre("b ready"));
  tx.attach(true, 1);
  EXPECT_THAT(tx.heard(), ElementsAre("ATTACHED epoch=1 resumed received=3", "STORED 1:2"));
}

TEST(Resuming, WhatWasAcknowledgedIsNotKept) {
  BrokerByHand broker;
  Peer& c = broker.sender(1);
  c.offer(1, 1, {"a"});
  c.say(Ack{.received = 1});
  c.cut();
  c.received = 1;
  c.attach(true, 1);
  EXPECT_THAT(c.heard(), ElementsAre("STORED 1:1", "ATTACHED epoch=1 resumed received=2", "STORED 1:1"));
}

TEST(Resuming, TheBrokerAcknowledgesEverySoOftenAndWithEachHeartbeat) {
  BrokerByHand broker;
  Peer& c = broker.sender(1);
  c.offer(1, 1, {"a"});
  (void)c.heard();
  c.ping();
  ASSERT_EQ(c.inbox.size(), 1);
  const auto& ping = std::get<Ping>(*c.inbox[0]);
  EXPECT_EQ(ping.echo_us, 1);
  EXPECT_EQ(ping.received, 2);
  c.inbox.clear();
  broker.batch([&] {
    for (std::uint64_t i = 0; i < kAckEveryFrames; ++i) c.offer(1, 2 + i, {"a"});
  });
  EXPECT_THAT(c.heard(), ElementsAre("STORED 1:65", "ACK 66"));
  c.say(Offer{.session = 1, .seq = 66, .message = Bytes(std::string(kAckEveryBytes, 'x'))});
  EXPECT_THAT(c.heard(), ElementsAre("STORED 1:66", "ACK 67"));
}

TEST(Resuming, AttemptsAndCountsAreFrozenWhileTheClientIsDetached) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.offer(1, 1, {"a"});
  rx.demand(1, 2, 2);
  (void)rx.heard();
  rx.cut();
  tx.offer(1, 2, {"b"});
  EXPECT_THAT(broker.places(), ElementsAre("b ready", "a unread"));
  EXPECT_EQ(broker.stats().receiver_count, 1);
  rx.attach(true, 1);
  EXPECT_THAT(rx.heard(), ElementsAre("ATTACHED epoch=1 resumed received=2", "DELIVER 1 b#2"));
  rx.consume(1, {attempt(1), attempt(2)});
  EXPECT_THAT(broker.places(), IsEmpty());
}

TEST(Resuming, ADetachedReceiverIsPassedOver) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  Peer& one = broker.receiver(2);
  Peer& two = broker.receiver(3);
  one.demand(1, 1, 1);
  two.demand(1, 1, 1);
  one.cut();
  tx.offer(1, 1, {"a"});
  EXPECT_THAT(two.heard(), ElementsAre("DELIVER 1 a#1"));
}

TEST(Resuming, ANewerConnectionFencesTheOlderOne) {
  BrokerByHand broker;
  Peer& c = broker.sender(1);
  const ConnectionId older = c.connection;
  c.attach(true, 1);
  bool was_closed = false;
  EXPECT_THAT(c.heard(), ElementsAre("ATTACHED epoch=1 resumed received=1"));
  // Bytes of the older one that come late have no effect.
  broker.event([&](Broker& b) {
    b.received(broker.now, older, Offer{.session = 1, .seq = 1, .message = Bytes("late")});
    for (const BrokerAction& action : b.take_actions()) {
      const auto* const end = std::get_if<broker_action::Disconnect>(&action);
      was_closed |= end != nullptr && end->connection == older;
    }
    b.disconnected(broker.now, older);
  });
  EXPECT_TRUE(was_closed);
  EXPECT_THAT(broker.places(), IsEmpty());
  c.offer(1, 1, {"a"});
  EXPECT_THAT(c.heard(), ElementsAre("STORED 1:1"));
}

TEST(Resuming, AnOlderConnectionThatComesLateIsTurnedAway) {
  BrokerByHand broker;
  Peer& c = broker.sender(1);
  c.attach(true, 1);
  (void)c.heard();
  const ConnectionId newest = c.connection;
  c.connection_number = 0;  // the next connection claims to be the first
  c.attach(true, 1);
  EXPECT_EQ(c.closed_because, "a newer connection fenced it");
  c.connection = newest;
  c.offer(1, 1, {"a"});
  EXPECT_THAT(c.heard(), ElementsAre("STORED 1:1"));
}

TEST(Resuming, WhoWasDeclaredDeadIsToldWhatIsStored) {
  BrokerByHand broker({.capacity = 1});
  Peer& c = broker.sender(1);
  c.open_sender(2);
  c.offer(1, 1, {"a"});
  c.offer(1, 2, {"b"});
  (void)c.heard();
  broker.died(c);
  c.attach(true, 1);
  EXPECT_THAT(c.heard(), ElementsAre("EXPIRED 1:1 2:0"));
  EXPECT_EQ(c.closed_because, "its client was declared dead");
}

TEST(Resuming, AClientOfWhichNothingIsKnownIsExpired) {
  BrokerByHand broker;
  Peer& c = broker.unattached(1);
  c.attach(true, 1);
  EXPECT_THAT(c.heard(), ElementsAre("EXPIRED"));
  EXPECT_EQ(c.closed_because, "its client is not known here any more");
}

TEST(Resuming, AClientThatResumesWhatItCannotHaveHadIsDead) {
  BrokerByHand broker;
  Peer& c = broker.sender(1);
  c.cut();
  c.received = 9;
  c.attach(true, 1);
  EXPECT_THAT(c.heard(), ElementsAre("EXPIRED 1:0"));
  Peer& d = broker.sender(2);
  d.cut();
  d.attach();  // it has streams, and does not know it
  EXPECT_THAT(d.heard(), ElementsAre("EXPIRED 1:0"));
  EXPECT_EQ(broker.stats().sender_count, 0);
}

TEST(Resuming, AClientThatNeverAcknowledgesIsGivenUp) {
  BrokerByHand broker;
  Peer& rx = broker.receiver(1);
  broker.event([&](Broker& b) {
    for (std::size_t i = 0; i <= kUnackedFramesMax; ++i)
      b.received(broker.now, rx.connection, DemandShrink{.session = 1});
  });
  EXPECT_EQ(rx.closed_because, "protocol error: it does not acknowledge what it is sent");
  EXPECT_EQ(broker.stats().receiver_count, 0);
}

TEST(Resuming, WhatACheckpointHasIsNotAppliedAgainButAcknowledgedAgain) {
  BrokerByHand before;
  Peer& tx = before.sender(1);
  for (Seq seq = 1; seq <= 3; ++seq) tx.offer(1, seq, {"a"});
  BrokerByHand after({.epoch = 2});
  ASSERT_TRUE(after.restore(before.state().checkpoint(true)));
  Peer& again = after.client(1);
  again.open_sender(1, 2);  // it had heard of the first only
  again.offer(1, 2, {"a"});
  again.offer(1, 3, {"a"});
  EXPECT_THAT(again.heard(), ElementsAre("OPENED 1", "STORED 1:3", "STORED 1:3"));
  EXPECT_EQ(after.stats().queue_size, 3);
  again.offer(1, 4, {"b"});
  EXPECT_EQ(after.stats().queue_size, 4);
}

}  // namespace
}  // namespace klaw::dataplane::test
