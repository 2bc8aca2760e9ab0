// The methods of a broadcast's handles, over any backend: a side of the local flavour (local/broadcast.cpp), or another
// process's (remote/remote_broadcast.cpp). What makes a handle of another one is the backend's own.
#pragma once

#include <vector>

#include "handles/receiver_methods.hpp"
#include "handles/sender_methods.hpp"

namespace klaw::python {

// Of receivers.
inline constexpr const char* kInsteadOfBroadcastCopy = "use resubscribe()";

inline PyObject* refuse_broadcast_clone(PyObject* /*self*/, PyObject* /*unused*/) {
  PyErr_SetString(PyExc_NotImplementedError,
                  "Broadcast receivers do not support cloning: resubscribe() makes one that receives from now on");
  return nullptr;
}

// A receive, which may find that messages were missed. In an iteration that is no event: it goes on to the next message.
// `Base` is a backend's receive; its skipped() says how many messages were missed, if that is what has come, else 0.
template <class Base>
class SkippingLags : public Base {
 public:
  using Base::Base;

  Status start(Operation* operation) final {
    for (;;) {
      const Status status = Base::start(operation);
      if (status != Status::done || !is_to_be_skipped()) return status;
      if (operation != nullptr) operation->renew();
    }
  }
  Status finish() final {
    const Status status = Base::finish();
    return status == Status::done && is_to_be_skipped() ? Status::pending : status;
  }
  PyObject* outcome(Status status) final {
    if (status == Status::done && this->skipped() > 0) return tell_lagged(this->style(), this->skipped());
    return Base::outcome(status);
  }

 private:
  [[nodiscard]] bool is_to_be_skipped() const noexcept { return this->skipped() > 0 && skips_lags(this->style()); }
};

template <class Backend>
[[nodiscard]] std::vector<PyMethodDef> broadcast_sender_methods(PyCFunction clone) {
  using Methods = SenderMethods<Backend>;
  return {
      {"send", as_method(Methods::send), kFastKeywords,
       "send(value, timeout=None)\n--\n\nAwaitable: sends one message to every receiver, and gives their number; "
       "returns "
       "when the channel has it. With overflow='wait' it waits for the slowest receiver, `timeout` seconds at most "
       "(None: without limit).\nRaises ChannelClosedError without a receiver, and SendTimeoutError (then it is not "
       "sent). Cancel safe: a cancelled send has sent its message or has not."},
      {"try_send", Methods::try_send, METH_O,
       "try_send(value)\n--\n\nAwaitable: sends without waiting for room. Ok(number of receivers), "
       "Err(ChannelFull(capacity)) or Err(ChannelClosed(...))."},
      {"send_nowait", Methods::send_nowait, METH_O,
       "send_nowait(value)\n--\n\nSends at once, from any thread or callback, and gives the number of receivers. "
       "Raises "
       "ChannelFullError, ChannelClosedError; always ChannelFullError if the channel is in another process, which "
       "can't "
       "be asked at once: use try_send()."},
      {"blocking_send", as_method(Methods::blocking_send), kFastKeywords,
       "blocking_send(value, timeout=None)\n--\n\nAs send(), for a thread without an event loop."},
      {"clone", clone, METH_NOARGS,
       "clone()\n--\n\nAnother sender; it counts from this call on. ChannelClosedError if this one is closed."},
  };
}

template <class Backend>
[[nodiscard]] std::vector<PyMethodDef> broadcast_receiver_methods(PyCFunction resubscribe) {
  using Methods = ReceiverMethods<Backend>;
  return {
      {"recv", as_method(Methods::recv), kFastKeywords,
       "recv(timeout=None)\n--\n\nAwaitable: receives one message; waits for it `timeout` seconds at most (None: "
       "without "
       "limit, 0: not at all).\nRaises LaggedError once if messages were dropped before they were received here, "
       "ChannelClosedError once the senders are gone and all is received, and RecvTimeoutError. Cancel safe: a "
       "cancelled receive takes nothing; the next one finds its message."},
      {"try_recv", Methods::try_recv, METH_NOARGS,
       "try_recv()\n--\n\nAwaitable: receives without waiting for a send. Ok(value), Err(ChannelEmpty()), "
       "Err(Lagged(skipped)) or Err(ChannelClosed(...))."},
      {"recv_nowait", Methods::recv_nowait, METH_NOARGS,
       "recv_nowait()\n--\n\nReceives at once what has come to this process, from any thread or callback. Raises "
       "ChannelEmptyError, LaggedError, ChannelClosedError."},
      {"blocking_recv", as_method(Methods::blocking_recv), kFastKeywords,
       "blocking_recv(timeout=None)\n--\n\nAs recv(), for a thread without an event loop."},
      {"resubscribe", resubscribe, METH_NOARGS,
       "resubscribe()\n--\n\nA new receiver of what is sent from now on. ChannelClosedError if this one is closed."},
      {"clone", refuse_broadcast_clone, METH_NOARGS, "clone()\n--\n\nRaises NotImplementedError: use resubscribe()."},
  };
}

}  // namespace klaw::python
