// Selects over a channel, a oneshot, a broadcast and a watch at once, while all of them are sent into: no message is lost or
// doubled by a branch that lost, and the last value of the watch is seen.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <klaw/channels.hpp>

#include "support/coroutine.hpp"
#include "support/scale.hpp"
#include "support/threads.hpp"
#include "support/ways.hpp"

namespace {

using namespace klaw_test;
using namespace klaw::channels;

// What one consumer saw, of numbers that count up from 1.
struct Seen {
  std::uint64_t queued = 0;
  std::uint64_t heard = 0;
  std::uint64_t watched = 0;
  bool is_told = false;

  // Each in order, and but for the watch without a gap.
  void queue(std::uint64_t number) { EXPECT_EQ(number, ++queued); }
  void hear(std::uint64_t number) { EXPECT_EQ(number, ++heard); }
  void watch(std::uint64_t number) {
    EXPECT_GT(number, watched);
    watched = number;
  }
  void tell() { EXPECT_FALSE(std::exchange(is_told, true)); }
};

struct Sources {
  LocalReceiver<std::uint64_t> queue;
  OneshotReceiver<std::uint64_t> once;
  BroadcastReceiver<std::uint64_t> news;
  WatchReceiver<std::uint64_t> state;
};

// Takes what a select gave. True: that branch has ended.
template <class Selected>
bool take(Selected got, Seen& seen) {
  switch (got.index()) {
    case 0:
      if (!got.template get<0>()) return true;
      seen.queue(*got.template get<0>());
      return false;
    case 1:
      if (!got.template get<1>()) return true;
      seen.tell();
      return false;
    case 2:
      if (!got.template get<2>()) return true;
      seen.hear(*got.template get<2>());
      return false;
    default:
      if (!got.template get<3>()) return true;
      seen.watch(**got.template get<3>());
      return false;
  }
}

// An ended branch is always ready, so what the others still hold is drained without a select.
void drain(Sources& from, Seen& seen) {
  while (const auto got = from.queue.blocking_recv()) seen.queue(*got);
  while (const auto got = from.news.blocking_recv()) seen.hear(*got);  // before the oneshot: one thread sends to both
  if (from.once.blocking_recv()) seen.tell();
  while (from.state.blocking_changed()) seen.watch(*from.state.borrow_and_update());
}

void expect_all(const Seen& seen, std::uint64_t count) {
  EXPECT_EQ(seen.queued, count);
  EXPECT_EQ(seen.heard, count);
  EXPECT_EQ(seen.watched, count);
  EXPECT_TRUE(seen.is_told);
}

// body(sources) beside threads that send 1 to `count` into each.
template <class Body>
void beside_senders(std::uint64_t count, Body body) {
  auto [queue_tx, queue_rx] = channel<std::uint64_t>(3);
  auto [once_tx, once_rx] = oneshot<std::uint64_t>();
  auto [news_tx, news_rx] = broadcast<std::uint64_t>(2, Overflow::wait);
  auto [state_tx, state_rx] = watch<std::uint64_t>(0);
  Sources sources{std::move(queue_rx), std::move(once_rx), std::move(news_rx), std::move(state_rx)};
  Crew crew(4);
  crew.add([count, tx = std::move(queue_tx)]() mutable {
    for (std::uint64_t i = 1; i <= count; ++i) ASSERT_TRUE(tx.blocking_send(i));
  });
  crew.add([count, tx = std::move(news_tx), once = std::move(once_tx)]() mutable {
    for (std::uint64_t i = 1; i <= count; ++i) {
      ASSERT_TRUE(tx.blocking_send(i));
      if (i == count / 2) {
        ASSERT_TRUE(once.send(i));
      }
    }
  });
  crew.add([count, tx = std::move(state_tx)]() mutable {
    for (std::uint64_t i = 1; i <= count; ++i) ASSERT_TRUE(tx.send(i));
  });
  crew.add([&body, &sources] { body(sources); });
  crew.join();
}

TEST(FlavoursStress, a_parked_select_over_all_of_them_loses_nothing) {
  const std::uint64_t count = scaled(20'000);
  beside_senders(count, [count](Sources& from) {
    Seen seen;
    while (!take(blocking_select(from.queue, from.once, from.news, from.state), seen)) {
    }
    drain(from, seen);
    expect_all(seen, count);
  });
}

Task<> select_until_one_ends(Sources& from, Seen& seen) {
  for (;;) {
    auto got = co_await select(from.queue, from.once, from.news, from.state);
    if (take(std::move(got), seen)) break;
  }
  co_return std::monostate{};
}

TEST(FlavoursStress, a_coroutine_that_selects_over_all_of_them_loses_nothing) {
  const std::uint64_t count = scaled(20'000);
  beside_senders(count, [count](Sources& from) {
    Seen seen;
    (void)select_until_one_ends(from, seen).get();
    drain(from, seen);
    expect_all(seen, count);
  });
}

TEST(FlavoursStress, selects_that_run_out_of_time_lose_nothing) {
  const std::uint64_t count = scaled(20'000);
  beside_senders(count, [count](Sources& from) {
    Seen seen;
    std::mt19937 random(1);
    for (;;) {
      auto got = blocking_select_for(std::chrono::nanoseconds(random() % 20'000), from.queue, from.once, from.news,
                                     from.state);
      if (got && take(*std::move(got), seen)) break;
    }
    drain(from, seen);
    expect_all(seen, count);
  });
}

}  // namespace
