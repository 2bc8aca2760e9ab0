// Sending and receiving: the whole matrix {try, wait} x {one, many} over every capacity; sizes; statistics.
#include <chrono>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "support/payload.hpp"
#include "support/setups.hpp"
#include "support/threads.hpp"

namespace {

using namespace klaw_test;
using namespace std::chrono_literals;

class Basics : public Conformance {};
INSTANTIATE_TEST_SUITE_P(, Basics, all_setups(), setup_name);

TEST_P(Basics, a_value_goes_in_and_comes_out) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<std::string>(capacity);
    auto received = recv(rx);
    auto sent = send(tx, "hello");
    EXPECT_EQ(received.get(), "hello");
    EXPECT_TRUE(sent.get());
  });
}

TEST_P(Basics, a_waiting_receiver_is_woken_by_a_try_send) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    auto received = recv(rx);
    until_receivers_wait(tx, 1);
    EXPECT_FALSE(received.is_done());
    EXPECT_TRUE(tx.try_send(7));
    EXPECT_EQ(received.get(), 7);
    EXPECT_EQ(tx.stats().waiting_receivers, 0U);
  });
}

TEST_P(Basics, a_waiting_sender_is_woken_by_a_try_recv) {
  for_each_capacity({0, 1, 3, 100}, [](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    const int filled = static_cast<int>(fill(tx));
    auto sent = send(tx, filled);
    until_senders_wait(tx, 1);
    EXPECT_FALSE(sent.is_done());
    EXPECT_EQ(rx.try_recv(), 0);
    EXPECT_TRUE(sent.get());
    for (int i = 1; i <= filled; ++i) EXPECT_EQ(rx.try_recv(), i);
    EXPECT_TRUE(is_empty(rx.try_recv()));
    EXPECT_EQ(tx.stats().waiting_senders, 0U);
  });
}

TEST_P(Basics, a_channel_holds_its_capacity_and_no_more) {
  for_each_capacity({0, 1, 3, 100}, [](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    EXPECT_EQ(tx.capacity(), capacity);
    EXPECT_EQ(rx.capacity(), capacity);
    EXPECT_EQ(fill(tx), *capacity);
    EXPECT_EQ(rx.size(), *capacity);
    const auto more = tx.try_send(-1);
    ASSERT_TRUE(is_full(more));
    EXPECT_EQ(std::get<ChannelFull>(more.error()).capacity, *capacity);
    if (*capacity == 0) return;
    EXPECT_EQ(rx.try_recv(), 0);
    EXPECT_EQ(rx.size(), *capacity - 1);
    EXPECT_TRUE(tx.try_send(-1));
    EXPECT_TRUE(is_full(tx.try_send(-2)));
  });
}

TEST_P(Basics, an_unbounded_channel_never_makes_a_sender_wait) {
  auto [tx, rx] = open<int>(std::nullopt);
  EXPECT_EQ(tx.capacity(), std::nullopt);
  for (int i = 0; i < 100'000; ++i) ASSERT_TRUE(tx.try_send(i));
  EXPECT_EQ(rx.size(), 100'000U);
  for (int i = 0; i < 100'000; ++i) ASSERT_EQ(rx.try_recv(), i);
  EXPECT_TRUE(is_empty(rx.try_recv()));
  EXPECT_TRUE(tx.try_send(1));
  EXPECT_EQ(rx.try_recv(), 1);
}

TEST_P(Basics, an_empty_channel_has_nothing_to_try) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    EXPECT_TRUE(is_empty(rx.try_recv()));
    EXPECT_TRUE(is_empty(rx.try_recv_batch(5)));
    EXPECT_EQ(rx.size(), 0U);
  });
}

TEST_P(Basics, a_rendezvous_send_ends_when_a_receiver_takes_it) {
  auto [tx, rx] = open<int>(0);
  EXPECT_TRUE(is_full(tx.try_send(1)));
  auto sent = send(tx, 2);
  until_senders_wait(tx, 1);
  EXPECT_EQ(rx.size(), 0U);
  EXPECT_EQ(rx.try_recv(), 2);
  EXPECT_TRUE(sent.get());
}

