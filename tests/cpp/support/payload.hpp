// Payloads that tell what was done to them.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

namespace klaw_test {

// Counts, for each of `size` values, how often it was destroyed (as a value: a moved-from object is none).
class Ledger {
 public:
  explicit Ledger(std::size_t size) : destroyed_(size) {}
  void note_destroyed(std::size_t id) { destroyed_.at(id).fetch_add(1); }
  [[nodiscard]] int destroyed(std::size_t id) const { return destroyed_.at(id).load(); }
  [[nodiscard]] bool each_destroyed_once() const {
    for (const auto& times : destroyed_) {
      if (times.load() != 1) return false;
    }
    return true;
  }
  [[nodiscard]] bool none_destroyed() const {
    for (const auto& times : destroyed_) {
      if (times.load() != 0) return false;
    }
    return true;
  }

 private:
  std::vector<std::atomic<int>> destroyed_;
};

// Move-only, not default-constructible, not assignable: all that a channel may ask of a T.
class Tracked {
 public:
  Tracked(Ledger& ledger, std::size_t id) : ledger_(&ledger), id_(id) {}
  Tracked(Tracked&& other) noexcept : ledger_(std::exchange(other.ledger_, nullptr)), id_(other.id_) {}
  Tracked& operator=(Tracked&&) = delete;
  ~Tracked() {
    if (ledger_ != nullptr) ledger_->note_destroyed(id_);
  }
  [[nodiscard]] std::size_t id() const { return id_; }
  [[nodiscard]] bool is_moved_from() const { return ledger_ == nullptr; }

 private:
  Ledger* ledger_;
  std::size_t id_;
};

// Its copy constructor throws; its move does not.
struct ThrowsOnCopy {
  int value = 0;
  explicit ThrowsOnCopy(int v) : value(v) {}
  ThrowsOnCopy(const ThrowsOnCopy&) { throw std::runtime_error("copied"); }
  ThrowsOnCopy(ThrowsOnCopy&&) noexcept = default;
  ThrowsOnCopy& operator=(const ThrowsOnCopy&) = delete;
  ThrowsOnCopy& operator=(ThrowsOnCopy&&) = delete;
};

}  // namespace klaw_test
