// RESERVE, FILL and UNRESERVE: slots that are held for messages to come.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/dataplane.hpp"

namespace klaw::dataplane::test {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(Reserving, ASlotIsHeldAndWhatFillsItIsStored) {
  BrokerByHand broker({.capacity = 2});
  Peer& tx = broker.sender(1);
  tx.reserve(1, 1);
  EXPECT_THAT(tx.heard(), ElementsAre("ANSWER 1:1 reserved"));
  EXPECT_EQ(broker.state().reserved(), 1);
  tx.offer(1, 2, {"a"});
  tx.try_offer(1, 3, "b");
  EXPECT_THAT(tx.heard(), ElementsAre("STORED 1:2", "ANSWER 1:3 full"));
  tx.fill(1, 1, "c");
  EXPECT_THAT(tx.heard(), ElementsAre("ANSWER 1:1 filled"));
  EXPECT_THAT(broker.places(), ElementsAre("a ready", "c ready"));
  EXPECT_EQ(broker.stats().total_sent, 2);
  EXPECT_EQ(broker.state().reserved(), 0);
}

TEST(Reserving, WaitsInTheLineOfTheOffersAndNobodyPassesIt) {
  BrokerByHand broker({.capacity = 1});
  Peer& tx = broker.sender(1);
  Peer& other = broker.sender(2);
  Peer& rx = broker.receiver(3);
  tx.offer(1, 1, {"a"});
  tx.reserve(1, 2);
  other.offer(1, 1, {"b"});
  tx.reserve(1, 3, true);
  EXPECT_THAT(tx.heard(), ElementsAre("STORED 1:1", "ANSWER 1:3 full"));
  EXPECT_EQ(broker.stats().waiting_senders, 2);
  rx.demand(1, 2, 1);
  rx.consume(1, {attempt(1)});
  EXPECT_THAT(tx.heard(), ElementsAre("ANSWER 1:2 reserved"));
  EXPECT_THAT(other.heard(), IsEmpty());
  tx.unreserve(1, 2);
  EXPECT_THAT(other.heard(), ElementsAre("STORED 1:1"));
}

TEST(Reserving, OneThatWaitsIsWithdrawnAndOneThatWasGrantedIsNot) {
  BrokerByHand broker({.capacity = 1});
  Peer& tx = broker.sender(1);
  tx.reserve(1, 1);
  tx.reserve(1, 2);
  (void)tx.heard();
  tx.withdraw(1, 1);
  tx.withdraw(1, 2);
  EXPECT_THAT(tx.heard(), ElementsAre("ANSWER 1:2 withdrawn"));
  EXPECT_EQ(broker.state().reserved(), 1);
}

TEST(Reserving, KeepsItsSenderCountedAfterItsClose) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.reserve(1, 1);
  tx.reserve(1, 2);
  tx.close(1);
  rx.demand(1, 2, 2);
  EXPECT_EQ(broker.stats().sender_count, 1);
  tx.fill(1, 1, "a");
  EXPECT_THAT(rx.heard(), ElementsAre("DELIVER 1 a#1"));
  tx.unreserve(1, 2);
  EXPECT_THAT(rx.heard(), ElementsAre("CLOSED 1 ended", "END 1 ended"));
  EXPECT_EQ(broker.stats().sender_count, 0);
}

TEST(Reserving, TheDeadGiveTheirSlotsBackAndTheDetachedKeepThem) {
  BrokerByHand broker({.capacity = 1});
  Peer& tx = broker.sender(1);
  Peer& other = broker.sender(2);
  tx.reserve(1, 1);
  other.offer(1, 1, {"a"});
  tx.cut();
  EXPECT_THAT(other.heard(), IsEmpty());
  broker.died(tx);
  EXPECT_THAT(other.heard(), ElementsAre("STORED 1:1"));
  EXPECT_EQ(broker.state().reserved(), 0);
}

TEST(Reserving, WhoResumesHasItsPermitOnce) {
  BrokerByHand broker({.capacity = 1});
  Peer& tx = broker.sender(1);
  tx.reserve(1, 1);
  (void)tx.heard();
  --tx.received;  // the answer was lost
  tx.cut();
  tx.attach(true, 1);
  EXPECT_THAT(tx.heard(), Contains("ANSWER 1:1 reserved"));
  EXPECT_EQ(broker.state().reserved(), 1);
  tx.fill(1, 1, "a");
  EXPECT_THAT(broker.places(), ElementsAre("a ready"));
}

TEST(Reserving, WhatFillsASlotWithoutReceiversIsDropped) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.reserve(1, 1);
  rx.close(1);
  (void)tx.heard();
  tx.fill(1, 1, "a");
  EXPECT_THAT(tx.heard(), ElementsAre("ANSWER 1:1 filled"));
  EXPECT_THAT(broker.places(), IsEmpty());
  EXPECT_EQ(broker.stats().total_sent, 0);
}

