// The methods of both handles, over any backend: Local (mpmc_ops.hpp) or Remote (remote_ops.hpp).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "await/blocking.hpp"
#include "await/operation.hpp"
#include "await/outcomes.hpp"
#include "handles/handle.hpp"

namespace klaw::python {

// False with TypeError set.
[[nodiscard]] bool parse_reason(PyObject* object, std::optional<std::string>& reason) noexcept;
// "ValueError: what it says", of an exception that left a block.
[[nodiscard]] std::string describe_exception(PyObject* type, PyObject* exception) noexcept;
[[nodiscard]] bool is_dev_mode() noexcept;

template <class Backend>
class HandleMethods {
  using Handle = typename Backend::Handle;

 public:
  static PyObject* close(PyObject* object, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    static constexpr const char* kNames[] = {"reason"};
    PyObject* value = nullptr;
    std::optional<std::string> reason;
    Handle* const self = Backend::usable(object);
    if (self == nullptr || !parse_arguments("close", kNames, 0, 1, args, nargs, kwnames, &value) ||
        !parse_reason(value, reason)) {
      return nullptr;
    }
    Backend::close(*self, std::move(reason));
    return Backend::when_closed(*self, "close");
  }

  static PyObject* blocking_close(PyObject* object, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    static constexpr const char* kNames[] = {"timeout"};
    PyObject* value = nullptr;
    Patience patience = Patience::forever();
    Handle* const self = Backend::usable(object);
    if (self == nullptr || !parse_arguments("blocking_close", kNames, 0, 1, args, nargs, kwnames, &value) ||
        !parse_patience(value, patience) || !Backend::may_block("await handle.close()")) {
      return nullptr;
    }
    Backend::close(*self, std::nullopt);
    return Backend::wait_until_closed(*self, patience);
  }

  static PyObject* closed(PyObject* object, PyObject* /*unused*/) {
    Handle* const self = Backend::usable(object);
    return self != nullptr ? make_operation<typename Backend::Closed>(self, "closed") : nullptr;
  }

  static PyObject* shutdown(PyObject* object, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    ShutdownCall call("shutdown", object, args, nargs, kwnames);
    if (call.self == nullptr) return nullptr;
    return make_operation<typename Backend::Shutdown>(call.self, "shutdown", call.is_immediate, std::move(call.reason));
  }

  static PyObject* blocking_shutdown(PyObject* object, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    ShutdownCall call("blocking_shutdown", object, args, nargs, kwnames);
    if (call.self == nullptr || !Backend::may_block("await handle.shutdown()")) return nullptr;
    typename Backend::Shutdown op(call.self, "blocking_shutdown", call.is_immediate, std::move(call.reason));
    return run_blocking(op);
  }

  static PyObject* aenter(PyObject* object, PyObject* /*unused*/) {
    return Backend::usable(object) != nullptr ? make_completed("__aenter__", Ref::borrow(object)) : nullptr;
  }
  static PyObject* enter(PyObject* object, PyObject* /*unused*/) {
    return Backend::usable(object) != nullptr ? Py_NewRef(object) : nullptr;
  }
  // Both close; an exception that leaves the block is the reason.
  static PyObject* aexit(PyObject* object, PyObject* const* args, Py_ssize_t nargs) {
    Handle* const self = close_on_exit(object, args, nargs);
    return self != nullptr ? Backend::when_closed(*self, "__aexit__") : nullptr;
  }
  static PyObject* exit(PyObject* object, PyObject* const* args, Py_ssize_t nargs) {
    if (close_on_exit(object, args, nargs) == nullptr) return nullptr;
    Py_RETURN_NONE;
  }

  static PyObject* refuse_copy(PyObject* object, PyObject* /*unused*/) {
    PyErr_Format(PyExc_TypeError, "cannot copy '%.200s': %s", Py_TYPE(object)->tp_name, Backend::kInsteadOfCopy);
    return nullptr;
  }

  static PyObject* get_is_closed(PyObject* object, void* /*closure*/) {
    const Handle* const self = Backend::usable(object);
    return self != nullptr ? PyBool_FromLong(Backend::is_closed(*self) ? 1 : 0) : nullptr;
  }
  static PyObject* get_capacity(PyObject* object, void* /*closure*/) {
    const Handle* const self = Backend::usable(object);
    if (self == nullptr) return nullptr;
    const std::size_t capacity = Backend::capacity(*self);
    if (capacity == channels::detail::kUnbounded) Py_RETURN_NONE;
    return PyLong_FromSize_t(capacity);
  }
  static int truth(PyObject* /*self*/) { return 1; }

 private:
  // Arguments of a shutdown. `self` is null with an exception set.
  struct ShutdownCall {
    Handle* self = nullptr;
    bool is_immediate = false;
    std::optional<std::string> reason;

