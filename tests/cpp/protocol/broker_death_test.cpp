// Silence, death, a new epoch, and deletion.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/dataplane.hpp"

namespace klaw::dataplane::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kSenderDied =
    "the process of the last sender died (killed), and no other one came within orphan_grace";
constexpr const char* kReceiverDied =
    "the process of the last receiver died (killed), and no other one came within orphan_grace";

// --- death of a client ---

TEST(Dying, AHeartbeatIsAnsweredWithItsEcho) {
  BrokerByHand broker;
  Peer& c = broker.client(1);
  c.say(Ping{.sent_us = 42, .received = 0});
  ASSERT_EQ(c.inbox.size(), 1);
  EXPECT_EQ(std::get<Ping>(*c.inbox[0]).echo_us, 42);
}

TEST(Dying, FourMissedHeartbeatsDetachAClientAndFreezeWhatItHolds) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.offer(1, 1, {"a"});
  rx.demand(1, 1, 1);
  broker.pass(milliseconds(3999), {&tx});
  EXPECT_EQ(rx.closed_because, "");
  broker.pass(milliseconds(1), {&tx});
  EXPECT_EQ(rx.closed_because, "no heartbeat");
  EXPECT_THAT(broker.places(), ElementsAre("a unread"));
  EXPECT_EQ(broker.stats().receiver_count, 1);
}

TEST(Dying, ADetachedClientIsDeadAfterTheReconnectGrace) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.offer(1, 1, {"a"});
  rx.demand(1, 1, 1);
  rx.cut();
  broker.pass(milliseconds(2999), {&tx});
  EXPECT_THAT(broker.places(), ElementsAre("a unread"));
  broker.pass(milliseconds(1), {&tx});
  EXPECT_THAT(broker.places(), ElementsAre("a ready"));
  EXPECT_EQ(broker.stats().receiver_count, 0);
  EXPECT_THAT(broker.log, ElementsAre(HasSubstr("did not reconnect in time")));
}

TEST(Dying, AClientThatComesBackInTimeHasLostNothing) {
  BrokerByHand broker;
  Peer& rx = broker.receiver(1);
  rx.cut();
  broker.pass(milliseconds(2999));
  rx.attach(true, 1);
  broker.pass(seconds(3), {&rx});
  EXPECT_EQ(broker.stats().receiver_count, 1);
  EXPECT_THAT(broker.log, IsEmpty());
}

TEST(Dying, AReportedDeathTakesEffectAtOnce) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.offer(1, 1, {"a"});
  rx.demand(1, 1, 1);
  broker.died(rx);
  EXPECT_EQ(rx.closed_because, "killed");
  EXPECT_THAT(broker.places(), ElementsAre("a ready"));
  broker.died(rx);  // twice is once
  EXPECT_EQ(broker.stats().receiver_count, 0);
}

TEST(Dying, WhoseDeathIsReportedBeforeItsAttachIsNotAttached) {
  BrokerByHand broker;
  Peer& late = broker.unattached(1);
  broker.died(late);
  broker.died(late);
  late.attach();
  EXPECT_THAT(late.heard(), ElementsAre("EXPIRED"));
}

TEST(Dying, AllThatWasOutstandingAtTheDeadIsRedeliveredMarkedInItsOldOrder) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  Peer& one = broker.receiver(2);
  Peer& two = broker.receiver(3);
  for (Seq seq = 1; const char* const message : {"a", "b", "c"}) tx.offer(1, seq++, {message});
  one.demand(1, 2, 2);
  one.consume(1, {attempt(2)}, false);
  broker.died(one);
  EXPECT_THAT(broker.places(), ElementsAre("b lane", "a ready", "c ready"));
  broker.batch([&] { two.demand(1, 3, 3); });
  EXPECT_THAT(two.heard(), ElementsAre("DELIVER 1 b#3+1 a#4+1 c#5"));
}

TEST(Dying, WhatADeadSenderHadStoredStaysAndWhatItOfferedGoes) {
  BrokerByHand broker({.capacity = 1});
  Peer& dead = broker.sender(1);
  Peer& other = broker.sender(2);
  dead.offer(1, 1, {"a"});
  dead.offer(1, 2, {"b"});
  other.offer(1, 1, {"c"});
  broker.died(dead);
  EXPECT_THAT(broker.places(), ElementsAre("a ready", "c offered"));
}

