// How long an operation may wait: the `timeout` argument.
#pragma once

#include <Python.h>

#include <cmath>
#include <limits>

namespace klaw::python {

// How long an operation may wait, in seconds.
class Patience {
 public:
  static constexpr Patience forever() noexcept { return Patience(std::numeric_limits<double>::infinity()); }
  static constexpr Patience never() noexcept { return Patience(0); }
  static constexpr Patience seconds(double limit) noexcept { return Patience(limit); }

  [[nodiscard]] bool waits() const noexcept { return seconds_ > 0; }
  [[nodiscard]] bool is_limited() const noexcept { return !std::isinf(seconds_); }
  [[nodiscard]] double seconds() const noexcept { return seconds_; }

 private:
  explicit constexpr Patience(double seconds) noexcept : seconds_(seconds) {}
  double seconds_;
};

// A `timeout` argument in seconds: None (or infinity) is no limit. False with an exception set: TypeError, or ValueError
// for a negative one and NaN.
[[nodiscard]] bool parse_patience(PyObject* object, Patience& patience) noexcept;

}  // namespace klaw::python
