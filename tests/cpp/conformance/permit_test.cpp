// Permits: slots that are held for messages to come.
#include <memory>
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

class Permits : public Conformance {};
INSTANTIATE_TEST_SUITE_P(, Permits, all_setups(), setup_name);

class CancelledPermits : public Conformance {};
INSTANTIATE_TEST_SUITE_P(, CancelledPermits, coroutine_setups(), setup_name);

// As many permits as there are to be had.
template <class Tx>
auto reserve_all(Tx& tx) {
  std::vector<Permit<ValueOf<Tx>>> permits;
  while (auto permit = tx.try_reserve()) permits.push_back(*std::move(permit));
  return permits;
}

// --- a slot ---

TEST_P(Permits, what_a_permit_sends_is_received) {
  for_each_capacity({1, 3, std::nullopt}, [](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    auto permit = reserve(tx).get();
    ASSERT_TRUE(permit);
    EXPECT_EQ(rx.size(), 0U);
    permit->send(7);
    EXPECT_EQ(rx.try_recv(), 7);
    EXPECT_EQ(rx.stats().total_sent, 1U);
  });
}

TEST_P(Permits, stored_and_reserved_together_never_exceed_the_capacity) {
  auto [tx, rx] = open<int>(3);
  ASSERT_TRUE(tx.try_send(1));
  auto permits = reserve_all(tx);
  ASSERT_EQ(permits.size(), 2U);
  const auto refused = tx.try_send(2);
  ASSERT_TRUE(is_full(refused));
  EXPECT_EQ(std::get<ChannelFull>(refused.error()).capacity, 3U);
  EXPECT_TRUE(is_full(tx.try_reserve()));
  EXPECT_TRUE(is_full(tx.try_send_batch(std::vector{1, 2})));
  permits[0].send(2);  // takes no further slot
  EXPECT_TRUE(is_full(tx.try_send(3)));
  EXPECT_EQ(rx.try_recv(), 1);
  EXPECT_TRUE(tx.try_send(3));
  EXPECT_TRUE(is_full(tx.try_send(4)));
  permits[1].release();
  EXPECT_TRUE(tx.try_send(4));
  EXPECT_EQ(rx.stats().high_watermark, 3U);
}

TEST_P(Permits, an_unbounded_channel_has_a_slot_for_everybody) {
  auto [tx, rx] = open<int>(std::nullopt);
  std::vector<Permit<int>> permits;
  for (int i = 0; i < 100; ++i) permits.push_back(*reserve(tx).get());
  for (int i = 0; i < 100; ++i) permits[static_cast<std::size_t>(i)].send(i);
  EXPECT_EQ(rx.try_recv_batch(200)->size(), 100U);
}

TEST_P(Permits, a_message_stands_where_it_was_sent_not_where_its_slot_was_reserved) {
  auto [tx, rx] = open<int>(3);
  auto permit = tx.try_reserve();
  ASSERT_TRUE(permit);
  ASSERT_TRUE(tx.try_send(1));
  permit->send(2);
  EXPECT_EQ(rx.try_recv_batch(3), (std::vector{1, 2}));
}

TEST_P(Permits, a_receiver_that_waits_is_woken_by_what_a_permit_sends) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    auto got = recv(rx);
    until_receivers_wait(rx, 1);
    auto permit = reserve(tx).get();
    ASSERT_TRUE(permit);
    EXPECT_FALSE(got.is_done());
    permit->send(5);
    EXPECT_EQ(got.get(), 5);
  });
}

// --- a slot given back ---

TEST_P(Permits, a_permit_that_goes_gives_its_slot_back) {
  auto [tx, rx] = open<int>(1);
  {
    auto permit = tx.try_reserve();
  }
  auto permit = tx.try_reserve();
  ASSERT_TRUE(permit);
  permit->release();
  permit->release();
  auto another = tx.try_reserve();
  ASSERT_TRUE(another);
  Permit<int> moved = *std::move(another);
  EXPECT_TRUE(is_full(tx.try_send(1)));
  moved = *open<int>(1).tx.try_reserve();
  EXPECT_TRUE(tx.try_send(1));
}

TEST_P(Permits, a_permit_serves_once) {
  auto [tx, rx] = open<int>(3);
  auto sent = tx.try_reserve();
  sent->send(1);
  EXPECT_THROW(sent->send(2), std::logic_error);
  sent->release();
  auto released = tx.try_reserve();
  released->release();
  EXPECT_THROW(released->send(2), std::logic_error);
  auto given = tx.try_reserve();
  Permit<int> taken = *std::move(given);
  EXPECT_THROW(given->send(2), std::logic_error);  // NOLINT(bugprone-use-after-move): what is tested
  taken.send(3);
  EXPECT_EQ(rx.try_recv_batch(5), (std::vector{1, 3}));
}

// --- in line ---

