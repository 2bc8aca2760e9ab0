// Owning references, and the Python classes that the extension raises and returns.
//
// Two rules hold in all of python/bindings:
//   * The GIL is the lock of a local channel: its queue and its waiters are touched only under it (a parked thread takes
//     the GIL again before it finishes its operation). So a garbage collection, which holds the GIL, sees the queue
//     standing still, and a ready operation costs no other lock.
//   * Nothing runs Python code, not even a decref, in the core's critical sections, where the GIL could change hands:
//     values leave the core by move.
//
// A remote channel's lock is its dialer's mutex. Python threads take it for an instant under the GIL; the I/O thread takes it
// too, and never wants the GIL (see wake_queue.hpp). What a thread wakes at a broker while it has released the GIL is woken
// in the same way as by the I/O thread.
#pragma once

#include <Python.h>

#include <cassert>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include <cxxabi.h>
#include <klaw/errors.hpp>

namespace klaw::python {

[[noreturn]] void sleep_for_ever() noexcept;

// Runs `code`, which may be Python's. A daemon thread that is in Python's code when the interpreter goes down would be unwound
// there (by pthread_exit, when it asks for the GIL): through frames that keep what others still refer to, and through those of
// `noexcept` functions, which would end the process. It sleeps instead, until the process ends.
template <class Code>
auto outlive_exit(const Code& code) noexcept {
  try {
    return code();
  } catch (abi::__forced_unwind&) {
    sleep_for_ever();
  }
}

// A strong reference, or none. To be destroyed under the GIL.
class Ref {
 public:
  Ref() noexcept = default;
  static Ref steal(PyObject* object) noexcept { return Ref(object); }
  static Ref borrow(PyObject* object) noexcept {
    Py_XINCREF(object);
    return Ref(object);
  }
  Ref(const Ref&) = delete;
  Ref& operator=(const Ref&) = delete;
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Ref& operator=(Ref&& other) noexcept {
    // The old object goes last: its destructor may look at us.
    drop(std::exchange(object_, std::exchange(other.object_, nullptr)));
    return *this;
  }
  ~Ref() { drop(object_); }

  [[nodiscard]] PyObject* get() const noexcept { return object_; }
  [[nodiscard]] PyObject* release() noexcept { return std::exchange(object_, nullptr); }
  explicit operator bool() const noexcept { return object_ != nullptr; }

 private:
  explicit Ref(PyObject* object) noexcept : object_(object) {}
  static void drop(PyObject* object) noexcept {
    outlive_exit([&] { Py_XDECREF(object); });
  }
  PyObject* object_ = nullptr;
};

// A strong reference that several hold: a copy is one more. (To make one runs no Python code, so a core may do it.)
class SharedRef : public Ref {
 public:
  explicit SharedRef(Ref object) noexcept : Ref(std::move(object)) {}
  SharedRef(const SharedRef& other) noexcept : Ref(borrow(other.get())) {}
  SharedRef(SharedRef&&) noexcept = default;
  SharedRef& operator=(const SharedRef&) = delete;
  SharedRef& operator=(SharedRef&&) noexcept = default;
  ~SharedRef() = default;
};

// Stands where a core has its mutex.
class GilExclusion {
 public:
#ifdef Py_GIL_DISABLED
#error "klaw's Python channels rely on the GIL; give this class a mutex for a free-threaded build"
#endif
  static void lock() noexcept { assert(PyGILState_Check() != 0); }
  static void unlock() noexcept {}
};

// Keeps the current exception across code that may raise and clear others (finalisers).
class SavedError {
 public:
  SavedError() noexcept { PyErr_Fetch(&type_, &value_, &traceback_); }
  SavedError(const SavedError&) = delete;
  SavedError& operator=(const SavedError&) = delete;
  ~SavedError() { PyErr_Restore(type_, value_, traceback_); }

