// Rules 1, 2, 3 and 6: who closes what, who is woken, and what an end is called.
#include <algorithm>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "support/setups.hpp"
#include "support/threads.hpp"

namespace {

using namespace klaw_test;

class Closing : public Conformance {};
INSTANTIATE_TEST_SUITE_P(, Closing, all_setups(), setup_name);

// --- rule 1: by reference count ---

TEST_P(Closing, a_clone_counts_from_the_moment_clone_returns) {
  auto [tx, rx] = open<int>(1);
  auto tx2 = tx.clone();
  EXPECT_EQ(rx.stats().sender_count, 2U);
  tx.close();
  EXPECT_EQ(rx.stats().sender_count, 1U);
  EXPECT_FALSE(rx.is_closed());
  EXPECT_TRUE(tx2.try_send(1));
  auto rx2 = rx.clone();
  EXPECT_EQ(tx2.stats().receiver_count, 2U);
  rx.close();
  EXPECT_FALSE(tx2.is_closed());
  EXPECT_EQ(rx2.try_recv(), 1);
}

TEST_P(Closing, close_is_idempotent) {
  auto [tx, rx] = open<int>(1);
  auto tx2 = tx.clone();
  tx.close();
  tx.close();
  tx.close("with a reason that comes too late");
  EXPECT_EQ(rx.stats().sender_count, 1U);
  EXPECT_FALSE(rx.is_closed());
  auto rx2 = rx.clone();
  rx.close();
  rx.close();
  EXPECT_EQ(tx2.stats().receiver_count, 1U);
  tx2.close();
  EXPECT_TRUE(is_closed(rx2.try_recv(), CloseKind::ended));
}

TEST_P(Closing, the_destructor_closes) {
  auto [tx, rx] = open<int>(1);
  {
    const auto dropped = std::move(tx);
    EXPECT_FALSE(rx.is_closed());
  }
  EXPECT_TRUE(rx.is_closed());
  EXPECT_TRUE(is_closed(rx.try_recv(), CloseKind::ended));
}

TEST_P(Closing, assignment_closes_what_was_there_before) {
  auto [tx, rx] = open<int>(1);
  auto [other_tx, other_rx] = open<int>(1);
  tx = std::move(other_tx);
  EXPECT_TRUE(rx.is_closed());
  EXPECT_FALSE(other_rx.is_closed());
  EXPECT_TRUE(tx.try_send(1));
  EXPECT_EQ(other_rx.try_recv(), 1);
  auto& same = tx;
  tx = std::move(same);
  EXPECT_FALSE(tx.is_closed());
}

TEST_P(Closing, the_clone_of_a_closed_handle_is_closed) {
  auto [tx, rx] = open<int>(1);
  auto keeps_open = tx.clone();
  auto keeps_receiving = rx.clone();
  tx.close();
  rx.close();
  auto tx2 = tx.clone();
  auto rx2 = rx.clone();
  EXPECT_TRUE(tx2.is_closed());
  EXPECT_TRUE(rx2.is_closed());
  EXPECT_TRUE(is_closed(tx2.try_send(1), CloseKind::handle_closed));
  EXPECT_TRUE(is_closed(rx2.try_recv(), CloseKind::handle_closed));
  tx2.close();
  rx2.close();
  EXPECT_EQ(keeps_open.stats().sender_count, 1U);
  EXPECT_EQ(keeps_open.stats().receiver_count, 1U);
}

TEST_P(Closing, a_moved_from_handle_is_a_closed_one) {
  auto [tx, rx] = open<int>(1);
  auto live_tx = std::move(tx);
  auto live_rx = std::move(rx);
  // NOLINTBEGIN(bugprone-use-after-move): what is tested
  EXPECT_TRUE(tx.is_closed());
  EXPECT_TRUE(rx.is_closed());
  EXPECT_TRUE(is_closed(tx.try_send(1), CloseKind::handle_closed));
  EXPECT_TRUE(is_closed(rx.try_recv(), CloseKind::handle_closed));
  EXPECT_TRUE(is_closed(send(tx, 1).get(), CloseKind::handle_closed));
  EXPECT_TRUE(is_closed(recv(rx).get(), CloseKind::handle_closed));
  EXPECT_TRUE(is_closed(recv_batch(rx, 1).get(), CloseKind::handle_closed));
  EXPECT_TRUE(is_closed(send_batch(tx, {1, 2, 3}).get(), CloseKind::handle_closed));
  EXPECT_TRUE(is_closed(closed(tx).get(), CloseKind::handle_closed));
  EXPECT_TRUE(is_closed(closed(rx).get(), CloseKind::handle_closed));
  EXPECT_TRUE(tx.clone().is_closed());
  EXPECT_TRUE(rx.clone().is_closed());
  EXPECT_EQ(rx.size(), 0U);
  EXPECT_EQ(tx.capacity(), std::nullopt);
  EXPECT_EQ(tx.stats().sender_count, 0U);
  tx.close();
  rx.close();
  // NOLINTEND(bugprone-use-after-move)
  EXPECT_TRUE(live_tx.try_send(1));
  EXPECT_EQ(live_rx.try_recv(), 1);
}

// --- rule 2: the other side ---

TEST_P(Closing, after_the_last_sender_receivers_drain_and_then_get_the_end) {
  for_each_capacity({1, 3, 100, std::nullopt}, [](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    const int count = capacity ? static_cast<int>(fill(tx)) : 50;
    for (int i = 0; !capacity && i < count; ++i) EXPECT_TRUE(tx.try_send(i));
    tx.close();
    EXPECT_FALSE(rx.is_closed());
    for (int i = 0; i < count; ++i) EXPECT_EQ(recv(rx).get(), i);
    EXPECT_TRUE(rx.is_closed());
    const auto end = recv(rx).get();
    ASSERT_TRUE(is_closed(end, CloseKind::ended));
    EXPECT_EQ(end.error().reason, std::nullopt);
    EXPECT_TRUE(is_closed(rx.try_recv(), CloseKind::ended));
    EXPECT_TRUE(is_closed(rx.try_recv_batch(3), CloseKind::ended));
  });
}

TEST_P(Closing, every_receiver_that_waits_is_woken_when_the_last_sender_goes) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    auto rx2 = rx.clone();
    auto tx2 = tx.clone();
    auto a = recv(rx);
    auto b = recv_batch(rx, 3);
    auto c = recv(rx2);
    auto d = recv_for(rx2, kLong);
    until_receivers_wait(rx, 4);
    tx.close();
    EXPECT_EQ(rx.stats().waiting_receivers, 4U);
    tx2.close();
    EXPECT_TRUE(is_closed(a.get(), CloseKind::ended));
    EXPECT_TRUE(is_closed(b.get(), CloseKind::ended));
    EXPECT_TRUE(is_closed(c.get(), CloseKind::ended));
    EXPECT_TRUE(is_closed(d.get(), CloseKind::ended));
  });
}

