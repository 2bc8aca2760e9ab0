// Batches: in whole or not at all, in order, and none passes another.
#include <chrono>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "support/setups.hpp"
#include "support/threads.hpp"

namespace {

using namespace klaw_test;
using std::vector;

vector<int> numbers(int first, std::size_t count) {
  vector<int> values(count);
  std::iota(values.begin(), values.end(), first);
  return values;
}

class Batch : public Conformance {};
INSTANTIATE_TEST_SUITE_P(, Batch, all_setups(), setup_name);

TEST_P(Batch, goes_in_whole_and_comes_out_in_order) {
  for_each_capacity({3, 100, std::nullopt}, [](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    EXPECT_TRUE(tx.try_send_batch(numbers(0, 3)));
    EXPECT_EQ(rx.try_recv_batch(10), numbers(0, 3));
    EXPECT_TRUE(send_batch(tx, numbers(3, 3)).get());
    EXPECT_EQ(recv_batch(rx, 2).get(), numbers(3, 2));
    EXPECT_EQ(recv_batch(rx, 2).get(), numbers(5, 1));
  });
}

TEST_P(Batch, that_does_not_fit_now_goes_in_not_at_all) {
  auto [tx, rx] = open<int>(3);
  EXPECT_TRUE(tx.try_send(0));
  auto values = numbers(1, 3);
  const auto failed = tx.try_send_batch(std::move(values));
  ASSERT_TRUE(is_full(failed));
  EXPECT_EQ(std::get<ChannelFull>(failed.error()).capacity, 3U);
  EXPECT_EQ(values, numbers(1, 3));  // NOLINT(bugprone-use-after-move): untouched
  EXPECT_EQ(rx.size(), 1U);
  EXPECT_EQ(rx.try_recv(), 0);
  EXPECT_TRUE(tx.try_send_batch(std::move(values)));
  EXPECT_EQ(rx.size(), 3U);
}

TEST_P(Batch, of_more_than_the_capacity_is_full_at_once) {
  for_each_capacity({0, 1, 3, 100}, [](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    const std::size_t too_many = std::max<std::size_t>(*capacity, 1) + 1;
    auto values = numbers(0, too_many);
    const auto failed = give_batch(tx, values).get();  // does not wait
    ASSERT_TRUE(is_full(failed));
    EXPECT_EQ(std::get<ChannelFull>(failed.error()).capacity, *capacity);
    EXPECT_EQ(values.size(), too_many);
    EXPECT_TRUE(is_full(tx.try_send_batch(values)));
    EXPECT_EQ(tx.stats().waiting_senders, 0U);
    EXPECT_EQ(rx.size(), 0U);
  });
}

TEST_P(Batch, of_exactly_the_capacity_fits) {
  for_each_capacity({1, 3, 100}, [](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    EXPECT_TRUE(tx.try_send_batch(numbers(0, *capacity)));
    EXPECT_EQ(rx.size(), *capacity);
  });
}

TEST_P(Batch, of_one_crosses_a_rendezvous) {
  auto [tx, rx] = open<int>(0);
  EXPECT_TRUE(is_full(tx.try_send_batch(numbers(0, 1))));
  auto sent = send_batch(tx, numbers(7, 1));
  until_senders_wait(tx, 1);
  EXPECT_EQ(rx.try_recv_batch(5), numbers(7, 1));
  EXPECT_TRUE(sent.get());
  auto received = recv_batch(rx, 5);
  until_receivers_wait(tx, 1);
  EXPECT_TRUE(tx.try_send_batch(numbers(8, 1)));
  EXPECT_EQ(received.get(), numbers(8, 1));
}

TEST_P(Batch, of_nothing_succeeds_at_once_unless_the_channel_is_closed) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    EXPECT_TRUE(tx.try_send_batch(vector<int>{}));
    EXPECT_TRUE(send_batch(tx, {}).get());
    EXPECT_EQ(rx.size(), 0U);
    rx.close();
    EXPECT_TRUE(is_closed(tx.try_send_batch(vector<int>{}), CloseKind::peer_gone));
  });
}

TEST_P(Batch, that_waits_goes_in_when_there_is_room_for_all_of_it) {
  auto [tx, rx] = open<int>(3);
  EXPECT_EQ(fill(tx), 3U);
  auto sent = send_batch(tx, numbers(3, 2));
  until_senders_wait(tx, 1);
  EXPECT_EQ(rx.try_recv(), 0);
  EXPECT_FALSE(sent.is_done());  // room for one is not enough
  EXPECT_EQ(rx.size(), 2U);
  EXPECT_EQ(rx.try_recv(), 1);
  EXPECT_TRUE(sent.get());
  EXPECT_EQ(rx.try_recv_batch(10), numbers(2, 3));
}

