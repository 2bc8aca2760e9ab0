// The operations on local handles, as the awaitable and the blocking calls drive them: an op of the core, and how its outcome
// looks in Python.
#pragma once

#include <span>
#include <type_traits>
#include <vector>

#include <klaw/channels/detail/delivery.hpp>

#include "channel.hpp"
#include "delays.hpp"
#include "delivery.hpp"
#include "handle.hpp"
#include "outcomes.hpp"
#include "permit.hpp"

namespace klaw::python {

// What all have in common: the handle stays alive, and in the sight of the collector.
class HandleOp : public PendingOp {
 public:
  HandleOp(HandleObject* handle, const char* name, Patience patience, Style style)
      : PendingOp(name, patience), handle_(Ref::borrow(reinterpret_cast<PyObject*>(handle))), style_(style) {}

  void hold(PyObject* operation) final {
    hold_.emplace().enter(*reinterpret_cast<HandleObject*>(handle_.get())->channel, operation);
  }
  void release() noexcept final { hold_.reset(); }

  int traverse(visitproc visit, void* arg) const override {
    Py_VISIT(handle_.get());
    return 0;
  }

 protected:
  [[nodiscard]] Style style() const noexcept { return style_; }
  [[nodiscard]] HandleObject& handle() const noexcept { return *reinterpret_cast<HandleObject*>(handle_.get()); }
  [[nodiscard]] Core& core() const noexcept { return *handle().channel->core; }
  [[nodiscard]] std::size_t capacity() const noexcept { return core().capacity(); }
  [[nodiscard]] PyObject* closed(const ChannelClosed& error) const noexcept { return tell_closed(style_, error); }

 private:
  Ref handle_;
  std::optional<Hold> hold_;  // while it waits: an empty one costs a ready operation next to nothing
  Style style_;
};

// Values that stay where they are until the core takes them.
struct Borrowed {
  Ref* values;
  std::size_t count;
  [[nodiscard]] Ref* data() const noexcept { return values; }
  [[nodiscard]] std::size_t size() const noexcept { return count; }
};

// Sends one value, or a batch. `Values` is Ref or std::vector<Ref>.
template <class Values>
class SendPending final : public HandleOp {
 public:
  SendPending(HandleObject* handle, const char* name, Patience patience, Style style, Values values)
      : HandleOp(handle, name, patience, style),
        values_(std::move(values)),
        op_(handle->channel->core, handle->registration, borrowed()) {}

  Status start(Operation* operation) override { return op_.start(operation); }
  Status finish() override { return op_.finish(); }
  void abandon() noexcept override { op_.abandon(); }

  PyObject* outcome(Status status) override {
    if (status == Status::done) return tell_sent(style());
    return status == Status::closed ? closed(op_.closed()) : tell_full(style(), status, capacity(), patience());
  }

  int traverse(visitproc visit, void* arg) const override {
    for (const Ref& value : span()) Py_VISIT(value.get());
    return HandleOp::traverse(visit, arg);
  }
  bool may_be_in_cycle() const noexcept override {
    if constexpr (kOne) {
      return PyObject_IS_GC(values_.get()) != 0;
    } else {
      return true;
    }
  }

 private:
  static constexpr bool kOne = std::is_same_v<Values, Ref>;
  [[nodiscard]] std::span<const Ref> span() const noexcept {
    if constexpr (kOne) {
      return {&values_, 1};
    } else {
      return values_;
    }
  }
  Borrowed borrowed() noexcept {
    if constexpr (kOne) {
      return {&values_, 1};
    } else {
      return {values_.data(), values_.size()};
    }
  }

  Values values_;
  channels::detail::SendOp<Ref, Core, Borrowed> op_;
};

// Reserves a slot.
class ReservePending final : public HandleOp {
 public:
  ReservePending(HandleObject* handle, const char* name, Patience patience, Style style)
      : HandleOp(handle, name, patience, style), op_(handle->channel->core, handle->registration) {}

  Status start(Operation* operation) override { return op_.start(operation); }
  Status finish() override { return op_.finish(); }
  void abandon() noexcept override { op_.abandon(); }