TEST_P(Closing, every_sender_that_waits_is_woken_when_the_last_receiver_goes) {
  for_each_capacity({0, 1, 3, 100}, [](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    auto tx2 = tx.clone();
    auto rx2 = rx.clone();
    fill(tx);
    auto a = send(tx, 1);
    auto b = send_batch(tx, {1});
    auto c = send(tx2, 1);
    until_senders_wait(tx, 3);
    rx.close();
    EXPECT_EQ(tx.stats().waiting_senders, 3U);
    rx2.close();
    EXPECT_TRUE(is_closed(a.get(), CloseKind::peer_gone));
    EXPECT_TRUE(is_closed(b.get(), CloseKind::peer_gone));
    EXPECT_TRUE(is_closed(c.get(), CloseKind::peer_gone));
    EXPECT_TRUE(tx.is_closed());
    EXPECT_TRUE(is_closed(tx.try_send(1), CloseKind::peer_gone));
    EXPECT_TRUE(is_closed(send(tx, 1).get(), CloseKind::peer_gone));
    EXPECT_TRUE(is_closed(send_batch(tx, {1}).get(), CloseKind::peer_gone));
  });
}

TEST_P(Closing, what_waiting_senders_offer_is_drained_before_the_end) {
  // The handle of a waiting send stays open until its send is over, so the end comes after its message.
  for_each_capacity({0, 1, 3}, [](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    const int filled = static_cast<int>(fill(tx));
    auto sent = send(tx, filled);
    until_senders_wait(tx, 1);
    for (int i = 0; i <= filled; ++i) EXPECT_EQ(recv(rx).get(), i);
    EXPECT_TRUE(sent.get());
    tx.close();
    EXPECT_TRUE(is_closed(recv(rx).get(), CloseKind::ended));
  });
}

