// Sends as offers: the window, time limits, cancelling, closing, flushing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/dataplane.hpp"

namespace klaw::dataplane::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Outcome = Answer::Outcome;

TEST(LinkSending, ASendIsDoneWhenTheBrokerHasStoredIt) {
  LinkByHand l;
  const Registration tx = l.ready(Side::sender);
  Send& a = l.process.send(tx, {"a"});
  Send& b = l.process.send(tx, {"b", "c"});
  EXPECT_THAT(l.process.said(), ElementsAre("OFFER 1:1 a", "OFFER 1:2 b c"));
  l.stored(1);
  EXPECT_EQ(a.result(), "done");
  EXPECT_EQ(b.result(), "pending");
  l.stored(3);
  EXPECT_EQ(b.result(), "done");
}

TEST(LinkSending, WhatIsSentBeforeTheBrokerAnsweredWaitsInTheLinkInOrder) {
  LinkByHand l;
  const Registration tx = l.process.open(Side::sender);
  (void)l.process.send(tx, {"a"});
  (void)l.process.send(tx, {"b"});
  l.process.connected();
  (void)l.process.said();
  l.process.hear(LinkByHand::attached());
  EXPECT_THAT(l.process.said(), ElementsAre("OPEN 1 sender", "OFFER 1:1 a", "OFFER 1:2 b"));
}

TEST(LinkSending, NoMoreIsOfferedThanTheWindowInMessagesAllows) {
  LinkByHand l;
  Attached broker = LinkByHand::attached();
  broker.offered_max = 2;
  const Registration tx = l.ready(Side::sender, broker);
  for (const char* const message : {"a", "b", "c", "d"}) (void)l.process.send(tx, {message});
  EXPECT_THAT(l.process.said(), ElementsAre("OFFER 1:1 a", "OFFER 1:2 b"));
  l.stored(1);
  EXPECT_THAT(l.process.said(), ElementsAre("OFFER 1:3 c"));
}

TEST(LinkSending, NoMoreIsOfferedThanTheWindowInBytesAllowsButOneMayBeAsLargeAsItLikes) {
  LinkByHand l;
  Attached broker = LinkByHand::attached();
  broker.offered_bytes_max = 3;
  const Registration tx = l.ready(Side::sender, broker);
  for (const char* const message : {"much more", "b", "c"}) (void)l.process.send(tx, {message});
  EXPECT_THAT(l.process.said(), ElementsAre("OFFER 1:1 much more"));
  l.stored(1);
  EXPECT_THAT(l.process.said(), ElementsAre("OFFER 1:2 b", "OFFER 1:3 c"));
}

TEST(LinkSending, ASendWhoseTimeIsOverEndsWithTheBrokersAnswer) {
  LinkByHand l;
  const Registration tx = l.ready(Side::sender);
  Send& withdrawn = l.process.send(tx, {"a"}, l.now + milliseconds(10));
  Send& stored = l.process.send(tx, {"b"}, l.now + milliseconds(10));
  (void)l.process.said();
  l.pass(milliseconds(10));
  EXPECT_THAT(l.process.said(), ElementsAre("WITHDRAW 1:1", "WITHDRAW 1:2"));
  EXPECT_EQ(withdrawn.result(), "pending");
  l.answer(1, Outcome::withdrawn);
  EXPECT_EQ(withdrawn.result(), "full");
  l.stored(2);
  EXPECT_EQ(stored.result(), "done");
}

TEST(LinkSending, ASendWhoseTimeIsOverBeforeItWasOfferedHasNotHappened) {
  LinkByHand l;
  Attached broker = LinkByHand::attached();
  broker.offered_max = 1;
  const Registration tx = l.ready(Side::sender, broker);
  (void)l.process.send(tx, {"a"});
  Send& late = l.process.send(tx, {"b"}, l.now + milliseconds(10));
  (void)l.process.said();
  l.pass(milliseconds(10));
  EXPECT_EQ(late.result(), "full");
  EXPECT_THAT(l.process.said(), IsEmpty());
}

