// The only source of chance in a simulation: the same numbers from the same seed on every platform.
//
// splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014). No std distribution: those
// differ between standard libraries.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>

namespace klaw::dataplane::simulation {

[[nodiscard]] constexpr std::uint64_t mix(std::uint64_t x) noexcept {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

class Random {
 public:
  // A stream of its own per purpose: what one part of the world draws does not disturb the others.
  Random(std::uint64_t seed, std::uint64_t purpose) noexcept : state_(mix(seed) ^ mix(~purpose)) {}

  [[nodiscard]] std::uint64_t next() noexcept { return mix(state_ += 0x9e3779b97f4a7c15); }
  // 0 .. n - 1
  [[nodiscard]] std::uint64_t below(std::uint64_t n) noexcept { return next() % n; }
  // low .. high, both included
  [[nodiscard]] std::int64_t between(std::int64_t low, std::int64_t high) noexcept {
    return low + static_cast<std::int64_t>(below(static_cast<std::uint64_t>(high - low) + 1));
  }
  [[nodiscard]] bool chance(std::int64_t permille) noexcept {
    return static_cast<std::int64_t>(below(1000)) < permille;
  }
  // Mostly small, at times up to `most`.
  [[nodiscard]] std::int64_t skewed(std::int64_t most) noexcept { return between(0, most) >> below(8); }

  [[nodiscard]] std::int64_t one_of(std::initializer_list<std::int64_t> choices) noexcept {
    return choices.begin()[below(choices.size())];
  }
  // An element of a container that is not empty.
  [[nodiscard]] auto& pick(auto& container) noexcept { return container[below(container.size())]; }

 private:
  std::uint64_t state_;
};

}  // namespace klaw::dataplane::simulation
