// Coroutine types for tests only. No symmetric transfer: it overflows the stack at -O0 and under sanitizers (GCC 12).
#pragma once

#include <coroutine>
#include <exception>
#include <functional>
#include <memory>
#include <utility>
#include <variant>

#include "support/threads.hpp"

namespace klaw_test {

// Runs at once and frees itself at its end, in whichever thread that is.
struct Detached {
  struct promise_type {
    Detached get_return_object() noexcept { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    void unhandled_exception() noexcept { std::terminate(); }
  };
};

// Runs at once, up to its first wait. Owned: its end may be waited for from any thread, and it may be destroyed where it
// waits (its owner sees to it that nobody is about to resume it).
template <class R = std::monostate>
class [[nodiscard]] Task {
 public:
  struct promise_type;
  using Coroutine = std::coroutine_handle<promise_type>;

  struct promise_type {
    std::shared_ptr<Outcome<R>> outcome = std::make_shared<Outcome<R>>();
    std::optional<R> returned;

    // The coroutine is suspended for good when its owner hears of the end, so that it may be destroyed at once.
    struct Final {
      bool await_ready() noexcept { return false; }
      void await_suspend(Coroutine self) noexcept {
        const std::shared_ptr<Outcome<R>> told = self.promise().outcome;
        R value = *std::move(self.promise().returned);
        told->set(std::move(value));
      }
      void await_resume() noexcept {}
    };

    Task get_return_object() { return Task(Coroutine::from_promise(*this), outcome); }
    std::suspend_never initial_suspend() noexcept { return {}; }
    Final final_suspend() noexcept { return {}; }
    void return_value(R value) { returned.emplace(std::move(value)); }
    void unhandled_exception() noexcept { std::terminate(); }
  };

  Task() = default;
  Task(Task&& other) noexcept
      : coroutine_(std::exchange(other.coroutine_, nullptr)), outcome_(std::move(other.outcome_)) {}
  Task& operator=(Task&& other) noexcept {
    cancel();
    coroutine_ = std::exchange(other.coroutine_, nullptr);
    outcome_ = std::move(other.outcome_);
    return *this;
  }
  ~Task() { cancel(); }

  [[nodiscard]] bool is_done() const { return outcome_->is_set(); }
  // The result, waited for; once.
  [[nodiscard]] R get() { return outcome_->take("a task"); }
  // Destroys the coroutine where it waits.
  void cancel() noexcept {
    if (coroutine_) std::exchange(coroutine_, nullptr).destroy();
  }

 private:
  Task(Coroutine coroutine, std::shared_ptr<Outcome<R>> outcome) noexcept
      : coroutine_(coroutine), outcome_(std::move(outcome)) {}

  Coroutine coroutine_;
  std::shared_ptr<Outcome<R>> outcome_;
};

// A blocking call in a thread of its own, with the face of a Task.
template <class R>
class [[nodiscard]] ThreadTask {
 public:
  explicit ThreadTask(std::move_only_function<R()> body)
      : outcome_(std::make_shared<Outcome<R>>()),
        thread_([outcome = outcome_, body = std::move(body)]() mutable { outcome->set(body()); }) {}

  [[nodiscard]] bool is_done() const { return outcome_->is_set(); }
  [[nodiscard]] R get() { return outcome_->take("a parked thread"); }

 private:
  std::shared_ptr<Outcome<R>> outcome_;
  std::jthread thread_;
};

}  // namespace klaw_test
