// The extension module klaw_core._core. Plain functions are bound by nanobind; the handles and the awaitable, which are on
// every hot path and need the collector's slots, are CPython types of their own (channel.cpp, operation.cpp).
#include <klaw/channels/detail/core.hpp>
#include <klaw/version.hpp>
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <pthread.h>

#include "channel.hpp"
#include "operation.hpp"
#include "select.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

// A new reference from the C API, or the exception it has set.
nb::object checked(PyObject* object) {
  if (object == nullptr) nb::raise_python_error();
  return nb::steal(object);
}

nb::object local_channel(std::optional<Py_ssize_t> capacity) {
  if (capacity && *capacity < 0) throw nb::value_error("capacity must not be negative");
  return checked(klaw::python::make_local_channel(capacity ? static_cast<std::size_t>(*capacity)
                                                           : klaw::channels::detail::kUnbounded));
}

nb::dict live_objects() {
  const auto [channels, handles] = klaw::python::live_channels();
  nb::dict counts;
  counts["channels"] = channels;
  counts["handles"] = handles;
  counts["operations"] = klaw::python::live_operations();
  return counts;
}

}  // namespace

NB_MODULE(_core, module) {
  if (!klaw::python::add_operation_type(module.ptr()) || !klaw::python::add_channel_types(module.ptr())) {
    nb::raise_python_error();
  }
  pthread_atfork(nullptr, nullptr, [] { ++klaw::python::fork_generation; });

  module.attr("__version__") = KLAW_VERSION;
  module.def("local_channel", &local_channel, "capacity"_a.none(),
             "(sender, receiver) of a new channel in this process; a capacity of None is unbounded, 0 a rendezvous.");
  module.def(
      "select",
      [](const nb::tuple& receivers, const nb::object& timeout, bool biased) {
        return checked(klaw::python::make_select(receivers.ptr(), timeout.ptr(), biased));
      },
      "receivers"_a, "timeout"_a.none(), "biased"_a, "The awaitable of select(): gives (index, value).");
  module.def(
      "blocking_select",
      [](const nb::tuple& receivers, const nb::object& timeout, bool biased) {
        return checked(klaw::python::blocking_select(receivers.ptr(), timeout.ptr(), biased));
      },
      "receivers"_a, "timeout"_a.none(), "biased"_a, "select() for a thread: (index, value).");
  module.def("live_objects", &live_objects, "How many channels, handles and operations exist in this process.");
}
