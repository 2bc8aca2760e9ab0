// Broadcast, rule 5: cancellation loses nothing. Cancelled means here: the coroutine is destroyed where it waits; before its
// wake-up, or after it, while its resumption is queued behind the code that destroys it.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <klaw/channels/broadcast.hpp>

#include "support/threads.hpp"
#include "support/ways.hpp"

namespace {

using namespace klaw_test;
using namespace std::chrono_literals;
using klaw::channels::broadcast;
using klaw::channels::BroadcastReceiver;
using klaw::channels::BroadcastSender;
using klaw::channels::Overflow;

const std::string kText = "long enough to live on the heap, so that a move would empty it";

TEST(BroadcastCancelled, receive_takes_nothing) {
  auto [tx, rx] = broadcast<int>(2);
  auto gone = Suspended::recv(rx);
  auto next = Suspended::recv(rx);
  gone.cancel();
  EXPECT_EQ(tx.stats().waiting_receivers, 1U);
  EXPECT_EQ(tx.try_send(1), 1U);
  EXPECT_EQ(next.get(), 1);
}

TEST(BroadcastCancelled, receive_that_was_alone_leaves_its_receiver_to_get_all) {
  auto [tx, rx] = broadcast<int>(2);
  Suspended::recv(rx).cancel();
  EXPECT_EQ(tx.try_send(1), 1U);
  EXPECT_EQ(rx.try_recv(), 1);
}

TEST(BroadcastCancelled, receive_after_its_wake_up_leaves_the_message_to_its_own_receiver) {
  auto [tx, rx] = broadcast<int>(2);
  auto rx2 = tx.subscribe();
  auto gone = Suspended::recv(rx);
  auto next = Suspended::recv(rx);
  auto other = Suspended::recv(rx2);
  while_resuming([&] {
    EXPECT_EQ(tx.try_send(1), 2U);
    EXPECT_TRUE(is_empty(rx.try_recv()));  // it is promised
    EXPECT_EQ(tx.stats().in_flight, 2U);
    gone.cancel();
    EXPECT_EQ(tx.stats().in_flight, 2U);
  });
  EXPECT_EQ(next.get(), 1);
  EXPECT_EQ(other.get(), 1);
  EXPECT_TRUE(is_empty(rx.try_recv()));
  EXPECT_EQ(tx.stats().in_flight, 0U);
}

TEST(BroadcastCancelled, receive_after_its_wake_up_leaves_a_lag_as_well) {
  auto [tx, rx] = broadcast<int>(1);
  auto gone = Suspended::recv(rx);
  while_resuming([&] {
    for (int i = 0; i < 3; ++i) EXPECT_EQ(tx.try_send(i), 1U);
    gone.cancel();
  });
  EXPECT_EQ(skipped(rx.try_recv()), 2U);
  EXPECT_EQ(rx.try_recv(), 2);
}

TEST(BroadcastCancelled, receive_that_was_woken_sees_a_lag_if_its_message_was_dropped_meanwhile) {
  auto [tx, rx] = broadcast<int>(1);
  auto woken = Suspended::recv(rx);
  while_resuming([&] {
    for (int i = 0; i < 3; ++i) EXPECT_EQ(tx.try_send(i), 1U);
  });
  EXPECT_EQ(skipped(woken.get()), 2U);
  EXPECT_EQ(rx.try_recv(), 2);
}

TEST(BroadcastCancelled, send_has_not_sent_and_the_next_moves_up) {
  auto [tx, rx] = broadcast<std::string>(1, Overflow::wait);
  EXPECT_EQ(tx.try_send("first"), 1U);
  std::string mine = kText;
  auto gone = Suspended::give(tx, mine);
  auto next = Suspended::send(tx, "next");
  EXPECT_EQ(tx.stats().waiting_senders, 2U);
  gone.cancel();
  EXPECT_EQ(mine, kText);
  EXPECT_EQ(rx.try_recv(), "first");
  EXPECT_EQ(next.get(), 1U);
  EXPECT_EQ(rx.try_recv(), "next");
}

TEST(BroadcastCancelled, send_after_its_wake_up_has_sent_once) {
  auto [tx, rx] = broadcast<int>(1, Overflow::wait);
  EXPECT_EQ(tx.try_send(0), 1U);
  auto gone = Suspended::send(tx, 1);
  while_resuming([&] {
    EXPECT_EQ(rx.try_recv(), 0);
    EXPECT_FALSE(gone.is_done());
    gone.cancel();
  });
  EXPECT_EQ(rx.try_recv(), 1);
  EXPECT_TRUE(is_empty(rx.try_recv()));
}

TEST(BroadcastCancelled, receive_that_was_woken_ends_with_its_handle) {
  auto [tx, rx] = broadcast<std::shared_ptr<int>>(1);
  const auto value = std::make_shared<int>(1);
  auto woken = Suspended::recv(rx);
  while_resuming([&] {
    EXPECT_EQ(tx.try_send(value), 1U);
    rx.close();
    EXPECT_EQ(value.use_count(), 1);
  });
  EXPECT_TRUE(is_closed(woken.get(), CloseKind::handle_closed));
}

TEST(BroadcastCancelled, wait_for_the_end_holds_nothing) {
  auto [tx, rx] = broadcast<int>(1);
  Suspended::closed(tx).cancel();
  Suspended::closed(rx).cancel();
  auto stays = Suspended::closed(rx);
  tx.close();
  EXPECT_TRUE(stays.get());
}

TEST(BroadcastCancelled, limited_waits_are_forgotten_by_the_timer) {
  auto [tx, rx] = broadcast<int>(1, Overflow::wait);
  for (int i = 0; i < 100; ++i) Suspended::recv_for(rx, 300ms).cancel();
  EXPECT_EQ(tx.try_send(1), 1U);
  for (int i = 0; i < 100; ++i) {
    int value = -1;
    auto sending = Suspended::give_for(tx, value, 300ms);
    sending.cancel();
  }
  EXPECT_EQ(rx.try_recv(), 1);
  EXPECT_TRUE(is_empty(Suspended::recv_for(rx, 400ms).get()));
  EXPECT_EQ(tx.stats().waiting_receivers + tx.stats().waiting_senders, 0U);
}

// One thread, random operations between wake-up and resumption, everything cancelled at random. Each receiver sees every
// accepted value, in order, but for as many as its lags say.
class BroadcastWalk {
 public:
  BroadcastWalk(int capacity, Overflow overflow, unsigned seed) : random_(seed), overflow_(overflow) {
    auto [tx, rx] = broadcast<int>(capacity, overflow);
    tx_.emplace(std::move(tx));
    seats_.push_back(std::make_unique<Seat>(std::move(rx)));
    seats_.push_back(std::make_unique<Seat>(tx_->subscribe()));
    seats_.push_back(std::make_unique<Seat>(seats_[0]->rx.resubscribe()));
  }

