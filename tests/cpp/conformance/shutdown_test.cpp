// shutdown(): no more sends from anywhere; receivers drain, or not.
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "support/payload.hpp"
#include "support/setups.hpp"
#include "support/threads.hpp"

namespace {

using namespace klaw_test;

class Shutdown : public Conformance {};
INSTANTIATE_TEST_SUITE_P(, Shutdown, all_setups(), setup_name);

class ShutdownOfCoroutines : public Conformance {};
INSTANTIATE_TEST_SUITE_P(, ShutdownOfCoroutines, coroutine_setups(), setup_name);

TEST_P(Shutdown, refuses_sends_from_every_handle) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    auto other = tx.clone();
    ASSERT_TRUE(rx.shutdown(false, "enough"));
    for (auto* const sender : {&tx, &other}) {
      EXPECT_TRUE(sender->is_closed());
      EXPECT_TRUE(is_closed(sender->try_send(1), CloseKind::shutdown));
      EXPECT_TRUE(is_closed(sender->try_reserve(), CloseKind::shutdown));
      EXPECT_TRUE(is_closed(send_batch(*sender, {1}).get(), CloseKind::shutdown));
      const auto refused = send(*sender, 1).get();
      ASSERT_TRUE(is_closed(refused, CloseKind::shutdown));
      EXPECT_EQ(refused.error().reason, "enough");
    }
    EXPECT_TRUE(is_closed(tx.clone().try_send(1), CloseKind::shutdown));
    EXPECT_TRUE(is_closed(tx.downgrade().upgrade()->try_send(1), CloseKind::shutdown));
    EXPECT_TRUE(tx.stats().senders_closed);
  });
}

TEST_P(Shutdown, receivers_drain_and_then_get_the_end) {
  for_each_capacity({1, 3, 100}, [](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    const int count = static_cast<int>(fill(tx));
    ASSERT_TRUE(tx.shutdown(false, "enough"));
    EXPECT_FALSE(rx.is_closed());
    for (int i = 0; i < count; ++i) EXPECT_EQ(recv(rx).get(), i);
    EXPECT_TRUE(rx.is_closed());
    const auto end = recv(rx).get();
    ASSERT_TRUE(is_closed(end, CloseKind::shutdown));
    EXPECT_EQ(end.error().reason, "enough");
    EXPECT_TRUE(is_closed(rx.try_recv_batch(3), CloseKind::shutdown));
  });
}

TEST_P(Shutdown, at_once_drops_what_is_queued) {
  Ledger ledger(3);
  auto [tx, rx] = open<Tracked>(3);
  for (std::size_t i = 0; i < 3; ++i) ASSERT_TRUE(tx.try_send(Tracked(ledger, i)));
  ASSERT_TRUE(tx.shutdown(true));
  EXPECT_TRUE(ledger.each_destroyed_once());
  EXPECT_TRUE(rx.is_closed());
  EXPECT_TRUE(is_closed(rx.try_recv(), CloseKind::shutdown));
  EXPECT_EQ(rx.stats().queue_size, 0U);
}

TEST_P(Shutdown, is_an_orderly_end_of_an_iteration_with_a_reason_too) {
  auto [tx, rx] = open<int>(3);
  ASSERT_TRUE(tx.try_send(1));
  ASSERT_TRUE(tx.shutdown(false, "enough"));
  std::vector<int> got;
  for (const int value : rx) got.push_back(value);
  EXPECT_EQ(got, std::vector{1});
}

TEST_P(Shutdown, wakes_everybody) {
  for_each_capacity({0, 1, 3}, [](Capacity capacity) {
    for (const bool immediate : {false, true}) {
      auto [tx, rx] = open<int>(capacity);
      auto tx_gone = closed(tx);
      auto rx_gone = closed(rx);
      const std::size_t filled = fill(tx);
      auto sent = send(tx, 1);
      auto batch = send_batch(tx, {1});
      auto slot = reserve(tx);
      until_senders_wait(tx, 3);
      ASSERT_TRUE(tx.shutdown(immediate));
      EXPECT_TRUE(is_closed(sent.get(), CloseKind::shutdown));
      EXPECT_TRUE(is_closed(batch.get(), CloseKind::shutdown));
      EXPECT_TRUE(is_closed(slot.get(), CloseKind::shutdown));
      EXPECT_TRUE(tx_gone.get());
      EXPECT_TRUE(rx_gone.get());
      EXPECT_TRUE(closed(tx).get());
      EXPECT_EQ(rx.size(), immediate ? 0 : filled);
    }
    auto [tx, rx] = open<int>(capacity);
    auto one = recv(rx);
    auto many = recv_batch(rx, 3);
    auto limited = recv_for(rx, kLong);
    until_receivers_wait(rx, 3);
    ASSERT_TRUE(rx.shutdown());
    EXPECT_TRUE(is_closed(one.get(), CloseKind::shutdown));
    EXPECT_TRUE(is_closed(many.get(), CloseKind::shutdown));
    EXPECT_TRUE(is_closed(limited.get(), CloseKind::shutdown));
  });
}

