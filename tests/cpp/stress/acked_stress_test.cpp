// Deliveries that are acknowledged, given back, delayed and dropped in eight threads: each message is done with once.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <random>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "support/flavours.hpp"
#include "support/scale.hpp"
#include "support/threads.hpp"
#include "support/ways.hpp"

namespace {

using namespace klaw_test;
using namespace std::chrono_literals;

TEST(AckedStress, every_message_is_acknowledged_once_however_often_it_came_back) {
  for (const Capacity capacity : {Capacity(0), Capacity(1), Capacity(100), Capacity()}) {
    SCOPED_TRACE(to_string(capacity));
    const std::size_t each = scaled(5'000);
    std::vector<std::atomic<int>> acknowledged(4 * each);
    std::atomic<std::uint64_t> came_back = 0;
    klaw::channels::ChannelStats stats;
    {
      auto [tx, rx] = Local::open<std::size_t>(capacity);
      const auto watch = rx.clone();
      Crew crew(8);
      for (std::size_t who = 0; who < 4; ++who) {
        crew.add([tx = tx.clone(), who, each]() mutable {
          for (std::size_t i = 0; i < each; ++i) ASSERT_TRUE(tx.blocking_send(who * each + i));
        });
      }
      for (unsigned i = 0; i < 4; ++i) {
        crew.add([&, rx = rx.clone(), i]() mutable {
          std::mt19937 random(i);
          std::vector<Delivery<std::size_t>> kept;
          for (;;) {
            // Two that hold deliveries while they wait for the end would wait for each other.
            auto got = rx.blocking_recv_acked_for(1ms);
            if (!got && std::holds_alternative<ChannelClosed>(got.error())) break;
            if (!got) {
              kept.clear();
              continue;
            }
            if (got->redelivered()) ++came_back;
            switch (random() % 8) {
              case 0: got->nack(); break;
              case 1: got->nack(std::chrono::microseconds(random() % 500)); break;
              case 2: break;  // dropped
              case 3: kept.push_back(*std::move(got)); break;
              default: ++acknowledged[got->value()]; got->ack();
            }
            if (kept.size() > 3) kept.clear();
          }
          // Our own do not hold our end back; then they are ours to work on.
          for (auto& delivery : kept) {
            ++acknowledged[delivery.value()];
            delivery.ack();
          }
        });
      }
      tx.close();
      rx.close();
      crew.join();
      stats = watch.stats();
    }
    for (const auto& times : acknowledged) ASSERT_EQ(times.load(), 1);
    EXPECT_EQ(stats.redelivered, came_back);
    EXPECT_EQ(stats.total_received, 4 * each);
    EXPECT_EQ(stats.in_flight, 0U);
    EXPECT_EQ(stats.queue_size, 0U);
  }
}

TEST(AckedStress, a_delivery_that_comes_back_races_with_the_last_receiver_and_a_shutdown) {
  const std::size_t rounds = scaled(5'000);
  for (std::size_t round = 0; round < rounds; ++round) {
    auto [tx, rx] = Local::open<int>(2);
    ASSERT_TRUE(tx.try_send(1));
    ASSERT_TRUE(tx.try_send(2));
    auto one = rx.try_recv_acked();
    auto two = rx.try_recv_acked();
    Crew crew(4);
    crew.add([&] { one->nack(); });
    crew.add([&] { two->nack(1us); });
    crew.add([&] { tx.close(); });
    crew.add([&] {
      if (round % 2 == 0) {
        (void)rx.shutdown(true);
      } else {
        rx.close();
      }
    });
    crew.join();
    ASSERT_TRUE(rx.is_closed());
    ASSERT_EQ(rx.stats().queue_size, 0U);
  }
}

}  // namespace
