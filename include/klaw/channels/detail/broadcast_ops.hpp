// The operations on the handles of a broadcast, each as an object that any way of waiting can drive; see ops.hpp.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include <klaw/channels/detail/broadcast.hpp>
#include <klaw/channels/detail/ops.hpp>

namespace klaw::channels::detail {

template <class T, class Core>
class BroadcastSendOp : OpBase<Core> {
 public:
  using value_type = std::size_t;

  BroadcastSendOp(const std::shared_ptr<Core>& core, const Registration& handle, OneValue<T> value)
      : OpBase<Core>(core, handle), value_(std::move(value)) {}
  // It moves only before it is started, when its waiter is blank still: to copy that costs more than the send itself.
  BroadcastSendOp(BroadcastSendOp&& other) noexcept : OpBase<Core>(std::move(other)), value_(std::move(other.value_)) {}

  // `branch`: which one of a select this is.
  Status start(Operation* op, std::uint32_t branch = 0) {
    if (!this->has_core()) {
      waiter_.why = CloseKind::handle_closed;
      if (op != nullptr && !op->try_claim(branch)) return Status::pending;
      return Status::closed;
    }
    if (op != nullptr) this->keep_core();
    waiter_.index = branch;
    waiter_.value = value_.data();
    return this->core().start_send(this->handle(), waiter_, op);
  }
  Status finish() { return this->core().finish_send(waiter_); }
  void abandon() noexcept {
    if (this->is_started()) this->core().abandon_send(waiter_);
  }

  [[nodiscard]] Result<std::size_t, ChannelClosed> result(Status status) const {
    assert(status == Status::done || status == Status::closed);
    if (status == Status::done) return waiter_.receivers;
    return std::unexpected(closed());
  }
  [[nodiscard]] Result<std::size_t, SendError> limited_result(Status status) const {
    switch (status) {
      case Status::done: return waiter_.receivers;
      case Status::closed: return std::unexpected(SendError(closed()));
      default: return std::unexpected(SendError(ChannelFull{this->core().capacity()}));
    }
  }
  [[nodiscard]] ChannelClosed closed() const { return OpBase<Core>::closed(Side::sender, waiter_.why); }

 private:
  OneValue<T> value_;
  BroadcastSendWaiter<T> waiter_;
};

// `Reader`: a Subscription.
template <class T, class Reader>
class BroadcastRecvOp : OpBase<Reader> {
 public:
  using value_type = T;

  BroadcastRecvOp(const std::shared_ptr<Reader>& reader, const Registration& handle) : OpBase<Reader>(reader, handle) {}
  // It moves only before it is started, when its waiter is blank still: to copy that costs more than the receive itself.
  BroadcastRecvOp(BroadcastRecvOp&& other) noexcept : OpBase<Reader>(std::move(other)) {}

  Status start(Operation* op, std::uint32_t branch = 0) {
    if (!this->has_core()) {
      waiter_.why = CloseKind::handle_closed;
      if (op != nullptr && !op->try_claim(branch)) return Status::pending;
      return Status::closed;
    }
    if (op != nullptr) this->keep_core();
    waiter_.index = branch;
    return this->core().start_recv(waiter_, op);
  }
  Status finish() { return this->core().finish_recv(waiter_); }
  void abandon() noexcept {
    if (this->is_started()) this->core().abandon_recv(waiter_);
  }
  void take_late() noexcept { waiter_.takes_late = true; }

  [[nodiscard]] Result<T, LaggingRecvError> result(Status status) {
    assert(status == Status::done || status == Status::closed);
    return outcome<LaggingRecvError>(status);
  }
  [[nodiscard]] Result<T, LaggingTryRecvError> limited_result(Status status) {
    if (status == Status::pending) return std::unexpected(LaggingTryRecvError(ChannelEmpty{}));
    return outcome<LaggingTryRecvError>(status);
  }
  // Of an op that came to Status::done: was it told that its receiver fell behind? Else there is a value.
  [[nodiscard]] bool is_lag() const noexcept { return !waiter_.message; }
  [[nodiscard]] std::uint64_t skipped() const noexcept { return waiter_.skipped; }
  [[nodiscard]] T take() { return (*std::move(waiter_.message)).take(); }
  [[nodiscard]] ChannelClosed closed() const { return OpBase<Reader>::closed(Side::receiver, waiter_.why); }

 private:
  template <class Error>
  Result<T, Error> outcome(Status status) {
    if (status == Status::closed) return std::unexpected(Error(closed()));
    if (is_lag()) return std::unexpected(Error(Lagged{waiter_.skipped}));
    return take();
  }

  BroadcastRecvWaiter<T> waiter_;
};

}  // namespace klaw::channels::detail