TEST(Reserving, AfterAShutdownSlotsThatAreHeldStayGoodAndHoldTheEndBack) {
  BrokerByHand broker({.capacity = 2});
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.reserve(1, 1);
  tx.reserve(1, 2);
  tx.reserve(1, 3);
  tx.shut_down();
  EXPECT_THAT(tx.heard(),
              ElementsAre("ANSWER 1:1 reserved", "ANSWER 1:2 reserved", "IS_SHUT_DOWN", "ANSWER 1:3 refused"));
  rx.demand(1, 2, 2);
  EXPECT_THAT(rx.heard(), ElementsAre("IS_SHUT_DOWN"));
  tx.fill(1, 1, "a");
  tx.unreserve(1, 2);
  EXPECT_THAT(rx.heard(), ElementsAre("DELIVER 1 a#1", "END 1 shutdown"));
}

TEST(Reserving, AfterAShutdownAtOnceWhatFillsASlotIsDropped) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.reserve(1, 1);
  tx.shut_down(true);
  rx.demand(1, 1, 1);
  EXPECT_THAT(rx.heard(), ElementsAre("IS_SHUT_DOWN at once", "END 1 shutdown"));
  tx.fill(1, 1, "a");
  EXPECT_THAT(broker.places(), IsEmpty());
}

TEST(Reserving, OnARendezvousASlotIsAReceiveThatWaitsAndIsCountedOnOnce) {
  BrokerByHand broker({.capacity = 0});
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.reserve(1, 1, true);
  tx.reserve(1, 2);
  EXPECT_THAT(tx.heard(), ElementsAre("ANSWER 1:1 full"));
  rx.demand(1, 1, 1);
  EXPECT_THAT(tx.heard(), ElementsAre("ANSWER 1:2 reserved"));
  tx.try_offer(1, 3, "b");
  tx.reserve(1, 4, true);
  tx.offer(1, 5, {"c"});
  EXPECT_THAT(tx.heard(), ElementsAre("ANSWER 1:3 full", "ANSWER 1:4 full"));
  EXPECT_THAT(rx.heard(), IsEmpty());
  tx.fill(1, 2, "a");
  EXPECT_THAT(rx.heard(), ElementsAre("DELIVER 1 a#1"));
  rx.consume(1, {attempt(1)});
  EXPECT_EQ(broker.stats().total_sent, 1);
}

TEST(Reserving, OnARendezvousWhatItsReceiveDoesNotWaitForAnyMoreIsKeptForTheNext) {
  BrokerByHand broker({.capacity = 0});
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  rx.demand(1, 1, 1);
  tx.reserve(1, 1);
  rx.shrink(1, 0);
  tx.fill(1, 1, "a");
  EXPECT_THAT(broker.places(), ElementsAre("a ready"));
  (void)rx.heard();
  rx.demand(1, 1, 1);
  EXPECT_THAT(rx.heard(), ElementsAre("DELIVER 1 a#1"));
  rx.release(1, {attempt(1)});
  EXPECT_THAT(broker.places(), ElementsAre("a ready"));
  EXPECT_EQ(broker.state().checkpoint(true).messages.size(), 1);
}

TEST(Reserving, APasserBysPermitsEndWithItsSide) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  Peer& passing = broker.client(3);
  passing.say(Open{.session = 1, .side = Side::sender, .counts = false});
  passing.reserve(1, 1);
  passing.close(1);
  (void)passing.heard();
  rx.demand(1, 1, 1);
  tx.close(1);
  EXPECT_THAT(passing.heard(), ElementsAre("OPENED 1 refused ended"));
  EXPECT_THAT(rx.heard(), Contains("END 1 ended"));
  passing.fill(1, 1, "a");  // crossed it
  EXPECT_EQ(passing.closed_because, "");
}

TEST(Reserving, ErrorsAreDeaths) {
  const auto dies = [](const auto& errs) {
    BrokerByHand broker({.capacity = 1, .message_bytes_max = 4});
    Peer& tx = broker.sender(1);
    tx.reserve(1, 1);
    errs(tx);
    return tx.closed_because;
  };
  EXPECT_THAT(dies([](Peer& tx) { tx.reserve(1, 3); }), HasSubstr("gap"));
  EXPECT_THAT(dies([](Peer& tx) { tx.fill(1, 2, "a"); }), HasSubstr("not held"));
  EXPECT_THAT(dies([](Peer& tx) { tx.unreserve(1, 2); }), HasSubstr("not held"));
  EXPECT_THAT(dies([](Peer& tx) { tx.fill(1, 1, "large"); }), HasSubstr("too large"));
  EXPECT_THAT(dies([](Peer& tx) {
                tx.close(1);
                tx.reserve(1, 2);
              }),
              HasSubstr("after CLOSE"));
}

}  // namespace
}  // namespace klaw::dataplane::test
