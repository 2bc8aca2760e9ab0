// Messages that were taken, were not settled well, and come back: they are handed out again before what is newer.
//
// They are few, so each has a node of its own. Not thread-safe: the channel's lock protects it.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>

#include <klaw/channels/detail/sync.hpp>

namespace klaw::channels::detail {

template <class T>
class Returned {
 public:
  struct Message {
    T value;
    std::uint32_t redeliveries;  // how often it was handed out before
  };

  // Ready now, and those that are delayed beside them.
  [[nodiscard]] std::size_t ready() const noexcept { return ready_.size(); }
  [[nodiscard]] std::size_t size() const noexcept { return ready_.size() + delayed_.size(); }

  // `order`: in which messages were taken first; no two have the same.
  void put(std::uint64_t order, T&& value, std::uint32_t redeliveries) {
    ready_.emplace(order, Message{.value = std::move(value), .redeliveries = redeliveries});
  }
  void put_delayed(std::uint64_t order, T&& value, std::uint32_t redeliveries, Clock::time_point due) {
    delayed_.emplace(std::pair(due, order), Message{.value = std::move(value), .redeliveries = redeliveries});
  }
  void release_due(Clock::time_point now) {
    while (!delayed_.empty() && delayed_.begin()->first.first <= now) {
      const auto first = delayed_.begin();
      ready_.emplace(first->first.second, std::move(first->second));
      delayed_.erase(first);
    }
  }

  // The oldest of those that are ready, and its order.
  [[nodiscard]] std::pair<std::uint64_t, Message> pop_front() noexcept {
    assert(!ready_.empty());
    auto node = ready_.extract(ready_.begin());
    return {node.key(), std::move(node.mapped())};
  }

  template <class F>
  void for_each(F f) const {
    for (const auto& [order, message] : ready_) f(message.value);
    for (const auto& [due, message] : delayed_) f(message.value);
  }

  void swap(Returned& other) noexcept {
    ready_.swap(other.ready_);
    delayed_.swap(other.delayed_);
  }

 private:
  std::map<std::uint64_t, Message> ready_;  // by order
  std::map<std::pair<Clock::time_point, std::uint64_t>, Message>
      delayed_;  // by the time from which they may be handed out
};

}  // namespace klaw::channels::detail
