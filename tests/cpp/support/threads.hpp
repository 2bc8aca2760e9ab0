// Threads that start together, results gathered from many of them, and waiting for a state (never for a time).
#pragma once

#include <atomic>
#include <barrier>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "support/scale.hpp"

namespace klaw_test {

// A hung test can't be unwound (its threads are parked in the channel): say where, and end the process.
[[noreturn]] inline void hung(const char* what) {
  std::fprintf(stderr, "hung: %s\n", what);
  std::fflush(stderr);
  std::abort();
}

// Until `condition` holds; it must come true whatever the scheduler does.
template <class Condition>
void spin_until(Condition condition, const char* what = "spin_until") {
  const auto deadline = std::chrono::steady_clock::now() + kHang;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) hung(what);
    std::this_thread::yield();
  }
}

template <class Handle>
void until_receivers_wait(const Handle& handle, std::size_t count) {
  spin_until([&] { return handle.stats().waiting_receivers == count; }, "until_receivers_wait");
}
template <class Handle>
void until_senders_wait(const Handle& handle, std::size_t count) {
  spin_until([&] { return handle.stats().waiting_senders == count; }, "until_senders_wait");
}

// Something that happens once: an outcome R in one thread, awaited in another.
template <class R>
class Outcome {
 public:
  void set(R value) {
    const std::lock_guard lock(mutex_);
    value_.emplace(std::move(value));
    changed_.notify_all();
  }
  [[nodiscard]] bool is_set() const {
    const std::lock_guard lock(mutex_);
    return value_.has_value();
  }
  [[nodiscard]] R take(const char* what = "Outcome") {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_until(lock, std::chrono::system_clock::now() + kHang, [&] { return value_.has_value(); })) {
      hung(what);
    }
    return *std::move(value_);
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<R> value_;
};

// Counts down to zero; tasks of any kind say that they are done.
class WaitGroup {
 public:
  explicit WaitGroup(std::size_t count) : left_(count) {}
  void done() {
    const std::lock_guard lock(mutex_);
    --left_;
    changed_.notify_all();
  }
  void wait(const char* what = "WaitGroup") {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_until(lock, std::chrono::system_clock::now() + 4 * kHang, [&] { return left_ == 0; }))
      hung(what);
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t left_;
};

// Threads whose bodies start at the same moment, once all exist.
class Crew {
 public:
  explicit Crew(std::size_t size) : start_(static_cast<std::ptrdiff_t>(size)) {}
  template <class Body>
  void add(Body body) {
    threads_.emplace_back([this, body = std::move(body)]() mutable {
      start_.arrive_and_wait();
      body();
    });
  }
  void join() { threads_.clear(); }
  ~Crew() { join(); }

 private:
  std::barrier<> start_;
  std::vector<std::jthread> threads_;
};

// body(i) in `count` threads that start together; returns when all have ended.
template <class Body>
void run_together(std::size_t count, Body body) {
  Crew crew(count);
  for (std::size_t i = 0; i < count; ++i) crew.add([&body, i] { body(i); });
}

// Values from many threads.
template <class T>
class Collected {
 public:
  void add(T value) {
    const std::lock_guard lock(mutex_);
    values_.push_back(std::move(value));
  }
  void add_all(const std::vector<T>& values) {
    const std::lock_guard lock(mutex_);
    values_.insert(values_.end(), values.begin(), values.end());
  }
  [[nodiscard]] std::size_t size() const {
    const std::lock_guard lock(mutex_);
    return values_.size();
  }
  [[nodiscard]] std::vector<T> values() const {
    const std::lock_guard lock(mutex_);
    return values_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<T> values_;
};

}  // namespace klaw_test
