// Acknowledgements: a message is done with when its receiver says so, and comes back if it does not.
#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "support/payload.hpp"
#include "support/setups.hpp"
#include "support/threads.hpp"

namespace {

using namespace klaw_test;
using std::chrono_literals::operator""ms;

class Acked : public Conformance {};
INSTANTIATE_TEST_SUITE_P(, Acked, all_setups(), setup_name);

class AckedByCoroutines : public Conformance {};
INSTANTIATE_TEST_SUITE_P(, AckedByCoroutines, coroutine_setups(), setup_name);

TEST_P(Acked, what_is_acknowledged_is_done_with) {
  for_each_capacity({1, 3, std::nullopt}, [](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    ASSERT_TRUE(tx.try_send(7));
    {
      auto got = recv_acked(rx).get();
      ASSERT_TRUE(got);
      EXPECT_EQ(got->value(), 7);
      EXPECT_FALSE(got->redelivered());
      EXPECT_EQ(got->attempt(), 1U);
      EXPECT_EQ(rx.stats().in_flight, 1U);
      EXPECT_EQ(rx.stats().queue_size, 0U);
      got->ack();
      got->nack();  // too late
    }
    EXPECT_TRUE(is_empty(rx.try_recv_acked()));
    EXPECT_EQ(rx.stats().in_flight, 0U);
    EXPECT_EQ(rx.stats().total_received, 1U);
    EXPECT_EQ(rx.stats().redelivered, 0U);
  });
}

TEST_P(Acked, what_is_not_comes_back_marked) {
  auto [tx, rx] = open<int>(3);
  ASSERT_TRUE(tx.try_send(7));
  {
    auto dropped = recv_acked(rx).get();
  }
  auto again = recv_acked(rx).get();
  ASSERT_TRUE(again);
  EXPECT_EQ(again->value(), 7);
  EXPECT_TRUE(again->redelivered());
  EXPECT_EQ(again->attempt(), 2U);
  again->nack();
  again->ack();  // too late
  auto third = rx.try_recv_acked();
  ASSERT_TRUE(third);
  EXPECT_EQ(third->attempt(), 3U);
  third->ack();
  EXPECT_EQ(rx.stats().redelivered, 2U);
  EXPECT_EQ(rx.stats().total_received, 1U);
  EXPECT_EQ(rx.stats().total_sent, 1U);
}

TEST_P(Acked, what_comes_back_is_received_like_any_other) {
  auto [tx, rx] = open<int>(3);
  ASSERT_TRUE(tx.try_send_batch(std::vector{1, 2, 3}));
  auto one = rx.try_recv_acked();
  auto two = rx.try_recv_acked();
  two->nack();
  one->nack();
  EXPECT_EQ(rx.size(), 3U);
  EXPECT_EQ(recv(rx).get(), 1);
  EXPECT_EQ(recv_batch(rx, 5).get(), (std::vector{2, 3}));
}

TEST_P(Acked, what_comes_back_is_handed_out_before_what_is_newer_in_the_old_order) {
  auto [tx, rx] = open<int>(5);
  ASSERT_TRUE(tx.try_send_batch(std::vector{1, 2, 3, 4}));
  {
    std::vector<Delivery<int>> out;
    for (int i = 0; i < 3; ++i) out.push_back(*rx.try_recv_acked());
    out[1].nack();
    auto again = rx.try_recv_acked();
    EXPECT_EQ(again->value(), 2);
    out[2].nack();
    again->nack();
    out[0].nack();
  }
  for (int i = 1; i <= 4; ++i) {
    auto got = rx.try_recv_acked();
    EXPECT_EQ(got->value(), i);
    got->ack();
  }
}

TEST_P(Acked, a_message_that_was_taken_gives_its_slot_away_and_takes_none_when_it_comes_back) {
  auto [tx, rx] = open<int>(1);
  ASSERT_TRUE(tx.try_send(1));
  auto got = rx.try_recv_acked();
  ASSERT_TRUE(tx.try_send(2));
  got->nack();
  EXPECT_EQ(rx.size(), 2U);
  EXPECT_TRUE(is_full(tx.try_send(3)));
  EXPECT_EQ(rx.try_recv(), 1);
  EXPECT_TRUE(is_full(tx.try_send(3)));
  EXPECT_EQ(rx.try_recv(), 2);
  EXPECT_TRUE(tx.try_send(3));
}

TEST_P(Acked, a_receiver_that_waits_gets_what_comes_back) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    auto taking = recv_acked(rx);
    until_receivers_wait(rx, 1);
    auto sent = send(tx, 7);
    auto got = taking.get();
    ASSERT_TRUE(sent.get());
    ASSERT_TRUE(got);
    auto other = rx.clone();
    auto waiting = recv_acked(other);
    until_receivers_wait(rx, 1);
    got->nack();
    auto again = waiting.get();
    ASSERT_TRUE(again);
    EXPECT_TRUE(again->redelivered());
    EXPECT_EQ(again->value(), 7);
    again->ack();
  });
}

