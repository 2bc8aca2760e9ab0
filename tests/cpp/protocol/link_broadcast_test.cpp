// A broadcast's handles in one process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/dataplane.hpp"

namespace klaw::dataplane::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Outcome = Answer::Outcome;

struct BroadcastLink : LinkByHand {
  BroadcastLink() : LinkByHand(0, ChannelKind::broadcast) {}
  [[nodiscard]] Registration ready(Side side) { return LinkByHand::ready(side, attached(1, ChannelKind::broadcast)); }
  void sent(Seq seq, std::uint64_t receivers) { process.hear(Sent{.session = 1, .seq = seq, .receivers = receivers}); }
};

TEST(LinkBroadcast, ASendGivesTheNumberOfReceivers) {
  BroadcastLink l;
  const Registration tx = l.ready(Side::sender);
  Send& one = l.process.send(tx, {"a"});
  Send& two = l.process.send(tx, {"b"});
  EXPECT_THAT(l.process.said(), ElementsAre("OFFER 1:1 a", "OFFER 1:2 b"));
  l.sent(1, 3);
  l.sent(2, 1);
  EXPECT_EQ(one.result(), "done to=3");
  EXPECT_EQ(two.result(), "done to=1");
}

TEST(LinkBroadcast, WhetherAnybodyListensIsAskedForEachSend) {
  BroadcastLink l;
  const Registration tx = l.ready(Side::sender);
  Wait& closed = l.process.wait(Wait::For::closed, Side::sender, tx);
  l.process.hear(Receivers{.session = 1, .kind = CloseKind::peer_gone, .reason = "no receivers"});
  EXPECT_EQ(closed.result(), "done");
  EXPECT_TRUE(l.process.link.is_closed(Side::sender, tx));
  Send& unheard = l.process.send(tx, {"a"});
  l.answer(1, Outcome::refused);
  EXPECT_EQ(unheard.result(), "closed peer_gone: no receivers");
  Send& heard = l.process.send(tx, {"b"});  // somebody has come, and we have not heard of it
  l.process.hear(Receivers{.session = 1, .any = true});
  l.sent(2, 1);
  EXPECT_EQ(heard.result(), "done to=1");
  EXPECT_FALSE(l.process.link.is_closed(Side::sender, tx));
}

TEST(LinkBroadcast, ThatNobodyIsThereVoidsNoOffer) {
  BroadcastLink l;
  const Registration tx = l.ready(Side::sender);
  Send& send = l.process.send(tx, {"a"});
  l.process.hear(Receivers{.session = 1, .kind = CloseKind::peer_gone});
  l.process.hear(Receivers{.session = 1, .any = true});
  EXPECT_EQ(send.result(), "pending");
  l.sent(1, 1);
  EXPECT_EQ(send.result(), "done to=1");
}

TEST(LinkBroadcast, AFlushWaitsForTheAnswers) {
  BroadcastLink l;
  const Registration tx = l.ready(Side::sender);
  (void)l.process.send(tx, {"a"});
  (void)l.process.send(tx, {"b"});
  Wait& flush = l.process.flush(tx);
  l.sent(1, 1);
  EXPECT_EQ(flush.result(), "pending");
  l.process.hear(Receivers{.session = 1, .kind = CloseKind::peer_gone});
  l.answer(2, Outcome::refused);
  EXPECT_EQ(flush.result(), "done");
}

TEST(LinkBroadcast, WhatWasMissedIsAReceivesOutcomeInItsTurn) {
  BroadcastLink l;
  const Registration rx = l.ready(Side::receiver);
  Recv& one = l.process.recv(rx);
  Recv& two = l.process.recv(rx);
  Recv& three = l.process.recv(rx);
  EXPECT_THAT(l.process.said(),
              ElementsAre("DEMAND 1 to=1 waiting=1", "DEMAND 1 to=2 waiting=2", "DEMAND 1 to=3 waiting=3"));
  l.deliver({"a"});
  l.process.hear(Missed{.session = 1, .skipped = 5});
  l.deliver({"b"});
  EXPECT_EQ(one.result(), "a");
  EXPECT_EQ(two.result(), "missed 5");
  EXPECT_EQ(three.result(), "b");
  EXPECT_THAT(l.process.said(), ElementsAre("CONSUMED 1 #1", "CONSUMED 1 #2"));
}

TEST(LinkBroadcast, WhatArrivesForACancelledReceiveServesTheNext) {
  BroadcastLink l;
  const Registration rx = l.ready(Side::receiver);
  Recv& one = l.process.recv(rx);
  l.process.hear(Missed{.session = 1, .skipped = 2});
  one.give_up();
  Recv& two = l.process.recv(rx);
  EXPECT_EQ(two.result(), "missed 2");
}

