// The operations on handles of a remote channel, as the awaitable and the blocking calls drive them: an operation of the link,
// and how its outcome looks in Python.
//
// The I/O thread wakes them, without the GIL, and the link keeps their time: whether something has happened when the time is
// over, only the broker knows, so an operation ends when the answer has come.
#pragma once

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "await/operation.hpp"
#include "await/outcomes.hpp"
#include "handles/delivery.hpp"
#include "handles/handle.hpp"
#include "handles/permit.hpp"
#include "remote/payload.hpp"
#include "remote/remote.hpp"

namespace klaw::python {

using dataplane::Dialer;
using dataplane::Link;
using dataplane::Message;
using dataplane::Time;

// What all have in common: the handle stays alive, and the dialer.
class RemoteOp : public PendingOp {
 public:
  RemoteOp(RemoteHandleObject* handle, OpName name, Patience patience, Style style)
      : PendingOp(name, patience),
        handle_(Ref::borrow(reinterpret_cast<PyObject*>(handle))),
        dialer_(handle->channel->dialer),
        style_(style) {
    open_if_new(*handle);
  }

  // While it waits, others may wake it whom the collector does not see: so it is owned by nobody that could be collected.
  void hold(PyObject* operation) final { held_ = Ref::borrow(operation); }
  void release() noexcept final { const Ref last = std::move(held_); }  // perhaps the last one of ourselves

  [[nodiscard]] bool is_remote() const noexcept final { return true; }
  [[nodiscard]] bool keeps_time() const noexcept override { return style_ != Style::nowait; }

  int traverse(visitproc visit, void* arg) const override {
    Py_VISIT(handle_.get());
    return 0;
  }

 protected:
  [[nodiscard]] Style style() const noexcept { return style_; }
  [[nodiscard]] RemoteHandleObject& handle() const noexcept {
    return *reinterpret_cast<RemoteHandleObject*>(handle_.get());
  }
  [[nodiscard]] const Registration& registration() const noexcept { return handle().registration; }
  [[nodiscard]] std::size_t capacity() const noexcept { return handle().channel->capacity; }
  [[nodiscard]] const std::shared_ptr<Dialer>& dialer() const noexcept { return dialer_; }
  template <class F>
  auto with_link(F f) {
    return dialer_->with_link(std::move(f));
  }
  // An error that this operation, or the next one of its handle, has to tell.
  void keep_error(Ref error) noexcept { Py_XSETREF(handle().untold, error.release()); }
  PyObject* raise_kept() noexcept { return raise(Ref::steal(std::exchange(handle().untold, nullptr))); }
  static PyObject* raise(const Ref& error) noexcept {
    if (error) PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.get())), error.get());
    return nullptr;
  }
  // Long past: it only tries. One that is started again has the time that is left.
  [[nodiscard]] Time deadline(Time now) noexcept {
    if (!deadline_) deadline_ = deadline_after(now);
    return *deadline_;
  }

 private:
  [[nodiscard]] Time deadline_after(Time now) const noexcept {
    if (!patience().waits()) return Time();
    const auto limit = std::chrono::duration<double, std::micro>(patience().seconds() * 1e6);
    const auto room = std::chrono::duration<double, std::micro>(dataplane::kNever - now);
    return limit >= room ? dataplane::kNever : now + std::chrono::ceil<dataplane::Duration>(limit);
  }

  Ref handle_;
  std::shared_ptr<Dialer> dialer_;
  Ref held_;
  std::optional<Time> deadline_;
  Style style_;
};

// Sends one message, or a batch.
class RemoteSend : public RemoteOp {
 public:
  RemoteSend(RemoteHandleObject* handle, OpName name, Patience patience, Style style, Bytes payload)
      : RemoteOp(handle, name, patience, style), state_(std::make_unique<State>()) {
    state_->messages.push_back({.payload = std::move(payload)});
  }
  RemoteSend(RemoteHandleObject* handle, OpName name, Patience patience, Style style, std::vector<Bytes> payloads)
      : RemoteOp(handle, name, patience, style), state_(std::make_unique<State>()) {
    state_->messages.reserve(payloads.size());
    for (Bytes& payload : payloads) state_->messages.push_back({.payload = std::move(payload)});
  }