TEST(Dying, ADeadSendersBatchHoldsNobodyUp) {
  BrokerByHand broker({.capacity = 2});
  Peer& dead = broker.sender(1);
  Peer& other = broker.sender(2);
  dead.offer(1, 1, {"a"});
  dead.offer(1, 2, {"b", "c"});
  other.offer(1, 1, {"d"});
  broker.died(dead);
  EXPECT_THAT(other.heard(), ElementsAre("STORED 1:1"));
}

TEST(Dying, TheLastHandleOfASideThatDiesClosesItAfterTheOrphanGrace) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  broker.died(tx);
  EXPECT_EQ(broker.stats().sender_count, 0);
  broker.pass(milliseconds(9999), {&rx});
  EXPECT_FALSE(broker.stats().senders_closed);
  broker.pass(milliseconds(1), {&rx});
  EXPECT_TRUE(broker.stats().senders_closed);
}

TEST(Dying, WhoComesWithinTheOrphanGraceKeepsTheSideOpen) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  broker.died(tx);
  Peer& heir = broker.sender(3);
  broker.pass(seconds(20), {&rx, &heir});
  EXPECT_FALSE(broker.stats().senders_closed);
}

TEST(Dying, WhenADeathClosedTheSendersReceiversAreToldWhoAfterDraining) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.offer(1, 1, {"a"});
  broker.died(tx);
  broker.pass(seconds(10), {&rx});
  EXPECT_THAT(rx.heard(), ElementsAre("CLOSED 1 peer_died: " + std::string(kSenderDied)));
  rx.demand(1, 2, 2);
  EXPECT_THAT(rx.heard(), ElementsAre("DELIVER 1 a#1", "END 1 peer_died: " + std::string(kSenderDied)));
}

TEST(Dying, WhenADeathClosedTheReceiversSendersAreToldWho) {
  BrokerByHand broker;
  Peer& rx = broker.receiver(1);
  Peer& tx = broker.sender(2);
  broker.died(rx);
  broker.pass(seconds(10), {&tx});
  EXPECT_THAT(tx.heard(), ElementsAre("CLOSED 1 peer_died: " + std::string(kReceiverDied)));
}

TEST(Dying, WhenTheLastHandleClosedOrderlyTheEndIsOrderlyWhoeverDiedBefore) {
  BrokerByHand broker;
  Peer& dead = broker.sender(1);
  Peer& tx = broker.sender(2);
  Peer& rx = broker.receiver(3);
  broker.died(dead);
  tx.close(1);
  EXPECT_THAT(rx.heard(), ElementsAre("CLOSED 1 ended"));
}

// On another node a death is noticed late: the replacement may have come and gone by then.
TEST(Dying, WhenAHandleClosedOrderlyAfterADeathThatIsNoticedLaterTheEndIsOrderly) {
  enum class Ends { at_once, in_silence, late };  // the connection of the one that died
  for (const Ends ends : {Ends::at_once, Ends::in_silence, Ends::late}) {
    BrokerByHand broker;
    Peer& dead = broker.sender(1);
    Peer& rx = broker.receiver(2);
    if (ends == Ends::at_once) dead.cut();
    broker.pass(milliseconds(1500), {&rx});
    Peer& heir = broker.sender(3);
    heir.offer(1, 1, {"a"});
    heir.close(1);
    if (ends == Ends::late) dead.cut();
    EXPECT_FALSE(broker.stats().senders_closed);  // the dead one may still come back
    broker.pass(seconds(7), {&rx});
    EXPECT_THAT(rx.heard(), ElementsAre("CLOSED 1 ended"));
    rx.demand(1, 2, 2);
    EXPECT_THAT(rx.heard(), ElementsAre("DELIVER 1 a#1", "END 1 ended"));
  }
}

TEST(Dying, WhenTheLastToLeaveDiedTheEndIsADeathThoughOthersClosedOrderlyBefore) {
  for (const bool is_silent : {false, true}) {
    BrokerByHand broker;
    Peer& orderly = broker.sender(1);
    Peer& dead = broker.sender(2);
    Peer& rx = broker.receiver(3);
    orderly.close(1);
    broker.pass(milliseconds(500), {&rx, &dead});
    if (!is_silent) dead.cut();
    broker.pass(seconds(17), {&rx});
    EXPECT_THAT(rx.heard(), ElementsAre(testing::StartsWith("CLOSED 1 peer_died: ")));
  }
}

