// Many coroutines wait on one channel, and a message wakes the first of them, which then waits again at the end of the line.
//
// `items_per_second` is wake-ups per second of CPU time. It must not depend on how many wait, beyond what the caches say:
// each coroutine that wakes has not run for as many wake-ups as there are coroutines.

#include <cstddef>
#include <cstdint>
#include <utility>

#include <benchmark/benchmark.h>
#include <klaw/channels.hpp>

#include "local/detached.hpp"

namespace klaw_bench {
namespace {

Detached receive(klaw::channels::LocalReceiver<std::uint64_t> rx, std::uint64_t* sum) {
  while (const auto number = co_await rx.recv()) *sum += *number;
}

void waiters(benchmark::State& state) {
  auto [tx, rx] = klaw::channels::channel<std::uint64_t>(16);
  std::uint64_t sum = 0;
  for (std::int64_t i = 0; i < state.range(0); ++i) receive(rx.clone(), &sum);
  std::uint64_t sent = 0;
  for (auto _ : state) {
    if (!tx.try_send(++sent)) state.SkipWithError("nobody took a message");
  }
  if (sum != sent * (sent + 1) / 2) state.SkipWithError("messages were lost or duplicated");
  state.SetItemsProcessed(static_cast<std::int64_t>(sent));
}

BENCHMARK(waiters)
    ->Name("coroutines/waiters/klaw")
    ->ArgName("waiting")
    ->Arg(1)
    ->Arg(100)
    ->Arg(10'000)
    ->Arg(100'000)
    ->Arg(1'000'000);

}  // namespace
}  // namespace klaw_bench
