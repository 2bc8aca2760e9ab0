// What a link makes of its broker's death, of its own, of deletion, and of a broker that it can't reach.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/dataplane.hpp"

namespace klaw::dataplane::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kDied = "closed backend: the channel's actor died, and what it held with it: killed";
constexpr const char* kRestarted = "closed backend: the channel's actor was restarted, and what it held is lost";
constexpr const char* kRestored =
    "closed backend: the channel's actor was restarted, and what came after its last checkpoint is lost";
constexpr const char* kExpired =
    "closed backend: this process was out of reach for so long that it was declared dead; what was not stored is not "
    "sent";

// --- the broker's death ---

TEST(LinkDeath, EveryPendingOperationRaisesAndSoDoesTheNextOfAHandleThatHadNoneOnce) {
  LinkByHand l;
  const Registration tx = l.ready(Side::sender);
  const Registration rx = l.process.open(Side::receiver);
  const Registration idle = l.process.open(Side::sender);
  Send& sent = l.process.send(tx, {"a"});
  Wait& flushed = l.process.flush(tx);
  Wait& watched = l.process.wait(Wait::For::closed, Side::receiver, rx);
  Recv& received = l.process.recv(rx);
  l.process.broker_died(1, false);
  EXPECT_EQ(sent.result(), kDied);
  EXPECT_EQ(flushed.result(), kDied);
  EXPECT_EQ(watched.result(), kDied);
  EXPECT_EQ(received.result(), kDied);
  EXPECT_EQ(l.process.send(tx, {"b"}).result(), "pending");
  EXPECT_EQ(l.process.recv(rx).result(), "pending");
  EXPECT_EQ(l.process.send(idle, {"c"}).result(), kDied);
  EXPECT_EQ(l.process.send(idle, {"d"}).result(), "pending");
}

TEST(LinkDeath, CloseTellsWhatNoOperationHasTold) {
  LinkByHand l;
  Registration told = l.ready(Side::sender);
  Registration untold = l.process.open(Side::sender);
  Send& sent = l.process.send(told, {"a"});
  l.process.broker_died(1, false);
  EXPECT_EQ(sent.result(), kDied);
  EXPECT_FALSE(l.process.close(Side::sender, told));
  EXPECT_EQ(text(l.process.close(Side::sender, untold).value()), kDied);
  EXPECT_FALSE(l.process.close(Side::sender, untold));
}

TEST(LinkDeath, AnOperationThatIsCancelledBeforeItTellsLeavesItToTheNext) {
  LinkByHand l;
  const Registration tx = l.ready(Side::sender);
  const Registration rx = l.process.open(Side::receiver);
  Send& sent = l.process.send(tx, {"a"});
  Recv& received = l.process.recv(rx);
  Wait& watched = l.process.wait(Wait::For::closed, Side::receiver, rx);
  l.process.broker_died(1, false);
  for (Pending* const op : {static_cast<Pending*>(&sent), static_cast<Pending*>(&received)}) op->give_up();
  EXPECT_EQ(l.process.send(tx, {"b"}).result(), kDied);
  EXPECT_EQ(l.process.send(tx, {"c"}).result(), "pending");
  EXPECT_EQ(watched.result(), kDied);  // this one was not cancelled
  EXPECT_EQ(l.process.recv(rx).result(), "pending");
}

TEST(LinkDeath, WhatWasLostIsToldBeforeThatTheSideHasClosedSince) {
  LinkByHand l;
  const Registration tx = l.ready(Side::sender);
  l.process.disconnected();
  l.process.connected();
  l.process.hear(LinkByHand::attached(2));
  l.process.hear(Opened{.session = 1, .accepted = false, .kind = CloseKind::peer_died, .reason = "nobody came back"});
  EXPECT_EQ(l.process.send(tx, {"a"}).result(), kRestarted);
  EXPECT_EQ(l.process.send(tx, {"a"}).result(), "closed peer_died: nobody came back");
}

