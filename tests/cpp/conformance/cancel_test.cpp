// Rule 5: cancellation loses nothing. Cancelled means here: the coroutine is destroyed where it waits; before its
// wake-up, or after it, while its resumption is queued behind the code that destroys it.
#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "support/setups.hpp"
#include "support/threads.hpp"

namespace {

using namespace klaw_test;
using namespace std::chrono_literals;

class Cancelled : public Conformance {};
INSTANTIATE_TEST_SUITE_P(, Cancelled, coroutine_setups(), setup_name);

// --- before the wake-up ---

TEST_P(Cancelled, receive_takes_nothing) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    auto gone = recv(rx);
    auto next = recv(rx);
    EXPECT_EQ(rx.stats().waiting_receivers, 2U);
    gone.cancel();
    EXPECT_EQ(rx.stats().waiting_receivers, 1U);
    EXPECT_TRUE(tx.try_send(1));
    EXPECT_EQ(next.get(), 1);
    EXPECT_TRUE(is_empty(rx.try_recv()));
  });
}

TEST_P(Cancelled, receive_that_was_alone_leaves_nobody_to_send_to) {
  auto [tx, rx] = open<int>(0);
  recv(rx).cancel();
  EXPECT_TRUE(is_full(tx.try_send(1)));
}

TEST_P(Cancelled, send_has_not_delivered_and_the_next_moves_up) {
  for_each_capacity({0, 1, 3, 100}, [](Capacity capacity) {
    auto [tx, rx] = open<std::string>(capacity);
    while (tx.try_send("queued")) {
    }
    std::string mine = "long enough to live on the heap, so that a move would empty it";
    const std::string before = mine;
    auto gone = give(tx, mine);
    auto next = send(tx, "next");
    EXPECT_EQ(tx.stats().waiting_senders, 2U);
    gone.cancel();
    EXPECT_EQ(mine, before);
    EXPECT_EQ(tx.stats().waiting_senders, 1U);
    for (std::size_t i = 0; i < *capacity; ++i) EXPECT_EQ(rx.try_recv(), "queued");
    EXPECT_EQ(rx.try_recv(), "next");
    EXPECT_TRUE(next.get());
    EXPECT_TRUE(is_empty(rx.try_recv()));
  });
}

TEST_P(Cancelled, large_batch_at_the_head_lets_those_behind_it_in) {
  auto [tx, rx] = open<int>(3);
  EXPECT_TRUE(tx.try_send(0));
  auto batch = send_batch(tx, {-1, -2, -3});
  auto a = send(tx, 1);
  auto b = send(tx, 2);
  auto c = send(tx, 3);
  EXPECT_EQ(tx.stats().waiting_senders, 4U);
  batch.cancel();
  EXPECT_TRUE(a.is_done());
  EXPECT_TRUE(b.is_done());
  EXPECT_FALSE(c.is_done());
  EXPECT_EQ(rx.try_recv_batch(9), (std::vector{0, 1, 2}));
  EXPECT_TRUE(c.is_done());
  EXPECT_EQ(rx.try_recv(), 3);
}

TEST_P(Cancelled, batch_receive_takes_nothing) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    auto gone = recv_batch(rx, 5);
    auto next = recv(rx);
    gone.cancel();
    EXPECT_TRUE(tx.try_send(1));
    EXPECT_EQ(next.get(), 1);
  });
}

TEST_P(Cancelled, wait_for_the_end_holds_nothing) {
  auto [tx, rx] = open<int>(1);
  auto gone = closed(tx);
  auto stays = closed(tx);
  gone.cancel();
  rx.close();
  EXPECT_TRUE(stays.get());
}

TEST_P(Cancelled, limited_waits_are_forgotten_by_the_timer) {
  auto [tx, rx] = open<int>(1);
  fill(tx);
  // Far enough for the cancel to come first; then a later limit passes, and the timer finds none of them (ASan sees it
  // touch a dead one).
  for (int i = 0; i < 100; ++i) {
    int value = -1;
    auto sending = give_for(tx, value, 300ms);
    sending.cancel();
  }
  EXPECT_EQ(rx.try_recv(), 0);
  for (int i = 0; i < 100; ++i) recv_for(rx, 300ms).cancel();
  EXPECT_TRUE(is_empty(recv_for(rx, 400ms).get()));
  EXPECT_EQ(rx.stats().waiting_receivers, 0U);
  EXPECT_EQ(rx.stats().waiting_senders, 0U);
}

