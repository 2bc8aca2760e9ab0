// Handles that travel: HOLD announces one, CLAIM takes its place.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/dataplane.hpp"

namespace klaw::dataplane::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Travelling, AHoldCountsAsOneHandleWhenItsOriginalHasClosed) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.hold(7, Side::sender);
  tx.close(1);
  EXPECT_EQ(broker.stats().sender_count, 1);
  broker.pass(minutes(9), {&rx});
  EXPECT_THAT(rx.heard(), IsEmpty());
}

TEST(Travelling, AClaimTakesThePlaceOfItsHold) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  tx.hold(7, Side::sender);
  EXPECT_EQ(broker.stats().sender_count, 2);
  Peer& other = broker.client(2);
  other.claim(1, 7, Side::sender);
  EXPECT_THAT(other.heard(), ElementsAre("OPENED 1"));
  EXPECT_EQ(broker.stats().sender_count, 2);
}

TEST(Travelling, TheSecondClaimOfATokenIsAPlainOpen) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  tx.hold(7, Side::sender);
  Peer& other = broker.client(2);
  other.claim(1, 7, Side::sender);
  other.claim(2, 7, Side::sender);
  EXPECT_THAT(other.heard(), ElementsAre("OPENED 1", "OPENED 2"));
  EXPECT_EQ(broker.stats().sender_count, 3);
}

TEST(Travelling, AClaimAfterItsSideHasClosedIsRefused) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  tx.close(1);
  Peer& other = broker.client(2);
  other.claim(1, 7, Side::sender);
  EXPECT_THAT(other.heard(), ElementsAre("OPENED 1 refused ended"));
}

TEST(Travelling, AHoldSurvivesItsMaker) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.hold(7, Side::sender);
  broker.died(tx);
  EXPECT_EQ(broker.stats().sender_count, 1);
  broker.pass(minutes(5), {&rx});
  EXPECT_FALSE(broker.stats().senders_closed);
}

TEST(Travelling, AHoldLapsesAfterTenMinutesInAnOrderlyWay) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.hold(7, Side::sender);
  tx.close(1);
  broker.pass(minutes(10), {&rx, &tx});
  EXPECT_EQ(broker.stats().sender_count, 0);
  EXPECT_THAT(rx.heard(), ElementsAre("CLOSED 1 ended"));
  EXPECT_THAT(broker.log,
              ElementsAre("a pickled handle was not unpickled in time, or a ticket not used: it has expired"));
}

TEST(Travelling, AClaimAfterTheLapseIsAPlainOpen) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  tx.hold(7, Side::sender);
  broker.pass(minutes(10), {&tx});
  EXPECT_EQ(broker.stats().sender_count, 1);
  Peer& other = broker.client(2);
  other.claim(1, 7, Side::sender);
  EXPECT_EQ(broker.stats().sender_count, 2);
}

// Ray has lost the task that was to have it.
TEST(Travelling, AnAbandonedHoldEndsAsADeathAfterTheReconnectGrace) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.hold(7, Side::sender);
  tx.close(1);
  broker.abandoned(7);
  broker.pass(milliseconds(2999), {&rx, &tx});
  broker.abandoned(7);  // twice is once
  EXPECT_EQ(broker.stats().sender_count, 1);
  broker.pass(milliseconds(1), {&rx, &tx});
  EXPECT_EQ(broker.stats().sender_count, 0);
  broker.pass(milliseconds(9999), {&rx, &tx});
  EXPECT_THAT(rx.heard(), IsEmpty());
  broker.pass(milliseconds(1), {&rx, &tx});
  EXPECT_THAT(rx.heard(),
              ElementsAre("CLOSED 1 peer_died: the last sender was pickled for a process that died or never "
                          "started, and no other one came within orphan_grace"));
  EXPECT_THAT(broker.log, ElementsAre("a pickled handle is lost: whoever was to unpickle it is gone"));
}

TEST(Travelling, AClaimThatWasOnItsWayTakesThePlaceOfAnAbandonedHold) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  tx.hold(7, Side::sender);
  broker.abandoned(7);
  Peer& other = broker.client(2);
  other.claim(1, 7, Side::sender);
  EXPECT_EQ(broker.stats().sender_count, 2);
  broker.abandoned(7);  // it was claimed: that is no news
  broker.pass(seconds(3), {&tx, &other});
  EXPECT_EQ(broker.stats().sender_count, 2);
}

TEST(Travelling, WhenAHandleClosedOrderlyAfterAHoldWasAbandonedTheEndIsOrderly) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.hold(7, Side::sender);
  broker.abandoned(7);
  broker.pass(seconds(1), {&rx, &tx});
  tx.close(1);
  broker.pass(seconds(2), {&rx, &tx});
  EXPECT_THAT(rx.heard(), ElementsAre("CLOSED 1 ended"));
}

TEST(Travelling, HandlesThatNobodyHasClaimedAreCountedBySide) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.hold(7, Side::sender);
  tx.hold(8, Side::sender);
  rx.hold(9, Side::receiver);
  EXPECT_EQ(broker.state().unclaimed(Side::sender), 2);
  EXPECT_EQ(broker.state().unclaimed(Side::receiver), 1);
  broker.client(3).claim(1, 7, Side::sender);
  EXPECT_EQ(broker.state().unclaimed(Side::sender), 1);
}

TEST(Travelling, AClaimOfTheOtherSideLeavesTheHoldAlone) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  tx.hold(7, Side::sender);
  Peer& other = broker.client(2);
  other.claim(1, 7, Side::receiver);
  EXPECT_EQ(broker.stats().sender_count, 2);
  EXPECT_EQ(broker.stats().receiver_count, 1);
}

TEST(Travelling, AHoldThatIsAnnouncedAgainCountsOnce) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  tx.hold(7, Side::sender);
  tx.hold(7, Side::sender);
  EXPECT_EQ(broker.stats().sender_count, 2);
}

TEST(Travelling, AHoldOfASideThatHasClosedCountsNothing) {
  BrokerByHand broker;
  Peer& rx = broker.receiver(1);
  rx.close(1);
  rx.hold(7, Side::receiver);
  EXPECT_EQ(broker.stats().receiver_count, 0);
}

TEST(Travelling, AHoldWithinTheOrphanGraceKeepsItsSideOpen) {
  BrokerByHand broker;
  Peer& rx = broker.receiver(1);
  Peer& tx = broker.sender(2);
  broker.died(tx);
  rx.hold(7, Side::sender);
  broker.pass(minutes(1), {&rx});
  EXPECT_FALSE(broker.stats().senders_closed);
}

}  // namespace
}  // namespace klaw::dataplane::test
