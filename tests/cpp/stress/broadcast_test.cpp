// Many senders and receivers of one broadcast: every receiver sees each sender's messages in order, and those that it saw
// and those that it was told it missed are all that were sent.
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <klaw/channels/broadcast.hpp>

#include "support/coroutine.hpp"
#include "support/scale.hpp"
#include "support/tally.hpp"
#include "support/threads.hpp"
#include "support/ways.hpp"

namespace {

using namespace klaw_test;
using klaw::channels::broadcast;
using klaw::channels::Overflow;

constexpr std::uint32_t kSenders = 3;

// Copied outside of the lock.
struct Parcel {
  Message message;
  std::string text = "long enough to live on the heap, where a copy of a dead one would be noticed";
};

Message message_of(const Message& message) { return message; }
Message message_of(const Parcel& parcel) { return parcel.message; }
template <class T>
T make(std::uint32_t who, std::uint32_t seq) {
  if constexpr (std::is_same_v<T, Message>) {
    return Message{who, seq};
  } else {
    return T{.message = Message{who, seq}};
  }
}

// What one receiver saw.
class Seen {
 public:
  // False: the channel has ended.
  template <class T, class E>
  [[nodiscard]] bool note(const Result<T, E>& result) {
    if (result) {
      const Message message = message_of(*result);
      if (message.seq < next_[message.sender]) in_order_ = false;
      next_[message.sender] = message.seq + 1;
      ++received_;
    }
    missed_ += skipped(result);
    return !fails_with<ChannelClosed>(result);
  }
  void expect_all(std::uint64_t sent, Overflow overflow) const {
    EXPECT_TRUE(in_order_);
    EXPECT_EQ(received_ + missed_, sent);
    if (overflow == Overflow::wait) {
      EXPECT_EQ(missed_, 0U);
    }
  }