TEST_P(Acked, the_value_may_be_taken_out_once) {
  Ledger ledger(1);
  auto [tx, rx] = open<Tracked>(1);
  ASSERT_TRUE(tx.try_send(Tracked(ledger, 0)));
  auto got = rx.try_recv_acked();
  ASSERT_TRUE(got);
  {
    const Tracked value = got->take();
    EXPECT_EQ(value.id(), 0U);
    EXPECT_TRUE(ledger.none_destroyed());
  }
  EXPECT_TRUE(ledger.each_destroyed_once());
  EXPECT_THROW((void)got->take(), std::logic_error);
  EXPECT_EQ(rx.stats().in_flight, 0U);
}

TEST_P(Acked, a_delivery_moves) {
  auto [tx, rx] = open<int>(1);
  ASSERT_TRUE(tx.try_send(1));
  auto got = rx.try_recv_acked();
  Delivery<int> moved = *std::move(got);
  got->nack();  // NOLINT(bugprone-use-after-move): does nothing
  EXPECT_TRUE(is_empty(rx.try_recv()));
  moved.nack();
  EXPECT_EQ(rx.try_recv(), 1);
}

// --- delays ---

TEST_P(Acked, a_delayed_message_comes_back_later) {
  using Clock = std::chrono::steady_clock;
  for (bool is_early = false; !is_early;) {  // until the other one was received before the delay was over
    auto [tx, rx] = open<int>(3);
    ASSERT_TRUE(tx.try_send_batch(std::vector{1, 2}));
    const Clock::time_point due = Clock::now() + 20ms;
    rx.try_recv_acked()->nack(20ms);
    EXPECT_EQ(rx.size(), 2U);
    const auto other = recv(rx).get();
    is_early = Clock::now() < due;
    if (!is_early) continue;
    EXPECT_EQ(other, 2);
    auto again = recv_acked(rx).get();
    ASSERT_TRUE(again);
    EXPECT_EQ(again->value(), 1);
    EXPECT_TRUE(again->redelivered());
    again->ack();
  }
}

TEST_P(Acked, a_delay_that_is_none_is_none) {
  auto [tx, rx] = open<int>(3);
  ASSERT_TRUE(tx.try_send(1));
  rx.try_recv_acked()->nack(0ms);
  rx.try_recv_acked()->nack(-5ms);
  EXPECT_EQ(rx.try_recv(), 1);
}

TEST_P(Acked, a_delayed_message_holds_the_end_back) {
  auto [tx, rx] = open<int>(3);
  ASSERT_TRUE(tx.try_send(1));
  rx.try_recv_acked()->nack(20ms);
  tx.close();
  EXPECT_FALSE(rx.is_closed());
  EXPECT_EQ(recv(rx).get(), 1);
  EXPECT_TRUE(is_closed(recv(rx).get(), CloseKind::ended));
}

TEST_P(Acked, a_delay_outlives_its_channel) {
  Ledger ledger(2);
  {
    auto [tx, rx] = open<Tracked>(3);
    ASSERT_TRUE(tx.try_send(Tracked(ledger, 0)));
    ASSERT_TRUE(tx.try_send(Tracked(ledger, 1)));
    rx.try_recv_acked()->nack(1ms);
    rx.try_recv_acked()->nack(kLong);
  }
  EXPECT_TRUE(ledger.each_destroyed_once());
}

// --- the end ---

TEST_P(Acked, the_end_is_held_back_while_others_deliveries_are_unsettled) {
  auto [tx, rx] = open<int>(3);
  auto other = rx.clone();
  ASSERT_TRUE(tx.try_send_batch(std::vector{1, 2}));
  auto one = rx.try_recv_acked();
  auto two = rx.try_recv_acked();
  tx.close();
  EXPECT_FALSE(other.is_closed());
  EXPECT_TRUE(is_empty(other.try_recv()));
  auto waiting = recv(other);
  until_receivers_wait(other, 1);
  one->nack();
  EXPECT_EQ(waiting.get(), 1);
  auto end = recv(other);
  until_receivers_wait(other, 1);
  two->ack();
  EXPECT_TRUE(is_closed(end.get(), CloseKind::ended));
  EXPECT_TRUE(other.is_closed());
}

