// The extension module klaw_core._core. Plain functions are bound by nanobind; the handles and the awaitable, which are on
// every hot path and need the collector's slots, are CPython types of their own (channel.cpp, operation.cpp).
#include <klaw/channels/detail/core.hpp>
#include <klaw/version.hpp>
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>
#include <pthread.h>

#include "await/bound.hpp"
#include "await/operation.hpp"
#include "await/patience.hpp"
#include "await/wake_queue.hpp"
#include "handles/channel.hpp"
#include "handles/delivery.hpp"
#include "local/broadcast.hpp"
#include "local/mpmc.hpp"
#include "local/oneshot.hpp"
#include "local/watch.hpp"
#include "remote/broker_server.hpp"
#include "remote/payload.hpp"
#include "remote/remote.hpp"
#include "remote/remote_broadcast.hpp"
#include "remote/remote_oneshot.hpp"
#include "remote/remote_watch.hpp"
#include "select.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using klaw::python::checked;
using klaw::python::copy_id;

namespace {

nb::object local_channel(std::optional<Py_ssize_t> capacity) {
  if (capacity && *capacity < 0) throw nb::value_error("capacity must not be negative");
  return checked(klaw::python::make_local_channel(capacity ? static_cast<std::size_t>(*capacity)
                                                           : klaw::channels::detail::kUnbounded));
}

void check_timeout(const nb::object& timeout) {
  klaw::python::Patience ignored = klaw::python::Patience::forever();
  if (!klaw::python::parse_patience(timeout.ptr(), ignored)) nb::raise_python_error();
}

void refuse_event_loop(const char* instead) {
  if (!klaw::python::refuse_event_loop(instead)) nb::raise_python_error();
}

nb::dict live_objects() {
  const auto [channels, handles] = klaw::python::live_channels;
  nb::dict counts;
  counts["channels"] = channels;
  counts["handles"] = handles;
  counts["operations"] = klaw::python::live_operations();
  return counts;
}

nb::object encode(const nb::object& value) {
  const std::optional<klaw::python::Bytes> payload = klaw::python::encode_payload(value.ptr());
  if (!payload) nb::raise_python_error();
  return nb::bytes(payload->data(), payload->size());
}

nb::object decode(const nb::bytes& payload) {
  return checked(klaw::python::decode_payload(klaw::python::Bytes(std::string_view(payload.c_str(), payload.size()))));
}

// (id, key), or None when the time is over.
nb::object next_lookup(double timeout) {
  const std::optional<klaw::python::Lookup> lookup = klaw::python::next_lookup(timeout);
  if (!lookup) return nb::none();
  return nb::make_tuple(lookup->id, lookup->key);
}

void answer_lookup(std::uint64_t id, const nb::bytes& channel, const nb::bytes& secret, std::string unix_path,
                   std::vector<std::string> addresses) {
  klaw::dataplane::Endpoint endpoint{.unix_path = std::move(unix_path), .addresses = std::move(addresses)};
  copy_id(channel, endpoint.channel.bytes);
  copy_id(secret, endpoint.secret);
  klaw::python::answer_lookup(id, std::move(endpoint));
}

void retire(const std::vector<nb::object>& channels, double timeout) {
  std::vector<PyObject*> objects;
  for (const nb::object& channel : channels) objects.push_back(channel.ptr());
  klaw::python::retire(objects, timeout);
}

void add_remote(nb::module_& module) {
  klaw::python::add_broker_server(module);
  module.def(
      "set_pickler",
      [](const nb::object& dumps, const nb::object& loads) { klaw::python::set_pickler(dumps.ptr(), loads.ptr()); },
      "dumps"_a, "loads"_a,
      "How messages are pickled: dumps(value) -> (bytes, list of buffers), loads(pickle, buffers) -> value.");
  module.def(
      "set_reference_type", [](const nb::object& type) { klaw::python::set_reference_type(type.ptr()); }, "reference"_a,
      "What stands for a payload that is elsewhere: a subclass of str.");
  module.def("check_timeout", &check_timeout, "timeout"_a.none(),
             "Raises the same error as the waiting methods for an invalid timeout.");
  module.def("refuse_event_loop", &refuse_event_loop, "instead"_a,
             "Raises RuntimeError if this thread runs an event loop; `instead` is what to write there.");
  module.def("encode", &encode, "value"_a.none(), "The payload of a message, as it travels.");
  module.def("decode", &decode, "payload"_a, "The value of a payload.");
  module.def("next_lookup", &next_lookup, "timeout"_a,
             "Blocks: (id, key of a RemoteChannel) whose broker is looked for; None when `timeout` seconds are over "
             "(negative: no limit).");
  module.def("answer_lookup", &answer_lookup, "lookup"_a, "channel"_a, "secret"_a, "unix_path"_a, "addresses"_a,
             "Where the broker of that lookup is. An empty unix_path: on another machine.");
  module.def(
      "fail_lookup",
      [](std::uint64_t id, const std::string& why) { klaw::python::answer_lookup(id, std::unexpected(why)); },
      "lookup"_a, "why"_a, "It is not known where the broker of that lookup is.");
  module.def("retire", &retire, "channels"_a, "timeout"_a,
             "Closes all handles of these RemoteChannels and waits until their brokers have heard of it, `timeout` "
             "seconds at most: for the end of the process.");
}

// Of `receivers`: a tuple or a list.
void check_receivers(const nb::object& receivers) {
  if (!klaw::python::check_receivers(receivers.ptr())) nb::raise_python_error();
}

template <auto kSelect>
nb::object selected(const nb::object& receivers, const nb::object& timeout, bool biased, bool acked, bool drains) {
  return checked(
      kSelect(receivers.ptr(), timeout.ptr(), {.is_biased = biased, .acknowledges = acked, .drains = drains}));
}

void add_select(nb::module_& module) {
  module.def("check_receivers", &check_receivers, "receivers"_a,
             "Raises TypeError if one of them is no receiver that select() takes.");
  module.def(
      "select", &selected<klaw::python::make_select>, "receivers"_a, "timeout"_a.none(), "biased"_a, "acked"_a = false,
      "drains"_a = false,
      "The awaitable of select(): gives (index, value); if acked, of a remote channel (index, Delivery). drains: for "
      "select_all(), whose receivers were checked; an orderly end comes out at once.");
  module.def("blocking_select", &selected<klaw::python::blocking_select>, "receivers"_a, "timeout"_a.none(), "biased"_a,
             "acked"_a = false, "drains"_a = false, "select() for a thread.");
}

}  // namespace

