// Sending and receiving: the whole matrix {try, wait} x {one, many} over every capacity; sizes; statistics.
#include <chrono>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "support/payload.hpp"
#include "support/threads.hpp"
#include "support/ways.hpp"

namespace {

using namespace klaw_test;
using namespace std::chrono_literals;

template <class S>
class Basics : public ::testing::Test {};
TYPED_TEST_SUITE(Basics, Setups, SetupNames);

TYPED_TEST(Basics, a_value_goes_in_and_comes_out) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<TypeParam, std::string>(capacity);
    auto received = TypeParam::recv(rx);
    auto sent = TypeParam::send(tx, "hello");
    EXPECT_EQ(received.get(), "hello");
    EXPECT_TRUE(sent.get());
  });
}

TYPED_TEST(Basics, a_waiting_receiver_is_woken_by_a_try_send) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<TypeParam, int>(capacity);
    auto received = TypeParam::recv(rx);
    until_receivers_wait(tx, 1);
    EXPECT_FALSE(received.is_done());
    EXPECT_TRUE(tx.try_send(7));
    EXPECT_EQ(received.get(), 7);
    EXPECT_EQ(tx.stats().waiting_receivers, 0U);
  });
}

TYPED_TEST(Basics, a_waiting_sender_is_woken_by_a_try_recv) {
  for_each_capacity({0, 1, 3, 100}, [](Capacity capacity) {
    auto [tx, rx] = open<TypeParam, int>(capacity);
    const int filled = static_cast<int>(fill(tx));
    auto sent = TypeParam::send(tx, filled);
    until_senders_wait(tx, 1);
    EXPECT_FALSE(sent.is_done());
    EXPECT_EQ(rx.try_recv(), 0);
    EXPECT_TRUE(sent.get());
    for (int i = 1; i <= filled; ++i) EXPECT_EQ(rx.try_recv(), i);
    EXPECT_TRUE(is_empty(rx.try_recv()));
    EXPECT_EQ(tx.stats().waiting_senders, 0U);
  });
}

