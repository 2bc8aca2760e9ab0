// Time limits, closes, clones and cancellations that race with sends and receives in eight threads.
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
#include "support/payload.hpp"
#include "support/scale.hpp"
#include "support/tally.hpp"
#include "support/threads.hpp"
#include "support/ways.hpp"

namespace {

using namespace klaw_test;
using namespace std::chrono_literals;

using Tx = klaw::channels::LocalSender<Message>;
using Rx = klaw::channels::LocalReceiver<Message>;

std::chrono::nanoseconds tiny_limit(std::mt19937& random) { return std::chrono::nanoseconds(random() % 20'000); }

// Sends until it succeeds, with limits that often pass in the middle of a wake-up.
void send_stubbornly(Tx& tx, Message message, std::mt19937& random) {
  for (;;) {
    const auto sent = tx.blocking_send_for(message, tiny_limit(random));
    if (sent) return;
    ASSERT_TRUE(std::holds_alternative<ChannelFull>(sent.error()));
  }
}

TEST(Races, tiny_limits_of_parked_threads_lose_and_double_nothing) {
  for (const Capacity capacity : {Capacity(0), Capacity(1), Capacity(2), Capacity(100), Capacity()}) {
    SCOPED_TRACE(to_string(capacity));
    const std::size_t each = scaled(20'000);
    Tally tally(4, each);
    {
      auto [tx, rx] = Local::open<Message>(capacity);
      Crew crew(8);
      for (std::uint32_t who = 0; who < 4; ++who) {
        crew.add([tx = tx.clone(), who, each]() mutable {
          std::mt19937 random(who);
          for (std::uint32_t seq = 0; seq < each; ++seq) send_stubbornly(tx, Message{who, seq}, random);
        });
      }
      for (std::uint32_t i = 0; i < 4; ++i) {
        crew.add([rx = rx.clone(), &tally, i]() mutable {
          std::mt19937 random(100 + i);
          Tally::Receiver mine(tally);
          for (;;) {
            const auto got = rx.blocking_recv_for(tiny_limit(random));
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
    }
    tally.expect_each_once_and_in_order();
  }
}

Task<> receive_with_limits(Rx rx, Tally& tally, std::uint32_t seed) {
  std::mt19937 random(seed);
  Tally::Receiver mine(tally);
  for (;;) {
    auto got = co_await rx.recv_for(tiny_limit(random));
    if (got) {
      mine.note(*got);
    } else if (std::holds_alternative<ChannelClosed>(got.error())) {
      co_return std::monostate{};
    }
  }
}
Task<> send_with_limits(Tx tx, std::uint32_t who, std::size_t each) {
  std::mt19937 random(who);
  for (std::uint32_t seq = 0; seq < each;) {
    Message message{who, seq};
    auto sent = co_await tx.send_for(message, tiny_limit(random));
    if (sent) ++seq;
  }
  tx.close();  // a parameter lives as long as the Task
  co_return std::monostate{};
}

TEST(Races, tiny_limits_of_coroutines_lose_and_double_nothing) {
  for (const Capacity capacity : {Capacity(0), Capacity(1), Capacity(100)}) {
    SCOPED_TRACE(to_string(capacity));
    const std::size_t each = scaled(20'000);
    Tally tally(4, each);
    auto [tx, rx] = Local::open<Message>(capacity);
    std::vector<Task<>> tasks(4);
    {
      Crew crew(8);
      for (std::uint32_t who = 0; who < 4; ++who) {
        crew.add([&, tx = tx.clone(), who]() mutable {
          if (who < 2) {
            tasks[who] = send_with_limits(std::move(tx), who, each);
          } else {
            for (std::uint32_t seq = 0; seq < each; ++seq) ASSERT_TRUE(tx.blocking_send(Message{who, seq}));
          }
        });
      }
      for (std::uint32_t i = 0; i < 4; ++i) {
        crew.add([&, rx = rx.clone(), i]() mutable {
          if (i < 2) {
            tasks[2 + i] = receive_with_limits(std::move(rx), tally, i);
          } else {
            Tally::Receiver mine(tally);
            for (const Message message : rx) mine.note(message);
          }
        });
      }
      tx.close();
      rx.close();
    }
    for (auto& task : tasks) (void)task.get();
    tally.expect_each_once_and_in_order();
  }
}

TEST(Races, clones_that_come_and_go_keep_the_channel_open_and_lose_nothing) {
  for (const Capacity capacity : {Capacity(0), Capacity(1), Capacity(2), Capacity(100), Capacity()}) {
    SCOPED_TRACE(to_string(capacity));
    const std::size_t each = scaled(20'000);
    Tally tally(4, each);
    {
      auto [tx, rx] = Local::open<Message>(capacity);
      Crew crew(8);
      for (std::uint32_t who = 0; who < 4; ++who) {
        crew.add([tx = tx.clone(), who, each]() mutable {
          for (std::uint32_t seq = 0; seq < each; ++seq) {
            auto next = tx.clone();
            ASSERT_TRUE(tx.blocking_send(Message{who, seq}));
            tx = std::move(next);  // closes the old one
          }
        });
      }
      for (std::uint32_t i = 0; i < 4; ++i) {
        crew.add([rx = rx.clone(), &tally]() mutable {
          Tally::Receiver mine(tally);
          for (;;) {
            auto next = rx.clone();
            const auto got = rx.blocking_recv();
            if (!got) {
              ASSERT_EQ(got.error().kind, CloseKind::ended);
              return;
            }
            mine.note(*got);
            rx.close();
            rx = std::move(next);
          }
        });
      }
      tx.close();
      rx.close();
    }
    tally.expect_each_once_and_in_order();
  }
}

TEST(Races, eight_threads_that_send_receive_clone_and_close_end_all) {
  // Each thread holds both halves and does whatever comes; values are destroyed once, whatever became of them.
  const std::size_t rounds = scaled(200);
  for (std::size_t round = 0; round < rounds; ++round) {
    constexpr std::size_t kEach = 100;
    const Capacity capacity = round % 3 == 0 ? 0 : round % 3;
    Ledger ledger(8 * kEach);
    {
      auto [tx, rx] = Local::open<Tracked>(capacity);
      Crew crew(8);
      for (std::size_t who = 0; who < 8; ++who) {
        crew.add([&ledger, tx = tx.clone(), rx = rx.clone(), who, round]() mutable {
          std::mt19937 random(static_cast<unsigned>(round * 8 + who));
          for (std::size_t k = 0; k < kEach; ++k) {
            Tracked value(ledger, who * kEach + k);
            switch (random() % 6) {
              case 0: (void)tx.try_send(std::move(value)); break;
              case 1: (void)tx.blocking_send_for(std::move(value), tiny_limit(random)); break;
              case 2: (void)rx.try_recv(); break;
              case 3: (void)rx.blocking_recv_for(tiny_limit(random)); break;
              case 4: tx = tx.clone(); break;
              default: rx = rx.clone(); break;
            }
          }
          rx.close();
          (void)tx.blocking_send(Tracked(ledger, 0));  // ends: when the last receiver goes, or with one that takes it
        });
      }
      tx.close();
      rx.close();
    }
    EXPECT_GE(ledger.destroyed(0), 1);
    for (std::size_t id = 1; id < 8 * kEach; ++id) ASSERT_EQ(ledger.destroyed(id), 1);
  }
}

TEST(Races, a_close_wakes_whoever_is_just_going_to_wait) {
  const std::size_t rounds = scaled(2'000);
  for (std::size_t round = 0; round < rounds; ++round) {
    for (const bool receivers_wait : {true, false}) {
      auto [tx, rx] = Local::open<int>(0);
      std::atomic<int> ended = 0;
      Crew crew(4);
      for (int i = 0; i < 3; ++i) {
        crew.add([&, tx = tx.clone(), rx = rx.clone(), i]() mutable {
          if (receivers_wait) {
            tx.close();
            if (i == 2) {
              if (!rx.blocking_recv_for(kLong)) ++ended;
            } else if (!rx.blocking_recv()) {
              ++ended;
            }
          } else {
            rx.close();
            if (!tx.blocking_send(i)) ++ended;
          }
        });
      }
      crew.add([&] {
        if (receivers_wait) {
          tx.close();
        } else {
          rx.close();
        }
      });
      crew.join();
      ASSERT_EQ(ended, 3);
    }
  }
}

TEST(Races, closing_ones_own_handle_ends_a_wait_in_another_thread) {
  const std::size_t rounds = scaled(3'000);
  for (std::size_t round = 0; round < rounds; ++round) {
    auto [tx, rx] = Local::open<int>(0);
    auto other_rx = rx.clone();
    std::optional<Result<int, ChannelClosed>> got;
    std::optional<Result<void, ChannelClosed>> gone;
    Crew crew(3);
    crew.add([&] { got.emplace(rx.blocking_recv()); });
    crew.add([&] { gone.emplace(rx.blocking_closed()); });
    crew.add([&] { rx.close(); });
    crew.join();
    ASSERT_TRUE(is_closed(*got, CloseKind::handle_closed));
    ASSERT_TRUE(is_closed(*gone, CloseKind::handle_closed));
  }
}

TEST(Races, a_close_and_a_send_at_once_lose_nothing_that_was_accepted) {
  const std::size_t rounds = scaled(3'000);
  for (std::size_t round = 0; round < rounds; ++round) {
    const Capacity capacity = round % 3;
    auto [tx, rx] = Local::open<int>(capacity);
    std::atomic<int> accepted = 0;
    std::atomic<int> received = 0;
    Crew crew(4);
    for (int i = 0; i < 2; ++i) {
      crew.add([&, tx = tx.clone()]() mutable {
        for (int k = 0; k < 5; ++k) accepted += tx.blocking_send(k) ? 1 : 0;
      });
    }
    for (int i = 0; i < 2; ++i) {
      crew.add([&, rx = rx.clone()]() mutable {
        while (rx.blocking_recv()) ++received;
      });
    }
    tx.close();
    crew.join();
    ASSERT_EQ(accepted, 10);
    ASSERT_EQ(received, 10);
  }
}

TEST(Races, selects_that_are_decided_by_another_branch_lose_nothing) {
  const std::size_t each = scaled(100'000);
  Tally tally(4, each);
  {
    auto [tx, rx] = Local::open<Message>(2);
    Crew crew(7);
    for (std::uint32_t who = 0; who < 4; ++who) {
      crew.add([tx = tx.clone(), who, each]() mutable {
        for (std::uint32_t seq = 0; seq < each; ++seq) ASSERT_TRUE(tx.blocking_send(Message{who, seq}));
      });
    }
    for (int i = 0; i < 3; ++i) {
      crew.add([rx = rx.clone(), &tally]() mutable {
        Tally::Receiver mine(tally);
        for (;;) {
          auto [stop_tx, stop_rx] = Local::open<int>(1);
          // Decided at once, by either branch.
          (void)stop_tx.try_send(1);
          auto got = klaw::channels::blocking_select(rx, stop_rx);
          if (got.index() == 1) {
            auto one = rx.blocking_recv();
            if (!one) return;
            mine.note(*one);
          } else {
            if (!got.get<0>()) return;
            mine.note(*got.get<0>());
          }
        }
      });
    }
    tx.close();
    rx.close();
  }
  tally.expect_each_once_and_in_order();
}

}  // namespace
