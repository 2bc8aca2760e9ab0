// Demands, deliveries, what becomes of each, and the end.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/dataplane.hpp"

namespace klaw::dataplane::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::StartsWith;

// A sender (client 1) that has sent these, and receivers (clients 2, 3) of the same channel.
struct Channel : BrokerByHand {
  Channel(std::initializer_list<const char*> messages, std::uint64_t capacity = 10)
      : BrokerByHand({.capacity = capacity}), tx(sender(1)), one(receiver(2)), two(receiver(3)) {
    for (const char* const message : messages) send(message);
  }
  void send(const char* message) {
    tx.offer(1, ++seq, {message});
    (void)tx.heard();
  }
  // Nothing more is sent; receivers were told so.
  void end() {
    tx.close(1);
    (void)one.heard();
    (void)two.heard();
  }

  Peer& tx;
  Peer& one;
  Peer& two;
  Seq seq = 0;
};

// --- demand ---

TEST(Receiving, NothingIsDeliveredThatWasNotDemanded) {
  Channel c({"a", "b"});
  EXPECT_THAT(c.one.heard(), IsEmpty());
  c.one.demand(1, 1, 1);
  EXPECT_THAT(c.one.heard(), ElementsAre("DELIVER 1 a#1"));
}

TEST(Receiving, ADemandIsAbsoluteSoThatRepeatingItIsHarmless) {
  Channel c({"a", "b"});
  c.one.demand(1, 1, 1);
  c.one.demand(1, 1, 1);
  EXPECT_THAT(c.one.heard(), ElementsAre("DELIVER 1 a#1"));
  EXPECT_EQ(c.stats().waiting_receivers, 0);
}

TEST(Receiving, ADemandTakesNothingBack) {
  Channel c({});
  c.one.demand(1, 2, 2);
  c.one.demand(1, 1, 1);
  c.send("a");
  c.one.consume(1, {attempt(1)});
  c.send("b");
  EXPECT_THAT(c.one.heard(), ElementsAre("DELIVER 1 a#1", "DELIVER 1 b#2"));
}

TEST(Receiving, AShrinkingDemandIsAnsweredWithWhatWasOrWillBeDelivered) {
  Channel c({"a"});
  c.one.demand(1, 3, 3);
  (void)c.one.heard();
  c.one.shrink(1, 0);
  EXPECT_THAT(c.one.heard(), ElementsAre("DEMAND_IS 1 to=1"));
  c.send("b");
  EXPECT_THAT(c.one.heard(), IsEmpty());
}

TEST(Receiving, AShrinkingDemandMayAlsoAskForMore) {
  Channel c({"a"});
  c.one.shrink(1, 1, 1);
  EXPECT_THAT(c.one.heard(), ElementsAre("DELIVER 1 a#1", "DEMAND_IS 1 to=1"));
}

TEST(Receiving, WhatIsThereIsDeliveredBeforeTheAnswer) {
  Channel c({});
  c.batch([&] {
    c.one.demand(1, 1, 1);
    c.send("a");
    c.one.shrink(1, 0);
  });
  EXPECT_THAT(c.one.heard(), ElementsAre("DELIVER 1 a#1", "DEMAND_IS 1 to=1"));
}

TEST(Receiving, ReceivesAreServedInOrderOfArrivalOneMessageEachInTurn) {
  Channel c({});
  c.one.demand(1, 3, 3);
  c.two.demand(1, 2, 2);
  for (const char* const message : {"a", "b", "c", "d"}) c.send(message);
  EXPECT_THAT(c.one.heard(), ElementsAre("DELIVER 1 a#1", "DELIVER 1 c#3"));
  EXPECT_THAT(c.two.heard(), ElementsAre("DELIVER 1 b#2", "DELIVER 1 d#4"));
}

TEST(Receiving, ASessionThatWantsMoreKeepsItsPlaceInTheLine) {
  Channel c({});
  c.one.demand(1, 1, 1);
  c.two.demand(1, 1, 1);
  c.one.demand(1, 2, 2);
  c.send("a");
  EXPECT_THAT(c.one.heard(), ElementsAre("DELIVER 1 a#1"));
}

