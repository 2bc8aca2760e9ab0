// LocalSender: the sending handle of a local channel.
#include "blocking.hpp"
#include "handle.hpp"
#include "mpmc_ops.hpp"

namespace klaw::python {

namespace {

using SendOne = SendPending<Ref>;
using SendMany = SendPending<std::vector<Ref>>;

// Arguments of a send: a value (or values) and a timeout. `self` is null with an exception set.
struct SendCall {
  HandleObject* self = nullptr;
  PyObject* value = nullptr;
  Patience patience = Patience::forever();

  SendCall(const char* function, const char* value_name, PyObject* object, PyObject* const* args, Py_ssize_t nargs,
           PyObject* kwnames) {
    HandleObject* const handle = usable(object);
    if (handle == nullptr) return;
    if (nargs == 1 && kwnames == nullptr) {
      value = args[0];
    } else {
      const char* const names[] = {value_name, "timeout"};
      PyObject* values[2];
      if (!parse_arguments(function, names, 1, 2, args, nargs, kwnames, values) ||
          !parse_patience(values[1], patience)) {
        return;
      }
      value = values[0];
    }
    self = handle;
  }
};

// The values of an iterable; nullopt with an exception set.
std::optional<std::vector<Ref>> collect(PyObject* iterable) {
  const Ref sequence = Ref::steal(PySequence_Fast(iterable, "a batch must be an iterable of values"));
  if (!sequence) return std::nullopt;
  std::vector<Ref> values;
  const Py_ssize_t count = PySequence_Fast_GET_SIZE(sequence.get());
  values.reserve(static_cast<std::size_t>(count));
  for (Py_ssize_t i = 0; i < count; ++i) values.push_back(Ref::borrow(PySequence_Fast_GET_ITEM(sequence.get(), i)));
  return values;
}

PyObject* sender_send(PyObject* object, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
  const SendCall call("send", "value", object, args, nargs, kwnames);
  if (call.self == nullptr) return nullptr;
  return make_operation<SendOne>(call.self, "LocalSender.send", call.patience, Style::raise, Ref::borrow(call.value));
}

PyObject* sender_try_send(PyObject* object, PyObject* value) {
  HandleObject* const self = usable(object);
  if (self == nullptr) return nullptr;
  return make_operation<SendOne>(self, "LocalSender.try_send", Patience::never(), Style::result, Ref::borrow(value));
}

PyObject* sender_send_nowait(PyObject* object, PyObject* value) {
  HandleObject* const self = usable(object);
  if (self == nullptr) return nullptr;
  SendOne op(self, "LocalSender.send_nowait", Patience::never(), Style::nowait, Ref::borrow(value));
  return op.outcome(op.start(nullptr));
}

PyObject* sender_blocking_send(PyObject* object, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
  const SendCall call("blocking_send", "value", object, args, nargs, kwnames);
  if (call.self == nullptr || !refuse_event_loop("await tx.send(value)")) return nullptr;
  SendOne op(call.self, "LocalSender.blocking_send", call.patience, Style::raise, Ref::borrow(call.value));
  return run_blocking(op);
}

PyObject* sender_send_batch(PyObject* object, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
  const SendCall call("send_batch", "values", object, args, nargs, kwnames);
  if (call.self == nullptr) return nullptr;
  auto values = collect(call.value);
  if (!values) return nullptr;
  return make_operation<SendMany>(call.self, "LocalSender.send_batch", call.patience, Style::raise, *std::move(values));
}

PyObject* sender_try_send_batch(PyObject* object, PyObject* iterable) {
  HandleObject* const self = usable(object);
  if (self == nullptr) return nullptr;
  auto values = collect(iterable);
  if (!values) return nullptr;
  return make_operation<SendMany>(self, "LocalSender.try_send_batch", Patience::never(), Style::result,
                                  *std::move(values));
}

PyObject* sender_blocking_send_batch(PyObject* object, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
  const SendCall call("blocking_send_batch", "values", object, args, nargs, kwnames);
  if (call.self == nullptr || !refuse_event_loop("await tx.send_batch(values)")) return nullptr;
  auto values = collect(call.value);
  if (!values) return nullptr;
  SendMany op(call.self, "LocalSender.blocking_send_batch", call.patience, Style::raise, *std::move(values));
  return run_blocking(op);
}

}  // namespace

PyTypeObject* make_sender_type(PyObject* module) noexcept {
  return make_handle_type(
      module, "klaw_core._core.LocalSender",
      {
          {"send", as_method(sender_send), kFastKeywords,
           "send(value, timeout=None)\n--\n\nAwaitable: sends one message; waits while the channel is full, `timeout` "
           "seconds at most (None: without limit, 0: not at all).\nRaises ChannelClosedError, SendTimeoutError. Cancel "
           "safe: a cancelled send has either delivered its message or has not touched the channel."},
          {"try_send", sender_try_send, METH_O,
           "try_send(value)\n--\n\nAwaitable: sends without waiting for room. Ok(None), Err(ChannelFull(capacity)) or "
           "Err(ChannelClosed(...))."},
          {"send_nowait", sender_send_nowait, METH_O,
           "send_nowait(value)\n--\n\nSends at once, from any thread or callback. Raises ChannelFullError, "
           "ChannelClosedError."},
          {"blocking_send", as_method(sender_blocking_send), kFastKeywords,
           "blocking_send(value, timeout=None)\n--\n\nAs send(), for a thread without an event loop."},
          {"send_batch", as_method(sender_send_batch), kFastKeywords,
           "send_batch(values, timeout=None)\n--\n\nAwaitable: sends all values, in order, once there is room for all "
           "of "
           "them; none otherwise.\nRaises ChannelFullError at once for more values than max(capacity, 1)."},
          {"try_send_batch", sender_try_send_batch, METH_O,
           "try_send_batch(values)\n--\n\nAwaitable: all values or none, without waiting. A Result, as try_send()."},
          {"blocking_send_batch", as_method(sender_blocking_send_batch), kFastKeywords,
           "blocking_send_batch(values, timeout=None)\n--\n\nAs send_batch(), for a thread without an event loop."},
      },
      {{Py_tp_doc,
        const_cast<char*>("The sending handle of a channel within one process. See klaw_core.runtime.channels."
                          "local.")}});
}

}  // namespace klaw::python
