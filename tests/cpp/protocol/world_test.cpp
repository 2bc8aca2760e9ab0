// Whole scenarios: a broker and several processes, wired directly.
#include <array>
#include <cstdlib>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/dataplane.hpp"

namespace klaw::dataplane::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

TEST(Scenario, AMessageThatAWokenReceiveIsAboutToTakeIsRecalledOnceAndNotForEver) {
  World world;
  Process& sender = world.process();
  Process& ahead = world.process(4);
  Process& other = world.process();
  const Registration tx = sender.open(Side::sender);
  const Registration rx = ahead.open(Side::receiver);
  const Registration also_rx = other.open(Side::receiver);
  world.run();
  Recv& woken = ahead.recv(rx);
  world.run();
  Send& sent = sender.send(tx, {"a"});
  world.run();
  EXPECT_EQ(sent.result(), "done");
  Recv& waiting = other.recv(also_rx);
  world.run();  // comes to an end
  woken.give_up();
  world.run();
  EXPECT_EQ(waiting.result(), "a");
}

TEST(Scenario, WhatIsLeftUnreadAfterTheEndGoesToAReceiverThatWaits) {
  World world;
  Process& sender = world.process();
  Process& one = world.process();
  Process& other = world.process();
  Registration tx = sender.open(Side::sender);
  const Registration rx = one.open(Side::receiver);
  const Registration also_rx = other.open(Side::receiver);
  world.run();
  Recv& woken = one.recv(rx);
  Recv& beside = one.recv(rx);
  world.run();
  Recv& waiting = other.recv(also_rx);
  world.run();
  (void)sender.send(tx, {"a"});
  world.run();
  sender.close(Side::sender, tx);
  world.run();
  EXPECT_EQ(beside.result(), "pending");
  EXPECT_EQ(waiting.result(), "pending");
  beside.give_up();
  woken.give_up();
  world.run();
  EXPECT_EQ(waiting.result(), "a");
}

TEST(Scenario, TheEndComesWhenAWokenReceiveHasTakenItsMessageOrLeftItToAnother) {
  for (const bool leaves : {false, true}) {
    World world;
    Process& sender = world.process();
    Process& one = world.process();
    Process& other = world.process();
    Registration tx = sender.open(Side::sender);
    const Registration rx = one.open(Side::receiver);
    const Registration also_rx = other.open(Side::receiver);
    world.run();
    Recv& woken = one.recv(rx);
    Recv& beside = one.recv(rx);
    world.run();
    Recv& waiting = other.recv(also_rx);
    world.run();
    (void)sender.send(tx, {"a"});
    sender.close(Side::sender, tx);
    world.run();
    if (leaves) {
      woken.give_up();
      EXPECT_EQ(beside.result(), "a");
    } else {
      EXPECT_EQ(woken.result(), "a");
      EXPECT_EQ(beside.result(), "closed ended");
    }
    world.run();
    EXPECT_EQ(waiting.result(), "closed ended");
  }
}

// A sender and two receivers, each a process of its own, all attached.
struct Trio : World {
  explicit Trio(const BrokerSettings& settings = {}, std::uint32_t prefetch = 0)
      : World(settings), sender(process()), one(process(prefetch)), two(process(prefetch)) {
    tx = sender.open(Side::sender);
    rx = one.open(Side::receiver);
    also_rx = two.open(Side::receiver);
    run();
  }
  // What the operation comes to, once all has been said.
  std::string outcome(Pending& op) {
    run();
    std::string result = op.result();
    run();
    return result;
  }

  Process& sender;
  Process& one;
  Process& two;
  Registration tx;
  Registration rx;
  Registration also_rx;
};

TEST(Scenario, MessagesArriveInOrderAndOnceOverAnyNumberOfLostConnections) {
  for (const std::uint64_t capacity : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{3}, kUnbounded}) {
    Trio w({.capacity = capacity}, 2);
    Texts got;
    for (const char* const message : {"a", "b", "c", "d", "e", "f"}) {
      Send& sent = w.sender.send(w.tx, {message});
      Recv& received = w.one.recv(w.rx);
      w.cut(w.sender);
      w.cut(w.one);
      got.push_back(w.outcome(received));
      w.cut(w.one);
      w.cut(w.sender);
      EXPECT_EQ(w.outcome(sent), "done");
    }
    EXPECT_THAT(got, ElementsAre("a", "b", "c", "d", "e", "f"));
    EXPECT_EQ(w.broker().stats(w.now).total_received, 6);
  }
}

