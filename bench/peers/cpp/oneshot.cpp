// Oneshots, each used once, by the coroutines of one thread: `ready` makes one, sends and receives; `pending` receives
// first, so that the send has to wake.

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include <klaw/channels.hpp>

#include "local/rivals.hpp"
#include "peers/cpp/harness.hpp"
#include "peers/cpp/run_loop.hpp"

namespace klaw_peers {
namespace {

using Sender = klaw::channels::OneshotSender<std::uint64_t>;

Task send_then_receive(std::uint64_t count, Tally* arrived) {
  for (std::uint64_t i = 0; i < count; ++i) {
    auto [tx, rx] = klaw::channels::oneshot<std::uint64_t>();
    if (!tx.send(i)) klaw_bench::ended_early();
    const auto number = co_await rx.recv();
    arrived->add(number.value());
  }
}

// Leaves each oneshot's sender in `*pending`, for the task that sends.
template <class Resume>
Task receive_first(RunLoop* loop, std::uint64_t count, std::optional<Sender>* pending, Tally* arrived) {
  Resume resume(*loop);
  for (std::uint64_t i = 0; i < count; ++i) {
    auto [tx, rx] = klaw::channels::oneshot<std::uint64_t>();
    pending->emplace(std::move(tx));
    const auto number = co_await resume(rx.recv());
    arrived->add(number.value());
  }
}

template <class Resume>
Task send_when_awaited(RunLoop* loop, std::uint64_t count, std::optional<Sender>* pending) {
  for (std::uint64_t i = 0; i < count; ++i) {
    Sender tx = std::move(**pending);
    if (!tx.send(i)) klaw_bench::ended_early();
    if constexpr (Resume::is_queued) co_await loop->yield();  // the receiver is due, with the next oneshot
  }
}

nanoseconds ready(std::uint64_t count, Latencies* /*each*/) {
  RunLoop loop;
  Tally arrived;
  Task both = send_then_receive(count, &arrived);
  const nanoseconds taken = run_tasks(loop, {both});
  check_all_arrived(arrived, count);
  return taken;
}

template <class Resume>
nanoseconds pending(std::uint64_t count, Latencies* /*each*/) {
  RunLoop loop;
  Tally arrived;
  std::optional<Sender> tx;
  Task receiver = receive_first<Resume>(&loop, count, &tx, &arrived);
  Task sender = send_when_awaited<Resume>(&loop, count, &tx);
  const nanoseconds taken = run_tasks(loop, {receiver, sender});
  check_all_arrived(arrived, count);
  return taken;
}

}  // namespace

void add_oneshot(std::vector<Case>& cases) {
  cases.push_back({.scenario = "oneshot/ready", .peer = kKlaw, .version = klaw_version(), .work = ready});
  cases.push_back({.scenario = "oneshot/pending", .peer = kKlaw, .version = klaw_version(), .work = pending<Inline>});
  cases.push_back(
      {.scenario = "oneshot/pending", .peer = kKlawRunLoop, .version = klaw_version(), .work = pending<OnRunLoop>});
}

}  // namespace klaw_peers
