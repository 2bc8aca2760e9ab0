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

// An awaitable that waits on a channel, which owns it meanwhile. All of it under the GIL.
class Hold : public channels::detail::ListHook {
 public:
  Hold() = default;
  Hold(const Hold&) = delete;
  ~Hold() { leave(); }

  void enter(struct ChannelObject& channel, PyObject* operation) noexcept;
  void leave() noexcept;
  [[nodiscard]] PyObject* operation() const noexcept { return operation_; }

 private:
  struct ChannelObject* channel_ = nullptr;
  PyObject* operation_ = nullptr;  // strong while linked
};

struct ChannelObject {
  PyObject_HEAD std::shared_ptr<Core> core;
  channels::detail::IntrusiveList<Hold> holds;  // of all that wait on it in an event loop
  std::uint64_t fork_generation;
};

inline void Hold::enter(ChannelObject& channel, PyObject* operation) noexcept {
  channel_ = &channel;
  operation_ = Py_NewRef(operation);
  channel.holds.push_back(*this);
}

inline void Hold::leave() noexcept {
  if (!is_linked()) return;
  channel_->holds.remove(*this);
  Py_DECREF(std::exchange(operation_, nullptr));
}

struct HandleObject {
  PyObject_HEAD ChannelObject* channel;  // strong; null once cleared by the collector
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

// A ChannelStats of Python's. Null with an exception set.
[[nodiscard]] PyObject* make_stats(const channels::ChannelStats& stats) noexcept;

struct LiveChannels {
  Py_ssize_t channels;
  Py_ssize_t handles;
};
[[nodiscard]] LiveChannels live_channels() noexcept;

}  // namespace klaw::python
