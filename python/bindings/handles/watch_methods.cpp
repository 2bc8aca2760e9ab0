#include "handles/watch_methods.hpp"

namespace klaw::python {

namespace {

void raise_is_async() noexcept {
  PyErr_SetString(PyExc_TypeError,
                  "predicate must be a plain function, not an async one: what that returns is true for every value; "
                  "to await something per value, iterate: async for value in rx");
}

}  // namespace

bool check_is_plain(PyObject* predicate) noexcept {
  const Classes* const classes = Classes::get();
  if (classes == nullptr) return false;
  const Ref is_async = Ref::steal(PyObject_CallOneArg(classes->iscoroutinefunction, predicate));
  if (is_async && is_async.get() == Py_True) raise_is_async();
  return is_async.get() == Py_False;
}

bool refuse_awaitable(const Ref& answer) noexcept {
  const PyAsyncMethods* const async = Py_TYPE(answer.get())->tp_as_async;
  if (async == nullptr || async->am_await == nullptr) return false;
  // It will not be awaited, and need not warn of that.
  if (PyCoro_CheckExact(answer.get())) {
    const Ref closed = Ref::steal(PyObject_CallMethod(answer.get(), "close", nullptr));
    if (!closed) return true;
  }
  raise_is_async();
  return true;
}

}  // namespace klaw::python
