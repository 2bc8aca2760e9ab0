// Broadcast, by every way of waiting: who gets what, what is kept, lags and waits, closing.
#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <klaw/channels/broadcast.hpp>

#include "support/payload.hpp"
#include "support/threads.hpp"
#include "support/ways.hpp"

namespace {

using namespace klaw_test;
using namespace std::chrono_literals;
using klaw::channels::broadcast;
using klaw::channels::BroadcastReceiver;
using klaw::channels::BroadcastSender;
using klaw::channels::Overflow;

constexpr Overflow kBoth[] = {Overflow::lag, Overflow::wait};

// A message that can be copied, and counts how many of it are alive.
using Counted = std::shared_ptr<int>;

// Copied outside of the lock, from one allocation.
const std::string kText = "long enough to live on the heap, so that a move would empty it";

struct WayNames {
  template <class Way>
  static std::string GetName(int) {
    return Way::name;
  }
};

template <class Way>
class Broadcasting : public ::testing::Test {};
using Ways = ::testing::Types<Parked, Suspended>;
TYPED_TEST_SUITE(Broadcasting, Ways, WayNames);

// --- making one ---

TEST(Broadcast, rounds_its_capacity_up_to_a_power_of_two) {
  for (const auto& [asked, given] : {std::pair(1, 1U), {2, 2U}, {3, 4U}, {16, 16U}, {17, 32U}, {1000, 1024U}}) {
    auto [tx, rx] = broadcast<int>(asked);
    EXPECT_EQ(tx.capacity(), given);
    EXPECT_EQ(rx.capacity(), given);
    EXPECT_EQ(tx.stats().capacity, given);
  }
  auto [tx, rx] = broadcast<int>();
  EXPECT_EQ(tx.capacity(), 16U);
}

TEST(Broadcast, refuses_a_capacity_that_cannot_be_meant) {
  EXPECT_THROW((void)broadcast<int>(0), std::invalid_argument);
  EXPECT_THROW((void)broadcast<int>(-1, Overflow::wait), std::invalid_argument);
  EXPECT_THROW((void)broadcast<int>(std::numeric_limits<std::size_t>::max()), std::invalid_argument);
}

TEST(Broadcast, takes_no_memory_for_a_large_capacity_until_it_is_used) {
  auto [tx, rx] = broadcast<int>(std::size_t{1} << 40U);
  EXPECT_EQ(tx.try_send(1), 1U);
  EXPECT_EQ(rx.try_recv(), 1);
}

static_assert(!std::copyable<BroadcastSender<int>> && std::movable<BroadcastSender<int>>);
static_assert(!std::copyable<BroadcastReceiver<int>> && std::movable<BroadcastReceiver<int>>);
template <class Handle>
concept Clones = requires(const Handle& handle) { handle.clone(); };
static_assert(Clones<BroadcastSender<int>> && !Clones<BroadcastReceiver<int>>);

// --- who gets what ---

TYPED_TEST(Broadcasting, gives_every_receiver_every_message) {
  for (const Overflow overflow : kBoth) {
    auto [tx, rx] = broadcast<int>(4, overflow);
    auto rx2 = tx.subscribe();
    auto rx3 = rx.resubscribe();
    for (int i = 0; i < 4; ++i) EXPECT_EQ(TypeParam::send(tx, i).get(), 3U);
    for (auto* one : {&rx, &rx2, &rx3}) {
      for (int i = 0; i < 4; ++i) EXPECT_EQ(TypeParam::recv(*one).get(), i);
      EXPECT_TRUE(is_empty(one->try_recv()));
    }
  }
}

TYPED_TEST(Broadcasting, gives_a_message_to_all_that_wait_for_it) {
  for (const Overflow overflow : kBoth) {
    auto [tx, rx] = broadcast<std::string>(1, overflow);
    auto rx2 = tx.subscribe();
    auto a = TypeParam::recv(rx);
    auto b = TypeParam::recv(rx2);
    until_receivers_wait(tx, 2);
    EXPECT_EQ(tx.try_send(kText), 2U);
    EXPECT_EQ(a.get(), kText);
    EXPECT_EQ(b.get(), kText);
    EXPECT_EQ(tx.size(), 0U);
  }
}

TYPED_TEST(Broadcasting, gives_a_subscriber_what_is_sent_from_then_on) {
  for (const Overflow overflow : kBoth) {
    auto [tx, rx] = broadcast<int>(8, overflow);
    EXPECT_EQ(tx.try_send(0), 1U);
    auto late = tx.subscribe();
    EXPECT_TRUE(is_empty(late.try_recv()));
    EXPECT_EQ(tx.try_send(1), 2U);
    auto later = late.resubscribe();  // not from where `late` is
    EXPECT_EQ(tx.try_send(2), 3U);
    EXPECT_EQ(TypeParam::recv(later).get(), 2);
    EXPECT_EQ(TypeParam::recv(late).get(), 1);
    EXPECT_EQ(TypeParam::recv(rx).get(), 0);
  }
}

TYPED_TEST(Broadcasting, wakes_receives_of_one_handle_one_for_each_message) {
  auto [tx, rx] = broadcast<int>(4);
  auto first = TypeParam::recv(rx);
  until_receivers_wait(tx, 1);
  auto second = TypeParam::recv(rx);
  until_receivers_wait(tx, 2);
  EXPECT_EQ(tx.try_send(1), 1U);
  EXPECT_EQ(first.get(), 1);
  EXPECT_FALSE(second.is_done());
  EXPECT_EQ(tx.try_send(2), 1U);
  EXPECT_EQ(second.get(), 2);
}

TEST(Broadcast, gives_each_receiver_a_copy_of_its_own) {
  auto [tx, rx] = broadcast<std::string>(2);
  auto rx2 = tx.subscribe();
  EXPECT_EQ(tx.try_send(kText), 2U);
  std::string mine = *rx.try_recv();
  mine[0] = 'y';
  EXPECT_EQ(rx2.try_recv(), kText);
}

TEST(Broadcast, takes_an_argument_that_is_given_up_only_if_it_sends) {
  auto [tx, rx] = broadcast<std::string>(1, Overflow::wait);
  std::string mine = kText;
  EXPECT_EQ(tx.try_send(mine), 1U);
  EXPECT_EQ(mine, kText);
  EXPECT_TRUE(is_full(tx.try_send(std::move(mine))));
  EXPECT_EQ(mine, kText);
  EXPECT_TRUE(is_full(tx.blocking_send_for(std::move(mine), 0ms)));
  EXPECT_EQ(mine, kText);
  EXPECT_EQ(rx.try_recv(), kText);
  EXPECT_EQ(tx.try_send(std::move(mine)), 1U);
  EXPECT_NE(mine, kText);
  mine = kText;
  rx.close();
  EXPECT_TRUE(is_closed(tx.try_send(std::move(mine)), CloseKind::peer_gone));
  EXPECT_TRUE(is_closed(tx.blocking_send(std::move(mine)), CloseKind::peer_gone));
  EXPECT_EQ(mine, kText);
}

TEST(Broadcast, lets_a_copy_that_throws_do_so_in_its_receive_and_goes_on) {
  auto [tx, rx] = broadcast<ThrowsOnCopy>(2);
  EXPECT_EQ(tx.try_send(ThrowsOnCopy(1)), 1U);
  EXPECT_EQ(tx.try_send(ThrowsOnCopy(2)), 1U);
  EXPECT_THROW((void)rx.try_recv(), std::runtime_error);
  EXPECT_EQ(rx.size(), 1U);
  EXPECT_THROW((void)rx.blocking_recv(), std::runtime_error);
  EXPECT_TRUE(is_empty(rx.try_recv()));
  EXPECT_EQ(tx.size(), 0U);
}

TEST(Broadcast, carries_structures_too_large_to_be_copied_under_the_lock) {
  struct Large {
    int numbers[100];
  };
  auto [tx, rx] = broadcast<Large>(2);
  auto rx2 = tx.subscribe();
  Large large{};
  large.numbers[99] = 7;
  EXPECT_EQ(tx.try_send(large), 2U);
  EXPECT_EQ(rx.try_recv()->numbers[99], 7);
  EXPECT_EQ(rx2.try_recv()->numbers[99], 7);
}

// --- lagging ---

TYPED_TEST(Broadcasting, tells_a_receiver_that_fell_behind_once_and_goes_on_at_the_oldest) {
  for (const int capacity : {1, 2, 4, 16}) {
    auto [tx, rx] = broadcast<int>(capacity);
    for (int i = 0; i < capacity + 3; ++i) EXPECT_EQ(TypeParam::send(tx, i).get(), 1U);
    EXPECT_EQ(skipped(TypeParam::recv(rx).get()), 3U);
    for (int i = 3; i < capacity + 3; ++i) EXPECT_EQ(TypeParam::recv(rx).get(), i);
    EXPECT_TRUE(is_empty(rx.try_recv()));
  }
}

TEST(Broadcast, that_is_exactly_full_has_not_lagged) {
  for (const int capacity : {1, 2, 16}) {
    auto [tx, rx] = broadcast<int>(capacity);
    for (int lap = 0; lap < 5; ++lap) {  // the slots wrap
      for (int i = 0; i < capacity; ++i) EXPECT_EQ(tx.try_send(i), 1U);
      EXPECT_EQ(rx.size(), static_cast<std::size_t>(capacity));
      for (int i = 0; i < capacity; ++i) EXPECT_EQ(rx.try_recv(), i);
      EXPECT_TRUE(is_empty(rx.try_recv()));
    }
    for (int i = 0; i <= capacity; ++i) EXPECT_EQ(tx.try_send(i), 1U);
    EXPECT_EQ(rx.size(), static_cast<std::size_t>(capacity) + 1);
    EXPECT_EQ(skipped(rx.try_recv()), 1U);
    EXPECT_EQ(rx.try_recv(), 1 % (capacity + 1));
  }
}

TEST(Broadcast, counts_a_lag_from_where_each_receiver_was) {
  auto [tx, rx] = broadcast<int>(2);
  auto half = tx.subscribe();
  EXPECT_EQ(tx.try_send(0), 2U);
  EXPECT_EQ(half.try_recv(), 0);
  auto late = tx.subscribe();
  for (int i = 1; i < 5; ++i) EXPECT_EQ(tx.try_send(i), 3U);
  auto latest = tx.subscribe();
  EXPECT_EQ(skipped(rx.try_recv()), 3U);
  EXPECT_EQ(skipped(half.try_recv()), 2U);
  EXPECT_EQ(skipped(late.try_recv()), 2U);
  for (auto* one : {&rx, &half, &late}) {
    EXPECT_EQ(one->try_recv(), 3);
    EXPECT_EQ(one->try_recv(), 4);
  }
  EXPECT_TRUE(is_empty(latest.try_recv()));
  EXPECT_EQ(tx.try_send(5), 4U);
  EXPECT_EQ(latest.try_recv(), 5);
}

TEST(Broadcast, lags_again_when_messages_are_dropped_between_the_lag_and_the_next_receive) {
  auto [tx, rx] = broadcast<int>(2);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(tx.try_send(i), 1U);
  EXPECT_EQ(skipped(rx.try_recv()), 3U);
  EXPECT_EQ(tx.try_send(5), 1U);
  EXPECT_EQ(skipped(rx.try_recv()), 1U);
  EXPECT_EQ(rx.try_recv(), 4);
  EXPECT_EQ(rx.try_recv(), 5);
}

TEST(Broadcast, drops_nothing_of_a_fast_receiver_for_a_slow_one) {
  auto [tx, rx] = broadcast<int>(2);
  auto slow = tx.subscribe();
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(tx.try_send(i), 2U);
    EXPECT_EQ(rx.try_recv(), i);
  }
  EXPECT_EQ(slow.size(), 100U);
  EXPECT_EQ(skipped(slow.try_recv()), 98U);
  EXPECT_EQ(slow.size(), 2U);
}

