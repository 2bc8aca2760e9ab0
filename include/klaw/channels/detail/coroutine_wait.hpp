// Waiting by suspending a coroutine, of any type whose promise admits foreign awaitables.
//
// A ready operation completes in await_ready, without suspending: millions in a row need no stack. One that has waited
// is resumed
//
//   co_await rx.recv()                 through the RunQueue of the thread that woke it: inline, never under a lock, never
//                                      nested. So code after a co_await may run in another thread than the code before it,
//                                      as part of somebody's send, receive or close; it must not block there.
//   co_await rx.recv().on(executor)    by a function given to executor.post(): an allocation for each wait. `executor`
//                                      must live as long as the coroutine waits, and until a post() that has begun
//                                      returns.
//
// Cancel safety: a coroutine destroyed while it waits leaves its channel as if it had been cancelled: an unsent value
// stays unsent, a message granted to it goes to the next receiver. Destroying it while another thread is about to resume
// it is a race of its owner, as with every coroutine. With an executor that thread is one of the executor's: whoever takes
// turns with what the executor runs (as its own thread does, or code on the same strand) may destroy the coroutine whenever
// it waits, before the wake-up, and between the wake-up and the resumption. A posted function that comes too late does
// nothing; one that is dropped leaves the coroutine where it is.
// Nor may woken code destroy the coroutine whose send, receive or close woke it: that one is still running up the stack.
#pragma once

#include <coroutine>
#include <memory>
#include <optional>
#include <utility>

#include <klaw/channels/detail/operation.hpp>
#include <klaw/channels/detail/posted.hpp>
#include <klaw/channels/detail/timer.hpp>

namespace klaw::channels::detail {

// Where an awaiter keeps its Operation, and how it goes on. Inline: in the coroutine's frame, in the waker's thread.
template <class Awaiter>
class InlineSeat : public Operation {
 protected:
  // The frame may be destroyed by a coroutine that was resumed before it: then it leaves the queue of this thread.
  ~InlineSeat() {
    if (is_linked()) RunQueue::of_this_thread().remove(*this);
  }

  // The operation of a new wait.
  [[nodiscard]] Operation& sit_down() noexcept {
    renew();
    return *this;
  }
  [[nodiscard]] Operation& operation() noexcept { return *this; }
  // The wait is over before the owner slept, or was cancelled by the owner: nobody will wake it.
  void has_no_waker() noexcept {}
  // The frame goes, and somebody has claimed the operation.
  void leave() noexcept {}

 private:
  friend Awaiter;
  InlineSeat() noexcept : Operation(&InlineSeat::wake, &InlineSeat::run) {}

  static void wake(Operation& self) noexcept { RunQueue::of_this_thread().push(self); }
  static void run(Operation& self) noexcept { static_cast<Awaiter&>(self).proceed(); }
};

// By an executor: a new one for each wait, shared with the waker (posted.hpp).
template <class Awaiter, class Executor>
class PostedSeat {
 protected:
  [[nodiscard]] Operation& sit_down() {
    operation_ = std::make_shared<PostedOperation>(*executor_, this, [](void* seat) noexcept {
      static_cast<Awaiter*>(static_cast<PostedSeat*>(seat))->proceed();
    });
    operation_->keep_for_waker(operation_);
    return *operation_;
  }
  [[nodiscard]] Operation& operation() noexcept { return *operation_; }
  void has_no_waker() noexcept { operation_->has_no_waker(); }
  void leave() noexcept { operation_->leave(); }

 private:
  friend Awaiter;
  explicit PostedSeat(Executor& executor) noexcept : executor_(&executor) {}

  Executor* executor_;
  std::shared_ptr<PostedOperation> operation_;
};

struct Inline {
  template <class Awaiter>
  using Seat = InlineSeat<Awaiter>;
};
template <class Executor>
struct OnExecutor {
  template <class Awaiter>
  using Seat = PostedSeat<Awaiter, Executor>;
};

// An op whose finish() may give Status::pending: it was woken by what it does not wait for.
template <class Op>
concept MayWaitAgain = Op::kMayWaitAgain;

template <class Op, bool kLimited, class Where>
class Awaiter final : Where::template Seat<Awaiter<Op, kLimited, Where>> {
  using Seat = typename Where::template Seat<Awaiter>;
  friend Seat;

