// shutdown() and weak handles, racing with sends, receives, permits and closes.
#include <atomic>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "support/flavours.hpp"
#include "support/payload.hpp"
#include "support/scale.hpp"
#include "support/threads.hpp"
#include "support/ways.hpp"

namespace {

using namespace klaw_test;

TEST(ShutdownStress, wakes_whoever_is_just_going_to_wait) {
  const std::size_t rounds = scaled(3'000);
  for (std::size_t round = 0; round < rounds; ++round) {
    auto [tx, rx] = Local::open<int>(round % 2);
    fill(tx);
    Crew crew(6);
    std::atomic<int> ended = 0;
    crew.add([&] {
      while (tx.blocking_send(1)) {
      }
      ++ended;
    });
    crew.add([&] {
      while (auto permit = tx.blocking_reserve()) permit->send(1);
      ++ended;
    });
    crew.add([&] { ended += tx.blocking_closed() ? 1 : 0; });
    crew.add([&] { ended += rx.blocking_closed() ? 1 : 0; });
    crew.add([&] {
      std::optional<CloseKind> end;
      while (!end) {
        if (const auto got = rx.blocking_recv(); !got) end = got.error().kind;
      }
      ended += end == CloseKind::shutdown ? 1 : 0;
    });
    crew.add([&] { ASSERT_TRUE(rx.shutdown(round % 3 == 0)); });
    crew.join();
    ASSERT_EQ(ended, 5);
    ASSERT_EQ(rx.size(), 0U);
  }
}

TEST(ShutdownStress, what_was_sent_before_it_is_received_or_dropped_once) {
  const std::size_t rounds = scaled(1'000);
  for (std::size_t round = 0; round < rounds; ++round) {
    constexpr std::size_t kEach = 40;
    const bool immediate = round % 2 == 0;
    Ledger ledger(3 * kEach);
    std::atomic<std::size_t> sent = 0;
    std::atomic<std::size_t> received = 0;
    {
      auto [tx, rx] = Local::open<Tracked>(round % 4);
      Crew crew(6);
      for (std::size_t who = 0; who < 3; ++who) {
        crew.add([&, tx = tx.clone(), who]() mutable {
          for (std::size_t k = 0; k < kEach; ++k) {
            Tracked value(ledger, who * kEach + k);
            if (who == 0) {
              // Its value may be dropped, but not fail to be sent.
              if (auto permit = tx.blocking_reserve()) permit->send(std::move(value));
            } else if (tx.blocking_send(std::move(value))) {
              ++sent;
            }
          }
        });
      }
      for (int i = 0; i < 2; ++i) {
        crew.add([&, rx = rx.clone()]() mutable {
          while (const auto got = rx.blocking_recv()) received += got->id() >= kEach ? 1 : 0;
        });
      }
      crew.add([&] { ASSERT_TRUE(tx.shutdown(immediate)); });
    }
    ASSERT_TRUE(ledger.each_destroyed_once());
    if (immediate) {
      ASSERT_LE(received, sent);
    } else {
      ASSERT_EQ(received, sent);
    }
  }
}

TEST(WeakStress, an_upgrade_that_races_with_the_last_close_gives_an_open_handle_or_none) {
  const std::size_t rounds = scaled(20'000);
  std::size_t upgraded = 0;
  for (std::size_t round = 0; round < rounds; ++round) {
    auto [tx, rx] = Local::open<int>(1);
    const auto weak = tx.downgrade();
    std::optional<Result<int, ChannelClosed>> got;
    bool sent = false;
    Crew crew(3);
    crew.add([&] {
      if (auto strong = weak.upgrade()) sent = strong->blocking_send(1).has_value();
    });
    crew.add([&] { tx.close(); });
    crew.add([&] { got.emplace(rx.blocking_recv()); });
    crew.join();
    ASSERT_EQ(sent, got->has_value());
    ASSERT_FALSE(weak.upgrade());
    upgraded += sent ? 1 : 0;
  }
  RecordProperty("upgraded", static_cast<int>(upgraded));
}

TEST(WeakStress, receivers_come_and_go_by_weak_handles_and_nothing_is_lost) {
  const std::size_t count = scaled(50'000);
  auto [tx, rx] = Local::open<int>(16);
  const auto weak = rx.downgrade();
  std::atomic<std::size_t> received = 0;
  Crew crew(4);
  for (int i = 0; i < 3; ++i) {
    crew.add([&] {
      for (;;) {
        auto mine = weak.upgrade();
        ASSERT_TRUE(mine);
        if (!mine->blocking_recv()) return;
        ++received;
      }
    });
  }
  crew.add([&] {
    for (std::size_t i = 0; i < count; ++i) ASSERT_TRUE(tx.blocking_send(1));
    tx.close();
  });
  crew.join();
  EXPECT_EQ(received, count);
}

}  // namespace