TEST(Receiving, DeliveriesOfOneBatchOfEventsTravelTogether) {
  Channel c({"a", "b"});
  c.batch([&] { c.one.demand(1, 2, 2); });
  EXPECT_THAT(c.one.heard(), ElementsAre("DELIVER 1 a#1 b#2"));
}

TEST(Receiving, LargeDeliveriesOfOneBatchOfEventsTravelApart) {
  BrokerByHand broker({.capacity = 8});
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  const std::string half(kDeliverBytesMax / 2, 'x');
  for (Seq seq = 1; seq <= 3; ++seq) tx.offer(1, seq, {half.c_str()});
  (void)rx.heard();
  rx.demand(1, 3, 3);
  const Texts heard = rx.heard();
  ASSERT_EQ(heard.size(), 2);
  EXPECT_THAT(heard[0], StartsWith("DELIVER"));
  EXPECT_GT(heard[0].size(), heard[1].size());
}

TEST(Receiving, WhatIsPrefetchedIsAFairShareOfWhatIsReady) {
  Channel c({"a", "b", "c", "d", "e"});
  c.one.demand(1, 100, 0);
  EXPECT_THAT(c.one.heard(), ElementsAre("DELIVER 1 a#1 b#2"));  // 5 ready, 2 receivers
  c.two.demand(1, 100, 0);
  EXPECT_THAT(c.two.heard(), ElementsAre("DELIVER 1 c#3"));  // 3 ready
}

TEST(Receiving, WhoWaitsComesBeforeWhoPrefetches) {
  Channel c({});
  c.one.demand(1, 100, 0);
  c.two.demand(1, 1, 1);
  c.send("a");
  EXPECT_THAT(c.one.heard(), IsEmpty());
  EXPECT_THAT(c.two.heard(), ElementsAre("DELIVER 1 a#1"));
}

// --- recall and release ---

TEST(Receiving, WhatOneHasToSpareIsRecalledWhenAnotherWaits) {
  Channel c({"a", "b", "c", "d"});
  c.one.demand(1, 100, 0);
  EXPECT_THAT(c.one.heard(), ElementsAre("DELIVER 1 a#1 b#2"));
  c.two.demand(1, 3, 3);
  EXPECT_THAT(c.two.heard(), ElementsAre("DELIVER 1 c#3 d#4"));
  EXPECT_THAT(c.one.heard(), ElementsAre("RECALL 1 count=1"));
  c.one.release(1, {attempt(2)}, true);
  EXPECT_THAT(c.two.heard(), ElementsAre("DELIVER 1 b#5"));  // clean: it was never handed out
}

TEST(Receiving, ARecallIsNotRepeatedBeforeItIsAnsweredNorIfNothingIsSpare) {
  Channel c({"a", "b"});
  c.one.demand(1, 100, 0);
  (void)c.one.heard();
  c.two.demand(1, 2, 2);
  (void)c.one.heard();
  c.two.demand(1, 3, 3);
  EXPECT_THAT(c.one.heard(), IsEmpty());
  c.one.release(1, {}, true);
  c.two.demand(1, 4, 4);
  EXPECT_THAT(c.one.heard(), IsEmpty());
}

TEST(Receiving, WhatAReceiveWaitsForIsNotSpare) {
  Channel c({"a"});
  c.one.demand(1, 1, 1);
  c.two.demand(1, 1, 1);
  EXPECT_THAT(c.one.heard(), ElementsAre("DELIVER 1 a#1"));
  c.one.shrink(1, 1, 0, 1);  // that receive was cancelled
  EXPECT_THAT(c.one.heard(), ElementsAre("RECALL 1 count=1", "DEMAND_IS 1 to=1"));
}

TEST(Receiving, WhatComesBackUnreadGoesToItsOldPlaceUnmarked) {
  Channel c({"a", "b", "c"});
  c.one.demand(1, 2, 2);
  (void)c.one.heard();
  c.one.release(1, {attempt(2), attempt(1)});
  EXPECT_THAT(c.places(), ElementsAre("a ready", "b ready", "c ready"));
  c.batch([&] { c.two.demand(1, 3, 3); });
  EXPECT_THAT(c.two.heard(), ElementsAre("DELIVER 1 a#3 b#4 c#5"));
}