TEST(LinkSending, ATryIsAnsweredByTheBroker) {
  LinkByHand l;
  const Registration tx = l.ready(Side::sender);
  Send& full = l.process.try_send(tx, "a");
  Send& stored = l.process.try_send(tx, "b");
  EXPECT_THAT(l.process.said(), ElementsAre("OFFER 1:1 try a", "OFFER 1:2 try b"));
  l.answer(1, Outcome::full);
  EXPECT_EQ(full.result(), "full");
  l.stored(2);
  EXPECT_EQ(stored.result(), "done");
}

TEST(LinkSending, ATryBehindSendsThatWaitInTheLinkIsFullAtOnce) {
  LinkByHand l;
  Attached broker = LinkByHand::attached();
  broker.offered_max = 1;
  const Registration tx = l.ready(Side::sender, broker);
  (void)l.process.send(tx, {"a"});
  (void)l.process.send(tx, {"b"});
  EXPECT_EQ(l.process.try_send(tx, "c").result(), "full");
}

// The broker's decoder would refuse it, and the connection with it, for ever.
TEST(LinkSending, ABatchThatNoFrameCanHoldIsRefused) {
  LinkByHand l;
  Attached broker = LinkByHand::attached();
  broker.capacity = kUnbounded;
  broker.message_bytes_max = kMessageBytesMax;
  const Registration tx = l.ready(Side::sender, broker);
  const Bytes large(std::string(kMessageBytesMax, 'x'));
  EXPECT_THAT(l.process.send(tx, {large, large}).result(), HasSubstr("is more than one frame may hold"));
  EXPECT_EQ(l.process.send(tx, std::vector<Bytes>(kBatchMessagesMax + 1, Bytes("x"))).result(), "too large");
  EXPECT_THAT(l.process.said(), IsEmpty());
  EXPECT_EQ(l.process.send(tx, std::vector<Bytes>(kBatchMessagesMax, Bytes("x"))).result(), "pending");
}

TEST(LinkSending, ABatchOfMoreThanTheCapacityIsTooLarge) {
  LinkByHand l;
  Attached broker = LinkByHand::attached();
  broker.capacity = 2;
  const Registration tx = l.process.open(Side::sender);
  Send& before = l.process.send(tx, {"a", "b", "c"});  // nobody knows the capacity yet
  EXPECT_EQ(before.result(), "pending");
  l.process.connected();
  l.process.hear(broker);
  EXPECT_EQ(before.result(), "too large");
  EXPECT_EQ(l.process.send(tx, {"a", "b", "c"}).result(), "too large");
  EXPECT_EQ(l.process.said().back(), "OPEN 1 sender");
}

TEST(LinkSending, AMessageAboveTheLimitIsABackendErrorThatSaysWhatToDo) {
  LinkByHand l;
  Attached broker = LinkByHand::attached();
  broker.message_bytes_max = 3;
  const Registration tx = l.ready(Side::sender, broker);
  EXPECT_EQ(l.process.send(tx, {"12345"}).result(),
            "closed backend: a message is larger than 3 bytes, the channel's limit: send it in parts");
  EXPECT_THAT(l.process.said(), IsEmpty());
}

TEST(LinkSending, ACancelledSendIsWithdrawnAndOneNotOfferedYetLeavesNoTrace) {
  LinkByHand l;
  Attached broker = LinkByHand::attached();
  broker.offered_max = 1;
  const Registration tx = l.ready(Side::sender, broker);
  Send& offered = l.process.send(tx, {"a"});
  Send& waiting = l.process.send(tx, {"b"});
  (void)l.process.send(tx, {"c"});
  (void)l.process.said();
  waiting.give_up();
  EXPECT_THAT(l.process.said(), IsEmpty());
  offered.give_up();
  EXPECT_THAT(l.process.said(), ElementsAre("WITHDRAW 1:1"));
  l.answer(1, Outcome::withdrawn);
  EXPECT_THAT(l.process.said(), ElementsAre("OFFER 1:2 c"));
}

