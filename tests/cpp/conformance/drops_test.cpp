// Each value is destroyed exactly once, and outside of the channel's lock.
#include <atomic>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "support/payload.hpp"
#include "support/setups.hpp"
#include "support/threads.hpp"

namespace {

using namespace klaw_test;

class Drops : public Conformance {};
INSTANTIATE_TEST_SUITE_P(, Drops, all_setups(), setup_name);

TEST_P(Drops, what_was_received_is_destroyed_once_by_its_receiver) {
  for_each_capacity([](Capacity capacity) {
    Ledger ledger(200);
    auto [tx, rx] = open<Tracked>(capacity);
    std::jthread producer([&] {
      for (std::size_t i = 0; i < 200; ++i) ASSERT_TRUE(tx.blocking_send(Tracked(ledger, i)));
      tx.close();
    });
    std::size_t expected = 0;
    for (Tracked value : rx) EXPECT_EQ(value.id(), expected++);
    producer.join();
    EXPECT_TRUE(ledger.each_destroyed_once());
  });
}

TEST_P(Drops, what_is_queued_is_destroyed_once_when_the_last_receiver_closes) {
  for_each_capacity({1, 3, 100, std::nullopt}, [](Capacity capacity) {
    const std::size_t count = capacity.value_or(5000);
    Ledger ledger(count);
    auto [tx, rx] = open<Tracked>(capacity);
    for (std::size_t i = 0; i < count; ++i) ASSERT_TRUE(tx.try_send(Tracked(ledger, i)));
    EXPECT_TRUE(ledger.none_destroyed());
    rx.close();
    EXPECT_TRUE(ledger.each_destroyed_once());
  });
}

TEST_P(Drops, what_is_queued_is_destroyed_once_with_the_channel) {
  for (const bool sender_goes_first : {true, false}) {
    Ledger ledger(3);
    {
      std::optional pair(open<Tracked>(3));
      for (std::size_t i = 0; i < 3; ++i) ASSERT_TRUE(pair->tx.try_send(Tracked(ledger, i)));
      if (sender_goes_first) {
        auto rx = std::move(pair->rx);
        pair.reset();
        EXPECT_TRUE(ledger.none_destroyed());
      } else {
        auto tx = std::move(pair->tx);
        pair.reset();
        EXPECT_TRUE(ledger.each_destroyed_once());
      }
    }
    EXPECT_TRUE(ledger.each_destroyed_once());
  }
}

TEST_P(Drops, what_could_not_be_sent_stays_its_owners) {
  for_each_capacity({0, 1, 3}, [](Capacity capacity) {
    Ledger ledger(*capacity + 2);
    auto [tx, rx] = open<Tracked>(capacity);
    for (std::size_t i = 0; i < *capacity; ++i) ASSERT_TRUE(tx.try_send(Tracked(ledger, i)));
    Tracked tried(ledger, *capacity);
    EXPECT_TRUE(is_full(tx.try_send(std::move(tried))));
    EXPECT_FALSE(tried.is_moved_from());  // NOLINT(bugprone-use-after-move): what is tested
    Tracked offered(ledger, *capacity + 1);
    auto waiting = give(tx, offered);
    until_senders_wait(tx, 1);
    rx.close();
    EXPECT_TRUE(is_closed(waiting.get(), CloseKind::peer_gone));
    EXPECT_FALSE(offered.is_moved_from());
    EXPECT_EQ(ledger.destroyed(*capacity), 0);
    EXPECT_EQ(ledger.destroyed(*capacity + 1), 0);
  });
}

TEST_P(Drops, a_waiting_send_that_is_served_gives_its_value_away_once) {
  for_each_capacity({0, 1, 3}, [](Capacity capacity) {
    Ledger ledger(*capacity + 1);
    auto [tx, rx] = open<Tracked>(capacity);
    for (std::size_t i = 0; i < *capacity; ++i) ASSERT_TRUE(tx.try_send(Tracked(ledger, i)));
    {
      Tracked offered(ledger, *capacity);
      auto waiting = give(tx, offered);
      until_senders_wait(tx, 1);
      for (std::size_t i = 0; i <= *capacity; ++i) EXPECT_EQ(rx.try_recv()->id(), i);
      EXPECT_TRUE(waiting.get());
      EXPECT_TRUE(offered.is_moved_from());
    }
    EXPECT_TRUE(ledger.each_destroyed_once());
  });
}

TEST_P(Drops, in_batches_each_value_is_destroyed_once) {
  Ledger ledger(7);
  {
    auto [tx, rx] = open<Tracked>(10);
    std::vector<Tracked> batch;
    for (std::size_t i = 0; i < 7; ++i) batch.emplace_back(ledger, i);
    EXPECT_TRUE(tx.try_send_batch(std::move(batch)));
    EXPECT_EQ(rx.try_recv_batch(4)->size(), 4U);
    EXPECT_EQ(ledger.destroyed(3), 1);
    EXPECT_EQ(ledger.destroyed(4), 0);
  }
  EXPECT_TRUE(ledger.each_destroyed_once());
}

TEST_P(Drops, among_many_threads_each_value_is_destroyed_once) {
  for_each_capacity([](Capacity capacity) {
    constexpr std::size_t kEach = 2000;
    Ledger ledger(3 * kEach);
    std::atomic<std::size_t> refused = 0;
    {
      auto [tx, rx] = open<Tracked>(capacity);
      Crew crew(5);
      for (std::size_t who = 0; who < 3; ++who) {
        crew.add([&, tx = tx.clone(), who]() mutable {
          for (std::size_t i = 0; i < kEach; ++i) {
            if (!tx.blocking_send(Tracked(ledger, who * kEach + i))) ++refused;
          }
        });
      }
      for (int i = 0; i < 2; ++i) {
        crew.add([rx = rx.clone()]() mutable {  // leaves half way
          for (std::size_t k = 0; k < kEach; ++k) ASSERT_TRUE(rx.blocking_recv());
        });
      }
      tx.close();
      rx.close();
    }
    EXPECT_TRUE(ledger.each_destroyed_once());
    EXPECT_LE(refused, 3 * kEach - 2 * kEach);
  });
}

// A value whose destructor calls back into the channel that holds it: under its lock, that would never return.
struct Nosy {
  using Sender = SomeSender<Nosy>;
  Nosy(Sender s, std::atomic<int>& count) : sender(std::move(s)), looks(&count) {}
  Nosy(Nosy&& other) noexcept : sender(std::move(other.sender)), looks(std::exchange(other.looks, nullptr)) {}
  Nosy& operator=(Nosy&&) = delete;
  ~Nosy() {
    if (looks == nullptr) return;
    *looks += static_cast<int>(sender.stats().receiver_count) + 1;
    (void)sender.is_closed();
    (void)sender.clone();
    sender.close();
  }
  Sender sender;
  std::atomic<int>* looks;
};

TEST_P(Drops, a_queued_value_may_use_its_channel_when_it_is_destroyed) {
  std::atomic<int> looks = 0;
  {
    auto [tx, rx] = open<Nosy>(3);
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(tx.try_send(Nosy(tx.clone(), looks)));
    tx.close();
    EXPECT_EQ(rx.stats().sender_count, 3U);
    rx.close();
    EXPECT_EQ(looks, 3);
    EXPECT_EQ(rx.stats().sender_count, 0U);
  }
}

TEST_P(Drops, a_received_value_may_use_its_channel_when_it_is_destroyed) {
  std::atomic<int> looks = 0;
  auto [tx, rx] = open<Nosy>(3);
  ASSERT_TRUE(tx.try_send(Nosy(tx.clone(), looks)));
  ASSERT_TRUE(tx.try_send(Nosy(tx.clone(), looks)));
  tx.close();
  {
    const auto one = rx.try_recv();
  }
  EXPECT_EQ(looks, 2);
  {
    const auto many = rx.try_recv_batch(5);
  }
  EXPECT_EQ(looks, 4);
  EXPECT_TRUE(is_closed(rx.try_recv(), CloseKind::ended));
}

TEST_P(Drops, a_value_may_hold_the_last_receiver_of_another_channel) {
  using Rx = SomeReceiver<std::shared_ptr<int>>;
  const auto value = std::make_shared<int>(1);
  auto [outer_tx, outer_rx] = open<Rx>(1);
  auto [inner_tx, inner_rx] = open<std::shared_ptr<int>>(1);
  EXPECT_TRUE(inner_tx.try_send(value));
  EXPECT_TRUE(outer_tx.try_send(std::move(inner_rx)));
  auto waiting = send(inner_tx, value);
  until_senders_wait(inner_tx, 1);
  outer_rx.close();
  EXPECT_TRUE(is_closed(waiting.get(), CloseKind::peer_gone));
}

}  // namespace
