// Watch channels: changes by every way of waiting; what has been seen; close, cancel and time limits; a certain value.
#include <chrono>
#include <concepts>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <klaw/channels/watch.hpp>

#include "support/payload.hpp"
#include "support/threads.hpp"
#include "support/ways.hpp"

namespace {

using namespace klaw_test;
using namespace std::chrono_literals;
using klaw::channels::watch;
using klaw::channels::WatchReceiver;
using klaw::channels::WatchSender;

static_assert(std::movable<WatchSender<int>> && !std::copyable<WatchSender<int>>);
static_assert(std::movable<WatchReceiver<int>> && !std::copyable<WatchReceiver<int>>);
static_assert(std::same_as<decltype(std::declval<WatchReceiver<int>&>().borrow()), std::shared_ptr<const int>>);

template <class T>
using Got = Result<std::shared_ptr<const T>, ChannelClosed>;

// The ways to wait for a change, and for a certain value.
struct ParkedWatch : Parked {
  template <class Rx>
  static auto changed(Rx& rx) {
    return ThreadTask<Result<void, ChannelClosed>>([&] { return rx.blocking_changed(); });
  }
  template <class Rx, class Limit>
  static auto changed_for(Rx& rx, Limit limit) {
    return ThreadTask<Result<void, RecvError>>([&rx, limit] { return rx.blocking_changed_for(limit); });
  }
  template <class Rx, class Predicate>
  static auto wait_for(Rx& rx, Predicate is_it) {
    return ThreadTask<Result<ValueOf<Rx>, ChannelClosed>>([&rx, is_it] { return rx.blocking_wait_for(is_it); });
  }
  template <class Rx, class Predicate, class Limit>
  static auto wait_for(Rx& rx, Predicate is_it, Limit limit) {
    return ThreadTask<Result<ValueOf<Rx>, RecvError>>(
        [&rx, is_it, limit] { return rx.blocking_wait_for(is_it, limit); });
  }
};
struct SuspendedWatch : Suspended {
  template <class Rx>
  static auto changed(Rx& rx) -> Task<Result<void, ChannelClosed>> {
    co_return co_await rx.changed();
  }
  template <class Rx, class Limit>
  static auto changed_for(Rx& rx, Limit limit) -> Task<Result<void, RecvError>> {
    co_return co_await rx.changed_for(limit);
  }
  template <class Rx, class Predicate>
  static auto wait_for(Rx& rx, Predicate is_it) -> Task<Result<ValueOf<Rx>, ChannelClosed>> {
    co_return co_await rx.wait_for(is_it);
  }
  template <class Rx, class Predicate, class Limit>
  static auto wait_for(Rx& rx, Predicate is_it, Limit limit) -> Task<Result<ValueOf<Rx>, RecvError>> {
    co_return co_await rx.wait_for(is_it, limit);
  }
};

template <class Way>
class Watch : public ::testing::Test {};
using WatchWays = ::testing::Types<ParkedWatch, SuspendedWatch>;
TYPED_TEST_SUITE(Watch, WatchWays, WayNames);

TYPED_TEST(Watch, a_receiver_has_seen_the_initial_value_and_waits_for_the_next) {
  auto [tx, rx] = watch<int>(1);
  EXPECT_EQ(*rx.borrow(), 1);
  EXPECT_FALSE(rx.has_changed());
  auto waiting = TypeParam::changed(rx);
  until_receivers_wait(rx, 1);
  EXPECT_EQ(tx.send(2), 1U);
  EXPECT_TRUE(waiting.get());
  EXPECT_EQ(*rx.borrow(), 2);
  EXPECT_FALSE(rx.has_changed());
}

TYPED_TEST(Watch, a_change_that_was_not_seen_is_found_at_once) {
  auto [tx, rx] = watch<int>(1);
  EXPECT_TRUE(tx.send(2));
  EXPECT_TRUE(rx.has_changed());
  EXPECT_TRUE(TypeParam::changed(rx).get());
  EXPECT_TRUE(tx.send(3));
  EXPECT_TRUE(TypeParam::changed_for(rx, 0ms).get());
  EXPECT_TRUE(is_empty(TypeParam::changed_for(rx, 0ms).get()));
}

TYPED_TEST(Watch, changes_between_two_looks_collapse) {
  auto [tx, rx] = watch<int>(0);
  for (int i = 1; i <= 5; ++i) EXPECT_TRUE(tx.send(i));
  EXPECT_TRUE(TypeParam::changed(rx).get());
  EXPECT_EQ(*rx.borrow(), 5);
  EXPECT_TRUE(is_empty(rx.try_changed()));
}

TYPED_TEST(Watch, one_change_wakes_every_receiver_and_every_wait_on_it) {
  auto [tx, rx] = watch<int>(0);
  auto other = tx.subscribe();
  auto first = TypeParam::changed(rx);
  auto second = TypeParam::changed(rx);
  auto third = TypeParam::changed(other);
  until_receivers_wait(rx, 3);
  EXPECT_EQ(tx.send(1), 2U);
  EXPECT_TRUE(first.get());
  EXPECT_TRUE(second.get());
  EXPECT_TRUE(third.get());
  EXPECT_FALSE(rx.has_changed() || other.has_changed());
}

TYPED_TEST(Watch, a_limited_wait_runs_out_of_time_and_has_seen_nothing) {
  auto [tx, rx] = watch<int>(0);
  EXPECT_TRUE(is_empty(TypeParam::changed_for(rx, 1ms).get()));
  EXPECT_EQ(rx.stats().waiting_receivers, 0U);
  auto waiting = TypeParam::changed_for(rx, kLong);
  until_receivers_wait(rx, 1);
  EXPECT_TRUE(tx.send(1));
  EXPECT_TRUE(waiting.get());
}

TYPED_TEST(Watch, the_last_senders_end_ends_a_wait) {
  auto [tx, rx] = watch<int>(0);
  auto other = tx.clone();
  auto waiting = TypeParam::changed(rx);
  until_receivers_wait(rx, 1);
  tx.close();
  EXPECT_EQ(rx.stats().waiting_receivers, 1U);
  other.close();
  EXPECT_TRUE(is_closed(waiting.get(), CloseKind::ended));
  EXPECT_TRUE(is_closed(TypeParam::changed_for(rx, kLong).get(), CloseKind::ended));
  EXPECT_EQ(*rx.borrow(), 0);
}

TYPED_TEST(Watch, an_unseen_value_is_delivered_before_the_end) {
  auto [tx, rx] = watch<int>(0);
  EXPECT_TRUE(tx.send(1));
  tx.close();
  EXPECT_FALSE(rx.is_closed());
  EXPECT_TRUE(TypeParam::changed(rx).get());
  EXPECT_EQ(*rx.borrow(), 1);
  EXPECT_TRUE(rx.is_closed());
  EXPECT_TRUE(is_closed(TypeParam::changed(rx).get(), CloseKind::ended));
}

TYPED_TEST(Watch, the_reason_of_the_last_sender_is_told) {
  auto [tx, rx] = watch<int>(0);
  auto waiting = TypeParam::changed(rx);
  until_receivers_wait(rx, 1);
  tx.close("no more news");
  const auto got = waiting.get();
  ASSERT_TRUE(is_closed(got, CloseKind::peer_died));
  EXPECT_EQ(got.error().reason, "no more news");
}

TYPED_TEST(Watch, closing_a_receiver_ends_its_own_waits_and_nobody_elses) {
  auto [tx, rx] = watch<int>(0);
  auto other = rx.resubscribe();
  auto mine = TypeParam::changed(rx);
  auto certain = TypeParam::wait_for(rx, [](int value) { return value == 1; });
  auto theirs = TypeParam::changed(other);
  until_receivers_wait(rx, 3);
  rx.close();
  EXPECT_TRUE(is_closed(mine.get(), CloseKind::handle_closed));
  EXPECT_TRUE(is_closed(certain.get(), CloseKind::handle_closed));
  EXPECT_TRUE(is_closed(TypeParam::changed(rx).get(), CloseKind::handle_closed));
  EXPECT_TRUE(is_closed(TypeParam::wait_for(rx, [](int) { return true; }).get(), CloseKind::handle_closed));
  EXPECT_EQ(tx.send(1), 1U);
  EXPECT_TRUE(theirs.get());
}

TYPED_TEST(Watch, a_sender_hears_that_nobody_watches_any_more) {
  auto [tx, rx] = watch<int>(0);
  auto waiting = TypeParam::closed(tx);
  EXPECT_FALSE(waiting.is_done());
  rx.close();
  EXPECT_TRUE(waiting.get());
}

TYPED_TEST(Watch, a_receiver_hears_that_the_senders_are_gone) {
  auto [tx, rx] = watch<int>(0);
  auto waiting = TypeParam::closed(rx);
  tx.close();
  EXPECT_TRUE(waiting.get());
}

TYPED_TEST(Watch, a_certain_value_may_be_the_current_one) {
  auto [tx, rx] = watch<int>(1);
  const auto got = TypeParam::wait_for(rx, [](int value) { return value == 1; }).get();
  EXPECT_EQ(**got, 1);
  EXPECT_TRUE(tx.send(1));
  EXPECT_EQ(**TypeParam::wait_for(rx, [](int value) { return value == 1; }, 0ms).get(), 1);
  EXPECT_FALSE(rx.has_changed());
}

TYPED_TEST(Watch, a_certain_value_is_waited_for_through_others) {
  auto [tx, rx] = watch<int>(0);
  auto waiting = TypeParam::wait_for(rx, [](int value) { return value >= 5; });
  for (int i = 1; i <= 5; ++i) {
    until_receivers_wait(rx, 1);
    EXPECT_FALSE(waiting.is_done());
    EXPECT_TRUE(tx.send(i));
  }
  EXPECT_EQ(**waiting.get(), 5);
  EXPECT_FALSE(rx.has_changed());
}

TYPED_TEST(Watch, a_certain_value_is_waited_for_within_a_limit) {
  auto [tx, rx] = watch<int>(0);
  const auto is_one = [](int value) { return value == 1; };
  EXPECT_TRUE(is_empty(TypeParam::wait_for(rx, is_one, 1ms).get()));
  EXPECT_TRUE(is_empty(TypeParam::wait_for(rx, is_one, 0ms).get()));
  auto waiting = TypeParam::wait_for(rx, is_one, kLong);
  for (const int other : {5, 6, 7}) {
    until_receivers_wait(rx, 1);
    EXPECT_TRUE(tx.send(int{other}));
  }
  until_receivers_wait(rx, 1);
  EXPECT_TRUE(tx.send(1));
  EXPECT_EQ(**waiting.get(), 1);
}

TYPED_TEST(Watch, other_values_do_not_prolong_a_limit) {
  auto [tx, rx] = watch<int>(0);
  auto waiting = TypeParam::wait_for(rx, [](int value) { return value < 0; }, 30ms);
  int value = 0;
  spin_until([&, &t = tx] {
    EXPECT_TRUE(t.send(++value));
    return waiting.is_done();
  });
  EXPECT_TRUE(is_empty(waiting.get()));
  EXPECT_EQ(rx.stats().waiting_receivers, 0U);
}

TYPED_TEST(Watch, a_certain_value_that_never_comes_ends_with_the_channel) {
  auto [tx, rx] = watch<int>(0);
  auto waiting = TypeParam::wait_for(rx, [](int value) { return value == 9; });
  until_receivers_wait(rx, 1);
  EXPECT_TRUE(tx.send(1));
  tx.close();
  EXPECT_TRUE(is_closed(waiting.get(), CloseKind::ended));
}

TYPED_TEST(Watch, the_last_value_before_the_end_may_be_the_one_that_is_waited_for) {
  auto [tx, rx] = watch<int>(0);
  EXPECT_TRUE(tx.send(1));
  tx.close();
  EXPECT_EQ(**TypeParam::wait_for(rx, [](int value) { return value == 1; }).get(), 1);
}

TYPED_TEST(Watch, a_handle_that_was_moved_from_is_a_closed_one) {
  auto [tx, rx] = watch<int>(0);
  const WatchSender<int> other_tx = std::move(tx);
  const WatchReceiver<int> other_rx = std::move(rx);
  // NOLINTBEGIN(bugprone-use-after-move,clang-analyzer-cplusplus.Move): what this is about
  EXPECT_TRUE(is_closed(tx.send(1), CloseKind::handle_closed));
  EXPECT_TRUE(is_closed(TypeParam::changed(rx).get(), CloseKind::handle_closed));
  EXPECT_TRUE(is_closed(TypeParam::wait_for(rx, [](int) { return true; }).get(), CloseKind::handle_closed));
  EXPECT_TRUE(tx.borrow() == nullptr && rx.borrow() == nullptr && rx.borrow_and_update() == nullptr);
  EXPECT_FALSE(rx.has_changed());
  EXPECT_TRUE(tx.is_closed() && rx.is_closed());
  EXPECT_TRUE(tx.clone().is_closed() && tx.subscribe().is_closed() && rx.resubscribe().is_closed());
  // NOLINTEND(bugprone-use-after-move,clang-analyzer-cplusplus.Move)
  EXPECT_EQ(*other_tx.borrow(), *other_rx.borrow());
}

TEST(WatchSend, needs_a_receiver) {
  auto [tx, rx] = watch<int>(0);
  EXPECT_EQ(tx.try_send(1), 1U);
  rx.close("seen enough");
  const auto sent = tx.send(2);
  ASSERT_TRUE(is_closed(sent, CloseKind::peer_gone));
  EXPECT_EQ(sent.error().reason, "seen enough");
  EXPECT_TRUE(tx.is_closed());
  EXPECT_EQ(*tx.borrow(), 1);
  auto later = tx.subscribe();
  EXPECT_FALSE(tx.is_closed());
  EXPECT_FALSE(later.has_changed());
  EXPECT_EQ(tx.send(3), 1U);
  EXPECT_EQ(*later.borrow(), 3);
}

TEST(WatchSend, on_a_closed_handle_gives_closed) {
  auto [tx, rx] = watch<int>(0);
  auto other = tx.clone();
  tx.close();
  tx.close();
  EXPECT_TRUE(is_closed(tx.send(1), CloseKind::handle_closed));
  EXPECT_EQ(tx.borrow(), nullptr);
  EXPECT_TRUE(tx.clone().is_closed());
  EXPECT_TRUE(tx.subscribe().is_closed());
  EXPECT_TRUE(other.send(2));
}

TEST(WatchSend, that_fails_leaves_its_argument_alone) {
  auto [tx, rx] = watch<std::unique_ptr<int>>(nullptr);
  auto value = std::make_unique<int>(1);
  rx.close();
  EXPECT_FALSE(tx.send(std::move(value)));
  EXPECT_EQ(*value, 1);  // NOLINT(bugprone-use-after-move,clang-analyzer-cplusplus.Move): it was not moved
}

TEST(WatchSend, copies_what_it_is_not_given) {
  auto [tx, rx] = watch<std::string>("");
  const std::string mine = "mine";
  EXPECT_TRUE(tx.send(mine));
  EXPECT_EQ(mine, "mine");
  EXPECT_EQ(*rx.borrow(), "mine");
}

TEST(WatchReceiving, borrow_does_not_mark_as_seen_and_borrow_and_update_does) {
  auto [tx, rx] = watch<int>(0);
  EXPECT_TRUE(tx.send(1));
  EXPECT_EQ(*rx.borrow(), 1);
  EXPECT_TRUE(rx.has_changed());
  EXPECT_EQ(*rx.borrow_and_update(), 1);
  EXPECT_FALSE(rx.has_changed());
  EXPECT_TRUE(is_empty(rx.try_changed()));
}

TEST(WatchReceiving, tries_find_a_change_once_and_then_the_end) {
  auto [tx, rx] = watch<int>(0);
  EXPECT_TRUE(is_empty(rx.try_changed()));
  EXPECT_TRUE(tx.send(1));
  EXPECT_TRUE(rx.try_changed());
  EXPECT_TRUE(is_empty(rx.try_changed()));
  tx.close();
  EXPECT_TRUE(is_closed(rx.try_changed(), CloseKind::ended));
}

TEST(WatchReceiving, subscribers_have_seen_the_current_value) {
  auto [tx, rx] = watch<int>(0);
  EXPECT_TRUE(tx.send(1));
  auto subscribed = tx.subscribe();
  auto resubscribed = rx.resubscribe();
  EXPECT_TRUE(rx.has_changed());
  EXPECT_FALSE(subscribed.has_changed() || resubscribed.has_changed());
  EXPECT_EQ(*subscribed.borrow(), 1);
  EXPECT_EQ(tx.send(2), 3U);
  EXPECT_TRUE(subscribed.has_changed() && resubscribed.has_changed());
}

TEST(WatchReceiving, resubscribing_after_the_end_gives_a_receiver_at_its_end) {
  auto [tx, rx] = watch<int>(0);
  tx.close();
  auto late = rx.resubscribe();
  EXPECT_EQ(*late.borrow(), 0);
  EXPECT_TRUE(is_closed(late.try_changed(), CloseKind::ended));
}

TEST(WatchReceiving, a_predicate_that_throws_is_heard) {
  auto [tx, rx] = watch<int>(0);
  const auto throws = [](int) -> bool { throw std::domain_error("no such value"); };
  EXPECT_THROW((void)rx.blocking_wait_for(throws), std::domain_error);
  EXPECT_THROW((void)rx.blocking_wait_for(throws, 1ms), std::domain_error);
  bool has_caught = false;
  auto task = [](WatchReceiver<int>& mine, bool& caught) -> Task<> {
    try {
      (void)co_await mine.wait_for([](int value) { return value == 1 ? throw std::domain_error("one") : false; });
    } catch (const std::domain_error&) {
      caught = true;
    }
    co_return std::monostate{};
  }(rx, has_caught);
  EXPECT_TRUE(tx.send(1));
  (void)task.get();
  EXPECT_TRUE(has_caught);
}

TEST(WatchReceiving, a_predicate_may_use_the_channel) {
  auto [tx, rx] = watch<int>(0);
  auto waiting = SuspendedWatch::wait_for(rx, [&t = tx](int value) {
    if (value > 0 && value < 3) (void)t.send(value + 1);
    return value == 3;
  });
  EXPECT_TRUE(tx.send(1));
  EXPECT_EQ(**waiting.get(), 3);
}

TEST(WatchIteration, gives_the_value_after_each_change_until_the_end) {
  auto [tx, rx] = watch<int>(0);
  std::vector<int> seen;
  int next = 1;
  EXPECT_TRUE(tx.send(int{next}));
  for (const std::shared_ptr<const int>& value : rx) {
    seen.push_back(*value);
    if (++next <= 3) {
      EXPECT_TRUE(tx.send(int{next}));
    } else {
      tx.close();
    }
  }
  EXPECT_EQ(seen, (std::vector{1, 2, 3}));
}

TEST(WatchIteration, tells_of_an_end_that_is_not_orderly) {
  auto [tx, rx] = watch<int>(0);
  tx.close("no more news");
  EXPECT_THROW((void)rx.begin(), klaw::ChannelClosedError);
}

TEST(WatchValue, lives_as_long_as_it_is_held) {
  Ledger ledger(3);
  auto [tx, rx] = watch<Tracked>(Tracked(ledger, 0));
  auto held = rx.borrow();
  EXPECT_TRUE(tx.send(Tracked(ledger, 1)));
  EXPECT_EQ(ledger.destroyed(0), 0);
  EXPECT_EQ(held->id(), 0U);
  held.reset();
  EXPECT_EQ(ledger.destroyed(0), 1);
  EXPECT_TRUE(tx.send(Tracked(ledger, 2)));
  EXPECT_EQ(ledger.destroyed(1), 1);
  tx.close();
  EXPECT_EQ(ledger.destroyed(2), 0);
  rx.close();
  EXPECT_TRUE(ledger.each_destroyed_once());
}

TEST(WatchValue, is_kept_for_senders_without_receivers_and_dropped_with_the_last_handle) {
  Ledger ledger(1);
  auto [tx, rx] = watch<Tracked>(Tracked(ledger, 0));
  rx.close();
  EXPECT_EQ(tx.borrow()->id(), 0U);
  tx.close();
  EXPECT_EQ(ledger.destroyed(0), 1);
}

// Its destructor uses the channel, which must not be locked.
struct Meddler {
  explicit Meddler(WatchReceiver<std::unique_ptr<Meddler>>* r) : rx(r) {}
  Meddler(const Meddler&) = delete;
  Meddler& operator=(const Meddler&) = delete;
  ~Meddler() { EXPECT_EQ(rx->stats().capacity, 1U); }
  WatchReceiver<std::unique_ptr<Meddler>>* rx;
};

TEST(WatchValue, that_is_replaced_or_dropped_is_destroyed_outside_of_the_lock) {
  auto [tx, rx] = watch<std::unique_ptr<Meddler>>(nullptr);
  EXPECT_TRUE(tx.send(std::make_unique<Meddler>(&rx)));
  EXPECT_TRUE(tx.send(std::make_unique<Meddler>(&rx)));
  tx.close();
  rx.close();
}

TEST(WatchStats, count_sends_and_what_was_seen) {
  auto [tx, rx] = watch<int>(0);
  auto other = tx.subscribe();
  EXPECT_TRUE(tx.send(1));
  EXPECT_TRUE(tx.send(2));
  EXPECT_TRUE(rx.try_changed());
  auto s = tx.stats();
  EXPECT_EQ(s.sender_count, 1U);
  EXPECT_EQ(s.receiver_count, 2U);
  EXPECT_EQ(s.capacity, 1U);
  EXPECT_EQ(s.queue_size, 1U);
  EXPECT_EQ(s.total_sent, 2U);
  EXPECT_EQ(s.total_received, 1U);
  EXPECT_GT(s.created_at, 0);
  other.close();
  tx.close();
  s = rx.stats();
  EXPECT_EQ(s.receiver_count, 1U);
  EXPECT_TRUE(s.senders_closed);
}

TEST(WatchHandles, know_whether_they_are_of_one_channel) {
  auto [tx, rx] = watch<int>(0);
  auto [other_tx, other_rx] = watch<int>(0);
  EXPECT_TRUE(tx.same_channel(rx) && rx.same_channel(tx.clone()) && tx.subscribe().same_channel(rx));
  EXPECT_FALSE(tx.same_channel(other_tx) || rx.same_channel(other_rx));
}

// --- coroutines that are destroyed where they wait ---

TEST(WatchCancelled, wait_has_seen_nothing) {
  auto [tx, rx] = watch<int>(0);
  auto gone = SuspendedWatch::changed(rx);
  gone.cancel();
  EXPECT_EQ(rx.stats().waiting_receivers, 0U);
  EXPECT_TRUE(tx.send(1));
  EXPECT_TRUE(rx.has_changed());
}

TEST(WatchCancelled, wait_that_was_woken_leaves_the_change_to_the_next) {
  auto [tx, rx] = watch<int>(0);
  auto gone = SuspendedWatch::changed(rx);
  while_resuming([&, &t = tx] {
    EXPECT_TRUE(t.send(1));
    gone.cancel();
  });
  EXPECT_TRUE(rx.has_changed());
  EXPECT_TRUE(rx.try_changed());
}

TEST(WatchCancelled, wait_for_a_certain_value_leaves_nothing_behind) {
  auto [tx, rx] = watch<int>(0);
  const auto is_one = [](int value) { return value == 1; };
  auto first = SuspendedWatch::wait_for(rx, is_one);
  auto second = SuspendedWatch::wait_for(rx, is_one, kLong);
  EXPECT_TRUE(tx.send(5));  // both wait again
  EXPECT_EQ(rx.stats().waiting_receivers, 2U);
  first.cancel();
  second.cancel();
  EXPECT_EQ(rx.stats().waiting_receivers, 0U);
  EXPECT_TRUE(tx.send(6));
}

TEST(WatchCancelled, wait_that_was_woken_gets_the_value_that_is_the_latest_when_it_goes_on) {
  auto [tx, rx] = watch<int>(0);
  auto woken = SuspendedWatch::wait_for(rx, [](int value) { return value > 0; });
  while_resuming([&, &t = tx] {
    EXPECT_TRUE(t.send(1));
    EXPECT_TRUE(t.send(2));
  });
  EXPECT_EQ(**woken.get(), 2);
}

TEST(WatchCancelled, wait_whose_handles_closed_after_its_wake_up_finds_it_closed) {
  auto [tx, rx] = watch<int>(0);
  auto woken = SuspendedWatch::changed(rx);
  while_resuming([&, &t = tx, &r = rx] {
    EXPECT_TRUE(t.send(1));
    r.close();
    t.close();
  });
  EXPECT_TRUE(is_closed(woken.get(), CloseKind::handle_closed));
}

TEST(WatchCancelled, wait_whose_handle_alone_closed_after_its_wake_up_is_done) {
  auto [tx, rx] = watch<int>(0);
  auto woken = SuspendedWatch::changed(rx);
  while_resuming([&, &t = tx, &r = rx] {
    EXPECT_TRUE(t.send(1));
    r.close();
  });
  EXPECT_TRUE(woken.get());
}

}  // namespace
