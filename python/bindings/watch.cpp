// WatchSender and WatchReceiver: the handles of a local watch channel.
#include "watch.hpp"

#include "receiver_methods.hpp"
#include "sender_methods.hpp"

namespace klaw::python {

namespace {

using Sender = HandleType<WatchSide, Side::sender>;
using Receiver = HandleType<WatchSide, Side::receiver>;

// Waits for a change, without giving its value.
class ChangedPending final : public HandleOp {
 public:
  ChangedPending(HandleObject* handle, const char* name, Patience patience, Style style)
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

// A predicate of the user's. If it raises, the wait is over, and the exception is what comes out of it.
class Predicate {
 public:
  using NeverThrows = void;  // but Python may end the thread in it, when the interpreter goes down

  explicit Predicate(Ref callable) noexcept : callable_(std::move(callable)) {}

  bool operator()(const Ref& value) {
    const Ref answer = Ref::steal(PyObject_CallOneArg(callable_.get(), value.get()));
    const int is_it = answer ? PyObject_IsTrue(answer.get()) : -1;
    if (is_it < 0) error_ = fetch_exception();
    return is_it != 0;
  }

  [[nodiscard]] Ref take_error() noexcept { return std::move(error_); }
  int traverse(visitproc visit, void* arg) const {
    Py_VISIT(callable_.get());
    Py_VISIT(error_.get());
    return 0;
  }

 private:
  Ref callable_;
  Ref error_;
};

// Waits for a certain value.
class WaitForPending final : public HandleOp {
  using Op = channels::detail::WaitForOp<Ref, WatchCore, Predicate>;

 public:
  WaitForPending(HandleObject* handle, const char* name, Patience patience, Ref callable)
      : HandleOp(handle, name, patience, Style::raise),
        op_(std::make_unique<Op>(WatchSide::core(*handle), handle->registration, Predicate(std::move(callable)))) {}

  Status start(Operation* operation) override { return op_->start(operation); }
  Status finish() override { return op_->finish(); }
  void abandon() noexcept override { op_->abandon(); }
  PyObject* outcome(Status status) override {
    if (const Ref error = op_->predicate().take_error()) {
      PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.get())), error.get());
      return nullptr;
    }
    if (status == Status::done) return as_object(op_->take()).release();
    return status == Status::closed ? closed(op_->closed()) : tell_empty(style(), patience());
  }

  int traverse(visitproc visit, void* arg) const override {
    if (const int result = op_->predicate().traverse(visit, arg); result != 0) return result;
    return HandleOp::traverse(visit, arg);
  }
  bool may_be_in_cycle() const noexcept override { return true; }

