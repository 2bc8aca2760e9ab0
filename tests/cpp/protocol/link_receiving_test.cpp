// Receives as demands: what is asked for, what is handed out, given back or settled, and the lease.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/dataplane.hpp"

namespace klaw::dataplane::test {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

// --- demand ---

TEST(LinkReceiving, NothingIsDemandedBeforeTheFirstReceive) {
  LinkByHand l(5);
  (void)l.ready(Side::receiver);
  l.pass_in_touch(seconds(5));
  EXPECT_THAT(l.process.said(), IsEmpty());
}

TEST(LinkReceiving, AsManyAreDemandedAsReceivesWaitFor) {
  LinkByHand l;
  const Registration rx = l.ready(Side::receiver);
  l.process.batch([&] {
    (void)l.process.recv(rx);
    (void)l.process.recv(rx, {.batch = 3});
  });
  EXPECT_THAT(l.process.said(), ElementsAre("DEMAND 1 to=4 waiting=4"));
}

TEST(LinkReceiving, WithPrefetchMoreIsDemandedThanReceivesWaitFor) {
  LinkByHand l(5);
  const Registration rx = l.ready(Side::receiver);
  (void)l.process.recv(rx);
  EXPECT_THAT(l.process.said(), ElementsAre("DEMAND 1 to=5 waiting=1"));
}

TEST(LinkReceiving, PrefetchingEndsAfterAHeartbeatWithoutAReceive) {
  LinkByHand l(5);
  const Registration rx = l.ready(Side::receiver);
  Recv& received = l.process.recv(rx);
  l.deliver({"a"});
  EXPECT_EQ(received.result(), "a");
  (void)l.process.said();
  l.pass_in_touch(seconds(3));
  EXPECT_THAT(l.process.said(), ElementsAre("DEMAND_SHRINK 1 to=1 waiting=0"));
  (void)l.process.recv(rx);
  EXPECT_THAT(l.process.said(), ElementsAre("DEMAND 1 to=6 waiting=1"));
}

TEST(LinkReceiving, ReceivesAreServedInOrderOfArrival) {
  LinkByHand l;
  const Registration rx = l.ready(Side::receiver);
  Recv& first = l.process.recv(rx);
  Recv& second = l.process.recv(rx);
  l.deliver({"a"});
  EXPECT_EQ(second.result(), "pending");
  EXPECT_EQ(first.result(), "a");
  l.deliver({"b"});
  EXPECT_EQ(second.result(), "b");
}

TEST(LinkReceiving, ABatchTakesWhatIsThereButNothingThatIsGrantedToOthers) {
  LinkByHand l(5);
  const Registration rx = l.ready(Side::receiver);
  Recv& single = l.process.recv(rx);
  l.deliver({"a", "b", "c"});
  EXPECT_EQ(l.process.recv(rx, {.batch = 5}).result(), "a b");
  EXPECT_EQ(single.result(), "c");
}

// --- consuming and settling ---

TEST(LinkReceiving, AMessageIsConsumedWhenItIsReturnedAndNotWhenItsReceiveIsWoken) {
  LinkByHand l;
  const Registration rx = l.ready(Side::receiver);
  Recv& received = l.process.recv(rx);
  (void)l.process.said();
  l.deliver({"a"});
  EXPECT_THAT(l.process.said(), IsEmpty());
  EXPECT_EQ(received.result(), "a");
  EXPECT_THAT(l.process.said(), ElementsAre("CONSUMED 1 #1"));
}

TEST(LinkReceiving, WhatWasTakenInOneBatchOfEventsIsReportedTogether) {
  LinkByHand l(5);
  const Registration rx = l.ready(Side::receiver);
  Recv& first = l.process.recv(rx);
  l.deliver({"a", "b", "c"});
  (void)l.process.said();
  l.process.batch([&] {
    EXPECT_EQ(first.result(), "a");
    EXPECT_EQ(l.process.recv(rx).result(), "b");
  });
  EXPECT_EQ(l.process.said()[0], "CONSUMED 1 #1 #2");
}

TEST(LinkReceiving, TheApplicationSettlesWhatItReceivedWithAcknowledgement) {
  LinkByHand l;
  Registration rx = l.ready(Side::receiver);
  Recv& one = l.process.recv(rx, {.acknowledges = true});
  Recv& two = l.process.recv(rx, {.acknowledges = true});
  Recv& three = l.process.recv(rx, {.acknowledges = true});
  l.deliver({"a", "b", "c"});
  for (Recv* const received : {&one, &two, &three}) (void)received->result();
  EXPECT_THAT(l.process.said(),
              ElementsAre("DEMAND 1 to=1 waiting=1", "DEMAND 1 to=2 waiting=2", "DEMAND 1 to=3 waiting=3",
                          "CONSUMED 1 unsettled #1", "CONSUMED 1 unsettled #2", "CONSUMED 1 unsettled #3"));
  l.process.settle(rx, {one.attempt()}, false);
  l.process.settle(rx, {two.attempt()}, true, microseconds(1500));
  EXPECT_THAT(l.process.said(), ElementsAre("SETTLE 1 ok #1", "SETTLE 1 requeue delay=2 #2"));
  l.process.close(Side::receiver, rx);
  l.process.settle(rx, {three.attempt()}, true);
  EXPECT_THAT(l.process.said(), ElementsAre("CLOSE 1", "SETTLE 1 requeue #3"));
}

TEST(LinkReceiving, TheBrokerHearsOfTheTakingBeforeTheSettlement) {
  LinkByHand l;
  const Registration rx = l.ready(Side::receiver);
  Recv& received = l.process.recv(rx, {.acknowledges = true});
  l.deliver({"a"});
  (void)l.process.said();
  l.process.batch([&] {
    (void)received.result();
    l.process.settle(rx, {received.attempt()}, false);
  });
  EXPECT_THAT(l.process.said(), ElementsAre("CONSUMED 1 unsettled #1", "SETTLE 1 ok #1"));
}

// --- what is decoded before it is returned ---

TEST(LinkReceiving, WhatIsDecodedBeforeItIsReturnedIsConsumedAfterThat) {
  LinkByHand l(5);
  const Registration rx = l.ready(Side::receiver);
  Recv& first = l.process.recv(rx, {.confirms = true});
  l.deliver({"a", "b", "c"});
  EXPECT_EQ(first.result(), "a");
  EXPECT_EQ(l.process.recv(rx, {.batch = 2, .confirms = true}).result(), "b c");
  EXPECT_THAT(l.process.said(), Not(Contains(StartsWith("CONSUMED"))));
  EXPECT_EQ(l.process.confirm(rx, {attempt(2), attempt(3)}), "returned");
  EXPECT_EQ(l.process.confirm(rx, {attempt(1)}), "returned");
  EXPECT_THAT(l.process.said(), ElementsAre("CONSUMED 1 #2 #3", "CONSUMED 1 #1"));
}

TEST(LinkReceiving, AHandleThatClosesWhileItDecodesSettlesAfterwards) {
  LinkByHand l;
  Registration rx = l.ready(Side::receiver);
  Recv& received = l.process.recv(rx, {.confirms = true});
  l.deliver({"a"});
  EXPECT_EQ(received.result(), "a");
  (void)l.process.said();
  l.process.close(Side::receiver, rx);
  EXPECT_THAT(l.process.said(), ElementsAre("CONSUMED 1 unsettled #1", "CLOSE 1"));
  EXPECT_EQ(l.process.confirm(rx, {attempt(1)}), "returned");
  EXPECT_THAT(l.process.said(), ElementsAre("SETTLE 1 ok #1"));
}

TEST(LinkReceiving, WhatIsBeingDecodedWhenTheProcessEndsGoesBack) {
  LinkByHand l;
  const Registration rx = l.ready(Side::receiver);
  Recv& received = l.process.recv(rx, {.confirms = true});
  l.deliver({"a"});
  EXPECT_EQ(received.result(), "a");
  (void)l.process.said();
  l.process.link.close_all(l.now);
  l.process.turn();
  EXPECT_THAT(l.process.said(), ElementsAre("CONSUMED 1 unsettled #1", "SETTLE 1 requeue #1", "CLOSE 1"));
  EXPECT_THAT(l.process.confirm(rx, {attempt(1)}), HasSubstr("given to another receiver"));
}

// --- time limits ---

TEST(LinkReceiving, ATimedReceiveIsEmptyOnlyAfterTheBrokerHasAnswered) {
  LinkByHand l;
  const Registration rx = l.ready(Side::receiver);
  Recv& received = l.process.recv(rx, {.deadline = l.now + milliseconds(10)});
  (void)l.process.said();
  l.pass(milliseconds(10));
  EXPECT_THAT(l.process.said(), ElementsAre("DEMAND_SHRINK 1 to=0 waiting=0"));
  EXPECT_EQ(received.result(), "pending");
  l.process.hear(DemandIs{.session = 1});
  EXPECT_EQ(received.result(), "empty");
}

TEST(LinkReceiving, WhatArrivesBeforeTheAnswerIsTheReceivesOwn) {
  LinkByHand l;
  const Registration rx = l.ready(Side::receiver);
  Recv& received = l.process.recv(rx, {.deadline = l.now + milliseconds(10)});
  l.pass(milliseconds(10));
  l.deliver({"a"});
  l.process.hear(DemandIs{.session = 1, .limit = 1});
  EXPECT_EQ(received.result(), "a");
}

// What was demanded for it went to receives that came earlier: there may be more.
TEST(LinkReceiving, AskedWhetherThereIsNothingABrokerThatGaveAllIsAskedAgain) {
  LinkByHand l;
  const Registration rx = l.ready(Side::receiver);
  Recv& timed = l.process.recv(rx, {.deadline = l.now + milliseconds(10)});
  l.pass(milliseconds(10));
  Recv& tried = l.process.try_recv(rx);
  EXPECT_THAT(l.process.said(), ElementsAre("DEMAND 1 to=1 waiting=1", "DEMAND_SHRINK 1 to=0 waiting=0",
                                            "DEMAND 1 to=1 waiting=1", "DEMAND_SHRINK 1 to=0 waiting=0"));
  l.deliver({"a"});
  EXPECT_EQ(timed.result(), "a");
  l.process.hear(DemandIs{.session = 1, .limit = 1});
  l.process.hear(DemandIs{.session = 1, .limit = 1});
  EXPECT_EQ(tried.result(), "pending");
  EXPECT_THAT(l.process.said(), testing::IsSupersetOf({"DEMAND 1 to=2 waiting=1", "DEMAND_SHRINK 1 to=1 waiting=0"}));
  l.process.hear(DemandIs{.session = 1, .limit = 1});
  EXPECT_EQ(tried.result(), "empty");
}

TEST(LinkReceiving, ATryAsksTheBrokerOnce) {
  LinkByHand l;
  const Registration rx = l.ready(Side::receiver);
  Recv& received = l.process.try_recv(rx);
  EXPECT_THAT(l.process.said(), ElementsAre("DEMAND 1 to=1 waiting=1", "DEMAND_SHRINK 1 to=0 waiting=0"));
  EXPECT_EQ(received.result(), "pending");
  l.process.hear(DemandIs{.session = 1});
  EXPECT_EQ(received.result(), "empty");
}

TEST(LinkReceiving, AnAnswerToAnEarlierQuestionIsNoAnswer) {
  LinkByHand l;
  const Registration rx = l.ready(Side::receiver);
  Recv& cancelled = l.process.recv(rx);
  cancelled.give_up();
  Recv& tried = l.process.try_recv(rx);
  l.process.hear(DemandIs{.session = 1});
  EXPECT_EQ(tried.result(), "pending");
  l.process.hear(DemandIs{.session = 1});
  EXPECT_EQ(tried.result(), "empty");
}

TEST(LinkReceiving, ATimedReceiveLeavesTheOthersDemandAlone) {
  LinkByHand l;
  const Registration rx = l.ready(Side::receiver);
  (void)l.process.recv(rx, {.deadline = l.now + milliseconds(10)});
  Recv& patient = l.process.recv(rx);
  (void)l.process.said();
  l.pass(milliseconds(10));
  EXPECT_THAT(l.process.said(), ElementsAre("DEMAND_SHRINK 1 to=1 waiting=1"));
  l.process.hear(DemandIs{.session = 1, .limit = 1});
  l.deliver({"a"});
  EXPECT_EQ(patient.result(), "a");
}

// --- what is left unread ---

TEST(LinkReceiving, ACancelledReceiveTakesItsDemandBack) {
  LinkByHand l;
  const Registration rx = l.ready(Side::receiver);
  Recv& received = l.process.recv(rx);
  (void)l.process.said();
  received.give_up();
  EXPECT_THAT(l.process.said(), ElementsAre("DEMAND_SHRINK 1 to=0 waiting=0"));
}

TEST(LinkReceiving, WhatArrivesForACancelledReceiveServesTheNext) {
  LinkByHand l;
  const Registration rx = l.ready(Side::receiver);
  Recv& received = l.process.recv(rx);
  received.give_up();
  (void)l.process.said();
  l.deliver({"a"});
  EXPECT_THAT(l.process.said(), ElementsAre("DEMAND 1 to=1 waiting=0 spare=1"));
  EXPECT_EQ(l.process.recv(rx).result(), "a");
}

TEST(LinkReceiving, AReceiveCancelledAfterItsWakeUpHandsItsMessageOn) {
  LinkByHand l;
  const Registration rx = l.ready(Side::receiver);
  Recv& woken = l.process.recv(rx);
  l.deliver({"a"});
  Recv& next = l.process.recv(rx);
  EXPECT_EQ(next.result(), "pending");
  woken.give_up();
  EXPECT_EQ(next.result(), "a");
}

TEST(LinkReceiving, ARecallTakesWhatIsSpareFromTheTail) {
  LinkByHand l(5);
  const Registration rx = l.ready(Side::receiver);
  Recv& woken = l.process.recv(rx);
  l.deliver({"a", "b", "c", "d"});
  (void)l.process.said();
  l.process.hear(Recall{.session = 1, .count = 2});
  EXPECT_EQ(l.process.said()[0], "RELEASE 1 answer #4 #3");
  l.process.hear(Recall{.session = 1, .count = 2});
  EXPECT_EQ(l.process.said()[0], "RELEASE 1 answer #2");
  l.process.hear(Recall{.session = 1, .count = 2});
  EXPECT_EQ(l.process.said()[0], "RELEASE 1 answer");
  EXPECT_EQ(woken.result(), "a");
}

TEST(LinkReceiving, WhoHadNothingToSpareReportsWhenItHas) {
  LinkByHand l(1);
  const Registration rx = l.ready(Side::receiver);
  Recv& woken = l.process.recv(rx);
  l.deliver({"a"});
  l.process.hear(Recall{.session = 1, .count = 1});
  (void)l.process.said();
  woken.give_up();
  EXPECT_THAT(l.process.said(), Contains("DEMAND 1 to=2 waiting=0 spare=1"));
}

TEST(LinkReceiving, CloseGivesBackWhatIsUnreadOnceNobodyIsAboutToTakeAny) {
  LinkByHand l(5);
  Registration rx = l.ready(Side::receiver);
  Recv& woken = l.process.recv(rx);
  l.deliver({"a", "b"});
  (void)l.process.said();
  l.process.close(Side::receiver, rx);
  EXPECT_THAT(l.process.said(), IsEmpty());
  EXPECT_EQ(woken.result(), "a");
  EXPECT_THAT(l.process.said(), ElementsAre("CONSUMED 1 #1", "CLOSE 1"));
}

TEST(LinkReceiving, ARendezvousKeepsNothingForTheNextReceive) {
  LinkByHand l;
  Attached broker = LinkByHand::attached();
  broker.capacity = 0;
  const Registration rx = l.ready(Side::receiver, broker);
  Recv& woken = l.process.recv(rx);
  l.deliver({"a"});
  (void)l.process.said();
  woken.give_up();
  EXPECT_THAT(l.process.said(), ElementsAre("RELEASE 1 #1"));
}

TEST(LinkReceiving, ARendezvousDoesNotPrefetch) {
  LinkByHand l(5);
  Attached broker = LinkByHand::attached();
  broker.capacity = 0;
  const Registration rx = l.ready(Side::receiver, broker);
  (void)l.process.recv(rx);
  EXPECT_THAT(l.process.said(), ElementsAre("DEMAND 1 to=1 waiting=1"));
}

TEST(LinkReceiving, TheRedeliveryCountIsHandedOn) {
  LinkByHand l;
  const Registration rx = l.ready(Side::receiver);
  Recv& received = l.process.recv(rx);
  l.process.hear(Deliver{.session = 1, .delivery = {.attempt = attempt(9), .redeliveries = 2, .message = Bytes("a")}});
  EXPECT_EQ(received.result(), "a+2");
}

// --- the end ---

TEST(LinkReceiving, TheEndComesAfterWhatIsUnread) {
  LinkByHand l(5);
  const Registration rx = l.ready(Side::receiver);
  Recv& first = l.process.recv(rx);
  Recv& second = l.process.recv(rx);
  Recv& third = l.process.recv(rx);
  l.deliver({"a", "b"});
  l.process.hear(End{.session = 1, .kind = CloseKind::ended});
  EXPECT_EQ(first.result(), "a");
  EXPECT_EQ(second.result(), "b");
  EXPECT_EQ(third.result(), "closed ended");
  EXPECT_EQ(l.process.recv(rx).result(), "closed ended");
  EXPECT_TRUE(l.process.link.is_closed(Side::receiver, rx));
}

// If it is cancelled, its message goes to those that wait beside it.
TEST(LinkReceiving, TheEndIsNotToldWhileAWokenReceiveMayStillLeaveItsMessage) {
  LinkByHand l;
  const Registration rx = l.ready(Side::receiver);
  Recv& woken = l.process.recv(rx);
  Recv& next = l.process.recv(rx);
  Recv& last = l.process.recv(rx);
  l.deliver({"a"});
  l.process.hear(End{.session = 1, .kind = CloseKind::ended});
  EXPECT_EQ(next.result(), "pending");
  EXPECT_EQ(last.result(), "pending");
  EXPECT_FALSE(l.process.link.is_closed(Side::receiver, rx));
  Recv& trying = l.process.try_recv(rx);
  l.process.hear(DemandIs{.session = 1, .limit = 1});
  EXPECT_EQ(trying.result(), "empty");
  woken.give_up();
  EXPECT_EQ(next.result(), "a");
  EXPECT_EQ(last.result(), "closed ended");
  EXPECT_TRUE(l.process.link.is_closed(Side::receiver, rx));
}

// Else what it gave back could stay at the broker for ever, if nobody else receives.
TEST(LinkReceiving, TheEndIsVoidOnceSomethingIsGivenBack) {
  for (const bool requeues : {false, true}) {
    LinkByHand l(5);
    const Registration rx = l.ready(Side::receiver);
    Recv& first = l.process.recv(rx, {.acknowledges = true});
    Recv& second = l.process.recv(rx);
    l.deliver({"a", "b"});
    EXPECT_EQ(first.result(), "a");
    l.process.hear(End{.session = 1, .kind = CloseKind::ended});
    if (requeues) {
      EXPECT_EQ(second.result(), "b");
      EXPECT_EQ(l.process.recv(rx).result(), "closed ended");
      l.process.settle(rx, {first.attempt()}, true);
    } else {
      second.give_up();
      l.process.hear(Recall{.session = 1, .count = 1});
    }
    (void)l.process.said();
    EXPECT_FALSE(l.process.link.is_closed(Side::receiver, rx));
    Recv& again = l.process.recv(rx);
    EXPECT_EQ(again.result(), "pending");
    EXPECT_THAT(l.process.said(), ElementsAre("DEMAND 1 to=7 waiting=1"));
    l.process.hear(End{.session = 1, .received = 99, .kind = CloseKind::ended});
    EXPECT_EQ(again.result(), "closed ended");
  }
}

// It was said before the broker had heard of it.
TEST(LinkReceiving, AnEndThatCrossesWhatIsGivenBackIsVoid) {
  LinkByHand l;
  const Registration rx = l.ready(Side::receiver);
  Recv& first = l.process.recv(rx, {.acknowledges = true});
  l.deliver({"a"});
  EXPECT_EQ(first.result(), "a");
  Recv& second = l.process.recv(rx);
  l.process.settle(rx, {first.attempt()}, true);
  (void)l.process.said();
  l.process.hear(End{.session = 1, .received = 3, .kind = CloseKind::ended});
  EXPECT_EQ(second.result(), "pending");
  EXPECT_THAT(l.process.said(), ElementsAre("DEMAND 1 to=2 waiting=1"));
  l.process.hear(End{.session = 1, .received = 6, .kind = CloseKind::ended});
  EXPECT_EQ(second.result(), "closed ended");
}

TEST(LinkReceiving, AHandleIsNotClosedWhileThereIsSomethingToDrain) {
  LinkByHand l(5);
  const Registration rx = l.ready(Side::receiver);
  Recv& cancelled = l.process.recv(rx);
  l.deliver({"a"});
  l.process.hear(Closed{.session = 1, .kind = CloseKind::peer_died, .reason = "it broke"});
  l.process.hear(End{.session = 1, .kind = CloseKind::peer_died, .reason = "it broke"});
  cancelled.give_up();
  EXPECT_FALSE(l.process.link.is_closed(Side::receiver, rx));
  EXPECT_EQ(l.process.recv(rx).result(), "a");
  EXPECT_TRUE(l.process.link.is_closed(Side::receiver, rx));
  EXPECT_EQ(l.process.try_recv(rx).result(), "closed peer_died: it broke");
}

// --- the lease ---

// A message that no receive waits for.
Registration with_unread(LinkByHand& l) {
  const Registration rx = l.ready(Side::receiver);
  l.process.recv(rx).give_up();
  l.deliver({"a"});
  (void)l.process.said();
  return rx;
}

TEST(Lease, AProcessThatStoodStillAsksBeforeItHandsOut) {
  LinkByHand l;
  const Registration rx = with_unread(l);
  l.stand_still(seconds(3));
  Recv& received = l.process.recv(rx);
  EXPECT_EQ(received.result(), "pending");
  l.process.tick();
  EXPECT_EQ(l.process.said().back(), "PING");
}

TEST(Lease, IsRenewedByAnAnswerToAPingThatWasSentSince) {
  LinkByHand l;
  const Registration rx = with_unread(l);
  l.stand_still(seconds(3));
  const auto before_us = static_cast<std::uint64_t>((l.now - seconds(3)).time_since_epoch().count());
  Recv& received = l.process.recv(rx);
  l.process.hear(Ping{.sent_us = 1, .echo_us = before_us});  // had waited in the socket all the time
  l.process.hear(Recall{});                                  // and so had this
  EXPECT_EQ(received.result(), "pending");
  l.process.tick();
  l.answer_pings();
  EXPECT_EQ(received.result(), "a");
}

TEST(Lease, IsKeptByHeartbeats) {
  LinkByHand l;
  const Registration rx = with_unread(l);
  l.pass_in_touch(seconds(30));
  EXPECT_EQ(l.process.recv(rx).result(), "a");
}

TEST(Lease, AnEchoFromTheFutureProvesNothing) {
  LinkByHand l;
  const Registration rx = with_unread(l);
  l.stand_still(seconds(3));
  Recv& received = l.process.recv(rx);
  l.process.hear(
      Ping{.sent_us = 1, .echo_us = static_cast<std::uint64_t>((l.now + seconds(1)).time_since_epoch().count())});
  EXPECT_EQ(received.result(), "pending");
}

TEST(Lease, AReceiveThatStoodStillBetweenWakeUpAndReturnRaisesAndTheMessageStays) {
  LinkByHand l;
  const Registration rx = l.ready(Side::receiver);
  Recv& woken = l.process.recv(rx);
  l.deliver({"a"});
  l.stand_still(seconds(3));
  EXPECT_EQ(woken.result(),
            "closed backend: this process stood still for too long to be sure that the message is still its own; "
            "try again");
  Recv& again = l.process.recv(rx);
  l.process.tick();
  l.answer_pings();
  EXPECT_EQ(again.result(), "a");
}

TEST(Lease, WhatWasBeingDecodedWhileTheProcessStoodStillIsNotReturnedAndGoesBack) {
  LinkByHand l;
  const Registration rx = l.ready(Side::receiver);
  Recv& received = l.process.recv(rx, {.confirms = true});
  l.deliver({"a"});
  EXPECT_EQ(received.result(), "a");
  l.stand_still(seconds(3));
  (void)l.process.said();
  EXPECT_THAT(l.process.confirm(rx, {attempt(1)}), HasSubstr("stood still for too long"));
  EXPECT_THAT(l.process.said(), ElementsAre("CONSUMED 1 unsettled #1", "SETTLE 1 requeue #1"));
}

TEST(Lease, WhatAReceiveWaitsForTheLeaseWithIsNotSpare) {
  LinkByHand l;
  const Registration rx = with_unread(l);
  l.stand_still(seconds(3));
  Recv& received = l.process.recv(rx);
  (void)l.process.said();
  l.process.hear(Recall{.session = 1, .count = 1});
  EXPECT_EQ(l.process.said()[0], "RELEASE 1 answer");
  received.give_up();
  EXPECT_THAT(l.process.said(), ElementsAre("DEMAND 1 to=1 waiting=0 spare=1"));
}

}  // namespace
}  // namespace klaw::dataplane::test