TEST_P(Batch, that_waits_at_the_head_of_the_line_is_not_passed_by_single_sends) {
  auto [tx, rx] = open<int>(3);
  EXPECT_EQ(fill(tx), 3U);
  auto batch = send_batch(tx, numbers(3, 3));
  until_senders_wait(tx, 1);
  auto single = send(tx, 6);
  until_senders_wait(tx, 2);
  EXPECT_EQ(rx.try_recv(), 0);
  EXPECT_TRUE(is_full(tx.try_send(99)));  // there is a slot, but it is the batch's
  EXPECT_EQ(rx.try_recv(), 1);
  EXPECT_FALSE(batch.is_done());
  EXPECT_FALSE(single.is_done());
  EXPECT_EQ(rx.size(), 1U);
  EXPECT_EQ(rx.try_recv(), 2);
  EXPECT_TRUE(batch.get());
  EXPECT_FALSE(single.is_done());
  EXPECT_EQ(rx.try_recv(), 3);
  EXPECT_TRUE(single.get());
  EXPECT_EQ(rx.try_recv_batch(10), numbers(4, 3));
}

TEST_P(Batch, received_takes_what_is_there_up_to_its_limit) {
  auto [tx, rx] = open<int>(100);
  EXPECT_TRUE(tx.try_send_batch(numbers(0, 10)));
  EXPECT_EQ(rx.try_recv_batch(4), numbers(0, 4));
  EXPECT_EQ(recv_batch(rx, 4).get(), numbers(4, 4));
  EXPECT_EQ(rx.blocking_recv_batch(std::numeric_limits<std::size_t>::max()), numbers(8, 2));
}

TEST_P(Batch, received_waits_for_the_first_and_does_not_wait_for_more) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    auto received = recv_batch(rx, 10);
    until_receivers_wait(tx, 1);
    EXPECT_TRUE(tx.try_send(5));
    EXPECT_EQ(received.get(), numbers(5, 1));
  });
}

TEST_P(Batch, received_lets_as_many_senders_in_as_it_took) {
  auto [tx, rx] = open<int>(3);
  EXPECT_EQ(fill(tx), 3U);
  auto a = send(tx, 3);
  until_senders_wait(tx, 1);
  auto b = send(tx, 4);
  until_senders_wait(tx, 2);
  EXPECT_EQ(rx.try_recv_batch(2), numbers(0, 2));
  EXPECT_TRUE(a.get());
  EXPECT_TRUE(b.get());
  EXPECT_EQ(rx.try_recv_batch(10), numbers(2, 3));
}

TEST_P(Batch, sent_wakes_as_many_receivers_as_it_has_values) {
  auto [tx, rx] = open<int>(3);
  auto a = recv(rx);
  until_receivers_wait(rx, 1);
  auto b = recv(rx);
  until_receivers_wait(rx, 2);
  auto c = recv(rx);
  until_receivers_wait(rx, 3);
  EXPECT_TRUE(tx.try_send_batch(numbers(0, 2)));
  const int sum = *a.get() + *b.get();
  EXPECT_EQ(sum, 1);
  EXPECT_FALSE(c.is_done());
  EXPECT_TRUE(tx.try_send(2));
  EXPECT_EQ(c.get(), 2);
}

TEST_P(Batch, of_zero_items_can_not_be_received) {
  auto [tx, rx] = open<int>(3);
  EXPECT_THROW((void)rx.try_recv_batch(0), std::invalid_argument);
  EXPECT_THROW((void)rx.blocking_recv_batch(0), std::invalid_argument);
  EXPECT_THROW(rx.with_real([](auto& receiver) { (void)receiver.recv_batch(0); }), std::invalid_argument);
}

TEST_P(Batch, received_at_the_end_drains_then_is_closed) {
  auto [tx, rx] = open<int>(100);
  EXPECT_TRUE(tx.try_send_batch(numbers(0, 3)));
  tx.close();
  EXPECT_EQ(recv_batch(rx, 2).get(), numbers(0, 2));
  EXPECT_EQ(recv_batch(rx, 2).get(), numbers(2, 1));
  EXPECT_TRUE(is_closed(recv_batch(rx, 2).get(), CloseKind::ended));
  EXPECT_TRUE(is_closed(rx.try_recv_batch(2), CloseKind::ended));
}

}  // namespace
