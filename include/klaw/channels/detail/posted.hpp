// The pending operation of a coroutine that an executor resumes: `co_await rx.recv().on(executor)`.
//
// The waker posts, in its own thread and after all locks were released; the executor resumes. Between the two the coroutine
// may be destroyed, by its executor's thread, which can't know of the waker: so the Operation does not live in the frame, as
// that of an inline resumption does, but is shared by the frame, the waker, and the function that was posted. It knows its
// awaiter as long as that waits.
//
//   owner    start() ─> arm() ─> sleeps ────────────────────────────> leaves, or goes on: awaiter_ = null
//   waker            try_claim() ─> fire() ─> run(): post(f) ┐
//   executor                                                 └> f(): takes awaiter_, if it is still there, and goes on
//
// Leaving an operation that was claimed and not fired yet is possible here, unlike elsewhere (see operation.hpp): abandon()
// waits for the critical section of the channel that has claimed it, and after that the waker uses the Operation only.
#pragma once

#include <concepts>
#include <memory>
#include <utility>

#include <klaw/channels/detail/operation.hpp>

namespace klaw::channels {

namespace detail {

class PostedOperation;

// What is posted: call it once, in any thread; or destroy it, and the coroutine stays where it is until it is destroyed.
class Resumption {
 public:
  explicit Resumption(std::shared_ptr<PostedOperation> operation) noexcept : operation_(std::move(operation)) {}
  inline void operator()() const noexcept;

 private:
  std::shared_ptr<PostedOperation> operation_;
};

}  // namespace detail

// Whatever runs functions: post(f) sees to it that f() is called once, now or later, here or in another thread. It is called
// by whoever wakes the coroutine, perhaps by several at once; it must not throw.
template <class E>
concept Executor = requires(E& executor, detail::Resumption function) { executor.post(std::move(function)); };

namespace detail {

class PostedOperation final : public Operation {
 public:
  using Proceed = void (*)(void* awaiter) noexcept;

  template <Executor E>
  PostedOperation(E& executor, void* awaiter, Proceed proceed) noexcept
      : Operation(&PostedOperation::wake, &PostedOperation::run),
        executor_(const_cast<void*>(static_cast<const void*>(&executor))),
        // NOLINTNEXTLINE(performance-unnecessary-value-param): it is moved on, to a post() that may take it by value
        post_([](void* to, Resumption function) noexcept { static_cast<E*>(to)->post(std::move(function)); }),
        proceed_(proceed),
        awaiter_(awaiter) {}

  // --- for the owner ---

  // Before it may be claimed: a share for the waker, which takes it when it has fired it and the owner sleeps.
  void keep_for_waker(std::shared_ptr<PostedOperation> self) noexcept { waker_ = std::move(self); }
  // Nobody will wake it: it was not armed, or cancelled by the owner.
  void has_no_waker() noexcept { waker_ = nullptr; }
  // The awaiter is about to go: what was or will be posted does nothing.
  void leave() noexcept { (void)take_awaiter(); }

 private:
  friend class Resumption;

  static void wake(Operation& self) noexcept { RunQueue::of_this_thread().push(self); }
  static void run(Operation& self) noexcept {
    auto& posted = static_cast<PostedOperation&>(self);
    std::shared_ptr<PostedOperation> share = std::move(posted.waker_);
    // If the coroutine was destroyed, so may be its executor. relaxed: read again by what is posted.
    if (posted.awaiter_.load(std::memory_order_relaxed) == nullptr) return;
    posted.post_(posted.executor_, Resumption(std::move(share)));
  }

  // acq_rel: whoever gets it goes on with what the other left; one of the two gets it.
  void* take_awaiter() noexcept { return awaiter_.exchange(nullptr, std::memory_order_acq_rel); }

  void* const executor_;
  void (*const post_)(void*, Resumption) noexcept;
  const Proceed proceed_;
  Atomic<void*> awaiter_;                   // null: it has gone, or was told to go on
  std::shared_ptr<PostedOperation> waker_;  // run()'s, if it will be called; the owner's otherwise
};

void Resumption::operator()() const noexcept {
  if (void* const awaiter = operation_->take_awaiter()) operation_->proceed_(awaiter);
}

}  // namespace detail

}  // namespace klaw::channels
