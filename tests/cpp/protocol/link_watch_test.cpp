// A watch as a process sees it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/dataplane.hpp"

namespace klaw::dataplane::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Outcome = Answer::Outcome;

struct WatchByHand : LinkByHand {
  WatchByHand() : LinkByHand(0, ChannelKind::watch) {}
  // A handle, attached and opened, with the initial value.
  Registration ready(Side side, std::uint64_t epoch = 1) {
    const Registration handle = process.open(side);
    process.connected();
    process.hear(attached(epoch, ChannelKind::watch));
    latest(0, "i", epoch);
    process.hear(Opened{.session = static_cast<SessionId>(handle.id)});
    (void)process.said();
    return handle;
  }
  void latest(std::uint64_t version, const char* value, std::uint64_t epoch = 1) {
    process.hear(Latest{.version = attempt(version, epoch), .message = Bytes(value)});
  }
  void changed(Seq seq, std::uint64_t version, std::uint64_t receivers = 1) {
    process.hear(Changed{.session = 1, .seq = seq, .version = attempt(version), .receivers = receivers});
  }
  [[nodiscard]] std::string borrowed(const Registration& handle) const {
    const auto latest = process.link.borrow(handle);
    return latest ? std::string(latest->message.view()) : "nothing";
  }
};

TEST(LinkWatch, TheFirstValueIsSeenAndALaterOneIsAChange) {
  WatchByHand l;
  const Registration rx = l.ready(Side::receiver);
  EXPECT_EQ(l.borrowed(rx), "i");
  EXPECT_FALSE(l.process.link.has_changed(rx));
  Recv& waiting = l.process.recv(rx);
  Recv& beside = l.process.recv(rx);
  EXPECT_THAT(l.process.said(), ElementsAre("DEMAND 1 to=0 waiting=1", "DEMAND 1 to=0 waiting=2"));
  l.latest(1, "a");
  EXPECT_THAT(l.process.said(), ElementsAre("DEMAND 1 to=0 waiting=0", "ACK 3"));
  EXPECT_EQ(waiting.result(), "a");
  EXPECT_EQ(beside.result(), "a");
  EXPECT_THAT(l.process.said(), ElementsAre("CONSUMED 1 #1", "CONSUMED 1 #1"));
}

TEST(LinkWatch, ValuesThatWereReplacedAreNotSeen) {
  WatchByHand l;
  const Registration rx = l.ready(Side::receiver);
  l.latest(1, "a");
  l.latest(4, "d");
  EXPECT_TRUE(l.process.link.has_changed(rx));
  EXPECT_EQ(l.process.recv(rx).result(), "d");
  EXPECT_EQ(l.process.recv(rx).result(), "pending");
  l.latest(5, "e");
  EXPECT_EQ(l.process.link.borrow_and_update(rx)->message.view(), "e");
  EXPECT_FALSE(l.process.link.has_changed(rx));
}

TEST(LinkWatch, AWokenReceiveTakesTheLatestAndACancelledOneHasSeenNothing) {
  WatchByHand l;
  const Registration rx = l.ready(Side::receiver);
  Recv& first = l.process.recv(rx);
  Recv& second = l.process.recv(rx);
  l.latest(1, "a");
  l.latest(2, "b");
  first.give_up();
  EXPECT_TRUE(l.process.link.has_changed(rx));
  EXPECT_EQ(second.result(), "b");
  EXPECT_FALSE(l.process.link.has_changed(rx));
}

TEST(LinkWatch, WhatItHasSentIsThereWithTheAnswer) {
  WatchByHand l;
  const Registration tx = l.ready(Side::sender);
  const Registration rx = l.process.open(Side::receiver);
  Send& send = l.process.send(tx, {"a"});
  Recv& waiting = l.process.recv(rx);
  EXPECT_EQ(l.borrowed(tx), "i");
  l.changed(1, 1, 3);
  EXPECT_EQ(send.result(), "done to=3");
  EXPECT_EQ(waiting.result(), "a");
  EXPECT_EQ(l.borrowed(tx), "a");
}

TEST(LinkWatch, AnAnswerThatCrossesALaterValueDoesNotBringTheOlderOneBack) {
  WatchByHand l;
  const Registration tx = l.ready(Side::sender);
  Send& send = l.process.send(tx, {"a"});
  l.latest(7, "g");
  l.changed(1, 5);
  EXPECT_EQ(send.result(), "done to=1");
  EXPECT_EQ(l.borrowed(tx), "g");
}

TEST(LinkWatch, ASendThatWasGivenUpIsKnownAllTheSameIfItHappened) {
  WatchByHand l;
  const Registration tx = l.ready(Side::sender);
  l.process.send(tx, {"a"}).give_up();
  EXPECT_THAT(l.process.said(), ElementsAre("OFFER 1:1 a", "WITHDRAW 1:1"));
  l.changed(1, 1);
  EXPECT_EQ(l.borrowed(tx), "a");
}

