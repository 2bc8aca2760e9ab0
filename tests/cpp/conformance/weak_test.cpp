// Weak handles: they keep nothing open, and become strong ones while their side is.
#include <optional>
#include <type_traits>
#include <utility>

#include <gtest/gtest.h>

#include "support/payload.hpp"
#include "support/setups.hpp"
#include "support/threads.hpp"

namespace {

using namespace klaw_test;

class WeakHandles : public Conformance {};
INSTANTIATE_TEST_SUITE_P(, WeakHandles, all_setups(), setup_name);

TEST_P(WeakHandles, do_not_count) {
  auto [tx, rx] = open<int>(1);
  const auto weak_tx = tx.downgrade();
  const auto weak_rx = rx.downgrade();
  EXPECT_EQ(tx.stats().sender_count, 1U);
  EXPECT_EQ(tx.stats().receiver_count, 1U);
  auto other = rx.clone();
  rx.close();
  tx.close();
  EXPECT_TRUE(is_closed(recv(other).get(), CloseKind::ended));
}

TEST_P(WeakHandles, become_handles_like_any_other) {
  auto [tx, rx] = open<int>(1);
  const auto weak_tx = tx.downgrade();
  const auto weak_rx = rx.downgrade();
  auto tx2 = weak_tx.upgrade();
  auto rx2 = weak_rx.upgrade();
  ASSERT_TRUE(tx2);
  ASSERT_TRUE(rx2);
  EXPECT_TRUE(tx2->same_channel(tx));
  EXPECT_EQ(tx.stats().sender_count, 2U);
  EXPECT_EQ(tx.stats().receiver_count, 2U);
  tx.close();
  rx.close();
  EXPECT_TRUE(tx2->try_send(1));
  EXPECT_EQ(rx2->try_recv(), 1);
  EXPECT_TRUE(weak_tx.upgrade());
  tx2.reset();
  EXPECT_FALSE(weak_tx.upgrade());
  EXPECT_TRUE(is_closed(rx2->try_recv(), CloseKind::ended));
}

TEST_P(WeakHandles, are_nothing_once_the_last_handle_of_their_side_has_closed) {
  auto [tx, rx] = open<int>(1);
  const auto weak_tx = tx.downgrade();
  const auto weak_rx = rx.downgrade();
  ASSERT_TRUE(tx.try_send(1));
  tx.close();
  EXPECT_FALSE(weak_tx.upgrade());
  EXPECT_TRUE(weak_rx.upgrade());  // there is still something to receive
  rx.close();
  EXPECT_FALSE(weak_rx.upgrade());
}

TEST_P(WeakHandles, of_a_sender_whose_permit_is_out_can_be_upgraded) {
  auto [tx, rx] = open<int>(1);
  const auto weak = tx.downgrade();
  auto permit = tx.try_reserve();
  tx.close();
  EXPECT_TRUE(weak.upgrade());
  permit->release();
  EXPECT_FALSE(weak.upgrade());
}

TEST_P(WeakHandles, keep_nothing_that_is_queued) {
  Ledger ledger(1);
  auto [tx, rx] = open<Tracked>(1);
  const auto weak_tx = tx.downgrade();
  const auto weak_rx = rx.downgrade();
  ASSERT_TRUE(tx.try_send(Tracked(ledger, 0)));
  tx.close();
  rx.close();
  EXPECT_TRUE(ledger.each_destroyed_once());
}

TEST_P(WeakHandles, of_handles_that_were_closed_or_moved_from) {
  auto [tx, rx] = open<int>(1);
  auto other = tx.clone();
  other.close();
  EXPECT_TRUE(other.downgrade().upgrade());  // the side is open
  auto moved = std::move(tx);
  EXPECT_FALSE(tx.downgrade().upgrade());  // NOLINT(bugprone-use-after-move): what is tested
  EXPECT_TRUE(moved.downgrade().upgrade());
}

TEST_P(WeakHandles, can_be_copied) {
  auto [tx, rx] = open<int>(1);
  const auto weak = tx.downgrade();
  const auto copy = weak;  // NOLINT(performance-unnecessary-copy-initialization): what is tested
  EXPECT_TRUE(copy.upgrade());
  EXPECT_TRUE(weak.upgrade());
}

}  // namespace
