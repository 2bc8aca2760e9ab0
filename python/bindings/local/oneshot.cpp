// OneshotSender and OneshotReceiver: the handles of a local oneshot channel.
#include "local/oneshot.hpp"

#include "handles/receiver_methods.hpp"
#include "handles/sender_methods.hpp"

namespace klaw::python {

namespace {

using Sender = HandleType<OneshotSide, Side::sender>;
using Receiver = HandleType<OneshotSide, Side::receiver>;

std::vector<PyMethodDef> sending() {
  using Methods = SenderMethods<OneshotSide>;
  return {
      {"send", as_method(Methods::send), kFastKeywords,
       "send(value, timeout=None)\n--\n\nAwaitable: sends the value; never waits.\nRaises AlreadySentError, "
       "ChannelClosedError. Cancel safe: a cancelled send has sent the value or has not."},
      {"try_send", Methods::try_send, METH_O,
       "try_send(value)\n--\n\nAwaitable: as send(). Ok(None), Err(AlreadySent()) or Err(ChannelClosed(...))."},
      {"send_nowait", Methods::send_nowait, METH_O,
       "send_nowait(value)\n--\n\nSends the value, from any thread or callback. Raises AlreadySentError, "
       "ChannelClosedError."},
      {"blocking_send", as_method(Methods::blocking_send), kFastKeywords,
       "blocking_send(value, timeout=None)\n--\n\nAs send(), for a thread without an event loop."},
      kRefuseOneshotClone,
  };
}

std::vector<PyMethodDef> receiving() {
  using Methods = ReceiverMethods<OneshotSide>;
  return {
      {"recv", as_method(Methods::recv), kFastKeywords,
       "recv(timeout=None)\n--\n\nAwaitable: receives the value; waits for it `timeout` seconds at most (None: without "
       "limit, 0: not at all).\nRaises RecvTimeoutError, and ChannelClosedError if the sender closed unsent, or with "
       "the reason 'already consumed'. Cancel safe: a cancelled receive takes nothing; the next one finds the value."},
      {"try_recv", Methods::try_recv, METH_NOARGS,
       "try_recv()\n--\n\nAwaitable: receives without waiting. Ok(value), Err(ChannelEmpty()) or "
       "Err(ChannelClosed(...))."},
      {"recv_nowait", Methods::recv_nowait, METH_NOARGS,
       "recv_nowait()\n--\n\nReceives at once, from any thread or callback. Raises ChannelEmptyError, "
       "ChannelClosedError."},
      {"blocking_recv", as_method(Methods::blocking_recv), kFastKeywords,
       "blocking_recv(timeout=None)\n--\n\nAs recv(), for a thread without an event loop."},
      kRefuseOneshotClone,
  };
}

}  // namespace

PyObject* refuse_oneshot_clone(PyObject* /*self*/, PyObject* /*unused*/) {
  PyErr_SetString(PyExc_NotImplementedError, "Oneshot channels do not support cloning");
  return nullptr;
}

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
                     "The sending handle of a oneshot channel. See klaw_core.runtime.channels.oneshot.", sending(),
                     {}) &&
         Receiver::add(module, "klaw_core._core.OneshotReceiver",
                       "The receiving handle of a oneshot channel. See klaw_core.runtime.channels.oneshot.",
                       receiving(), receiver_slots<OneshotSide>());
}

}  // namespace klaw::python
