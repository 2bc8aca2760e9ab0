// BroadcastSender and BroadcastReceiver: the handles of a local broadcast channel.
#include "local/broadcast.hpp"

#include <bit>

#include "handles/broadcast_methods.hpp"

namespace klaw::python {

class BroadcastSend final : public HandleOp {
  using Op = channels::detail::BroadcastSendOp<SharedRef, BroadcastCore>;

 public:
  BroadcastSend(HandleObject* handle, OpName name, Patience patience, Style style, Ref value)
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

class LocalBroadcastRecv : public HandleOp {
 public:
  LocalBroadcastRecv(HandleObject* handle, OpName name, Patience patience, Style style)
      : HandleOp(handle, name, patience, style), op_(BroadcastReceiving::core(*handle), handle->registration) {}

  Status start(Operation* operation) override { return op_.start(operation); }
  Status finish() override { return op_.finish(); }
  void abandon() noexcept override { op_.abandon(); }

  PyObject* outcome(Status status) override {
    if (status == Status::closed) return closed(op_.closed());
    if (status == Status::pending) return tell_empty(style(), patience());
    Ref value = as_object(op_.take());
    return style() == Style::result ? make_ok(value.get()) : value.release();
  }

 protected:
  [[nodiscard]] std::uint64_t skipped() const noexcept { return op_.is_lag() ? op_.skipped() : 0; }

 private:
  BroadcastReceiving::RecvOp op_;
};

class BroadcastRecv final : public SkippingLags<LocalBroadcastRecv> {
 public:
  using SkippingLags::SkippingLags;
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
  std::vector<PyMethodDef> methods = broadcast_sender_methods<BroadcastSending>(clone);
  methods.push_back({"subscribe", subscribe, METH_NOARGS,
                     "subscribe()\n--\n\nA new receiver of what is sent from now on. ChannelClosedError if this sender "
                     "is closed."});
  return methods;
}

}  // namespace

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
                       broadcast_receiver_methods<BroadcastReceiving>(resubscribe),
                       receiver_slots<BroadcastReceiving>());
}

}  // namespace klaw::python
