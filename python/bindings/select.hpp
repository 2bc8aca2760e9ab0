// select() over Python receivers: one operation, linked into several channels.
#pragma once

#include <Python.h>

namespace klaw::python {

// The awaitable of select(*receivers, timeout, biased); `receivers` is a tuple. Null with an exception set.
[[nodiscard]] PyObject* make_select(PyObject* receivers, PyObject* timeout, bool is_biased);

// (index, value), for a thread. Null with an exception set.
[[nodiscard]] PyObject* blocking_select(PyObject* receivers, PyObject* timeout, bool is_biased);

}  // namespace klaw::python