TEST_P(Closing, the_last_receiver_drops_what_is_queued) {
  for_each_capacity({1, 3, 100}, [](Capacity capacity) {
    auto [tx, rx] = open<std::shared_ptr<int>>(capacity);
    const auto value = std::make_shared<int>(1);
    while (tx.try_send(value)) {
    }
    EXPECT_EQ(value.use_count(), static_cast<long>(*capacity) + 1);
    auto rx2 = rx.clone();
    rx.close();
    EXPECT_EQ(value.use_count(), static_cast<long>(*capacity) + 1);
    rx2.close();
    EXPECT_EQ(value.use_count(), 1);
    EXPECT_EQ(tx.stats().queue_size, 0U);
  });
}

// --- rule 3: one's own handle ---

TEST_P(Closing, an_operation_on_a_closed_handle_is_closed_though_the_channel_is_not) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    auto tx2 = tx.clone();
    auto rx2 = rx.clone();
    tx.close();
    rx.close();
    EXPECT_TRUE(tx.is_closed());
    EXPECT_TRUE(rx.is_closed());
    EXPECT_TRUE(is_closed(tx.try_send(1), CloseKind::handle_closed));
    EXPECT_TRUE(is_closed(send(tx, 1).get(), CloseKind::handle_closed));
    EXPECT_TRUE(is_closed(tx.try_send_batch(std::vector{1}), CloseKind::handle_closed));
    EXPECT_TRUE(is_closed(rx.try_recv(), CloseKind::handle_closed));
    EXPECT_TRUE(is_closed(recv(rx).get(), CloseKind::handle_closed));
    EXPECT_TRUE(is_closed(rx.try_recv_batch(1), CloseKind::handle_closed));
    EXPECT_TRUE(is_closed(closed(tx).get(), CloseKind::handle_closed));
    EXPECT_TRUE(is_closed(closed(rx).get(), CloseKind::handle_closed));
    auto received = recv(rx2);
    EXPECT_TRUE(send(tx2, 1).get());
    EXPECT_EQ(received.get(), 1);
  });
}

TEST_P(Closing, a_closed_receiver_takes_nothing_from_a_queue_that_others_drain) {
  auto [tx, rx] = open<int>(3);
  auto rx2 = rx.clone();
  EXPECT_TRUE(tx.try_send(1));
  rx.close();
  EXPECT_TRUE(is_closed(rx.try_recv(), CloseKind::handle_closed));
  EXPECT_EQ(rx2.try_recv(), 1);
}

TEST_P(Closing, a_receiver_wakes_its_own_waits_and_no_others) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    auto rx2 = rx.clone();
    auto other = recv(rx2);
    until_receivers_wait(tx, 1);
    auto mine = recv(rx);
    auto my_batch = recv_batch(rx, 2);
    auto my_closed = closed(rx);
    until_receivers_wait(tx, 3);
    rx.close();
    EXPECT_TRUE(is_closed(mine.get(), CloseKind::handle_closed));
    EXPECT_TRUE(is_closed(my_batch.get(), CloseKind::handle_closed));
    EXPECT_TRUE(is_closed(my_closed.get(), CloseKind::handle_closed));
    EXPECT_FALSE(other.is_done());
    EXPECT_EQ(tx.stats().waiting_receivers, 1U);
    EXPECT_TRUE(tx.try_send(1));
    EXPECT_EQ(other.get(), 1);
  });
}

