// shutdown as a process asks for it, and as it hears of it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/dataplane.hpp"

namespace klaw::dataplane::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Outcome = Answer::Outcome;

IsShutDown enough(bool immediate = false) { return {.immediate = immediate, .reason = "enough"}; }

TEST(LinkShutdown, IsDoneWhenTheBrokerHasSaidSo) {
  LinkByHand l;
  const Registration tx = l.ready(Side::sender);
  Wait& shut = l.process.shut_down(tx, false, "enough");
  EXPECT_THAT(l.process.said(), ElementsAre("SHUTDOWN: enough"));
  EXPECT_EQ(shut.result(), "pending");
  EXPECT_FALSE(l.process.link.is_closed(Side::sender, tx));
  l.process.hear(enough());
  EXPECT_EQ(shut.result(), "done");
  EXPECT_TRUE(l.process.link.is_closed(Side::sender, tx));
  EXPECT_EQ(l.process.shut_down(tx).result(), "done");
  EXPECT_THAT(l.process.said(), IsEmpty());
}

TEST(LinkShutdown, OneThatIsHastenedWaitsForThat) {
  LinkByHand l;
  const Registration rx = l.ready(Side::receiver);
  l.process.hear(enough());
  Wait& shut = l.process.shut_down(rx, true);
  EXPECT_THAT(l.process.said(), ElementsAre("SHUTDOWN at once"));
  l.process.hear(enough());
  EXPECT_EQ(shut.result(), "pending");
  l.process.hear(enough(true));
  EXPECT_EQ(shut.result(), "done");
}

TEST(LinkShutdown, OfAClosedHandleIsRefusedAndClosingEndsTheWait) {
  LinkByHand l;
  Registration tx = l.ready(Side::sender);
  Wait& shut = l.process.shut_down(tx);
  l.process.close(Side::sender, tx);
  EXPECT_EQ(shut.result(), "closed handle_closed");
  EXPECT_EQ(l.process.shut_down(tx).result(), "closed handle_closed");
  EXPECT_THAT(l.process.said(), ElementsAre("SHUTDOWN", "CLOSE 1"));
}

TEST(LinkShutdown, IsRepeatedOverConnectionsUntilItIsAcknowledged) {
  LinkByHand l;
  const Registration tx = l.ready(Side::sender);
  Wait& shut = l.process.shut_down(tx, false, "enough");
  (void)l.process.said();
  l.process.disconnected();
  l.resume(1);
  EXPECT_THAT(l.process.said(), ElementsAre("connect", "ATTACH epoch=1 resume received=1", "SHUTDOWN: enough"));
  l.process.disconnected();
  l.resume(2);
  EXPECT_THAT(l.process.said(), ElementsAre("connect", "ATTACH epoch=1 resume received=1"));
  l.process.hear(enough());
  EXPECT_EQ(shut.result(), "done");
}

TEST(LinkShutdown, IsToldToABrokerThatMayNotKnow) {
  LinkByHand l;
  const Registration tx = l.ready(Side::sender);
  l.process.hear(enough());
  l.process.broker_died(1, false);
  (void)l.process.said();
  l.process.connected();
  l.process.hear(LinkByHand::attached(2));
  EXPECT_THAT(l.process.said(), ElementsAre("ATTACH epoch=1 received=0", "OPEN 1 sender", "SHUTDOWN: enough"));
  (void)l.process.send(tx, {"a"});  // which hears of the death
  EXPECT_EQ(l.process.send(tx, {"a"}).result(), "closed shutdown: enough");
}

TEST(LinkShutdown, RefusesSendsAndEndsThoseThatWereNotOffered) {
  LinkByHand l;
  Attached broker = LinkByHand::attached();
  broker.offered_max = 1;
  const Registration tx = l.ready(Side::sender, broker);
  Send& offered = l.process.send(tx, {"a"});
  Send& waiting = l.process.send(tx, {"b"});
  l.process.hear(enough());
  EXPECT_EQ(waiting.result(), "closed shutdown: enough");
  EXPECT_EQ(offered.result(), "pending");
  EXPECT_EQ(l.process.try_send(tx, "c").result(), "closed shutdown: enough");
  l.answer(1, Outcome::refused);
  EXPECT_EQ(offered.result(), "closed shutdown: enough");
}

