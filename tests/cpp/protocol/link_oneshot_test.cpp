// A oneshot as a process sees it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/dataplane.hpp"

namespace klaw::dataplane::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Outcome = Answer::Outcome;

struct OneshotByHand : LinkByHand {
  OneshotByHand() : LinkByHand(0, ChannelKind::oneshot) {}
  static Attached broker(std::uint64_t epoch = 1) { return attached(epoch, ChannelKind::oneshot); }
  Registration ready(Side side) { return LinkByHand::ready(side, broker()); }
};

TEST(LinkOneshot, ASecondSendIsAlreadySentWhoeverHasSent) {
  OneshotByHand l;
  const Registration tx = l.ready(Side::sender);
  Send& first = l.process.send(tx, {"a"});
  Send& second = l.process.try_send(tx, "b");
  EXPECT_FALSE(l.process.link.is_spent(tx));
  l.stored(1);
  l.answer(2, Outcome::already_sent);
  EXPECT_EQ(first.result(), "done");
  EXPECT_EQ(second.result(), "already sent");
  EXPECT_TRUE(l.process.link.is_spent(tx));

  OneshotByHand other;
  const Registration too_late = other.ready(Side::sender);
  Send& send = other.process.send(too_late, {"a"});
  other.answer(1, Outcome::already_sent);
  EXPECT_EQ(send.result(), "already sent");
  EXPECT_TRUE(other.process.link.is_spent(too_late));
}

TEST(LinkOneshot, OnceTheReceiversAreGoneTheBrokerStillDecidesWhatBecomesOfASend) {
  OneshotByHand l;
  const Registration tx = l.ready(Side::sender);
  Wait& watching = l.process.wait(Wait::For::closed, Side::sender, tx);
  Send& crossing = l.process.send(tx, {"a"});
  l.process.hear(Closed{.session = 1, .kind = CloseKind::peer_gone});
  EXPECT_EQ(watching.result(), "done");
  EXPECT_EQ(crossing.result(), "pending");
  EXPECT_TRUE(l.process.link.is_closed(Side::sender, tx));
  l.answer(1, Outcome::refused);
  EXPECT_EQ(crossing.result(), "closed peer_gone");
  Send& later = l.process.send(tx, {"b"});
  l.answer(2, Outcome::already_sent);
  EXPECT_EQ(later.result(), "already sent");
  EXPECT_FALSE(l.process.link.is_closed(Side::sender, tx));  // the next one would be told the same
}

TEST(LinkOneshot, ASendThatIsOutOfTimeIsDoneIfTheBrokerHadStoredIt) {
  OneshotByHand l;
  const Registration tx = l.ready(Side::sender);
  Send& send = l.process.send(tx, {"a"}, l.now + milliseconds(10));
  (void)l.process.said();
  l.pass(milliseconds(20));
  EXPECT_THAT(l.process.said(), ElementsAre("WITHDRAW 1:1"));
  EXPECT_EQ(send.result(), "pending");
  l.stored(1);
  EXPECT_EQ(send.result(), "done");
}

TEST(LinkOneshot, WhoHasTheValueNeedsNoBrokerToKnowThatThereIsNoOther) {
  OneshotByHand l;
  const Registration rx = l.ready(Side::receiver);
  Recv& first = l.process.recv(rx);
  Recv& beside = l.process.recv(rx);
  l.deliver({"a"});
  EXPECT_EQ(beside.result(), "pending");  // the first may be cancelled
  EXPECT_EQ(first.result(), "a");
  EXPECT_EQ(beside.result(), "closed ended: already consumed");
  (void)l.process.said();
  EXPECT_EQ(l.process.recv(rx).result(), "closed ended: already consumed");
  EXPECT_THAT(l.process.said(), IsEmpty());
  EXPECT_TRUE(l.process.link.is_spent(rx));
  EXPECT_TRUE(l.process.link.is_closed(Side::receiver, rx));
}

TEST(LinkOneshot, AReceiveThatIsCancelledAfterItsWakeUpLeavesItToTheOneBeside) {
  OneshotByHand l;
  const Registration rx = l.ready(Side::receiver);
  Recv& first = l.process.recv(rx);
  Recv& beside = l.process.recv(rx);
  l.deliver({"a"});
  first.give_up();
  EXPECT_EQ(beside.result(), "a");
}

TEST(LinkOneshot, ARestartedBrokerIsToldWhoHadSent) {
  for (const bool has_sent : {false, true}) {
    OneshotByHand l;
    const Registration tx = l.ready(Side::sender);
    Send& send = l.process.send(tx, {"a"});
    if (has_sent) l.stored(1);
    l.process.disconnected();
    l.process.connected();
    (void)l.process.said();
    l.process.hear(OneshotByHand::broker(2));
    EXPECT_THAT(l.process.said(), ElementsAre(has_sent ? "OPEN 1 sender next=2" : "OPEN 1 sender"));
    if (has_sent) {
      EXPECT_THAT(l.process.send(tx, {"b"}).result(), HasSubstr("was restarted"));
    } else {
      EXPECT_THAT(send.result(), HasSubstr("was restarted"));
    }
    (void)l.process.send(tx, {"b"});
    EXPECT_THAT(l.process.said(), ElementsAre(has_sent ? "OFFER 1:2 b" : "OFFER 1:1 b"));
  }
}

TEST(LinkOneshot, OfAClosedHandleNothingIsSent) {
  OneshotByHand l;
  Registration tx = l.ready(Side::sender);
  l.process.close(Side::sender, tx);
  EXPECT_EQ(l.process.send(tx, {"a"}).result(), "closed handle_closed");
}

TEST(ScenarioOneshot, OneOfManySendersWinsAndOneOfManyReceiversHasIt) {
  World world({.kind = ChannelKind::oneshot, .capacity = 1});
  Process& left = world.process();
  Process& right = world.process();
  const Registration senders[] = {left.open(Side::sender), right.open(Side::sender)};
  const Registration receivers[] = {left.open(Side::receiver), right.open(Side::receiver)};
  world.run();
  Recv& one = left.recv(receivers[0]);
  Recv& other = right.recv(receivers[1]);
  world.run();
  Send& first = left.send(senders[0], {"a"});
  Send& second = right.send(senders[1], {"b"});
  world.run();
  EXPECT_EQ(first.result(), "done");
  EXPECT_EQ(second.result(), "already sent");
  EXPECT_EQ(one.result(), "a");
  world.run();
  EXPECT_EQ(other.result(), "closed ended: already consumed");
}

TEST(ScenarioOneshot, AValueThatDiedWithItsBrokerIsNotWaitedForWhileItsSenderIsOpen) {
  World world({.kind = ChannelKind::oneshot, .capacity = 1});
  Process& sender = world.process();
  Process& receiver = world.process();
  const Registration tx = sender.open(Side::sender);
  const Registration rx = receiver.open(Side::receiver);
  world.run();
  (void)sender.send(tx, {"a"});
  world.run();
  world.restart();
  EXPECT_THAT(receiver.recv(rx).result(), HasSubstr("was restarted"));
  Recv& again = receiver.recv(rx);
  world.run();
  EXPECT_EQ(again.result(), "closed peer_died: the value was sent, and lost when the channel's actor died");
  EXPECT_THAT(sender.send(tx, {"b"}).result(), HasSubstr("was restarted"));
  Send& second = sender.send(tx, {"b"});
  world.run();
  EXPECT_EQ(second.result(), "already sent");
}

}  // namespace
}  // namespace klaw::dataplane::test
