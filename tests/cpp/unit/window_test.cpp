// The window of a broadcast's messages at a broker.
#include <string>

#include <dataplane/broker/window.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace klaw::dataplane {
namespace {

using broker_state::Held;
using broker_state::Window;

void push(Window& window, const char* text) {
  window.push({.message = Held(Bytes(text), nullptr), .client = {}, .session = 1, .seq = 1, .stored_at = {}});
}
std::string kept(const Window& window) {
  std::string text;
  for (const Window::Kept& kept : window.items()) text += kept.message.bytes().view();
  return text;
}

TEST(Window, KeepsWhatTheSlowestHasYetToTake) {
  Window window;
  window.enter(0);
  window.enter(0);
  push(window, "a");
  push(window, "b");
  window.move(0, 2);
  EXPECT_EQ(kept(window), "ab");
  window.move(0, 1);
  EXPECT_EQ(kept(window), "b");
  EXPECT_EQ(window.base(), 1);
  EXPECT_EQ(window.tail(), 2);
  window.move(1, 2);
  EXPECT_EQ(kept(window), "");
  EXPECT_EQ(window.readers_at(2), 2);
}

TEST(Window, WhoLeavesHoldsNothingUp) {
  Window window;
  window.enter(0);
  window.enter(0);
  push(window, "a");
  window.move(0, 1);
  window.leave(0);
  EXPECT_EQ(kept(window), "");
  EXPECT_EQ(window.readers(), 1);
  window.leave(1);
  EXPECT_EQ(window.readers(), 0);
}

TEST(Window, WhoFellBehindStandsAtTheOldest) {
  Window window;
  window.enter(0);
  for (const char* const text : {"a", "b", "c"}) push(window, text);
  window.drop_oldest();
  window.drop_oldest();
  EXPECT_EQ(kept(window), "c");
  EXPECT_EQ(window.readers_at(2), 1);
  window.move(0, 2);  // it was told; it stands there already
  EXPECT_EQ(kept(window), "c");
  window.move(2, 3);
  EXPECT_EQ(kept(window), "");
  EXPECT_EQ(window.base(), 3);
}

TEST(Window, WhoComesGetsWhatComesFromNowOn) {
  Window window;
  window.enter(0);
  push(window, "a");
  window.enter(window.tail());
  push(window, "b");
  window.leave(0);
  EXPECT_EQ(kept(window), "b");
}

TEST(Window, ADropWithAllBehindItLeavesThemAtTheEnd) {
  Window window;
  window.enter(0);
  push(window, "a");
  window.drop_oldest();
  EXPECT_EQ(window.readers_at(window.tail()), 1);
  push(window, "b");
  EXPECT_EQ(window.readers_at(1), 1);
}

}  // namespace
}  // namespace klaw::dataplane