TEST(Receiving, CloseReleasesAllThatIsUnread) {
  Channel c({"a", "b", "c"});
  c.one.demand(1, 2, 2);
  c.one.consume(1, {attempt(1)}, false);
  c.one.close(1);
  EXPECT_THAT(c.places(), ElementsAre("b ready", "c ready", "a unsettled"));
}

TEST(Receiving, WhatWasDeliveredAndNotSentYetIsGivenBackByClose) {
  Channel c({"a"});
  c.batch([&] {
    c.one.demand(1, 1, 1);
    c.one.close(1);
  });
  EXPECT_THAT(c.one.heard(), IsEmpty());
  EXPECT_THAT(c.places(), ElementsAre("a ready"));
}

// --- consumed and settled ---

TEST(Receiving, ConsumedFreesTheSlotAndTheWakeUpDoesNot) {
  Channel c({"a"}, 1);
  c.send("b");
  c.one.demand(1, 1, 1);
  EXPECT_THAT(c.places(), ElementsAre("a unread", "b offered"));
  c.one.consume(1, {attempt(1)});
  EXPECT_THAT(c.places(), ElementsAre("b ready"));
  EXPECT_THAT(c.tx.heard(), ElementsAre("STORED 1:2"));
}

TEST(Receiving, WhatIsConsumedUnsettledHasGivenItsSlotAwayAndIsStillAccountedFor) {
  Channel c({"a"}, 1);
  c.one.demand(1, 1, 1);
  c.one.consume(1, {attempt(1)}, false);
  c.send("b");
  EXPECT_THAT(c.places(), ElementsAre("b ready", "a unsettled"));
  c.one.settle(1, {attempt(1)});
  EXPECT_THAT(c.places(), ElementsAre("b ready"));
}

TEST(Receiving, ARequeuedMessageIsHandedOutAgainMarkedAndFirst) {
  Channel c({"a", "b"});
  c.one.demand(1, 1, 1);
  c.one.consume(1, {attempt(1)}, false);
  c.one.requeue(1, {attempt(1)});
  EXPECT_THAT(c.places(), ElementsAre("a lane", "b ready"));
  c.batch([&] { c.two.demand(1, 2, 2); });
  EXPECT_THAT(c.two.heard(), ElementsAre("DELIVER 1 a#2+1 b#3"));
  EXPECT_EQ(c.stats().redelivered, 1);
}

TEST(Receiving, TheLaneTakesNoRoomFromTheQueueAndTheLaneIsInTheOriginalOrder) {
  Channel c({"a"}, 1);
  c.one.demand(1, 1, 1);
  c.one.consume(1, {attempt(1)}, false);
  c.send("b");
  c.one.demand(1, 2, 1);
  c.one.consume(1, {attempt(2)}, false);
  c.send("c");
  c.one.requeue(1, {attempt(2)});
  c.one.requeue(1, {attempt(1)});
  EXPECT_THAT(c.places(), ElementsAre("a lane", "b lane", "c ready"));
  EXPECT_EQ(c.stats().queue_size, 3);
}

TEST(Receiving, ARequeuedMessageComesBackAfterItsDelay) {
  Channel c({"a"});
  c.one.demand(1, 1, 1);
  c.one.consume(1, {attempt(1)}, false);
  c.two.demand(1, 1, 1);
  c.one.requeue(1, {attempt(1)}, 1500);
  EXPECT_THAT(c.places(), ElementsAre("a delayed"));
  EXPECT_EQ(c.stats().queue_size, 1);
  c.pass(milliseconds(1499), {&c.one, &c.two});
  EXPECT_THAT(c.two.heard(), IsEmpty());
  c.pass(milliseconds(1), {&c.one, &c.two});
  EXPECT_THAT(c.two.heard(), ElementsAre("DELIVER 1 a#2+1"));
}

