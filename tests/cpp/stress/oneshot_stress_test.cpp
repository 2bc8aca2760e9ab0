// Oneshot channels whose handles race in several threads: each value comes out once, and each wait ends.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <random>
#include <utility>
#include <variant>

#include <gtest/gtest.h>
#include <klaw/channels/oneshot.hpp>

#include "support/coroutine.hpp"
#include "support/payload.hpp"
#include "support/scale.hpp"
#include "support/threads.hpp"
#include "support/ways.hpp"

namespace {

using namespace klaw_test;
using klaw::channels::oneshot;

TEST(OneshotStress, of_all_that_send_and_receive_at_once_one_each_succeeds) {
  for (std::size_t round = 0; round < scaled(4'000); ++round) {
    auto [tx, rx] = oneshot<std::size_t>();
    std::atomic<int> sent = 0;
    std::atomic<int> received = 0;
    std::atomic<int> consumed = 0;
    Crew crew(4);
    for (std::size_t who = 0; who < 2; ++who) {
      crew.add([&, &t = tx, who] { sent += t.send(std::size_t{who}) ? 1 : 0; });
      crew.add([&, &r = rx] {
        const auto got = r.blocking_recv();
        received += got ? 1 : 0;
        consumed += !got && got.error().reason == "already consumed" ? 1 : 0;
      });
    }
    crew.join();
    ASSERT_EQ(sent, 1);
    ASSERT_EQ(received, 1);
    ASSERT_EQ(consumed, 1);
  }
}

TEST(OneshotStress, a_value_is_received_or_dropped_or_never_sent) {
  const std::size_t rounds = scaled(10'000);
  Ledger ledger(rounds);
  for (std::size_t round = 0; round < rounds; ++round) {
    auto [tx, rx] = oneshot<Tracked>();
    bool is_sent = false;
    bool is_received = false;
    Crew crew(2);
    crew.add([&, tx = std::move(tx)]() mutable { is_sent = tx.send(Tracked(ledger, round)).has_value(); });
    crew.add([&, rx = std::move(rx)]() mutable {
      std::mt19937 random(static_cast<std::uint32_t>(round));
      is_received = rx.blocking_recv_for(std::chrono::nanoseconds(random() % 20'000)).has_value();
    });
    crew.join();
    ASSERT_TRUE(is_sent || !is_received);
  }
  EXPECT_TRUE(ledger.each_destroyed_once());
}

TEST(OneshotStress, a_coroutine_is_resumed_by_whichever_thread_sends_or_closes) {
  for (std::size_t round = 0; round < scaled(4'000); ++round) {
    auto [tx, rx] = oneshot<std::size_t>();
    Crew crew(2);
    Outcome<bool> ended;
    crew.add([&ended, rx = std::move(rx)]() mutable {
      [](auto mine, Outcome<bool>& told) -> Detached {
        const auto got = co_await mine.recv();
        told.set(got.has_value());
      }(std::move(rx), ended);
    });
    crew.add([tx = std::move(tx), round]() mutable {
      if (round % 2 == 0) {
        EXPECT_TRUE(tx.send(std::size_t{round}));
      }
    });
    ASSERT_EQ(ended.take(), round % 2 == 0);
  }
}

}  // namespace
