// Many messages between many threads and coroutines: none lost, none doubled, each sender's in order. The tests of this
// file send 10 million messages in all in a plain build.
#include <atomic>
#include <cstdint>
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

constexpr std::size_t kProducers = 4;
constexpr std::size_t kConsumers = 4;

using Tx = klaw::channels::LocalSender<Message>;
using Rx = klaw::channels::LocalReceiver<Message>;

Message message_of(std::size_t who, std::size_t seq) {
  return Message{static_cast<std::uint32_t>(who), static_cast<std::uint32_t>(seq)};
}

// 4 parked producers, 4 parked consumers.
void run_threads(Capacity capacity, std::size_t messages) {
  const std::size_t each = messages / kProducers;
  Tally tally(kProducers, each);
  {
    auto [tx, rx] = Local::open<Message>(capacity);
    Crew crew(kProducers + kConsumers);
    for (std::size_t who = 0; who < kProducers; ++who) {
      crew.add([tx = tx.clone(), who, each]() mutable {
        for (std::size_t seq = 0; seq < each; ++seq) ASSERT_TRUE(tx.blocking_send(message_of(who, seq)));
      });
    }
    for (std::size_t i = 0; i < kConsumers; ++i) {
      crew.add([rx = rx.clone(), &tally]() mutable {
        Tally::Receiver mine(tally);
        for (const Message message : rx) mine.note(message);
      });
    }
    tx.close();
    rx.close();
  }
  tally.expect_each_once_and_in_order();
}

TEST(Throughput, of_eight_threads_over_a_rendezvous) { run_threads(0, scaled(800'000)); }
TEST(Throughput, of_eight_threads_over_one_slot) { run_threads(1, scaled(800'000)); }
TEST(Throughput, of_eight_threads_over_two_slots) { run_threads(2, scaled(1'000'000)); }
TEST(Throughput, of_eight_threads_over_a_hundred_slots) { run_threads(100, scaled(2'400'000)); }
TEST(Throughput, of_eight_threads_over_an_unbounded_channel) { run_threads(std::nullopt, scaled(2'000'000)); }

// Consumers and producers that are coroutines: they start in these threads, and go on in whichever wakes them.
Task<> produce(Tx tx, std::size_t who, std::size_t each) {
  for (std::size_t seq = 0; seq < each; ++seq) {
    auto sent = co_await tx.send(message_of(who, seq));
    EXPECT_TRUE(sent.has_value());
  }
  tx.close();  // a parameter lives as long as the Task
  co_return std::monostate{};
}
Task<> consume(Rx rx, Tally& tally) {
  Tally::Receiver mine(tally);
  while (auto got = co_await rx.recv()) mine.note(*got);
  co_return std::monostate{};
}
Task<> consume_batches(Rx rx, Tally& tally) {
  Tally::Receiver mine(tally);
  while (auto got = co_await rx.recv_batch(7)) {
    for (const Message message : *got) mine.note(message);
  }
  co_return std::monostate{};
}

// Of either side, two threads and two coroutines.
void run_mixed(Capacity capacity, std::size_t messages) {
  const std::size_t each = messages / kProducers;
  Tally tally(kProducers, each);
  auto [tx, rx] = Local::open<Message>(capacity);
  std::vector<Task<>> tasks(4);
  {
    Crew crew(8);
    for (std::size_t who = 0; who < 4; ++who) {
      crew.add([&, tx = tx.clone(), who]() mutable {
        if (who < 2) {
          tasks[who] = produce(std::move(tx), who, each);
        } else {
          for (std::size_t seq = 0; seq < each; ++seq) ASSERT_TRUE(tx.blocking_send(message_of(who, seq)));
        }
      });
    }
    for (std::size_t i = 0; i < 4; ++i) {
      crew.add([&, rx = rx.clone(), i]() mutable {
        if (i == 0) {
          tasks[2] = consume(std::move(rx), tally);
        } else if (i == 1) {
          tasks[3] = consume_batches(std::move(rx), tally);
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

TEST(Throughput, of_threads_and_coroutines_over_a_rendezvous) { run_mixed(0, scaled(400'000)); }
TEST(Throughput, of_threads_and_coroutines_over_one_slot) { run_mixed(1, scaled(400'000)); }
TEST(Throughput, of_threads_and_coroutines_over_two_slots) { run_mixed(2, scaled(400'000)); }
TEST(Throughput, of_threads_and_coroutines_over_a_hundred_slots) { run_mixed(100, scaled(800'000)); }
TEST(Throughput, of_threads_and_coroutines_over_an_unbounded_channel) { run_mixed(std::nullopt, scaled(400'000)); }

// Batches of 1 to 5, all or none, among single sends.
TEST(Throughput, of_batches_over_eight_slots) {
  const std::size_t each = scaled(600'000) / kProducers;
  Tally tally(kProducers, each);
  {
    auto [tx, rx] = Local::open<Message>(8);
    Crew crew(kProducers + kConsumers);
    for (std::size_t who = 0; who < kProducers; ++who) {
      crew.add([tx = tx.clone(), who, each]() mutable {
        for (std::size_t seq = 0; seq < each;) {
          std::vector<Message> batch;
          for (std::size_t size = seq % 5 + 1; size > 0 && seq < each; --size) batch.push_back(message_of(who, seq++));
          ASSERT_TRUE(tx.blocking_send_batch(std::move(batch)));
        }
      });
    }
    for (std::size_t i = 0; i < kConsumers; ++i) {
      crew.add([rx = rx.clone(), &tally, i]() mutable {
        Tally::Receiver mine(tally);
        while (auto got = rx.blocking_recv_batch(i + 1)) {
          for (const Message message : *got) mine.note(message);
        }
      });
    }
    tx.close();
    rx.close();
  }
  tally.expect_each_once_and_in_order();
}

}  // namespace