TEST(Dying, OfTheReceiversTooTheLastWordDecides) {
  BrokerByHand broker;
  Peer& dead = broker.receiver(1);
  Peer& tx = broker.sender(2);
  dead.cut();
  broker.pass(seconds(1), {&tx});
  broker.receiver(3).close(1);
  broker.pass(seconds(2), {&tx});
  EXPECT_THAT(tx.heard(), ElementsAre("CLOSED 1 peer_gone"));
}

TEST(Dying, APersistentChannelOutlivesTheDeathOfAll) {
  BrokerByHand broker({.persistent = true});
  Peer& tx = broker.sender(1);
  tx.offer(1, 1, {"a"});
  broker.died(tx);
  broker.pass(minutes(5));
  Peer& rx = broker.receiver(2);
  rx.demand(1, 2, 2);
  EXPECT_THAT(rx.heard(), ElementsAre("DELIVER 1 a#1"));
}

TEST(Dying, WhatADeadClientClosedAndHadNotSettledIsRedelivered) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  Peer& one = broker.receiver(2);
  Peer& two = broker.receiver(3);
  tx.offer(1, 1, {"a"});
  one.demand(1, 1, 1);
  one.consume(1, {attempt(1)}, false);
  one.close(1);
  EXPECT_EQ(broker.stats().receiver_count, 1);
  broker.died(one);
  EXPECT_EQ(broker.stats().receiver_count, 1);  // that handle had been counted off already
  two.demand(1, 1, 1);
  EXPECT_THAT(two.heard(), ElementsAre("DELIVER 1 a#2+1"));
}

// --- a new epoch ---

TEST(NewEpoch, AClientThatHasSeenALaterEpochIsRefused) {
  BrokerByHand broker({.epoch = 2});
  Peer& c = broker.unattached(1);
  c.attach(true, 3);
  EXPECT_THAT(c.heard(), ElementsAre("REFUSED stale"));
  EXPECT_EQ(c.closed_because, "this broker's epoch is 2, the client has seen epoch 3");
}

TEST(NewEpoch, AClientOfAnEarlierEpochBeginsAnew) {
  BrokerByHand broker({.epoch = 2});
  Peer& c = broker.unattached(1);
  c.received = 5;
  c.attach(true, 1);
  ASSERT_EQ(c.inbox.size(), 1);
  EXPECT_EQ(c.closed_because, "");
  EXPECT_THAT(c.heard(), ElementsAre("ATTACHED epoch=2 received=0"));
  // It did not hear of it, and asks again, as one that has seen the earlier epoch only.
  broker.died(broker.client(2));  // (something else happens)
  c.received = 5;
  c.attach(true, 1);
  EXPECT_EQ(c.closed_because, "");
  EXPECT_THAT(c.heard(), ElementsAre("ATTACHED epoch=2 received=0"));
}

TEST(NewEpoch, AClientThatTookThisBrokerForDeadComesBackUnderAnotherId) {
  BrokerByHand broker;
  Peer& c = broker.receiver(1);
  c.attach(false, 1);
  EXPECT_THAT(c.heard(), ElementsAre("EXPIRED"));
  EXPECT_EQ(broker.stats().receiver_count, 0);
}

TEST(NewEpoch, SettlementsOfAnEarlierLifeAreIgnored) {
  BrokerByHand broker({.epoch = 2});
  Peer& c = broker.client(1);
  c.settle(3, {attempt(1)});  // its handle was closed before: it is not opened anew
  EXPECT_EQ(c.closed_because, "");
}

TEST(NewEpoch, OpenCarriesTheNextUnstoredSequenceNumber) {
  BrokerByHand broker({.epoch = 2});
  Peer& c = broker.client(1);
  c.open_sender(1, 5);
  c.offer(1, 5, {"a"});
  EXPECT_THAT(c.heard(), ElementsAre("OPENED 1", "STORED 1:5"));
}

TEST(NewEpoch, NoEndGoesOutAndNoSideClosesBeforeTheRejoinGraceIsOver) {
  BrokerByHand broker({.epoch = 2});
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  rx.demand(1, 1, 1);
  tx.close(1);
  broker.pass(milliseconds(9999), {&rx});
  EXPECT_THAT(rx.heard(), IsEmpty());
  broker.pass(milliseconds(1), {&rx});
  EXPECT_THAT(rx.heard(), ElementsAre("CLOSED 1 ended", "END 1 ended"));
}

