// Threads that block: N producers and N consumers move 64-bit numbers through one channel of each contender.
//
// One iteration starts the threads, moves all messages, and joins them: `items_per_second` is messages per second of wall
// time. Consumers take what they get, until the channel has ended.

#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

#include <benchmark/benchmark.h>

#include "local/rivals.hpp"

namespace klaw_bench {
namespace {

constexpr std::uint64_t kMessages = 100'000;
// Where nearly every message is a switch of threads.
constexpr std::uint64_t kMessagesWhenTight = 20'000;
constexpr std::size_t kTightMax = 1;

// Moves `messages`, a multiple of `pairs`. Gives the sum of what arrived.
template <class Contender>
std::uint64_t move_messages(std::size_t capacity, std::uint64_t pairs, std::uint64_t messages) {
  const std::uint64_t share = messages / pairs;
  Contender channel(capacity);
  std::vector<std::uint64_t> sums(pairs);
  {
    std::vector<std::jthread> consumers;
    std::vector<std::jthread> producers;
    for (std::uint64_t pair = 0; pair < pairs; ++pair) {
      consumers.emplace_back([end = channel.consumer(), &sum = sums[pair]]() mutable {
        std::uint64_t mine = 0;
        while (const auto number = end.pop()) mine += *number;
        sum = mine;
      });
      producers.emplace_back([share, first = pair * share, end = channel.producer()]() mutable {
        for (std::uint64_t i = 0; i < share; ++i) end.push(first + i);
      });
    }
    producers.clear();  // joins them
    channel.end(pairs);
  }
  std::uint64_t total = 0;
  for (const std::uint64_t sum : sums) total += sum;
  return total;
}

template <class Contender>
void threads(benchmark::State& state, std::size_t capacity, std::uint64_t pairs) {
  const std::uint64_t messages = capacity <= kTightMax ? kMessagesWhenTight : kMessages;
  for (auto _ : state) {
    if (move_messages<Contender>(capacity, pairs, messages) != messages * (messages - 1) / 2) {
      state.SkipWithError("messages were lost or duplicated");
    }
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(messages));
}

// BENCHMARK_CAPTURE takes no template.
constexpr auto klaw_threads = threads<Klaw>;
constexpr auto mutex_deque_threads = threads<Deque>;
constexpr auto tbb_threads = threads<Tbb>;

// The contenders of one cell stand next to each other, in the table and in time.
#define KLAW_CONTENDER(contender, pairs, capacity)                                \
  BENCHMARK_CAPTURE(contender##_threads, cell, capacity, pairs)                   \
      ->Name("threads/" #pairs "P" #pairs "C/capacity:" #capacity "/" #contender) \
      ->UseRealTime()                                                             \
      ->MeasureProcessCPUTime()                                                   \
      ->Unit(benchmark::kMillisecond)
#define KLAW_CELL(pairs, capacity)              \
  KLAW_CONTENDER(klaw, pairs, capacity);        \
  KLAW_CONTENDER(mutex_deque, pairs, capacity); \
  KLAW_CONTENDER(tbb, pairs, capacity)
#define KLAW_CELLS(pairs)         \
  KLAW_CONTENDER(klaw, pairs, 0); \
  KLAW_CELL(pairs, 1);            \
  KLAW_CELL(pairs, 100);          \
  KLAW_CELL(pairs, 10000);        \
  KLAW_CELL(pairs, unbounded)

KLAW_CELLS(1);  // capacity 0 is a rendezvous, which the rivals do not have
KLAW_CELLS(2);
KLAW_CELLS(4);

}  // namespace
}  // namespace klaw_bench