  Status start(Operation* operation) override {
    // No send is done before the broker has answered.
    if (operation == nullptr && keeps_time()) return Status::pending;
    dataplane::SendOperation& op = state_->op;
    op.values = state_->messages.data();
    op.count = state_->messages.size();
    return with_link([&](Link& link, Time now) {
      op.deadline = deadline(now);
      return link.start_send(now, registration(), op, operation);
    });
  }
  Status finish() override {
    return with_link([&](Link& link, Time now) { return link.finish_send(now, state_->op); });
  }
  void abandon() noexcept override {
    with_link([&](Link& link, Time now) { link.abandon_send(now, state_->op); });
  }
  PyObject* outcome(Status status) override {
    if (status == Status::done) return tell_sent(style());
    if (state_->op.is_already_sent) return tell_already_sent(style());
    if (status == Status::closed) return tell_closed(style(), state_->op.error);
    return tell_full(style(), status, capacity(), patience());
  }

 protected:
  [[nodiscard]] const dataplane::SendOperation& op() const noexcept { return state_->op; }

 private:
  struct State {
    std::vector<Message> messages;
    dataplane::SendOperation op;
  };
  std::unique_ptr<State> state_;
};

// Tells how many receivers it was sent to.
class RemoteCountedSend final : public RemoteSend {
 public:
  using RemoteSend::RemoteSend;
  PyObject* outcome(Status status) override {
    return status == Status::done ? tell_receivers(style(), op().receivers) : RemoteSend::outcome(status);
  }
};

// A slot that the broker holds. The channel stays alive with it, and its handle's session.
class RemoteSlot final : public Slot {
 public:
  RemoteSlot(RemoteChannelObject* channel, dataplane::Permit permit)
      : channel_(Ref::borrow(reinterpret_cast<PyObject*>(channel))), dialer_(channel->dialer), permit_(permit) {}
  ~RemoteSlot() override {
    dialer_->with_link([&](Link& link, Time now) { link.release_reserved(now, permit_); });
  }

  bool send(PyObject* value) override {
    std::optional<Bytes> payload = encode_payload(value);
    if (!payload) return false;
    const auto error =
        dialer_->with_link([&](Link& link, Time now) { return link.send_reserved(now, permit_, *std::move(payload)); });
    if (error) raise_closed(*error);
    return !error;
  }
  bool is_mine() const noexcept override { return !dialer_->is_inherited(); }
  int traverse(visitproc visit, void* arg) const override {
    Py_VISIT(channel_.get());
    return 0;
  }

 private:
  Ref channel_;
  std::shared_ptr<Dialer> dialer_;
  const dataplane::Permit permit_;
};

// Reserves a slot.
class RemoteReserve final : public RemoteOp {
 public:
  RemoteReserve(RemoteHandleObject* handle, OpName name, Patience patience, Style style)
      : RemoteOp(handle, name, patience, style), op_(std::make_unique<dataplane::SendOperation>()) {
    op_->reserves = true;
  }

  Status start(Operation* operation) override {
    // No slot is held before the broker has answered.
    if (operation == nullptr) return Status::pending;
    return with_link([&](Link& link, Time now) {
      op_->deadline = deadline(now);
      return link.start_send(now, registration(), *op_, operation);
    });
  }
  Status finish() override {
    return with_link([&](Link& link, Time now) { return link.finish_send(now, *op_); });
  }
  void abandon() noexcept override {
    with_link([&](Link& link, Time now) { link.abandon_send(now, *op_); });
  }
  PyObject* outcome(Status status) override {
    if (status == Status::closed) return tell_closed(style(), op_->error);
    if (status != Status::done) return tell_full(style(), status, capacity(), patience());
    auto slot = std::make_unique<RemoteSlot>(handle().channel, Link::permit_of(*op_));
    const Ref permit = Ref::steal(make_permit(PermitOf::remote, std::move(slot)));
    if (!permit) return nullptr;
    return style() == Style::result ? make_ok(permit.get()) : Py_NewRef(permit.get());
  }