TEST(Scenario, ABatchIsWholeOverLostConnections) {
  Trio w({.capacity = 3});
  Send& fits = w.sender.send(w.tx, {"a", "b"});
  w.cut(w.sender);
  EXPECT_EQ(w.outcome(fits), "done");
  Send& waits = w.sender.send(w.tx, {"c", "d", "e"});
  for (int i = 0; i < 3; ++i) {
    w.cut(w.sender);
    w.run();
  }
  EXPECT_EQ(w.outcome(waits), "pending");  // there is room for one of it
  EXPECT_EQ(w.broker().stats(w.now).queue_size, 2);
  EXPECT_EQ(w.outcome(w.one.recv(w.rx)), "a");
  EXPECT_EQ(w.broker().stats(w.now).queue_size, 1);
  EXPECT_EQ(w.outcome(w.one.recv(w.rx)), "b");
  w.cut(w.sender);
  EXPECT_EQ(w.outcome(waits), "done");
  EXPECT_EQ(w.broker().stats(w.now).queue_size, 3);
  for (const char* const message : {"c", "d", "e"}) EXPECT_EQ(w.outcome(w.two.recv(w.also_rx)), message);
  EXPECT_EQ(w.broker().stats(w.now).total_sent, 5);
}

TEST(Scenario, ACancelledReceivesMessageReachesSomebodyOnARendezvousToo) {
  for (const std::uint64_t capacity : {std::uint64_t{0}, std::uint64_t{1}}) {
    Trio w({.capacity = capacity});
    Recv& cancelled = w.one.recv(w.rx);
    w.run();
    Send& sent = w.sender.send(w.tx, {"a"});
    w.run();
    Recv& waiting = w.two.recv(w.also_rx);
    cancelled.give_up();
    EXPECT_EQ(w.outcome(waiting), "a");
    EXPECT_EQ(w.outcome(sent), "done");
  }
}

TEST(Scenario, AStoppedProcessDoesNotRepeatWhatWasRedeliveredMeanwhile) {
  Trio w;
  Recv& cancelled = w.one.recv(w.rx);
  w.run();
  cancelled.give_up();  // a message may still come for it
  w.stop(w.one);
  (void)w.sender.send(w.tx, {"a"});
  w.run();
  w.pass(seconds(10));
  EXPECT_EQ(w.outcome(w.two.recv(w.also_rx)), "a+1");
  w.go_on(w.one);
  w.one.tick();
  Recv& late = w.one.recv(w.rx);
  EXPECT_NE(w.outcome(late), "a");
}

TEST(Scenario, AProcessThatWasStoppedBrieflyGoesOn) {
  Trio w;
  Recv& received = w.one.recv(w.rx);
  w.run();
  w.stop(w.one);
  (void)w.sender.send(w.tx, {"a"});
  w.pass(seconds(2));
  w.go_on(w.one);
  EXPECT_EQ(w.outcome(received), "a");
}

TEST(Scenario, WhatAKilledReceiverHeldIsRedeliveredMarkedAndTheRestIsNot) {
  Trio w;
  EXPECT_EQ(w.outcome(w.sender.send(w.tx, {"a", "b", "c"})), "done");
  Recv& held = w.one.recv(w.rx, {.acknowledges = true});
  EXPECT_EQ(w.outcome(held), "a");
  w.kill(w.one);
  EXPECT_EQ(w.outcome(w.two.recv(w.also_rx, {.batch = 3})), "a+1 b c");
}

TEST(Scenario, WhatAKilledReceiverWasDecodingGoesToAnother) {
  for (const std::uint64_t capacity : {std::uint64_t{0}, std::uint64_t{3}}) {
    Trio w({.capacity = capacity});
    Send& sent = w.sender.send(w.tx, {"a"});
    EXPECT_EQ(w.outcome(w.one.recv(w.rx, {.confirms = true})), "a");
    EXPECT_EQ(w.outcome(sent), capacity == 0 ? "pending" : "done");
    w.kill(w.one);
    Recv& another = w.two.recv(w.also_rx, {.confirms = true});
    EXPECT_EQ(w.outcome(another), "a+1");
    EXPECT_EQ(w.two.confirm(w.also_rx, {another.attempt()}), "returned");
    w.run();
    EXPECT_EQ(sent.result(), "done");
    EXPECT_EQ(w.broker().stats(w.now).total_received, 1);
  }
}

