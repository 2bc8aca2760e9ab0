// RemoteBroadcastSender and RemoteBroadcastReceiver: the handles of a broadcast of another process.
#include "remote/remote_broadcast.hpp"

#include "handles/receiver_methods.hpp"
#include "handles/sender_methods.hpp"
#include "local/broadcast.hpp"
#include "remote/remote_ops.hpp"
#include "remote/remote_type.hpp"

namespace klaw::python {

namespace {

// In an iteration a lag is no event.
class RemoteBroadcastRecv final : public RemoteRecv {
 public:
  using RemoteRecv::RemoteRecv;

  Status start(Operation* operation) override {
    for (;;) {
      const Status status = RemoteRecv::start(operation);
      if (status != Status::done || !is_to_be_skipped()) return status;
      if (operation != nullptr) operation->renew();
    }
  }
  Status finish() override {
    const Status status = RemoteRecv::finish();
    return status == Status::done && is_to_be_skipped() ? Status::pending : status;
  }
  PyObject* outcome(Status status) override {
    if (status == Status::done && op().skipped > 0) return tell_lagged(style(), op().skipped);
    return RemoteRecv::outcome(status);
  }

 private:
  [[nodiscard]] bool is_to_be_skipped() const noexcept { return op().skipped > 0 && skips_lags(style()); }
};

struct RemoteBroadcast : Remote {
  template <class>
  using Send = RemoteCountedSend;
  using Recv = RemoteBroadcastRecv;
  static constexpr FixedString kPrefix = "RayBroadcast";
};

struct RemoteBroadcastReceiving : RemoteBroadcast {
  static constexpr const char* kInsteadOfCopy = kInsteadOfBroadcastCopy;
};

PyObject* resubscribe(PyObject* object, PyObject* /*unused*/) {
  return remote_subscribe(object, reinterpret_cast<PyObject*>(Py_TYPE(object)));
}

std::vector<PyMethodDef> sending() {
  using Methods = SenderMethods<RemoteBroadcast>;
  return {
      {"send", as_method(Methods::send), kFastKeywords,
       "send(value, timeout=None)\n--\n\nAwaitable: sends one message to every receiver, and gives their number; "
       "returns "
       "when the channel has it. With overflow='wait' it waits for the slowest receiver, `timeout` seconds at most "
       "(None: "
       "without limit).\nRaises ChannelClosedError without a receiver, and SendTimeoutError (then it is not sent). "
       "Cancel "
       "safe: a cancelled send has sent its message or has not."},
      {"try_send", Methods::try_send, METH_O,
       "try_send(value)\n--\n\nAwaitable: sends without waiting for room. Ok(number of receivers), "
       "Err(ChannelFull(capacity)) or Err(ChannelClosed(...))."},
      {"send_nowait", Methods::send_nowait, METH_O,
       "send_nowait(value)\n--\n\nRaises ChannelFullError: the channel is in another process and can't be asked at "
       "once; "
       "use try_send()."},
      {"blocking_send", as_method(Methods::blocking_send), kFastKeywords,
       "blocking_send(value, timeout=None)\n--\n\nAs send(), for a thread without an event loop."},
      {"clone", remote_clone, METH_NOARGS,
       "clone()\n--\n\nAnother sender; it counts from this call on. ChannelClosedError if this one is closed."},
      {"_subscribe", remote_subscribe, METH_O,
       "_subscribe(type)\n--\n\nA new receiver, of this type, of what is sent from now on. ChannelClosedError if this "
       "sender is closed."},
  };
}

std::vector<PyMethodDef> receiving() {
  using Methods = ReceiverMethods<RemoteBroadcastReceiving>;
  return {
      {"recv", as_method(Methods::recv), kFastKeywords,
       "recv(timeout=None)\n--\n\nAwaitable: receives one message; waits for it `timeout` seconds at most (None: "
       "without "
       "limit, 0: not at all).\nRaises LaggedError once if messages were dropped before they were received here, "
       "ChannelClosedError once the senders are gone and all is received, and RecvTimeoutError. Cancel safe: a "
       "cancelled "
       "receive takes nothing; the next one finds its message."},
      {"try_recv", Methods::try_recv, METH_NOARGS,
       "try_recv()\n--\n\nAwaitable: receives without waiting for a send. Ok(value), Err(ChannelEmpty()), "
       "Err(Lagged(skipped)) or Err(ChannelClosed(...))."},
      {"recv_nowait", Methods::recv_nowait, METH_NOARGS,
       "recv_nowait()\n--\n\nReceives what has come to this process already. Raises ChannelEmptyError, LaggedError, "
       "ChannelClosedError."},
      {"blocking_recv", as_method(Methods::blocking_recv), kFastKeywords,
       "blocking_recv(timeout=None)\n--\n\nAs recv(), for a thread without an event loop."},
      {"resubscribe", resubscribe, METH_NOARGS,
       "resubscribe()\n--\n\nA new receiver of what is sent from now on. ChannelClosedError if this one is closed."},
      kRefuseBroadcastClone,
  };
}

}  // namespace

bool add_remote_broadcast_types(PyObject* module) noexcept {
  return add_remote_type<RemoteBroadcast>(module, Side::sender, "klaw_core._core.RemoteBroadcastSender",
                                          "The sending handle of a broadcast of another process. See klaw_core.runtime."
                                          "channels.ray.broadcast.",
                                          sending(), {}) != nullptr &&
         add_remote_type<RemoteBroadcastReceiving>(
             module, Side::receiver, "klaw_core._core.RemoteBroadcastReceiver",
             "The receiving handle of a broadcast of another process. See klaw_core.runtime.channels.ray.broadcast.",
             receiving(), receiver_slots<RemoteBroadcastReceiving>()) != nullptr;
}

}  // namespace klaw::python
