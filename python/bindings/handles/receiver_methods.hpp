// The methods of a receiver, over any backend: Remote (remote_ops.hpp), Local (mpmc_ops.hpp), or a side of another flavour.
#pragma once

#include <vector>

#include "await/blocking.hpp"
#include "await/operation.hpp"
#include "await/outcomes.hpp"
#include "handles/handle.hpp"

namespace klaw::python {

// False with an exception set: TypeError, or ValueError below 1.
[[nodiscard]] bool parse_max_items(PyObject* object, std::size_t& max_items) noexcept;

// What acked() gives: an iterator of deliveries. One type for each backend.
template <class Backend>
inline PyTypeObject* deliveries_type = nullptr;
[[nodiscard]] PyTypeObject* make_deliveries_type(PyObject* module, const char* name, unaryfunc anext,
                                                 iternextfunc next) noexcept;
[[nodiscard]] PyObject* make_deliveries(PyTypeObject* type, PyObject* receiver) noexcept;
[[nodiscard]] PyObject* receiver_of(PyObject* deliveries) noexcept;

// Arguments of a receive: a timeout. `self` is null with an exception set.
template <class Backend>
struct ReceiveCall {
  typename Backend::Handle* self = nullptr;
  Patience patience = Patience::forever();

  ReceiveCall(const char* function, PyObject* object, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    auto* const handle = Backend::usable(object);
    if (handle == nullptr) return;
    if (nargs > 0 || kwnames != nullptr) {
      static constexpr const char* kNames[] = {"timeout"};
      PyObject* value = nullptr;
      if (!parse_arguments(function, kNames, 0, 1, args, nargs, kwnames, &value) || !parse_patience(value, patience)) {
        return;
      }
    }
    self = handle;
  }
};

template <class Backend>
class ReceiverMethods {
  using Handle = typename Backend::Handle;
  using Call = ReceiveCall<Backend>;
  using Recv = typename Backend::Recv;
  static constexpr OpName name(const char* method) noexcept { return {Backend::kReceiverName, method}; }

 public:
  static PyObject* recv(PyObject* object, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    const Call call("recv", object, args, nargs, kwnames);
    if (call.self == nullptr) return nullptr;
    return make_operation<Recv>(call.self, name("recv"), call.patience, Style::raise);
  }

  static PyObject* try_recv(PyObject* object, PyObject* /*unused*/) {
    Handle* const self = Backend::usable(object);
    if (self == nullptr) return nullptr;
    return make_operation<Recv>(self, name("try_recv"), Patience::never(), Style::result);
  }

  static PyObject* recv_nowait(PyObject* object, PyObject* /*unused*/) {
    Handle* const self = Backend::usable(object);
    if (self == nullptr) return nullptr;
    Recv op(self, name("recv_nowait"), Patience::never(), Style::nowait);
    return op.outcome(op.start(nullptr));
  }

  static PyObject* blocking_recv(PyObject* object, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    const Call call("blocking_recv", object, args, nargs, kwnames);
    if (call.self == nullptr || !refuse_event_loop("await rx.recv()")) return nullptr;
    Recv op(call.self, name("blocking_recv"), call.patience, Style::raise);
    return run_blocking(op);
  }

  static PyObject* recv_batch(PyObject* object, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    const BatchCall call("recv_batch", object, args, nargs, kwnames);
    if (call.self == nullptr) return nullptr;
    return make_operation<typename Backend::RecvBatch>(call.self, name("recv_batch"), call.patience, Style::raise,
                                                       call.max_items);
  }

  static PyObject* try_recv_batch(PyObject* object, PyObject* limit) {
    Handle* const self = Backend::usable(object);
    std::size_t max_items = 0;
    if (self == nullptr || !parse_max_items(limit, max_items)) return nullptr;
    return make_operation<typename Backend::RecvBatch>(self, name("try_recv_batch"), Patience::never(), Style::result,
                                                       max_items);
  }

  static PyObject* blocking_recv_batch(PyObject* object, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    const BatchCall call("blocking_recv_batch", object, args, nargs, kwnames);
    if (call.self == nullptr || !refuse_event_loop("await rx.recv_batch(max_items)")) return nullptr;
    typename Backend::RecvBatch op(call.self, name("blocking_recv_batch"), call.patience, Style::raise, call.max_items);
    return run_blocking(op);
  }

  static PyObject* recv_acked(PyObject* object, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    const Call call("recv_acked", object, args, nargs, kwnames);
    if (call.self == nullptr) return nullptr;
    return make_operation<typename Backend::RecvAcked>(call.self, name("recv_acked"), call.patience, Style::raise);
  }

  static PyObject* blocking_recv_acked(PyObject* object, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    const Call call("blocking_recv_acked", object, args, nargs, kwnames);
    if (call.self == nullptr || !refuse_event_loop("await rx.recv_acked()")) return nullptr;
    typename Backend::RecvAcked op(call.self, name("blocking_recv_acked"), call.patience, Style::raise);
    return run_blocking(op);
  }

