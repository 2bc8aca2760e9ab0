#include "await/python.hpp"

namespace klaw::python {

std::uint64_t fork_generation = 0;

namespace {

PyObject* import_attribute(const char* module, const char* attribute) noexcept {
  const Ref imported = Ref::steal(PyImport_ImportModule(module));
  return imported ? PyObject_GetAttrString(imported.get(), attribute) : nullptr;
}

constexpr const char* kErrors = "klaw_core.runtime.errors";

// Err(Name()) of an error without fields.
PyObject* err_of(PyObject* err_class, const char* name) noexcept {
  const Ref error_class = Ref::steal(import_attribute(kErrors, name));
  const Ref error = Ref::steal(error_class ? PyObject_CallNoArgs(error_class.get()) : nullptr);
  return error ? PyObject_CallOneArg(err_class, error.get()) : nullptr;
}

bool load(Classes& c) noexcept {
  constexpr const char* kResult = "klaw_core.result";
  struct Entry {
    PyObject** slot;
    const char* module;
    const char* name;
  };
  const Entry entries[] = {
      {&c.Ok, kResult, "Ok"},
      {&c.Err, kResult, "Err"},
      {&c.ChannelClosed, kErrors, "ChannelClosed"},
      {&c.ChannelFull, kErrors, "ChannelFull"},
      {&c.ChannelClosedError, kErrors, "ChannelClosedError"},
      {&c.ChannelBackendError, kErrors, "ChannelBackendError"},
      {&c.ChannelBackendErrorException, kErrors, "ChannelBackendErrorException"},
      {&c.ChannelFullError, kErrors, "ChannelFullError"},
      {&c.ChannelEmptyError, kErrors, "ChannelEmptyError"},
      {&c.SendTimeoutError, kErrors, "SendTimeoutError"},
      {&c.RecvTimeoutError, kErrors, "RecvTimeoutError"},
      {&c.NoReceiversError, kErrors, "NoReceiversError"},
      {&c.AlreadySentError, kErrors, "AlreadySentError"},
      {&c.Lagged, kErrors, "Lagged"},
      {&c.LaggedError, kErrors, "LaggedError"},
      {&c.ChannelStats, "klaw_core.runtime.channels.stats", "ChannelStats"},
      {&c.get_running_loop, "asyncio.events", "_get_running_loop"},
      {&c.main_thread, "threading", "main_thread"},
      {&c.iscoroutinefunction, "inspect", "iscoroutinefunction"},
  };
  for (const Entry& entry : entries) {
    *entry.slot = import_attribute(entry.module, entry.name);
    if (*entry.slot == nullptr) return false;
  }
  // One after the other: with an exception set, nothing more is called.
  return (c.err_empty = err_of(c.Err, "ChannelEmpty")) != nullptr &&
         (c.err_already_sent = err_of(c.Err, "AlreadySent")) != nullptr &&
         (c.ok_none = PyObject_CallOneArg(c.Ok, Py_None)) != nullptr;
}

// `cls(arguments...)`, which are as for Py_BuildValue.
template <class... Arguments>
PyObject* instance_of(PyObject* cls, const char* format = nullptr, Arguments... arguments) noexcept {
  return outlive_exit([&] { return PyObject_CallFunction(cls, format, arguments...); });
}

// A str, or None.
Ref make_text(const std::optional<std::string>& text) noexcept {
  if (!text) return Ref::borrow(Py_None);
  return Ref::steal(PyUnicode_DecodeUTF8(text->data(), static_cast<Py_ssize_t>(text->size()), "surrogateescape"));
}

// ChannelBackendError(message, backend, actor_name, namespace), or the exception of the same form.
PyObject* make_backend_error(PyObject* cls, const ChannelBackendError& error) noexcept {
  const Ref message = make_text(error.message);
  const Ref backend = make_text(error.backend);
  const Ref actor_name = make_text(error.actor_name);
  const Ref ns = make_text(error.ns);
  if (!message || !backend || !actor_name || !ns) return nullptr;
  return outlive_exit([&] {
    return PyObject_CallFunctionObjArgs(cls, message.get(), backend.get(), actor_name.get(), ns.get(), nullptr);
  });
}

// ChannelClosed(reason, kind=kind), or the exception of the same form.
PyObject* make_closed(PyObject* cls, const ChannelClosed& error) noexcept {
  const Ref reason = make_text(error.reason);
  const std::string_view kind_name = to_string(error.kind);
  const Ref kind = Ref::steal(PyUnicode_FromStringAndSize(kind_name.data(), static_cast<Py_ssize_t>(kind_name.size())));
  const Ref kwnames = Ref::steal(PyTuple_Pack(1, Names::get().kind));
  if (!reason || !kind || !kwnames) return nullptr;
  PyObject* const arguments[] = {reason.get(), kind.get()};
  return outlive_exit([&] { return PyObject_Vectorcall(cls, arguments, 1, kwnames.get()); });
}

// `index`: the branch of a select.
void raise_instance(PyObject* exception, std::optional<std::size_t> index = std::nullopt) noexcept {
  if (exception == nullptr) return;
  if (index) {
    const Ref number = Ref::steal(PyLong_FromSize_t(*index));
    if (!number || PyObject_SetAttr(exception, Names::get().index, number.get()) < 0) return;
  }
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(exception)), exception);
}

