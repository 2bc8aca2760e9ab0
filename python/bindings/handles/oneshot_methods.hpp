// The methods of a oneshot's handles, over any backend: a side of the local flavour (local/oneshot.cpp), or another process's
// (remote/remote_oneshot.cpp).
#pragma once

#include <vector>

#include "handles/receiver_methods.hpp"
#include "handles/sender_methods.hpp"

namespace klaw::python {

inline constexpr const char* kInsteadOfOneshotCopy = "there is one value, for one receiver";

inline PyObject* refuse_oneshot_clone(PyObject* /*self*/, PyObject* /*unused*/) {
  PyErr_SetString(PyExc_NotImplementedError, "Oneshot channels do not support cloning");
  return nullptr;
}
inline constexpr PyMethodDef kRefuseOneshotClone = {
    "clone", refuse_oneshot_clone, METH_NOARGS,
    "clone()\n--\n\nRaises NotImplementedError: there is one value, for one receiver."};

template <class Backend>
[[nodiscard]] std::vector<PyMethodDef> oneshot_sender_methods() {
  using Methods = SenderMethods<Backend>;
  return {
      {"send", as_method(Methods::send), kFastKeywords,
       "send(value, timeout=None)\n--\n\nAwaitable: sends the value; returns when the channel has it, which in the "
       "same "
       "process is at once.\nRaises AlreadySentError, ChannelClosedError, and SendTimeoutError (then it is not sent). "
       "Cancel safe: a cancelled send has sent the value or has not."},
      {"try_send", Methods::try_send, METH_O,
       "try_send(value)\n--\n\nAwaitable: as send(). Ok(None), Err(AlreadySent()) or Err(ChannelClosed(...))."},
      {"send_nowait", Methods::send_nowait, METH_O,
       "send_nowait(value)\n--\n\nSends the value, from any thread or callback. Raises AlreadySentError, "
       "ChannelClosedError; always ChannelFullError if the channel is in another process, which can't be asked at "
       "once: use try_send()."},
      {"blocking_send", as_method(Methods::blocking_send), kFastKeywords,
       "blocking_send(value, timeout=None)\n--\n\nAs send(), for a thread without an event loop."},
      kRefuseOneshotClone,
  };
}

template <class Backend>
[[nodiscard]] std::vector<PyMethodDef> oneshot_receiver_methods() {
  using Methods = ReceiverMethods<Backend>;
  return {
      {"recv", as_method(Methods::recv), kFastKeywords,
       "recv(timeout=None)\n--\n\nAwaitable: receives the value; waits for it `timeout` seconds at most (None: without "
       "limit, 0: not at all).\nRaises RecvTimeoutError, and ChannelClosedError if the sender closed unsent, or with "
       "the reason 'already consumed'. Cancel safe: a cancelled receive takes nothing; the next one finds the value."},
      {"try_recv", Methods::try_recv, METH_NOARGS,
       "try_recv()\n--\n\nAwaitable: receives without waiting for a send. Ok(value), Err(ChannelEmpty()) or "
       "Err(ChannelClosed(...))."},
      {"recv_nowait", Methods::recv_nowait, METH_NOARGS,
       "recv_nowait()\n--\n\nReceives at once what has come to this process, from any thread or callback. Raises "
       "ChannelEmptyError, ChannelClosedError."},
      {"blocking_recv", as_method(Methods::blocking_recv), kFastKeywords,
       "blocking_recv(timeout=None)\n--\n\nAs recv(), for a thread without an event loop."},
      kRefuseOneshotClone,
  };
}

}  // namespace klaw::python
