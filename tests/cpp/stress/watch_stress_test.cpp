// Watch channels whose handles race in several threads: versions never go back, the last value is seen, every wait ends.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <random>
#include <utility>
#include <variant>

#include <gtest/gtest.h>
#include <klaw/channels/watch.hpp>

#include "support/coroutine.hpp"
#include "support/scale.hpp"
#include "support/threads.hpp"
#include "support/ways.hpp"

namespace {

using namespace klaw_test;
using klaw::channels::watch;
using klaw::channels::WatchReceiver;

// Two numbers that were written together.
struct Pair {
  std::uint64_t number = 0;
  std::uint64_t square = 0;
  static Pair of(std::uint64_t n) { return {.number = n, .square = n * n}; }
};

void expect_progress(const Pair& seen, std::uint64_t& last) {
  ASSERT_EQ(seen.square, seen.number * seen.number);
  ASSERT_GT(seen.number, last);
  last = seen.number;
}

TEST(WatchStress, parked_receivers_see_values_in_order_and_the_last_one) {
  const std::uint64_t count = scaled(100'000);
  auto [tx, rx] = watch<Pair>(Pair{});
  Crew crew(4);
  for (int i = 0; i < 3; ++i) {
    crew.add([count, rx = rx.resubscribe()]() mutable {
      std::uint64_t last = 0;
      for (const std::shared_ptr<const Pair>& seen : rx) expect_progress(*seen, last);
      EXPECT_EQ(last, count);
    });
  }
  crew.add([count, tx = std::move(tx)]() mutable {
    for (std::uint64_t i = 1; i <= count; ++i) ASSERT_TRUE(tx.send(Pair::of(i)));
  });
  crew.join();
}

Detached follow(WatchReceiver<Pair> rx, std::uint64_t count, WaitGroup& left) {
  std::uint64_t last = 0;
  while (co_await rx.changed()) expect_progress(*rx.borrow_and_update(), last);
  EXPECT_EQ(last, count);
  left.done();
}

TEST(WatchStress, coroutines_see_values_in_order_and_the_last_one) {
  const std::uint64_t count = scaled(100'000);
  auto [tx, rx] = watch<Pair>(Pair{});
  WaitGroup left(8);
  for (int i = 0; i < 8; ++i) follow(tx.subscribe(), count, left);
  Crew crew(2);
  std::atomic<std::uint64_t> next = 1;
  std::atomic_flag turn;  // two senders, whose values must not overtake each other
  for (int who = 0; who < 2; ++who) {
    crew.add([&, tx = tx.clone()]() mutable {
      for (;;) {
        while (turn.test_and_set(std::memory_order_acquire)) std::this_thread::yield();
        const std::uint64_t mine = next++;
        // Nobody resumes under the flag: a coroutine that sends nothing runs there.
        const bool is_over = mine > count || !tx.send(Pair::of(mine));
        turn.clear(std::memory_order_release);
        if (is_over) return;
      }
    });
  }
  tx.close();
  crew.join();
  left.wait();
}

TEST(WatchStress, tiny_limits_miss_no_change) {
  const std::uint64_t count = scaled(20'000);
  auto [tx, rx] = watch<Pair>(Pair{});
  Crew crew(4);
  for (std::uint32_t who = 0; who < 3; ++who) {
    crew.add([who, count, rx = rx.resubscribe()]() mutable {
      std::mt19937 random(who);
      std::uint64_t last = 0;
      for (;;) {
        const auto changed = rx.blocking_changed_for(std::chrono::nanoseconds(random() % 20'000));
        if (changed) {
          expect_progress(*rx.borrow_and_update(), last);
        } else if (std::holds_alternative<ChannelClosed>(changed.error())) {
          break;
        }
      }
      EXPECT_EQ(last, count);
    });
  }
  crew.add([count, tx = std::move(tx)]() mutable {
    for (std::uint64_t i = 1; i <= count; ++i) ASSERT_TRUE(tx.send(Pair::of(i)));
  });
  crew.join();
}

Detached wait_for_each(WatchReceiver<Pair> rx, std::uint64_t step, std::uint64_t count, std::uint32_t seed,
                       WaitGroup& left) {
  std::mt19937 random(seed);
  for (std::uint64_t wanted = step; wanted <= count; wanted += step) {
    for (;;) {
      const auto found = co_await rx.wait_for([wanted](const Pair& seen) { return seen.number >= wanted; },
                                              std::chrono::nanoseconds(random() % 50'000));
      if (!found) continue;  // out of time; the end comes only after `count`
      EXPECT_GE((*found)->number, wanted);
      break;
    }
  }
  left.done();
}

TEST(WatchStress, certain_values_are_found_within_and_after_tiny_limits) {
  const std::uint64_t count = scaled(50'000);
  auto [tx, rx] = watch<Pair>(Pair{});
  WaitGroup left(4);
  for (std::uint32_t i = 0; i < 4; ++i) wait_for_each(tx.subscribe(), 1 + i * 7, count, i, left);
  Crew crew(2);
  crew.add([count, rx = std::move(rx)]() mutable {
    EXPECT_TRUE(rx.blocking_wait_for([count](const Pair& seen) { return seen.number == count; }));
  });
  crew.add([&t = tx, count] {
    for (std::uint64_t i = 1; i <= count; ++i) ASSERT_TRUE(t.send(Pair::of(i)));
  });
  crew.join();
  left.wait();
}

TEST(WatchStress, receivers_that_come_and_go_while_values_are_sent) {
  const std::uint64_t rounds = scaled(20'000);
  auto [tx, rx] = watch<Pair>(Pair{});
  std::atomic<bool> is_over = false;
  Crew crew(4);
  for (int who = 0; who < 3; ++who) {
    crew.add([&is_over, rounds, tx = tx.clone(), rx = rx.resubscribe()]() mutable {
      for (std::uint64_t i = 0; i < rounds; ++i) {
        auto mine = i % 2 == 0 ? tx.subscribe() : rx.resubscribe();
        std::uint64_t last = mine.borrow_and_update()->number;
        if (mine.try_changed()) expect_progress(*mine.borrow_and_update(), last);
      }
      is_over = true;
    });
  }
  crew.add([&is_over, &t = tx] {
    for (std::uint64_t i = 1; !is_over; ++i) ASSERT_TRUE(t.send(Pair::of(i)));
  });
  crew.join();
  EXPECT_EQ(tx.stats().receiver_count, 1U);
}

}  // namespace
