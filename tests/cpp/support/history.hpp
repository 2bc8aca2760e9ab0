// Histories of concurrent calls, and whether one call after the other explains them (Herlihy and Wing, "Linearizability",
// 1990; the search is Wing and Gong's, "Testing and Verifying Concurrent Objects", 1993, with Lowe's memory of states).
#pragma once

#include <algorithm>
#include <atomic>
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

// Each thread records into a list of its own; merge them when all have ended.
template <class Call>
class History {
 public:
  explicit History(std::size_t threads) : of_thread_(threads) {}

  // Runs `make`, which gives a Call with its outcome. Called by thread `who` alone.
  template <class Make>
  void record(std::size_t who, Make make) {
    const std::uint64_t started = clock_.fetch_add(1);
    Call call = make();
    of_thread_[who].push_back({std::move(call), started, clock_.fetch_add(1)});
  }

  [[nodiscard]] std::vector<Timed<Call>> calls() const {
    std::vector<Timed<Call>> all;
    for (const auto& one : of_thread_) all.insert(all.end(), one.begin(), one.end());
    std::ranges::sort(all, {}, &Timed<Call>::started);
    return all;
  }

 private:
  std::atomic<std::uint64_t> clock_ = 0;
  std::vector<std::vector<Timed<Call>>> of_thread_;
};

// Is there an order of the calls that keeps those apart that did not overlap, and in which `model` gives every outcome?
// Model: copyable, ordered, with `bool apply(const Call&)`: does it, and tells whether the outcome is the one recorded.
template <class Call, class Model>
class Linearization {
 public:
  explicit Linearization(std::vector<Timed<Call>> calls) : calls_(std::move(calls)) { assert(calls_.size() <= 64); }

  [[nodiscard]] bool exists(const Model& model) { return can_go_on(0, model); }

 private:
  // `done`: a bit for each call that has been put in its place.
  bool can_go_on(std::uint64_t done, const Model& model) {
    if (!tried_.emplace(done, model).second) return false;
    std::uint64_t first_end = ~std::uint64_t{0};
    for (std::size_t i = 0; i < calls_.size(); ++i) {
      if ((done >> i & 1) == 0) first_end = std::min(first_end, calls_[i].ended);
    }
    if (first_end == ~std::uint64_t{0}) return true;
    for (std::size_t i = 0; i < calls_.size() && calls_[i].started < first_end; ++i) {
      if ((done >> i & 1) != 0) continue;
      Model next = model;
      if (next.apply(calls_[i].call) && can_go_on(done | std::uint64_t{1} << i, next)) return true;
    }
    return false;
  }

  std::vector<Timed<Call>> calls_;
  std::set<std::pair<std::uint64_t, Model>> tried_;
};

}  // namespace klaw_test