TEST(LinkDeath, TheNewEpochItselfTellsOfTheDeathAndNotOnceMore) {
  LinkByHand l;
  const Registration tx = l.ready(Side::sender);
  Send& sent = l.process.send(tx, {"a"});
  l.process.disconnected();
  l.process.connected();
  (void)l.process.said();
  l.process.hear(LinkByHand::attached(2));
  EXPECT_EQ(sent.result(), kRestarted);
  EXPECT_EQ(l.process.link.epoch(), 2);
  l.process.broker_died(1, false);  // a late notice
  EXPECT_EQ(l.process.send(tx, {"b"}).result(), "pending");
  EXPECT_TRUE(l.process.link.is_attached());
}

TEST(LinkDeath, HandlesAreOpenedAnewWithTheNextSequenceNumber) {
  LinkByHand l;
  const Registration tx = l.ready(Side::sender);
  (void)l.process.send(tx, {"a"});
  (void)l.process.send(tx, {"b"});
  l.stored(1);
  l.process.broker_died(1, false);
  (void)l.process.said();
  l.process.connected();
  l.process.hear(LinkByHand::attached(2));
  EXPECT_THAT(l.process.said(), ElementsAre("ATTACH epoch=1 received=0", "OPEN 1 sender next=3"));
}

TEST(LinkDeath, AHoldThatMayNotHaveArrivedIsAnnouncedAgain) {
  LinkByHand l;
  const Registration tx = l.ready(Side::sender);
  l.process.link.hold(l.now, Side::sender, tx, id_of<Token>(7));
  l.process.disconnected();
  l.process.connected();
  (void)l.process.said();
  l.process.hear(LinkByHand::attached(2));
  EXPECT_THAT(l.process.said(), ElementsAre("OPEN 1 sender", "HOLD sender"));
}

// Marked: the broker may have lived on for long enough to give them to others.
TEST(LinkDeath, UnreadMessagesAreHandedOutMarkedIfThereIsNoCheckpointAndElseDropped) {
  for (const bool is_restored : {false, true}) {
    LinkByHand l;
    const Registration rx = l.ready(Side::receiver);
    l.process.recv(rx).give_up();
    l.deliver({"a"});
    l.process.disconnected();
    l.process.connected();
    Attached broker = LinkByHand::attached(2);
    broker.restored = is_restored;
    l.process.hear(broker);
    EXPECT_EQ(l.process.recv(rx).result(), is_restored ? kRestored : kRestarted);
    EXPECT_EQ(l.process.recv(rx).result(), is_restored ? "pending" : "a+1");
  }
}

TEST(LinkDeath, WhatCameFromAnEarlierBrokerIsNotReleasedToThePresentOne) {
  LinkByHand l;
  const Registration rx = l.ready(Side::receiver);
  l.process.recv(rx).give_up();
  l.deliver({"a"});
  l.process.disconnected();
  l.process.connected();
  l.process.hear(LinkByHand::attached(2));
  (void)l.process.said();
  l.process.hear(Recall{.session = 1, .count = 1});
  EXPECT_THAT(l.process.said(), ElementsAre("RELEASE 1 answer"));
}

TEST(LinkDeath, DataLossIsRaisedOnceAndOnlyForWhatWasKnownToBeStored) {
  LinkByHand l;
  const Registration tx = l.ready(Side::sender);
  for (const char* const message : {"a", "b", "c"}) (void)l.process.send(tx, {message});
  l.stored(2);
  l.process.disconnected();
  l.process.connected();
  l.process.hear(LinkByHand::attached(2));
  l.process.hear(DataLoss{.session = 1, .first = 2, .last = 3});
  EXPECT_EQ(
      l.process.send(tx, {"d"}).result(),
      "closed backend: the channel was restored from a checkpoint that lacks 1 messages that this handle had sent "
      "and that were stored");
  EXPECT_EQ(l.process.send(tx, {"d"}).result(), "pending");
  l.process.hear(DataLoss{.session = 1, .first = 3, .last = 3});
  EXPECT_EQ(l.process.send(tx, {"e"}).result(), "pending");
}

