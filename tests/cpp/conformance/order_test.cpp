// Rules 4 and 7: order, fairness, each message to exactly one, from any thread to any other.
#include <algorithm>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "support/setups.hpp"
#include "support/threads.hpp"

namespace {

using namespace klaw_test;

class Order : public Conformance {};
INSTANTIATE_TEST_SUITE_P(, Order, all_setups(), setup_name);

// One message {who, seq} of a sender `who`.
struct Stamp {
  int who = 0;
  int seq = 0;
};

TEST_P(Order, one_sender_to_one_receiver_is_first_in_first_out) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    std::jthread producer([tx = std::move(tx)]() mutable {
      for (int i = 0; i < 2000; ++i) ASSERT_TRUE(tx.blocking_send(i));
    });
    for (int i = 0; i < 2000; ++i) ASSERT_EQ(recv(rx).get(), i);
    EXPECT_TRUE(is_closed(recv(rx).get(), CloseKind::ended));
  });
}

TEST_P(Order, of_each_sender_holds_at_each_receiver) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<Stamp>(capacity);
    constexpr int kEach = 1000;
    Collected<Stamp> all;
    {
      Crew crew(5);
      for (int who = 0; who < 3; ++who) {
        crew.add([tx = tx.clone(), who]() mutable {
          for (int seq = 0; seq < kEach; ++seq) ASSERT_TRUE(tx.blocking_send(Stamp{who, seq}));
        });
      }
      tx.close();
      for (int i = 0; i < 2; ++i) {
        crew.add([&all, rx = rx.clone()]() mutable {
          std::vector<Stamp> mine;
          int last[3] = {-1, -1, -1};
          for (const Stamp stamp : rx) {
            ASSERT_LT(last[stamp.who], stamp.seq);
            last[stamp.who] = stamp.seq;
            mine.push_back(stamp);
          }
          all.add_all(mine);
        });
      }
    }
    const std::vector<Stamp> got = all.values();
    ASSERT_EQ(got.size(), 3U * kEach);
    std::vector<int> seen(3 * kEach);
    for (const Stamp stamp : got)
      ++seen[static_cast<std::size_t>(stamp.who) * kEach + static_cast<std::size_t>(stamp.seq)];
    EXPECT_TRUE(std::ranges::all_of(seen, [](int times) { return times == 1; }));
  });
}

TEST_P(Order, receivers_that_wait_are_served_in_order_of_arrival) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    std::vector<decltype(recv(rx))> waiting;
    for (std::size_t i = 0; i < 20; ++i) {
      waiting.push_back(recv(rx));
      until_receivers_wait(rx, i + 1);
    }
    for (std::size_t i = 0; i < 20; ++i) {
      EXPECT_TRUE(tx.try_send(static_cast<int>(i)));
      EXPECT_EQ(waiting[i].get(), static_cast<int>(i));
      EXPECT_EQ(rx.stats().waiting_receivers, 19 - i);
    }
  });
}

TEST_P(Order, senders_that_wait_are_served_in_order_of_arrival) {
  for_each_capacity({0, 1, 3}, [](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    const int filled = static_cast<int>(fill(tx));
    std::vector<decltype(send(tx, 0))> waiting;
    for (int i = 0; i < 20; ++i) {
      waiting.push_back(send(tx, filled + i));
      until_senders_wait(tx, static_cast<std::size_t>(i) + 1);
    }
    for (int i = 0; i < 20; ++i) {
      EXPECT_EQ(rx.try_recv(), i);
      EXPECT_TRUE(waiting[static_cast<std::size_t>(i)].get());
      EXPECT_EQ(tx.stats().waiting_senders, static_cast<std::size_t>(19 - i));
    }
    for (int i = 0; i < filled; ++i) EXPECT_EQ(rx.try_recv(), 20 + i);
  });
}

TEST_P(Order, a_try_does_not_pass_a_sender_that_waits) {
  for_each_capacity({0, 1, 3}, [](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    const int filled = static_cast<int>(fill(tx));
    auto first = send(tx, filled);
    until_senders_wait(tx, 1);
    EXPECT_TRUE(is_full(tx.try_send(-1)));
    EXPECT_EQ(rx.try_recv(), 0);
    if (filled != 0) {
      EXPECT_TRUE(is_full(tx.try_send(-1)));  // the slot went to the one that waited
    }
    EXPECT_TRUE(first.get());
    for (int i = 1; i <= filled; ++i) EXPECT_EQ(rx.try_recv(), i);
  });
}

