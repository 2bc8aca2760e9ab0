// Permits that are held, sent, released, cancelled and outlived, in eight threads.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "support/coroutine.hpp"
#include "support/flavours.hpp"
#include "support/scale.hpp"
#include "support/tally.hpp"
#include "support/threads.hpp"
#include "support/ways.hpp"

namespace {

using namespace klaw_test;

using Tx = klaw::channels::LocalSender<Message>;

std::chrono::nanoseconds tiny_limit(std::mt19937& random) { return std::chrono::nanoseconds(random() % 20'000); }

// How many are held at a time; the most so far.
class Gauge {
 public:
  void up() {
    const int now = ++held_;
    int seen = most_.load();
    while (seen < now && !most_.compare_exchange_weak(seen, now)) {
    }
  }
  void down() { --held_; }
  [[nodiscard]] int most() const { return most_.load(); }

 private:
  std::atomic<int> held_ = 0;
  std::atomic<int> most_ = 0;
};

void reserve_and_send(Tx& tx, Message message, std::mt19937& random, Gauge& gauge) {
  for (;;) {
    auto permit = tx.blocking_reserve_for(tiny_limit(random));
    if (!permit) continue;
    gauge.up();
    const bool sends = random() % 4 != 0;
    gauge.down();  // before the slot can be another's
    if (sends) {
      permit->send(message);
      return;
    }
    permit->release();
  }
}

TEST(PermitsStress, held_slots_and_messages_stay_within_the_capacity_and_nothing_is_lost) {
  for (const Capacity capacity : {Capacity(0), Capacity(1), Capacity(2), Capacity(100)}) {
    SCOPED_TRACE(to_string(capacity));
    const std::size_t each = scaled(20'000);
    Tally tally(4, each);
    Gauge gauge;
    std::size_t watermark = 0;
    {
      auto [tx, rx] = Local::open<Message>(capacity);
      const auto watch = rx.clone();
      Crew crew(8);
      for (std::uint32_t who = 0; who < 4; ++who) {
        crew.add([tx = tx.clone(), who, each, &gauge]() mutable {
          std::mt19937 random(who);
          for (std::uint32_t seq = 0; seq < each; ++seq) {
            if (who == 0) {
              ASSERT_TRUE(tx.blocking_send(Message{who, seq}));
            } else {
              reserve_and_send(tx, Message{who, seq}, random, gauge);
            }
          }
        });
      }
      for (std::uint32_t i = 0; i < 4; ++i) {
        crew.add([rx = rx.clone(), &tally, i]() mutable {
          std::mt19937 random(100 + i);
          Tally::Receiver mine(tally);
          for (;;) {
            // Long enough that a reserve on a rendezvous finds somebody who waits.
            const auto got = rx.blocking_recv_for(10 * tiny_limit(random));
            if (got) {
              mine.note(*got);
            } else if (std::holds_alternative<ChannelClosed>(got.error())) {
              return;
            }
          }
        });
      }
      tx.close();
      rx.close();
      crew.join();
      watermark = watch.stats().high_watermark;
    }
    tally.expect_each_once_and_in_order();
    if (*capacity > 0) {
      EXPECT_LE(gauge.most(), static_cast<int>(*capacity));
      EXPECT_LE(watermark, *capacity);
    }
  }
}

TEST(PermitsStress, a_permit_that_outlives_its_sender_holds_the_end_back) {
  const std::size_t rounds = scaled(5'000);
  for (std::size_t round = 0; round < rounds; ++round) {
    auto [tx, rx] = Local::open<int>(2);
    std::vector<int> got;
    std::optional<CloseKind> end;
    std::optional<Permit<int>> permit = *tx.try_reserve();
    std::optional<Permit<int>> other = *tx.try_reserve();
    Crew crew(4);
    crew.add([&] { tx.close(); });
    crew.add([&] { permit->send(1); });
    crew.add([&] { other.reset(); });
    crew.add([&] {
      for (;;) {
        auto next = rx.blocking_recv();
        if (!next) {
          end = next.error().kind;
          return;
        }
        got.push_back(*next);
      }
    });
    crew.join();
    ASSERT_EQ(got, std::vector{1});
    ASSERT_EQ(end, CloseKind::ended);
  }
}

TEST(PermitsStress, permits_race_with_the_last_receiver) {
  const std::size_t rounds = scaled(5'000);
  for (std::size_t round = 0; round < rounds; ++round) {
    auto [tx, rx] = Local::open<int>(round % 3);
    Crew crew(4);
    for (int i = 0; i < 3; ++i) {
      crew.add([&, tx = tx.clone()]() mutable {
        while (auto permit = tx.blocking_reserve()) permit->send(1);
      });
    }
    crew.add([&] {
      for (int i = 0; i < 5; ++i) ASSERT_EQ(rx.blocking_recv(), 1);
      rx.close();
    });
    crew.join();
    ASSERT_TRUE(is_closed(tx.try_reserve(), CloseKind::peer_gone));
    ASSERT_EQ(tx.stats().queue_size, 0U);
  }
}

}  // namespace