TEST(Receiving, SettlementsAreAcceptedAfterTheEndAndAfterClose) {
  Channel c({"a"});
  c.one.demand(1, 1, 1);
  c.one.consume(1, {attempt(1)}, false);
  c.end();
  c.one.demand(1, 2, 1);
  EXPECT_THAT(c.one.heard(), ElementsAre("END 1 ended"));
  c.one.close(1);
  EXPECT_THAT(c.places(), ElementsAre("a unsettled"));
  c.one.requeue(1, {attempt(1)});
  EXPECT_EQ(c.one.closed_because, "");
  c.two.demand(1, 1, 1);
  EXPECT_THAT(c.two.heard(), ElementsAre("DELIVER 1 a#2+1"));
}

TEST(Receiving, AStaleSettlementSettlesNothing) {
  Channel c({"a"});
  c.one.demand(1, 1, 1);
  c.one.consume(1, {attempt(1)}, false);
  c.one.requeue(1, {attempt(1)});
  c.two.demand(1, 1, 1);
  c.two.consume(1, {attempt(2)}, false);
  c.one.settle(1, {attempt(1)});
  c.one.requeue(1, {attempt(1)});
  EXPECT_THAT(c.places(), ElementsAre("a unsettled"));
}

TEST(Receiving, NobodySettlesConsumesOrReleasesWhatIsAnothers) {
  Channel c({"a"});
  c.one.demand(1, 1, 1);
  c.two.consume(1, {attempt(1)});
  c.two.settle(1, {attempt(1)});
  c.two.release(1, {attempt(1)});
  EXPECT_THAT(c.places(), ElementsAre("a unread"));
  c.one.consume(1, {attempt(1)}, false);
  c.two.settle(1, {attempt(1)});
  c.two.requeue(1, {attempt(1)});
  EXPECT_THAT(c.places(), ElementsAre("a unsettled"));
}

TEST(Receiving, OnlyWhatWasConsumedIsSettledAndOnlyWhatIsUnreadIsReleased) {
  Channel c({"a"});
  c.one.demand(1, 1, 1);
  c.one.settle(1, {attempt(1)});
  EXPECT_THAT(c.places(), ElementsAre("a unread"));
  c.one.consume(1, {attempt(1)}, false);
  c.one.release(1, {attempt(1)});
  c.one.consume(1, {attempt(1)});
  EXPECT_THAT(c.places(), ElementsAre("a unsettled"));
}

TEST(Receiving, ASettlementOfAnEarlierEpochSettlesNothing) {
  BrokerByHand broker({.epoch = 2});
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.offer(1, 1, {"a"});
  rx.demand(1, 1, 1);
  EXPECT_THAT(rx.heard(), ElementsAre("DELIVER 1 a#1@2"));
  rx.consume(1, {attempt(1, 1)});
  EXPECT_THAT(broker.places(), ElementsAre("a unread"));
  rx.consume(1, {attempt(1, 2)});
  EXPECT_THAT(broker.places(), IsEmpty());
}

TEST(Receiving, AReceiverThatSettlesNothingIsGivenNoMoreThanTheLimit) {
  BrokerByHand broker({.capacity = kUnbounded});
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.say(Offer{.session = 1, .seq = 1, .message = Bytes("a"), .more = std::vector<Bytes>(kOutstandingMax, Bytes("b"))});
  rx.demand(1, kOutstandingMax + 1, kOutstandingMax + 1);
  EXPECT_EQ(broker.stats().in_flight, kOutstandingMax);
  EXPECT_EQ(broker.stats().waiting_receivers, 0);
  rx.consume(1, {attempt(1)});
  EXPECT_EQ(broker.stats().in_flight, kOutstandingMax);
  EXPECT_EQ(broker.stats().queue_size, 0);
}

// --- the end ---

TEST(Receiving, TheEndComesWhenNoSenderIsOpenAndNothingIsLeft) {
  Channel c({"a"});
  c.tx.close(1);
  EXPECT_THAT(c.one.heard(), ElementsAre("CLOSED 1 ended"));
  c.one.demand(1, 2, 2);
  EXPECT_THAT(c.one.heard(), ElementsAre("DELIVER 1 a#1", "END 1 ended"));
}