  void run() {
    for (int turn = 0; turn < 60; ++turn) {
      while_resuming([&] {
        for (int k = static_cast<int>(random_() % 8); k >= 0; --k) act();
      });
    }
    sends_.clear();
    const auto sent = tx_->stats().total_sent;
    tx_->close();
    for (auto& seat : seats_) {
      seat->receives.clear();
      for (;;) {
        auto got = seat->rx.try_recv();
        if (is_closed(got, CloseKind::ended)) break;
        seat->note(got);
      }
      ASSERT_TRUE(std::ranges::is_sorted(seat->got)) << "out of order";
      ASSERT_EQ(std::ranges::adjacent_find(seat->got), seat->got.end()) << "twice";
      ASSERT_EQ(seat->got.size() + seat->missed, sent);
      ASSERT_TRUE(overflow_ == Overflow::lag || seat->missed == 0);
    }
    const auto stats = seats_[0]->rx.stats();
    ASSERT_EQ(stats.waiting_receivers + stats.waiting_senders + stats.in_flight + stats.queue_size, 0U);
  }

 private:
  struct Seat {
    explicit Seat(BroadcastReceiver<int> receiver) : rx(std::move(receiver)) {}
    template <class E>
    void note(const Result<int, E>& result) {
      if (result) got.push_back(*result);
      missed += skipped(result);
    }
    BroadcastReceiver<int> rx;
    std::vector<int> got = {};
    std::uint64_t missed = 0;
    std::vector<Task<>> receives = {};
  };

  static Task<> receive(Seat& seat) {
    seat.note(co_await seat.rx.recv());
    co_return std::monostate{};
  }
  static Task<> send(BroadcastSender<int>& tx, int value) {
    (void)co_await tx.send(value);
    co_return std::monostate{};
  }

  void act() {
    Seat& seat = *seats_[random_() % seats_.size()];
    switch (random_() % 8) {
      case 0:
      case 1: seat.receives.push_back(receive(seat)); break;
      case 2: seat.note(seat.rx.try_recv()); break;
      case 3:
      case 4: sends_.push_back(send(*tx_, next_++)); break;
      case 5: (void)tx_->try_send(next_++); break;
      case 6: cancel_one(seat.receives); break;
      default: cancel_one(sends_); break;
    }
  }
  void cancel_one(std::vector<Task<>>& tasks) {
    if (tasks.empty()) return;
    std::swap(tasks[random_() % tasks.size()], tasks.back());
    tasks.pop_back();
  }

  std::mt19937 random_;
  Overflow overflow_;
  std::optional<BroadcastSender<int>> tx_;
  std::vector<std::unique_ptr<Seat>> seats_;
  std::vector<Task<>> sends_;
  int next_ = 0;
};

TEST(BroadcastCancelled, at_random_nothing_is_lost_doubled_or_out_of_order) {
  const unsigned seeds = kSanitized ? 100 : 1000;
  for (const Overflow overflow : {Overflow::lag, Overflow::wait}) {
    for (const int capacity : {1, 2, 16}) {
      for (unsigned seed = 0; seed < seeds; ++seed) {
        SCOPED_TRACE("capacity " + std::to_string(capacity) + ", seed " + std::to_string(seed));
        BroadcastWalk(capacity, overflow, seed).run();
        if (::testing::Test::HasFatalFailure()) return;
      }
    }
  }
}

}  // namespace