TEST(LinkDeath, AFinalDeathEndsEverything) {
  LinkByHand l;
  const Registration tx = l.ready(Side::sender);
  Send& sent = l.process.send(tx, {"a"});
  (void)l.process.said();
  l.process.broker_died(1, true);
  const char* const kFinal = "closed backend: the channel's actor died for good: killed";
  EXPECT_EQ(sent.result(), kFinal);
  EXPECT_EQ(l.process.send(tx, {"b"}).result(), kFinal);
  EXPECT_EQ(l.process.flush(l.process.open(Side::sender)).result(), "done");
  EXPECT_EQ(l.process.recv(l.process.open(Side::receiver)).result(), kFinal);
  EXPECT_THAT(l.process.said(), ElementsAre("disconnect: killed"));
  l.pass(minutes(1));
  EXPECT_THAT(l.process.said(), IsEmpty());
}

// --- its own death ---

TEST(LinkDeath, AnExpiredClientRaisesOncePerHandleAndComesBackUnderANewId) {
  LinkByHand l;
  const Registration tx = l.ready(Side::sender);
  const Registration idle = l.process.open(Side::sender);
  const ClientId before = l.process.link.client_id();
  Send& stored = l.process.send(tx, {"a"});
  Send& lost = l.process.send(tx, {"b"});
  l.process.disconnected();
  l.process.connected();
  (void)l.process.said();
  l.process.hear(Expired{.senders = {{.session = 1, .stored = 1}, {.session = 2, .stored = 0}}});
  EXPECT_EQ(stored.result(), "done");
  EXPECT_EQ(lost.result(), kExpired);
  EXPECT_EQ(l.process.send(idle, {"c"}).result(), kExpired);
  EXPECT_EQ(l.process.send(idle, {"d"}).result(), "pending");
  EXPECT_NE(l.process.link.client_id(), before);
  EXPECT_THAT(l.process.said(), ElementsAre("disconnect: expired", "connect"));
  l.process.connected();
  l.process.hear(LinkByHand::attached());
  EXPECT_THAT(l.process.said(),
              ElementsAre("ATTACH epoch=1 received=0", "OPEN 1 sender", "OPEN 2 sender", "OFFER 2:1 d"));
}

TEST(LinkDeath, AnExpiredClientHandsNothingOutThatItHad) {
  LinkByHand l;
  const Registration rx = l.ready(Side::receiver);
  Recv& woken = l.process.recv(rx);
  l.deliver({"a"});
  l.process.disconnected();
  l.process.connected();
  l.process.hear(Expired{});
  EXPECT_EQ(woken.result(), kExpired);
  EXPECT_EQ(l.process.recv(rx).result(), "pending");
}

TEST(LinkDeath, WhatWasTriedOrWithdrawnIsNotKnownToBeStored) {
  LinkByHand l;
  const Registration tx = l.ready(Side::sender);
  Send& tried = l.process.try_send(tx, "a");
  (void)l.process.send(tx, {"b"});
  l.process.disconnected();
  l.process.connected();
  l.process.hear(Expired{.senders = {{.session = 1, .stored = 2}}});
  EXPECT_EQ(tried.result(), kExpired);
}

// --- deletion ---

TEST(LinkDeath, DeletionEndsEveryOperationAndIsAcknowledgedAtOnce) {
  LinkByHand l;
  const Registration tx = l.ready(Side::sender);
  const Registration rx = l.process.open(Side::receiver);
  Send& sent = l.process.send(tx, {"a"});
  Recv& received = l.process.recv(rx);
  Wait& flushed = l.process.flush(tx);
  Wait& watched = l.process.wait(Wait::For::closed, Side::sender, tx);
  (void)l.process.said();
  l.process.hear(Closed{.session = kAllSessions, .kind = CloseKind::deleted});
  EXPECT_THAT(l.process.said(), ElementsAre("ACK 2"));
  EXPECT_EQ(sent.result(), "closed deleted");
  EXPECT_EQ(received.result(), "closed deleted");
  EXPECT_EQ(flushed.result(), "closed deleted");
  EXPECT_EQ(watched.result(), "closed deleted");
  EXPECT_EQ(l.process.send(tx, {"b"}).result(), "closed deleted");
}

