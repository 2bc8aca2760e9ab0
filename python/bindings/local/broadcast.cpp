// BroadcastSender and BroadcastReceiver: the handles of a local broadcast channel.
#include "local/broadcast.hpp"

#include <bit>

#include "handles/receiver_methods.hpp"
#include "handles/sender_methods.hpp"

namespace klaw::python {

class BroadcastSend final : public HandleOp {
  using Op = channels::detail::BroadcastSendOp<SharedRef, BroadcastCore>;

 public:
  BroadcastSend(HandleObject* handle, const char* name, Patience patience, Style style, Ref value)
      : HandleOp(handle, name, patience, style),
        value_(std::move(value)),
        op_(BroadcastSending::core(*handle), handle->registration,
            channels::detail::OneValue<SharedRef>(std::move(value_))) {}

  Status start(Operation* operation) override { return op_.start(operation); }
  Status finish() override { return op_.finish(); }
  void abandon() noexcept override { op_.abandon(); }

  PyObject* outcome(Status status) override {
    if (status == Status::closed) return closed(op_.closed());
    if (status == Status::pending) {
      return tell_full(style(), status, BroadcastSending::core(handle())->capacity(), patience());
    }
    return tell_receivers(style(), *op_.result(status));
  }

  int traverse(visitproc visit, void* arg) const override {
    Py_VISIT(value_.get());
    return HandleOp::traverse(visit, arg);
  }

 private:
  SharedRef value_;  // stays here until it is sent
  Op op_;
};

// In an iteration a lag is no event.
class BroadcastRecv final : public HandleOp {
 public:
  BroadcastRecv(HandleObject* handle, const char* name, Patience patience, Style style)
      : HandleOp(handle, name, patience, style), op_(BroadcastReceiving::core(*handle), handle->registration) {}

  Status start(Operation* operation) override {
    for (;;) {
      const Status status = op_.start(operation);
      if (status != Status::done || !is_to_be_skipped()) return status;
      if (operation != nullptr) operation->renew();
    }
  }
  Status finish() override {
    const Status status = op_.finish();
    return status == Status::done && is_to_be_skipped() ? Status::pending : status;
  }
  void abandon() noexcept override { op_.abandon(); }

  PyObject* outcome(Status status) override {
    if (status == Status::closed) return closed(op_.closed());
    if (status == Status::pending) return tell_empty(style(), patience());
    if (op_.is_lag()) return tell_lagged(style(), op_.skipped());
    Ref value = as_object(op_.take());
    return style() == Style::result ? make_ok(value.get()) : value.release();
  }

 private:
  [[nodiscard]] bool is_to_be_skipped() const noexcept { return op_.is_lag() && skips_lags(style()); }