NB_MODULE(_core, module) {
  if (!klaw::python::add_operation_type(module.ptr()) || !klaw::python::add_delivery_type(module.ptr()) ||
      !klaw::python::add_mpmc_types(module.ptr()) || !klaw::python::add_oneshot_types(module.ptr()) ||
      !klaw::python::add_broadcast_types(module.ptr()) || !klaw::python::add_watch_types(module.ptr()) ||
      !klaw::python::add_wake_queue_type(module.ptr()) || !klaw::python::add_payload_type(module.ptr()) ||
      !klaw::python::add_remote_types(module.ptr()) || !klaw::python::add_remote_oneshot_types(module.ptr()) ||
      !klaw::python::add_remote_broadcast_types(module.ptr()) || !klaw::python::add_remote_watch_types(module.ptr())) {
    nb::raise_python_error();
  }
  // A daemon thread that waits in here when the interpreter ends keeps what it uses: no leak, and no news for users.
  nb::set_leak_warnings(false);
  add_remote(module);
  pthread_atfork(nullptr, nullptr, [] { ++klaw::python::fork_generation; });

  module.attr("__version__") = KLAW_VERSION;
  module.def("local_channel", &local_channel, "capacity"_a.none(),
             "(sender, receiver) of a new channel in this process; a capacity of None is unbounded, 0 a rendezvous.");
  module.def(
      "oneshot_channel", [] { return checked(klaw::python::make_oneshot_channel()); },
      "(sender, receiver) of a new oneshot channel in this process.");
  module.def(
      "broadcast_channel",
      [](std::size_t capacity, bool waits) { return checked(klaw::python::make_broadcast_channel(capacity, waits)); },
      "capacity"_a, "waits"_a,
      "(sender, receiver) of a new broadcast channel in this process, which keeps `capacity` messages, 1 to 2**62, "
      "rounded "
      "up to a power of two; whose sends wait for the slowest receiver, or let it lag.");
  module.def(
      "watch_channel",
      [](const nb::object& initial) { return checked(klaw::python::make_watch_channel(initial.ptr())); },
      "initial"_a.none(), "(sender, receiver) of a new watch channel in this process.");
  add_select(module);
  module.def("live_objects", &live_objects, "How many channels, handles and operations exist in this process.");
}
