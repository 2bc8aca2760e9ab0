// The lock of channels: it excludes, it wakes, and it may be destroyed by its next holder.
#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <thread>

#include <gtest/gtest.h>
#include <klaw/channels/detail/sync.hpp>

#include "support/scale.hpp"
#include "support/threads.hpp"

namespace {

using namespace klaw_test;
using klaw::channels::detail::ShortMutex;

TEST(ShortMutex, lets_one_in_at_a_time_and_shows_what_was_done_before) {
  const std::size_t each = scaled(200'000);
  ShortMutex mutex;
  std::size_t counter = 0;  // TSan sees an access outside of the lock
  run_together(4, [&](std::size_t /*who*/) {
    for (std::size_t i = 0; i < each; ++i) {
      const std::lock_guard guard(mutex);
      ++counter;
    }
  });
  EXPECT_EQ(counter, 4 * each);
}

TEST(ShortMutex, wakes_those_who_sleep_one_after_the_other) {
  ShortMutex mutex;
  std::size_t passed = 0;
  mutex.lock();
  Crew crew(4);
  for (int i = 0; i < 4; ++i) {
    crew.add([&] {
      const std::lock_guard guard(mutex);
      ++passed;
    });
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // beyond what they spin, mostly
  EXPECT_EQ(passed, 0U);
  mutex.unlock();
  crew.join();
  EXPECT_EQ(passed, 4U);
}

TEST(ShortMutex, is_not_entered_by_a_try_while_it_is_held) {
  ShortMutex mutex;
  ASSERT_TRUE(mutex.try_lock());
  EXPECT_FALSE(mutex.try_lock());
  mutex.unlock();
  ASSERT_TRUE(mutex.try_lock());
  mutex.unlock();
}

TEST(ShortMutex, may_be_destroyed_by_whoever_gets_it_next) {
  const std::size_t rounds = scaled(5'000);
  for (std::size_t round = 0; round < rounds; ++round) {
    auto mutex = std::make_unique<ShortMutex>();
    ShortMutex& same = *mutex;
    mutex->lock();
    std::jthread next([&mutex] {
      mutex->lock();
      mutex->unlock();
      mutex.reset();
    });
    same.unlock();
  }
}

}  // namespace