 public:
  template <class... Executors>
  Awaiter(Op&& op, Deadline deadline, Executors&... executor)
      : Seat(executor...), op_(std::move(op)), deadline_(deadline) {}
  ~Awaiter() {
    if (phase_ == Phase::waiting) leave_channel();
  }

  [[nodiscard]] bool await_ready() {
    status_ = op_.start(nullptr);
    return status_ != Status::pending;
  }

  // False: it has been done meanwhile, go on at once.
  [[nodiscard]] bool await_suspend(std::coroutine_handle<> coroutine) {
    coroutine_ = coroutine;
    return wait() || wait_again();
  }

  [[nodiscard]] auto await_resume() {
    if (phase_ == Phase::waiting) {
      remove_timer();
      phase_ = Phase::over;
      if (this->operation().claimed_index() == Operation::kCancelled) {
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

  // It was woken.
  void proceed() noexcept {
    if (!wait_again()) coroutine_.resume();
  }

  // True: it waits, and may be resumed this instant. False: it is done (Phase::not_waiting), or was fired already.
  [[nodiscard]] bool wait() {
    Operation& operation = this->sit_down();
    status_ = op_.start(&operation);
    if (status_ == Status::pending) {
      phase_ = Phase::waiting;
      add_timer();
      if (operation.arm()) return true;
    }
    this->has_no_waker();
    return false;
  }

  // It was fired, or done at once. True: by what it does not wait for, and it waits again. False: go on.
  [[nodiscard]] bool wait_again() noexcept {
    if constexpr (MayWaitAgain<Op>) {
      while (phase_ == Phase::waiting && this->operation().claimed_index() != Operation::kCancelled) {
        remove_timer();
        phase_ = Phase::not_waiting;
        status_ = op_.finish();
        if (status_ == Status::pending && wait()) return true;
      }
    }
    return false;
  }

  // The frame is being destroyed.
  void leave_channel() noexcept {
    remove_timer();
    const bool is_cancelled = this->operation().cancel();
    op_.abandon();
    is_cancelled ? this->has_no_waker() : this->leave();
  }
  void add_timer() {
    if constexpr (kLimited) {
      if (deadline_) Timers::of_this_process().add(*deadline_, this->operation());
    }
  }
  void remove_timer() noexcept {
    if constexpr (kLimited) {
      if (deadline_) Timers::of_this_process().remove(*deadline_, this->operation());
    }
  }

  Op op_;
  Deadline deadline_;
  std::coroutine_handle<> coroutine_;
  Status status_ = Status::pending;
  Phase phase_ = Phase::not_waiting;
};

// As Awaitable, resumed by an executor.
template <class Op, bool kLimited, class Executor>
class [[nodiscard]] AwaitableOn {
 public:
  AwaitableOn(Op&& op, Deadline deadline, Executor& executor)
      : op_(std::move(op)), deadline_(deadline), executor_(&executor) {}

  auto operator co_await() && {
    return Awaiter<Op, kLimited, OnExecutor<Executor>>(std::move(op_), deadline_, *executor_);
  }

 private:
  Op op_;
  Deadline deadline_;
  Executor* executor_;
};

// What the awaited verbs return: co_await it in the expression that makes it, since it refers to its arguments.
template <class Op, bool kLimited>
class [[nodiscard]] Awaitable {
 public:
  explicit Awaitable(Op&& op, Deadline deadline = std::nullopt) : op_(std::move(op)), deadline_(deadline) {}

  auto operator co_await() && { return Awaiter<Op, kLimited, Inline>(std::move(op_), deadline_); }

  // A coroutine that has to wait is resumed by executor.post().
  template <channels::Executor Executor>
  [[nodiscard]] auto on(Executor& executor) && {
    return AwaitableOn<Op, kLimited, Executor>(std::move(op_), deadline_, executor);
  }

 private:
  Op op_;
  Deadline deadline_;
};

}  // namespace klaw::channels::detail
