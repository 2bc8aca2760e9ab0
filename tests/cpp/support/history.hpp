// Histories of concurrent calls, and whether one call after the other explains them (Herlihy and Wing, "Linearizability",
// 1990; the search is Wing and Gong's, "Testing and Verifying Concurrent Objects", 1993, with Lowe's memory of states).
#pragma once

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <set>
#include <utility>
#include <vector>

namespace klaw_test {

// What one thread called, with what came of it, and between which ticks of a common clock.
template <class Call>
struct Timed {
  Call call;
  std::uint64_t started = 0;
  std::uint64_t ended = 0;
};

// Of each thread, one after the other.
template <class Call>
using TimedCalls = std::vector<std::vector<Timed<Call>>>;

// Is there an order of the calls that keeps those apart that did not overlap, and in which `model` gives every outcome?
// Model: copyable, ordered, with `bool apply(const Call&)`: does it, and tells whether the outcome is the one recorded.
template <class Call, class Model>
class Linearization {
 public:
  explicit Linearization(TimedCalls<Call> calls) : calls_(std::move(calls)) {
    assert(calls_.size() <= sizeof(Done));
    assert(std::ranges::all_of(calls_, [](const auto& of_one) { return of_one.size() <= kDoneMax; }));
  }

  [[nodiscard]] bool exists(const Model& model) { return can_go_on(0, model); }

 private:
  // A byte for each thread: how many of its calls have been put in their places.
  using Done = std::uint64_t;
  static constexpr Done kDoneMax = 0xff;

  // The call that comes next in its thread; null: there is none.
  [[nodiscard]] const Timed<Call>* next(Done done, std::size_t thread) const {
    const auto& of_one = calls_[thread];
    const std::size_t at = done >> 8 * thread & kDoneMax;
    return at < of_one.size() ? &of_one[at] : nullptr;
  }

  bool can_go_on(Done done, const Model& model) {
    if (!tried_.emplace(done, model).second) return false;
    constexpr std::uint64_t kNever = ~std::uint64_t{0};
    std::uint64_t first_end = kNever;
    for (std::size_t i = 0; i < calls_.size(); ++i) {
      if (const auto* const it = next(done, i)) first_end = std::min(first_end, it->ended);
    }
    if (first_end == kNever) return true;
    for (std::size_t i = 0; i < calls_.size(); ++i) {
      const auto* const it = next(done, i);
      if (it == nullptr || it->started >= first_end) continue;
      Model then = model;
      if (then.apply(it->call) && can_go_on(done + (Done{1} << 8 * i), then)) return true;
    }
    return false;
  }

  TimedCalls<Call> calls_;
  std::set<std::pair<Done, Model>> tried_;
};

}  // namespace klaw_test