TEST_P(Closing, a_sender_wakes_its_own_waits_and_no_others) {
  for_each_capacity({0, 1, 3}, [](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    auto tx2 = tx.clone();
    const int filled = static_cast<int>(fill(tx));
    auto mine = send(tx, -1);
    auto my_batch = send_batch(tx, {-2});
    auto my_closed = closed(tx);
    until_senders_wait(tx, 2);
    auto other = send(tx2, filled);
    until_senders_wait(tx, 3);
    tx.close();
    EXPECT_TRUE(is_closed(mine.get(), CloseKind::handle_closed));
    EXPECT_TRUE(is_closed(my_batch.get(), CloseKind::handle_closed));
    EXPECT_TRUE(is_closed(my_closed.get(), CloseKind::handle_closed));
    EXPECT_FALSE(other.is_done());
    for (int i = 0; i <= filled; ++i) EXPECT_EQ(rx.try_recv(), i);  // nothing of theirs was sent
    EXPECT_TRUE(other.get());
    EXPECT_TRUE(is_empty(rx.try_recv()));
  });
}

TEST_P(Closing, a_large_batch_that_goes_with_its_handle_lets_the_next_sender_in) {
  auto [tx, rx] = open<int>(3);
  auto tx2 = tx.clone();
  EXPECT_TRUE(tx.try_send(0));
  auto batch = send_batch(tx, {-1, -2, -3});
  until_senders_wait(tx, 1);
  auto single = send(tx2, 1);
  until_senders_wait(tx, 2);
  tx.close();
  EXPECT_TRUE(is_closed(batch.get(), CloseKind::handle_closed));
  EXPECT_TRUE(single.get());
  EXPECT_EQ(rx.try_recv_batch(9), (std::vector{0, 1}));
}

TEST_P(Closing, the_last_receivers_own_waits_end_as_handle_closed) {
  auto [tx, rx] = open<int>(1);
  auto mine = recv(rx);
  until_receivers_wait(tx, 1);
  rx.close();
  EXPECT_TRUE(is_closed(mine.get(), CloseKind::handle_closed));
}

TEST_P(Closing, a_handle_may_be_moved_while_operations_on_it_wait) {
  auto [tx, rx] = open<int>(1);
  auto received = recv(rx);
  until_receivers_wait(tx, 1);
  auto moved = std::move(rx);
  EXPECT_TRUE(tx.try_send(1));
  EXPECT_EQ(received.get(), 1);
}

// --- rule 6: what an end is called ---

TEST_P(Closing, with_a_reason_receivers_drain_and_then_hear_it) {
  for_each_capacity({1, 3, 100}, [](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    EXPECT_TRUE(tx.try_send(1));
    tx.close("disk full");
    EXPECT_EQ(recv(rx).get(), 1);
    const auto end = recv(rx).get();
    ASSERT_TRUE(is_closed(end, CloseKind::peer_died));
    EXPECT_EQ(end.error().reason, "disk full");
    EXPECT_EQ(message(end.error()), "disk full");
    const auto tried = rx.try_recv();
    ASSERT_TRUE(is_closed(tried, CloseKind::peer_died));
    EXPECT_EQ(std::get<ChannelClosed>(tried.error()).reason, "disk full");
  });
}

TEST_P(Closing, with_a_reason_wakes_a_waiting_receiver_with_it) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    auto waiting = recv(rx);
    until_receivers_wait(tx, 1);
    tx.close("disk full");
    const auto end = waiting.get();
    ASSERT_TRUE(is_closed(end, CloseKind::peer_died));
    EXPECT_EQ(end.error().reason, "disk full");
  });
}

TEST_P(Closing, the_first_reason_of_several_senders_is_told_at_the_end_of_the_last) {
  auto [tx, rx] = open<int>(3);
  auto tx2 = tx.clone();
  auto tx3 = tx.clone();
  tx.close("first");
  EXPECT_TRUE(is_empty(rx.try_recv()));  // others still send
  EXPECT_TRUE(tx2.try_send(1));
  tx2.close("second");
  tx3.close();
  EXPECT_EQ(rx.try_recv(), 1);
  const auto end = recv(rx).get();
  ASSERT_TRUE(is_closed(end, CloseKind::peer_died));
  EXPECT_EQ(end.error().reason, "first");
}