  static PyObject* acked(PyObject* object, PyObject* /*unused*/) {
    return Backend::usable(object) != nullptr ? make_deliveries(deliveries_type<Backend>, object) : nullptr;
  }
  // Of what acked() gives.
  static PyObject* acked_anext(PyObject* deliveries) {
    Handle* const self = Backend::usable(receiver_of(deliveries));
    if (self == nullptr) return nullptr;
    return make_operation<typename Backend::RecvAcked>(self, name("acked"), Patience::forever(), Style::iterate);
  }
  static PyObject* acked_next(PyObject* deliveries) {
    Handle* const self = Backend::usable(receiver_of(deliveries));
    if (self == nullptr || !refuse_event_loop("async for m in rx.acked()")) return nullptr;
    typename Backend::RecvAcked op(self, name("acked"), Patience::forever(), Style::next);
    return run_blocking(op);
  }

  static PyObject* anext(PyObject* object) {
    Handle* const self = Backend::usable(object);
    if (self == nullptr) return nullptr;
    return make_operation<Recv>(self, name("__anext__"), Patience::forever(), Style::iterate);
  }

  static PyObject* next(PyObject* object) {
    Handle* const self = Backend::usable(object);
    if (self == nullptr || !refuse_event_loop("async for value in rx")) return nullptr;
    Recv op(self, name("__next__"), Patience::forever(), Style::next);
    return run_blocking(op);
  }

 private:
  // Arguments of a batch: a limit and a timeout. `self` is null with an exception set.
  struct BatchCall {
    Handle* self = nullptr;
    std::size_t max_items = 0;
    Patience patience = Patience::forever();

    BatchCall(const char* function, PyObject* object, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
      static constexpr const char* kNames[] = {"max_items", "timeout"};
      PyObject* values[2];
      Handle* const handle = Backend::usable(object);
      if (handle == nullptr || !parse_arguments(function, kNames, 1, 2, args, nargs, kwnames, values) ||
          !parse_max_items(values[0], max_items) || !parse_patience(values[1], patience)) {
        return;
      }
      self = handle;
    }
  };
};

template <class Backend>
[[nodiscard]] std::vector<PyMethodDef> receiver_methods() {
  using Methods = ReceiverMethods<Backend>;
  return {
      {"recv", as_method(Methods::recv), kFastKeywords,
       "recv(timeout=None)\n--\n\nAwaitable: receives one message; waits for it `timeout` seconds at most (None: "
       "without limit, 0: not at all).\nRaises ChannelClosedError once the senders are gone and all is drained, and "
       "RecvTimeoutError. Cancel safe: a cancelled receive takes nothing; a message that was granted to it already "
       "goes to the next in line."},
      {"try_recv", Methods::try_recv, METH_NOARGS,
       "try_recv()\n--\n\nAwaitable: receives without waiting for a message. Ok(value), Err(ChannelEmpty()) or "
       "Err(ChannelClosed(...))."},
      {"recv_nowait", Methods::recv_nowait, METH_NOARGS,
       "recv_nowait()\n--\n\nReceives at once, from any thread or callback. Raises ChannelEmptyError, "
       "ChannelClosedError."},
      {"blocking_recv", as_method(Methods::blocking_recv), kFastKeywords,
       "blocking_recv(timeout=None)\n--\n\nAs recv(), for a thread without an event loop."},
      {"recv_batch", as_method(Methods::recv_batch), kFastKeywords,
       "recv_batch(max_items, timeout=None)\n--\n\nAwaitable: waits for the first message and takes what is there, "
       "as a list of 1 to max_items."},
      {"try_recv_batch", Methods::try_recv_batch, METH_O,
       "try_recv_batch(max_items)\n--\n\nAwaitable: takes what is there, without waiting. A Result, as try_recv()."},
      {"blocking_recv_batch", as_method(Methods::blocking_recv_batch), kFastKeywords,
       "blocking_recv_batch(max_items, timeout=None)\n--\n\nAs recv_batch(), for a thread without an event loop."},
      {"recv_acked", as_method(Methods::recv_acked), kFastKeywords,
       "recv_acked(timeout=None)\n--\n\nAwaitable: receives one message as a Delivery, which comes back unless its "
       "block ends well: `async with await rx.recv_acked() as m: ...`.\nRaises ChannelClosedError, RecvTimeoutError. "
       "Cancel "
       "safe, as recv()."},
      {"blocking_recv_acked", as_method(Methods::blocking_recv_acked), kFastKeywords,
       "blocking_recv_acked(timeout=None)\n--\n\nAs recv_acked(), for a thread without an event loop."},
      {"acked", Methods::acked, METH_NOARGS,
       "acked()\n--\n\nIterates over deliveries: `async for m in rx.acked(): async with m: ...`; in a thread `for m in "
       "rx.acked(): with m: ...`. Ends as an iteration over the receiver does."},
  };
}

// False with an exception set.
template <class Backend>
[[nodiscard]] bool add_deliveries_type(PyObject* module, const char* name) noexcept {
  using Methods = ReceiverMethods<Backend>;
  deliveries_type<Backend> = make_deliveries_type(module, name, Methods::acked_anext, Methods::acked_next);
  return deliveries_type<Backend> != nullptr;
}

template <class Backend>
[[nodiscard]] std::vector<PyType_Slot> receiver_slots() {
  using Methods = ReceiverMethods<Backend>;
  return {
      {Py_am_aiter, reinterpret_cast<void*>(PyObject_SelfIter)},
      {Py_am_anext, reinterpret_cast<void*>(Methods::anext)},
      {Py_tp_iter, reinterpret_cast<void*>(PyObject_SelfIter)},
      {Py_tp_iternext, reinterpret_cast<void*>(Methods::next)},
  };
}

}  // namespace klaw::python