TEST_P(Order, a_hundred_that_wait_get_one_message_each_in_order) {
  auto [tx, rx] = open<int>(100);
  constexpr std::size_t kCount = 100;
  std::vector<decltype(recv(rx))> waiting;
  for (std::size_t i = 0; i < kCount; ++i) {
    waiting.push_back(recv(rx));
    until_receivers_wait(rx, i + 1);
  }
  // One by one: parked threads that are woken together take in the order in which they run.
  for (std::size_t i = 0; i < kCount; ++i) {
    EXPECT_TRUE(tx.try_send(static_cast<int>(i)));
    EXPECT_EQ(waiting[i].get(), static_cast<int>(i));
  }
}

TEST_P(Order, a_message_goes_to_exactly_one_receiver) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    auto rx2 = rx.clone();
    auto a = recv(rx);
    until_receivers_wait(rx, 1);
    auto b = recv(rx2);
    until_receivers_wait(rx, 2);
    EXPECT_TRUE(tx.try_send(1));
    EXPECT_EQ(a.get(), 1);
    EXPECT_FALSE(b.is_done());
    EXPECT_EQ(rx.stats().waiting_receivers, 1U);
    tx.close();
    EXPECT_TRUE(is_closed(b.get(), CloseKind::ended));
  });
}

TEST_P(Order, no_receiver_that_waits_starves_beside_one_that_only_tries) {
  auto [tx, rx] = open<int>(1);
  auto waiting = recv(rx);
  until_receivers_wait(rx, 1);
  EXPECT_TRUE(tx.try_send(1));
  // The message is promised to the one that waited; whether or not it has run by now, nobody else gets it.
  EXPECT_TRUE(is_empty(rx.try_recv()));
  EXPECT_TRUE(is_empty(rx.try_recv_batch(3)));
  EXPECT_EQ(waiting.get(), 1);
}

TEST_P(Order, every_receiver_gets_a_share) {
  // crossbeam's fairness: two receivers in turn over a queue that both wait on.
  auto [tx, rx] = open<int>(0);
  auto rx2 = rx.clone();
  int first = 0;
  int second = 0;
  auto a = recv(rx);
  until_receivers_wait(rx, 1);
  auto b = recv(rx2);
  until_receivers_wait(rx, 2);
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(tx.try_send(i));
    if (i % 2 == 0) {
      EXPECT_EQ(a.get(), i);
      ++first;
      a = recv(rx);
    } else {
      EXPECT_EQ(b.get(), i);
      ++second;
      b = recv(rx2);
    }
    until_receivers_wait(rx, 2);
  }
  EXPECT_EQ(first, 50);
  EXPECT_EQ(second, 50);
  tx.close();
}

TEST_P(Order, a_sender_in_one_thread_wakes_a_receiver_started_in_another) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    auto received = [&] {
      std::optional<decltype(recv(rx))> started;
      std::jthread([&] { started.emplace(recv(rx)); }).join();
      return *std::move(started);
    }();
    until_receivers_wait(rx, 1);
    std::jthread([&] { EXPECT_TRUE(tx.try_send(1)); }).join();
    EXPECT_EQ(received.get(), 1);
  });
}

// How many came, 0, 1, 2... up to the end; -1 if out of order.
template <class Rx>
Task<int> count_in_order(Rx& receiver) {
  int expected = 0;
  while (auto got = co_await receiver.recv()) {
    if (*got != expected++) co_return -1;
  }
  co_return expected;
}

TEST_P(Order, a_parked_thread_and_a_coroutine_serve_each_other) {
  for_each_capacity({0, 1, 3}, [](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    constexpr int kCount = 2000;
    auto consumer = rx.with_real([](auto& receiver) { return Pending(count_in_order(receiver)); });
    std::jthread producer([&] {
      for (int i = 0; i < kCount; ++i) ASSERT_TRUE(tx.blocking_send(i));
      tx.close();
    });
    EXPECT_EQ(consumer.get(), kCount);
  });
}

}  // namespace