TEST(Broadcast, tells_a_resubscriber_of_no_lag) {
  auto [tx, rx] = broadcast<int>(1);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(tx.try_send(i), 1U);
  auto again = rx.resubscribe();
  EXPECT_EQ(again.size(), 0U);
  EXPECT_TRUE(is_empty(again.try_recv()));
  EXPECT_EQ(tx.try_send(3), 2U);
  EXPECT_EQ(again.try_recv(), 3);
  EXPECT_EQ(skipped(rx.try_recv()), 3U);
}

TEST(Broadcast, iterates_over_what_is_not_missed) {
  auto [tx, rx] = broadcast<int>(2);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(tx.try_send(i), 1U);
  tx.close();
  std::vector<int> got;
  for (const int value : rx) got.push_back(value);
  EXPECT_EQ(got, (std::vector{3, 4}));
}

TYPED_TEST(Broadcasting, tells_of_a_lag_also_at_the_end) {
  auto [tx, rx] = broadcast<int>(1);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(tx.try_send(i), 1U);
  tx.close();
  EXPECT_FALSE(rx.is_closed());
  EXPECT_EQ(skipped(TypeParam::recv(rx).get()), 2U);
  EXPECT_EQ(TypeParam::recv_for(rx, kLong).get(), 2);
  EXPECT_TRUE(is_closed(TypeParam::recv(rx).get(), CloseKind::ended));
}

