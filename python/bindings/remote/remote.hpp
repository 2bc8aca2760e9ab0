// The objects behind Python's handles on a channel of another process.
//
//   RemoteSender, RemoteReceiver ──strong──> RemoteChannel ──owns──> Dialer (a Link and its socket) ──frames──> the broker
//
// One RemoteChannel per process and channel; each handle is a session of its link. The Python half (runtime/channels/ray)
// derives its handles from these, and answers where the broker is (next_lookup): the I/O thread runs no Python.
//
// A fork's child must not touch its parent's dialer: the channel gets a new one there, under a new client id, and a handle
// counts as a new clone from its first use.
#pragma once

#include <Python.h>

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include <dataplane/dialer/dialer.hpp>

#include "await/python.hpp"

namespace klaw::python {

using channels::detail::Registration;
using channels::detail::Side;

struct RemoteChannelObject {
  PyObject_HEAD PyObject* weakrefs;
  PyObject* owner;  // what the Python half knows of the channel
  std::shared_ptr<dataplane::Dialer> dialer;
  std::string key;                              // what the control plane knows it by
  std::optional<dataplane::Endpoint> endpoint;  // by a ticket: nobody is asked
  ChannelBackendError about;                    // what errors say of it
  dataplane::ChannelKind kind;
  std::size_t capacity;  // kUnbounded: none
  std::uint32_t prefetch;
  std::string node;
  dataplane::TlsContext tls;  // for TCP; null: none
  std::uint64_t fork_generation;
  PyObject* value;             // of a watch: the newest that was decoded, or null
  dataplane::Version version;  // its
};

struct RemoteHandleObject {
  PyObject_HEAD RemoteChannelObject* channel;  // strong; null once cleared by the collector
  PyObject* weakrefs;
  PyObject* name;             // a str: of a receiver, its reader_id
  PyObject* untold;           // an exception that its next operation raises; mostly null
  Registration registration;  // id 0: it has not been used, and does not count yet
  Side side;
  std::uint64_t fork_generation;
};

// The handle if `object` is a RemoteReceiver that may be used; null with an exception set, or without one if it is
// something else.
[[nodiscard]] RemoteHandleObject* as_remote_receiver(PyObject* object) noexcept;
// Makes it count, if it does not yet.
void open_if_new(RemoteHandleObject& self);

// Makes the types and adds RemoteChannel, RemoteSender and RemoteReceiver to the module. False with an exception set.
[[nodiscard]] bool add_remote_types(PyObject* module) noexcept;

// Closes all handles of these RemoteChannels, and waits until their brokers have heard of it: for the end of the process.
void retire(std::span<PyObject* const> channels, double timeout_s);

// --- where brokers are: asked by dialers, answered by a thread of the Python half ---

struct Lookup {
  std::uint64_t id;
  std::string key;
};
// Waits, without the GIL, until one is asked for or the time is over (seconds; negative: no limit).
[[nodiscard]] std::optional<Lookup> next_lookup(double timeout_s);
void answer_lookup(std::uint64_t id, std::expected<dataplane::Endpoint, std::string> answer);

}  // namespace klaw::python