TEST_P(Closing, of_the_last_receiver_with_a_reason_tells_the_senders) {
  auto [tx, rx] = open<int>(0);
  auto waiting = send(tx, 1);
  until_senders_wait(tx, 1);
  rx.close("no more appetite");
  const auto end = waiting.get();
  ASSERT_TRUE(is_closed(end, CloseKind::peer_gone));
  EXPECT_EQ(end.error().reason, "no more appetite");
}

TEST_P(Closing, ones_own_closed_handle_has_no_reason_of_others) {
  auto [tx, rx] = open<int>(1);
  auto rx2 = rx.clone();
  rx.close();
  tx.close("died");
  const auto own = recv(rx).get();
  ASSERT_TRUE(is_closed(own, CloseKind::handle_closed));
  EXPECT_EQ(own.error().reason, std::nullopt);
  EXPECT_TRUE(is_closed(rx2.try_recv(), CloseKind::peer_died));
}

TEST_P(Closing, iteration_ends_quietly_on_an_orderly_end) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    std::jthread producer([tx = std::move(tx)]() mutable {
      for (int i = 0; i < 200; ++i) ASSERT_TRUE(tx.blocking_send(i));
    });
    std::vector<int> got;
    for (const int value : rx) got.push_back(value);
    EXPECT_EQ(got.size(), 200U);
    EXPECT_TRUE(std::is_sorted(got.begin(), got.end()));
  });
}

TEST_P(Closing, iteration_over_an_ended_channel_runs_no_round) {
  auto [tx, rx] = open<int>(1);
  tx.close();
  for ([[maybe_unused]] const int value : rx) FAIL();
}

TEST_P(Closing, iteration_over_ones_own_closed_handle_ends_quietly) {
  auto [tx, rx] = open<int>(1);
  EXPECT_TRUE(tx.try_send(1));
  rx.close();
  for ([[maybe_unused]] const int value : rx) FAIL();
}

TEST_P(Closing, iteration_throws_when_a_sender_closed_with_a_reason) {
  auto [tx, rx] = open<int>(3);
  EXPECT_EQ(fill(tx), 3U);
  tx.close("disk full");
  std::vector<int> got;
  try {
    for (const int value : rx) got.push_back(value);
    FAIL() << "ended quietly";
  } catch (const klaw::ChannelClosedError& e) {
    EXPECT_EQ(e.error().kind, CloseKind::peer_died);
    EXPECT_STREQ(e.what(), "disk full");
  }
  EXPECT_EQ(got, (std::vector{0, 1, 2}));
}

TEST_P(Closing, iteration_gives_each_value_to_move_from) {
  auto [tx, rx] = open<std::unique_ptr<int>>(3);
  EXPECT_TRUE(tx.try_send(std::make_unique<int>(1)));
  EXPECT_TRUE(tx.try_send(std::make_unique<int>(2)));
  tx.close();
  int sum = 0;
  for (std::unique_ptr<int> value : rx) sum += *value;
  EXPECT_EQ(sum, 3);
}

// --- closed() ---

TEST_P(Closing, a_sender_can_wait_until_no_receiver_is_left) {
  auto [tx, rx] = open<int>(1);
  auto rx2 = rx.clone();
  auto gone = closed(tx);
  rx.close();
  EXPECT_FALSE(gone.is_done());
  rx2.close();
  EXPECT_TRUE(gone.get());
  EXPECT_TRUE(closed(tx).get());
}

TEST_P(Closing, a_receiver_can_wait_until_no_sender_is_left) {
  auto [tx, rx] = open<int>(1);
  EXPECT_TRUE(tx.try_send(1));
  auto gone = closed(rx);
  EXPECT_FALSE(gone.is_done());
  tx.close();
  EXPECT_TRUE(gone.get());  // also with messages to drain
  EXPECT_FALSE(rx.is_closed());
  EXPECT_EQ(rx.try_recv(), 1);
  EXPECT_TRUE(rx.is_closed());
}

TEST_P(Closing, many_can_wait_for_the_other_side_to_go) {
  auto [tx, rx] = open<int>(1);
  auto tx2 = tx.clone();
  auto a = closed(tx);
  auto b = closed(tx);
  auto c = closed(tx2);
  rx.close();
  EXPECT_TRUE(a.get());
  EXPECT_TRUE(b.get());
  EXPECT_TRUE(c.get());
}

}  // namespace
