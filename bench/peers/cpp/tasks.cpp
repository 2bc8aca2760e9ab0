// One thread: the coroutine of a producer and that of a consumer move numbers through one channel, until it has ended.

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

using Sender = klaw::channels::LocalSender<std::uint64_t>;
using Receiver = klaw::channels::LocalReceiver<std::uint64_t>;

constexpr std::size_t kCapacities[] = {0, 1, 100, 10'000, klaw_bench::unbounded};

template <class Resume>
Task produce(RunLoop* loop, Sender tx, std::uint64_t messages) {
  Resume resume(*loop);
  for (std::uint64_t i = 0; i < messages; ++i) {
    if (!co_await resume(tx.send(i))) klaw_bench::ended_early();
  }
}

template <class Resume>
Task consume(RunLoop* loop, Receiver rx, Tally* arrived) {
  Resume resume(*loop);
  while (const auto number = co_await resume(rx.recv())) arrived->add(*number);
}

template <class Resume>
nanoseconds move_messages(std::size_t capacity, std::uint64_t messages) {
  auto [tx, rx] = capacity == klaw_bench::unbounded ? klaw::channels::unbounded_channel<std::uint64_t>()
                                                    : klaw::channels::channel<std::uint64_t>(capacity);
  RunLoop loop;
  Tally arrived;
  Task producer = produce<Resume>(&loop, std::move(tx), messages);
  Task consumer = consume<Resume>(&loop, std::move(rx), &arrived);
  const nanoseconds taken = run_tasks(loop, {producer, consumer});
  check_all_arrived(arrived, messages);
  return taken;
}

template <class Resume>
void add(std::vector<Case>& cases, std::size_t capacity, const char* peer) {
  cases.push_back({.scenario = "tasks/1P1C/" + column_of(capacity),
                   .peer = peer,
                   .version = klaw_version(),
                   .work = [capacity](std::uint64_t messages, Latencies* /*each*/) {
                     return move_messages<Resume>(capacity, messages);
                   }});
}

}  // namespace

void add_tasks(std::vector<Case>& cases) {
  for (const std::size_t capacity : kCapacities) {
    add<Inline>(cases, capacity, kKlaw);
    add<OnRunLoop>(cases, capacity, kKlawRunLoop);
  }
}

}  // namespace klaw_peers