TEST_P(Cancelled, many_in_the_middle_of_the_line_leave_the_others_in_order) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    std::vector<decltype(recv(rx))> waiting;
    for (int i = 0; i < 30; ++i) waiting.push_back(recv(rx));
    for (std::size_t i = 0; i < 30; i += 3) waiting[i].cancel();
    EXPECT_EQ(rx.stats().waiting_receivers, 20U);
    int next = 0;
    for (std::size_t i = 0; i < 30; ++i) {
      if (i % 3 == 0) continue;
      EXPECT_TRUE(tx.try_send(next));
      EXPECT_EQ(waiting[i].get(), next++);
    }
  });
}

// --- after the wake-up ---

using Received = Result<int, ChannelClosed>;

template <class Rx>
Task<Received> await_and_cancel(Rx& receiver, Pending<Received>& to_cancel) {
  auto got = co_await receiver.recv();
  to_cancel.cancel();
  co_return got;
}
Pending<Received> recv_and_cancel(SomeReceiver<int>& rx, Pending<Received>& to_cancel) {
  return rx.with_real([&](auto& receiver) { return Pending(await_and_cancel(receiver, to_cancel)); });
}

TEST_P(Cancelled, receive_after_its_wake_up_hands_its_message_to_the_next_that_waits) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    auto gone = recv(rx);
    auto next = recv(rx);
    while_resuming([&] {
      EXPECT_TRUE(tx.try_send(1));
      EXPECT_EQ(rx.stats().in_flight, 1U);
      EXPECT_EQ(rx.stats().waiting_receivers, 1U);
      gone.cancel();
      EXPECT_FALSE(next.is_done());
      EXPECT_EQ(rx.stats().in_flight, 1U);
      EXPECT_EQ(rx.stats().waiting_receivers, 0U);
    });
    ASSERT_TRUE(next.is_done());
    EXPECT_EQ(next.get(), 1);
    EXPECT_TRUE(is_empty(rx.try_recv()));
    EXPECT_EQ(rx.stats().total_received, 1U);
  });
}

TEST_P(Cancelled, receive_after_its_wake_up_leaves_its_message_to_whoever_comes) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    auto gone = recv(rx);
    while_resuming([&] {
      EXPECT_TRUE(tx.try_send(1));
      EXPECT_TRUE(is_empty(rx.try_recv()));  // it is promised
      gone.cancel();
      EXPECT_EQ(rx.stats().in_flight, 0U);
    });
    EXPECT_EQ(rx.size(), 1U);  // on a rendezvous too: it was accepted, so it is kept
    EXPECT_EQ(recv(rx).get(), 1);
    EXPECT_TRUE(is_empty(rx.try_recv()));
  });
}

TEST_P(Cancelled, receive_after_its_wake_up_does_not_disturb_the_order) {
  for_each_capacity({3, 100, std::nullopt}, [](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    auto gone = recv(rx);
    auto second = recv(rx);
    while_resuming([&] {
      EXPECT_TRUE(tx.try_send_batch(std::vector{1, 2, 3}));
      gone.cancel();
    });
    EXPECT_EQ(second.get(), 1);
    EXPECT_EQ(rx.try_recv(), 2);
    EXPECT_EQ(rx.try_recv(), 3);
  });
}

TEST_P(Cancelled, by_one_that_was_resumed_before_it_from_the_same_wake_up) {
  for_each_capacity({3, 100, std::nullopt}, [](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    Pending<Received> victim;
    auto killer = recv_and_cancel(rx, victim);
    victim = recv(rx);
    auto third = recv(rx);
    EXPECT_TRUE(tx.try_send_batch(std::vector{1, 2}));  // wakes killer and victim together
    EXPECT_EQ(killer.get(), 1);
    EXPECT_FALSE(victim.is_done());
    EXPECT_EQ(third.get(), 2);
    EXPECT_EQ(rx.stats().in_flight, 0U);
  });
}

TEST_P(Cancelled, by_one_that_was_resumed_before_it_at_the_end_of_the_channel) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    Pending<Received> victim;
    auto killer = recv_and_cancel(rx, victim);
    victim = recv(rx);
    auto third = recv(rx);
    tx.close();
    EXPECT_TRUE(is_closed(killer.get(), CloseKind::ended));
    EXPECT_FALSE(victim.is_done());
    EXPECT_TRUE(is_closed(third.get(), CloseKind::ended));
  });
}