TEST(LinkBroadcast, ALagIsSomethingForATryToFind) {
  BroadcastLink l;
  const Registration rx = l.ready(Side::receiver);
  Recv& tried = l.process.try_recv(rx);
  EXPECT_THAT(l.process.said(), ElementsAre("DEMAND 1 to=1 waiting=1", "DEMAND_SHRINK 1 to=0 waiting=0"));
  l.process.hear(Missed{.session = 1, .skipped = 1});
  l.process.hear(DemandIs{.session = 1, .limit = 1});
  EXPECT_EQ(tried.result(), "missed 1");
  Recv& again = l.process.try_recv(rx);
  l.process.hear(DemandIs{.session = 1, .limit = 1});
  EXPECT_EQ(again.result(), "empty");
}

TEST(LinkBroadcast, NoLeaseLimitsWhatIsItsOwn) {
  BroadcastLink l;
  const Registration rx = l.ready(Side::receiver);
  Recv& one = l.process.recv(rx);
  l.deliver({"a"});
  l.stand_still(seconds(60));
  EXPECT_EQ(one.result(), "a");
}

TEST(LinkBroadcast, AfterARestartNothingComesButTheErrorOnce) {
  BroadcastLink l;
  const Registration rx = l.ready(Side::receiver);
  Recv& one = l.process.recv(rx);
  Recv& two = l.process.recv(rx);
  l.deliver({"a", "b"});
  EXPECT_EQ(one.result(), "a");
  two.give_up();  // what had come for it stays
  l.process.broker_died(1, false);
  Recv& told = l.process.recv(rx);
  EXPECT_THAT(told.result(), HasSubstr("the channel's actor died"));
  Recv& next = l.process.recv(rx);
  EXPECT_EQ(next.result(), "pending");
}

TEST(LinkBroadcast, AWokenReceiveThatFindsNothingAfterARestartIsTold) {
  BroadcastLink l;
  const Registration rx = l.ready(Side::receiver);
  Recv& one = l.process.recv(rx);
  Recv& two = l.process.recv(rx);
  l.deliver({"a", "b"});
  l.process.broker_died(1, false);
  EXPECT_THAT(one.result(), HasSubstr("the channel's actor died"));
  EXPECT_THAT(two.result(), HasSubstr("is lost"));
}

TEST(LinkBroadcast, WhoWasDeclaredDeadCantTellWhatWasHeard) {
  BroadcastLink l;
  const Registration tx = l.ready(Side::sender);
  Send& send = l.process.send(tx, {"a"});
  l.process.disconnected();
  l.process.connected();
  l.process.hear(Expired{.senders = {{.session = 1, .stored = 1}}});
  EXPECT_THAT(send.result(), HasSubstr("declared dead"));
}

// --- with its broker ---

TEST(BroadcastScenario, EachReceiverGetsAllInOrderOverLostConnections) {
  World world({.kind = ChannelKind::broadcast, .capacity = 2, .waits_for_slowest = true});
  Process& sender = world.process();
  Process& one = world.process();
  Process& two = world.process();
  const Registration rx = one.open(Side::receiver);
  const Registration also_rx = two.open(Side::receiver);
  world.run();
  const Registration tx = sender.open(Side::sender);
  world.run();
  std::string got;
  std::string also_got;
  for (int i = 0; i < 12; ++i) {
    const std::string text(1, static_cast<char>('a' + i));
    Send& send = sender.send(tx, {text.c_str()});
    Recv& first = one.recv(rx);
    Recv& second = two.recv(also_rx);
    world.run();
    if (i % 3 == 0) world.cut(one);
    if (i % 4 == 1) world.cut(sender);
    world.run();
    got += first.result();
    also_got += second.result();
    world.run();
    EXPECT_EQ(send.result(), "done to=2");
  }
  EXPECT_EQ(got, "abcdefghijkl");
  EXPECT_EQ(also_got, got);
}

TEST(BroadcastScenario, AfterARestartEachHandleHearsOfItOnceAndTheChannelWorksOn) {
  World world({.kind = ChannelKind::broadcast, .capacity = 4});
  Process& sender = world.process();
  Process& receiver = world.process();
  const Registration rx = receiver.open(Side::receiver);
  world.run();
  const Registration tx = sender.open(Side::sender);
  world.run();
  Recv& waits = receiver.recv(rx);
  world.run();
  world.restart();
  EXPECT_THAT(waits.result(), HasSubstr("restarted"));
  Send& told = sender.send(tx, {"a"});
  EXPECT_THAT(told.result(), HasSubstr("restarted"));
  Recv& next = receiver.recv(rx);
  Send& send = sender.send(tx, {"b"});
  world.run();
  EXPECT_EQ(send.result(), "done to=1");
  EXPECT_EQ(next.result(), "b");
}

}  // namespace
}  // namespace klaw::dataplane::test
