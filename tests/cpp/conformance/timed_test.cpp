// Time limits: they end a wait, lose nothing, and are never confused with the end of the channel.
#include <chrono>
#include <string>

#include <gtest/gtest.h>

#include "support/setups.hpp"
#include "support/threads.hpp"

namespace {

using namespace klaw_test;
using namespace std::chrono_literals;

class TimeLimit : public Conformance {};
INSTANTIATE_TEST_SUITE_P(, TimeLimit, all_setups(), setup_name);

TEST_P(TimeLimit, that_passes_ends_a_receive_with_empty) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    EXPECT_TRUE(is_empty(recv_for(rx, 1ms).get()));
    EXPECT_EQ(tx.stats().waiting_receivers, 0U);
  });
}

TEST_P(TimeLimit, that_passes_ends_a_send_with_full) {
  for_each_capacity({0, 1, 3, 100}, [](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    fill(tx);
    int value = 99;
    const auto late = give_for(tx, value, 1ms).get();
    ASSERT_TRUE(is_full(late));
    EXPECT_EQ(std::get<ChannelFull>(late.error()).capacity, *capacity);
    EXPECT_EQ(tx.stats().waiting_senders, 0U);
    EXPECT_EQ(rx.size(), *capacity);
  });
}

// recv_for() and give_for() take limits that nanoseconds can tell. These take any.
auto recv_within(SomeReceiver<int>& rx, auto limit) {
  return start_in(Conformance::way(), rx, [&](auto ways, auto& real) { return ways.recv_for(real, limit); });
}
auto give_within(SomeSender<int>& tx, int& value, auto limit) {
  return start_in(Conformance::way(), tx, [&](auto ways, auto& real) { return ways.give_for(real, value, limit); });
}

TEST_P(TimeLimit, of_zero_or_less_tries_once) {
  for (const auto limit : {0ms, -1ms, std::chrono::milliseconds::min()}) {
    auto [tx, rx] = open<int>(1);
    int value = 5;
    EXPECT_TRUE(is_empty(recv_within(rx, limit).get()));
    EXPECT_TRUE(give_within(tx, value, limit).get());
    EXPECT_TRUE(is_full(give_within(tx, value, limit).get()));
    EXPECT_EQ(recv_within(rx, limit).get(), 5);
    EXPECT_TRUE(is_empty(recv_within(rx, limit).get()));
  }
}

TEST_P(TimeLimit, beyond_the_clock_is_none) {
  auto [tx, rx] = open<int>(1);
  auto received = recv_within(rx, std::chrono::hours::max());
  until_receivers_wait(rx, 1);
  EXPECT_TRUE(tx.try_send(1));
  EXPECT_EQ(received.get(), 1);
  auto with_fraction = recv_within(rx, std::chrono::duration<double>(1e30));
  until_receivers_wait(rx, 1);
  EXPECT_TRUE(tx.try_send(2));
  EXPECT_EQ(with_fraction.get(), 2);
}

TEST_P(TimeLimit, that_does_not_pass_changes_nothing) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    auto received = recv_for(rx, kLong);
    until_receivers_wait(rx, 1);
    int value = 5;
    EXPECT_TRUE(give_for(tx, value, kLong).get());
    EXPECT_EQ(received.get(), 5);
  });
}

TEST_P(TimeLimit, leaves_the_turn_to_the_next_receiver) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    auto late = recv_for(rx, 20ms);
    auto next = recv(rx);
    EXPECT_TRUE(is_empty(late.get()));
    until_receivers_wait(rx, 1);
    EXPECT_TRUE(tx.try_send(1));
    EXPECT_EQ(next.get(), 1);
  });
}

TEST_P(TimeLimit, of_a_batch_of_sends_at_the_head_lets_the_next_in) {
  // A single send waits behind a timed one, at the head of the line, that is then cancelled by its limit.
  for_each_capacity({0, 1, 3}, [](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    const int filled = static_cast<int>(fill(tx));
    int value = -1;
    auto late = give_for(tx, value, 20ms);
    auto next = send(tx, filled);
    EXPECT_TRUE(is_full(late.get()));
    until_senders_wait(tx, 1);
    for (int i = 0; i <= filled; ++i) EXPECT_EQ(rx.try_recv(), i);
    EXPECT_TRUE(next.get());
    EXPECT_TRUE(is_empty(rx.try_recv()));
  });
}

TEST_P(TimeLimit, is_not_the_end_of_the_channel) {
  auto [tx, rx] = open<int>(1);
  EXPECT_TRUE(is_empty(recv_for(rx, 1ms).get()));
  auto waiting = recv_for(rx, kLong);
  until_receivers_wait(rx, 1);
  tx.close();
  EXPECT_TRUE(is_closed(waiting.get(), CloseKind::ended));
  EXPECT_TRUE(is_closed(recv_for(rx, 1ms).get(), CloseKind::ended));
}

TEST_P(TimeLimit, of_a_send_ends_with_closed_when_the_receiver_goes_first) {
  auto [tx, rx] = open<int>(0);
  int value = 1;
  auto waiting = give_for(tx, value, kLong);
  until_senders_wait(tx, 1);
  rx.close();
  EXPECT_TRUE(is_closed(waiting.get(), CloseKind::peer_gone));
  EXPECT_TRUE(is_closed(give_for(tx, value, 1ms).get(), CloseKind::peer_gone));
}

TEST_P(TimeLimit, that_passed_leaves_the_channel_working) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    for (int i = 0; i < 20; ++i) {
      EXPECT_TRUE(is_empty(recv_for(rx, std::chrono::microseconds(i)).get()));
      auto received = recv(rx);
      until_receivers_wait(rx, 1);
      EXPECT_TRUE(tx.try_send(i));
      EXPECT_EQ(received.get(), i);
    }
  });
}

}  // namespace
