// Broadcast channels of other processes.
#pragma once

#include <Python.h>

namespace klaw::python {

// Makes the types and adds RemoteBroadcastSender and RemoteBroadcastReceiver to the module. False with an exception set.
[[nodiscard]] bool add_remote_broadcast_types(PyObject* module) noexcept;

}  // namespace klaw::python