 private:
  std::unique_ptr<dataplane::SendOperation> op_;
};

// How a message of a remote channel is settled. What is said here the broker hears in its turn; if it, or this client, has died
// meanwhile, the message has come back already, or is gone.
class RemoteSettling final : public Settling {
 public:
  RemoteSettling(std::shared_ptr<Dialer> dialer, std::uint64_t session, dataplane::Attempt attempt)
      : dialer_(std::move(dialer)), session_{.id = session, .closed = false}, attempt_(attempt) {}
  ~RemoteSettling() override { settle(true, {}); }

  void ack() noexcept override { settle(false, {}); }
  bool nack(double delay_s) override {
    const auto delay = std::chrono::duration<double, std::micro>(delay_s * 1e6);
    const auto longest = std::chrono::duration<double, std::micro>(dataplane::Duration::max() / 2);
    settle(true, delay >= longest ? dataplane::Duration::max() / 2 : std::chrono::ceil<dataplane::Duration>(delay));
    return true;
  }
  bool is_mine() const noexcept override { return !dialer_->is_inherited(); }

 private:
  void settle(bool requeue, dataplane::Duration delay) noexcept {
    if (std::exchange(is_settled_, true)) return;
    dialer_->with_link([&](Link& link, Time now) { link.settle(now, session_, {attempt_}, requeue, delay); });
  }

  std::shared_ptr<Dialer> dialer_;
  const Registration session_;
  const dataplane::Attempt attempt_;
  bool is_settled_ = false;
};

// A message that can't be decoded is done with: it would come back for ever. Then null with an exception set.
inline PyObject* to_delivery(const Message& message, const std::shared_ptr<Dialer>& dialer, std::uint64_t session) {
  auto settling = std::make_unique<RemoteSettling>(dialer, session, message.attempt);
  const Ref value = Ref::steal(decode_payload(message.payload));
  if (value) return make_delivery(value.get(), message.redeliveries, std::move(settling));
  settling->ack();
  return nullptr;
}

// Says that what this receive has taken is decoded: only now is it taken. A process that dies of decoding it has not taken it,
// and others get it. An error: they have it already, or may have it.
inline std::optional<ChannelClosed> confirm(Dialer& dialer, const Registration& session,
                                            const dataplane::RecvOperation& op) {
  if (dialer.is_inherited()) return std::nullopt;  // decoding it has forked: this is the parent's to say
  std::vector<dataplane::Attempt> attempts;
  if (op.many == nullptr) {
    attempts.push_back(op.value->attempt);
  } else {
    for (const Message& message : *op.many) attempts.push_back(message.attempt);
  }
  return dialer.with_link([&](Link& link, Time now) { return link.confirm(now, session, attempts); });
}

// Receives one message, or a batch of up to `max_items`.
class RemoteRecv : public RemoteOp {
 public:
  RemoteRecv(RemoteHandleObject* handle, OpName name, Patience patience, Style style)
      : RemoteOp(handle, name, patience, style), state_(std::make_unique<State>()) {
    state_->op.confirms = true;
  }
  RemoteRecv(RemoteHandleObject* handle, OpName name, Patience patience, Style style, std::size_t max_items)
      : RemoteRecv(handle, name, patience, style) {
    state_->op.max_items = max_items;
    state_->op.many = &state_->many;
  }

 protected:
  void acknowledge() noexcept { state_->op.acknowledges = true; }
  [[nodiscard]] const dataplane::RecvOperation& op() const noexcept { return state_->op; }