TEST_P(Basics, a_failed_send_leaves_its_argument_unmoved) {
  for_each_capacity({0, 1, 3, 100}, [](Capacity capacity) {
    const std::string text = "long enough to live on the heap, so that a move would empty it";
    auto [tx, rx] = open<std::string>(capacity);
    for (std::size_t i = 0; i < *capacity; ++i) ASSERT_TRUE(tx.try_send(text));
    std::string mine = text;
    EXPECT_TRUE(is_full(tx.try_send(std::move(mine))));
    EXPECT_EQ(mine, text);  // NOLINT(bugprone-use-after-move): what is tested, here and below
    EXPECT_TRUE(is_full(give_for(tx, mine, 1ms).get()));
    EXPECT_EQ(mine, text);
    std::vector<std::string> many(1, text);
    EXPECT_TRUE(is_full(tx.try_send_batch(std::move(many))));
    EXPECT_EQ(many, std::vector(1, text));

    auto waiting = give(tx, mine);
    until_senders_wait(tx, 1);
    auto waiting_batch = give_batch(tx, many);
    until_senders_wait(tx, 2);
    rx.close();
    EXPECT_TRUE(is_closed(waiting.get(), CloseKind::peer_gone));
    EXPECT_EQ(mine, text);
    EXPECT_TRUE(is_closed(waiting_batch.get(), CloseKind::peer_gone));
    EXPECT_EQ(many, std::vector(1, text));
    EXPECT_TRUE(is_closed(tx.try_send(std::move(mine)), CloseKind::peer_gone));
    EXPECT_EQ(mine, text);
    EXPECT_TRUE(is_closed(give(tx, mine).get(), CloseKind::peer_gone));
    EXPECT_EQ(mine, text);
  });
}

TEST_P(Basics, a_send_that_succeeds_moves_an_rvalue_and_copies_an_lvalue) {
  auto [tx, rx] = open<std::string>(10);
  std::string text(100, 'x');
  EXPECT_TRUE(tx.try_send(text));
  EXPECT_EQ(text.size(), 100U);
  EXPECT_TRUE(tx.blocking_send(text));
  EXPECT_EQ(text.size(), 100U);
  EXPECT_TRUE(tx.blocking_send_for(text, kLong));
  EXPECT_EQ(text.size(), 100U);
  EXPECT_TRUE(give(tx, text).get());
  EXPECT_TRUE(text.empty());
  EXPECT_EQ(rx.size(), 4U);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(rx.try_recv(), std::string(100, 'x'));
}

TEST_P(Basics, values_that_can_only_be_moved_travel_every_way) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<std::unique_ptr<int>>(capacity);
    for (int i = 0; i < 5; ++i) {
      auto received = recv(rx);
      auto sent = send(tx, std::make_unique<int>(i));
      EXPECT_EQ(*received.get().value(), i);
      EXPECT_TRUE(sent.get());
    }
  });
}

TEST_P(Basics, a_copy_that_throws_leaves_the_channel_as_it_was) {
  auto [tx, rx] = open<ThrowsOnCopy>(2);
  const ThrowsOnCopy value(1);
  EXPECT_THROW((void)tx.try_send(value), std::runtime_error);
  EXPECT_THROW((void)tx.blocking_send(value), std::runtime_error);
  EXPECT_THROW((void)tx.blocking_send_for(value, kLong), std::runtime_error);
  EXPECT_THROW(tx.with_real([&](auto& sender) { (void)sender.send(value); }), std::runtime_error);
  EXPECT_EQ(rx.size(), 0U);
  EXPECT_EQ(tx.stats().total_sent, 0U);
  EXPECT_TRUE(tx.try_send(ThrowsOnCopy(2)));
  EXPECT_EQ(rx.try_recv()->value, 2);
}

TEST_P(Basics, one_handle_serves_several_threads_at_once) {
  auto [tx, rx] = open<int>(3);
  Collected<int> got;
  run_together(4, [&](std::size_t i) {
    for (int k = 0; k < 500; ++k) {
      if (i < 2) {
        EXPECT_TRUE(tx.blocking_send(k));
      } else {
        got.add(*rx.blocking_recv());
      }
    }
  });
  const auto values = got.values();
  EXPECT_EQ(values.size(), 1000U);
  EXPECT_EQ(std::accumulate(values.begin(), values.end(), 0), 2 * (499 * 500 / 2));
}

TEST_P(Basics, after_a_send_in_each_thread_a_try_recv_in_each_succeeds) {
  auto [tx, rx] = open<int>(4);  // linearizable: what was sent is there for all to see
  run_together(4, [&](std::size_t) {
    for (int k = 0; k < 5000; ++k) {
      ASSERT_TRUE(tx.try_send(k));
      ASSERT_TRUE(rx.try_recv());
    }
  });
}

TEST_P(Basics, a_send_may_await_a_receive_from_another_channel) {
  // crossbeam's "recv inside send": the value to send is itself received.
  auto [tx, rx] = open<int>(1);
  auto [tx2, rx2] = open<int>(1);
  EXPECT_TRUE(tx.try_send(5));
  EXPECT_TRUE(send(tx2, *recv(rx).get()).get());
  EXPECT_EQ(rx2.try_recv(), 5);
}