// --- waiting for the slowest ---

TYPED_TEST(Broadcasting, makes_a_send_wait_for_the_slowest_if_asked_to) {
  auto [tx, rx] = broadcast<int>(2, Overflow::wait);
  auto slow = tx.subscribe();
  EXPECT_EQ(tx.try_send(0), 2U);
  EXPECT_EQ(tx.try_send(1), 2U);
  const auto refused = tx.try_send(2);
  ASSERT_TRUE(is_full(refused));
  EXPECT_EQ(std::get<ChannelFull>(refused.error()).capacity, 2U);
  auto waiting = TypeParam::send(tx, 2);
  until_senders_wait(tx, 1);
  EXPECT_EQ(rx.try_recv(), 0);
  EXPECT_EQ(rx.try_recv(), 1);
  EXPECT_FALSE(waiting.is_done());
  EXPECT_TRUE(is_empty(rx.try_recv()));
  auto next = TypeParam::recv(rx);
  until_receivers_wait(tx, 1);
  EXPECT_EQ(slow.try_recv(), 0);
  EXPECT_EQ(waiting.get(), 2U);
  EXPECT_EQ(next.get(), 2);
  EXPECT_EQ(slow.try_recv(), 1);
  EXPECT_EQ(slow.try_recv(), 2);
}