 public:
  Status start(Operation* operation) override {
    if (handle().untold != nullptr) return Status::closed;
    return with_link([&](Link& link, Time now) {
      state_->op.deadline = deadline(now);
      return link.start_recv(now, registration(), state_->op, operation);
    });
  }
  Status finish() override {
    return with_link([&](Link& link, Time now) { return link.finish_recv(now, state_->op); });
  }
  void abandon() noexcept override {
    with_link([&](Link& link, Time now) { link.abandon_recv(now, state_->op); });
  }
  PyObject* outcome(Status status) override {
    if (status == Status::closed && handle().untold != nullptr) return raise_kept();
    if (status == Status::closed) return tell_closed(style(), state_->op.error);
    if (status != Status::done) return tell_empty(style(), patience());
    if (state_->op.acknowledges) return to_delivery(*state_->op.value, dialer(), registration().id);
    Ref error;
    const Ref value = state_->op.many == nullptr ? decoded(*state_->op.value, error) : decoded_batch(error);
    if (const auto lost = confirm(*dialer(), registration(), state_->op)) return tell_closed(style(), *lost);
    if (!value) return raise(error);
    if (error) keep_error(std::move(error));
    return style() == Style::result ? make_ok(value.get()) : Py_NewRef(value.get());
  }

 private:
  struct State {
    std::vector<Message> many;
    dataplane::RecvOperation op;
  };
  static Ref decoded(const Message& message, Ref& error) {
    Ref value = Ref::steal(decode_payload(message.payload));
    if (!value) error = fetch_exception();
    return value;
  }
  // A message that can't be decoded must not take the others of its batch with it: its error is raised by the next receive,
  // unless there are no others.
  Ref decoded_batch(Ref& error) {
    Ref list = Ref::steal(PyList_New(0));
    if (!list) error = fetch_exception();
    for (std::size_t i = 0; list && i < state_->many.size(); ++i) {
      const Ref value = decoded(state_->many[i], error);
      if (value && PyList_Append(list.get(), value.get()) < 0) error = fetch_exception();
    }
    return list && PyList_GET_SIZE(list.get()) > 0 ? std::move(list) : Ref();
  }
  std::unique_ptr<State> state_;
};

// Receives one that is to be settled.
class RemoteRecvAcked final : public RemoteRecv {
 public:
  RemoteRecvAcked(RemoteHandleObject* handle, OpName name, Patience patience, Style style)
      : RemoteRecv(handle, name, patience, style) {
    acknowledge();
  }
};

// Waits for something about its handle.
class RemoteWait : public RemoteOp {
 public:
  enum class What : std::uint8_t {
    opened,     // it counts at the broker
    held,       // the broker holds another handle open, for a ticket
    closed,     // the other side is gone
    flushed,    // all that it has sent is stored; also of a closed handle
    shut_down,  // the channel takes no more sends
  };
  RemoteWait(RemoteHandleObject* handle, OpName name, Patience patience, What what)
      : RemoteOp(handle, name, patience, Style::raise), state_(std::make_unique<State>(what)) {}

  // It only looks at what the link knows, and may stop looking at any time.
  [[nodiscard]] bool keeps_time() const noexcept override { return false; }

  Status start(Operation* operation) override {
    if (state_->what == What::flushed && handle().untold != nullptr) return Status::closed;
    const Registration session{.id = registration().id, .closed = registration().closed};
    return with_link([&](Link& link, Time now) {
      switch (state_->what) {
        case What::opened: return link.start_opened(now, handle().side, session, state_->op, operation);
        case What::closed: return link.start_closed(now, handle().side, session, state_->op, operation);
        default: break;
      }
      return link.start_flush(now, session, state_->op, operation);
    });
  }
  Status finish() override {
    return with_link([&](Link& link, Time) { return link.finish_wait(state_->op); });
  }
  void abandon() noexcept override {
    with_link([&](Link& link, Time) { link.abandon_wait(state_->op); });
  }
  PyObject* outcome(Status status) override {
    if (status == Status::done) Py_RETURN_NONE;
    if (status == Status::closed) {
      return handle().untold != nullptr ? raise_kept() : tell_closed(style(), state_->op.error);
    }
    PyErr_Format(PyExc_TimeoutError, "%s() timed out", name().c_str());
    return nullptr;
  }
  [[nodiscard]] bool must_be_awaited() const noexcept override { return state_->what != What::flushed; }

