// OneshotSender and OneshotReceiver: the handles of a local oneshot channel.
#include "local/oneshot.hpp"

#include "handles/oneshot_methods.hpp"

namespace klaw::python {

namespace {

using Sender = HandleType<OneshotSide, Side::sender>;
using Receiver = HandleType<OneshotSide, Side::receiver>;

}  // namespace

PyObject* OneshotSend::outcome(Status /*status*/) {
  const auto sent = OneshotSide::core(handle())->send(handle().registration, value());
  if (sent) return tell_sent(style());
  if (const auto* const error = std::get_if<ChannelClosed>(&sent.error())) return closed(*error);
  return tell_already_sent(style());
}

PyObject* make_oneshot_channel() {
  const Ref owned = ChannelType<OneshotCore>::make(std::make_shared<OneshotCore>());
  if (!owned) return nullptr;
  auto* const channel = reinterpret_cast<ChannelObject*>(owned.get());
  const Ref tx = Ref::steal(Sender::make(channel, OneshotCore::kFirstSender));
  const Ref rx = Ref::steal(Receiver::make(channel, OneshotCore::kFirstReceiver));
  return tx && rx ? PyTuple_Pack(2, tx.get(), rx.get()) : nullptr;
}

bool add_oneshot_types(PyObject* module) noexcept {
  return ChannelType<OneshotCore>::add(module, "klaw_core._core.OneshotChannel") &&
         Sender::add(module, "klaw_core._core.OneshotSender",
                     "The sending handle of a oneshot channel. See klaw_core.runtime.channels.oneshot.",
                     oneshot_sender_methods<OneshotSide>(), {}) &&
         Receiver::add(module, "klaw_core._core.OneshotReceiver",
                       "The receiving handle of a oneshot channel. See klaw_core.runtime.channels.oneshot.",
                       oneshot_receiver_methods<OneshotSide>(), receiver_slots<OneshotSide>());
}

}  // namespace klaw::python
