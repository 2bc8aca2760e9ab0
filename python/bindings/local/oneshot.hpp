// Local oneshot channels.
#pragma once

#include <Python.h>

#include <klaw/channels/detail/oneshot.hpp>

#include "handles/oneshot_methods.hpp"
#include "local/flavour.hpp"

namespace klaw::python {

using OneshotCore = channels::detail::Oneshot<Ref, GilExclusion>;

// Puts the value into a oneshot.
class OneshotSend final : public InstantSend {
 public:
  using InstantSend::InstantSend;
  PyObject* outcome(Status status) override;
};

struct OneshotSide : LocalBackend<OneshotSide, OneshotCore> {
  using RecvOp = channels::detail::RecvOp<Ref, OneshotCore>;
  template <class Value>
  using Send = OneshotSend;
  using Recv = RecvPending<OneshotSide>;
  static constexpr const char* kSenderName = "OneshotSender";
  static constexpr const char* kReceiverName = "OneshotReceiver";
  static constexpr const char* kInsteadOfCopy = kInsteadOfOneshotCopy;

  static bool is_spent(const Handle& self) { return core(self)->is_spent(self.side); }
  static std::string contents(const channels::ChannelStats& s) {
    if (s.total_sent == 0) return "unsent";
    return s.total_received == 0 ? "sent" : "received";
  }
};

// (tx, rx) of a new channel. Null with an exception set.
[[nodiscard]] PyObject* make_oneshot_channel();

// Makes the types and adds OneshotSender and OneshotReceiver to the module. False with an exception set.
[[nodiscard]] bool add_oneshot_types(PyObject* module) noexcept;

}  // namespace klaw::python