TEST_P(Shutdown, the_value_of_a_send_that_it_ends_is_untouched) {
  Ledger ledger(2);
  auto [tx, rx] = open<Tracked>(1);
  ASSERT_TRUE(tx.try_send(Tracked(ledger, 0)));
  Tracked value(ledger, 1);
  auto sent = give(tx, value);
  until_senders_wait(tx, 1);
  ASSERT_TRUE(tx.shutdown());
  EXPECT_TRUE(is_closed(sent.get(), CloseKind::shutdown));
  EXPECT_FALSE(value.is_moved_from());
}

TEST_P(Shutdown, permits_that_are_held_stay_good) {
  for_each_capacity({1, 3, std::nullopt}, [](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    auto permit = tx.try_reserve();
    ASSERT_TRUE(permit);
    ASSERT_TRUE(tx.shutdown());
    EXPECT_FALSE(rx.is_closed());
    auto got = recv(rx);
    until_receivers_wait(rx, 1);
    permit->send(1);
    EXPECT_EQ(got.get(), 1);
    EXPECT_TRUE(is_closed(rx.try_recv(), CloseKind::shutdown));
  });
}

TEST_P(Shutdown, a_released_permit_ends_the_wait_of_receivers) {
  auto [tx, rx] = open<int>(1);
  auto permit = tx.try_reserve();
  ASSERT_TRUE(tx.shutdown());
  auto got = recv(rx);
  until_receivers_wait(rx, 1);
  permit->release();
  EXPECT_TRUE(is_closed(got.get(), CloseKind::shutdown));
}

TEST_P(Shutdown, at_once_drops_what_permits_send) {
  Ledger ledger(1);
  auto [tx, rx] = open<Tracked>(1);
  auto permit = tx.try_reserve();
  ASSERT_TRUE(tx.shutdown(true));
  EXPECT_TRUE(rx.is_closed());
  permit->send(Tracked(ledger, 0));
  EXPECT_TRUE(ledger.each_destroyed_once());
  EXPECT_TRUE(is_closed(rx.try_recv(), CloseKind::shutdown));
}

TEST_P(Shutdown, is_idempotent_keeps_the_first_reason_and_can_be_hastened) {
  auto [tx, rx] = open<int>(3);
  ASSERT_TRUE(tx.try_send(1));
  ASSERT_TRUE(tx.shutdown(false, "first"));
  ASSERT_TRUE(rx.shutdown(false, "second"));
  EXPECT_EQ(rx.size(), 1U);
  ASSERT_TRUE(tx.shutdown(true, "third"));
  EXPECT_EQ(rx.size(), 0U);
  ASSERT_TRUE(tx.shutdown());
  const auto end = recv(rx).get();
  ASSERT_TRUE(is_closed(end, CloseKind::shutdown));
  EXPECT_EQ(end.error().reason, "first");
}

TEST_P(Shutdown, is_told_after_everybody_has_left_too) {
  auto [tx, rx] = open<int>(3);
  auto other = rx.clone();
  ASSERT_TRUE(tx.shutdown());
  tx.close("broken");
  EXPECT_TRUE(is_closed(rx.try_recv(), CloseKind::shutdown));
  auto [tx2, rx2] = open<int>(3);
  ASSERT_TRUE(rx2.shutdown());
  rx2.close();
  EXPECT_TRUE(is_closed(tx2.try_send(1), CloseKind::shutdown));
}

TEST_P(Shutdown, of_a_closed_handle_is_refused) {
  auto [tx, rx] = open<int>(3);
  auto other = tx.clone();
  other.close();
  EXPECT_TRUE(is_closed(other.shutdown(), CloseKind::handle_closed));
  EXPECT_TRUE(tx.try_send(1));
  auto moved = std::move(tx);
  EXPECT_TRUE(is_closed(tx.shutdown(), CloseKind::handle_closed));  // NOLINT(bugprone-use-after-move): what is tested
}

TEST_P(ShutdownOfCoroutines, at_once_leaves_nothing_to_a_receiver_that_was_granted_a_message) {
  auto [tx, rx] = open<int>(3);
  auto got = recv(rx);
  while_resuming([&] {
    EXPECT_TRUE(tx.try_send(1));  // granted; the coroutine is queued behind us
    EXPECT_TRUE(tx.shutdown(true));
  });
  EXPECT_TRUE(is_closed(got.get(), CloseKind::shutdown));
}

TEST_P(ShutdownOfCoroutines, leaves_a_receiver_what_it_was_granted) {
  auto [tx, rx] = open<int>(3);
  auto got = recv(rx);
  auto waits_on = recv(rx);
  while_resuming([&] {
    EXPECT_TRUE(tx.try_send(1));
    EXPECT_TRUE(tx.shutdown());
  });
  EXPECT_EQ(got.get(), 1);
  EXPECT_TRUE(is_closed(waits_on.get(), CloseKind::shutdown));
}

}  // namespace