TYPED_TEST(Broadcasting, lets_waiting_sends_go_in_order_of_arrival) {
  auto [tx, rx] = broadcast<int>(1, Overflow::wait);
  EXPECT_EQ(tx.try_send(0), 1U);
  std::vector<decltype(TypeParam::send(tx, 0))> waiting;
  for (int i = 1; i <= 5; ++i) {
    waiting.push_back(TypeParam::send(tx, i));
    until_senders_wait(tx, static_cast<std::size_t>(i));
  }
  for (int i = 0; i <= 5; ++i) EXPECT_EQ(rx.try_recv(), i);
  for (auto& one : waiting) EXPECT_EQ(one.get(), 1U);
}

TYPED_TEST(Broadcasting, frees_waiting_sends_when_the_receiver_that_held_them_up_goes) {
  auto [tx, rx] = broadcast<int>(1, Overflow::wait);
  auto slow = tx.subscribe();
  EXPECT_EQ(tx.try_send(0), 2U);
  EXPECT_EQ(rx.try_recv(), 0);
  auto waiting = TypeParam::send(tx, 1);
  until_senders_wait(tx, 1);
  slow.close();
  EXPECT_EQ(waiting.get(), 1U);
  EXPECT_EQ(rx.try_recv(), 1);
  {
    auto dropped = tx.subscribe();
    EXPECT_EQ(tx.try_send(2), 2U);
    EXPECT_EQ(rx.try_recv(), 2);
    waiting = TypeParam::send(tx, 3);
    until_senders_wait(tx, 1);
  }
  EXPECT_EQ(waiting.get(), 1U);
  EXPECT_EQ(rx.try_recv(), 3);
}

