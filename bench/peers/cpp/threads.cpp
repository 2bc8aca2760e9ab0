// Threads that block: producers and consumers move numbers through one channel, until it has ended.

#include <barrier>
#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include <tbb/version.h>

#include "local/rivals.hpp"
#include "peers/cpp/harness.hpp"

namespace klaw_peers {
namespace {

struct Shape {
  std::uint64_t producers;
  std::uint64_t consumers;

  [[nodiscard]] std::string name() const {
    return "threads/" + std::to_string(producers) + "P" + std::to_string(consumers) + "C/";
  }
};

constexpr Shape kShapes[] = {{1, 1}, {2, 2}, {4, 4}, {4, 1}};
constexpr std::size_t kCapacities[] = {0, 1, 100, 10'000, klaw_bench::unbounded};

// The clock runs from the moment when all threads are there until all are joined. They meet twice, and it is looked at in
// between: a main thread that is slow to leave the second meeting would miss some of what it times.
template <class Contender>
nanoseconds move_messages(Shape shape, std::size_t capacity, std::uint64_t messages) {
  const std::uint64_t share = messages / shape.producers;
  Contender channel(capacity);
  std::barrier start(static_cast<std::ptrdiff_t>(shape.producers + shape.consumers + 1));
  std::vector<Tally> arrived(shape.consumers);
  std::vector<std::jthread> producers;
  std::vector<std::jthread> consumers;
  for (Tally& total : arrived) {
    consumers.emplace_back([&start, &total, end = channel.consumer()]() mutable {
      Tally mine;
      start.arrive_and_wait();
      start.arrive_and_wait();
      while (const auto number = end.pop()) mine.add(*number);
      total = mine;
    });
  }
  for (std::uint64_t i = 0; i < shape.producers; ++i) {
    producers.emplace_back([&start, share, first = i * share, end = channel.producer()]() mutable {
      start.arrive_and_wait();
      start.arrive_and_wait();
      for (std::uint64_t k = 0; k < share; ++k) end.push(first + k);
    });
  }
  start.arrive_and_wait();
  const auto began = Clock::now();
  start.arrive_and_wait();
  producers.clear();  // joins them
  channel.end(shape.consumers);
  consumers.clear();
  const nanoseconds taken = Clock::now() - began;
  Tally all;
  for (const Tally& one : arrived) all.add(one);
  check_all_arrived(all, messages);
  return taken;
}

template <class Contender>
void add(std::vector<Case>& cases, Shape shape, std::size_t capacity, const char* peer, const std::string& version) {
  cases.push_back({.scenario = shape.name() + column_of(capacity),
                   .peer = peer,
                   .version = version,
                   .work = [shape, capacity](std::uint64_t messages, Latencies* /*each*/) {
                     return move_messages<Contender>(shape, capacity, messages);
                   }});
}

}  // namespace

void add_threads(std::vector<Case>& cases) {
  for (const Shape shape : kShapes) {
    for (const std::size_t capacity : kCapacities) {
      add<klaw_bench::Klaw>(cases, shape, capacity, kKlaw, klaw_version());
      if (capacity == 0) continue;  // the others have no rendezvous
      add<klaw_bench::Deque>(cases, shape, capacity, "mutex_deque", standard_library());
      add<klaw_bench::Tbb>(cases, shape, capacity, "tbb", TBB_VERSION_STRING);
    }
  }
}

}  // namespace klaw_peers