TEST_P(Permits, a_reserve_waits_in_line_and_nobody_passes_it) {
  auto [tx, rx] = open<int>(1);
  ASSERT_TRUE(tx.try_send(0));
  auto first = send(tx, 1);
  until_senders_wait(tx, 1);
  auto permit = reserve(tx);
  until_senders_wait(tx, 2);
  auto last = send(tx, 3);
  until_senders_wait(tx, 3);
  EXPECT_EQ(rx.try_recv(), 0);
  EXPECT_TRUE(first.get());
  EXPECT_FALSE(permit.is_done());
  EXPECT_EQ(rx.try_recv(), 1);
  auto slot = permit.get();
  ASSERT_TRUE(slot);
  EXPECT_FALSE(last.is_done());
  EXPECT_TRUE(is_empty(rx.try_recv()));
  slot->send(2);
  EXPECT_EQ(rx.try_recv(), 2);
  EXPECT_TRUE(last.get());
  EXPECT_EQ(rx.try_recv(), 3);
}

TEST_P(Permits, a_released_slot_goes_to_the_next_in_line) {
  auto [tx, rx] = open<int>(1);
  auto permit = tx.try_reserve();
  auto sent = send(tx, 1);
  until_senders_wait(tx, 1);
  auto next = reserve(tx);
  until_senders_wait(tx, 2);
  permit->release();
  EXPECT_TRUE(sent.get());
  EXPECT_EQ(recv(rx).get(), 1);
  EXPECT_TRUE(next.get());
}

TEST_P(Permits, a_limited_reserve_gives_up_and_holds_nothing) {
  auto [tx, rx] = open<int>(1);
  ASSERT_TRUE(tx.try_send(1));
  EXPECT_TRUE(is_full(reserve_for(tx, 1ms).get()));
  EXPECT_TRUE(is_full(reserve_for(tx, 0ms).get()));
  EXPECT_EQ(tx.stats().waiting_senders, 0U);
  EXPECT_EQ(rx.try_recv(), 1);
  auto permit = reserve_for(tx, kLong).get();
  ASSERT_TRUE(permit);
  permit->send(2);
  EXPECT_EQ(rx.try_recv(), 2);
}

TEST_P(CancelledPermits, a_reserve_that_is_cancelled_leaves_the_line) {
  auto [tx, rx] = open<int>(1);
  ASSERT_TRUE(tx.try_send(1));
  auto cancelled = reserve(tx);
  auto sent = send(tx, 2);
  cancelled.cancel();
  EXPECT_EQ(tx.stats().waiting_senders, 1U);
  EXPECT_EQ(rx.try_recv(), 1);
  EXPECT_TRUE(sent.get());
}

TEST_P(CancelledPermits, a_slot_that_was_granted_to_a_cancelled_reserve_goes_to_the_next_in_line) {
  auto [tx, rx] = open<int>(1);
  ASSERT_TRUE(tx.try_send(1));
  auto cancelled = reserve(tx);
  auto sent = send(tx, 2);
  while_resuming([&] {
    EXPECT_EQ(rx.try_recv(), 1);  // grants the slot; the coroutine is queued behind us
    cancelled.cancel();
  });
  EXPECT_TRUE(sent.get());
  EXPECT_EQ(rx.try_recv(), 2);
}

// --- closing ---

TEST_P(Permits, a_permit_keeps_its_sender_counted) {
  auto [tx, rx] = open<int>(3);
  auto one = tx.try_reserve();
  auto two = tx.try_reserve();
  EXPECT_EQ(rx.stats().sender_count, 1U);
  tx.close();
  EXPECT_TRUE(tx.is_closed());
  EXPECT_EQ(rx.stats().sender_count, 1U);
  auto got = recv(rx);
  until_receivers_wait(rx, 1);
  auto gone = closed(rx);
  one->send(1);
  EXPECT_EQ(got.get(), 1);
  EXPECT_TRUE(is_empty(rx.try_recv()));
  EXPECT_FALSE(gone.is_done());
  auto end = recv(rx);
  until_receivers_wait(rx, 1);
  two->release();
  EXPECT_TRUE(is_closed(end.get(), CloseKind::ended));
  EXPECT_TRUE(gone.get());
  EXPECT_EQ(rx.stats().sender_count, 0U);
}

TEST_P(Permits, the_permit_of_one_sender_does_not_count_for_another) {
  auto [tx, rx] = open<int>(3);
  auto other = tx.clone();
  auto permit = other.try_reserve();
  tx.close();
  EXPECT_EQ(rx.stats().sender_count, 1U);
  other.close();
  EXPECT_EQ(rx.stats().sender_count, 1U);
  permit->send(1);
  EXPECT_EQ(rx.stats().sender_count, 0U);
  EXPECT_EQ(rx.try_recv(), 1);
  EXPECT_TRUE(is_closed(rx.try_recv(), CloseKind::ended));
}

TEST_P(Permits, the_reason_of_a_sender_that_closed_before_its_permit_is_told) {
  auto [tx, rx] = open<int>(3);
  auto permit = tx.try_reserve();
  tx.close("broken");
  permit->send(1);
  EXPECT_EQ(rx.try_recv(), 1);
  const auto end = recv(rx).get();
  ASSERT_TRUE(is_closed(end, CloseKind::peer_died));
  EXPECT_EQ(end.error().reason, "broken");
}