TYPED_TEST(Broadcasting, counts_for_a_send_that_waited_the_receivers_at_its_end) {
  auto [tx, rx] = broadcast<int>(1, Overflow::wait);
  EXPECT_EQ(tx.try_send(0), 1U);
  auto waiting = TypeParam::send(tx, 1);
  until_senders_wait(tx, 1);
  auto joined = tx.subscribe();  // before that message is sent: so it gets it
  EXPECT_EQ(rx.try_recv(), 0);
  EXPECT_EQ(waiting.get(), 2U);
  EXPECT_EQ(joined.try_recv(), 1);
}

TYPED_TEST(Broadcasting, ends_a_limited_send_with_full_and_a_limited_receive_with_empty) {
  auto [tx, rx] = broadcast<std::string>(1, Overflow::wait);
  EXPECT_TRUE(is_empty(TypeParam::recv_for(rx, 1ms).get()));
  std::string mine = kText;
  EXPECT_EQ(TypeParam::give_for(tx, mine, kLong).get(), 1U);
  mine = kText;
  EXPECT_TRUE(is_full(TypeParam::give_for(tx, mine, 1ms).get()));
  EXPECT_EQ(mine, kText);
  EXPECT_EQ(tx.stats().waiting_senders, 0U);
  EXPECT_EQ(TypeParam::recv_for(rx, kLong).get(), kText);
  auto limited = TypeParam::recv_for(rx, kLong);
  until_receivers_wait(tx, 1);
  EXPECT_EQ(TypeParam::give_for(tx, mine, kLong).get(), 1U);
  EXPECT_EQ(limited.get(), kText);
}

TYPED_TEST(Broadcasting, never_makes_a_send_wait_when_it_lags) {
  auto [tx, rx] = broadcast<int>(1);
  for (int i = 0; i < 10; ++i) {
    int value = i;
    EXPECT_EQ(TypeParam::give_for(tx, value, 0ms).get(), 1U);
    EXPECT_EQ(TypeParam::send(tx, i).get(), 1U);
  }
  EXPECT_EQ(tx.stats().waiting_senders, 0U);
}

// --- what is kept ---

TEST(Broadcast, destroys_a_message_when_the_last_receiver_has_it) {
  for (const Overflow overflow : kBoth) {
    auto [tx, rx] = broadcast<Counted>(4, overflow);
    auto rx2 = tx.subscribe();
    const auto value = std::make_shared<int>(1);
    EXPECT_EQ(tx.try_send(value), 2U);
    EXPECT_EQ(value.use_count(), 2);
    (void)rx.try_recv();
    EXPECT_EQ(value.use_count(), 2);
    EXPECT_EQ(tx.size(), 1U);
    (void)rx2.try_recv();
    EXPECT_EQ(value.use_count(), 1);
    EXPECT_EQ(tx.size(), 0U);
  }
}

TEST(Broadcast, destroys_what_a_send_takes_the_place_of) {
  auto [tx, rx] = broadcast<Counted>(2);
  const auto value = std::make_shared<int>(1);
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(tx.try_send(value), 1U);
    EXPECT_EQ(value.use_count(), 1 + std::min(i + 1, 2));
  }
}

TEST(Broadcast, destroys_what_was_kept_for_a_receiver_that_goes) {
  for (const Overflow overflow : kBoth) {
    auto [tx, rx] = broadcast<Counted>(4, overflow);
    const auto value = std::make_shared<int>(1);
    auto early = tx.subscribe();
    EXPECT_EQ(tx.try_send(value), 2U);
    EXPECT_EQ(tx.try_send(value), 2U);
    auto late = tx.subscribe();
    EXPECT_EQ(tx.try_send(value), 3U);
    (void)rx.try_recv();
    EXPECT_EQ(value.use_count(), 4);
    early.close();  // rx has yet to see two
    EXPECT_EQ(value.use_count(), 3);
    rx.close();  // and late one
    EXPECT_EQ(value.use_count(), 2);
    late.close();
    EXPECT_EQ(value.use_count(), 1);
    EXPECT_EQ(tx.size(), 0U);
  }
}

