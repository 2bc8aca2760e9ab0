// Coroutines of one thread: nothing ever parks.
//
//   waiting   a producer and a consumer resume each other through the channel, which stays full: each message costs a
//             suspension and a resumption
//   ready     one coroutine fills the channel and empties it, in turn: nothing suspends
//
// One iteration moves all messages: `items_per_second` is messages per second of CPU time.

#include <cstddef>
#include <cstdint>
#include <utility>

#include <benchmark/benchmark.h>
#include <klaw/channels.hpp>

#include "local/detached.hpp"

namespace klaw_bench {
namespace {

using klaw::channels::LocalReceiver;
using klaw::channels::LocalSender;

constexpr std::uint64_t kMessages = 100'000;  // a multiple of every capacity

Detached produce(LocalSender<std::uint64_t> tx) {
  for (std::uint64_t i = 0; i < kMessages; ++i) {
    if (!co_await tx.send(i)) co_return;
  }
}

Detached consume(LocalReceiver<std::uint64_t> rx, std::uint64_t* sum) {
  while (const auto number = co_await rx.recv()) *sum += *number;
}

Detached fill_and_empty(LocalSender<std::uint64_t> tx, LocalReceiver<std::uint64_t> rx, std::uint64_t* sum) {
  const std::uint64_t capacity = tx.capacity().value();
  for (std::uint64_t sent = 0; sent < kMessages; sent += capacity) {
    for (std::uint64_t i = sent; i < sent + capacity; ++i) {
      if (!co_await tx.send(i)) co_return;
    }
    for (std::uint64_t i = 0; i < capacity; ++i) *sum += (co_await rx.recv()).value();
  }
}

void check(benchmark::State& state, std::uint64_t sum) {
  if (sum != kMessages * (kMessages - 1) / 2) state.SkipWithError("messages were lost or duplicated");
}

void waiting(benchmark::State& state) {
  for (auto _ : state) {
    auto [tx, rx] = klaw::channels::channel<std::uint64_t>(state.range(0));
    std::uint64_t sum = 0;
    produce(std::move(tx));  // first, so that the channel is full
    consume(std::move(rx), &sum);
    check(state, sum);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kMessages));
}

void ready(benchmark::State& state) {
  for (auto _ : state) {
    auto [tx, rx] = klaw::channels::channel<std::uint64_t>(state.range(0));
    std::uint64_t sum = 0;
    fill_and_empty(std::move(tx), std::move(rx), &sum);
    check(state, sum);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kMessages));
}

BENCHMARK(waiting)->Name("coroutines/waiting/klaw")->ArgName("capacity")->Arg(0)->Arg(1)->Arg(100)->Arg(10'000);
BENCHMARK(ready)->Name("coroutines/ready/klaw")->ArgName("capacity")->Arg(1)->Arg(100)->Arg(10'000);

}  // namespace
}  // namespace klaw_bench
