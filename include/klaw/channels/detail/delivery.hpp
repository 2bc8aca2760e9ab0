// A delivery: a message that is done with when its receiver says so, and comes back if it does not.
//
//   auto got = co_await rx.recv_acked();          // Result<Delivery<T>, ChannelClosed>
//   if (got && work(got->value())) got->ack();    // else it is redelivered when `got` goes
//
// At least once: whoever works on a message may be the second one. Order: what comes back is handed out before what is
// newer, to whichever receiver is next. Capacity: a message gives its slot away when it is taken, and takes none when it
// comes back. Close: the end is held back while others' deliveries are unsettled, since they may come back; one's own do
// not hold it back. If no receiver is left, what comes back is dropped, as what is queued is.
// Cancel safety: a recv_acked that is cancelled takes nothing, as recv.
#pragma once

#include <cassert>
#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include <klaw/channels/detail/core.hpp>
#include <klaw/channels/detail/dropped.hpp>
#include <klaw/channels/detail/ops.hpp>
#include <klaw/channels/detail/timer.hpp>

namespace klaw::channels {

namespace detail {

template <class T, class Core>
class RecvAckedOp;
struct DeliveryAccess;

}  // namespace detail

// Move-only. One thread at a time may use it. It outlives handles and channel.
template <class T>
class [[nodiscard]] Delivery {
 public:
  Delivery(const Delivery&) = delete;
  Delivery& operator=(const Delivery&) = delete;
  Delivery(Delivery&& other) noexcept
      : core_(std::exchange(other.core_, nullptr)), receipt_(other.receipt_), value_(std::move(other.value_)) {}
  Delivery& operator=(Delivery&&) = delete;
  ~Delivery() {
    nack();
    if constexpr (!std::is_trivially_destructible_v<T>) detail::Drops::of_this_thread().drop(value_);
  }

  // The message; it stays the channel's until ack() or take(). Only of a delivery that is not settled.
  [[nodiscard]] const T& value() const noexcept { return *value_; }
  // Was it handed out before? Then its work may have been done already, wholly or in part.
  [[nodiscard]] bool redelivered() const noexcept { return receipt_.redeliveries > 0; }
  // How often it was handed out, this time included.
  [[nodiscard]] std::uint32_t attempt() const noexcept { return receipt_.redeliveries + 1; }

  // It is done with. Idempotent: what was settled stays as it was.
  void ack() noexcept {
    if (core_ != nullptr) std::exchange(core_, nullptr)->settle(receipt_);
  }
  // ack(), and the message is yours. Throws std::logic_error if it was settled before.
  [[nodiscard]] T take() {
    if (core_ == nullptr) throw std::logic_error("delivery: it was settled already");
    ack();
    return *std::move(value_);
  }

  // It is handed out again, marked; at once, or after a delay. Idempotent.
  void nack() noexcept { give_back(detail::Clock::time_point::min()); }
  template <class Rep, class Period>
  void nack(std::chrono::duration<Rep, Period> delay) {
    if (core_ == nullptr) return;
    const detail::Deadline due = detail::deadline_after(delay);
    if (!due) throw std::invalid_argument("nack: the delay is too long");
    std::weak_ptr<detail::MpmcCore<T>> core = core_;  // the last handle may go before it is due
    give_back(*due);
    detail::Timers::of_this_process().call_at(*due, [core = std::move(core)] {
      if (const auto there = core.lock()) there->release_due(detail::Clock::now());
    });
  }

 private:
  template <class, class>
  friend class detail::RecvAckedOp;
  friend struct detail::DeliveryAccess;
  Delivery(std::shared_ptr<detail::MpmcCore<T>> core, const detail::Receipt& receipt, T&& value) noexcept
      : core_(std::move(core)), receipt_(receipt), value_(std::move(value)) {}

  void give_back(detail::Clock::time_point due) noexcept {
    if (core_ == nullptr) return;
    std::exchange(core_, nullptr)->give_back(receipt_, *std::move(value_), due);
  }

  std::shared_ptr<detail::MpmcCore<T>> core_;  // null: it is settled
  detail::Receipt receipt_;
  std::optional<T> value_;
};

namespace detail {

// For fronts that keep time themselves.
struct DeliveryAccess {
  // Gives it back, not before `due`: then the caller sees to it that its channel, which this gives, is told.
  template <class T>
  static std::weak_ptr<MpmcCore<T>> nack_until(Delivery<T>& delivery, Clock::time_point due) noexcept {
    std::weak_ptr<MpmcCore<T>> core = delivery.core_;
    delivery.give_back(due);
    return core;
  }
};

template <class T, class Core>
class RecvAckedOp : OpBase<Core> {
 public:
  using value_type = Delivery<T>;

  RecvAckedOp(const std::shared_ptr<Core>& core, const Registration& handle) : OpBase<Core>(core, handle) {
    waiter_.acknowledges = true;
  }

  Status start(Operation* op) {
    if (!this->has_core()) {
      waiter_.why = CloseKind::handle_closed;
      return Status::closed;
    }
    if (op != nullptr) this->keep_core();
    return hold(this->core().start_recv(this->handle(), waiter_, op));
  }
  Status finish() { return hold(this->core().finish_recv(waiter_)); }
  void abandon() noexcept {
    if (this->is_started()) this->core().abandon_recv(waiter_);
  }

  [[nodiscard]] Result<Delivery<T>, ChannelClosed> result(Status status) {
    assert(status == Status::done || status == Status::closed);
    if (status == Status::done) return take();
    return std::unexpected(closed());
  }
  [[nodiscard]] Result<Delivery<T>, RecvError> limited_result(Status status) {
    if (status == Status::done) return take();
    if (status == Status::closed) return std::unexpected(RecvError(closed()));
    return std::unexpected(RecvError(ChannelEmpty{}));
  }
  // The delivery of an op that came to Status::done.
  [[nodiscard]] Delivery<T> take() noexcept { return *std::move(delivery_); }
  [[nodiscard]] ChannelClosed closed() const { return OpBase<Core>::closed(Side::receiver, waiter_.why); }

 private:
  // From here on the message is the delivery's.
  Status hold(Status status) {
    if (status == Status::done) {
      delivery_.emplace(Delivery<T>(this->share(), waiter_.receipt, *std::move(waiter_.value)));
    }
    return status;
  }

  RecvWaiter<T> waiter_;
  std::optional<Delivery<T>> delivery_;
};

}  // namespace detail

}  // namespace klaw::channels