TEST(Receiving, TheEndIsTheReasonThatASenderClosedWith) {
  Channel c({});
  c.one.demand(1, 1, 1);
  c.tx.close(1, "it broke");
  EXPECT_THAT(c.one.heard(), ElementsAre("CLOSED 1 peer_died: it broke", "END 1 peer_died: it broke"));
}

TEST(Receiving, TheEndIsToldOnlyToThoseWhoseReceivesWait) {
  Channel c({});
  c.one.demand(1, 1, 1);
  c.two.demand(1, 1, 0);
  c.tx.close(1);
  EXPECT_THAT(c.one.heard(), ElementsAre("CLOSED 1 ended", "END 1 ended"));
  EXPECT_THAT(c.two.heard(), ElementsAre("CLOSED 1 ended"));
  c.two.demand(1, 1, 1);
  EXPECT_THAT(c.two.heard(), ElementsAre("END 1 ended"));
}

TEST(Receiving, AReceiversOwnAttemptsDoNotHoldItsEndBack) {
  Channel c({"a"});
  c.one.demand(1, 1, 1);
  c.one.consume(1, {attempt(1)}, false);
  c.end();
  c.one.demand(1, 2, 1);
  EXPECT_THAT(c.one.heard(), ElementsAre("END 1 ended"));
}

TEST(Receiving, AttemptsOutstandingAtOthersHoldTheEndBack) {
  Channel c({"a", "b"});
  c.one.demand(1, 1, 1);
  c.two.demand(1, 1, 1);
  c.one.consume(1, {attempt(1)}, false);
  c.end();
  c.two.consume(1, {attempt(2)});
  c.two.demand(1, 2, 1);
  EXPECT_THAT(c.two.heard(), IsEmpty());
  c.one.requeue(1, {attempt(1)});
  EXPECT_THAT(c.two.heard(), ElementsAre("DELIVER 1 a#3+1"));
  c.two.demand(1, 3, 1);
  EXPECT_THAT(c.two.heard(), ElementsAre("END 1 ended"));
}

TEST(Receiving, WhatWaitsForItsDelayHoldsTheEndBack) {
  Channel c({"a"});
  c.one.demand(1, 1, 1);
  c.one.consume(1, {attempt(1)}, false);
  c.one.requeue(1, {attempt(1)}, 1000);
  c.end();
  c.one.demand(1, 2, 1);
  EXPECT_THAT(c.one.heard(), IsEmpty());
  c.pass(seconds(1), {&c.one});
  EXPECT_THAT(c.one.heard(), ElementsAre("DELIVER 1 a#2+1"));
}

TEST(Receiving, OffersHoldTheEndBack) {
  Channel c({"a"}, 1);
  c.send("b");
  c.end();
  c.batch([&] {
    c.one.demand(1, 3, 3);
    c.one.consume(1, {attempt(1)});
  });
  EXPECT_THAT(c.one.heard(), ElementsAre("CLOSED 1 ended", "DELIVER 1 a#1 b#2", "END 1 ended"));
}

TEST(Receiving, WhatIsRequeuedAfterTheEndIsGivenToWhoAsksAgain) {
  Channel c({"a"});
  c.one.demand(1, 1, 1);
  c.one.consume(1, {attempt(1)}, false);
  c.end();
  c.one.demand(1, 2, 1);
  c.one.requeue(1, {attempt(1)});
  c.one.demand(1, 2, 1);
  EXPECT_THAT(c.one.heard(), ElementsAre("END 1 ended", "DELIVER 1 a#2+1"));
}

TEST(Receiving, WhatIsRequeuedWhenNoReceiverIsLeftIsDroppedAndLogged) {
  Channel c({"a"});
  c.one.demand(1, 1, 1);
  c.one.consume(1, {attempt(1)}, false);
  c.one.close(1);
  c.two.close(1);
  c.one.requeue(1, {attempt(1)});
  EXPECT_THAT(c.places(), IsEmpty());
  EXPECT_THAT(c.log, ElementsAre("a message that came back is dropped: no receiver is left"));
}

}  // namespace
}  // namespace klaw::dataplane::test
