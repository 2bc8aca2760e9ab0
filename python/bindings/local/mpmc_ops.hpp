// The operations on the handles of local MPMC channels that other flavours do not have.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include <klaw/channels/detail/delivery.hpp>
#include <klaw/channels/detail/mpmc.hpp>
#include <klaw/channels/detail/permit.hpp>

#include "handles/delivery.hpp"
#include "handles/permit.hpp"
#include "local/delays.hpp"
#include "local/flavour.hpp"
#include "local/local_ops.hpp"

namespace klaw::python {

using MpmcCore = channels::detail::Mpmc<Ref, GilExclusion>;

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
  SendPending(HandleObject* handle, OpName name, Patience patience, Style style, Values values)
      : HandleOp(handle, name, patience, style),
        values_(std::move(values)),
        op_(core_of<MpmcCore>(*handle), handle->registration, borrowed()) {}

  Status start(Operation* operation) override { return op_.start(operation); }
  Status finish() override { return op_.finish(); }
  void abandon() noexcept override { op_.abandon(); }

  PyObject* outcome(Status status) override {
    if (status == Status::done) return tell_sent(style());
    return status == Status::closed ? closed(op_.closed())
                                    : tell_full(style(), status, core_of<MpmcCore>(handle())->capacity(), patience());
  }

  int traverse(visitproc visit, void* arg) const override {
    for (const Ref& value : span()) Py_VISIT(value.get());
    return HandleOp::traverse(visit, arg);
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
  channels::detail::SendOp<Ref, MpmcCore, Borrowed> op_;
};

class LocalSlot final : public Slot {
 public:
  LocalSlot(ChannelObject* channel, channels::Permit<Ref> permit)
      : channel_(Ref::borrow(reinterpret_cast<PyObject*>(channel))), permit_(std::move(permit)) {}

  bool send(PyObject* value) override {
    permit_.send(Ref::borrow(value));
    return true;
  }
  bool is_mine() const noexcept override {
    return reinterpret_cast<ChannelObject*>(channel_.get())->fork_generation == fork_generation;
  }
  int traverse(visitproc visit, void* arg) const override {
    Py_VISIT(channel_.get());
    return 0;
  }

 private:
  Ref channel_;
  channels::Permit<Ref> permit_;
};

// Reserves a slot.
class ReservePending final : public HandleOp {
 public:
  ReservePending(HandleObject* handle, OpName name, Patience patience, Style style)
      : HandleOp(handle, name, patience, style), op_(core_of<MpmcCore>(*handle), handle->registration) {}

  Status start(Operation* operation) override { return op_.start(operation); }
  Status finish() override { return op_.finish(); }
  void abandon() noexcept override { op_.abandon(); }

  PyObject* outcome(Status status) override {
    if (status == Status::closed) return closed(op_.closed());
    if (status != Status::done) return tell_full(style(), status, core_of<MpmcCore>(handle())->capacity(), patience());
    const Ref permit =
        Ref::steal(make_permit(PermitOf::local, std::make_unique<LocalSlot>(handle().channel, op_.take())));
    if (!permit) return nullptr;
    return style() == Style::result ? make_ok(permit.get()) : Py_NewRef(permit.get());
  }

 private:
  channels::detail::ReserveOp<Ref, MpmcCore> op_;
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
    Py_VISIT(delivery_.value().get());  // beside the Delivery's own reference to the message
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
  RecvAckedPending(HandleObject* handle, OpName name, Patience patience, Style style)
      : HandleOp(handle, name, patience, style),
        op_(std::make_unique<Op>(core_of<MpmcCore>(*handle), handle->registration)) {}

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
  using Op = channels::detail::RecvAckedOp<Ref, MpmcCore>;
  std::unique_ptr<Op> op_;
};

class RecvBatchPending final : public HandleOp {
 public:
  RecvBatchPending(HandleObject* handle, OpName name, Patience patience, Style style, std::size_t max_items)
      : HandleOp(handle, name, patience, style), op_(core_of<MpmcCore>(*handle), handle->registration, max_items) {}

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
  channels::detail::RecvBatchOp<Ref, MpmcCore> op_;
};

// What is done at once when it is awaited, and can't happen on a closed handle.
class ReadyPending : public InstantOp {
 public:
  ReadyPending(HandleObject* handle, OpName name) : InstantOp(handle, name, Patience::never(), Style::raise) {}

  Status start(Operation* /*operation*/) override { return act() ? Status::done : Status::closed; }
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
  ShutdownPending(HandleObject* handle, OpName name, bool is_immediate, std::optional<std::string> reason)
      : ReadyPending(handle, name), is_immediate_(is_immediate), reason_(std::move(reason)) {}

 private:
  bool act() override {
    return core_of<MpmcCore>(handle())->shut_down(handle().registration, is_immediate_, std::move(reason_));
  }
  bool is_immediate_;
  std::optional<std::string> reason_;
};

// What the methods of a handle (handle_methods.hpp) need to know of local ones.
struct Local : LocalBackend<Local, MpmcCore> {
  using RecvOp = channels::detail::RecvOp<Ref, MpmcCore>;
  template <class Values>
  using Send = SendPending<Values>;
  using Recv = RecvPending<Local>;
  using RecvBatch = RecvBatchPending;
  using RecvAcked = RecvAckedPending;
  using Reserve = ReservePending;
  using Flush = FlushPending;
  using Shutdown = ShutdownPending;
  static constexpr const char* kSenderName = "LocalSender";
  static constexpr const char* kReceiverName = "LocalReceiver";

  static bool is_spent(const Handle& /*self*/) noexcept { return false; }
  static PyObject* blocking_flush(Handle& self, Patience /*patience*/) {
    Flush op(&self, "blocking_flush");
    return op.outcome(op.start(nullptr));
  }
  // How a channel is shown: 7/64.
  static std::string contents(const channels::ChannelStats& s) {
    return std::to_string(s.queue_size) + "/" + (s.capacity ? std::to_string(*s.capacity) : "unbounded");
  }
};

}  // namespace klaw::python
