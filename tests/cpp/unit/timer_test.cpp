// Time limits of coroutines: the thread that cancels what is late.
#include <atomic>
#include <chrono>
#include <memory>
#include <vector>

#include <gtest/gtest.h>
#include <klaw/channels/detail/timer.hpp>

#include "support/threads.hpp"

namespace {

using namespace std::chrono_literals;
using klaw::channels::detail::Clock;
using klaw::channels::detail::Operation;
using klaw::channels::detail::Timers;
using klaw_test::spin_until;

class Timed final : public Operation {
 public:
  Timed() noexcept : Operation([](Operation& self) noexcept { ++static_cast<Timed&>(self).wakes; }) {}
  std::atomic<int> wakes{0};
};

TEST(Timers, cancel_and_fire_what_is_late) {
  auto& timers = Timers::of_this_process();
  Timed op;
  const auto when = Clock::now() + 1ms;
  timers.add(when, op);
  ASSERT_TRUE(op.arm());
  spin_until([&] { return op.wakes == 1; });
  EXPECT_GE(Clock::now(), when);
  EXPECT_EQ(op.claimed_index(), Operation::kCancelled);
  timers.remove(when, op);
}

TEST(Timers, a_limit_that_has_passed_already_is_late_too) {
  auto& timers = Timers::of_this_process();
  Timed op;
  const auto when = Clock::now() - 1h;
  timers.add(when, op);
  if (op.arm()) spin_until([&] { return op.wakes == 1; });
  EXPECT_EQ(op.claimed_index(), Operation::kCancelled);
  timers.remove(when, op);
}

TEST(Timers, leave_alone_what_was_claimed) {
  auto& timers = Timers::of_this_process();
  Timed claimed;
  Timed late;
  const auto when = Clock::now() + 2ms;
  ASSERT_TRUE(claimed.try_claim(4));
  timers.add(when, claimed);
  timers.add(when + 1ms, late);
  ASSERT_TRUE(claimed.arm());
  ASSERT_TRUE(late.arm());
  spin_until([&] { return late.wakes == 1; });
  EXPECT_EQ(claimed.wakes, 0);
  EXPECT_EQ(claimed.claimed_index(), 4U);
  timers.remove(when, claimed);
  timers.remove(when + 1ms, late);
}

TEST(Timers, leave_alone_what_was_removed) {
  auto& timers = Timers::of_this_process();
  auto removed = std::make_unique<Timed>();
  Timed late;
  const auto when = Clock::now() + 5ms;
  timers.add(when, *removed);
  timers.add(when + 1ms, late);
  timers.remove(when, *removed);
  removed.reset();
  ASSERT_TRUE(late.arm());
  spin_until([&] { return late.wakes == 1; });
  timers.remove(when + 1ms, late);
}

TEST(Timers, a_later_limit_does_not_hold_up_an_earlier_one_added_after_it) {
  auto& timers = Timers::of_this_process();
  Timed far;
  Timed near;
  const auto far_when = Clock::now() + 24h;
  timers.add(far_when, far);
  ASSERT_TRUE(far.arm());
  const auto near_when = Clock::now() + 1ms;
  timers.add(near_when, near);
  ASSERT_TRUE(near.arm());
  spin_until([&] { return near.wakes == 1; });
  EXPECT_EQ(far.wakes, 0);
  timers.remove(near_when, near);
  timers.remove(far_when, far);
}

TEST(Timers, many_at_one_moment_are_all_cancelled) {
  auto& timers = Timers::of_this_process();
  std::vector<std::unique_ptr<Timed>> ops;
  const auto when = Clock::now() + 2ms;
  for (int i = 0; i < 1000; ++i) {
    ops.push_back(std::make_unique<Timed>());
    timers.add(when, *ops.back());
    if (!ops.back()->arm()) ops.back()->wakes = 1;  // fired already
  }
  for (auto& op : ops) spin_until([&] { return op->wakes == 1; });
  for (auto& op : ops) timers.remove(when, *op);
}

TEST(Timers, serve_adds_and_removes_from_many_threads) {
  auto& timers = Timers::of_this_process();
  klaw_test::run_together(4, [&](std::size_t) {
    for (int i = 0; i < 2000; ++i) {
      Timed op;
      const auto when = Clock::now() + std::chrono::microseconds(i % 50);
      timers.add(when, op);
      const bool sleeps = op.arm();
      if (op.cancel()) {
        timers.remove(when, op);
        ASSERT_EQ(op.wakes, 0);
      } else {
        spin_until([&] { return op.is_fired() && (!sleeps || op.wakes == 1); });
        timers.remove(when, op);
      }
    }
  });
}

}  // namespace