    ShutdownCall(const char* function, PyObject* object, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
      static constexpr const char* kNames[] = {"immediate", "reason"};
      PyObject* values[2];
      Handle* const handle = Backend::usable(object);
      if (handle == nullptr || !parse_arguments(function, kNames, 0, 2, args, nargs, kwnames, values) ||
          !parse_reason(values[1], reason)) {
        return;
      }
      const int truth = values[0] == nullptr ? 0 : PyObject_IsTrue(values[0]);
      if (truth < 0) return;
      is_immediate = truth == 1;
      self = handle;
    }
  };

  // Null with an exception set.
  static Handle* close_on_exit(PyObject* object, PyObject* const* args, Py_ssize_t nargs) {
    Handle* const self = Backend::usable(object);
    if (self == nullptr) return nullptr;
    std::optional<std::string> reason;
    if (nargs >= 2 && args[0] != Py_None) reason = describe_exception(args[0], args[1]);
    Backend::close(*self, std::move(reason));
    return self;
  }
};

template <class Backend>
[[nodiscard]] std::vector<PyMethodDef> handle_methods() {
  using Methods = HandleMethods<Backend>;
  return {
      {"close", as_method(Methods::close), kFastKeywords,
       "close(reason=None)\n--\n\nCloses this handle, at once, from any thread or callback; idempotent. Awaiting what "
       "it returns is optional.\nIts own pending operations end with ChannelClosedError; the last handle of a side "
       "ends the other side.\nWith a reason it is not an orderly end: the other side raises it."},
      {"blocking_close", as_method(Methods::blocking_close), kFastKeywords,
       "blocking_close(timeout=None)\n--\n\nAs close(), for threads."},
      {"closed", Methods::closed, METH_NOARGS,
       "closed()\n--\n\nAwaitable: waits until no handle of the other side is left. ChannelClosedError if this handle "
       "is closed first.\nCancel safe: it holds nothing."},
      {"__aenter__", Methods::aenter, METH_NOARGS, nullptr},
      {"__aexit__", as_method(Methods::aexit), METH_FASTCALL, nullptr},
      {"__enter__", Methods::enter, METH_NOARGS, nullptr},
      {"__exit__", as_method(Methods::exit), METH_FASTCALL, nullptr},
      {"__copy__", Methods::refuse_copy, METH_NOARGS, nullptr},
      {"__deepcopy__", Methods::refuse_copy, METH_O, nullptr},
      {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, "For annotations: LocalSender[int]."},
  };
}

// Of the handles of queues, beside the above.
template <class Backend>
[[nodiscard]] std::vector<PyMethodDef> queue_methods() {
  using Methods = HandleMethods<Backend>;
  return {
      {"shutdown", as_method(Methods::shutdown), kFastKeywords,
       "shutdown(immediate=False, reason=None)\n--\n\nAwaitable: no more sends from anywhere. Receivers drain what is "
       "stored, or, if `immediate`, it is dropped; then they end in an orderly way. Whoever waits to send gets "
       "ChannelClosedError of kind 'shutdown'. Idempotent. ChannelClosedError if this handle is closed."},
      {"blocking_shutdown", as_method(Methods::blocking_shutdown), kFastKeywords,
       "blocking_shutdown(immediate=False, reason=None)\n--\n\nAs shutdown(), for threads."},
  };
}

// Refers to the table for ever, as its type does.
template <class Backend>
PyGetSetDef* handle_getset() {
  using Methods = HandleMethods<Backend>;
  static PyGetSetDef table[] = {
      {"is_closed", Methods::get_is_closed, nullptr,
       "True if the next operation on this handle would raise ChannelClosedError.", nullptr},
      {"capacity", Methods::get_capacity, nullptr,
       "The most messages that the channel holds; 0 is a rendezvous, None unbounded.", nullptr},
      {},
  };
  return table;
}

// A type like `spec` with these methods and slots besides those of every handle. Null with an exception set.
template <class Backend>
[[nodiscard]] PyTypeObject* make_handle_type(PyObject* module, PyType_Spec spec, std::vector<PyMethodDef> methods,
                                             std::vector<PyType_Slot> slots) noexcept {
  // The type refers to its method table for ever.
  auto* const table = new std::vector<PyMethodDef>(handle_methods<Backend>());
  table->insert(table->end(), methods.begin(), methods.end());
  table->push_back({});
  slots.push_back({Py_tp_methods, table->data()});
  slots.push_back({Py_tp_getset, handle_getset<Backend>()});
  slots.push_back({Py_nb_bool, reinterpret_cast<void*>(HandleMethods<Backend>::truth)});
  slots.push_back({});
  spec.slots = slots.data();
  return reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &spec, nullptr));
}

}  // namespace klaw::python
