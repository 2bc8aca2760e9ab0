// What handles have out: of a sender the slots that it has reserved, of a receiver the messages that it has not settled.
//
// Few handles have anything out at a time, so they stand in a vector that is searched from its front, and that keeps its
// memory. Not thread-safe: the channel's lock protects it.
#pragma once

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace klaw::channels::detail {

class Claims {
 public:
  // Of all handles.
  [[nodiscard]] std::size_t total() const noexcept { return total_; }
  [[nodiscard]] std::size_t of(std::uint64_t handle) const noexcept {
    const auto found = std::ranges::find(entries_, handle, &Entry::handle);
    return found == entries_.end() ? 0 : found->count;
  }

  // After it the next add() does not throw.
  void make_room() {
    if (entries_.size() == entries_.capacity()) entries_.reserve(2 * entries_.size() + 1);
  }

  void add(std::uint64_t handle) {
    const auto found = std::ranges::find(entries_, handle, &Entry::handle);
    if (found == entries_.end()) {
      entries_.push_back({.handle = handle, .count = 1, .is_closed = false});
    } else {
      ++found->count;
    }
    ++total_;
  }

  // The handle closes. True: it has claims, the last of which ends it.
  [[nodiscard]] bool outlive(std::uint64_t handle) noexcept {
    const auto found = std::ranges::find(entries_, handle, &Entry::handle);
    if (found == entries_.end()) return false;
    found->is_closed = true;
    return true;
  }

  // True: that was the last one of a handle that has closed.
  [[nodiscard]] bool end(std::uint64_t handle) noexcept {
    const auto found = std::ranges::find(entries_, handle, &Entry::handle);
    assert(found != entries_.end());
    --total_;
    if (--found->count > 0) return false;
    const bool is_closed = found->is_closed;
    *found = entries_.back();
    entries_.pop_back();
    return is_closed;
  }

 private:
  struct Entry {
    std::uint64_t handle;
    std::size_t count;
    bool is_closed;
  };
  std::vector<Entry> entries_;
  std::size_t total_ = 0;
};

}  // namespace klaw::channels::detail
