// No stack growth, however many operations complete in a row, and however many coroutines wake each other. The counts are
// the same in every build, since it is at -O0 and under sanitizers that a stack would overflow. Only those of suspended
// turns are scaled down there (10 us each under TSan) for the second flavour and the second way to take turns, which wait
// by the same code.
#include <cstddef>
#include <type_traits>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "support/coroutine.hpp"
#include "support/flavours.hpp"
#include "support/scale.hpp"
#include "support/threads.hpp"
#include "support/ways.hpp"

namespace {

using namespace klaw_test;

constexpr int kMillions = 3'000'000;
constexpr int kWaiters = 100'000;
constexpr int kMillionsScaled = static_cast<int>(scaled(kMillions));

template <class F>
class Depth : public ::testing::Test {};
struct Names {
  template <class F>
  static std::string GetName(int) {
    return F::name;
  }
};
using Flavours = ::testing::Types<Local, Any>;
TYPED_TEST_SUITE(Depth, Flavours, Names);

TYPED_TEST(Depth, three_million_sends_in_a_row_complete_at_once) {
  auto [tx, rx] = TypeParam::template open<int>(kMillions);
  auto task = [](auto& sender) -> Task<int> {
    for (int i = 0; i < kMillions; ++i) {
      auto sent = co_await sender.send(i);
      if (!sent) co_return i;
    }
    co_return kMillions;
  }(tx);
  EXPECT_TRUE(task.is_done());
  EXPECT_EQ(task.get(), kMillions);
  EXPECT_EQ(rx.size(), static_cast<std::size_t>(kMillions));
}

TYPED_TEST(Depth, three_million_receives_in_a_row_complete_at_once) {
  auto [tx, rx] = TypeParam::template open<int>(std::nullopt);
  for (int i = 0; i < kMillions; ++i) ASSERT_TRUE(tx.try_send(i));
  auto task = [](auto& receiver) -> Task<int> {
    for (int i = 0; i < kMillions; ++i) {
      auto got = co_await receiver.recv();
      if (!got || *got != i) co_return i;
    }
    co_return kMillions;
  }(rx);
  EXPECT_TRUE(task.is_done());
  EXPECT_EQ(task.get(), kMillions);
}

TYPED_TEST(Depth, two_coroutines_pass_the_ball_three_million_times) {
  constexpr int kTurns = std::is_same_v<TypeParam, Local> ? kMillions : kMillionsScaled;
  auto [ping_tx, ping_rx] = TypeParam::template open<int>(0);
  auto [pong_tx, pong_rx] = TypeParam::template open<int>(0);
  auto play = [](auto& in, auto& out) -> Task<int> {
    int seen = 0;
    while (auto ball = co_await in.recv()) {
      ++seen;
      if (*ball == kTurns) co_return seen;
      auto sent = co_await out.send(*ball + 1);
      if (!sent) co_return -1;
      if (*ball + 1 == kTurns) co_return seen;
    }
    co_return -1;
  };
  auto a = play(ping_rx, pong_tx);
  auto b = play(pong_rx, ping_tx);
  EXPECT_TRUE(ping_tx.try_send(1));
  EXPECT_EQ(a.get() + b.get(), kTurns);
}

TYPED_TEST(Depth, a_producer_and_a_consumer_take_turns_three_million_times) {
  auto [tx, rx] = TypeParam::template open<int>(1);
  auto consume = [](auto& receiver) -> Task<int> {
    int expected = 0;
    while (auto got = co_await receiver.recv()) {
      if (*got != expected++) co_return -1;
    }
    co_return expected;
  };
  auto produce = [](auto& sender) -> Task<> {
    for (int i = 0; i < kMillionsScaled; ++i) {
      auto sent = co_await sender.send(i);
      if (!sent) break;
    }
    sender.close();
    co_return std::monostate{};
  };
  auto consumer = consume(rx);
  auto producer = produce(tx);
  EXPECT_EQ(consumer.get(), kMillionsScaled);
  (void)producer.get();
}

TYPED_TEST(Depth, a_hundred_thousand_coroutines_wait_and_are_woken_in_order) {
  auto [tx, rx] = TypeParam::template open<int>(std::nullopt);
  std::vector<int> order;
  std::vector<Task<>> tasks;
  auto wait = [](auto& receiver, std::vector<int>& done, int id) -> Task<> {
    auto got = co_await receiver.recv();
    done.push_back(got && *got == id ? id : -1);
    co_return std::monostate{};
  };
  for (int i = 0; i < kWaiters; ++i) tasks.push_back(wait(rx, order, i));
  EXPECT_EQ(rx.stats().waiting_receivers, static_cast<std::size_t>(kWaiters));
  // Half of them one by one, the rest in a single wake-up.
  for (int i = 0; i < kWaiters / 2; ++i) ASSERT_TRUE(tx.try_send(i));
  std::vector<int> rest;
  for (int i = kWaiters / 2; i < kWaiters; ++i) rest.push_back(i);
  ASSERT_TRUE(tx.try_send_batch(std::move(rest)));
  ASSERT_EQ(order.size(), static_cast<std::size_t>(kWaiters));
  for (int i = 0; i < kWaiters; ++i) ASSERT_EQ(order[static_cast<std::size_t>(i)], i);
}

TYPED_TEST(Depth, a_hundred_thousand_coroutines_hear_of_the_end) {
  auto [tx, rx] = TypeParam::template open<int>(0);
  std::vector<Task<Result<int, ChannelClosed>>> tasks;
  for (int i = 0; i < kWaiters; ++i) tasks.push_back(Suspended::recv(rx));
  tx.close();
  for (auto& task : tasks) ASSERT_TRUE(is_closed(task.get(), CloseKind::ended));
}

TYPED_TEST(Depth, a_hundred_thousand_waiting_senders_are_served_in_order) {
  auto [tx, rx] = TypeParam::template open<int>(1);
  std::vector<Task<Result<void, ChannelClosed>>> tasks;
  for (int i = 0; i < kWaiters; ++i) tasks.push_back(Suspended::send(tx, i));
  for (int i = 0; i < kWaiters; ++i) ASSERT_EQ(rx.try_recv(), i);
  for (auto& task : tasks) ASSERT_TRUE(task.get());
}

TYPED_TEST(Depth, a_ring_of_coroutines_passes_a_token_around) {
  // Each wakes the next from within its own resumption: a chain of 300,000 wake-ups without nesting.
  constexpr std::size_t kRing = 1000;
  std::vector<typename TypeParam::template Sender<int>> senders;
  std::vector<typename TypeParam::template Receiver<int>> receivers;
  for (std::size_t i = 0; i < kRing; ++i) {
    auto [tx, rx] = TypeParam::template open<int>(1);
    senders.push_back(std::move(tx));
    receivers.push_back(std::move(rx));
  }
  auto pass = [](auto& in, auto& out) -> Task<> {
    while (auto token = co_await in.recv()) {
      if (*token == 0) break;
      auto sent = co_await out.send(*token - 1);
      if (!sent) break;
    }
    out.close();
    co_return std::monostate{};
  };
  std::vector<Task<>> tasks;
  for (std::size_t i = 0; i < kRing; ++i) tasks.push_back(pass(receivers[i], senders[(i + 1) % kRing]));
  EXPECT_TRUE(senders[0].try_send(300'000));
  for (auto& task : tasks) (void)task.get();
}

}  // namespace