 protected:
  [[nodiscard]] const ChannelClosed& error() const noexcept { return state_->op.error; }
  [[nodiscard]] dataplane::HandleOperation& op() const noexcept { return state_->op; }

 private:
  struct State {
    explicit State(What w) noexcept : what(w) {}
    const What what;
    dataplane::HandleOperation op;
  };
  std::unique_ptr<State> state_;
};

class RemoteClosed final : public RemoteWait {
 public:
  RemoteClosed(RemoteHandleObject* handle, OpName name) : RemoteWait(handle, name, Patience::forever(), What::closed) {}
};

// Of an open handle; awaiting close() waits for the same of a closed one.
class RemoteFlush final : public RemoteWait {
 public:
  RemoteFlush(RemoteHandleObject* handle, OpName name, Patience patience = Patience::forever())
      : RemoteWait(handle, name, patience, What::flushed) {}
  Status start(Operation* operation) override {
    was_closed_ = registration().closed;
    return was_closed_ ? Status::closed : RemoteWait::start(operation);
  }
  PyObject* outcome(Status status) override {
    if (was_closed_) return tell_closed(style(), {.kind = CloseKind::handle_closed});
    return RemoteWait::outcome(status);
  }
  [[nodiscard]] bool must_be_awaited() const noexcept override { return true; }

 private:
  bool was_closed_ = false;
};

// Done when the broker has said that it is shut down.
class RemoteShutdown final : public RemoteWait {
 public:
  RemoteShutdown(RemoteHandleObject* handle, OpName name, bool is_immediate, std::optional<std::string> reason)
      : RemoteWait(handle, name, Patience::forever(), What::shut_down),
        is_immediate_(is_immediate),
        reason_(std::move(reason)) {}
  Status start(Operation* operation) override {
    return with_link([&](Link& link, Time now) {
      return link.start_shutdown(now, registration(), is_immediate_, reason_, op(), operation);
    });
  }

 private:
  const bool is_immediate_;
  const std::optional<std::string> reason_;
};

// Done when the broker holds another handle of its side open, under the token of a ticket.
class RemoteHold final : public RemoteWait {
 public:
  RemoteHold(RemoteHandleObject* handle, const dataplane::Token& token)
      : RemoteWait(handle, "ticket", Patience::forever(), What::held), token_(token) {}
  Status start(Operation* operation) override {
    return with_link([&](Link& link, Time now) {
      return link.start_hold(now, handle().side, registration(), token_, op(), operation);
    });
  }

 private:
  const dataplane::Token token_;
};

// What the methods of a handle (methods.hpp) need to know of remote ones.
struct Remote {
  using Handle = RemoteHandleObject;
  using Value = Bytes;
  template <class>
  using Send = RemoteSend;
  using Recv = RemoteRecv;
  using RecvBatch = RemoteRecv;
  using RecvAcked = RemoteRecvAcked;
  using Reserve = RemoteReserve;
  using Flush = RemoteFlush;
  using Shutdown = RemoteShutdown;
  using Closed = RemoteClosed;
  static constexpr const char* kSenderName = "RaySender";
  static constexpr const char* kReceiverName = "RayReceiver";
  static constexpr const char* kInsteadOfCopy = "use clone()";

  static Handle* usable(PyObject* object);
  static std::optional<Value> pack(PyObject* value) { return encode_payload(value); }
  static void close(Handle& self, std::optional<std::string> reason);
  static PyObject* when_closed(Handle& self, const char* name);
  static PyObject* wait_until_closed(Handle& self, Patience patience);
  static PyObject* blocking_flush(Handle& self, Patience patience);
  static bool may_block(const char* instead) { return refuse_event_loop(instead); }
  static bool is_closed(const Handle& self);
  static std::size_t capacity(const Handle& self) { return self.channel->capacity; }
};

}  // namespace klaw::python