TEST(Broadcast, keeps_for_one_that_fell_behind_what_is_left) {
  auto [tx, rx] = broadcast<Counted>(2);
  auto behind = tx.subscribe();
  const auto value = std::make_shared<int>(1);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(tx.try_send(value), 2U);
    (void)rx.try_recv();
  }
  EXPECT_EQ(value.use_count(), 3);
  behind.close();
  EXPECT_EQ(value.use_count(), 1);
}

TEST(Broadcast, destroys_each_message_once_whatever_becomes_of_it) {
  auto alive = std::make_shared<int>(0);
  {
    auto [tx, rx] = broadcast<std::pair<std::string, Counted>>(4);
    auto rx2 = tx.subscribe();
    for (int i = 0; i < 20; ++i) {
      EXPECT_TRUE(tx.try_send({kText, alive}));
      if (i % 3 == 0) (void)rx.try_recv();
      if (i == 10) rx2 = tx.subscribe();
    }
    EXPECT_EQ(alive.use_count(), 5);
  }
  EXPECT_EQ(alive.use_count(), 1);
}

// --- closing ---

TYPED_TEST(Broadcasting, without_receivers_gives_closed) {
  for (const Overflow overflow : kBoth) {
    auto [tx, rx] = broadcast<int>(2, overflow);
    EXPECT_FALSE(tx.is_closed());
    EXPECT_EQ(tx.receiver_count(), 1U);
    rx.close();
    EXPECT_TRUE(tx.is_closed());
    EXPECT_EQ(tx.receiver_count(), 0U);
    const auto sent = TypeParam::send(tx, 1).get();
    ASSERT_TRUE(is_closed(sent, CloseKind::peer_gone));
    EXPECT_EQ(sent.error().reason, "no receivers");
    EXPECT_TRUE(is_closed(tx.try_send(1), CloseKind::peer_gone));
  }
}

TYPED_TEST(Broadcasting, works_again_with_a_new_subscriber) {
  auto [tx, rx] = broadcast<int>(2);
  rx.close("enough");
  EXPECT_EQ(TypeParam::send(tx, 1).get().error().reason, "enough");
  auto again = tx.subscribe();
  EXPECT_FALSE(tx.is_closed());
  EXPECT_EQ(TypeParam::send(tx, 2).get(), 1U);
  EXPECT_EQ(again.try_recv(), 2);
  again.close();
  EXPECT_EQ(TypeParam::send(tx, 3).get().error().reason, "no receivers");
}

TYPED_TEST(Broadcasting, wakes_waiting_receives_at_the_end) {
  auto [tx, rx] = broadcast<int>(2);
  auto tx2 = tx.clone();
  auto rx2 = tx.subscribe();
  auto a = TypeParam::recv(rx);
  auto b = TypeParam::recv(rx2);
  auto c = TypeParam::recv(rx2);
  until_receivers_wait(tx, 3);
  tx.close();
  EXPECT_FALSE(a.is_done());
  tx2.close();
  EXPECT_TRUE(is_closed(a.get(), CloseKind::ended));
  EXPECT_TRUE(is_closed(b.get(), CloseKind::ended));
  EXPECT_TRUE(is_closed(c.get(), CloseKind::ended));
}

TYPED_TEST(Broadcasting, gives_each_receiver_what_is_left_and_then_the_end) {
  for (const Overflow overflow : kBoth) {
    auto [tx, rx] = broadcast<int>(4, overflow);
    auto rx2 = tx.subscribe();
    EXPECT_EQ(tx.try_send(1), 2U);
    EXPECT_EQ(tx.try_send(2), 2U);
    EXPECT_EQ(rx.try_recv(), 1);
    tx.close("disk full");
    EXPECT_EQ(TypeParam::recv(rx).get(), 2);
    const auto end = TypeParam::recv(rx).get();
    ASSERT_TRUE(is_closed(end, CloseKind::peer_died));
    EXPECT_EQ(std::get<ChannelClosed>(end.error()).reason, "disk full");
    EXPECT_FALSE(rx2.is_closed());
    EXPECT_EQ(rx2.try_recv(), 1);
    EXPECT_EQ(rx2.try_recv(), 2);
    EXPECT_TRUE(rx2.is_closed());
    EXPECT_TRUE(is_closed(rx2.try_recv(), CloseKind::peer_died));
  }
}

