// One sender and four receivers, five coroutines of one thread, capacity 1024: each receiver gets each message. `lag`: the
// sender never waits, and receivers could fall behind; `wait`: it waits for the slowest receiver.

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <klaw/channels.hpp>

#include "local/rivals.hpp"
#include "peers/cpp/harness.hpp"
#include "peers/cpp/run_loop.hpp"

namespace klaw_peers {
namespace {

using klaw::channels::Overflow;
using Sender = klaw::channels::BroadcastSender<std::uint64_t>;
using Receiver = klaw::channels::BroadcastReceiver<std::uint64_t>;

constexpr std::size_t kCapacity = 1024;
constexpr std::size_t kReceivers = 4;
// How many messages a sender that never waits sends before it lets the receivers run: so that none lags.
constexpr std::uint64_t kBurst = 100;

template <class Resume>
Task send_all(RunLoop* loop, Sender tx, Overflow overflow, std::uint64_t messages) {
  Resume resume(*loop);
  for (std::uint64_t i = 0; i < messages; ++i) {
    if (!co_await resume(tx.send(i))) klaw_bench::ended_early();
    if (Resume::is_queued && overflow == Overflow::lag && i % kBurst == kBurst - 1) co_await loop->yield();
  }
}

template <class Resume>
Task receive_all(RunLoop* loop, Receiver rx, Tally* arrived) {
  Resume resume(*loop);
  while (const auto number = co_await resume(rx.recv())) arrived->add(*number);
}

template <class Resume, Overflow kOverflow>
nanoseconds to_four(std::uint64_t messages, Latencies* /*each*/) {
  auto [tx, first] = klaw::channels::broadcast<std::uint64_t>(kCapacity, kOverflow);
  RunLoop loop;
  std::vector<Tally> arrived(kReceivers);
  std::vector<Task> tasks;
  for (Tally& one : arrived) tasks.push_back(receive_all<Resume>(&loop, tx.subscribe(), &one));
  first.close();
  tasks.push_back(send_all<Resume>(&loop, std::move(tx), kOverflow, messages));
  const nanoseconds taken = run_tasks(loop, tasks);
  for (const Tally& one : arrived) check_all_arrived(one, messages);
  return taken;
}

void add(std::vector<Case>& cases, const char* scenario, const char* peer, Work work) {
  cases.push_back({.scenario = scenario, .peer = peer, .version = klaw_version(), .work = std::move(work)});
}

}  // namespace

void add_broadcast(std::vector<Case>& cases) {
  add(cases, "broadcast/lag", kKlaw, to_four<Inline, Overflow::lag>);
  add(cases, "broadcast/lag", kKlawRunLoop, to_four<OnRunLoop, Overflow::lag>);
  add(cases, "broadcast/wait", kKlaw, to_four<Inline, Overflow::wait>);
  add(cases, "broadcast/wait", kKlawRunLoop, to_four<OnRunLoop, Overflow::wait>);
}

}  // namespace klaw_peers
