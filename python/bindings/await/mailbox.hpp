// From threads without the GIL to one of Python's: what is put in is taken out in order, by a thread that waits without the
// GIL.
#pragma once

#include <Python.h>

#include <deque>
#include <optional>
#include <utility>

#include <klaw/channels/detail/sync.hpp>

#include "await/blocking.hpp"

namespace klaw::python {

template <class T>
class Mailbox {
 public:
  void put(T item) {
    {
      const channels::detail::LockGuard<channels::detail::Mutex> guard(mutex_);
      items_.push_back(std::move(item));
    }
    filled_.notify_one();
  }

  // Under the GIL, which is released meanwhile. nullopt: the time is over.
  [[nodiscard]] std::optional<T> take(const channels::detail::Deadline& deadline) {
    PyThreadState* const state = PyEval_SaveThread();
    std::optional<T> item = wait(deadline);
    restore_thread(state);
    return item;
  }

 private:
  std::optional<T> wait(const channels::detail::Deadline& deadline) {
    channels::detail::Lock lock(mutex_);
    const auto is_filled = [this] { return !items_.empty(); };
    if (deadline) {
      if (!filled_.wait_until(lock, *deadline, is_filled)) return std::nullopt;
    } else {
      filled_.wait(lock, is_filled);
    }
    std::optional<T> item(std::move(items_.front()));
    items_.pop_front();
    return item;
  }

  channels::detail::Mutex mutex_;
  channels::detail::ConditionVariable filled_;
  std::deque<T> items_;  // under the mutex
};

}  // namespace klaw::python
