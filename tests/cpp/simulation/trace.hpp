// What happened, as a hash that tells two runs apart and, if wanted, as text.
#pragma once

#include <concepts>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

#include <dataplane/wire/codec.hpp>
#include <dataplane/wire/frame.hpp>

#include "simulation/random.hpp"
#include "simulation/scheduler.hpp"

namespace klaw::dataplane::simulation {

// An invariant (S1..S14, L1..L5 of docs/architecture; B.. and L.. of the state machines) does not hold.
class Violation : public std::runtime_error {
 public:
  Violation(std::string invariant, const std::string& what)
      : std::runtime_error(invariant + ": " + what), invariant_(std::move(invariant)) {}
  [[nodiscard]] const std::string& invariant() const noexcept { return invariant_; }

 private:
  std::string invariant_;
};

class Trace {
 public:
  enum class Mode : std::uint8_t { hash, keep, print };  // keep: the last kKept lines
  static constexpr std::size_t kKept = 80;

  explicit Trace(Mode mode) noexcept : mode_(mode) {}

  // Integers, enums, texts and frames. Text is only made if somebody wants to read it.
  template <class... Parts>
  void note(Micros now, const Parts&... parts) {
    add(static_cast<std::uint64_t>(now));
    (add(parts), ...);
    if (mode_ == Mode::hash) return;
    std::string line = stamp(now);
    ((line += ' ', line += text(parts)), ...);
    write(std::move(line));
  }
  // Bytes that went over the network: everything that a state machine says is in the hash.
  void add(std::string_view bytes) noexcept {
    std::uint64_t word = 0;
    for (const char c : bytes) word = word * 0x100000001b3 + static_cast<unsigned char>(c);
    hash_ = simulation::mix(hash_ ^ word ^ (bytes.size() << 32));
  }

  [[nodiscard]] std::uint64_t hash() const noexcept { return hash_; }
  [[nodiscard]] const std::deque<std::string>& lines() const noexcept { return lines_; }

 private:
  void add(std::integral auto number) noexcept {
    hash_ = simulation::mix(hash_ + static_cast<std::uint64_t>(number) + 1);
  }
  void add(const Frame& frame) noexcept { add(static_cast<std::uint64_t>(type_of(frame))); }

  static std::string text(std::string_view part) { return std::string(part); }
  static std::string text(std::integral auto part) { return std::to_string(part); }
  static std::string text(const Frame& frame) {
    std::string shown = to_string(frame);
    constexpr std::size_t kShown = 240;
    if (shown.size() > kShown) shown.replace(kShown, std::string::npos, "...");
    return shown;
  }
  static std::string stamp(Micros now) {
    char buffer[32];
    std::snprintf(buffer, sizeof buffer, "%11.6f", static_cast<double>(now) / 1e6);
    return buffer;
  }
  void write(std::string line) {
    if (mode_ == Mode::print) {
      std::printf("%s\n", line.c_str());
      return;
    }
    lines_.push_back(std::move(line));
    if (lines_.size() > kKept) lines_.pop_front();
  }

  const Mode mode_;
  std::uint64_t hash_ = 0;
  std::deque<std::string> lines_;
};

}  // namespace klaw::dataplane::simulation
