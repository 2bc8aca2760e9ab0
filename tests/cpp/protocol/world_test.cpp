// Whole scenarios: a broker and several processes, wired directly.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/dataplane.hpp"

namespace klaw::dataplane::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

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
  woken.cancel();
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
  Recv& ended = one.recv(rx);
  world.run();
  Recv& waiting = other.recv(also_rx);
  world.run();
  (void)sender.send(tx, {"a"});
  world.run();
  sender.close(Side::sender, tx);
  world.run();
  EXPECT_EQ(ended.result(), "closed ended");
  EXPECT_EQ(waiting.result(), "pending");
  woken.cancel();
  world.run();
  EXPECT_EQ(waiting.result(), "a");
}

}  // namespace
}  // namespace klaw::dataplane::test
