// RemoteOneshotSender and RemoteOneshotReceiver: the handles of a oneshot of another process.
#include "remote/remote_oneshot.hpp"

#include "handles/receiver_methods.hpp"
#include "handles/sender_methods.hpp"
#include "local/oneshot.hpp"
#include "remote/remote_ops.hpp"
#include "remote/remote_type.hpp"

namespace klaw::python {

namespace {

struct RemoteOneshot : Remote {
  static constexpr FixedString kPrefix = "RayOneshot";
  static constexpr const char* kInsteadOfCopy = OneshotSide::kInsteadOfCopy;
};

std::vector<PyMethodDef> sending() {
  using Methods = SenderMethods<RemoteOneshot>;
  return {
      {"send", as_method(Methods::send), kFastKeywords,
       "send(value, timeout=None)\n--\n\nAwaitable: sends the value; returns when the channel has it.\nRaises "
       "AlreadySentError, ChannelClosedError, SendTimeoutError (then it is not sent). Cancel safe: a cancelled send "
       "has "
       "sent the value or has not."},
      {"try_send", Methods::try_send, METH_O,
       "try_send(value)\n--\n\nAwaitable: as send(). Ok(None), Err(AlreadySent()) or Err(ChannelClosed(...))."},
      {"send_nowait", Methods::send_nowait, METH_O,
       "send_nowait(value)\n--\n\nRaises ChannelFullError: the channel is in another process and can't be asked at "
       "once; "
       "use try_send()."},
      {"blocking_send", as_method(Methods::blocking_send), kFastKeywords,
       "blocking_send(value, timeout=None)\n--\n\nAs send(), for a thread without an event loop."},
      kRefuseOneshotClone,
  };
}

std::vector<PyMethodDef> receiving() {
  using Methods = ReceiverMethods<RemoteOneshot>;
  return {
      {"recv", as_method(Methods::recv), kFastKeywords,
       "recv(timeout=None)\n--\n\nAwaitable: receives the value; waits for it `timeout` seconds at most (None: without "
       "limit, 0: not at all).\nRaises RecvTimeoutError, and ChannelClosedError if the sender closed unsent, or with "
       "the reason 'already consumed'. Cancel safe: a cancelled receive takes nothing; the next one finds the value."},
      {"try_recv", Methods::try_recv, METH_NOARGS,
       "try_recv()\n--\n\nAwaitable: receives without waiting for a send. Ok(value), Err(ChannelEmpty()) or "
       "Err(ChannelClosed(...))."},
      {"recv_nowait", Methods::recv_nowait, METH_NOARGS,
       "recv_nowait()\n--\n\nReceives what has come to this process already. Raises ChannelEmptyError, "
       "ChannelClosedError."},
      {"blocking_recv", as_method(Methods::blocking_recv), kFastKeywords,
       "blocking_recv(timeout=None)\n--\n\nAs recv(), for a thread without an event loop."},
      kRefuseOneshotClone,
  };
}

}  // namespace

bool add_remote_oneshot_types(PyObject* module) noexcept {
  return add_remote_type<RemoteOneshot>(module, Side::sender, "klaw_core._core.RemoteOneshotSender",
                                        "The sending handle of a oneshot of another process. See klaw_core.runtime."
                                        "channels.ray.oneshot.",
                                        sending(), {}) != nullptr &&
         add_remote_type<RemoteOneshot>(module, Side::receiver, "klaw_core._core.RemoteOneshotReceiver",
                                        "The receiving handle of a oneshot of another process. See klaw_core.runtime."
                                        "channels.ray.oneshot.",
                                        receiving(), receiver_slots<RemoteOneshot>()) != nullptr;
}

}  // namespace klaw::python
