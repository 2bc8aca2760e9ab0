// select() over Python receivers: one operation, linked into several channels.
#pragma once

#include <Python.h>

namespace klaw::python {

// The awaitable of select(*receivers, timeout, biased); `receivers` is a tuple. With `acknowledges`, what is taken from a
// remote channel is a Delivery. Null with an exception set.
[[nodiscard]] PyObject* make_select(PyObject* receivers, PyObject* timeout, bool is_biased, bool acknowledges);

// (index, value), for a thread. Null with an exception set.
[[nodiscard]] PyObject* blocking_select(PyObject* receivers, PyObject* timeout, bool is_biased, bool acknowledges);

}  // namespace klaw::python
