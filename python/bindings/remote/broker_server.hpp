// The broker of a channel, as the channel's actor holds it in Python.
#pragma once

#include <nanobind/nanobind.h>

namespace klaw::python {

// Adds BrokerServer to the module.
void add_broker_server(nanobind::module_& module);

}  // namespace klaw::python
