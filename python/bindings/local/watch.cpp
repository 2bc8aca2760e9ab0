// WatchSender and WatchReceiver: the handles of a local watch channel.
#include "local/watch.hpp"

#include "handles/receiver_methods.hpp"
#include "handles/sender_methods.hpp"
#include "handles/watch_methods.hpp"

namespace klaw::python {

namespace {

using Sender = HandleType<WatchSide, Side::sender>;
using Receiver = HandleType<WatchSide, Side::receiver>;

// Waits for a change, without giving its value.
class ChangedPending final : public HandleOp {
 public:
  ChangedPending(HandleObject* handle, OpName name, Patience patience, Style style)
      : HandleOp(handle, name, patience, style), op_(WatchSide::core(*handle), handle->registration) {}

  Status start(Operation* operation) override { return op_.start(operation); }
  Status finish() override { return op_.finish(); }
  void abandon() noexcept override { op_.abandon(); }
  PyObject* outcome(Status status) override {
    if (status == Status::done) return tell_sent(style());
    return status == Status::closed ? closed(op_.closed()) : tell_empty(style(), patience());
  }

 private:
  WatchSide::RecvOp op_;
};

// Waits for a certain value.
class WaitForPending final : public HandleOp {
  using Op = channels::detail::WaitForOp<Ref, WatchCore, Predicate>;

 public:
  WaitForPending(HandleObject* handle, OpName name, Patience patience, Ref callable)
      : HandleOp(handle, name, patience, Style::raise),
        op_(std::make_unique<Op>(WatchSide::core(*handle), handle->registration, Predicate(std::move(callable)))) {}

  Status start(Operation* operation) override { return op_->start(operation); }
  Status finish() override { return op_->finish(); }
  void abandon() noexcept override { op_->abandon(); }
  PyObject* outcome(Status status) override {
    if (op_->predicate().raise()) return nullptr;
    if (status == Status::done) return as_object(op_->take()).release();
    return status == Status::closed ? closed(op_->closed()) : tell_empty(style(), patience());
  }

  int traverse(visitproc visit, void* arg) const override {
    if (const int result = op_->predicate().traverse(visit, arg); result != 0) return result;
    return HandleOp::traverse(visit, arg);
  }