TEST(LinkShutdown, WhatWasStoredOrTakenBeforeItIsDone) {
  LinkByHand l;
  const Registration tx = l.ready(Side::sender);
  Send& stored = l.process.send(tx, {"a"});
  Send& taken = l.process.send(tx, {"b"});
  Wait& flushed = l.process.flush(tx);
  l.process.hear(enough());
  l.stored(1);
  l.answer(2, Outcome::taken);
  EXPECT_EQ(stored.result(), "done");
  EXPECT_EQ(taken.result(), "done");
  EXPECT_EQ(flushed.result(), "done");
}

TEST(LinkShutdown, IsForWhoWatchesTheEndOfTheOtherSide) {
  for (const Side side : {Side::sender, Side::receiver}) {
    LinkByHand l;
    const Registration handle = l.ready(side);
    Wait& gone = l.process.wait(Wait::For::closed, side, handle);
    l.process.hear(enough());
    EXPECT_EQ(gone.result(), "done");
    EXPECT_EQ(l.process.wait(Wait::For::closed, side, handle).result(), "done");
  }
}

TEST(LinkShutdown, HoldsForHandlesThatAreOpenedLater) {
  LinkByHand l;
  const Registration tx = l.ready(Side::sender);
  l.process.hear(enough());
  const Registration copy = l.process.link.clone(l.now, Side::sender, tx);
  EXPECT_TRUE(l.process.link.is_closed(Side::sender, copy));
  EXPECT_EQ(l.process.send(copy, {"a"}).result(), "closed shutdown: enough");
}

TEST(LinkShutdown, ReceiversDrainUntilTheirEnd) {
  LinkByHand l;
  const Registration rx = l.ready(Side::receiver);
  Recv& first = l.process.recv(rx);
  l.process.hear(enough());
  EXPECT_EQ(first.result(), "pending");
  EXPECT_FALSE(l.process.link.is_closed(Side::receiver, rx));
  l.deliver({"a"});
  EXPECT_EQ(first.result(), "a");
  Recv& last = l.process.recv(rx);
  l.process.hear(End{.session = 1, .received = 100, .kind = CloseKind::shutdown, .reason = "enough"});
  EXPECT_EQ(last.result(), "closed shutdown: enough");
}

TEST(LinkShutdown, AtOnceGivesBackWhatIsUnreadAlsoWhatAWokenReceiveWasGranted) {
  LinkByHand l;
  const Registration rx = l.ready(Side::receiver);
  Recv& woken = l.process.recv(rx);
  Recv& waiting = l.process.recv(rx, {.batch = 2});
  l.deliver({"a"});
  (void)l.process.said();
  l.process.hear(enough(true));
  EXPECT_THAT(l.process.said(), ElementsAre("RELEASE 1 #1", "DEMAND_SHRINK 1 to=1 waiting=0"));
  EXPECT_EQ(woken.result(), "closed shutdown: enough");
  EXPECT_EQ(waiting.result(), "closed shutdown: enough");
  EXPECT_EQ(l.process.try_recv(rx).result(), "closed shutdown: enough");
  EXPECT_TRUE(l.process.link.is_closed(Side::receiver, rx));
  EXPECT_THAT(l.process.said(), IsEmpty());
}

TEST(LinkShutdown, AtOnceEndsThePrefetching) {
  LinkByHand l(4);
  const Registration rx = l.ready(Side::receiver);
  (void)l.process.recv(rx);
  l.deliver({"a", "b"});
  (void)l.process.said();
  l.process.hear(enough(true));
  EXPECT_THAT(l.process.said(), ElementsAre("RELEASE 1 #1 #2", "DEMAND_SHRINK 1 to=2 waiting=0"));
}

TEST(LinkShutdown, WaitsForABrokerThatCannotBeReachedNoLongerThanTheLimit) {
  LinkByHand l;
  const Registration tx = l.ready(Side::sender);
  l.process.disconnected();
  Wait& shut = l.process.shut_down(tx);
  l.process.disconnected("refused");
  l.pass(seconds(11));
  EXPECT_THAT(shut.result(), testing::HasSubstr("can't be reached"));
}

}  // namespace
}  // namespace klaw::dataplane::test
