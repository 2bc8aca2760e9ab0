// One sender, N receivers, each of which gets every number.
//
//   threads   each end in a thread of its own; the sender waits for the slowest. The rival is what everybody writes first:
//             a deque for each receiver, under a mutex of its own, into which the sender puts a copy
//   waiting   coroutines of one thread: every send finds all the receivers waiting, and resumes them
//   ready     coroutines of one thread: the sender fills the window, then each receiver empties it; nothing waits
//
// `items_per_second` is messages delivered, to all receivers together, per second (threads: of wall time).

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <thread>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>
#include <klaw/channels.hpp>

#include "local/mutex_deque.hpp"
#include "local/rivals.hpp"

namespace klaw_bench {
namespace {

using klaw::channels::broadcast;
using klaw::channels::BroadcastReceiver;
using klaw::channels::BroadcastSender;
using klaw::channels::Overflow;

constexpr std::uint64_t kMessages = 64'000;  // a multiple of every capacity
constexpr std::uint64_t kSumOfEach = kMessages * (kMessages - 1) / 2;

// ---- threads

class KlawBroadcast {
 public:
  KlawBroadcast(std::size_t capacity, std::size_t receivers)
      : KlawBroadcast(broadcast<Number>(capacity, Overflow::wait)) {
    for (std::size_t i = 0; i < receivers; ++i) receivers_.push_back(tx_.subscribe());
  }

  void push(std::uint64_t number) {
    if (!tx_.blocking_send(number)) ended_early();
  }
  std::uint64_t pop(std::size_t receiver) {
    const auto number = receivers_[receiver].blocking_recv();
    if (!number) ended_early();
    return *number;
  }

 private:
  using Number = std::uint64_t;
  explicit KlawBroadcast(klaw::channels::BroadcastPair<Number> pair) : tx_(std::move(pair.tx)) {}

  BroadcastSender<Number> tx_;
  std::vector<BroadcastReceiver<Number>> receivers_;
};

class DequesBroadcast {
 public:
  DequesBroadcast(std::size_t capacity, std::size_t receivers) {
    for (std::size_t i = 0; i < receivers; ++i) queues_.emplace_back(capacity);
  }

  void push(std::uint64_t number) {
    for (auto& queue : queues_) {
      if (!queue.push(number)) ended_early();
    }
  }
  std::uint64_t pop(std::size_t receiver) {
    const auto number = queues_[receiver].pop();
    if (!number) ended_early();
    return *number;
  }

 private:
  std::deque<MutexDeque<std::uint64_t>> queues_;
};

// The sum of all that arrived.
template <class Contender>
std::uint64_t deliver(std::size_t capacity, std::size_t receivers) {
  Contender channel(capacity, receivers);
  std::vector<std::uint64_t> sums(receivers);
  {
    std::vector<std::jthread> threads;
    for (std::size_t receiver = 0; receiver < receivers; ++receiver) {
      threads.emplace_back([&channel, receiver, &sum = sums[receiver]] {
        std::uint64_t mine = 0;
        for (std::uint64_t i = 0; i < kMessages; ++i) mine += channel.pop(receiver);
        sum = mine;
      });
    }
    for (std::uint64_t i = 0; i < kMessages; ++i) channel.push(i);
  }
  std::uint64_t total = 0;
  for (const std::uint64_t sum : sums) total += sum;
  return total;
}

void report(benchmark::State& state, std::size_t receivers) {
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kMessages * receivers));
}

template <class Contender>
void threads(benchmark::State& state) {
  const auto capacity = static_cast<std::size_t>(state.range(0));
  const auto receivers = static_cast<std::size_t>(state.range(1));
  for (auto _ : state) {
    if (deliver<Contender>(capacity, receivers) != receivers * kSumOfEach) {
      state.SkipWithError("messages were lost or duplicated");
    }
  }
  report(state, receivers);
}

// ---- coroutines

// A coroutine that runs at once and frees itself at its end.
struct Detached {
  struct promise_type {
    Detached get_return_object() noexcept { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    void unhandled_exception() noexcept { std::terminate(); }
  };
};

Detached consume(BroadcastReceiver<std::uint64_t> rx, std::uint64_t* sum) {
  while (const auto number = co_await rx.recv()) *sum += *number;
}

Detached produce(BroadcastSender<std::uint64_t> tx) {
  for (std::uint64_t i = 0; i < kMessages; ++i) {
    if (!co_await tx.send(i)) co_return;
  }
}

Detached fill_and_empty(BroadcastSender<std::uint64_t> tx, std::vector<BroadcastReceiver<std::uint64_t>> receivers,
                        std::uint64_t* sum) {
  const std::uint64_t capacity = tx.capacity().value();
  for (std::uint64_t sent = 0; sent < kMessages; sent += capacity) {
    for (std::uint64_t i = sent; i < sent + capacity; ++i) {
      if (!co_await tx.send(i)) co_return;
    }
    for (auto& rx : receivers) {
      for (std::uint64_t i = 0; i < capacity; ++i) *sum += (co_await rx.recv()).value();
    }
  }
}

void check(benchmark::State& state, std::uint64_t sum, std::size_t receivers) {
  if (sum != receivers * kSumOfEach) state.SkipWithError("messages were lost or duplicated");
}

void waiting(benchmark::State& state) {
  const auto receivers = static_cast<std::size_t>(state.range(1));
  for (auto _ : state) {
    auto [tx, rx] = broadcast<std::uint64_t>(state.range(0));
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < receivers; ++i) consume(tx.subscribe(), &sum);
    rx.close();
    produce(std::move(tx));
    check(state, sum, receivers);
  }
  report(state, receivers);
}

void ready(benchmark::State& state) {
  const auto receivers = static_cast<std::size_t>(state.range(1));
  for (auto _ : state) {
    auto [tx, rx] = broadcast<std::uint64_t>(state.range(0));
    std::vector<BroadcastReceiver<std::uint64_t>> all;
    for (std::size_t i = 0; i < receivers; ++i) all.push_back(tx.subscribe());
    rx.close();
    std::uint64_t sum = 0;
    fill_and_empty(std::move(tx), std::move(all), &sum);
    check(state, sum, receivers);
  }
  report(state, receivers);
}

void shapes(benchmark::internal::Benchmark* cell) {
  cell->ArgNames({"capacity", "receivers"})->Args({64, 1})->Args({64, 4});
}
void shapes_of_threads(benchmark::internal::Benchmark* cell) {
  shapes(cell);
  cell->UseRealTime()->MeasureProcessCPUTime()->Unit(benchmark::kMillisecond);
}

BENCHMARK(threads<KlawBroadcast>)->Name("broadcast/threads/klaw")->Apply(shapes_of_threads);
BENCHMARK(threads<DequesBroadcast>)->Name("broadcast/threads/mutex_deques")->Apply(shapes_of_threads);
BENCHMARK(waiting)->Name("broadcast/coroutines/waiting/klaw")->Apply(shapes);
BENCHMARK(ready)->Name("broadcast/coroutines/ready/klaw")->Apply(shapes);

}  // namespace
}  // namespace klaw_bench
