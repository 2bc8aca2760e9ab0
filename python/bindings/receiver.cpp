// LocalReceiver: the receiving handle of a local channel.
#include "blocking.hpp"
#include "handle.hpp"
#include "mpmc_ops.hpp"

namespace klaw::python {

namespace {

// Arguments of a receive: a timeout. `self` is null with an exception set.
struct RecvCall {
  HandleObject* self = nullptr;
  Patience patience = Patience::forever();

  RecvCall(const char* function, PyObject* object, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    HandleObject* const handle = usable(object);
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

// False with an exception set: TypeError, or ValueError below 1.
bool parse_max_items(PyObject* object, std::size_t& max_items) {
  if (PyBool_Check(object) || PyIndex_Check(object) == 0) {
    PyErr_Format(PyExc_TypeError, "max_items must be an int, not %.200s", Py_TYPE(object)->tp_name);
    return false;
  }
  const Py_ssize_t count = PyNumber_AsSsize_t(object, nullptr);  // a huge one is clipped: no queue is longer
  if (count == -1 && PyErr_Occurred() != nullptr) return false;
  if (count < 1) {
    PyErr_Format(PyExc_ValueError, "max_items must be at least 1, got %R", object);
    return false;
  }
  max_items = static_cast<std::size_t>(count);
  return true;
}

// Arguments of a batch: a limit and a timeout. `self` is null with an exception set.
struct BatchCall {
  HandleObject* self = nullptr;
  std::size_t max_items = 0;
  Patience patience = Patience::forever();

  BatchCall(const char* function, PyObject* object, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    static constexpr const char* kNames[] = {"max_items", "timeout"};
    PyObject* values[2];
    HandleObject* const handle = usable(object);
    if (handle == nullptr || !parse_arguments(function, kNames, 1, 2, args, nargs, kwnames, values) ||
        !parse_max_items(values[0], max_items) || !parse_patience(values[1], patience)) {
      return;
    }
    self = handle;
  }
};

PyObject* receiver_recv(PyObject* object, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
  const RecvCall call("recv", object, args, nargs, kwnames);
  if (call.self == nullptr) return nullptr;
  return make_operation<RecvPending>(call.self, "LocalReceiver.recv", call.patience, Style::raise);
}

PyObject* receiver_try_recv(PyObject* object, PyObject* /*unused*/) {
  HandleObject* const self = usable(object);
  if (self == nullptr) return nullptr;
  return make_operation<RecvPending>(self, "LocalReceiver.try_recv", Patience::never(), Style::result);
}

PyObject* receiver_recv_nowait(PyObject* object, PyObject* /*unused*/) {
  HandleObject* const self = usable(object);
  if (self == nullptr) return nullptr;
  RecvPending op(self, "LocalReceiver.recv_nowait", Patience::never(), Style::nowait);
  return op.outcome(op.start(nullptr));
}

PyObject* receiver_blocking_recv(PyObject* object, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
  const RecvCall call("blocking_recv", object, args, nargs, kwnames);
  if (call.self == nullptr || !refuse_event_loop("await rx.recv()")) return nullptr;
  RecvPending op(call.self, "LocalReceiver.blocking_recv", call.patience, Style::raise);
  return run_blocking(op);
}

PyObject* receiver_recv_batch(PyObject* object, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
  const BatchCall call("recv_batch", object, args, nargs, kwnames);
  if (call.self == nullptr) return nullptr;
  return make_operation<RecvBatchPending>(call.self, "LocalReceiver.recv_batch", call.patience, Style::raise,
                                          call.max_items);
}

PyObject* receiver_try_recv_batch(PyObject* object, PyObject* limit) {
  HandleObject* const self = usable(object);
  std::size_t max_items = 0;
  if (self == nullptr || !parse_max_items(limit, max_items)) return nullptr;
  return make_operation<RecvBatchPending>(self, "LocalReceiver.try_recv_batch", Patience::never(), Style::result,
                                          max_items);
}

PyObject* receiver_blocking_recv_batch(PyObject* object, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
  const BatchCall call("blocking_recv_batch", object, args, nargs, kwnames);
  if (call.self == nullptr || !refuse_event_loop("await rx.recv_batch(max_items)")) return nullptr;
  RecvBatchPending op(call.self, "LocalReceiver.blocking_recv_batch", call.patience, Style::raise, call.max_items);
  return run_blocking(op);
}

PyObject* receiver_anext(PyObject* object) {
  HandleObject* const self = usable(object);
  if (self == nullptr) return nullptr;
  return make_operation<RecvPending>(self, "LocalReceiver.__anext__", Patience::forever(), Style::iterate);
}

PyObject* receiver_next(PyObject* object) {
  HandleObject* const self = usable(object);
  if (self == nullptr || !refuse_event_loop("async for value in rx")) return nullptr;
  RecvPending op(self, "LocalReceiver.__next__", Patience::forever(), Style::next);
  return run_blocking(op);
}

Py_ssize_t receiver_length(PyObject* object) {
  const HandleObject* const self = usable(object);
  return self != nullptr ? static_cast<Py_ssize_t>(self->channel->core->queue_size()) : -1;
}

}  // namespace

PyTypeObject* make_receiver_type(PyObject* module) noexcept {
  return make_handle_type(
      module, "klaw_core._core.LocalReceiver",
      {
          {"recv", as_method(receiver_recv), kFastKeywords,
           "recv(timeout=None)\n--\n\nAwaitable: receives one message; waits for it `timeout` seconds at most (None: "
           "without limit, 0: not at all).\nRaises ChannelClosedError once the senders are gone and all is drained, "
           "and "
           "RecvTimeoutError. Cancel safe: a cancelled receive takes nothing; a message that was granted to it already "
           "goes to the next in line."},
          {"try_recv", receiver_try_recv, METH_NOARGS,
           "try_recv()\n--\n\nAwaitable: receives without waiting for a message. Ok(value), Err(ChannelEmpty()) or "
           "Err(ChannelClosed(...))."},
          {"recv_nowait", receiver_recv_nowait, METH_NOARGS,
           "recv_nowait()\n--\n\nReceives at once, from any thread or callback. Raises ChannelEmptyError, "
           "ChannelClosedError."},
          {"blocking_recv", as_method(receiver_blocking_recv), kFastKeywords,
           "blocking_recv(timeout=None)\n--\n\nAs recv(), for a thread without an event loop."},
          {"recv_batch", as_method(receiver_recv_batch), kFastKeywords,
           "recv_batch(max_items, timeout=None)\n--\n\nAwaitable: waits for the first message and takes what is there, "
           "as a list of 1 to max_items."},
          {"try_recv_batch", receiver_try_recv_batch, METH_O,
           "try_recv_batch(max_items)\n--\n\nAwaitable: takes what is there, without waiting. A Result, as "
           "try_recv()."},
          {"blocking_recv_batch", as_method(receiver_blocking_recv_batch), kFastKeywords,
           "blocking_recv_batch(max_items, timeout=None)\n--\n\nAs recv_batch(), for a thread without an event loop."},
      },
      {
          {Py_tp_doc, const_cast<char*>("The receiving handle of a channel within one process. See klaw_core.runtime."
                                        "channels.local.")},
          {Py_am_aiter, reinterpret_cast<void*>(PyObject_SelfIter)},
          {Py_am_anext, reinterpret_cast<void*>(receiver_anext)},
          {Py_tp_iter, reinterpret_cast<void*>(PyObject_SelfIter)},
          {Py_tp_iternext, reinterpret_cast<void*>(receiver_next)},
          {Py_sq_length, reinterpret_cast<void*>(receiver_length)},
      });
}

}  // namespace klaw::python
