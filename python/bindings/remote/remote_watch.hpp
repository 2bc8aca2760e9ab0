// Watch channels of other processes.
#pragma once

#include <Python.h>

namespace klaw::python {

// Makes the types and adds RemoteWatchSender and RemoteWatchReceiver to the module. False with an exception set.
[[nodiscard]] bool add_remote_watch_types(PyObject* module) noexcept;

}  // namespace klaw::python