TEST_P(Cancelled, batch_receive_after_its_wake_up_leaves_all_to_the_next) {
  for_each_capacity({3, 100, std::nullopt}, [](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    auto gone = recv_batch(rx, 5);
    auto next = recv_batch(rx, 5);
    while_resuming([&] {
      EXPECT_TRUE(tx.try_send_batch(std::vector{1, 2, 3}));
      gone.cancel();
    });
    EXPECT_EQ(next.get(), (std::vector{1, 2, 3}));
  });
}

TEST_P(Cancelled, send_after_its_wake_up_has_delivered_once) {
  for_each_capacity({0, 1, 3, 100}, [](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    const int filled = static_cast<int>(fill(tx));
    auto gone = send(tx, filled);
    auto next = send(tx, filled + 1);
    int first = -1;
    while_resuming([&] {
      first = *rx.try_recv();
      EXPECT_FALSE(gone.is_done());
      gone.cancel();
    });
    EXPECT_EQ(first, 0);
    for (int i = 1; i <= filled + 1; ++i) EXPECT_EQ(rx.try_recv(), i);
    EXPECT_TRUE(next.get());
    EXPECT_TRUE(is_empty(rx.try_recv()));
  });
}

TEST_P(Cancelled, send_after_it_was_woken_by_the_end_holds_nothing) {
  for_each_capacity({0, 1, 3}, [](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    fill(tx);
    auto gone = send(tx, 1);
    while_resuming([&] {
      rx.close();
      gone.cancel();
    });
    EXPECT_EQ(tx.stats().waiting_senders, 0U);
  });
}

TEST_P(Cancelled, limited_receive_after_its_wake_up_hands_its_message_on) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    auto gone = recv_for(rx, kLong);
    auto next = recv_for(rx, kLong);
    while_resuming([&] {
      EXPECT_TRUE(tx.try_send(1));
      gone.cancel();
    });
    EXPECT_EQ(next.get(), 1);
  });
}

TEST_P(Cancelled, message_that_a_rendezvous_kept_is_first_in_line) {
  auto [tx, rx] = open<int>(0);
  auto gone = recv(rx);
  while_resuming([&] {
    EXPECT_TRUE(tx.try_send(1));
    gone.cancel();
  });
  EXPECT_TRUE(is_full(tx.try_send(2)));
  auto second = send(tx, 2);
  EXPECT_EQ(tx.stats().waiting_senders, 1U);
  EXPECT_EQ(rx.try_recv(), 1);
  EXPECT_FALSE(second.is_done());
  EXPECT_EQ(rx.try_recv(), 2);
  EXPECT_TRUE(second.get());
}

TEST_P(Cancelled, message_that_a_rendezvous_kept_is_drained_before_the_end) {
  auto [tx, rx] = open<int>(0);
  auto gone = recv(rx);
  while_resuming([&] {
    EXPECT_TRUE(tx.try_send(1));
    gone.cancel();
    tx.close();
  });
  EXPECT_FALSE(rx.is_closed());
  EXPECT_EQ(recv(rx).get(), 1);
  EXPECT_TRUE(is_closed(recv(rx).get(), CloseKind::ended));
}

// --- what is promised ---

TEST_P(Cancelled, promised_messages_fill_the_channel_until_they_are_taken) {
  for_each_capacity({1, 3}, [](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    auto received = recv(rx);
    while_resuming([&] {
      EXPECT_EQ(fill(tx), *capacity);
      EXPECT_FALSE(received.is_done());
      EXPECT_TRUE(is_full(tx.try_send(-1)));
    });
    EXPECT_EQ(received.get(), 0);
    EXPECT_TRUE(tx.try_send(-1));
  });
}

TEST_P(Cancelled, a_ready_receive_takes_no_promised_message_but_those_behind_it) {
  auto [tx, rx] = open<int>(10);
  auto received = recv(rx);
  while_resuming([&] {
    EXPECT_TRUE(tx.try_send(0));
    EXPECT_TRUE(is_empty(rx.try_recv()));
    EXPECT_TRUE(tx.try_send_batch(std::vector{1, 2}));
    EXPECT_EQ(rx.try_recv_batch(9)->size(), 2U);  // one of the three stays for the one that was woken
    EXPECT_TRUE(is_empty(rx.try_recv()));
  });
  EXPECT_EQ(received.get(), 2);
}