 private:
  std::uint32_t next_[kSenders] = {};
  std::uint64_t received_ = 0;
  std::uint64_t missed_ = 0;
  bool in_order_ = true;
};

std::chrono::nanoseconds tiny_limit(std::mt19937& random) { return std::chrono::nanoseconds(random() % 20'000); }

template <class T>
Task<> receive_all(klaw::channels::BroadcastReceiver<T> rx, Seen& seen) {
  for (;;) {
    auto got = co_await rx.recv();
    if (!seen.note(got)) co_return std::monostate{};
  }
}
template <class T>
Task<> receive_all_with_limits(klaw::channels::BroadcastReceiver<T> rx, Seen& seen) {
  std::mt19937 random(1);
  for (;;) {
    auto got = co_await rx.recv_for(tiny_limit(random));
    if (!seen.note(got)) co_return std::monostate{};
  }
}
template <class T>
Task<> send_all(klaw::channels::BroadcastSender<T> tx, std::uint32_t who, std::size_t each) {
  for (std::uint32_t seq = 0; seq < each; ++seq) {
    auto sent = co_await tx.send(make<T>(who, seq));
    EXPECT_TRUE(sent);
  }
  tx.close();  // a parameter lives as long as the Task
  co_return std::monostate{};
}

// One sender and one receiver of each way: parked, with tiny limits, and as a coroutine (the receivers: with limits, too).
template <class T>
void run_all_ways(int capacity, Overflow overflow, std::size_t each) {
  SCOPED_TRACE("capacity " + std::to_string(capacity));
  Seen seen[4];
  Task<> tasks[3];
  {
    auto [tx, rx] = broadcast<T>(capacity, overflow);
    Crew crew(kSenders + 4);
    crew.add([rx = tx.subscribe(), &mine = seen[0]]() mutable {
      while (mine.note(rx.blocking_recv())) {
      }
    });
    crew.add([rx = tx.subscribe(), &mine = seen[1]]() mutable {
      std::mt19937 random(2);
      while (mine.note(rx.blocking_recv_for(tiny_limit(random)))) {
      }
    });
    crew.add([&, rx = tx.subscribe()]() mutable { tasks[0] = receive_all(std::move(rx), seen[2]); });
    crew.add([&, rx = rx.resubscribe()]() mutable { tasks[1] = receive_all_with_limits(std::move(rx), seen[3]); });
    crew.add([each, tx = tx.clone()]() mutable {
      for (std::uint32_t seq = 0; seq < each; ++seq) ASSERT_TRUE(tx.blocking_send(make<T>(0, seq)));
    });
    crew.add([each, tx = tx.clone()]() mutable {
      std::mt19937 random(3);
      for (std::uint32_t seq = 0; seq < each;) {
        const auto sent = tx.blocking_send_for(make<T>(1, seq), tiny_limit(random));
        ASSERT_FALSE(fails_with<ChannelClosed>(sent));
        if (sent) ++seq;
      }
    });
    crew.add([&, each, tx = tx.clone()]() mutable { tasks[2] = send_all(std::move(tx), 2, each); });
    rx.close();
    tx.close();
  }
  for (auto& task : tasks) (void)task.get();
  for (const Seen& one : seen) one.expect_all(kSenders * each, overflow);
}

TEST(BroadcastStress, of_numbers_that_lags_accounts_for_all) {
  for (const int capacity : {1, 2, 64}) run_all_ways<Message>(capacity, Overflow::lag, scaled(50'000));
}
TEST(BroadcastStress, of_numbers_that_waits_gives_all_to_all) {
  for (const int capacity : {1, 2, 64}) run_all_ways<Message>(capacity, Overflow::wait, scaled(20'000));
}
TEST(BroadcastStress, of_strings_that_lags_accounts_for_all) {
  for (const int capacity : {1, 2, 64}) run_all_ways<Parcel>(capacity, Overflow::lag, scaled(50'000));
}
TEST(BroadcastStress, of_strings_that_waits_gives_all_to_all) {
  for (const int capacity : {1, 2, 64}) run_all_ways<Parcel>(capacity, Overflow::wait, scaled(20'000));
}

TEST(BroadcastStress, receives_on_one_handle_in_four_threads_share_its_messages) {
  for (const Overflow overflow : {Overflow::lag, Overflow::wait}) {
    const std::size_t each = scaled(50'000);
    auto [tx, rx] = broadcast<Message>(4, overflow);
    std::atomic<std::uint64_t> received = 0;
    std::atomic<std::uint64_t> missed = 0;
    Crew crew(5);
    for (int i = 0; i < 4; ++i) {
      crew.add([&] {
        for (;;) {
          const auto got = rx.blocking_recv();
          if (fails_with<ChannelClosed>(got)) return;
          received += got ? 1 : 0;
          missed += skipped(got);
        }
      });
    }
    crew.add([&] {
      for (std::uint32_t seq = 0; seq < each; ++seq) ASSERT_TRUE(tx.blocking_send(Message{0, seq}));
      tx.close();
    });
    crew.join();
    EXPECT_EQ(received + missed, each);
    EXPECT_TRUE(overflow == Overflow::lag || missed == 0);
  }
}

TEST(BroadcastStress, receivers_that_come_and_go_hold_no_send_up) {
  const std::size_t each = scaled(20'000);
  for (const int capacity : {1, 4}) {
    auto [tx, rx] = broadcast<Message>(capacity, Overflow::wait);
    std::atomic<bool> over = false;
    Crew crew(6);
    for (std::uint32_t who = 0; who < 2; ++who) {
      crew.add([&, tx = tx.clone(), who]() mutable {
        for (std::uint32_t seq = 0; seq < each; ++seq) ASSERT_TRUE(tx.blocking_send(Message{who, seq}));
      });
    }
    // Each leaves what it has yet to receive, and goes on with another receiver.
    for (unsigned i = 0; i < 3; ++i) {
      crew.add([&, rx = tx.subscribe(), i]() mutable {
        std::mt19937 random(i);
        while (!over) {
          for (auto k = random() % 4; k > 0; --k) (void)rx.blocking_recv_for(tiny_limit(random));
          rx = random() % 2 == 0 ? rx.resubscribe() : tx.subscribe();
        }
      });
    }
    // And one stays, and sees all.
    crew.add([&, rx = std::move(rx)]() mutable {
      Seen mine;
      for (std::size_t k = 0; k < 2 * each; ++k) ASSERT_TRUE(mine.note(rx.blocking_recv()));
      mine.expect_all(2 * each, Overflow::wait);
      over = true;
    });
    crew.join();
    EXPECT_EQ(tx.size(), 0U);
  }
}

TEST(BroadcastStress, a_close_wakes_whoever_is_just_going_to_wait) {
  const std::size_t rounds = scaled(2'000);
  for (std::size_t round = 0; round < rounds; ++round) {
    auto [tx, rx] = broadcast<int>(1, Overflow::wait);
    ASSERT_TRUE(tx.try_send(0));
    std::atomic<int> ended = 0;
    Crew crew(4);
    const bool receivers_wait = round % 2 == 0;
    for (int i = 0; i < 3; ++i) {
      crew.add([&, i, rx = tx.subscribe(), tx = tx.clone()]() mutable {
        if (receivers_wait) {
          tx.close();
          ended += (i == 2 ? !rx.blocking_recv_for(kLong) : !rx.blocking_recv()) ? 1 : 0;
        } else {
          rx.close();
          while (tx.blocking_send(i)) {  // while another's receiver is there
          }
          ++ended;
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

TEST(BroadcastStress, closing_ones_own_handle_ends_a_wait_in_another_thread) {
  const std::size_t rounds = scaled(2'000);
  for (std::size_t round = 0; round < rounds; ++round) {
    auto [tx, rx] = broadcast<int>(1);
    std::optional<Result<int, klaw::LaggingRecvError>> got;
    std::optional<Result<void, ChannelClosed>> gone;
    Crew crew(4);
    crew.add([&] { got.emplace(rx.blocking_recv()); });
    crew.add([&] { gone.emplace(rx.blocking_closed()); });
    crew.add([&] { rx.close(); });
    crew.add([&] { (void)tx.try_send(1); });
    crew.join();
    ASSERT_TRUE(got->has_value() || is_closed(*got, CloseKind::handle_closed));
    ASSERT_TRUE(is_closed(*gone, CloseKind::handle_closed));
  }
}

TEST(BroadcastStress, whatever_eight_threads_do_ends_and_leaves_no_message_behind) {
  const std::size_t rounds = scaled(200);
  for (std::size_t round = 0; round < rounds; ++round) {
    const auto alive = std::make_shared<int>(0);
    {
      const auto overflow = round % 2 == 0 ? Overflow::lag : Overflow::wait;
      auto [tx, rx] = broadcast<std::shared_ptr<int>>(1 + round % 3, overflow);
      Crew crew(8);
      for (unsigned who = 0; who < 8; ++who) {
        crew.add([&, tx = tx.clone(), rx = tx.subscribe(), who]() mutable {
          std::mt19937 random(static_cast<unsigned>(round) * 8 + who);
          for (int k = 0; k < 100; ++k) {
            switch (random() % 8) {
              case 0: (void)tx.try_send(alive); break;
              case 1: (void)tx.blocking_send_for(alive, tiny_limit(random)); break;
              case 2:
              case 3: (void)rx.try_recv(); break;
              case 4: (void)rx.blocking_recv_for(tiny_limit(random)); break;
              case 5: tx = tx.clone(); break;
              case 6: rx = rx.resubscribe(); break;
              default: rx = tx.subscribe(); break;
            }
          }
          rx.close();
          (void)tx.blocking_send(alive);  // ends: when the last receiver goes, if not before
        });
      }
      tx.close();
      rx.close();
    }
    ASSERT_EQ(alive.use_count(), 1);
  }
}

}  // namespace
