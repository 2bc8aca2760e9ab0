// The objects behind Python's local handles.
//
//   LocalSender, LocalReceiver  ──strong──>  Channel  ──owns──>  Mpmc<Ref>  ──queued values──>  any Python object
//
// The Channel object exists for the garbage collector: queued values are owned by exactly one Python object, which tells
// the collector of them, so that a channel that holds its own handles can be freed.
#pragma once

#include <Python.h>

#include <memory>

#include <klaw/channels/detail/mpmc.hpp>
#include <klaw/channels/detail/ops.hpp>

#include "operation.hpp"
#include "python.hpp"

namespace klaw::python {

using channels::detail::Registration;
using channels::detail::Side;
using Core = channels::detail::Mpmc<Ref, GilExclusion>;

struct ChannelObject {
  PyObject_HEAD
  std::shared_ptr<Core> core;
  std::uint64_t fork_generation;
};

struct HandleObject {
  PyObject_HEAD
  ChannelObject* channel;  // strong; null once cleared by the collector
  PyObject* weakrefs;
  Registration registration;
  Side side;
};

// (tx, rx) of a new channel. Null with an exception set.
[[nodiscard]] PyObject* make_local_channel(std::size_t capacity);

// The handle if `object` is an open-to-use LocalReceiver; null with TypeError (or RuntimeError, after a fork) set.
[[nodiscard]] HandleObject* as_receiver(PyObject* object, const char* what) noexcept;

// Makes the types and adds LocalSender and LocalReceiver to the module. False with an exception set.
[[nodiscard]] bool add_channel_types(PyObject* module) noexcept;

struct LiveChannels {
  Py_ssize_t channels;
  Py_ssize_t handles;
};
[[nodiscard]] LiveChannels live_channels() noexcept;

}  // namespace klaw::python
