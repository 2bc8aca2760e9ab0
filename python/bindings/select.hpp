// select() over Python receivers: one operation, linked into several channels.
#pragma once

#include <Python.h>

namespace klaw::python {

struct SelectMode {
  bool is_biased = false;
  bool acknowledges = false;  // what is taken from a queue of another process is a Delivery
  // Of a select_all: an orderly end comes out at once, for the receiver to be dropped. What its receivers are was checked.
  bool drains = false;
};

// False with TypeError set, or RuntimeError in a forked child. `receivers`: a tuple or a list.
[[nodiscard]] bool check_receivers(PyObject* receivers);

// The awaitable of a select over `receivers`: a tuple, or a list that may change before it is awaited. Neither is empty. Null
// with an exception set.
[[nodiscard]] PyObject* make_select(PyObject* receivers, PyObject* timeout, SelectMode mode);

// (index, value), for a thread. Null with an exception set.
[[nodiscard]] PyObject* blocking_select(PyObject* receivers, PyObject* timeout, SelectMode mode);

}  // namespace klaw::python