  PyObject* outcome(Status status) override {
    if (status == Status::closed) return closed(op_.closed());
    if (status != Status::done) return tell_full(style(), status, capacity(), patience());
    const Ref permit = Ref::steal(make_permit(handle().channel, op_.take()));
    if (!permit) return nullptr;
    return style() == Style::result ? make_ok(permit.get()) : Py_NewRef(permit.get());
  }

 private:
  channels::detail::ReserveOp<Ref, Core> op_;
};

class RecvPending final : public HandleOp {
 public:
  RecvPending(HandleObject* handle, const char* name, Patience patience, Style style)
      : HandleOp(handle, name, patience, style), op_(handle->channel->core, handle->registration) {}

  Status start(Operation* operation) override { return op_.start(operation); }
  Status finish() override { return op_.finish(); }
  void abandon() noexcept override { op_.abandon(); }

  PyObject* outcome(Status status) override {
    if (status == Status::done) {
      Ref value = op_.take();
      return style() == Style::result ? make_ok(value.get()) : value.release();
    }
    return status == Status::closed ? closed(op_.closed()) : tell_empty(style(), patience());
  }

 private:
  channels::detail::RecvOp<Ref, Core> op_;
};

// How a message of a local channel is settled.
class LocalSettling final : public Settling {
 public:
  LocalSettling(ChannelObject* channel, channels::Delivery<Ref> delivery)
      : channel_(Ref::borrow(reinterpret_cast<PyObject*>(channel))), delivery_(std::move(delivery)) {}

  void ack() noexcept override { delivery_.ack(); }
  bool nack(double delay_s) override {
    if (delay_s <= 0) {
      delivery_.nack();
      return true;
    }
    const auto due = channels::detail::deadline_after(std::chrono::duration<double>(delay_s));
    if (!due) PyErr_Format(PyExc_ValueError, "the delay is too long");
    if (!due || !start_delays()) return false;
    release_at(*due, channels::detail::DeliveryAccess::nack_until(delivery_, *due));
    return true;
  }
  bool is_mine() const noexcept override {
    return reinterpret_cast<ChannelObject*>(channel_.get())->fork_generation == fork_generation;
  }
  int traverse(visitproc visit, void* arg) const override {
    Py_VISIT(channel_.get());
    return 0;
  }
  [[nodiscard]] const channels::Delivery<Ref>& delivery() const noexcept { return delivery_; }

 private:
  Ref channel_;
  channels::Delivery<Ref> delivery_;
};

// Receives one that is to be settled.
class RecvAckedPending final : public HandleOp {
 public:
  RecvAckedPending(HandleObject* handle, const char* name, Patience patience, Style style)
      : HandleOp(handle, name, patience, style),
        op_(std::make_unique<Op>(handle->channel->core, handle->registration)) {}

  Status start(Operation* operation) override { return op_->start(operation); }
  Status finish() override { return op_->finish(); }
  void abandon() noexcept override { op_->abandon(); }

  PyObject* outcome(Status status) override {
    if (status == Status::closed) return closed(op_->closed());
    if (status != Status::done) return tell_empty(style(), patience());
    auto settling = std::make_unique<LocalSettling>(handle().channel, op_->take());
    const channels::Delivery<Ref>& taken = settling->delivery();
    const Ref value = Ref::borrow(taken.value().get());
    const std::uint32_t redeliveries = taken.attempt() - 1;
    return make_delivery(value.get(), redeliveries, std::move(settling));
  }

 private:
  using Op = channels::detail::RecvAckedOp<Ref, Core>;
  std::unique_ptr<Op> op_;
};

class RecvBatchPending final : public HandleOp {
 public:
  RecvBatchPending(HandleObject* handle, const char* name, Patience patience, Style style, std::size_t max_items)
      : HandleOp(handle, name, patience, style), op_(handle->channel->core, handle->registration, max_items) {}

  Status start(Operation* operation) override { return op_.start(operation); }
  Status finish() override { return op_.finish(); }
  void abandon() noexcept override { op_.abandon(); }

