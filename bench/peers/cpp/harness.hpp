// What the C++ scenarios share: cases, how one is timed, how what arrived is checked.
//
// The Rust and the Go program of bench/peers do the same in the same way; see docs/benchmarks.md for their protocol.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace klaw_peers {

using Clock = std::chrono::steady_clock;
using std::chrono::nanoseconds;

// How long each of many round trips took.
using Latencies = std::vector<nanoseconds>;

// Does a case's thing `count` times, checks what came of it, and gives the time that it took, without set-up. `count` is a
// multiple of kCountUnit. `each`, if not null, is to get the time of each (only asked of cases with has_latencies).
using Work = std::function<nanoseconds(std::uint64_t count, Latencies* each)>;

// Divisible by every number of producers.
inline constexpr std::uint64_t kCountUnit = 8;

// One peer in one scenario. The last part of a scenario's name is its column of the table, the rest its table.
struct Case {
  std::string scenario;
  std::string peer;
  std::string version;
  Work work;
  bool has_latencies = false;
};

// What is printed of one timed run; percentiles only of cases with has_latencies.
struct Figures {
  double per_second = 0;
  nanoseconds p50{};
  nanoseconds p99{};
};

// One timed run of about `seconds`. How many times that is, is found by shorter runs, which also warm up.
Figures measure(const Case& one, double seconds);

// What has arrived: how many numbers, and their sum.
struct Tally {
  std::uint64_t count = 0;
  std::uint64_t sum = 0;

  void add(std::uint64_t number) noexcept {
    ++count;
    sum += number;
  }
  void add(const Tally& other) noexcept {
    count += other.count;
    sum += other.sum;
  }
};

// Throws std::logic_error unless 0, 1, ... `count` - 1 have arrived.
void check_all_arrived(const Tally& arrived, std::uint64_t count);

// Calls once() `count` times, and notes the time of each in `each`, if that is not null.
template <class Once>
nanoseconds repeat(std::uint64_t count, Latencies* each, Once once) {
  const auto began = Clock::now();
  if (each == nullptr) {
    for (std::uint64_t i = 0; i < count; ++i) once(i);
  } else {
    for (std::uint64_t i = 0; i < count; ++i) {
      const auto left = Clock::now();
      once(i);
      each->push_back(Clock::now() - left);
    }
  }
  return Clock::now() - began;
}

inline constexpr const char* kKlaw = "klaw";
inline constexpr const char* kKlawRunLoop = "klaw-run-loop";  // see run_loop.hpp
std::string klaw_version();
std::string standard_library();

// "100", "unbounded"
std::string column_of(std::size_t capacity);

// One for each file of scenarios.
void add_threads(std::vector<Case>& cases);
void add_tasks(std::vector<Case>& cases);
void add_ping_pong(std::vector<Case>& cases);
void add_select(std::vector<Case>& cases);
void add_oneshot(std::vector<Case>& cases);
void add_broadcast(std::vector<Case>& cases);
void add_watch(std::vector<Case>& cases);

}  // namespace klaw_peers
