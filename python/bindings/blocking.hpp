// Waiting in a thread: the blocking_ calls and `for`.
#pragma once

#include <Python.h>

#include "operation.hpp"

namespace klaw::python {

// For a thread that comes back from a sleep without the GIL: if the interpreter is going down meanwhile, it must not ask for
// the GIL again, which would unwind it through our frames. It sleeps on, until the process ends.
void sleep_if_finalizing() noexcept;

// Drives `op` in this thread with the GIL released while it sleeps. False with an exception set (KeyboardInterrupt and
// the like; `op` was abandoned then). Else `status` is how it ended; Status::pending: the time ran out.
[[nodiscard]] bool block_on(PendingOp& op, Status& status);

// The outcome of a blocking call. Null with an exception set.
template <class Op>
[[nodiscard]] PyObject* run_blocking(Op& op) {
  Status status{};
  return block_on(op, status) ? op.outcome(status) : nullptr;
}

}  // namespace klaw::python