TEST(LinkWatch, WithoutReceiversTheBrokerDecidesAndSaysWhy) {
  WatchByHand l;
  const Registration tx = l.ready(Side::sender);
  Wait& watching = l.process.wait(Wait::For::closed, Side::sender, tx);
  l.process.hear(Receivers{.session = 1, .any = false, .kind = CloseKind::peer_gone, .reason = "no receivers"});
  EXPECT_EQ(watching.result(), "done");
  EXPECT_TRUE(l.process.link.is_closed(Side::sender, tx));
  Send& send = l.process.send(tx, {"a"});
  l.answer(1, Outcome::refused);
  EXPECT_EQ(send.result(), "closed peer_gone: no receivers");
  l.process.hear(Receivers{.session = 1, .any = true});
  Send& again = l.process.send(tx, {"b"});
  l.changed(2, 1);
  EXPECT_EQ(again.result(), "done to=1");
}

TEST(LinkWatch, OneThatTriesOrIsOutOfTimeAsksAndFindsWhatWasSentBefore) {
  WatchByHand l;
  const Registration rx = l.ready(Side::receiver);
  Recv& finds = l.process.try_recv(rx);
  EXPECT_THAT(l.process.said(), ElementsAre("DEMAND_SHRINK 1 to=0 waiting=0"));
  l.latest(1, "a");
  l.process.hear(DemandIs{.session = 1});
  EXPECT_EQ(finds.result(), "a");
  Recv& finds_nothing = l.process.try_recv(rx);
  EXPECT_EQ(finds_nothing.result(), "pending");
  l.process.hear(DemandIs{.session = 1});
  EXPECT_EQ(finds_nothing.result(), "empty");
  Recv& limited = l.process.recv(rx, {.deadline = l.now + milliseconds(10)});
  (void)l.process.said();
  l.pass(milliseconds(20));
  EXPECT_THAT(l.process.said(), ElementsAre("DEMAND_SHRINK 1 to=0 waiting=0"));
  l.process.hear(DemandIs{.session = 1});
  EXPECT_EQ(limited.result(), "empty");
}

TEST(LinkWatch, TheEndComesAfterAnUnseenValueWhichStays) {
  WatchByHand l;
  const Registration rx = l.ready(Side::receiver);
  Recv& first = l.process.recv(rx);
  l.latest(1, "a");
  l.process.hear(Closed{.session = 1, .kind = CloseKind::ended});
  EXPECT_FALSE(l.process.link.is_closed(Side::receiver, rx));
  EXPECT_EQ(first.result(), "a");
  EXPECT_TRUE(l.process.link.is_closed(Side::receiver, rx));
  EXPECT_EQ(l.process.recv(rx).result(), "closed ended");
  EXPECT_EQ(l.borrowed(rx), "a");
}

TEST(LinkWatch, ASubscriberHasSeenTheCurrentValueAndOneThatWasUnpickledWhatItsOriginalHad) {
  WatchByHand l;
  const Registration rx = l.ready(Side::receiver);
  l.latest(3, "c");
  const Registration subscriber = l.process.open(Side::receiver);
  EXPECT_FALSE(l.process.link.has_changed(subscriber));

  WatchByHand other;
  const Registration unpickled = other.process.open(Side::receiver, id_of<Token>(1));
  other.process.link.take_along(other.now, unpickled, *l.process.link.borrow(rx), l.process.link.seen(rx));
  EXPECT_EQ(other.borrowed(unpickled), "c");
  EXPECT_TRUE(other.process.link.has_changed(unpickled));
  EXPECT_EQ(other.process.recv(unpickled).result(), "c");
}

TEST(LinkWatch, AfterARestartEachHandleRaisesOnceAndThenSeesTheValueOfTheNewBroker) {
  WatchByHand l;
  const Registration rx = l.ready(Side::receiver);
  Recv& waiting = l.process.recv(rx);
  l.process.disconnected();
  l.process.connected();
  l.process.hear(LinkByHand::attached(2, ChannelKind::watch));
  EXPECT_THAT(waiting.result(), HasSubstr("was restarted"));
  EXPECT_EQ(l.borrowed(rx), "i");
  l.latest(0, "i again", 2);
  EXPECT_EQ(l.process.recv(rx).result(), "i again");
}

TEST(LinkWatch, OfAClosedHandleNothingIsSeen) {
  WatchByHand l;
  Registration rx = l.ready(Side::receiver);
  Recv& waiting = l.process.recv(rx);
  l.process.close(Side::receiver, rx);
  EXPECT_EQ(waiting.result(), "closed handle_closed");
  EXPECT_EQ(l.borrowed(rx), "nothing");
  EXPECT_FALSE(l.process.link.has_changed(rx));
  EXPECT_EQ(l.process.recv(rx).result(), "closed handle_closed");
}

TEST(ScenarioWatch, EveryProcessSeesTheLastValueWhateverCollapsed) {
  World world({.kind = ChannelKind::watch, .capacity = 1, .initial = Bytes("i")});
  Process& sender = world.process();
  Process& left = world.process();
  Process& right = world.process();
  Registration tx = sender.open(Side::sender);
  const Registration rx = left.open(Side::receiver);
  const Registration also_rx = right.open(Side::receiver);
  world.run();
  Recv& waits = left.recv(rx);
  world.run();
  for (const char* const value : {"a", "b", "c"}) (void)sender.send(tx, {value});
  world.run();
  EXPECT_EQ(waits.result(), "c");
  EXPECT_EQ(right.recv(also_rx).result(), "c");
  sender.close(Side::sender, tx);
  world.run();
  EXPECT_EQ(left.recv(rx).result(), "closed ended");
}

}  // namespace
}  // namespace klaw::dataplane::test
