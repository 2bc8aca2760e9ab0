// What breaks the protocol is a defect or an attack, and so a death: the connection is closed and all that was held is free.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/dataplane.hpp"

namespace klaw::dataplane::test {
namespace {

using testing::ElementsAre;

// A client with an open sender (1, which has offered 1 and 2) and receiver (2), and with closed ones (3, and 4, which has
// something to settle); attempts 1 (of 4) and 2 (of 2, unread) are out.
struct Victim : BrokerByHand {
  explicit Victim(const BrokerSettings& settings = {}) : BrokerByHand(settings), c(client(1)) {
    c.open_sender(1);
    c.open_receiver(2);
    c.open_sender(3);
    c.close(3);
    c.open_receiver(4);
    c.offer(1, 1, {"a"});
    c.offer(1, 2, {"b"});
    c.demand(4, 1, 1);
    c.consume(4, {attempt(1)}, false);
    c.close(4);
    c.demand(2, 1, 1);
  }
  std::string fault_of(Frame frame) {
    c.say(std::move(frame));
    return c.closed_because;
  }
  Peer& c;
};

std::string fault_of(Frame frame, const BrokerSettings& settings = {}) {
  return Victim(settings).fault_of(std::move(frame));
}
std::string error(const char* what) { return "protocol error: " + std::string(what); }

TEST(ProtocolErrors, AreDeaths) {
  Victim broker;
  Peer& other = broker.receiver(2);
  broker.c.withdraw(9, 1);
  EXPECT_EQ(broker.stats().sender_count, 0);
  EXPECT_EQ(broker.stats().receiver_count, 1);
  EXPECT_THAT(broker.places(), ElementsAre("a lane", "b ready"));
  broker.c.attach(true, 1);
  EXPECT_EQ(broker.c.heard().back(), "EXPIRED 1:2");
  EXPECT_EQ(other.closed_because, "");
}

TEST(ProtocolErrors, OfOtherClientsHarmNobody) {
  Victim broker;
  Peer& attacker = broker.client(2);
  attacker.say(Close{.session = 1});  // sessions are a client's own
  EXPECT_EQ(attacker.closed_because, error("CLOSE of a session that was never opened"));
  EXPECT_EQ(broker.c.closed_because, "");
  EXPECT_EQ(broker.stats().sender_count, 1);
}

TEST(ProtocolErrors, OfAcknowledgements) {
  EXPECT_EQ(fault_of(Ping{.received = 99}), error("PING acknowledges frames that were never sent"));
  EXPECT_EQ(fault_of(Ack{.received = 99}), error("ACK acknowledges frames that were never sent"));
  Victim broker;
  broker.c.say(Ack{.received = 3});
  EXPECT_EQ(broker.fault_of(Ack{.received = 2}), error("ACK acknowledges frames that were never sent"));  // it falls
}

TEST(ProtocolErrors, OfFramesThatClientsDoNotSend) {
  for (const Frame& frame :
       {Frame(Opened{}), Frame(Stored{}), Frame(Deliver{}), Frame(Closed{}), Frame(Credit{}), Frame(Revoke{}),
        Frame(ReturnCredit{}), Frame(Hello{}), Frame(Attach{}), Frame(Welcome{})}) {
    EXPECT_EQ(fault_of(frame), error("a frame that clients don't send")) << text(frame);
  }
}

TEST(ProtocolErrors, OfOpen) {
  EXPECT_EQ(fault_of(Open{.session = 4}), error("OPEN of a session that was opened before"));
  EXPECT_EQ(fault_of(Open{.session = 0}), error("OPEN of a session that was opened before"));
  EXPECT_EQ(fault_of(Open{.session = 5, .next = 0}), error("OPEN with the sequence number 0"));
  EXPECT_EQ(fault_of(Open{.session = 5, .claim = Token(), .counts = false}),
            error("OPEN claims a count and does not want to count"));
}

TEST(ProtocolErrors, OfTooManyHandles) {
  BrokerByHand broker;
  Peer& c = broker.client(1);
  broker.event([&](Broker& b) {
    for (SessionId id = 1; id <= kSessionsPerClientMax; ++id) b.received(broker.now, c.connection, Open{.session = id});
  });
  EXPECT_EQ(c.closed_because, "");
  c.open_sender(kSessionsPerClientMax + 1);
  EXPECT_EQ(c.closed_because, error("too many handles"));
}

TEST(ProtocolErrors, OfTooManyHolds) {
  BrokerByHand broker;
  Peer& c = broker.client(1);
  broker.event([&](Broker& b) {
    for (std::size_t i = 0; i < kHoldsMax; ++i) {
      Token token;
      token.bytes[0] = static_cast<std::uint8_t>(i);
      token.bytes[1] = static_cast<std::uint8_t>(i >> 8);
      b.received(broker.now, c.connection, Hold{.token = token});
    }
  });
  EXPECT_EQ(c.closed_because, "");
  Token one_more;
  one_more.bytes[2] = 1;
  c.say(Hold{.token = one_more});
  EXPECT_EQ(c.closed_because, error("too many handles that were pickled and not yet unpickled"));
}

TEST(ProtocolErrors, OfClose) {
  EXPECT_EQ(fault_of(Close{.session = 9}), error("CLOSE of a session that was never opened"));
  EXPECT_EQ(fault_of(Close{.session = 4}), error("CLOSE of a session that was closed before"));
  Victim broker({.capacity = 2});
  broker.c.offer(1, 3, {"c"});
  broker.c.offer(1, 4, {"d"});  // waits, and so does the end of its session
  broker.c.close(1);
  EXPECT_EQ(broker.fault_of(Close{.session = 1}), error("CLOSE of a session that was closed before"));
}

TEST(ProtocolErrors, OfOffer) {
  const Bytes message("x");
  EXPECT_EQ(fault_of(Offer{.session = 9, .seq = 1}), error("OFFER of a session that was never opened"));
  EXPECT_EQ(fault_of(Offer{.session = 1, .seq = 4}), error("OFFER with a gap in its sequence numbers"));
  EXPECT_EQ(fault_of(Offer{.session = 1, .seq = 2, .message = message, .more = {message}}),
            error("OFFER with a gap in its sequence numbers"));
  EXPECT_EQ(fault_of(Offer{.session = 1, .seq = 3, .message = message, .more = {message, message}}, {.capacity = 2}),
            error("OFFER of more messages than the channel can hold"));
  EXPECT_EQ(fault_of(Offer{.session = 1, .seq = 3, .message = Bytes("123456")}, {.message_bytes_max = 5}),
            error("a message is too large"));
  EXPECT_EQ(fault_of(Offer{.session = 1, .seq = 3, .more = {Bytes("123456")}}, {.message_bytes_max = 5}),
            error("a message is too large"));
}

TEST(ProtocolErrors, OfAnOfferAfterClose) {
  Victim broker({.capacity = 2});
  broker.c.offer(1, 3, {"c"});
  broker.c.offer(1, 4, {"d"});
  broker.c.close(1);
  EXPECT_EQ(broker.fault_of(Offer{.session = 1, .seq = 5}), error("OFFER after CLOSE"));
}

TEST(ProtocolErrors, OfAnOfferBeyondTheWindows) {
  for (const bool is_bytes : {false, true}) {
    BrokerByHand broker(is_bytes ? BrokerSettings{.capacity = 1, .offered_bytes_max = 2}
                                 : BrokerSettings{.capacity = 1, .offered_max = 2});
    Peer& c = broker.sender(1);
    for (Seq seq = 1; seq <= 3; ++seq) c.offer(1, seq, {"a"});
    EXPECT_EQ(c.closed_because, "");
    c.offer(1, 4, {"a"});
    EXPECT_EQ(c.closed_because, error("OFFER beyond what may be unanswered"));
  }
}

TEST(ProtocolErrors, OfWithdraw) {
  EXPECT_EQ(fault_of(Withdraw{.session = 9, .seq = 1}), error("WITHDRAW of a session that was never opened"));
  EXPECT_EQ(fault_of(Withdraw{.session = 1, .seq = 3}), error("WITHDRAW of what was never offered"));
}

TEST(ProtocolErrors, OfDemand) {
  EXPECT_EQ(fault_of(Demand{.session = 9}), error("DEMAND of a session that was never opened"));
  EXPECT_EQ(fault_of(Demand{.session = 4}), error("DEMAND after CLOSE"));
  EXPECT_EQ(fault_of(Demand{.session = 2, .limit = kDemandMax + 2}), error("DEMAND of too much"));
  EXPECT_EQ(fault_of(Demand{.session = 2, .limit = kDemandMax + 1}), "");
}

TEST(ProtocolErrors, OfDemandShrink) {
  EXPECT_EQ(fault_of(DemandShrink{.session = 9}), error("DEMAND_SHRINK of a session that was never opened"));
  EXPECT_EQ(fault_of(DemandShrink{.session = 4}), error("DEMAND_SHRINK after CLOSE"));
  EXPECT_EQ(fault_of(DemandShrink{.session = 2, .limit = kDemandMax + 2}), error("DEMAND_SHRINK of too much"));
}

TEST(ProtocolErrors, OfWhatEndsADelivery) {
  EXPECT_EQ(fault_of(Consumed{.session = 9}), error("CONSUMED of a session that was never opened"));
  EXPECT_EQ(fault_of(Release{.session = 9}), error("RELEASE of a session that was never opened"));
  EXPECT_EQ(fault_of(Release{.session = 4}), error("RELEASE after CLOSE"));
}

TEST(ProtocolErrors, AreNotWhatWasOnItsWayWhenASessionWasRefusedOrOver) {
  // 3 is closed and over; a client may also have gone on before it heard that its session was refused.
  for (const Frame& frame :
       {Frame(Close{.session = 3}), Frame(Offer{.session = 3, .seq = 1}), Frame(Withdraw{.session = 3, .seq = 1}),
        Frame(Demand{.session = 3}), Frame(DemandShrink{.session = 3}), Frame(Consumed{.session = 3}),
        Frame(Settle{.session = 3}), Frame(Release{.session = 3})}) {
    EXPECT_EQ(fault_of(frame), "") << text(frame);
  }
}

TEST(Limits, TheChannelTakesSoManyClientsAndNoMore) {
  BrokerByHand broker;
  broker.event([&](Broker& b) {
    for (std::size_t i = 0; i < kClientsMax; ++i) {
      ClientId id;
      id.bytes[0] = static_cast<std::uint8_t>(i);
      id.bytes[1] = static_cast<std::uint8_t>(i >> 8);
      id.bytes[2] = 1;
      b.received(broker.now, 1000 + i, Attach{.client = id, .connection = 1});
    }
  });
  Peer& c = broker.unattached(1);
  c.attach();
  EXPECT_THAT(c.heard(), ElementsAre("REFUSED limit"));
  EXPECT_EQ(c.closed_because, "the channel has 16384 clients already");
}

TEST(Limits, OnlySoManyOfTheDeadAreRememberedTheOldestGoesFirst) {
  BrokerByHand broker;
  Peer& oldest = broker.sender(1);
  broker.died(oldest);
  Peer& younger = broker.sender(2);
  broker.died(younger);
  broker.event([&](Broker& b) {
    for (std::size_t i = 0; i + 1 < kExpiredClientsMax; ++i) {
      ClientId id;
      id.bytes[0] = static_cast<std::uint8_t>(i);
      id.bytes[1] = static_cast<std::uint8_t>(i >> 8);
      id.bytes[2] = 1;
      b.received(broker.now, 1000 + i, Attach{.client = id, .connection = 1});
      b.client_died(broker.now, id, "killed");
    }
  });
  oldest.attach(true, 1);
  EXPECT_EQ(oldest.heard().back(), "EXPIRED");
  younger.attach(true, 1);
  EXPECT_EQ(younger.heard().back(), "EXPIRED 1:0");
}

}  // namespace
}  // namespace klaw::dataplane::test
