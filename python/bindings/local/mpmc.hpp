// Local MPMC channels.
#pragma once

#include <Python.h>

#include <cstddef>

namespace klaw::python {

// (tx, rx) of a new channel. Null with an exception set.
[[nodiscard]] PyObject* make_local_channel(std::size_t capacity);

// Makes the types and adds LocalSender and LocalReceiver to the module. False with an exception set.
[[nodiscard]] bool add_mpmc_types(PyObject* module) noexcept;

}  // namespace klaw::python
