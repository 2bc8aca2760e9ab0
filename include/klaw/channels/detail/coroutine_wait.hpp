// Waiting by suspending a coroutine, of any type whose promise admits foreign awaitables.
//
// A ready operation completes in await_ready, without suspending: millions in a row need no stack. One that has waited
// is resumed through the RunQueue of the thread that woke it: inline, never under a lock, never nested. So code after a
// co_await may run in another thread than the code before it, as part of somebody's send, receive or close; it must not
// block there.
//
// Cancel safety: a coroutine destroyed while it waits leaves its channel as if it had been cancelled: an unsent value
// stays unsent, a message granted to it goes to the next receiver. Destroying it while another thread is about to resume
// it is a race of its owner, as with every coroutine.
// Nor may woken code destroy the coroutine whose send, receive or close woke it: that one is still running up the stack.
#pragma once

#include <coroutine>
#include <optional>
#include <utility>

#include <klaw/channels/detail/operation.hpp>
#include <klaw/channels/detail/timer.hpp>

namespace klaw::channels::detail {

// The pending operation of a suspended coroutine; lives in its frame.
class CoroutineOperation : public Operation {
 protected:
  explicit CoroutineOperation(Run run) noexcept : Operation(&CoroutineOperation::wake, run) {}
  // The frame may be destroyed by a coroutine that was resumed before it: then it leaves the queue of this thread.
  ~CoroutineOperation() {
    if (is_linked()) RunQueue::of_this_thread().remove(*this);
  }

  void set_coroutine(std::coroutine_handle<> coroutine) noexcept { coroutine_ = coroutine; }
  void resume() noexcept { coroutine_.resume(); }

 private:
  static void wake(Operation& self) noexcept { RunQueue::of_this_thread().push(self); }

  std::coroutine_handle<> coroutine_;
};

// An op whose finish() may give Status::pending: it was woken by what it does not wait for.
template <class Op>
concept MayWaitAgain = Op::kMayWaitAgain;

template <class Op, bool kLimited>
class Awaiter final : CoroutineOperation {
 public:
  Awaiter(Op&& op, Deadline deadline) : CoroutineOperation(&Awaiter::run), op_(std::move(op)), deadline_(deadline) {}
  ~Awaiter() {
    if (phase_ == Phase::waiting) leave();
  }

  [[nodiscard]] bool await_ready() {
    status_ = op_.start(nullptr);
    return status_ != Status::pending;
  }

  // False: it has been done meanwhile, go on at once.
  [[nodiscard]] bool await_suspend(std::coroutine_handle<> coroutine) {
    set_coroutine(coroutine);
    status_ = op_.start(this);
    if (status_ != Status::pending) return false;
    phase_ = Phase::waiting;
    add_timer();
    return arm() || wait_again();
  }

  [[nodiscard]] auto await_resume() {
    if (phase_ == Phase::waiting) {
      remove_timer();
      phase_ = Phase::over;
      if (claimed_index() == kCancelled) {
        op_.abandon();
      } else {
        status_ = op_.finish();
      }
    }
    if constexpr (kLimited) {
      return op_.limited_result(status_);
    } else {
      return op_.result(status_);
    }
  }

 private:
  enum class Phase : std::uint8_t { not_waiting, waiting, over };

  static void run(Operation& self) noexcept {
    auto& awaiter = static_cast<Awaiter&>(self);
    if (!awaiter.wait_again()) awaiter.resume();
  }

  // It was fired. True: by what it does not wait for, and it waits again; may be resumed this instant. False: go on.
  [[nodiscard]] bool wait_again() noexcept {
    if constexpr (MayWaitAgain<Op>) {
      while (claimed_index() != kCancelled) {
        status_ = op_.finish();
        if (status_ == Status::pending) {
          remove_timer();
          renew();
          status_ = op_.start(this);
        }
        if (status_ != Status::pending) {
          remove_timer();
          phase_ = Phase::over;
          return false;
        }
        add_timer();
        if (arm()) return true;
      }
    }
    return false;
  }

  // The frame is being destroyed: either nobody has claimed us yet, or we were fired and wait in this thread's RunQueue.
  void leave() noexcept {
    remove_timer();
    (void)cancel();
    op_.abandon();
  }
  void add_timer() {
    if constexpr (kLimited) {
      if (deadline_) Timers::of_this_process().add(*deadline_, *this);
    }
  }
  void remove_timer() noexcept {
    if constexpr (kLimited) {
      if (deadline_) Timers::of_this_process().remove(*deadline_, *this);
    }
  }

  Op op_;
  Deadline deadline_;
  Status status_ = Status::pending;
  Phase phase_ = Phase::not_waiting;
};

// What the awaited verbs return: co_await it in the expression that makes it, since it refers to its arguments.
template <class Op, bool kLimited>
class [[nodiscard]] Awaitable {
 public:
  explicit Awaitable(Op&& op, Deadline deadline = std::nullopt) : op_(std::move(op)), deadline_(deadline) {}

  auto operator co_await() && { return Awaiter<Op, kLimited>(std::move(op_), deadline_); }

 private:
  Op op_;
  Deadline deadline_;
};

}  // namespace klaw::channels::detail
