// Round trips of one number over two channels of capacity 1: between two threads, and between two coroutines of one.

#include <cstdint>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <klaw/channels.hpp>
#include <tbb/version.h>

#include "local/rivals.hpp"
#include "peers/cpp/harness.hpp"
#include "peers/cpp/run_loop.hpp"

namespace klaw_peers {
namespace {

using Sender = klaw::channels::LocalSender<std::uint64_t>;
using Receiver = klaw::channels::LocalReceiver<std::uint64_t>;

template <class Contender>
nanoseconds between_threads(std::uint64_t trips, Latencies* each) {
  Contender there(1);
  Contender back(1);
  const std::jthread echo([in = there.consumer(), out = back.producer()]() mutable {
    while (const auto number = in.pop()) out.push(*number);
  });
  Tally arrived;
  nanoseconds taken{};
  {
    auto out = there.producer();
    auto in = back.consumer();
    const auto trip = [&](std::uint64_t number) {
      out.push(number);
      return in.pop().value();
    };
    trip(0);  // the other thread runs
    taken = repeat(trips, each, [&](std::uint64_t number) { arrived.add(trip(number)); });
  }
  there.end(1);
  check_all_arrived(arrived, trips);
  return taken;
}

template <class Resume>
Task echo(RunLoop* loop, Receiver in, Sender out) {
  Resume resume(*loop);
  while (const auto number = co_await resume(in.recv())) {
    if (!co_await resume(out.send(*number))) klaw_bench::ended_early();
  }
}

template <class Resume>
Task trip_after_trip(RunLoop* loop, Sender out, Receiver in, std::uint64_t trips, Latencies* each, Tally* arrived) {
  Resume resume(*loop);
  for (std::uint64_t i = 0; i < trips; ++i) {
    const auto left = each == nullptr ? Clock::time_point{} : Clock::now();
    if (!co_await resume(out.send(i))) klaw_bench::ended_early();
    const auto number = co_await resume(in.recv());
    arrived->add(number.value());
    if (each != nullptr) each->push_back(Clock::now() - left);
  }
}

template <class Resume>
nanoseconds between_tasks(std::uint64_t trips, Latencies* each) {
  auto [out, far_in] = klaw::channels::channel<std::uint64_t>(1);
  auto [far_out, in] = klaw::channels::channel<std::uint64_t>(1);
  RunLoop loop;
  Tally arrived;
  Task far = echo<Resume>(&loop, std::move(far_in), std::move(far_out));
  Task near = trip_after_trip<Resume>(&loop, std::move(out), std::move(in), trips, each, &arrived);
  const nanoseconds taken = run_tasks(loop, {far, near});
  check_all_arrived(arrived, trips);
  return taken;
}

void add(std::vector<Case>& cases, const char* scenario, const char* peer, std::string version, Work work) {
  cases.push_back({.scenario = scenario,
                   .peer = peer,
                   .version = std::move(version),
                   .work = std::move(work),
                   .has_latencies = true});
}

}  // namespace

void add_ping_pong(std::vector<Case>& cases) {
  add(cases, "ping-pong/threads", kKlaw, klaw_version(), between_threads<klaw_bench::Klaw>);
  add(cases, "ping-pong/threads", "mutex_deque", standard_library(), between_threads<klaw_bench::Deque>);
  add(cases, "ping-pong/threads", "tbb", TBB_VERSION_STRING, between_threads<klaw_bench::Tbb>);
  add(cases, "ping-pong/tasks", kKlaw, klaw_version(), between_tasks<Inline>);
  add(cases, "ping-pong/tasks", kKlawRunLoop, klaw_version(), between_tasks<OnRunLoop>);
}

}  // namespace klaw_peers