TEST(LinkSending, ARendezvousIsDoneWhenAReceiverHasTakenTheMessage) {
  LinkByHand l;
  Attached broker = LinkByHand::attached();
  broker.capacity = 0;
  const Registration tx = l.ready(Side::sender, broker);
  Send& sent = l.process.send(tx, {"a"});
  l.answer(1, Outcome::taken);
  EXPECT_EQ(sent.result(), "done");
  EXPECT_EQ(l.process.send(tx, {"b", "c"}).result(), "too large");
}

TEST(LinkSending, WhenTheReceiversAreGoneUnansweredSendsFail) {
  LinkByHand l;
  const Registration tx = l.ready(Side::sender);
  Send& a = l.process.send(tx, {"a"});
  Send& b = l.process.send(tx, {"b"});
  l.stored(1);
  l.process.hear(Closed{.session = 1, .kind = CloseKind::peer_gone, .reason = "enough"});
  EXPECT_EQ(a.result(), "done");
  EXPECT_EQ(b.result(), "closed peer_gone: enough");
  EXPECT_EQ(l.process.send(tx, {"c"}).result(), "closed peer_gone: enough");
  EXPECT_TRUE(l.process.link.is_closed(Side::sender, tx));
}

TEST(LinkSending, ClosingWithdrawsWhatIsOfferedAndTheAnswerDecides) {
  LinkByHand l;
  Attached broker = LinkByHand::attached();
  broker.offered_max = 2;
  Registration tx = l.ready(Side::sender, broker);
  Send& stored = l.process.send(tx, {"a"});
  Send& withdrawn = l.process.send(tx, {"b"});
  Send& waiting = l.process.send(tx, {"c"});
  (void)l.process.said();
  l.process.close(Side::sender, tx);
  EXPECT_THAT(l.process.said(), ElementsAre("WITHDRAW 1:1", "WITHDRAW 1:2", "CLOSE 1"));
  EXPECT_EQ(waiting.result(), "closed handle_closed");
  EXPECT_EQ(stored.result(), "pending");
  l.stored(1);
  l.answer(2, Outcome::withdrawn);
  EXPECT_EQ(stored.result(), "done");
  EXPECT_EQ(withdrawn.result(), "closed handle_closed");
}

TEST(LinkSending, AFlushWaitsForAllThatWasSentBeforeIt) {
  LinkByHand l;
  const Registration tx = l.ready(Side::sender);
  EXPECT_EQ(l.process.flush(tx).result(), "done");
  (void)l.process.send(tx, {"a"});
  (void)l.process.send(tx, {"b"});
  Wait& flushed = l.process.flush(tx);
  (void)l.process.send(tx, {"c"});
  l.stored(1);
  EXPECT_EQ(flushed.result(), "pending");
  l.stored(2);
  EXPECT_EQ(flushed.result(), "done");
}

TEST(LinkSending, AFlushOfAClosedHandleWaitsUntilTheBrokerHasAnswered) {
  LinkByHand l;
  Registration tx = l.ready(Side::sender);
  Send& sent = l.process.send(tx, {"a"});
  l.process.close(Side::sender, tx);
  Wait& flushed = l.process.flush(tx);
  EXPECT_EQ(flushed.result(), "pending");
  l.answer(1, Outcome::withdrawn);
  EXPECT_EQ(flushed.result(), "done");
  EXPECT_EQ(sent.result(), "closed handle_closed");
}

TEST(LinkSending, ASendAfterTheCloseOfItsHandleFails) {
  LinkByHand l;
  Registration tx = l.ready(Side::sender);
  l.process.close(Side::sender, tx);
  EXPECT_EQ(l.process.send(tx, {"a"}).result(), "closed handle_closed");
  EXPECT_EQ(l.process.try_send(tx, "a").result(), "closed handle_closed");
}

}  // namespace
}  // namespace klaw::dataplane::test
