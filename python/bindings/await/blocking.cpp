#include "await/blocking.hpp"

#include <klaw/channels/detail/thread_wait.hpp>
namespace klaw::python {

namespace {

using channels::detail::Clock;
using channels::detail::Deadline;
using channels::detail::Event;
using channels::detail::ThreadOperation;

// How long a parked main thread sleeps before it looks for a Ctrl-C that came just before it went to sleep. (One that
// comes while it sleeps wakes it at once.)
constexpr auto kSignalCheck = std::chrono::milliseconds(100);

// Sleeps without the GIL.
Event::Wait wait_without_gil(ThreadOperation& thread, const Deadline& deadline) {
  PyThreadState* const state = PyEval_SaveThread();
  const Event::Wait ended = thread.wait(deadline);
  restore_thread(state);
  return ended;
}

// -1 with an exception set.
int is_main_thread() {
  const Classes* const classes = Classes::get();
  const Ref main = Ref::steal(classes != nullptr ? PyObject_CallNoArgs(classes->main_thread) : nullptr);
  const Ref ident = Ref::steal(main ? PyObject_GetAttrString(main.get(), "ident") : nullptr);
  if (!ident) return -1;
  return PyLong_AsUnsignedLong(ident.get()) == PyThread_get_thread_ident() ? 1 : 0;
}

// Until it was fired (1), or the deadline has passed (0). -1: a signal handler raised.
int park(ThreadOperation& thread, const Deadline& deadline, bool on_main) {
  for (;;) {
    Deadline until = deadline;
    const Clock::time_point look = Clock::now() + kSignalCheck;
    if (on_main && (!until || look < *until)) until = look;
    const Event::Wait ended = wait_without_gil(thread, until);
    if (ended == Event::Wait::set) return 1;
    if (on_main && PyErr_CheckSignals() < 0) {
      replace_stop_iteration("a signal handler");
      return -1;
    }
    if (ended == Event::Wait::timed_out && deadline && Clock::now() >= *deadline) return 0;
  }
}

enum class Slept : std::uint8_t {
  woken,        // or not at all: `status` is how it ended
  timed_out,    // it was abandoned
  interrupted,  // it was abandoned, and an exception is set
};

Slept sleep_on(PendingOp& op, const Deadline& deadline, bool on_main, Status& status) {
  ThreadOperation thread;
  status = op.start(&thread);
  if (status != Status::pending) return Slept::woken;
  const int fired = thread.arm() ? park(thread, deadline, on_main) : 1;
  if (fired == 1) {
    status = op.finish();
    return Slept::woken;
  }
  // Out of time, or interrupted. Who claimed it in the last moment has fired it too, or is the I/O thread, about to fire.
  const bool was_claimed = !thread.cancel();
  while (was_claimed && thread.wait(std::nullopt) != Event::Wait::set) {
  }
  if (was_claimed && fired == 0) {
    status = op.finish();
    return Slept::woken;
  }
  const SavedError saved;
  op.abandon();
  status = Status::pending;
  return fired == 0 ? Slept::timed_out : Slept::interrupted;
}

bool is_finalizing() noexcept {
#if PY_VERSION_HEX >= 0x030D0000
  return Py_IsFinalizing() != 0;
#else
  return _Py_IsFinalizing() != 0;
#endif
}

}  // namespace

void sleep_for_ever() noexcept {
  for (ThreadOperation never;;) (void)never.wait(std::nullopt);
}

void restore_thread(PyThreadState* state) noexcept {
  if (is_finalizing()) sleep_for_ever();
  outlive_exit([&] { PyEval_RestoreThread(state); });  // finalisation may have begun since we looked
}

bool block_on(PendingOp& op, Status& status) {
  status = op.start(nullptr);
  if (status != Status::pending || !(op.patience().waits() || op.keeps_time())) return true;
  Deadline deadline;
  if (op.patience().is_limited() && !op.keeps_time()) {
    deadline = channels::detail::deadline_after(std::chrono::duration<double>(op.patience().seconds()));
  }
  // Asked before it is linked: that is Python's code, in which a daemon thread may end when the interpreter goes down.
  const int on_main = is_main_thread();
  if (on_main < 0) return false;
  Slept slept;
  do {
    slept = sleep_on(op, deadline, on_main == 1, status);
  } while (slept == Slept::woken && status == Status::pending);  // by what it does not wait for
  return slept != Slept::interrupted;
}

}  // namespace klaw::python