TEST(Scenario, WhatAOneshotsKilledReceiverWasDecodingGoesToAnother) {
  Trio w({.kind = ChannelKind::oneshot, .capacity = 1});
  EXPECT_EQ(w.outcome(w.sender.send(w.tx, {"a"})), "done");
  EXPECT_EQ(w.outcome(w.one.recv(w.rx, {.confirms = true})), "a");
  EXPECT_EQ(w.one.recv(w.rx).result(), "closed ended: already consumed");
  w.kill(w.one);
  EXPECT_EQ(w.outcome(w.two.recv(w.also_rx)), "a+1");
}

TEST(Scenario, WhatAClosedHandleWasDecodingWhenItsProcessWasKilledGoesToAnother) {
  Trio w;
  EXPECT_EQ(w.outcome(w.sender.send(w.tx, {"a"})), "done");
  EXPECT_EQ(w.outcome(w.one.recv(w.rx, {.confirms = true})), "a");
  w.one.close(Side::receiver, w.rx);
  w.run();
  w.kill(w.one);
  EXPECT_EQ(w.outcome(w.two.recv(w.also_rx)), "a+1");
}

TEST(Scenario, WhatAProcessThatWasDeclaredDeadWasDecodingIsReturnedByOneReceiverOnly) {
  Trio w;
  EXPECT_EQ(w.outcome(w.sender.send(w.tx, {"a"})), "done");
  Recv& received = w.one.recv(w.rx, {.confirms = true});
  EXPECT_EQ(w.outcome(received), "a");
  w.set_reachable(w.one, false);
  w.cut(w.one);
  w.pass(seconds(4));
  EXPECT_EQ(w.outcome(w.two.recv(w.also_rx)), "a+1");
  w.set_reachable(w.one, true);
  w.pass(seconds(2));
  EXPECT_THAT(w.one.confirm(w.rx, {received.attempt()}), HasSubstr("given to another receiver"));
}

TEST(Scenario, WhatIsDecodedWhileTheBrokerIsRestartedIsReturned) {
  Trio w;
  EXPECT_EQ(w.outcome(w.sender.send(w.tx, {"a"})), "done");
  Recv& received = w.one.recv(w.rx, {.confirms = true});
  EXPECT_EQ(w.outcome(received), "a");
  w.restart();
  w.run();
  EXPECT_EQ(w.one.confirm(w.rx, {received.attempt()}), "returned");
}

TEST(Scenario, EachReceiverSeesTheEndOnceAndAfterTheLastMessage) {
  Trio w({.capacity = 1});
  Send& last = w.sender.send(w.tx, {"a"});
  EXPECT_EQ(w.outcome(last), "done");
  w.sender.close(Side::sender, w.tx);
  Recv& first = w.one.recv(w.rx);
  Recv& other = w.two.recv(w.also_rx);
  EXPECT_EQ(w.outcome(first), "a");
  EXPECT_EQ(w.outcome(other), "closed ended");
  EXPECT_EQ(w.outcome(w.one.recv(w.rx)), "closed ended");
  w.one.close(Side::receiver, w.rx);
  w.two.close(Side::receiver, w.also_rx);
  w.run();
  EXPECT_TRUE(w.broker().is_closed());
}

TEST(Scenario, AKilledSenderEndsTheChannelAfterTheOrphanGrace) {
  Trio w;
  Recv& received = w.one.recv(w.rx);
  w.run();
  w.kill(w.sender);
  w.pass(seconds(9));
  EXPECT_EQ(received.result(), "pending");
  w.pass(seconds(1));
  EXPECT_THAT(received.result(), StartsWith("closed peer_died: the process of the last sender died"));
}

TEST(Scenario, AfterARestartEachHandleHearsOfItOnceAndTheChannelWorksOn) {
  Trio w;
  Recv& waiting = w.one.recv(w.rx);
  w.run();
  w.restart();
  EXPECT_THAT(w.outcome(waiting), HasSubstr("the channel's actor was restarted"));
  EXPECT_THAT(w.outcome(w.sender.send(w.tx, {"a"})), HasSubstr("the channel's actor was restarted"));
  EXPECT_EQ(w.outcome(w.sender.send(w.tx, {"a"})), "done");
  EXPECT_EQ(w.outcome(w.one.recv(w.rx)), "a");
  w.pass(seconds(30));
  EXPECT_EQ(w.broker().stats(w.now).sender_count, 1);
  EXPECT_EQ(w.broker().stats(w.now).receiver_count, 2);
}

