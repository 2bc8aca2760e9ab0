// Waiting in a thread: the blocking_ calls and `for`.
#pragma once

#include <Python.h>

#include "await/operation.hpp"

namespace klaw::python {

// Takes the GIL again, after a sleep without it. If the interpreter is going down meanwhile, Python would unwind the thread
// through our frames: it sleeps on instead, until the process ends.
void restore_thread(PyThreadState* state) noexcept;

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
