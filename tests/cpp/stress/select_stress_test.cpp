// Selects in eight threads over channels that other selects, receives and sends use at the same time.
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <thread>
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
using klaw::channels::biased;
using klaw::channels::blocking_select;
using klaw::channels::blocking_select_for;
using klaw::channels::sending;
using klaw::channels::try_select;

using Tx = klaw::channels::LocalSender<Message>;
using Rx = klaw::channels::LocalReceiver<Message>;
using Boxed = std::unique_ptr<Message>;

template <class Selected>
std::optional<Message> message_in(Selected& selected) {
  std::optional<Message> message;
  const auto look = [&](auto& result) {
    if (result) message = *result;
  };
  if (selected.index() == 0) look(selected.template get<0>());
  if (selected.index() == 1) look(selected.template get<1>());
  if (selected.index() == 2) look(selected.template get<2>());
  return message;
}

// Drains what is left on the branches that have not ended.
void drain(Rx& rx, Tally::Receiver& mine) {
  while (auto got = rx.blocking_recv()) mine.note(*got);
}

Task<> select_until_an_end(Rx a, Rx b, Rx c, Tally& tally) {
  Tally::Receiver mine(tally);
  for (;;) {
    auto got = co_await klaw::channels::select(a, b, c);
    const auto message = message_in(got);
    if (!message) break;
    mine.note(*message);
  }
  for (Rx* rx : {&a, &b, &c}) {
    while (auto got = co_await rx->recv()) mine.note(*got);
  }
  co_return std::monostate{};
}