 private:
  std::unique_ptr<Op> op_;
};

struct WatchReceiving : WatchSide {
  using Changed = ChangedPending;
  using WaitFor = WaitForPending;
};

// --- methods ---

PyObject* clone(PyObject* object, PyObject* /*unused*/) {
  HandleObject* const self = usable(object);
  if (self == nullptr) return nullptr;
  return Sender::make_clone(self->channel, WatchSide::core(*self)->clone_handle(Side::sender, self->registration));
}

// Of both sides: another receiver.
PyObject* subscribe(PyObject* object, PyObject* /*unused*/) {
  HandleObject* const self = usable(object);
  if (self == nullptr) return nullptr;
  return Receiver::make_clone(self->channel, WatchSide::core(*self)->subscribe(self->registration));
}

PyObject* tell_value(const WatchCore::Value& value) {
  if (value != nullptr) return as_object(value).release();
  raise_closed(ChannelClosed{.kind = CloseKind::handle_closed});
  return nullptr;
}

PyObject* borrow(PyObject* object, PyObject* /*unused*/) {
  const HandleObject* const self = usable(object);
  return self != nullptr ? tell_value(WatchSide::core(*self)->borrow(self->registration)) : nullptr;
}

PyObject* borrow_and_update(PyObject* object, PyObject* /*unused*/) {
  const HandleObject* const self = usable(object);
  return self != nullptr ? tell_value(WatchSide::core(*self)->borrow_and_update(self->registration)) : nullptr;
}

PyObject* has_changed(PyObject* object, PyObject* /*unused*/) {
  const HandleObject* const self = usable(object);
  return self != nullptr ? PyBool_FromLong(WatchSide::core(*self)->has_changed(self->registration) ? 1 : 0) : nullptr;
}

std::vector<PyMethodDef> sending() {
  using Methods = SenderMethods<WatchSide>;
  return {
      {"send", as_method(Methods::send), kFastKeywords,
       "send(value, timeout=None)\n--\n\nAwaitable: replaces the value, and gives the number of receivers; never waits."
       "\nRaises ChannelClosedError without a receiver. Cancel safe: a cancelled send has sent the value or has not."},
      {"try_send", Methods::try_send, METH_O,
       "try_send(value)\n--\n\nAwaitable: as send(). Ok(number of receivers) or Err(ChannelClosed(...))."},
      {"send_nowait", Methods::send_nowait, METH_O,
       "send_nowait(value)\n--\n\nReplaces the value, from any thread or callback, and gives the number of receivers. "
       "Raises ChannelClosedError."},
      {"blocking_send", as_method(Methods::blocking_send), kFastKeywords,
       "blocking_send(value, timeout=None)\n--\n\nAs send(), for a thread without an event loop."},
      {"borrow", borrow, METH_NOARGS, "borrow()\n--\n\nThe latest value. ChannelClosedError if this handle is closed."},
      {"clone", clone, METH_NOARGS,
       "clone()\n--\n\nAnother sender; it counts from this call on. ChannelClosedError if this one is closed."},
      {"subscribe", subscribe, METH_NOARGS,
       "subscribe()\n--\n\nA new receiver, which has seen the current value. ChannelClosedError if this sender is "
       "closed."},
  };
}

std::vector<PyMethodDef> receiving() {
  std::vector<PyMethodDef> methods = watch_methods<WatchReceiving>();
  methods.insert(
      methods.end(),
      {{"borrow", borrow, METH_NOARGS,
        "borrow()\n--\n\nThe latest value, which is not marked as seen. ChannelClosedError if this handle is closed."},
       {"borrow_and_update", borrow_and_update, METH_NOARGS,
        "borrow_and_update()\n--\n\nThe latest value, which this receiver has seen then. ChannelClosedError if this "
        "handle is closed."},
       {"has_changed", has_changed, METH_NOARGS,
        "has_changed()\n--\n\nTrue if there is a value that this receiver has not seen."},
       {"resubscribe", subscribe, METH_NOARGS,
        "resubscribe()\n--\n\nA new receiver, which has seen the current value. ChannelClosedError if this one is "
        "closed."}});
  return methods;
}

}  // namespace

PyObject* WatchSend::outcome(Status /*status*/) {
  const auto sent = WatchSide::core(handle())->send(handle().registration, value());
  if (!sent) return closed(sent.error());
  return tell_receivers(style(), *sent);
}

PyObject* make_watch_channel(PyObject* initial) {
  const Ref owned = ChannelType<WatchCore>::make(std::make_shared<WatchCore>(Ref::borrow(initial)));
  if (!owned) return nullptr;
  auto* const channel = reinterpret_cast<ChannelObject*>(owned.get());
  const Ref tx = Ref::steal(Sender::make(channel, WatchCore::kFirstSender));
  const Ref rx = Ref::steal(Receiver::make(channel, WatchCore::kFirstReceiver));
  return tx && rx ? PyTuple_Pack(2, tx.get(), rx.get()) : nullptr;
}

bool add_watch_types(PyObject* module) noexcept {
  return ChannelType<WatchCore>::add(module, "klaw_core._core.WatchChannel") &&
         Sender::add(module, "klaw_core._core.WatchSender",
                     "The sending handle of a watch channel. See klaw_core.runtime.channels.watch.", sending(), {}) &&
         Receiver::add(module, "klaw_core._core.WatchReceiver",
                       "The receiving handle of a watch channel. See klaw_core.runtime.channels.watch.", receiving(),
                       receiver_slots<WatchSide>());
}

}  // namespace klaw::python
