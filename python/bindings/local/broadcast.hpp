// Local broadcast channels.
#pragma once

#include <Python.h>

#include <memory>

#include <klaw/channels/detail/broadcast_ops.hpp>

#include "handles/broadcast_methods.hpp"
#include "local/flavour.hpp"

namespace klaw::python {

using BroadcastCore = channels::detail::Broadcast<SharedRef, GilExclusion>;
using Subscription = channels::detail::Subscription<SharedRef, GilExclusion>;

// A receiver has its place in the stream.
struct SubscriberObject : HandleObject {
  std::shared_ptr<Subscription> subscription;
};

class BroadcastSend;
class BroadcastRecv;

struct BroadcastSide {
  static constexpr const char* kSenderName = "BroadcastSender";
  static constexpr const char* kReceiverName = "BroadcastReceiver";
  static bool is_spent(const HandleObject& /*self*/) noexcept { return false; }
  static std::string contents(const channels::ChannelStats& s) {
    return std::to_string(s.queue_size) + "/" + std::to_string(s.capacity.value_or(0));
  }
};

struct BroadcastSending : LocalBackend<BroadcastSending, BroadcastCore>, BroadcastSide {
  template <class>
  using Send = BroadcastSend;
};

struct BroadcastReceiving : LocalBackend<BroadcastReceiving, Subscription>, BroadcastSide {
  using Object = SubscriberObject;
  using RecvOp = channels::detail::BroadcastRecvOp<SharedRef, Subscription>;
  using Recv = BroadcastRecv;
  static constexpr const char* kInsteadOfCopy = kInsteadOfBroadcastCopy;

  static const std::shared_ptr<Subscription>& core(const Handle& self) noexcept {
    return static_cast<const SubscriberObject&>(self).subscription;
  }
  static void destroy(Object& self) noexcept { std::destroy_at(&self.subscription); }
  static void close(Handle& self, std::optional<std::string> reason) {
    self.registration.closed = true;  // in the eyes of what is common to all handles; its core has its own
    core(self)->close_handle(self.side, self.registration, std::move(reason));
  }
};

// (tx, rx) of a new channel; `capacity`: at least 1. Null with an exception set.
[[nodiscard]] PyObject* make_broadcast_channel(std::size_t capacity, bool waits);

// Makes the types and adds BroadcastSender and BroadcastReceiver to the module. False with an exception set.
[[nodiscard]] bool add_broadcast_types(PyObject* module) noexcept;

}  // namespace klaw::python
