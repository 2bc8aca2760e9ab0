// Oneshot channels of other processes.
#pragma once

#include <Python.h>

namespace klaw::python {

// Makes the types and adds RemoteOneshotSender and RemoteOneshotReceiver to the module. False with an exception set.
[[nodiscard]] bool add_remote_oneshot_types(PyObject* module) noexcept;

}  // namespace klaw::python