TEST_P(Permits, a_reserve_on_a_closed_handle_or_without_receivers_is_closed) {
  auto [tx, rx] = open<int>(1);
  auto other = tx.clone();
  other.close();
  EXPECT_TRUE(is_closed(reserve(other).get(), CloseKind::handle_closed));
  rx.close("done");
  const auto refused = reserve(tx).get();
  ASSERT_TRUE(is_closed(refused, CloseKind::peer_gone));
  EXPECT_EQ(refused.error().reason, "done");
  EXPECT_TRUE(is_closed(tx.try_reserve(), CloseKind::peer_gone));
  const auto moved = std::move(tx);
  EXPECT_TRUE(is_closed(reserve(tx).get(), CloseKind::handle_closed));  // NOLINT(bugprone-use-after-move)
}

TEST_P(Permits, closing_wakes_a_reserve_that_waits) {
  for (const bool own_handle : {true, false}) {
    auto [tx, rx] = open<int>(1);
    ASSERT_TRUE(tx.try_send(1));
    auto waiting = reserve(tx);
    until_senders_wait(tx, 1);
    if (own_handle) {
      tx.close();
    } else {
      rx.close();
    }
    EXPECT_TRUE(is_closed(waiting.get(), own_handle ? CloseKind::handle_closed : CloseKind::peer_gone));
  }
}

TEST_P(Permits, what_a_permit_sends_when_no_receiver_is_left_is_dropped) {
  Ledger ledger(2);
  auto [tx, rx] = open<Tracked>(2);
  auto permit = reserve(tx).get();
  ASSERT_TRUE(permit);
  rx.close();
  permit->send(Tracked(ledger, 0));
  EXPECT_EQ(ledger.destroyed(0), 1);
  EXPECT_EQ(tx.stats().total_sent, 0U);
}

TEST_P(Permits, a_permit_outlives_all_handles) {
  Ledger ledger(1);
  auto permit = [&] {
    auto [tx, rx] = open<Tracked>(1);
    return tx.try_reserve();
  }();
  ASSERT_TRUE(permit);
  permit->send(Tracked(ledger, 0));
  EXPECT_TRUE(ledger.each_destroyed_once());
}

// --- rendezvous: a slot is a receiver that waits ---

TEST_P(Permits, on_a_rendezvous_a_reserve_waits_until_a_receiver_waits) {
  auto [tx, rx] = open<int>(0);
  EXPECT_TRUE(is_full(tx.try_reserve()));
  auto permit = reserve(tx);
  until_senders_wait(tx, 1);
  EXPECT_TRUE(is_empty(rx.try_recv()));  // it would not wait for the message
  EXPECT_FALSE(permit.is_done());
  auto got = recv(rx);
  auto slot = permit.get();
  ASSERT_TRUE(slot);
  EXPECT_FALSE(got.is_done());
  slot->send(3);
  EXPECT_EQ(got.get(), 3);
}

TEST_P(Permits, on_a_rendezvous_nobody_else_gets_the_receiver_that_a_permit_counts_on) {
  auto [tx, rx] = open<int>(0);
  auto got = recv(rx);
  until_receivers_wait(rx, 1);
  auto permit = tx.try_reserve();
  ASSERT_TRUE(permit);
  EXPECT_TRUE(is_full(tx.try_send(1)));
  EXPECT_TRUE(is_full(tx.try_reserve()));
  auto sent = send(tx, 2);
  until_senders_wait(tx, 1);
  EXPECT_FALSE(got.is_done());
  permit->release();
  EXPECT_TRUE(sent.get());
  EXPECT_EQ(got.get(), 2);
}

TEST_P(Permits, on_a_rendezvous_a_second_receiver_serves_whoever_waits_behind_a_permit) {
  auto [tx, rx] = open<int>(0);
  auto got = recv(rx);
  until_receivers_wait(rx, 1);
  auto permit = tx.try_reserve();
  auto sent = send(tx, 2);
  until_senders_wait(tx, 1);
  EXPECT_EQ(rx.try_recv(), 2);
  EXPECT_TRUE(sent.get());
  permit->send(1);
  EXPECT_EQ(got.get(), 1);
}

TEST_P(CancelledPermits, on_a_rendezvous_what_its_receiver_does_not_wait_for_any_more_is_kept_for_the_next) {
  auto [tx, rx] = open<int>(0);
  auto cancelled = recv(rx);
  auto permit = tx.try_reserve();
  ASSERT_TRUE(permit);
  cancelled.cancel();
  EXPECT_TRUE(is_full(tx.try_send(2)));
  permit->send(1);
  EXPECT_EQ(rx.size(), 1U);
  EXPECT_TRUE(is_full(tx.try_send(2)));
  EXPECT_EQ(recv(rx).get(), 1);
}

}  // namespace
