// Runs one configuration: in this process, or in a child, where it may crash or hang.
#pragma once

#include <cstdint>
#include <deque>
#include <string>

#include "simulation/config.hpp"
#include "simulation/statistics.hpp"
#include "simulation/trace.hpp"

namespace klaw::dataplane::simulation {

struct Outcome {
  std::string invariant;  // empty: all was well. Else which one was violated; or "crash", "hang", "nondeterminism"
  std::string text;
  std::uint64_t hash = 0;
  [[nodiscard]] bool is_good() const noexcept { return invariant.empty(); }
};

[[nodiscard]] Outcome run(const Config& config, Trace& trace, Statistics& statistics);
// Twice; the traces must be the same.
[[nodiscard]] Outcome run_twice(const Config& config, Statistics& statistics);

// In a child process. `trace`: null, or where the last lines go.
[[nodiscard]] Outcome run_isolated(const Config& config, std::deque<std::string>* trace);

// A child that takes too long is ended by this.
inline constexpr unsigned kHangSeconds = 30;

}  // namespace klaw::dataplane::simulation
