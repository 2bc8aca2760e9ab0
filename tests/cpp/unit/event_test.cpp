#include <chrono>
#include <csignal>
#include <memory>

#include <gtest/gtest.h>
#include <klaw/channels/detail/sync.hpp>
#include <pthread.h>

#include "support/threads.hpp"

namespace {

using namespace std::chrono_literals;
using klaw::channels::detail::Clock;
using klaw::channels::detail::Deadline;
using klaw::channels::detail::deadline_after;
using klaw::channels::detail::Event;

TEST(Event, set_before_the_wait_it_does_not_sleep) {
  Event event;
  EXPECT_FALSE(event.is_set());
  event.set();
  EXPECT_TRUE(event.is_set());
  EXPECT_EQ(event.wait(std::nullopt), Event::Wait::set);
  EXPECT_EQ(event.wait(Clock::now() - 1h), Event::Wait::set);
}

TEST(Event, set_during_the_wait_it_ends_it_and_publishes_what_came_before) {
  for (int round = 0; round < 300; ++round) {
    Event event;
    int data = 0;
    std::jthread setter([&] {
      data = round;
      event.set();
    });
    ASSERT_EQ(event.wait(std::nullopt), Event::Wait::set);
    ASSERT_EQ(data, round);
  }
}

TEST(Event, a_deadline_that_passes_is_told_as_such) {
  Event event;
  EXPECT_EQ(event.wait(Clock::now() + 1ms), Event::Wait::timed_out);
  EXPECT_FALSE(event.is_set());
}

TEST(Event, a_deadline_in_the_past_does_not_sleep) {
  Event event;
  EXPECT_EQ(event.wait(Clock::now() - 1s), Event::Wait::timed_out);
  EXPECT_EQ(event.wait(Clock::time_point::min()), Event::Wait::timed_out);
  EXPECT_EQ(event.wait(Clock::time_point{}), Event::Wait::timed_out);
}

TEST(Event, a_wait_does_not_end_before_its_deadline) {
  Event event;
  const auto deadline = Clock::now() + 5ms;
  EXPECT_EQ(event.wait(deadline), Event::Wait::timed_out);
  EXPECT_GE(Clock::now(), deadline);
}

TEST(Event, after_a_wait_that_timed_out_it_can_be_waited_for_again) {
  Event event;
  ASSERT_EQ(event.wait(Clock::now()), Event::Wait::timed_out);
  std::jthread setter([&] { event.set(); });
  EXPECT_EQ(event.wait(std::nullopt), Event::Wait::set);
}

TEST(Event, the_far_end_of_time_is_a_deadline_too) {
  Event event;
  std::jthread setter([&] { event.set(); });
  EXPECT_EQ(event.wait(Clock::time_point::max()), Event::Wait::set);
}

TEST(Event, may_be_destroyed_as_soon_as_the_sleeper_sees_it_set) {
  for (int round = 0; round < 2000; ++round) {
    auto event = std::make_unique<Event>();
    std::jthread setter([raw = event.get()] { raw->set(); });
    ASSERT_EQ(event->wait(std::nullopt), Event::Wait::set);
    event.reset();
  }
}

TEST(Event, a_handled_signal_interrupts_the_wait) {
  struct sigaction action{};
  struct sigaction before{};
  action.sa_handler = [](int) {};
  ASSERT_EQ(sigaction(SIGUSR1, &action, &before), 0);
  Event event;
  std::atomic<bool> is_over = false;
  Event::Wait first{};
  Event::Wait second{};
  std::jthread sleeper([&] {
    first = event.wait(std::nullopt);
    is_over = true;
    second = event.wait(std::nullopt);
  });
  // Again and again, since nothing tells when it sleeps in the kernel.
  klaw_test::spin_until([&] {
    if (!is_over) pthread_kill(sleeper.native_handle(), SIGUSR1);
    std::this_thread::sleep_for(1ms);  // only so as not to send a flood of signals
    return is_over.load();
  });
  event.set();
  sleeper.join();
  sigaction(SIGUSR1, &before, nullptr);
  EXPECT_EQ(first, Event::Wait::interrupted);
  EXPECT_NE(second, Event::Wait::timed_out);
}

TEST(DeadlineAfter, is_now_plus_the_limit) {
  const auto before = Clock::now();
  const Deadline deadline = deadline_after(10s);
  ASSERT_TRUE(deadline);
  EXPECT_GE(*deadline, before + 10s);
  EXPECT_LE(*deadline, Clock::now() + 10s);
}

TEST(DeadlineAfter, rounds_a_fraction_up) {
  const auto before = Clock::now();
  EXPECT_GT(*deadline_after(std::chrono::duration<double, std::nano>(0.25)), before);
}

TEST(DeadlineAfter, a_limit_too_large_for_the_clock_is_none) {
  EXPECT_EQ(deadline_after(std::chrono::hours::max()), std::nullopt);
  EXPECT_EQ(deadline_after(Clock::duration::max()), std::nullopt);
  EXPECT_EQ(deadline_after(std::chrono::duration<double>(1e300)), std::nullopt);
  EXPECT_TRUE(deadline_after(24h * 365 * 100));
}

TEST(DeadlineAfter, a_limit_of_zero_or_less_has_passed) {
  const auto has_passed = [](Deadline deadline) { return deadline && *deadline <= Clock::now(); };
  EXPECT_TRUE(has_passed(deadline_after(0s)));
  EXPECT_TRUE(has_passed(deadline_after(-1s)));
  EXPECT_TRUE(has_passed(deadline_after(Clock::duration::min())));
  EXPECT_TRUE(has_passed(deadline_after(std::chrono::hours::min())));
  EXPECT_TRUE(has_passed(deadline_after(std::chrono::duration<double>(-1e300))));
}

}  // namespace
