// The latest value: `ready` sends, learns of the change and reads, in one coroutine; `ping-pong` does so with two
// coroutines of one thread and a watch each way.

#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include <klaw/channels.hpp>

#include "local/rivals.hpp"
#include "peers/cpp/harness.hpp"
#include "peers/cpp/run_loop.hpp"

namespace klaw_peers {
namespace {

using Sender = klaw::channels::WatchSender<std::uint64_t>;
using Receiver = klaw::channels::WatchReceiver<std::uint64_t>;

// Differs from all that is sent.
constexpr std::uint64_t kInitial = std::numeric_limits<std::uint64_t>::max();

Task send_then_look(Sender tx, Receiver rx, std::uint64_t count, Tally* arrived) {
  for (std::uint64_t i = 0; i < count; ++i) {
    if (!tx.send(i)) klaw_bench::ended_early();
    if (!co_await rx.changed()) klaw_bench::ended_early();
    arrived->add(*rx.borrow_and_update());
  }
}

template <class Resume>
Task echo(RunLoop* loop, Receiver in, Sender out) {
  Resume resume(*loop);
  while (co_await resume(in.changed())) {
    if (!out.send(*in.borrow_and_update())) klaw_bench::ended_early();
  }
}

template <class Resume>
Task trip_after_trip(RunLoop* loop, Sender out, Receiver in, std::uint64_t trips, Tally* arrived) {
  Resume resume(*loop);
  for (std::uint64_t i = 0; i < trips; ++i) {
    if (!out.send(i)) klaw_bench::ended_early();
    if (!co_await resume(in.changed())) klaw_bench::ended_early();
    arrived->add(*in.borrow_and_update());
  }
}

nanoseconds ready(std::uint64_t count, Latencies* /*each*/) {
  auto [tx, rx] = klaw::channels::watch<std::uint64_t>(kInitial);
  RunLoop loop;
  Tally arrived;
  Task both = send_then_look(std::move(tx), std::move(rx), count, &arrived);
  const nanoseconds taken = run_tasks(loop, {both});
  check_all_arrived(arrived, count);
  return taken;
}

template <class Resume>
nanoseconds ping_pong(std::uint64_t trips, Latencies* /*each*/) {
  auto [out, far_in] = klaw::channels::watch<std::uint64_t>(kInitial);
  auto [far_out, in] = klaw::channels::watch<std::uint64_t>(kInitial);
  RunLoop loop;
  Tally arrived;
  Task far = echo<Resume>(&loop, std::move(far_in), std::move(far_out));
  Task near = trip_after_trip<Resume>(&loop, std::move(out), std::move(in), trips, &arrived);
  const nanoseconds taken = run_tasks(loop, {far, near});
  check_all_arrived(arrived, trips);
  return taken;
}

}  // namespace

void add_watch(std::vector<Case>& cases) {
  cases.push_back({.scenario = "watch/ready", .peer = kKlaw, .version = klaw_version(), .work = ready});
  cases.push_back({.scenario = "watch/ping-pong", .peer = kKlaw, .version = klaw_version(), .work = ping_pong<Inline>});
  cases.push_back(
      {.scenario = "watch/ping-pong", .peer = kKlawRunLoop, .version = klaw_version(), .work = ping_pong<OnRunLoop>});
}

}  // namespace klaw_peers
