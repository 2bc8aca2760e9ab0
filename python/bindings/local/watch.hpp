// Local watch channels.
#pragma once

#include <Python.h>

#include <memory>

#include <klaw/channels/detail/watch.hpp>

#include "handles/watch_methods.hpp"
#include "local/flavour.hpp"

namespace klaw::python {

using WatchCore = channels::detail::Watch<Ref, GilExclusion>;

// Puts a new value into a watch.
class WatchSend final : public InstantSend {
 public:
  using InstantSend::InstantSend;
  PyObject* outcome(Status status) override;
};

struct WatchSide : LocalBackend<WatchSide, WatchCore> {
  using RecvOp = channels::detail::RecvOp<WatchCore::Value, WatchCore>;
  template <class Value>
  using Send = WatchSend;
  using Recv = RecvPending<WatchSide>;  // the value after a change
  static constexpr const char* kSenderName = "WatchSender";
  static constexpr const char* kReceiverName = "WatchReceiver";
  static constexpr const char* kInsteadOfCopy = kInsteadOfWatchCopy;

  static bool is_spent(const Handle& /*self*/) noexcept { return false; }
  static std::string contents(const channels::ChannelStats& s) {
    return std::to_string(s.total_sent) + (s.total_sent == 1 ? " change" : " changes");
  }
};

// (tx, rx) of a new channel. Null with an exception set.
[[nodiscard]] PyObject* make_watch_channel(PyObject* initial);

// Makes the types and adds WatchSender and WatchReceiver to the module. False with an exception set.
[[nodiscard]] bool add_watch_types(PyObject* module) noexcept;

}  // namespace klaw::python