TYPED_TEST(Broadcasting, lets_waiting_sends_go_when_the_last_receiver_does) {
  auto [tx, rx] = broadcast<int>(1, Overflow::wait);
  EXPECT_EQ(tx.try_send(0), 1U);
  auto waiting = TypeParam::send(tx, 1);
  int value = 2;
  auto limited = TypeParam::give_for(tx, value, kLong);
  until_senders_wait(tx, 2);
  rx.close();
  EXPECT_TRUE(is_closed(waiting.get(), CloseKind::peer_gone));
  EXPECT_TRUE(is_closed(limited.get(), CloseKind::peer_gone));
}

TYPED_TEST(Broadcasting, ends_a_closed_handles_own_operations_and_no_others) {
  auto [tx, rx] = broadcast<int>(1, Overflow::wait);
  auto tx2 = tx.clone();
  auto rx2 = tx.subscribe();
  auto my_recv = TypeParam::recv(rx);
  auto my_end = TypeParam::closed(rx);
  auto other = TypeParam::recv(rx2);
  until_receivers_wait(tx, 2);
  rx.close();
  EXPECT_TRUE(is_closed(my_recv.get(), CloseKind::handle_closed));
  EXPECT_TRUE(is_closed(my_end.get(), CloseKind::handle_closed));
  EXPECT_FALSE(other.is_done());
  EXPECT_EQ(tx.try_send(0), 1U);
  EXPECT_EQ(other.get(), 0);

  EXPECT_EQ(tx.try_send(1), 1U);
  auto my_send = TypeParam::send(tx, 2);
  auto my_closed = TypeParam::closed(tx);
  until_senders_wait(tx, 1);
  auto their_send = TypeParam::send(tx2, 3);
  until_senders_wait(tx, 2);
  tx.close();
  EXPECT_TRUE(is_closed(my_send.get(), CloseKind::handle_closed));
  EXPECT_TRUE(is_closed(my_closed.get(), CloseKind::handle_closed));
  EXPECT_FALSE(their_send.is_done());
  EXPECT_EQ(rx2.try_recv(), 1);
  EXPECT_EQ(rx2.try_recv(), 3);
  EXPECT_EQ(their_send.get(), 1U);
}

TYPED_TEST(Broadcasting, gives_closed_on_a_closed_or_moved_from_handle) {
  auto [tx, rx] = broadcast<int>(1);
  auto tx2 = tx.clone();
  auto rx2 = tx.subscribe();
  tx.close();
  tx.close();
  rx.close();
  rx.close();
  auto moved_tx = std::move(tx2);
  auto moved_rx = std::move(rx2);
  for (auto* one : {&tx, &tx2}) {
    EXPECT_TRUE(one->is_closed());
    EXPECT_TRUE(is_closed(TypeParam::send(*one, 1).get(), CloseKind::handle_closed));
    EXPECT_TRUE(is_closed(one->try_send(1), CloseKind::handle_closed));
    EXPECT_TRUE(is_closed(TypeParam::closed(*one).get(), CloseKind::handle_closed));
    EXPECT_TRUE(is_closed(one->clone().try_send(1), CloseKind::handle_closed));
    EXPECT_TRUE(is_closed(one->subscribe().try_recv(), CloseKind::handle_closed));
  }
  for (auto* one : {&rx, &rx2}) {
    EXPECT_TRUE(one->is_closed());
    EXPECT_EQ(one->size(), 0U);
    EXPECT_TRUE(is_closed(TypeParam::recv(*one).get(), CloseKind::handle_closed));
    EXPECT_TRUE(is_closed(one->try_recv(), CloseKind::handle_closed));
    EXPECT_TRUE(is_closed(TypeParam::closed(*one).get(), CloseKind::handle_closed));
    EXPECT_TRUE(is_closed(one->resubscribe().try_recv(), CloseKind::handle_closed));
  }
  EXPECT_EQ(moved_tx.try_send(1), 1U);
  EXPECT_EQ(moved_rx.try_recv(), 1);
}

