// How a receiver of a watch waits, over any backend: a side of the local flavour (watch.cpp), or another process's
// (remote_watch.cpp). `Backend` has the operations: `Changed`, a wait for any change, and `WaitFor`, one for a certain value.
#pragma once

#include <vector>

#include "handles/receiver_methods.hpp"

namespace klaw::python {

// Whether a predicate is no coroutine function, whose answers would all pass for true. False with an exception set.
[[nodiscard]] bool check_is_plain(PyObject* predicate) noexcept;
// True, with TypeError set, if the answer of a predicate is to be awaited. A coroutine is closed.
[[nodiscard]] bool refuse_awaitable(const Ref& answer) noexcept;

// A predicate of the user's. If it raises, the wait is over, and the exception is what comes out of it.
class Predicate {
 public:
  using NeverThrows = void;

  explicit Predicate(Ref callable) noexcept : callable_(std::move(callable)) {}

  // Is the wait over with this value? A null one comes with an exception set.
  bool operator()(const Ref& value) {
    const Ref answer =
        Ref::steal(value ? outlive_exit([&] { return PyObject_CallOneArg(callable_.get(), value.get()); }) : nullptr);
    const int is_it = answer && !refuse_awaitable(answer) ? PyObject_IsTrue(answer.get()) : -1;
    if (is_it < 0) {
      replace_stop_iteration("the predicate");
      error_ = fetch_exception();
    }
    return is_it != 0;
  }

  // True, with the exception set again, if it raised.
  [[nodiscard]] bool raise() noexcept {
    const Ref error = std::move(error_);
    if (error) PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.get())), error.get());
    return static_cast<bool>(error);
  }

  int traverse(visitproc visit, void* arg) const {
    Py_VISIT(callable_.get());
    Py_VISIT(error_.get());
    return 0;
  }

 private:
  Ref callable_;
  Ref error_;
};

template <class Backend>
class WatchMethods {
  using Handle = typename Backend::Handle;
  using Changed = typename Backend::Changed;
  using WaitFor = typename Backend::WaitFor;
  static constexpr OpName name(const char* method) noexcept { return {Backend::kReceiverName, method}; }

 public:
  static PyObject* changed(PyObject* object, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    const ReceiveCall<Backend> call("changed", object, args, nargs, kwnames);
    if (call.self == nullptr) return nullptr;
    return make_operation<Changed>(call.self, name("changed"), call.patience, Style::raise);
  }

  static PyObject* try_changed(PyObject* object, PyObject* /*unused*/) {
    Handle* const self = Backend::usable(object);
    if (self == nullptr) return nullptr;
    return make_operation<Changed>(self, name("try_changed"), Patience::never(), Style::result);
  }

  static PyObject* blocking_changed(PyObject* object, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    const ReceiveCall<Backend> call("blocking_changed", object, args, nargs, kwnames);
    if (call.self == nullptr || !refuse_event_loop("await rx.changed()")) return nullptr;
    Changed op(call.self, name("blocking_changed"), call.patience, Style::raise);
    return run_blocking(op);
  }

  static PyObject* wait_for(PyObject* object, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    const WaitForCall call("wait_for", object, args, nargs, kwnames);
    if (call.self == nullptr) return nullptr;
    return make_operation<WaitFor>(call.self, name("wait_for"), call.patience, Ref::borrow(call.predicate));
  }

  static PyObject* blocking_wait_for(PyObject* object, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    const WaitForCall call("blocking_wait_for", object, args, nargs, kwnames);
    if (call.self == nullptr || !refuse_event_loop("await rx.wait_for(predicate)")) return nullptr;
    WaitFor op(call.self, name("blocking_wait_for"), call.patience, Ref::borrow(call.predicate));
    return run_blocking(op);
  }

 private:
  // Arguments of a wait for a value: a predicate and a timeout. `self` is null with an exception set.
  struct WaitForCall {
    Handle* self = nullptr;
    PyObject* predicate = nullptr;  // borrowed
    Patience patience = Patience::forever();

    WaitForCall(const char* function, PyObject* object, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
      static constexpr const char* kNames[] = {"predicate", "timeout"};
      PyObject* values[2];
      Handle* const handle = Backend::usable(object);
      if (handle == nullptr || !parse_arguments(function, kNames, 1, 2, args, nargs, kwnames, values) ||
          !parse_patience(values[1], patience)) {
        return;
      }
      if (PyCallable_Check(values[0]) == 0) {
        PyErr_Format(PyExc_TypeError, "predicate must be callable, not %.200s", Py_TYPE(values[0])->tp_name);
        return;
      }
      if (!check_is_plain(values[0])) return;
      predicate = values[0];
      self = handle;
    }
  };
};

inline constexpr const char* kInsteadOfWatchCopy = "use tx.clone(), tx.subscribe() or rx.resubscribe()";

template <class Backend>
[[nodiscard]] std::vector<PyMethodDef> watch_methods() {
  using Methods = WatchMethods<Backend>;
  return {
      {"changed", as_method(Methods::changed), kFastKeywords,
       "changed(timeout=None)\n--\n\nAwaitable: waits for a value that this receiver has not seen, `timeout` seconds "
       "at most (None: without limit, 0: not at all); then it has seen it.\nRaises ChannelClosedError once the senders "
       "are gone and the last value was seen, and RecvTimeoutError. Cancel safe: a cancelled wait has seen nothing."},
      {"try_changed", Methods::try_changed, METH_NOARGS,
       "try_changed()\n--\n\nAwaitable: without waiting for a send. Ok(None), and the value counts as seen; "
       "Err(ChannelEmpty()) or Err(ChannelClosed(...))."},
      {"blocking_changed", as_method(Methods::blocking_changed), kFastKeywords,
       "blocking_changed(timeout=None)\n--\n\nAs changed(), for a thread without an event loop."},
      {"wait_for", as_method(Methods::wait_for), kFastKeywords,
       "wait_for(predicate, timeout=None)\n--\n\nAwaitable: the first value for which predicate(value) is true, "
       "beginning with the current one, seen or not.\nThe predicate is a plain function, called in the waiting task. "
       "Raises what it "
       "raises, and what changed() raises. Cancel safe: it holds nothing."},
      {"blocking_wait_for", as_method(Methods::blocking_wait_for), kFastKeywords,
       "blocking_wait_for(predicate, timeout=None)\n--\n\nAs wait_for(), for a thread without an event loop."},
  };
}

}  // namespace klaw::python