TEST(NewEpoch, ASideToWhichNobodyComesBackClosesAfterTheLongerOfBothGraces) {
  BrokerByHand broker({.epoch = 2, .orphan_grace = seconds(15), .rejoin_grace = seconds(10)});
  Peer& rx = broker.receiver(1);
  broker.pass(milliseconds(14'999), {&rx});
  EXPECT_THAT(rx.heard(), IsEmpty());
  broker.pass(milliseconds(1), {&rx});
  EXPECT_THAT(rx.heard(),
              ElementsAre("CLOSED 1 peer_died: no handle came back after the channel's actor was restarted"));
}

TEST(NewEpoch, ASideToWhichSomebodyComesBackStaysOpen) {
  BrokerByHand broker({.epoch = 2});
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  broker.pass(minutes(1), {&tx, &rx});
  EXPECT_FALSE(broker.stats().senders_closed);
  EXPECT_FALSE(broker.stats().receivers_closed);
}

TEST(NewEpoch, ASenderIsToldWhichOfItsStoredMessagesTheCheckpointLacks) {
  BrokerByHand before;
  Peer& tx = before.sender(1);
  tx.offer(1, 1, {"a"});
  const Checkpoint checkpoint = before.state().checkpoint(true);
  BrokerByHand after({.epoch = 2});
  ASSERT_TRUE(after.restore(checkpoint));
  Peer& again = after.unattached(1);
  again.attach(true, 1);
  again.open_sender(1, 4);
  EXPECT_THAT(again.heard(), ElementsAre("ATTACHED epoch=2 restored received=0", "OPENED 1", "DATA_LOSS 1:2-3"));
  again.offer(1, 4, {"d"});
  EXPECT_THAT(again.heard(), ElementsAre("STORED 1:4"));
}

TEST(NewEpoch, ASenderOfWhichTheCheckpointHasNothingIsToldSo) {
  BrokerByHand after({.epoch = 2});
  ASSERT_TRUE(after.restore(Checkpoint{.epoch = 1, .has_messages = true}));
  Peer& tx = after.client(1);
  tx.open_sender(1, 3);
  EXPECT_THAT(tx.heard(), ElementsAre("OPENED 1", "DATA_LOSS 1:1-2"));
}

// --- deletion ---

TEST(Deleting, AllAreToldAndTheActorGoesWhenAllHaveAcknowledged) {
  BrokerByHand broker;
  Peer& one = broker.client(1);
  Peer& two = broker.client(2);
  broker.remove();
  EXPECT_THAT(one.heard(), ElementsAre("CLOSED all deleted"));
  EXPECT_THAT(two.heard(), ElementsAre("CLOSED all deleted"));
  one.say(Ack{.received = one.received});
  EXPECT_FALSE(broker.has_ended);
  two.say(Ack{.received = two.received});
  EXPECT_TRUE(broker.has_ended);
}

TEST(Deleting, TheActorGoesAfterOneSecondWhoeverIsSilent) {
  BrokerByHand broker;
  (void)broker.client(1);
  broker.remove();
  broker.pass(milliseconds(999));
  EXPECT_FALSE(broker.has_ended);
  broker.pass(milliseconds(1));
  EXPECT_TRUE(broker.has_ended);
}

TEST(Deleting, AChannelWithoutClientsGoesAtOnceAndDeletingTwiceIsDeletingOnce) {
  BrokerByHand broker;
  broker.remove();
  EXPECT_TRUE(broker.has_ended);
  broker.has_ended = false;
  broker.remove();
  EXPECT_FALSE(broker.has_ended);
}

TEST(Deleting, WhoDiesNeedNotAcknowledge) {
  BrokerByHand broker;
  Peer& c = broker.client(1);
  broker.remove();
  broker.died(c);
  EXPECT_TRUE(broker.has_ended);
}

TEST(Deleting, ADeletedChannelOpensNothingAndAttachesNobody) {
  BrokerByHand broker;
  Peer& c = broker.sender(1);
  broker.remove();
  (void)c.heard();
  c.open_sender(2);
  c.offer(1, 1, {"a"});
  EXPECT_THAT(c.heard(), IsEmpty());
  EXPECT_EQ(broker.stats().sender_count, 1);
  EXPECT_THAT(broker.places(), IsEmpty());
  Peer& late = broker.unattached(2);
  late.attach();
  EXPECT_THAT(late.heard(), ElementsAre("REFUSED deleted"));
}

}  // namespace
}  // namespace klaw::dataplane::test