  BroadcastReceiving::RecvOp op_;
};

namespace {

using Sender = HandleType<BroadcastSending, Side::sender>;
using Receiver = HandleType<BroadcastReceiving, Side::receiver>;

PyObject* clone(PyObject* object, PyObject* /*unused*/) {
  HandleObject* const self = usable(object);
  if (self == nullptr) return nullptr;
  const Registration made = BroadcastSending::core(*self)->clone_handle(Side::sender, self->registration);
  return Sender::make_clone(self->channel, made);
}

// A receiver at this place of the stream; null: the handle that asked for it is closed.
PyObject* make_receiver(ChannelObject* channel, std::shared_ptr<Subscription> subscription) {
  if (subscription == nullptr) {
    raise_closed(ChannelClosed{.kind = CloseKind::handle_closed});
    return nullptr;
  }
  const std::shared_ptr<Subscription> kept = subscription;
  PyObject* const made = Receiver::make(channel, Registration{}, [&](SubscriberObject& self) {
    ::new (&self.subscription) std::shared_ptr<Subscription>(std::move(subscription));
  });
  Registration registration;
  if (made == nullptr) kept->close_handle(Side::receiver, registration, std::nullopt);
  return made;
}

PyObject* subscribe(PyObject* object, PyObject* /*unused*/) {
  HandleObject* const self = usable(object);
  if (self == nullptr) return nullptr;
  return make_receiver(self->channel, Subscription::open(BroadcastSending::core(*self), self->registration));
}

PyObject* resubscribe(PyObject* object, PyObject* /*unused*/) {
  HandleObject* const self = usable(object);
  return self != nullptr ? make_receiver(self->channel, BroadcastReceiving::core(*self)->reopen()) : nullptr;
}

std::vector<PyMethodDef> sending() {
  using Methods = SenderMethods<BroadcastSending>;
  return {
      {"send", as_method(Methods::send), kFastKeywords,
       "send(value, timeout=None)\n--\n\nAwaitable: sends one message to every receiver, and gives their number. It "
       "waits "
       "only with overflow='wait', for the slowest receiver, `timeout` seconds at most (None: without limit).\nRaises "
       "ChannelClosedError without a receiver, and SendTimeoutError. Cancel safe: a cancelled send has sent its "
       "message "
       "or has not."},
      {"try_send", Methods::try_send, METH_O,
       "try_send(value)\n--\n\nAwaitable: sends without waiting. Ok(number of receivers), Err(ChannelFull(capacity)) "
       "or "
       "Err(ChannelClosed(...))."},
      {"send_nowait", Methods::send_nowait, METH_O,
       "send_nowait(value)\n--\n\nSends at once, from any thread or callback, and gives the number of receivers. "
       "Raises "
       "ChannelFullError, ChannelClosedError."},
      {"blocking_send", as_method(Methods::blocking_send), kFastKeywords,
       "blocking_send(value, timeout=None)\n--\n\nAs send(), for a thread without an event loop."},
      {"clone", clone, METH_NOARGS,
       "clone()\n--\n\nAnother sender; it counts from this call on. ChannelClosedError if this one is closed."},
      {"subscribe", subscribe, METH_NOARGS,
       "subscribe()\n--\n\nA new receiver of what is sent from now on. ChannelClosedError if this sender is closed."},
  };
}

std::vector<PyMethodDef> receiving() {
  using Methods = ReceiverMethods<BroadcastReceiving>;
  return {
      {"recv", as_method(Methods::recv), kFastKeywords,
       "recv(timeout=None)\n--\n\nAwaitable: receives one message; waits for it `timeout` seconds at most (None: "
       "without limit, 0: not at all).\nRaises LaggedError once if messages were dropped before they were received "
       "here, "
       "ChannelClosedError once the senders are gone and all is received, and RecvTimeoutError. Cancel safe: a "
       "cancelled "
       "receive takes nothing."},
      {"try_recv", Methods::try_recv, METH_NOARGS,
       "try_recv()\n--\n\nAwaitable: receives without waiting. Ok(value), Err(ChannelEmpty()), Err(Lagged(skipped)) or "
       "Err(ChannelClosed(...))."},
      {"recv_nowait", Methods::recv_nowait, METH_NOARGS,
       "recv_nowait()\n--\n\nReceives at once, from any thread or callback. Raises ChannelEmptyError, LaggedError, "
       "ChannelClosedError."},
      {"blocking_recv", as_method(Methods::blocking_recv), kFastKeywords,
       "blocking_recv(timeout=None)\n--\n\nAs recv(), for a thread without an event loop."},
      {"resubscribe", resubscribe, METH_NOARGS,
       "resubscribe()\n--\n\nA new receiver of what is sent from now on. ChannelClosedError if this one is closed."},
      kRefuseBroadcastClone,
  };
}

}  // namespace

PyObject* refuse_broadcast_clone(PyObject* /*self*/, PyObject* /*unused*/) {
  PyErr_SetString(PyExc_NotImplementedError,
                  "Broadcast receivers do not support cloning: resubscribe() makes one that receives from now on");
  return nullptr;
}

PyObject* make_broadcast_channel(std::size_t capacity, bool waits) {
  const auto core = std::make_shared<BroadcastCore>(std::bit_ceil(capacity),
                                                    waits ? channels::Overflow::wait : channels::Overflow::lag);
  const Ref owned = ChannelType<BroadcastCore>::make(core);
  if (!owned) return nullptr;
  auto* const channel = reinterpret_cast<ChannelObject*>(owned.get());
  const Ref tx = Ref::steal(Sender::make(channel, BroadcastCore::kFirstSender));
  const Ref rx = Ref::steal(make_receiver(channel, Subscription::first(core)));
  return tx && rx ? PyTuple_Pack(2, tx.get(), rx.get()) : nullptr;
}

bool add_broadcast_types(PyObject* module) noexcept {
  return ChannelType<BroadcastCore>::add(module, "klaw_core._core.BroadcastChannel") &&
         Sender::add(module, "klaw_core._core.BroadcastSender",
                     "The sending handle of a broadcast channel. See klaw_core.runtime.channels.broadcast.", sending(),
                     {}) &&
         Receiver::add(module, "klaw_core._core.BroadcastReceiver",
                       "The receiving handle of a broadcast channel. See klaw_core.runtime.channels.broadcast.",
                       receiving(), receiver_slots<BroadcastReceiving>());
}

}  // namespace klaw::python