  PyObject* outcome(Status status) override {
    if (status == Status::closed) return closed(op_.closed());
    if (status == Status::pending) return tell_empty(style(), patience());
    std::vector<Ref> values = op_.take();
    Ref list = Ref::steal(PyList_New(static_cast<Py_ssize_t>(values.size())));
    if (!list) return nullptr;
    for (std::size_t i = 0; i < values.size(); ++i) {
      PyList_SET_ITEM(list.get(), static_cast<Py_ssize_t>(i), values[i].release());
    }
    return style() == Style::result ? make_ok(list.get()) : list.release();
  }

 private:
  channels::detail::RecvBatchOp<Ref, Core> op_;
};

// Waits until the other side is gone.
class ClosedPending final : public HandleOp {
 public:
  ClosedPending(HandleObject* handle, const char* name)
      : HandleOp(handle, name, Patience::forever(), Style::raise),
        op_(handle->side, handle->channel->core, handle->registration) {}

  Status start(Operation* operation) override { return op_.start(operation); }
  Status finish() override { return op_.finish(); }
  void abandon() noexcept override { op_.abandon(); }
  PyObject* outcome(Status status) override {
    if (status == Status::done) Py_RETURN_NONE;
    return closed(op_.closed());
  }

 private:
  channels::detail::ClosedOp<Core> op_;
};

// What is done at once when it is awaited, and can't happen on a closed handle.
class ReadyPending : public HandleOp {
 public:
  ReadyPending(HandleObject* handle, const char* name) : HandleOp(handle, name, Patience::never(), Style::raise) {}

  Status start(Operation* /*operation*/) override { return act() ? Status::done : Status::closed; }
  Status finish() override { return Status::done; }
  void abandon() noexcept override {}
  PyObject* outcome(Status status) override {
    if (status == Status::closed) return closed({.kind = CloseKind::handle_closed});
    Py_RETURN_NONE;
  }

 private:
  // False: the handle is closed.
  virtual bool act() = 0;
};

// What was sent is stored already.
class FlushPending final : public ReadyPending {
 public:
  using ReadyPending::ReadyPending;

 private:
  bool act() override { return !handle().registration.closed; }
};

class ShutdownPending final : public ReadyPending {
 public:
  ShutdownPending(HandleObject* handle, const char* name, bool is_immediate, std::optional<std::string> reason)
      : ReadyPending(handle, name), is_immediate_(is_immediate), reason_(std::move(reason)) {}

 private:
  bool act() override { return core().shut_down(handle().registration, is_immediate_, std::move(reason_)); }
  bool is_immediate_;
  std::optional<std::string> reason_;
};

// Takes a snapshot of the channel; also on a closed handle.
class StatsPending final : public ReadyPending {
 public:
  using ReadyPending::ReadyPending;
  PyObject* outcome(Status status) override;

 private:
  bool act() override { return true; }
};

// What the methods of a handle (methods.hpp) need to know of local ones.
struct Local {
  using Handle = HandleObject;
  using Value = Ref;
  template <class Values>
  using Send = SendPending<Values>;
  using Recv = RecvPending;
  using RecvBatch = RecvBatchPending;
  using RecvAcked = RecvAckedPending;
  using Reserve = ReservePending;
  using Flush = FlushPending;
  using Shutdown = ShutdownPending;
  using Closed = ClosedPending;
  static constexpr FixedString kPrefix = "Local";

  static Handle* usable(PyObject* object) noexcept { return klaw::python::usable(object); }
  static std::optional<Value> pack(PyObject* value) { return Ref::borrow(value); }
  // Takes effect at once.
  static void close(Handle& self, std::optional<std::string> reason) {
    self.channel->core->close_handle(self.side, self.registration, std::move(reason));
  }
  // What close() returns: there is nothing to wait for.
  static PyObject* when_closed(Handle& /*self*/, const char* name) {
    return make_completed(name, Ref::borrow(Py_None));
  }
  static PyObject* wait_until_closed(Handle& /*self*/, Patience /*patience*/) { Py_RETURN_NONE; }
  static PyObject* blocking_flush(Handle& self, Patience /*patience*/) {
    Flush op(&self, "blocking_flush");
    return op.outcome(op.start(nullptr));
  }
  static bool is_closed(const Handle& self) { return self.channel->core->is_closed(self.side, self.registration); }
  static std::size_t capacity(const Handle& self) { return self.channel->core->capacity(); }
};

}  // namespace klaw::python