TYPED_TEST(Basics, a_channel_holds_its_capacity_and_no_more) {
  for_each_capacity({0, 1, 3, 100}, [](Capacity capacity) {
    auto [tx, rx] = open<TypeParam, int>(capacity);
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

TYPED_TEST(Basics, an_unbounded_channel_never_makes_a_sender_wait) {
  auto [tx, rx] = open<TypeParam, int>(std::nullopt);
  EXPECT_EQ(tx.capacity(), std::nullopt);
  for (int i = 0; i < 100'000; ++i) ASSERT_TRUE(tx.try_send(i));
  EXPECT_EQ(rx.size(), 100'000U);
  for (int i = 0; i < 100'000; ++i) ASSERT_EQ(rx.try_recv(), i);
  EXPECT_TRUE(is_empty(rx.try_recv()));
  EXPECT_TRUE(tx.try_send(1));
  EXPECT_EQ(rx.try_recv(), 1);
}

TYPED_TEST(Basics, an_empty_channel_has_nothing_to_try) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<TypeParam, int>(capacity);
    EXPECT_TRUE(is_empty(rx.try_recv()));
    EXPECT_TRUE(is_empty(rx.try_recv_batch(5)));
    EXPECT_EQ(rx.size(), 0U);
  });
}

TYPED_TEST(Basics, a_rendezvous_send_ends_when_a_receiver_takes_it) {
  auto [tx, rx] = open<TypeParam, int>(0);
  EXPECT_TRUE(is_full(tx.try_send(1)));
  auto sent = TypeParam::send(tx, 2);
  until_senders_wait(tx, 1);
  EXPECT_EQ(rx.size(), 0U);
  EXPECT_EQ(rx.try_recv(), 2);
  EXPECT_TRUE(sent.get());
}

TYPED_TEST(Basics, a_failed_send_leaves_its_argument_unmoved) {
  for_each_capacity({0, 1, 3, 100}, [](Capacity capacity) {
    const std::string text = "long enough to live on the heap, so that a move would empty it";
    auto [tx, rx] = open<TypeParam, std::string>(capacity);
    for (std::size_t i = 0; i < *capacity; ++i) ASSERT_TRUE(tx.try_send(text));
    std::string mine = text;
    EXPECT_TRUE(is_full(tx.try_send(std::move(mine))));
    EXPECT_EQ(mine, text);  // NOLINT(bugprone-use-after-move): what is tested, here and below
    EXPECT_TRUE(is_full(TypeParam::give_for(tx, mine, 1ms).get()));
    EXPECT_EQ(mine, text);
    std::vector<std::string> many(1, text);
    EXPECT_TRUE(is_full(tx.try_send_batch(std::move(many))));
    EXPECT_EQ(many, std::vector(1, text));

    auto waiting = TypeParam::give(tx, mine);
    until_senders_wait(tx, 1);
    auto waiting_batch = TypeParam::give_batch(tx, many);
    until_senders_wait(tx, 2);
    rx.close();
    EXPECT_TRUE(is_closed(waiting.get(), CloseKind::peer_gone));
    EXPECT_EQ(mine, text);
    EXPECT_TRUE(is_closed(waiting_batch.get(), CloseKind::peer_gone));
    EXPECT_EQ(many, std::vector(1, text));
    EXPECT_TRUE(is_closed(tx.try_send(std::move(mine)), CloseKind::peer_gone));
    EXPECT_EQ(mine, text);
    EXPECT_TRUE(is_closed(TypeParam::give(tx, mine).get(), CloseKind::peer_gone));
    EXPECT_EQ(mine, text);
  });
}

TYPED_TEST(Basics, a_send_that_succeeds_moves_an_rvalue_and_copies_an_lvalue) {
  auto [tx, rx] = open<TypeParam, std::string>(10);
  std::string text(100, 'x');
  EXPECT_TRUE(tx.try_send(text));
  EXPECT_EQ(text.size(), 100U);
  EXPECT_TRUE(tx.blocking_send(text));
  EXPECT_EQ(text.size(), 100U);
  EXPECT_TRUE(tx.blocking_send_for(text, kLong));
  EXPECT_EQ(text.size(), 100U);
  EXPECT_TRUE(TypeParam::give(tx, text).get());
  EXPECT_TRUE(text.empty());
  EXPECT_EQ(rx.size(), 4U);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(rx.try_recv(), std::string(100, 'x'));
}

TYPED_TEST(Basics, values_that_can_only_be_moved_travel_every_way) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<TypeParam, std::unique_ptr<int>>(capacity);
    for (int i = 0; i < 5; ++i) {
      auto received = TypeParam::recv(rx);
      auto sent = TypeParam::send(tx, std::make_unique<int>(i));
      EXPECT_EQ(*received.get().value(), i);
      EXPECT_TRUE(sent.get());
    }
  });
}

TYPED_TEST(Basics, a_copy_that_throws_leaves_the_channel_as_it_was) {
  auto [tx, rx] = open<TypeParam, ThrowsOnCopy>(2);
  const ThrowsOnCopy value(1);
  EXPECT_THROW((void)tx.try_send(value), std::runtime_error);
  EXPECT_THROW((void)tx.blocking_send(value), std::runtime_error);
  EXPECT_THROW((void)tx.blocking_send_for(value, kLong), std::runtime_error);
  EXPECT_THROW((void)tx.send(value), std::runtime_error);
  EXPECT_EQ(rx.size(), 0U);
  EXPECT_EQ(tx.stats().total_sent, 0U);
  EXPECT_TRUE(tx.try_send(ThrowsOnCopy(2)));
  EXPECT_EQ(rx.try_recv()->value, 2);
}

