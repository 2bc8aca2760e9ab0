// Waiting by parking the calling thread.
#pragma once

#include <optional>

#include <klaw/channels/detail/operation.hpp>

namespace klaw::channels::detail {

// The pending operation of a parked thread; lives on its stack.
class ThreadOperation final : public Operation {
 public:
  ThreadOperation() noexcept : Operation(&ThreadOperation::wake) {}

  // Sleeps until it was fired. Spurious ends are `interrupted`: by a signal that this thread handled.
  [[nodiscard]] Event::Wait wait(const Deadline& deadline) noexcept { return event_.wait(deadline); }

 private:
  // The event is the last thing the waker touches: from then on the thread may leave.
  static void wake(Operation& self) noexcept { static_cast<ThreadOperation&>(self).event_.set(); }

  Event event_;
};

// One sleep of this thread, until `op` is fired or `deadline` has passed. nullopt: the time ran out, and nothing has happened.
template <class Op>
[[nodiscard]] std::optional<Status> sleep_on(Op& op, const Deadline& deadline) {
  ThreadOperation thread;
  if (const Status status = op.start(&thread); status != Status::pending) return status;
  if (thread.arm()) {
    Event::Wait ended;
    while ((ended = thread.wait(deadline)) == Event::Wait::interrupted) {
    }
    if (ended == Event::Wait::timed_out) {
      if (thread.cancel()) {
        op.abandon();
        return std::nullopt;
      }
      // Claimed in the last moment: its waker is about to fire, and must find us here.
      while (thread.wait(std::nullopt) != Event::Wait::set) {
      }
    }
  }
  return op.finish();
}

// Drives `op` to its end in this thread, parked until `deadline` at most. Status::pending: the time ran out, and nothing
// has happened.
template <class Op>
[[nodiscard]] Status block_on(Op& op, const Deadline& deadline = std::nullopt) {
  Status status = op.start(nullptr);
  while (status == Status::pending) {
    const std::optional<Status> ended = sleep_on(op, deadline);
    if (!ended) return Status::pending;
    status = *ended;  // pending: it was woken by what it does not wait for
  }
  return status;
}

}  // namespace klaw::channels::detail
