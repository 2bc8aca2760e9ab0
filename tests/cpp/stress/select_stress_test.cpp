// Selects in eight threads over channels that other selects, receives and sends use at the same time.
#include <atomic>
#include <chrono>
#include <cstdint>
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
using klaw::channels::blocking_select;
using klaw::channels::blocking_select_for;

using Tx = klaw::channels::LocalSender<Message>;
using Rx = klaw::channels::LocalReceiver<Message>;

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

}  // namespace
