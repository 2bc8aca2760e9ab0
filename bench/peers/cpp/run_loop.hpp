// The least that runs coroutines on one thread: a queue of those that can go on.
//
// What klaw's tasks are compared with runs on an executor too: tokio's current_thread runtime, Go's scheduler with
// GOMAXPROCS=1. There, what a send or a receive wakes is queued, and runs when the running task has to wait: a full
// channel is drained whole before its producer goes on. klaw's own default is to resume inline, in the middle of the
// operation that woke: then nothing is queued, but in a channel that stays full each message costs a switch. So klaw
// takes part twice: `klaw` resumes inline, `klaw-run-loop` on this loop.
#pragma once

#include <coroutine>
#include <deque>
#include <exception>
#include <utility>
#include <vector>

#include "peers/cpp/harness.hpp"

namespace klaw_peers {

class RunLoop {
 public:
  void post(std::coroutine_handle<> coroutine) { due_.push_back(coroutine); }

  // Returns when nothing is due any more.
  void run() {
    while (!due_.empty()) {
      const std::coroutine_handle<> next = due_.front();
      due_.pop_front();
      next.resume();
    }
  }

  // Lets all that is due run first.
  auto yield() noexcept {
    struct Awaiter {
      RunLoop& loop;
      bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<> task) const { loop.post(task); }
      void await_resume() const noexcept {}
    };
    return Awaiter{*this};
  }

 private:
  std::deque<std::coroutine_handle<>> due_;
};

// A coroutine that starts when it is posted, and frees itself at its end.
struct Task {
  struct promise_type {
    Task get_return_object() noexcept { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
    std::suspend_always initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    void unhandled_exception() noexcept { std::terminate(); }
  };
  std::coroutine_handle<> handle;
};

// How a task goes on after it had to wait, as a function to put around what it awaits: `co_await resume(rx.recv())`.
struct Inline {
  static constexpr bool is_queued = false;

  explicit Inline(RunLoop& /*loop*/) {}
  template <class Awaitable>
  Awaitable operator()(Awaitable awaitable) const {
    return awaitable;
  }
};

// What an operation resumes is a stand-in, which posts the task to the loop. It lives in the task's frame.
class OnRunLoop {
  // Awaits what it is put around, but as the stand-in.
  template <class Awaiter>
  class Posting {
   public:
    template <class Awaitable>
    Posting(OnRunLoop& self, Awaitable&& awaitable)
        : self_(self), awaiter_(std::forward<Awaitable>(awaitable).operator co_await()) {}

    bool await_ready() { return awaiter_.await_ready(); }
    bool await_suspend(std::coroutine_handle<> task) {
      self_.task_ = task;
      return awaiter_.await_suspend(self_.stand_in_);
    }
    auto await_resume() { return awaiter_.await_resume(); }

   private:
    OnRunLoop& self_;
    Awaiter awaiter_;
  };

 public:
  static constexpr bool is_queued = true;

  explicit OnRunLoop(RunLoop& loop) : stand_in_(stand_in(&loop, &task_).handle) {}
  OnRunLoop(OnRunLoop&&) = delete;
  ~OnRunLoop() { stand_in_.destroy(); }

  template <class Awaitable>
  auto operator()(Awaitable&& awaitable) {
    using Awaiter = decltype(std::forward<Awaitable>(awaitable).operator co_await());
    return Posting<Awaiter>(*this, std::forward<Awaitable>(awaitable));
  }

 private:
  static Task stand_in(RunLoop* loop, const std::coroutine_handle<>* task) {
    for (;;) {
      loop->post(*task);
      co_await std::suspend_always{};
    }
  }

  std::coroutine_handle<> task_;
  std::coroutine_handle<> stand_in_;
};

// Runs tasks to their end, and tells how long that took.
inline nanoseconds run_tasks(RunLoop& loop, const std::vector<Task>& tasks) {
  const auto began = Clock::now();
  for (const Task& task : tasks) loop.post(task.handle);
  loop.run();
  return Clock::now() - began;
}

}  // namespace klaw_peers