 private:
  std::unique_ptr<Op> op_;
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

PyObject* changed(PyObject* object, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
  HandleObject* const self = usable(object);
  Patience patience = Patience::forever();
  if (self == nullptr || !parse_changed("changed", args, nargs, kwnames, patience)) return nullptr;
  return make_operation<ChangedPending>(self, "WatchReceiver.changed", patience, Style::raise);
}

PyObject* try_changed(PyObject* object, PyObject* /*unused*/) {
  HandleObject* const self = usable(object);
  if (self == nullptr) return nullptr;
  return make_operation<ChangedPending>(self, "WatchReceiver.try_changed", Patience::never(), Style::result);
}

PyObject* blocking_changed(PyObject* object, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
  HandleObject* const self = usable(object);
  Patience patience = Patience::forever();
  if (self == nullptr || !parse_changed("blocking_changed", args, nargs, kwnames, patience) ||
      !refuse_event_loop("await rx.changed()")) {
    return nullptr;
  }
  ChangedPending op(self, "WatchReceiver.blocking_changed", patience, Style::raise);
  return run_blocking(op);
}

PyObject* wait_for(PyObject* object, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
  HandleObject* const self = usable(object);
  PyObject* predicate = nullptr;
  Patience patience = Patience::forever();
  if (self == nullptr || !parse_wait_for("wait_for", args, nargs, kwnames, predicate, patience)) return nullptr;
  return make_operation<WaitForPending>(self, "WatchReceiver.wait_for", patience, Ref::borrow(predicate));
}

PyObject* blocking_wait_for(PyObject* object, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
  HandleObject* const self = usable(object);
  PyObject* predicate = nullptr;
  Patience patience = Patience::forever();
  if (self == nullptr || !parse_wait_for("blocking_wait_for", args, nargs, kwnames, predicate, patience) ||
      !refuse_event_loop("await rx.wait_for(predicate)")) {
    return nullptr;
  }
  WaitForPending op(self, "WatchReceiver.blocking_wait_for", patience, Ref::borrow(predicate));
  return run_blocking(op);
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
  return {
      {"borrow", borrow, METH_NOARGS,
       "borrow()\n--\n\nThe latest value, which is not marked as seen. ChannelClosedError if this handle is closed."},
      {"borrow_and_update", borrow_and_update, METH_NOARGS,
       "borrow_and_update()\n--\n\nThe latest value, which this receiver has seen then. ChannelClosedError if this "
       "handle is closed."},
      {"has_changed", has_changed, METH_NOARGS,
       "has_changed()\n--\n\nTrue if there is a value that this receiver has not seen."},
      {"changed", as_method(changed), kFastKeywords,
       "changed(timeout=None)\n--\n\nAwaitable: waits for a value that this receiver has not seen, `timeout` seconds "
       "at "
       "most (None: without limit, 0: not at all); then it has seen it.\nRaises ChannelClosedError once the senders "
       "are gone and the last value was seen, and RecvTimeoutError. Cancel safe: a cancelled wait has seen nothing."},
      {"try_changed", try_changed, METH_NOARGS,
       "try_changed()\n--\n\nAwaitable: without waiting. Ok(None), and the value counts as seen; Err(ChannelEmpty()) "
       "or "
       "Err(ChannelClosed(...))."},
      {"blocking_changed", as_method(blocking_changed), kFastKeywords,
       "blocking_changed(timeout=None)\n--\n\nAs changed(), for a thread without an event loop."},
      {"wait_for", as_method(wait_for), kFastKeywords,
       "wait_for(predicate, timeout=None)\n--\n\nAwaitable: the first value for which predicate(value) is true, "
       "beginning with the current one, seen or not.\nThe predicate is called in the waiting task. Raises what it "
       "raises, and what changed() raises. Cancel safe: it holds nothing."},
      {"blocking_wait_for", as_method(blocking_wait_for), kFastKeywords,
       "blocking_wait_for(predicate, timeout=None)\n--\n\nAs wait_for(), for a thread without an event loop."},
      {"resubscribe", subscribe, METH_NOARGS,
       "resubscribe()\n--\n\nA new receiver, which has seen the current value. ChannelClosedError if this one is "
       "closed."},
  };
}

}  // namespace

bool parse_changed(const char* function, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames,
                   Patience& patience) {
  static constexpr const char* kNames[] = {"timeout"};
  PyObject* timeout = nullptr;
  return parse_arguments(function, kNames, 0, 1, args, nargs, kwnames, &timeout) && parse_patience(timeout, patience);
}

bool parse_wait_for(const char* function, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames,
                    PyObject*& predicate, Patience& patience) {
  static constexpr const char* kNames[] = {"predicate", "timeout"};
  PyObject* values[2];
  if (!parse_arguments(function, kNames, 1, 2, args, nargs, kwnames, values) || !parse_patience(values[1], patience)) {
    return false;
  }
  predicate = values[0];
  if (PyCallable_Check(predicate) != 0) return true;
  PyErr_Format(PyExc_TypeError, "predicate must be callable, not %.200s", Py_TYPE(predicate)->tp_name);
  return false;
}

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