 private:
  PyObject* type_ = nullptr;
  PyObject* value_ = nullptr;
  PyObject* traceback_ = nullptr;
};

// The current exception, taken: an instance with its traceback.
[[nodiscard]] inline Ref fetch_exception() noexcept {
  PyObject* type = nullptr;
  PyObject* error = nullptr;
  PyObject* traceback = nullptr;
  PyErr_Fetch(&type, &error, &traceback);
  PyErr_NormalizeException(&type, &error, &traceback);
  if (traceback != nullptr) PyException_SetTraceback(error, traceback);
  Py_XDECREF(type);
  Py_XDECREF(traceback);
  return Ref::steal(error);
}

// Of user code that has raised StopIteration or StopAsyncIteration: puts a RuntimeError in its place, with that as its cause, as
// Python does for a coroutine. They would end an iteration as if the channel had ended, and no task can end with one. Leaves any
// other exception as it is. `what` says whose code it was.
void replace_stop_iteration(const char* what) noexcept;

// Raises an exception later, in Python's next instruction of this thread: it came in the midst of something that is not its
// business, from a signal handler. (Its class only, for more can't be postponed.)
void postpone(const Ref& error) noexcept;

// The classes of the Python half that the extension makes instances of, and what it needs of asyncio. Looked up once.
struct Classes {
  PyObject* Ok;
  PyObject* Err;
  PyObject* ok_none;           // Ok(None)
  PyObject* err_empty;         // Err(ChannelEmpty())
  PyObject* err_already_sent;  // Err(AlreadySent())
  PyObject* ChannelClosed;
  PyObject* ChannelFull;
  PyObject* ChannelClosedError;
  PyObject* ChannelBackendError;
  PyObject* ChannelBackendErrorException;
  PyObject* ChannelFullError;
  PyObject* ChannelEmptyError;
  PyObject* SendTimeoutError;
  PyObject* RecvTimeoutError;
  PyObject* NoReceiversError;
  PyObject* AlreadySentError;
  PyObject* Lagged;
  PyObject* LaggedError;
  PyObject* ChannelStats;
  PyObject* get_running_loop;     // asyncio.events._get_running_loop: the loop that runs in this thread, or None
  PyObject* main_thread;          // threading.main_thread
  PyObject* iscoroutinefunction;  // inspect.iscoroutinefunction

  // Null with an exception set, if the Python half can't be imported.
  static const Classes* get() noexcept;
};

// Interned attribute and method names.
struct Names {
  PyObject* create_future;
  PyObject* set_result;
  PyObject* done;
  PyObject* cancel;
  PyObject* call_later;
  PyObject* call_soon_threadsafe;
  PyObject* future_blocking;  // _asyncio_future_blocking
  PyObject* kind;
  PyObject* index;

  static const Names& get() noexcept;
};

// --- errors: set an exception, or make a Result; null is an error of making it ---

// Raises ChannelClosedError; `index`: the branch of a select.
void raise_closed(const ChannelClosed& error, std::optional<std::size_t> index = std::nullopt) noexcept;
void raise_full(std::size_t capacity) noexcept;
void raise_empty() noexcept;
void raise_already_sent() noexcept;
// Raises LaggedError; `index`: the branch of a select.
void raise_lagged(std::uint64_t skipped, std::optional<std::size_t> index = std::nullopt) noexcept;
void raise_send_timeout(std::size_t capacity, double timeout_s) noexcept;
void raise_recv_timeout(double timeout_s) noexcept;

[[nodiscard]] PyObject* make_ok(PyObject* value) noexcept;
[[nodiscard]] PyObject* make_err_closed(const ChannelClosed& error) noexcept;
[[nodiscard]] PyObject* make_err_full(std::size_t capacity) noexcept;
[[nodiscard]] PyObject* make_err_lagged(std::uint64_t skipped) noexcept;

// --- arguments ---

// Parses a METH_FASTCALL | METH_KEYWORDS call of `function(required..., optional...)` into `values` (borrowed; null where
// an optional one was not given). False with a TypeError set.
[[nodiscard]] bool parse_arguments(const char* function, const char* const* names, Py_ssize_t required,
                                   Py_ssize_t count, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames,
                                   PyObject** values) noexcept;

// False with RuntimeError set if this thread runs an event loop; `instead` is what to write there.
[[nodiscard]] bool refuse_event_loop(const char* instead) noexcept;

// Grows by one in each child of a fork, which must not touch what its parent's threads may have locked.
extern std::uint64_t fork_generation;

}  // namespace klaw::python