PyObject* wrap_err(PyObject* error) noexcept {
  const Ref owned = Ref::steal(error);
  const Classes* const c = Classes::get();
  return owned && c != nullptr ? outlive_exit([&] { return PyObject_CallOneArg(c->Err, owned.get()); }) : nullptr;
}

}  // namespace

void replace_stop_iteration(const char* what) noexcept {
  const bool is_stop = PyErr_Occurred() != nullptr && (PyErr_ExceptionMatches(PyExc_StopIteration) != 0 ||
                                                       PyErr_ExceptionMatches(PyExc_StopAsyncIteration) != 0);
  if (!is_stop) return;
  const Ref cause = fetch_exception();
  PyErr_Format(PyExc_RuntimeError, "%s raised %s", what, Py_TYPE(cause.get())->tp_name);
  const Ref error = fetch_exception();
  PyException_SetCause(error.get(), Py_NewRef(cause.get()));
  PyException_SetContext(error.get(), Py_NewRef(cause.get()));
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.get())), error.get());
}

void postpone(const Ref& error) noexcept {
  PyThreadState_SetAsyncExc(PyThread_get_thread_ident(), reinterpret_cast<PyObject*>(Py_TYPE(error.get())));
}

const Classes* Classes::get() noexcept {
  static Classes classes{};
  static bool loaded = false;  // under the GIL
  if (!loaded) loaded = load(classes);
  return loaded ? &classes : nullptr;
}

const Names& Names::get() noexcept {
  static const Names names{
      .create_future = PyUnicode_InternFromString("create_future"),
      .set_result = PyUnicode_InternFromString("set_result"),
      .done = PyUnicode_InternFromString("done"),
      .cancel = PyUnicode_InternFromString("cancel"),
      .call_later = PyUnicode_InternFromString("call_later"),
      .call_soon_threadsafe = PyUnicode_InternFromString("call_soon_threadsafe"),
      .future_blocking = PyUnicode_InternFromString("_asyncio_future_blocking"),
      .kind = PyUnicode_InternFromString("kind"),
      .index = PyUnicode_InternFromString("index"),
  };
  return names;
}

void raise_closed(const ChannelClosed& error, std::optional<std::size_t> index) noexcept {
  const Classes* const c = Classes::get();
  if (c == nullptr) return;
  const Ref exception =
      Ref::steal(error.backend_error ? make_backend_error(c->ChannelBackendErrorException, *error.backend_error)
                                     : make_closed(c->ChannelClosedError, error));
  raise_instance(exception.get(), index);
}

void raise_full(std::size_t capacity) noexcept {
  if (const Classes* const c = Classes::get()) {
    raise_instance(Ref::steal(instance_of(c->ChannelFullError, "n", static_cast<Py_ssize_t>(capacity))).get());
  }
}