TEST_P(Cancelled, a_batch_is_promised_to_all_that_wait_for_it_at_once) {
  auto [tx, rx] = open<int>(3);
  std::vector<Pending<Received>> waiting;
  for (int i = 0; i < 4; ++i) waiting.push_back(recv(rx));
  while_resuming([&] {
    EXPECT_TRUE(tx.try_send_batch(std::vector{0, 1, 2}));
    EXPECT_EQ(rx.stats().in_flight, 3U);
    EXPECT_EQ(rx.stats().waiting_receivers, 1U);
  });
  for (int i = 0; i < 3; ++i) EXPECT_EQ(waiting[static_cast<std::size_t>(i)].get(), i);
  EXPECT_FALSE(waiting[3].is_done());
}

TEST_P(Cancelled, a_batch_that_was_woken_leaves_what_is_promised_to_others) {
  auto [tx, rx] = open<int>(10);
  auto batch = recv_batch(rx, 9);
  auto single = recv(rx);
  while_resuming([&] { EXPECT_TRUE(tx.try_send_batch(std::vector{1, 2})); });
  EXPECT_EQ(batch.get(), (std::vector{1}));
  EXPECT_EQ(single.get(), 2);
}

TEST_P(Cancelled, the_end_waits_for_promised_messages_that_may_come_back) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    auto woken = recv(rx);
    auto before = recv(rx);
    Pending<Received> after;
    while_resuming([&] {
      EXPECT_TRUE(tx.try_send(1));
      tx.close();
      EXPECT_TRUE(is_empty(rx.try_recv()));  // not closed yet
      EXPECT_FALSE(rx.is_closed());
      after = recv(rx);
      EXPECT_EQ(rx.stats().waiting_receivers, 2U);
      woken.cancel();
    });
    EXPECT_EQ(before.get(), 1);
    EXPECT_TRUE(is_closed(after.get(), CloseKind::ended));
  });
}

TEST_P(Cancelled, the_end_comes_when_the_last_promised_message_was_taken) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    auto woken = recv(rx);
    auto waits = recv(rx);
    auto batch_waits = recv_batch(rx, 2);
    while_resuming([&] {
      EXPECT_TRUE(tx.try_send(1));
      tx.close();
      EXPECT_EQ(rx.stats().waiting_receivers, 2U);
    });
    EXPECT_EQ(woken.get(), 1);
    EXPECT_TRUE(is_closed(waits.get(), CloseKind::ended));
    EXPECT_TRUE(is_closed(batch_waits.get(), CloseKind::ended));
  });
}

TEST_P(Cancelled, a_promised_message_is_dropped_with_the_last_receiver) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<std::shared_ptr<int>>(capacity);
    const auto value = std::make_shared<int>(1);
    auto woken = recv(rx);
    while_resuming([&] {
      EXPECT_TRUE(tx.try_send(value));
      rx.close();
      EXPECT_EQ(value.use_count(), 1);
    });
    EXPECT_TRUE(is_closed(woken.get(), CloseKind::handle_closed));
    EXPECT_TRUE(tx.is_closed());
  });
}

TEST_P(Cancelled, a_promised_message_outlives_the_handle_it_was_asked_on) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    auto rx2 = rx.clone();
    auto woken = recv(rx);
    while_resuming([&] {
      EXPECT_TRUE(tx.try_send(1));
      rx.close();
    });
    // Either is allowed by the contract (it had been woken before the close); what is not allowed is losing it.
    const auto got = woken.get();
    EXPECT_EQ(got ? *got : *rx2.try_recv(), 1);
    EXPECT_TRUE(is_empty(rx2.try_recv()));
  });
}

// --- at random ---

// Two channels in one thread, random operations between wake-up and resumption, everything cancelled at random. Each
// accepted value arrives exactly once, and in order.
template <class Flavour>
class RandomWalk {
 public:
  explicit RandomWalk(Capacity capacity, unsigned seed)
      : random_(seed), a_(Flavour::template open<int>(capacity)), b_(Flavour::template open<int>(capacity)) {}

  void run() {
    for (int turn = 0; turn < 60; ++turn) {
      while_resuming([&] {
        for (int k = static_cast<int>(random_() % 6); k >= 0; --k) act();
      });
    }
    // What waits is served or told the end, and all is drained.
    a_.tx.close();
    b_.tx.close();
    while_resuming([&] {
      drain(0);
      drain(1);
    });
    sends_.clear();
    receives_.clear();
    drain(0);
    drain(1);
    for (int which : {0, 1}) check(which);
  }

 private:
  using Pair = decltype(Flavour::template open<int>(Capacity{}));

  Pair& at(int which) { return which == 0 ? a_ : b_; }

