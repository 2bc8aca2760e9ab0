// Broadcasts as branches of a select: beside other flavours, receiving and sending, with lags.
#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <klaw/channels.hpp>

#include "support/threads.hpp"
#include "support/ways.hpp"

namespace {

using namespace klaw_test;
using namespace std::chrono_literals;
using klaw::channels::biased;
using klaw::channels::broadcast;
using klaw::channels::Overflow;
using klaw::channels::try_select;

struct WayNames {
  template <class Way>
  static std::string GetName(int) {
    return Way::name;
  }
};

template <class Way>
class BroadcastSelect : public ::testing::Test {};
using Ways = ::testing::Types<Parked, Suspended>;
TYPED_TEST_SUITE(BroadcastSelect, Ways, WayNames);

TYPED_TEST(BroadcastSelect, receives_from_the_branch_that_is_ready) {
  auto [tx, rx] = broadcast<int>(2);
  auto [other_tx, other_rx] = klaw::channels::channel<std::string>(1);
  EXPECT_EQ(tx.try_send(1), 1U);
  auto got = TypeParam::select(rx, other_rx).get();
  ASSERT_EQ(got.index(), 0U);
  EXPECT_EQ(got.template get<0>(), 1);
  ASSERT_TRUE(other_tx.try_send("x"));
  auto other = TypeParam::select(rx, other_rx).get();
  ASSERT_EQ(other.index(), 1U);
  EXPECT_EQ(other.template get<1>(), "x");
}

TYPED_TEST(BroadcastSelect, is_woken_by_a_send_and_leaves_the_other_branch_alone) {
  auto [tx, rx] = broadcast<int>(2);
  auto [other_tx, other_rx] = broadcast<int>(2);
  auto waiting = TypeParam::select(rx, other_rx);
  until_receivers_wait(tx, 1);
  until_receivers_wait(other_tx, 1);
  EXPECT_EQ(other_tx.try_send(7), 1U);
  auto got = waiting.get();
  ASSERT_EQ(got.index(), 1U);
  EXPECT_EQ(got.template get<1>(), 7);
  EXPECT_EQ(tx.stats().waiting_receivers, 0U);
  EXPECT_EQ(tx.try_send(1), 1U);
  EXPECT_EQ(rx.try_recv(), 1);
}

TYPED_TEST(BroadcastSelect, tells_of_a_lag_as_an_unlimited_receive_does) {
  auto [tx, rx] = broadcast<int>(1);
  auto [other_tx, other_rx] = broadcast<int>(1);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(tx.try_send(i), 1U);
  auto got = TypeParam::select(rx, other_rx).get();
  ASSERT_EQ(got.index(), 0U);
  EXPECT_EQ(skipped(got.template get<0>()), 3U);
  EXPECT_EQ(rx.try_recv(), 3);
}

TYPED_TEST(BroadcastSelect, finds_a_closed_branch_ready) {
  auto [tx, rx] = broadcast<int>(1);
  auto [other_tx, other_rx] = broadcast<int>(1);
  auto waiting = TypeParam::select(rx, other_rx);
  until_receivers_wait(other_tx, 1);
  tx.close("broken");
  auto got = waiting.get();
  ASSERT_EQ(got.index(), 0U);
  EXPECT_TRUE(is_closed(got.template get<0>(), CloseKind::peer_died));
}

TYPED_TEST(BroadcastSelect, with_a_limit_takes_nothing_when_it_runs_out) {
  auto [tx, rx] = broadcast<int>(1);
  auto [other_tx, other_rx] = broadcast<int>(1);
  EXPECT_FALSE(TypeParam::select_for(1ms, rx, other_rx).get());
  EXPECT_EQ(tx.stats().waiting_receivers + other_tx.stats().waiting_receivers, 0U);
  EXPECT_EQ(tx.try_send(1), 1U);
  EXPECT_EQ(rx.try_recv(), 1);
}

TYPED_TEST(BroadcastSelect, sends_when_the_slowest_receiver_lets_it) {
  auto [tx, rx] = broadcast<int>(1, Overflow::wait);
  auto [other_tx, other_rx] = broadcast<int>(1);
  EXPECT_EQ(tx.try_send(0), 1U);
  int value = 1;
  auto waiting = TypeParam::select(giving(tx, value), other_rx);
  until_senders_wait(tx, 1);
  EXPECT_EQ(rx.try_recv(), 0);
  auto got = waiting.get();
  ASSERT_EQ(got.index(), 0U);
  EXPECT_EQ(got.template get<0>(), 1U);
  EXPECT_EQ(rx.try_recv(), 1);
  EXPECT_EQ(other_tx.stats().waiting_receivers, 0U);
}

TYPED_TEST(BroadcastSelect, that_receives_elsewhere_has_not_sent) {
  auto [tx, rx] = broadcast<int>(1, Overflow::wait);
  auto [other_tx, other_rx] = broadcast<int>(1);
  EXPECT_EQ(tx.try_send(0), 1U);
  int value = 1;
  auto waiting = TypeParam::select(giving(tx, value), other_rx);
  until_senders_wait(tx, 1);
  until_receivers_wait(other_tx, 1);
  EXPECT_EQ(other_tx.try_send(5), 1U);
  ASSERT_EQ(waiting.get().index(), 1U);
  EXPECT_EQ(tx.stats().waiting_senders, 0U);
  EXPECT_EQ(rx.try_recv(), 0);
  EXPECT_TRUE(is_empty(rx.try_recv()));
}

TYPED_TEST(BroadcastSelect, over_both_ends_of_one_channel_does_one_of_them) {
  for (const Overflow overflow : {Overflow::lag, Overflow::wait}) {
    auto [tx, rx] = broadcast<int>(1, overflow);
    // Nothing is there to receive: it sends, to the receiver that is its other branch.
    int first = 1;
    auto sent = TypeParam::select(biased, rx, giving(tx, first)).get();
    ASSERT_EQ(sent.index(), 1U);
    EXPECT_EQ(sent.template get<1>(), 1U);
    EXPECT_EQ(tx.stats().waiting_receivers, 0U);
    int second = 2;
    auto received = TypeParam::select(biased, rx, giving(tx, second)).get();
    ASSERT_EQ(received.index(), 0U);
    EXPECT_EQ(received.template get<0>(), 1);
    EXPECT_EQ(tx.size(), 0U);
  }
}

TYPED_TEST(BroadcastSelect, may_have_one_receiver_in_two_branches) {
  auto [tx, rx] = broadcast<int>(2);
  auto waiting = TypeParam::select(biased, rx, rx);
  until_receivers_wait(tx, 2);
  EXPECT_EQ(tx.try_send(1), 1U);
  EXPECT_EQ(waiting.get().template get<0>(), 1);
  EXPECT_TRUE(is_empty(rx.try_recv()));
  EXPECT_EQ(tx.stats().waiting_receivers + tx.stats().in_flight, 0U);
}

TEST(BroadcastSelects, over_a_span_of_receivers) {
  auto [tx, rx] = broadcast<int>(2);
  auto [other_tx, other_rx] = broadcast<int>(2);
  std::vector<klaw::channels::BroadcastReceiver<int>> receivers;
  receivers.push_back(std::move(rx));
  receivers.push_back(std::move(other_rx));
  EXPECT_FALSE(try_select(std::span(receivers)));
  EXPECT_EQ(other_tx.try_send(3), 1U);
  const auto [index, got] = klaw::channels::blocking_select(std::span(receivers));
  EXPECT_EQ(index, 1U);
  EXPECT_EQ(got, 3);
}

TEST(BroadcastSelects, cancelled_after_the_wake_up_leaves_the_message) {
  auto [tx, rx] = broadcast<int>(2);
  auto [other_tx, other_rx] = broadcast<int>(2);
  auto gone = Suspended::select(rx, other_rx);
  while_resuming([&] {
    EXPECT_EQ(tx.try_send(1), 1U);
    EXPECT_EQ(other_tx.try_send(2), 1U);
    gone.cancel();
  });
  EXPECT_EQ(rx.try_recv(), 1);
  EXPECT_EQ(other_rx.try_recv(), 2);
  EXPECT_EQ(tx.stats().in_flight + other_tx.stats().in_flight, 0U);
}

}  // namespace