void raise_empty() noexcept {
  if (const Classes* const c = Classes::get()) {
    raise_instance(Ref::steal(instance_of(c->ChannelEmptyError)).get());
  }
}

void raise_already_sent() noexcept {
  if (const Classes* const c = Classes::get()) {
    raise_instance(Ref::steal(instance_of(c->AlreadySentError)).get());
  }
}

void raise_lagged(std::uint64_t skipped, std::optional<std::size_t> index) noexcept {
  if (const Classes* const c = Classes::get()) {
    const auto count = static_cast<unsigned long long>(skipped);
    raise_instance(Ref::steal(instance_of(c->LaggedError, "K", count)).get(), index);
  }
}

void raise_send_timeout(std::size_t capacity, double timeout_s) noexcept {
  if (const Classes* const c = Classes::get()) {
    raise_instance(
        Ref::steal(instance_of(c->SendTimeoutError, "nd", static_cast<Py_ssize_t>(capacity), timeout_s)).get());
  }
}

void raise_recv_timeout(double timeout_s) noexcept {
  if (const Classes* const c = Classes::get()) {
    raise_instance(Ref::steal(instance_of(c->RecvTimeoutError, "d", timeout_s)).get());
  }
}

PyObject* make_ok(PyObject* value) noexcept {
  const Classes* const c = Classes::get();
  return c != nullptr ? outlive_exit([&] { return PyObject_CallOneArg(c->Ok, value); }) : nullptr;
}

PyObject* make_err_closed(const ChannelClosed& error) noexcept {
  const Classes* const c = Classes::get();
  if (c == nullptr) return nullptr;
  return wrap_err(error.backend_error ? make_backend_error(c->ChannelBackendError, *error.backend_error)
                                      : make_closed(c->ChannelClosed, error));
}

PyObject* make_err_full(std::size_t capacity) noexcept {
  const Classes* const c = Classes::get();
  if (c == nullptr) return nullptr;
  return wrap_err(instance_of(c->ChannelFull, "n", static_cast<Py_ssize_t>(capacity)));
}

PyObject* make_err_lagged(std::uint64_t skipped) noexcept {
  const Classes* const c = Classes::get();
  if (c == nullptr) return nullptr;
  return wrap_err(instance_of(c->Lagged, "K", static_cast<unsigned long long>(skipped)));
}

bool parse_arguments(const char* function, const char* const* names, Py_ssize_t required, Py_ssize_t count,
                     PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames, PyObject** values) noexcept {
  if (nargs > count) {
    PyErr_Format(PyExc_TypeError, "%s() takes at most %zd arguments (%zd given)", function, count, nargs);
    return false;
  }
  for (Py_ssize_t i = 0; i < count; ++i) values[i] = i < nargs ? args[i] : nullptr;
  const Py_ssize_t keywords = kwnames != nullptr ? PyTuple_GET_SIZE(kwnames) : 0;
  for (Py_ssize_t k = 0; k < keywords; ++k) {
    PyObject* const name = PyTuple_GET_ITEM(kwnames, k);
    Py_ssize_t i = 0;
    while (i < count && PyUnicode_CompareWithASCIIString(name, names[i]) != 0) ++i;
    if (i == count) {
      PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", function, name);
      return false;
    }
    if (values[i] != nullptr) {
      PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%U'", function, name);
      return false;
    }
    values[i] = args[nargs + k];
  }
  for (Py_ssize_t i = 0; i < required; ++i) {
    if (values[i] == nullptr) {
      PyErr_Format(PyExc_TypeError, "%s() missing required argument: '%s'", function, names[i]);
      return false;
    }
  }
  return true;
}

bool refuse_event_loop(const char* instead) noexcept {
  const Classes* const c = Classes::get();
  if (c == nullptr) return false;
  const Ref loop = Ref::steal(PyObject_CallNoArgs(c->get_running_loop));
  if (!loop) return false;
  if (loop.get() == Py_None) return true;
  PyErr_Format(PyExc_RuntimeError, "this thread runs an event loop (a notebook cell?); write: %s", instead);
  return false;
}

}  // namespace klaw::python