TEST_P(Basics, a_channel_travels_through_a_channel) {
  using Inner = SomeReceiver<int>;
  for_each_capacity([](Capacity capacity) {
    auto [outer_tx, outer_rx] = open<Inner>(capacity);
    auto [inner_tx, inner_rx] = open<int>(capacity);
    auto received = recv(outer_rx);
    auto sent_inner = send(outer_tx, std::move(inner_rx));
    Inner arrived = *received.get();
    EXPECT_TRUE(sent_inner.get());
    auto value = recv(arrived);
    auto sent = send(inner_tx, 42);
    EXPECT_EQ(value.get(), 42);
    EXPECT_TRUE(sent.get());
    EXPECT_FALSE(inner_tx.is_closed());
  });
}

TEST_P(Basics, a_request_carries_the_sender_for_its_reply) {
  using Reply = SomeSender<int>;
  struct Request {
    int x;
    Reply reply;
  };
  auto [tx, rx] = open<Request>(1);
  auto [reply_tx, reply_rx] = open<int>(1);
  auto answer = recv(reply_rx);
  EXPECT_TRUE(tx.try_send(Request{20, std::move(reply_tx)}));
  {
    auto request = rx.try_recv();
    EXPECT_TRUE(request->reply.try_send(request->x + 1));
  }
  EXPECT_EQ(answer.get(), 21);
  EXPECT_TRUE(is_closed(recv(reply_rx).get(), CloseKind::ended));
}

// Go's sieve: a chain of filters, each with a channel in and a channel out.
TEST_P(Basics, a_chain_of_filters_finds_the_primes) {
  using Tx = SomeSender<int>;
  using Rx = SomeReceiver<int>;
  for_each_capacity({0, 1, 3}, [](Capacity capacity) {
    std::vector<std::jthread> threads;
    std::vector<int> primes;
    auto first = open<int>(capacity);
    threads.emplace_back([tx = std::move(first.tx)]() mutable {
      for (int i = 2; tx.blocking_send(i); ++i) {
      }
    });
    Rx in = std::move(first.rx);
    for (int k = 0; k < 20; ++k) {
      const int prime = *in.blocking_recv();
      primes.push_back(prime);
      auto next = open<int>(capacity);
      threads.emplace_back([rx = std::move(in), tx = Tx(std::move(next.tx)), prime]() mutable {
        while (auto i = rx.blocking_recv()) {
          if (*i % prime != 0 && !tx.blocking_send(*i)) return;
        }
      });
      in = std::move(next.rx);
    }
    in.close();
    EXPECT_EQ(primes, (std::vector{2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71}));
  });
}

TEST_P(Basics, statistics_count_what_happened) {
  auto [tx, rx] = open<int>(3);
  const auto now = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  auto fresh = tx.stats();
  EXPECT_EQ(fresh.sender_count, 1U);
  EXPECT_EQ(fresh.receiver_count, 1U);
  EXPECT_EQ(fresh.capacity, 3U);
  EXPECT_FALSE(fresh.senders_closed);
  EXPECT_FALSE(fresh.receivers_closed);
  EXPECT_LT(std::abs(fresh.created_at - now), 3600.0);
  EXPECT_EQ(fresh.high_watermark, 0U);

  EXPECT_EQ(fill(tx), 3U);
  EXPECT_EQ(rx.try_recv_batch(2)->size(), 2U);
  auto tx2 = tx.clone();
  auto rx2 = rx.clone();
  auto rx3 = rx.clone();
  auto used = rx.stats();
  EXPECT_EQ(used.sender_count, 2U);
  EXPECT_EQ(used.receiver_count, 3U);
  EXPECT_EQ(used.queue_size, 1U);
  EXPECT_EQ(used.high_watermark, 3U);
  EXPECT_EQ(used.total_sent, 3U);
  EXPECT_EQ(used.total_received, 2U);
  EXPECT_EQ(used.in_flight, 0U);
  EXPECT_EQ(used.created_at, fresh.created_at);

  tx.close();
  tx2.close();
  EXPECT_TRUE(rx.stats().senders_closed);
  EXPECT_FALSE(rx.stats().receivers_closed);
  for (auto* r : {&rx, &rx2, &rx3}) r->close();
  EXPECT_TRUE(tx.stats().receivers_closed);
  EXPECT_EQ(tx.stats().queue_size, 0U);
}

TEST_P(Basics, statistics_of_an_unbounded_channel_have_no_capacity) {
  auto [tx, rx] = open<int>(std::nullopt);
  EXPECT_EQ(tx.stats().capacity, std::nullopt);
}

TEST_P(Basics, statistics_count_messages_that_went_from_hand_to_hand) {
  auto [tx, rx] = open<int>(0);
  auto received = recv(rx);
  until_receivers_wait(tx, 1);
  EXPECT_TRUE(tx.try_send(1));
  EXPECT_EQ(received.get(), 1);
  EXPECT_EQ(tx.stats().total_sent, 1U);
  EXPECT_EQ(tx.stats().total_received, 1U);
  EXPECT_EQ(tx.stats().queue_size, 0U);
}

}  // namespace
