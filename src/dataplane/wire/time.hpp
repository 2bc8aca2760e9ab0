// Time as the state machines know it: what their driver says it is.
#pragma once

#include <chrono>

namespace klaw::dataplane {

// The driver's monotonic clock. Two processes' clocks have nothing to do with each other.
struct DriverClock {
  using duration = std::chrono::microseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<DriverClock>;
  static constexpr bool is_steady = true;
};
using Time = DriverClock::time_point;
using Duration = DriverClock::duration;
inline constexpr Time kNever = Time::max();

// `t` plus `d`, where kNever stays never.
[[nodiscard]] constexpr Time after(Time t, Duration d) noexcept { return t > kNever - d ? kNever : t + d; }

}  // namespace klaw::dataplane