TEST(Scenario, ARestartFromACheckpointLosesNothingThatItHasAndRepeatsItMarked) {
  Trio w;
  EXPECT_EQ(w.outcome(w.sender.send(w.tx, {"a", "b"})), "done");
  const Checkpoint checkpoint = w.broker().checkpoint(true);
  EXPECT_EQ(w.outcome(w.sender.send(w.tx, {"lost"})), "done");
  w.restart(checkpoint);
  EXPECT_THAT(w.outcome(w.one.recv(w.rx)), HasSubstr("restarted"));
  EXPECT_EQ(w.outcome(w.one.recv(w.rx)), "a+1");
  EXPECT_EQ(w.outcome(w.one.recv(w.rx)), "b+1");
  EXPECT_THAT(w.outcome(w.sender.send(w.tx, {"c"})), HasSubstr("lacks 1 messages"));
  EXPECT_EQ(w.outcome(w.sender.send(w.tx, {"c"})), "done");
  EXPECT_EQ(w.outcome(w.one.recv(w.rx)), "c");
}

TEST(Scenario, AProcessThatIsOutOfReachForTooLongIsExpiredAndComesBackAsAnother) {
  Trio w;
  w.set_reachable(w.sender, false);
  w.cut(w.sender);
  w.pass(seconds(4));
  EXPECT_EQ(w.broker().stats(w.now).sender_count, 0);
  w.set_reachable(w.sender, true);
  w.pass(seconds(2));
  EXPECT_EQ(w.broker().stats(w.now).sender_count, 1);
  EXPECT_THAT(w.outcome(w.sender.send(w.tx, {"a"})), HasSubstr("declared dead"));
  EXPECT_EQ(w.outcome(w.sender.send(w.tx, {"a"})), "done");
  EXPECT_EQ(w.sender.lives, 2);
}

TEST(Scenario, AHandleThatTravelsKeepsItsSideOpenOnItsWay) {
  Trio w;
  const Token token = id_of<Token>(7);
  w.sender.link.hold(w.now, Side::sender, w.tx, token);
  w.sender.close(Side::sender, w.tx);
  w.run();
  EXPECT_EQ(w.outcome(w.one.recv(w.rx, {.deadline = w.now})), "empty");
  Registration loaded = w.two.open(Side::sender, token);
  EXPECT_EQ(w.outcome(w.two.send(loaded, {"a"})), "done");
  w.two.close(Side::sender, loaded);
  EXPECT_EQ(w.outcome(w.one.recv(w.rx)), "a");
  EXPECT_EQ(w.outcome(w.one.recv(w.rx)), "closed ended");
}

TEST(Scenario, DeletionReachesAllAndTheBrokerEnds) {
  Trio w;
  Recv& received = w.one.recv(w.rx);
  w.run();
  w.broker().remove(w.now);
  EXPECT_EQ(w.outcome(received), "closed deleted");
  EXPECT_EQ(w.outcome(w.sender.send(w.tx, {"a"})), "closed deleted");
  EXPECT_TRUE(w.has_ended);
}

TEST(Scenario, OperationsEndWhenTheBrokerIsGoneAndNobodySaysSo) {
  Trio w;
  Send& sent = w.sender.send(w.tx, {"a"});
  EXPECT_EQ(w.outcome(sent), "done");
  Recv& waiting = w.two.recv(w.also_rx, {.acknowledges = true});
  EXPECT_EQ(w.outcome(waiting), "a");
  Recv& received = w.one.recv(w.rx);
  w.run();
  w.lose_broker();
  w.pass(seconds(13));
  EXPECT_EQ(received.result(), "pending");
  w.pass(seconds(2));
  EXPECT_THAT(received.result(), HasSubstr("can't be reached"));
}

TEST(Scenario, ReceiversThatAreAlwaysReadyGetEqualShares) {
  Trio w({.capacity = 1});
  std::array<int, 2> counts = {};
  Recv* first = &w.one.recv(w.rx);
  Recv* second = &w.two.recv(w.also_rx);
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(w.outcome(w.sender.send(w.tx, {"a"})), "done");
    if (w.outcome(*first) == "a") ++counts[0], first = &w.one.recv(w.rx);
    if (w.outcome(*second) == "a") ++counts[1], second = &w.two.recv(w.also_rx);
  }
  EXPECT_EQ(counts[0] + counts[1], 20);
  EXPECT_LE(std::abs(counts[0] - counts[1]), 1);
}

}  // namespace
}  // namespace klaw::dataplane::test