// Sender k of three sends on channel k; four selects in different orders of the branches, so that two of them examine
// two channels in opposite orders at the same moment.
void run_selects(Capacity capacity, std::size_t messages) {
  const std::size_t each = messages / 4;
  Tally tally(4, each);
  auto [tx0, rx0] = Local::open<Message>(capacity);
  auto [tx1, rx1] = Local::open<Message>(capacity);
  auto [tx2, rx2] = Local::open<Message>(capacity);
  Task<> task;
  {
    Crew crew(8);
    for (std::uint32_t who = 0; who < 4; ++who) {
      Tx& tx = who == 0 ? tx0 : who == 1 ? tx1 : tx2;
      crew.add([tx = tx.clone(), who, each]() mutable {
        for (std::uint32_t seq = 0; seq < each; ++seq) ASSERT_TRUE(tx.blocking_send(Message{who, seq}));
      });
    }
    crew.add([&tally, a = rx0.clone(), b = rx1.clone(), c = rx2.clone()]() mutable {
      Tally::Receiver mine(tally);
      for (;;) {
        auto got = blocking_select(a, b, c);
        const auto message = message_in(got);
        if (!message) break;
        mine.note(*message);
      }
      for (Rx* rx : {&a, &b, &c}) drain(*rx, mine);
    });
    crew.add([&tally, a = rx0.clone(), b = rx1.clone(), c = rx2.clone()]() mutable {
      Tally::Receiver mine(tally);
      std::mt19937 random(1);
      for (;;) {
        auto got = blocking_select_for(std::chrono::nanoseconds(random() % 20'000), c, b, a);
        if (!got) continue;
        const auto message = message_in(*got);
        if (!message) break;
        mine.note(*message);
      }
      for (Rx* rx : {&a, &b, &c}) drain(*rx, mine);
    });
    crew.add([&tally, a = rx0.clone(), b = rx1.clone(), c = rx2.clone()]() mutable {
      Tally::Receiver mine(tally);
      for (;;) {
        auto got = blocking_select(b, b, a);  // one channel twice
        const auto message = message_in(got);
        if (!message) break;
        mine.note(*message);
      }
      for (Rx* rx : {&a, &b, &c}) drain(*rx, mine);
    });
    crew.add([&, a = rx0.clone(), b = rx1.clone(), c = rx2.clone()]() mutable {
      task = select_until_an_end(std::move(a), std::move(b), std::move(c), tally);
    });
    for (Tx* tx : {&tx0, &tx1, &tx2}) tx->close();
    for (Rx* rx : {&rx0, &rx1, &rx2}) rx->close();
  }
  (void)task.get();
  tally.expect_each_once_and_in_order();
}

TEST(SelectStress, over_three_rendezvous) { run_selects(0, scaled(200'000)); }
TEST(SelectStress, over_three_channels_of_one_slot) { run_selects(1, scaled(200'000)); }
TEST(SelectStress, over_three_channels_of_a_hundred_slots) { run_selects(100, scaled(400'000)); }
TEST(SelectStress, over_three_unbounded_channels) { run_selects(std::nullopt, scaled(400'000)); }

TEST(SelectStress, a_close_of_any_branch_ends_every_select) {
  const std::size_t rounds = scaled(2'000);
  for (std::size_t round = 0; round < rounds; ++round) {
    auto [tx0, rx0] = Local::open<Message>(0);
    auto [tx1, rx1] = Local::open<Message>(0);
    Crew crew(4);
    std::atomic<int> ended = 0;
    for (int i = 0; i < 3; ++i) {
      crew.add([&, a = rx0.clone(), b = rx1.clone(), i]() mutable {
        if (i == 0) {
          ended += blocking_select(a, b).index() == 1 ? 1 : 0;
        } else {
          ended += blocking_select(b, a).index() == 0 ? 1 : 0;
        }
      });
    }
    crew.add([&] { tx1.close(); });
    crew.join();
    ASSERT_EQ(ended, 3);
  }
}

// --- selects that also send ---

using Stop = klaw::channels::LocalReceiver<int>;

// A worker that sends `each` messages into one channel while it receives from another (which may be the same one), until
// all workers have sent. Every form of waiting, by its number; a value that was not sent is not touched.
class Exchange {
 public:
  Exchange(std::size_t workers, std::size_t each) : tally_(workers, each), each_(each), sending_(workers) {
    auto [tx, rx] = klaw::channels::channel<int>(1);
    stop_ = std::move(rx);
    stop_tx_ = std::move(tx);
  }

  // In a thread.
  void run(std::uint32_t who, klaw::channels::LocalSender<Boxed>& tx, klaw::channels::LocalReceiver<Boxed>& rx) {
    Tally::Receiver mine(tally_);
    Stop stop = stop_->clone();
    std::mt19937 random(who);
    std::uint32_t sent = 0;
    Boxed next = boxed(who, 0);
    while (sent < each_) {
      bool was_sent = false;
      const auto note = [&](auto& got) { was_sent = look(got, mine); };
      switch (random() % 4) {
        case 0: {
          auto got = blocking_select(sending(tx, std::move(next)), rx);
          note(got);
          break;
        }
        case 1: {
          auto got = blocking_select_for(std::chrono::nanoseconds(random() % 20'000), sending(tx, std::move(next)), rx);
          if (got) note(*got);
          break;
        }
        case 2: {
          auto got = try_select(biased, sending(tx, std::move(next)), rx);
          if (got) note(*got);
          break;
        }
        default: {
          auto got = blocking_select(biased, sending(tx, std::move(next)), rx, stop);
          note(got);
        }
      }
      if (was_sent != (next == nullptr)) wrong_.store(true);
      if (was_sent) next = boxed(who, ++sent);
    }
    all_sent();
    for (;;) {
      auto got = blocking_select(rx, stop);
      if (got.index() == 1) break;
      take(got.template get<0>(), mine);
    }
  }

  Task<> run_suspended(std::uint32_t who, klaw::channels::LocalSender<Boxed> tx,
                       klaw::channels::LocalReceiver<Boxed> rx) {
    Tally::Receiver mine(tally_);
    Stop stop = stop_->clone();
    std::uint32_t sent = 0;
    Boxed next = boxed(who, 0);
    while (sent < each_) {
      auto got = co_await klaw::channels::select(rx, sending(tx, std::move(next)));
      if (got.index() == 1) {
        if (next != nullptr || !got.template get<1>()) wrong_.store(true);
        next = boxed(who, ++sent);
      } else {
        if (next == nullptr) wrong_.store(true);
        take(got.template get<0>(), mine);
      }
    }
    all_sent();
    for (;;) {
      auto got = co_await klaw::channels::select(rx, stop);
      if (got.index() == 1) break;
      take(got.template get<0>(), mine);
    }
    co_return std::monostate{};
  }

  // Permits that are taken and given back, until all have sent: those whom they keep apart must meet after all.
  void come_and_go(klaw::channels::LocalSender<Boxed>& tx) {
    while (sending_ > 0) {
      auto permit = tx.blocking_reserve_for(std::chrono::microseconds(10));
      std::this_thread::yield();
    }
  }

  // What is left in a buffered channel after all have ended.
  void drain(klaw::channels::LocalReceiver<Boxed>& rx) {
    Tally::Receiver mine(tally_);
    while (auto got = rx.try_recv()) mine.note(**got);
  }

  void expect_exact() {
    tally_.expect_each_once_and_in_order();
    EXPECT_FALSE(wrong_.load());
  }

  static Boxed boxed(std::uint32_t who, std::uint32_t seq) { return std::make_unique<Message>(Message{who, seq}); }

 private:
  // True: the send happened.
  template <class Selected>
  bool look(Selected& got, Tally::Receiver& mine) {
    if (got.index() == 0) {
      if (!got.template get<0>()) wrong_.store(true);
      return true;
    }
    if (got.index() == 1) take(got.template get<1>(), mine);
    return false;
  }
  void take(Result<Boxed, ChannelClosed>& got, Tally::Receiver& mine) {
    if (!got || *got == nullptr) {
      wrong_.store(true);
      return;
    }
    mine.note(**got);
  }
  void all_sent() {
    if (--sending_ == 0) stop_tx_->close();
  }

  Tally tally_;
  std::size_t each_;
  std::atomic<std::size_t> sending_;
  std::optional<klaw::channels::LocalSender<int>> stop_tx_;
  std::optional<Stop> stop_;
  std::atomic<bool> wrong_ = false;
};

// Eight workers, two of them coroutines; worker i sends into channel i and receives from channel i + step, of `channels`.
void exchange(Capacity capacity, std::size_t channels, std::size_t step, std::size_t messages, bool permits = false) {
  constexpr std::size_t kWorkers = 8;
  Exchange exchange(kWorkers, messages / kWorkers);
  std::vector<klaw::channels::LocalSender<Boxed>> tx;
  std::vector<klaw::channels::LocalReceiver<Boxed>> rx;
  for (std::size_t i = 0; i < channels; ++i) {
    auto [one_tx, one_rx] = Local::open<Boxed>(capacity);
    tx.push_back(std::move(one_tx));
    rx.push_back(std::move(one_rx));
  }
  Task<> tasks[kWorkers];
  {
    Crew crew(kWorkers + (permits ? 1 : 0));
    if (permits) crew.add([&] { exchange.come_and_go(tx[0]); });
    for (std::uint32_t who = 0; who < kWorkers; ++who) {
      crew.add([&, who] {
        auto& mine_tx = tx[who % channels];
        auto& mine_rx = rx[(who + step) % channels];
        if (who % 4 == 3) {
          tasks[who] = exchange.run_suspended(who, mine_tx.clone(), mine_rx.clone());
        } else {
          exchange.run(who, mine_tx, mine_rx);
        }
      });
    }
  }
  for (std::size_t who = 3; who < kWorkers; who += 4) (void)tasks[who].get();
  for (auto& each : rx) exchange.drain(each);
  exchange.expect_exact();
  for (auto& each : rx) {
    EXPECT_EQ(each.stats().waiting_receivers, 0U);
    EXPECT_EQ(each.stats().waiting_senders, 0U);
  }
}

TEST(SelectStress, sending_and_receiving_on_one_rendezvous) { exchange(0, 1, 0, scaled(80'000)); }
TEST(SelectStress, sending_and_receiving_crosswise_on_two_rendezvous) { exchange(0, 2, 1, scaled(80'000)); }
TEST(SelectStress, sending_and_receiving_around_a_ring_of_eight_rendezvous) { exchange(0, 8, 1, scaled(80'000)); }
TEST(SelectStress, sending_and_receiving_on_one_rendezvous_beside_permits) { exchange(0, 1, 0, scaled(40'000), true); }
TEST(SelectStress, sending_and_receiving_crosswise_beside_permits) { exchange(0, 2, 1, scaled(40'000), true); }
TEST(SelectStress, sending_and_receiving_on_one_channel_of_one_slot) { exchange(1, 1, 0, scaled(80'000)); }
TEST(SelectStress, sending_and_receiving_crosswise_on_two_channels_of_a_slot) { exchange(1, 2, 1, scaled(80'000)); }

// Two selects that can meet at either of two channels, in all orders of their branches, meet at one: never at none, never
// at both.
TEST(SelectStress, of_two_selects_that_cross_each_sends_or_receives_once) {
  const std::size_t rounds = scaled(40'000);
  auto [tx1, rx1] = Local::open<std::size_t>(0);
  auto [tx2, rx2] = Local::open<std::size_t>(0);
  std::vector<std::uint8_t> met_at[2] = {std::vector<std::uint8_t>(rounds), std::vector<std::uint8_t>(rounds)};
  std::atomic<bool> wrong = false;
  run_together(2, [&](std::size_t who) {
    for (std::size_t round = 0; round < rounds; ++round) {
      std::size_t value = round;
      // Each round has an end of its own: nobody is a round ahead of the other.
      std::optional<std::size_t> received;
      std::uint8_t at = 0;
      const auto sends_first = [&](auto& tx, auto& rx, std::uint8_t tx_name, std::uint8_t rx_name) {
        auto got = blocking_select(biased, sending(tx, std::move(value)), rx);
        at = got.index() == 0 ? tx_name : rx_name;
        if (got.index() == 1) received = *got.template get<1>();
      };
      const auto receives_first = [&](auto& tx, auto& rx, std::uint8_t tx_name, std::uint8_t rx_name) {
        auto got = blocking_select(biased, rx, sending(tx, std::move(value)));
        at = got.index() == 1 ? tx_name : rx_name;
        if (got.index() == 0) received = *got.template get<0>();
      };
      if (who == 0) {
        (round & 1) != 0 ? sends_first(tx1, rx2, 1, 2) : receives_first(tx1, rx2, 1, 2);
      } else {
        (round & 2) != 0 ? sends_first(tx2, rx1, 2, 1) : receives_first(tx2, rx1, 2, 1);
      }
      if (received && *received != round) wrong = true;
      met_at[who][round] = at;
    }
  });
  EXPECT_FALSE(wrong);
  EXPECT_EQ(met_at[0], met_at[1]);
}

}  // namespace
