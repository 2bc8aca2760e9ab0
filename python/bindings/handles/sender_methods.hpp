// The methods of a sender, over any backend: Remote (remote_ops.hpp), Local (mpmc_ops.hpp), or a side of another flavour.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "await/blocking.hpp"
#include "await/operation.hpp"
#include "await/outcomes.hpp"
#include "handles/handle.hpp"
#include "handles/handle_methods.hpp"

namespace klaw::python {

template <class Backend>
class SenderMethods {
  using Handle = typename Backend::Handle;
  using Value = typename Backend::Value;
  using SendOne = typename Backend::template Send<Value>;
  static constexpr OpName name(const char* method) noexcept { return {Backend::kSenderName, method}; }

 public:
  static PyObject* send(PyObject* object, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    Call call("send", "value", object, args, nargs, kwnames);
    std::optional<Value> value = call.pack_one();
    if (!value) return nullptr;
    return make_operation<SendOne>(call.self, name("send"), call.patience, Style::raise, *std::move(value));
  }

  static PyObject* try_send(PyObject* object, PyObject* given) {
    Handle* const self = Backend::usable(object);
    std::optional<Value> value = self != nullptr ? Backend::pack(given) : std::nullopt;
    if (!value) return nullptr;
    return make_operation<SendOne>(self, name("try_send"), Patience::never(), Style::result, *std::move(value));
  }

  static PyObject* send_nowait(PyObject* object, PyObject* given) {
    Handle* const self = Backend::usable(object);
    std::optional<Value> value = self != nullptr ? Backend::pack(given) : std::nullopt;
    if (!value) return nullptr;
    SendOne op(self, name("send_nowait"), Patience::never(), Style::nowait, *std::move(value));
    return op.outcome(op.start(nullptr));
  }

  static PyObject* blocking_send(PyObject* object, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    Call call("blocking_send", "value", object, args, nargs, kwnames);
    if (call.self == nullptr || !refuse_event_loop("await tx.send(value)")) return nullptr;
    std::optional<Value> value = call.pack_one();
    if (!value) return nullptr;
    SendOne op(call.self, name("blocking_send"), call.patience, Style::raise, *std::move(value));
    return run_blocking(op);
  }

  static PyObject* send_batch(PyObject* object, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    Call call("send_batch", "values", object, args, nargs, kwnames);
    auto values = call.pack_many();
    if (!values) return nullptr;
    return make_operation<typename Backend::template Send<std::vector<Value>>>(
        call.self, name("send_batch"), call.patience, Style::raise, *std::move(values));
  }

  static PyObject* try_send_batch(PyObject* object, PyObject* iterable) {
    Handle* const self = Backend::usable(object);
    auto values = self != nullptr ? collect(iterable) : std::nullopt;
    if (!values) return nullptr;
    return make_operation<typename Backend::template Send<std::vector<Value>>>(
        self, name("try_send_batch"), Patience::never(), Style::result, *std::move(values));
  }

  static PyObject* blocking_send_batch(PyObject* object, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    Call call("blocking_send_batch", "values", object, args, nargs, kwnames);
    if (call.self == nullptr || !refuse_event_loop("await tx.send_batch(values)")) return nullptr;
    auto values = call.pack_many();
    if (!values) return nullptr;
    typename Backend::template Send<std::vector<Value>> op(call.self, name("blocking_send_batch"), call.patience,
                                                           Style::raise, *std::move(values));
    return run_blocking(op);
  }

  static PyObject* reserve(PyObject* object, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    const WaitCall call("reserve", object, args, nargs, kwnames);
    if (call.self == nullptr) return nullptr;
    return make_operation<typename Backend::Reserve>(call.self, name("reserve"), call.patience, Style::raise);
  }

  static PyObject* try_reserve(PyObject* object, PyObject* /*unused*/) {
    Handle* const self = Backend::usable(object);
    if (self == nullptr) return nullptr;
    return make_operation<typename Backend::Reserve>(self, name("try_reserve"), Patience::never(), Style::result);
  }

  static PyObject* blocking_reserve(PyObject* object, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    const WaitCall call("blocking_reserve", object, args, nargs, kwnames);
    if (call.self == nullptr || !refuse_event_loop("await tx.reserve()")) return nullptr;
    typename Backend::Reserve op(call.self, name("blocking_reserve"), call.patience, Style::raise);
    return run_blocking(op);
  }

  static PyObject* flush(PyObject* object, PyObject* /*unused*/) {
    Handle* const self = Backend::usable(object);
    return self != nullptr ? make_operation<typename Backend::Flush>(self, name("flush")) : nullptr;
  }

  static PyObject* blocking_flush(PyObject* object, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    const WaitCall call("blocking_flush", object, args, nargs, kwnames);
    return call.self != nullptr ? Backend::blocking_flush(*call.self, call.patience) : nullptr;
  }

 private:
  // Arguments of what only waits: a timeout. `self` is null with an exception set.
  struct WaitCall {
    Handle* self = nullptr;
    Patience patience = Patience::forever();

