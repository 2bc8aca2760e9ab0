#include "simulation/shrink.hpp"

#include "simulation/run.hpp"

namespace klaw::dataplane::simulation {
namespace {

using Kind = Config::Knob::Kind;

bool still_fails(const Config& config, const std::string& invariant) {
  return run_isolated(config, nullptr).invariant == invariant;
}

// Takes `value` for the knob if it still fails so.
bool try_value(Config& config, const Config::Knob& knob, std::int64_t value, const std::string& invariant) {
  if (config.*knob.member == value) return false;
  Config smaller = config;
  smaller.*knob.member = value;
  if (!still_fails(smaller, invariant)) return false;
  config = smaller;
  return true;
}

bool shrink_knob(Config& config, const Config::Knob& knob, const std::string& invariant) {
  const std::int64_t value = config.*knob.member;
  switch (knob.kind) {
    case Kind::fault:
    case Kind::workload:
      if (value == 0) return false;
      return try_value(config, knob, 0, invariant) || (value > 1 && try_value(config, knob, value / 2, invariant)) ||
             (value > 1 && try_value(config, knob, value - 1, invariant));
    case Kind::amount:
      return value > 1 &&
             (try_value(config, knob, 1, invariant) || try_value(config, knob, value / 2, invariant) ||
              try_value(config, knob, value * 3 / 4, invariant) || try_value(config, knob, value - 1, invariant));
    case Kind::setting: return false;
  }
  return false;
}

}  // namespace

// Greedy, over and over, until no single step helps any more.
Config shrink(Config config, const std::string& invariant) {
  for (bool has_changed = true; has_changed;) {
    has_changed = false;
    for (const Config::Knob& knob : Config::knobs()) has_changed |= shrink_knob(config, knob, invariant);
  }
  return config;
}

}  // namespace klaw::dataplane::simulation