  static Task<> receive(RandomWalk& self, int which) {
    if (auto got = co_await self.at(which).rx.recv()) self.note(which, *got);
    co_return std::monostate{};
  }
  static Task<> receive_batch(RandomWalk& self, int which, std::size_t max_items) {
    if (auto got = co_await self.at(which).rx.recv_batch(max_items)) {
      for (const int value : *got) self.note(which, value);
    }
    co_return std::monostate{};
  }
  static Task<> receive_either(RandomWalk& self) {
    auto got = co_await klaw::channels::select(self.a_.rx, self.b_.rx);
    if (got.index() == 0) {
      if (auto& value = got.template get<0>()) self.note(0, *value);
    } else {
      if (auto& value = got.template get<1>()) self.note(1, *value);
    }
    co_return std::monostate{};
  }
  static Task<> send(RandomWalk& self, int which, std::vector<int> values) {
    const std::vector<int> copy = values;
    bool is_accepted = false;
    if (values.size() == 1) {
      auto sent = co_await self.at(which).tx.send(std::move(values[0]));
      is_accepted = sent.has_value();
    } else {
      auto sent = co_await self.at(which).tx.send_batch(std::move(values));
      is_accepted = sent.has_value();
    }
    if (is_accepted) self.accept(which, copy);
    co_return std::monostate{};
  }

  std::vector<int> fresh(int which, std::size_t count) {
    std::vector<int> values;
    for (std::size_t i = 0; i < count; ++i) values.push_back(next_[which]++);
    return values;
  }
  void accept(int which, const std::vector<int>& values) {
    accepted_[which].insert(accepted_[which].end(), values.begin(), values.end());
  }
  void note(int which, int value) { received_[which].push_back(value); }

  void act() {
    const int which = static_cast<int>(random_() % 2);
    auto& [tx, rx] = at(which);
    switch (random_() % 10) {
      case 0:
      case 1: receives_.push_back(receive(*this, which)); break;
      case 2: receives_.push_back(receive_batch(*this, which, 1 + random_() % 3)); break;
      case 3: receives_.push_back(receive_either(*this)); break;
      case 4:
      case 5: sends_.push_back(send(*this, which, fresh(which, 1 + random_() % 3))); break;
      case 6: {
        const auto values = fresh(which, 1);
        if (tx.try_send(values[0])) accept(which, values);
        break;
      }
      case 7:
        if (auto got = rx.try_recv()) note(which, *got);
        break;
      case 8: cancel_one(receives_); break;
      default: cancel_one(sends_); break;
    }
  }
  void cancel_one(std::vector<Task<>>& tasks) {
    if (tasks.empty()) return;
    std::swap(tasks[random_() % tasks.size()], tasks.back());
    tasks.pop_back();
  }
  void drain(int which) {
    while (auto got = at(which).rx.try_recv()) note(which, *got);
  }
  void check(int which) {
    auto& received = received_[which];
    ASSERT_TRUE(std::ranges::is_sorted(received)) << "out of order";
    ASSERT_EQ(std::ranges::adjacent_find(received), received.end()) << "twice";
    std::ranges::sort(accepted_[which]);
    // What was sent by a coroutine that was destroyed between its wake-up and its resumption arrives too.
    ASSERT_TRUE(std::ranges::includes(received, accepted_[which])) << "lost";
    const auto stats = at(which).rx.stats();
    ASSERT_EQ(stats.total_sent, received.size());
    ASSERT_EQ(stats.total_received, received.size());
    ASSERT_EQ(stats.waiting_receivers, 0U);
    ASSERT_EQ(stats.waiting_senders, 0U);
    ASSERT_EQ(stats.in_flight, 0U);
  }

  std::mt19937 random_;
  Pair a_;
  Pair b_;
  int next_[2] = {0, 0};
  std::vector<int> accepted_[2];
  std::vector<int> received_[2];
  std::vector<Task<>> sends_;
  std::vector<Task<>> receives_;
};

TEST_P(Cancelled, at_random_nothing_is_lost_doubled_or_out_of_order) {
  const unsigned seeds = kSanitized ? 200 : 2000;
  for_each_capacity([&](Capacity capacity) {
    for (unsigned seed = 0; seed < seeds; ++seed) {
      SCOPED_TRACE("seed " + std::to_string(seed));
      with_flavour(flavour(), [&](auto of) { RandomWalk<decltype(of)>(capacity, seed).run(); });
      if (::testing::Test::HasFatalFailure()) return;
    }
  });
}

}  // namespace