    WaitCall(const char* function, PyObject* object, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
      static constexpr const char* kNames[] = {"timeout"};
      PyObject* value = nullptr;
      Handle* const handle = Backend::usable(object);
      if (handle == nullptr || !parse_arguments(function, kNames, 0, 1, args, nargs, kwnames, &value) ||
          !parse_patience(value, patience)) {
        return;
      }
      self = handle;
    }
  };

  // Arguments of a send: a value (or values) and a timeout. `self` is null with an exception set.
  struct Call {
    Handle* self = nullptr;
    PyObject* value = nullptr;
    Patience patience = Patience::forever();

    Call(const char* function, const char* value_name, PyObject* object, PyObject* const* args, Py_ssize_t nargs,
         PyObject* kwnames) {
      Handle* const handle = Backend::usable(object);
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
    [[nodiscard]] std::optional<Value> pack_one() const {
      return self != nullptr ? Backend::pack(value) : std::nullopt;
    }
    [[nodiscard]] std::optional<std::vector<Value>> pack_many() const {
      return self != nullptr ? collect(value) : std::nullopt;
    }
  };

  // The values of an iterable; nullopt with an exception set.
  static std::optional<std::vector<Value>> collect(PyObject* iterable) {
    // Packing may run Python code, so the values are held by a tuple that is ours alone.
    const Ref tuple = Ref::steal(PySequence_Tuple(iterable));
    if (!tuple) {
      if (PyErr_ExceptionMatches(PyExc_TypeError) != 0 && Py_TYPE(iterable)->tp_iter == nullptr &&
          PySequence_Check(iterable) == 0) {
        PyErr_SetString(PyExc_TypeError, "a batch must be an iterable of values");
      }
      return std::nullopt;
    }
    std::vector<Value> values;
    const Py_ssize_t count = PyTuple_GET_SIZE(tuple.get());
    values.reserve(static_cast<std::size_t>(count));
    for (Py_ssize_t i = 0; i < count; ++i) {
      std::optional<Value> value = Backend::pack(PyTuple_GET_ITEM(tuple.get(), i));
      if (!value) return std::nullopt;
      values.push_back(*std::move(value));
    }
    return values;
  }
};

// The methods as a type wants them. Both backends promise the same; what differs stands in the class's own docstring.
template <class Backend>
[[nodiscard]] std::vector<PyMethodDef> sender_methods() {
  using Methods = SenderMethods<Backend>;
  return {
      {"send", as_method(Methods::send), kFastKeywords,
       "send(value, timeout=None)\n--\n\nAwaitable: sends one message; waits while the channel is full, `timeout` "
       "seconds at most (None: without limit, 0: not at all).\nRaises ChannelClosedError, SendTimeoutError. Cancel "
       "safe: a cancelled send has either delivered its message or has not touched the channel."},
      {"try_send", Methods::try_send, METH_O,
       "try_send(value)\n--\n\nAwaitable: sends without waiting for room. Ok(None), Err(ChannelFull(capacity)) or "
       "Err(ChannelClosed(...))."},
      {"send_nowait", Methods::send_nowait, METH_O,
       "send_nowait(value)\n--\n\nSends at once, from any thread or callback. Raises ChannelFullError, "
       "ChannelClosedError."},
      {"blocking_send", as_method(Methods::blocking_send), kFastKeywords,
       "blocking_send(value, timeout=None)\n--\n\nAs send(), for a thread without an event loop."},
      {"send_batch", as_method(Methods::send_batch), kFastKeywords,
       "send_batch(values, timeout=None)\n--\n\nAwaitable: sends all values, in order, once there is room for all of "
       "them; none otherwise.\nRaises ChannelFullError at once for more values than max(capacity, 1)."},
      {"try_send_batch", Methods::try_send_batch, METH_O,
       "try_send_batch(values)\n--\n\nAwaitable: all values or none, without waiting. A Result, as try_send()."},
      {"blocking_send_batch", as_method(Methods::blocking_send_batch), kFastKeywords,
       "blocking_send_batch(values, timeout=None)\n--\n\nAs send_batch(), for a thread without an event loop."},
      {"reserve", as_method(Methods::reserve), kFastKeywords,
       "reserve(timeout=None)\n--\n\nAwaitable: a Permit, that is one slot of the capacity, held for a message that is "
       "to come. Waits in the line of those who send. Raises ChannelClosedError, SendTimeoutError. Cancel safe: a "
       "cancelled reserve holds nothing."},
      {"try_reserve", Methods::try_reserve, METH_NOARGS,
       "try_reserve()\n--\n\nAwaitable: reserves without waiting for room. Ok(permit), Err(ChannelFull(capacity)) or "
       "Err(ChannelClosed(...))."},
      {"blocking_reserve", as_method(Methods::blocking_reserve), kFastKeywords,
       "blocking_reserve(timeout=None)\n--\n\nAs reserve(), for a thread without an event loop."},
      {"flush", Methods::flush, METH_NOARGS,
       "flush()\n--\n\nAwaitable: waits until all that this handle's sends were accepted for is stored. Raises what "
       "could not be stored."},
      {"blocking_flush", as_method(Methods::blocking_flush), kFastKeywords,
       "blocking_flush(timeout=None)\n--\n\nAs flush(), for threads."},
  };
}

}  // namespace klaw::python