TEST(LinkDeath, AWokenReceiveOfADeletedChannelIsClosed) {
  LinkByHand l;
  const Registration rx = l.ready(Side::receiver);
  Recv& woken = l.process.recv(rx);
  l.deliver({"a"});
  l.process.hear(Closed{.session = kAllSessions, .kind = CloseKind::deleted});
  EXPECT_EQ(woken.result(), "closed deleted");
}

// --- out of reach ---

TEST(LinkDeath, WhatWaitsForABrokerThatCannotBeReachedFailsAfterALimit) {
  LinkByHand l;
  const Registration tx = l.process.open(Side::sender);
  const Registration rx = l.process.open(Side::receiver);
  Send& sent = l.process.send(tx, {"a"});
  Recv& received = l.process.recv(rx);
  Wait& opened = l.process.wait(Wait::For::opened, Side::receiver, rx);
  Wait& watched = l.process.wait(Wait::For::closed, Side::sender, tx);
  Wait& flushed = l.process.flush(tx);
  l.process.disconnected("connection refused");
  for (int i = 0; i < 199; ++i) {
    l.pass(milliseconds(50));
    l.process.disconnected("connection refused");
  }
  EXPECT_EQ(sent.result(), "pending");
  l.pass(milliseconds(50));
  const char* const kUnreachable = "closed backend: the channel's actor can't be reached: connection refused";
  EXPECT_EQ(sent.result(), kUnreachable);
  EXPECT_EQ(received.result(), kUnreachable);
  EXPECT_EQ(opened.result(), kUnreachable);
  EXPECT_EQ(watched.result(), kUnreachable);
  EXPECT_EQ(flushed.result(), kUnreachable);
}

TEST(LinkDeath, EachOperationHasTheWholeLimitFromItsOwnBeginning) {
  LinkByHand l;
  const Registration rx = l.ready(Side::receiver);
  Recv& early = l.process.recv(rx);
  l.process.disconnected();
  l.process.disconnected("connection refused");
  l.pass(seconds(5));
  Recv& late = l.process.recv(rx);
  l.pass(seconds(5));
  EXPECT_THAT(early.result(), HasSubstr("can't be reached"));
  EXPECT_EQ(late.result(), "pending");
  l.pass(seconds(5));
  EXPECT_THAT(late.result(), HasSubstr("can't be reached"));
}

TEST(LinkDeath, AnOfferThatFailedForThatIsWithdrawnWhenTheBrokerIsBack) {
  LinkByHand l;
  const Registration tx = l.ready(Side::sender);
  Send& sent = l.process.send(tx, {"a"});
  l.process.disconnected();
  l.process.disconnected("connection refused");
  l.pass(seconds(10));
  EXPECT_THAT(sent.result(), HasSubstr("can't be reached"));
  l.pass(seconds(1));
  (void)l.process.said();
  l.resume(1);
  EXPECT_THAT(l.process.said(), ElementsAre("ATTACH epoch=1 resume received=1", "OFFER 1:1 a", "WITHDRAW 1:1"));
}

TEST(LinkDeath, ATimeLimitThatIsOverWhileTheBrokerIsOutOfReachEndsWithTheUnreachableLimit) {
  LinkByHand l;
  const Registration rx = l.ready(Side::receiver);
  Recv& received = l.process.recv(rx, {.deadline = l.now + seconds(1)});
  l.process.disconnected();
  l.process.disconnected("connection refused");
  l.pass(seconds(9));
  EXPECT_EQ(received.result(), "pending");
  l.pass(seconds(1));
  EXPECT_THAT(received.result(), HasSubstr("can't be reached"));
}

}  // namespace
}  // namespace klaw::dataplane::test