TEST_P(Acked, ones_own_deliveries_do_not_hold_the_end_back) {
  auto [tx, rx] = open<int>(3);
  ASSERT_TRUE(tx.try_send(1));
  auto mine = rx.try_recv_acked();
  tx.close();
  EXPECT_TRUE(is_closed(recv(rx).get(), CloseKind::ended));
  EXPECT_TRUE(rx.is_closed());
  mine->nack();
  EXPECT_FALSE(rx.is_closed());
  EXPECT_EQ(recv(rx).get(), 1);
}

TEST_P(Acked, a_receiver_that_waits_already_gets_the_end_though_it_has_deliveries) {
  auto [tx, rx] = open<int>(3);
  auto other = rx.clone();
  ASSERT_TRUE(tx.try_send(1));
  auto mine = rx.try_recv_acked();
  auto end = recv(rx);
  auto waits_on = recv(other);
  until_receivers_wait(rx, 2);
  tx.close();
  EXPECT_TRUE(is_closed(end.get(), CloseKind::ended));
  EXPECT_FALSE(waits_on.is_done());
  mine->ack();
  EXPECT_TRUE(is_closed(waits_on.get(), CloseKind::ended));
}

TEST_P(Acked, deliveries_outlive_their_handle) {
  auto [tx, rx] = open<int>(3);
  auto other = rx.clone();
  ASSERT_TRUE(tx.try_send(1));
  auto got = rx.try_recv_acked();
  rx.close();
  tx.close();
  auto waiting = recv(other);
  until_receivers_wait(other, 1);
  got->nack();
  EXPECT_EQ(waiting.get(), 1);
}

TEST_P(Acked, what_comes_back_when_no_receiver_is_left_is_dropped) {
  Ledger ledger(3);
  auto [tx, rx] = open<Tracked>(3);
  for (std::size_t i = 0; i < 3; ++i) ASSERT_TRUE(tx.try_send(Tracked(ledger, i)));
  auto late = rx.try_recv_acked();
  rx.try_recv_acked()->nack();
  rx.try_recv_acked()->nack(kLong);
  EXPECT_TRUE(ledger.none_destroyed());
  rx.close();
  EXPECT_EQ(ledger.destroyed(1), 1);
  EXPECT_EQ(ledger.destroyed(2), 1);
  EXPECT_EQ(ledger.destroyed(0), 0);
  late->nack();
  late = std::unexpected(RecvError(ChannelEmpty{}));
  EXPECT_TRUE(ledger.each_destroyed_once());
}

TEST_P(Acked, a_shutdown_waits_for_what_may_come_back_unless_it_is_immediate) {
  for (const bool immediate : {false, true}) {
    auto [tx, rx] = open<int>(3);
    auto other = rx.clone();
    ASSERT_TRUE(tx.try_send(1));
    auto got = rx.try_recv_acked();
    ASSERT_TRUE(tx.shutdown(immediate));
    EXPECT_EQ(other.is_closed(), immediate);
    got->nack();
    if (!immediate) {
      EXPECT_EQ(other.try_recv(), 1);
    }
    EXPECT_TRUE(is_closed(other.try_recv(), CloseKind::shutdown));
  }
}

TEST_P(Acked, limits_and_closed_handles_are_as_for_any_receive) {
  auto [tx, rx] = open<int>(3);
  EXPECT_TRUE(is_empty(recv_acked_for(rx, 1ms).get()));
  EXPECT_TRUE(is_empty(rx.try_recv_acked()));
  auto waiting = recv_acked(rx);
  until_receivers_wait(rx, 1);
  auto keeps_open = rx.clone();
  rx.close();
  EXPECT_TRUE(is_closed(waiting.get(), CloseKind::handle_closed));
  EXPECT_TRUE(is_closed(recv_acked(rx).get(), CloseKind::handle_closed));
  auto moved = std::move(rx);
  EXPECT_TRUE(is_closed(recv_acked(rx).get(), CloseKind::handle_closed));  // NOLINT(bugprone-use-after-move)
}

TEST_P(AckedByCoroutines, a_cancelled_recv_acked_has_taken_nothing) {
  auto [tx, rx] = open<int>(3);
  auto cancelled = recv_acked(rx);
  while_resuming([&] {
    EXPECT_TRUE(tx.try_send(1));  // granted; the coroutine is queued behind us
    cancelled.cancel();
  });
  EXPECT_EQ(rx.stats().in_flight, 0U);
  auto got = rx.try_recv_acked();
  ASSERT_TRUE(got);
  EXPECT_FALSE(got->redelivered());
  got->ack();
}

}  // namespace