TYPED_TEST(Basics, one_handle_serves_several_threads_at_once) {
  auto [tx, rx] = open<TypeParam, int>(3);
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

TYPED_TEST(Basics, after_a_send_in_each_thread_a_try_recv_in_each_succeeds) {
  auto [tx, rx] = open<TypeParam, int>(4);  // linearizable: what was sent is there for all to see
  run_together(4, [&](std::size_t) {
    for (int k = 0; k < 5000; ++k) {
      ASSERT_TRUE(tx.try_send(k));
      ASSERT_TRUE(rx.try_recv());
    }
  });
}

TYPED_TEST(Basics, a_send_may_await_a_receive_from_another_channel) {
  // crossbeam's "recv inside send": the value to send is itself received.
  auto [tx, rx] = open<TypeParam, int>(1);
  auto [tx2, rx2] = open<TypeParam, int>(1);
  EXPECT_TRUE(tx.try_send(5));
  EXPECT_TRUE(TypeParam::send(tx2, *TypeParam::recv(rx).get()).get());
  EXPECT_EQ(rx2.try_recv(), 5);
}

TYPED_TEST(Basics, a_channel_travels_through_a_channel) {
  using Inner = typename TypeParam::Flavour::template Receiver<int>;
  for_each_capacity([](Capacity capacity) {
    auto [outer_tx, outer_rx] = open<TypeParam, Inner>(capacity);
    auto [inner_tx, inner_rx] = open<TypeParam, int>(capacity);
    auto received = TypeParam::recv(outer_rx);
    auto sent_inner = TypeParam::send(outer_tx, std::move(inner_rx));
    Inner arrived = *received.get();
    EXPECT_TRUE(sent_inner.get());
    auto value = TypeParam::recv(arrived);
    auto sent = TypeParam::send(inner_tx, 42);
    EXPECT_EQ(value.get(), 42);
    EXPECT_TRUE(sent.get());
    EXPECT_FALSE(inner_tx.is_closed());
  });
}

TYPED_TEST(Basics, a_request_carries_the_sender_for_its_reply) {
  using Reply = typename TypeParam::Flavour::template Sender<int>;
  struct Request {
    int x;
    Reply reply;
  };
  auto [tx, rx] = open<TypeParam, Request>(1);
  auto [reply_tx, reply_rx] = open<TypeParam, int>(1);
  auto answer = TypeParam::recv(reply_rx);
  EXPECT_TRUE(tx.try_send(Request{20, std::move(reply_tx)}));
  {
    auto request = rx.try_recv();
    EXPECT_TRUE(request->reply.try_send(request->x + 1));
  }
  EXPECT_EQ(answer.get(), 21);
  EXPECT_TRUE(is_closed(TypeParam::recv(reply_rx).get(), CloseKind::ended));
}

// Go's sieve: a chain of filters, each with a channel in and a channel out.
TYPED_TEST(Basics, a_chain_of_filters_finds_the_primes) {
  using Tx = typename TypeParam::Flavour::template Sender<int>;
  using Rx = typename TypeParam::Flavour::template Receiver<int>;
  for_each_capacity({0, 1, 3}, [](Capacity capacity) {
    std::vector<std::jthread> threads;
    std::vector<int> primes;
    auto first = open<TypeParam, int>(capacity);
    threads.emplace_back([tx = std::move(first.tx)]() mutable {
      for (int i = 2; tx.blocking_send(i); ++i) {
      }
    });
    Rx in = std::move(first.rx);
    for (int k = 0; k < 20; ++k) {
      const int prime = *in.blocking_recv();
      primes.push_back(prime);
      auto next = open<TypeParam, int>(capacity);
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

TYPED_TEST(Basics, statistics_count_what_happened) {
  auto [tx, rx] = open<TypeParam, int>(3);
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

TYPED_TEST(Basics, statistics_of_an_unbounded_channel_have_no_capacity) {
  auto [tx, rx] = open<TypeParam, int>(std::nullopt);
  EXPECT_EQ(tx.stats().capacity, std::nullopt);
}

TYPED_TEST(Basics, statistics_count_messages_that_went_from_hand_to_hand) {
  auto [tx, rx] = open<TypeParam, int>(0);
  auto received = TypeParam::recv(rx);
  until_receivers_wait(tx, 1);
  EXPECT_TRUE(tx.try_send(1));
  EXPECT_EQ(received.get(), 1);
  EXPECT_EQ(tx.stats().total_sent, 1U);
  EXPECT_EQ(tx.stats().total_received, 1U);
  EXPECT_EQ(tx.stats().queue_size, 0U);
}

}  // namespace
