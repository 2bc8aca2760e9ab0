// The objects behind Python's local handles, of every flavour.
//
//   LocalSender, LocalReceiver      ──strong──>  Channel         ──owns──>  Mpmc<Ref>     ──queued values──>  any object
//   OneshotSender, OneshotReceiver  ──strong──>  OneshotChannel  ──owns──>  Oneshot<Ref>  ──its value──>      any object
//   and so on: see flavour.hpp.
//
// The Channel object exists for the garbage collector: queued values are owned by exactly one Python object, which tells
// the collector of them, so that a channel that holds its own handles can be freed.
#pragma once

#include <Python.h>

#include <memory>

#include <klaw/channels/detail/ops.hpp>

#include "await/operation.hpp"
#include "await/python.hpp"

namespace klaw::python {

using channels::detail::Registration;
using channels::detail::Side;

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
  PyObject_HEAD channels::detail::IntrusiveList<Hold> holds;  // of all that wait on it in an event loop
  std::uint64_t fork_generation;
};
template <class Core>
struct ChannelOf : ChannelObject {
  std::shared_ptr<Core> core;
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

// The core of the channel of a handle whose flavour it is.
template <class Core>
[[nodiscard]] const std::shared_ptr<Core>& core_of(const HandleObject& handle) noexcept {
  return static_cast<const ChannelOf<Core>*>(handle.channel)->core;
}

// A ChannelStats of Python's. Null with an exception set.
[[nodiscard]] PyObject* make_stats(const channels::ChannelStats& stats) noexcept;

struct LiveChannels {
  Py_ssize_t channels;
  Py_ssize_t handles;
};
inline LiveChannels live_channels{};  // under the GIL

}  // namespace klaw::python
