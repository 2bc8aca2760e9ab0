// The rival that everybody writes first: a std::deque under a mutex, with two condition variables.
//
// Bounded (or not, with kNoLimit), many producers, many consumers, close. Written to do well: one waiter is woken for
// each message, and outside of the lock.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <limits>
#include <mutex>
#include <optional>
#include <utility>

namespace klaw_bench {

template <class T>
class MutexDeque {
 public:
  static constexpr std::size_t kNoLimit = std::numeric_limits<std::size_t>::max();

  explicit MutexDeque(std::size_t capacity) : capacity_(capacity) {}

  // Waits for room. False once closed.
  bool push(T value) {
    {
      std::unique_lock lock(mutex_);
      room_.wait(lock, [this] { return closed_ || queue_.size() < capacity_; });
      if (closed_) return false;
      queue_.push_back(std::move(value));
    }
    messages_.notify_one();
    return true;
  }

  // Waits for a message. nullopt once closed and drained.
  std::optional<T> pop() {
    std::optional<T> value;
    {
      std::unique_lock lock(mutex_);
      messages_.wait(lock, [this] { return closed_ || !queue_.empty(); });
      if (queue_.empty()) return std::nullopt;
      value.emplace(std::move(queue_.front()));
      queue_.pop_front();
    }
    room_.notify_one();
    return value;
  }

  void close() {
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
    }
    room_.notify_all();
    messages_.notify_all();
  }

 private:
  const std::size_t capacity_;
  std::mutex mutex_;
  std::condition_variable room_;
  std::condition_variable messages_;
  // Protected by mutex_.
  std::deque<T> queue_;
  bool closed_ = false;
};

}  // namespace klaw_bench