TYPED_TEST(Broadcasting, tells_each_side_when_the_other_has_gone) {
  auto [tx, rx] = broadcast<int>(1);
  auto rx2 = tx.subscribe();
  auto no_receivers = TypeParam::closed(tx);
  auto no_senders = TypeParam::closed(rx);
  EXPECT_EQ(tx.try_send(1), 2U);
  rx2.close();
  auto tx2 = tx.clone();
  tx.close();
  EXPECT_TRUE(is_closed(no_receivers.get(), CloseKind::handle_closed));
  EXPECT_FALSE(no_senders.is_done());
  tx2.close();
  EXPECT_TRUE(no_senders.get());
  EXPECT_TRUE(TypeParam::closed(rx).get());
  EXPECT_EQ(rx.try_recv(), 1);

  auto [other_tx, other_rx] = broadcast<int>(1);
  auto gone = TypeParam::closed(other_tx);
  other_rx.close();
  EXPECT_TRUE(gone.get());
  EXPECT_TRUE(TypeParam::closed(other_tx).get());
}

TEST(Broadcast, iterates_until_an_orderly_end_and_throws_at_another) {
  auto [tx, rx] = broadcast<int>(4);
  auto rx2 = tx.subscribe();
  EXPECT_EQ(tx.try_send(1), 2U);
  rx2.close();
  for ([[maybe_unused]] const int value : rx2) FAIL();
  tx.close("disk full");
  std::vector<int> got;
  try {
    for (const int value : rx) got.push_back(value);
    FAIL() << "ended quietly";
  } catch (const klaw::ChannelClosedError& e) {
    EXPECT_STREQ(e.what(), "disk full");
  }
  EXPECT_EQ(got, (std::vector{1}));
}

TEST(Broadcast, knows_which_handles_are_of_one_channel) {
  auto [tx, rx] = broadcast<int>(1);
  auto [other_tx, other_rx] = broadcast<int>(1);
  EXPECT_TRUE(tx.same_channel(rx));
  EXPECT_TRUE(rx.same_channel(tx));
  EXPECT_TRUE(rx.same_channel(tx.subscribe()));
  EXPECT_TRUE(tx.same_channel(tx.clone()));
  EXPECT_FALSE(tx.same_channel(other_rx));
  EXPECT_FALSE(rx.same_channel(other_rx));
  auto moved = std::move(other_rx);
  EXPECT_FALSE(other_rx.same_channel(other_rx));
}

TEST(Broadcast, counts) {
  auto [tx, rx] = broadcast<int>(2);
  auto rx2 = tx.subscribe();
  auto tx2 = tx.clone();
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(tx.try_send(i));
  (void)rx.try_recv();  // a lag
  (void)rx.try_recv();
  auto stats = tx.stats();
  EXPECT_EQ(stats.sender_count, 2U);
  EXPECT_EQ(stats.receiver_count, 2U);
  EXPECT_EQ(stats.queue_size, 2U);
  EXPECT_EQ(stats.high_watermark, 2U);
  EXPECT_EQ(stats.total_sent, 5U);
  EXPECT_EQ(stats.total_received, 1U);
  EXPECT_GT(stats.created_at, 0.0);
  EXPECT_FALSE(stats.senders_closed);
  EXPECT_FALSE(stats.receivers_closed);
  EXPECT_EQ(tx.size(), 2U);
  EXPECT_EQ(rx.size(), 1U);
  EXPECT_EQ(rx2.size(), 5U);
  tx.close();
  tx2.close();
  rx2.close();
  stats = rx.stats();
  EXPECT_TRUE(stats.senders_closed);
  EXPECT_EQ(stats.receiver_count, 1U);
  EXPECT_EQ(stats.queue_size, 1U);
}

TYPED_TEST(Broadcasting, lets_a_handle_be_moved_while_operations_on_it_wait) {
  auto [tx, rx] = broadcast<int>(1);
  auto received = TypeParam::recv(rx);
  until_receivers_wait(tx, 1);
  auto moved = std::move(rx);
  EXPECT_EQ(tx.try_send(1), 1U);
  EXPECT_EQ(received.get(), 1);
}

}  // namespace
