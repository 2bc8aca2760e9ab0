// Slots as a process holds them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/dataplane.hpp"

namespace klaw::dataplane::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Outcome = Answer::Outcome;

// The first slot of this sender, which its operation has taken.
Send& granted(LinkByHand& l, const Registration& tx) {
  Send& slot = l.process.reserve(tx);
  l.answer(1, Outcome::reserved);
  EXPECT_EQ(slot.result(), "done");
  return slot;
}

TEST(LinkPermits, ASlotIsReservedAndFilled) {
  LinkByHand l;
  const Registration tx = l.ready(Side::sender);
  Send& slot = l.process.reserve(tx);
  EXPECT_THAT(l.process.said(), ElementsAre("RESERVE 1:1"));
  EXPECT_EQ(slot.result(), "pending");
  l.answer(1, Outcome::reserved);
  EXPECT_EQ(slot.result(), "done");
  Send& next = l.process.send(tx, {"a"});
  EXPECT_EQ(l.process.fill(slot.permit(), "b"), "sent");
  EXPECT_THAT(l.process.said(), ElementsAre("OFFER 1:2 a", "FILL 1:1 b"));
  EXPECT_EQ(next.result(), "pending");
  EXPECT_THAT(l.process.fill(slot.permit(), "c"), HasSubstr("lost"));
}

TEST(LinkPermits, ATryIsAnsweredByTheBrokerAndALimitedOneIsWithdrawn) {
  LinkByHand l;
  const Registration tx = l.ready(Side::sender);
  Send& tried = l.process.reserve(tx, l.now);
  Send& limited = l.process.reserve(tx, l.now + milliseconds(10));
  Send& lucky = l.process.reserve(tx, l.now + milliseconds(10));
  l.pass(milliseconds(10));
  EXPECT_THAT(l.process.said(),
              ElementsAre("RESERVE 1:1 try", "RESERVE 1:2", "RESERVE 1:3", "WITHDRAW 1:2", "WITHDRAW 1:3"));
  l.answer(1, Outcome::full);
  l.answer(2, Outcome::withdrawn);
  l.answer(3, Outcome::reserved);
  EXPECT_EQ(tried.result(), "full");
  EXPECT_EQ(limited.result(), "full");
  EXPECT_EQ(lucky.result(), "done");
}

TEST(LinkPermits, OneThatWasCancelledGivesTheSlotBack) {
  LinkByHand l;
  const Registration tx = l.ready(Side::sender);
  Send& before = l.process.reserve(tx);
  Send& after = l.process.reserve(tx);
  before.give_up();
  l.answer(1, Outcome::reserved);  // it crossed the withdrawal
  l.answer(2, Outcome::reserved);
  after.give_up();  // it was woken, and not resumed
  EXPECT_THAT(l.process.said(),
              ElementsAre("RESERVE 1:1", "RESERVE 1:2", "WITHDRAW 1:1", "UNRESERVE 1:1", "UNRESERVE 1:2"));
}

TEST(LinkPermits, ReleasedOnceItIsNotReleasedAgain) {
  LinkByHand l;
  const Registration tx = l.ready(Side::sender);
  Send& slot = granted(l, tx);
  (void)l.process.said();
  l.process.link.release_reserved(l.now, slot.permit());
  l.process.link.release_reserved(l.now, slot.permit());
  l.process.turn();
  EXPECT_THAT(l.process.said(), ElementsAre("UNRESERVE 1:1"));
}

TEST(LinkPermits, OutliveTheirHandle) {
  LinkByHand l;
  Registration tx = l.ready(Side::sender);
  Send& slot = granted(l, tx);
  l.process.close(Side::sender, tx);
  EXPECT_EQ(l.process.fill(slot.permit(), "a"), "sent");
  EXPECT_THAT(l.process.said(), ElementsAre("RESERVE 1:1", "CLOSE 1", "FILL 1:1 a"));
  EXPECT_FALSE(l.process.link.is_drained());
  l.answer(1, Outcome::filled);
  l.process.hear(Ack{.received = 4});
  EXPECT_TRUE(l.process.link.is_drained());
}

TEST(LinkPermits, AFlushWaitsForWhatFillsThem) {
  LinkByHand l;
  const Registration tx = l.ready(Side::sender);
  Send& slot = granted(l, tx);
  EXPECT_EQ(l.process.flush(tx).result(), "done");
  (void)l.process.fill(slot.permit(), "a");
  Wait& flushed = l.process.flush(tx);
  EXPECT_EQ(flushed.result(), "pending");
  l.answer(1, Outcome::filled);
  EXPECT_EQ(flushed.result(), "done");
}

TEST(LinkPermits, AreRepeatedOverConnectionsLikeAllElse) {
  LinkByHand l;
  const Registration tx = l.ready(Side::sender);
  Send& slot = granted(l, tx);
  l.process.disconnected();
  EXPECT_EQ(l.process.fill(slot.permit(), "a"), "sent");
  (void)l.process.said();
  l.resume(2);
  EXPECT_THAT(l.process.said(), ElementsAre("ATTACH epoch=1 resume received=2", "FILL 1:1 a"));
}

TEST(LinkPermits, AreLostWithTheBroker) {
  LinkByHand l;
  const Registration tx = l.ready(Side::sender);
  Send& held = l.process.reserve(tx);
  Send& woken = l.process.reserve(tx);
  Send& waiting = l.process.reserve(tx);
  l.answer(1, Outcome::reserved);
  l.answer(2, Outcome::reserved);
  EXPECT_EQ(held.result(), "done");
  l.process.broker_died(1, false);
  EXPECT_THAT(waiting.result(), HasSubstr("actor died"));
  EXPECT_THAT(woken.result(), HasSubstr("lost"));
  EXPECT_THAT(l.process.fill(held.permit(), "a"), HasSubstr("lost"));
  (void)l.process.said();
  l.process.link.release_reserved(l.now, held.permit());
  l.process.turn();
  EXPECT_THAT(l.process.said(), IsEmpty());
}

TEST(LinkPermits, WhatIsTooLargeIsNotSentAndTheSlotStaysHeld) {
  LinkByHand l;
  const Registration tx = l.ready(Side::sender);
  Send& slot = granted(l, tx);
  EXPECT_THAT(l.process.fill(slot.permit(), std::string(513, 'x')), HasSubstr("larger than 512 bytes"));
  EXPECT_EQ(l.process.fill(slot.permit(), "a"), "sent");
}

TEST(LinkPermits, AreGivenBackWhenTheProcessEnds) {
  LinkByHand l;
  const Registration tx = l.ready(Side::sender);
  (void)granted(l, tx);
  (void)l.process.said();
  l.process.link.close_all(l.now);
  l.process.turn();
  EXPECT_THAT(l.process.said(), ElementsAre("UNRESERVE 1:1", "CLOSE 1"));
}

}  // namespace
}  // namespace klaw::dataplane::test
