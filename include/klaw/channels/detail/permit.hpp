// A permit: one slot of a channel's capacity, held for one message that is to come.
//
// What must not be made in vain is made once there is room for it:
//
//   auto permit = co_await tx.reserve();                // Result<Permit<T>, ChannelClosed>: waits in line, as a send does
//   if (permit) permit->send(compute());                // cannot fail, never waits
//
// Capacity: stored messages and held slots together never exceed it. Order: a message stands where its permit.send() was,
// not where reserve() was. Close: a permit keeps its sender counted, also when the sender's handle has closed meanwhile, so
// receivers wait for what it may send. If no receiver is left, what it sends is dropped, as what is queued is.
// Cancel safety: a reserve that is cancelled holds nothing; a slot that was granted to it goes to the next in line.
#pragma once

#include <cassert>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>

#include <klaw/channels/detail/core.hpp>
#include <klaw/channels/detail/ops.hpp>

namespace klaw::channels {

namespace detail {
template <class T, class Core>
class ReserveOp;
}

// Move-only; release() and the destructor give the slot to the next in line. One thread at a time may use it.
template <class T>
class [[nodiscard]] Permit {
 public:
  Permit(const Permit&) = delete;
  Permit& operator=(const Permit&) = delete;
  Permit(Permit&& other) noexcept : core_(std::exchange(other.core_, nullptr)), handle_(other.handle_) {}
  Permit& operator=(Permit&& other) noexcept {
    if (this != &other) {
      release();
      core_ = std::exchange(other.core_, nullptr);
      handle_ = other.handle_;
    }
    return *this;
  }
  ~Permit() { release(); }

  // Sends `value` into the slot, at once. Throws std::logic_error if the slot is gone (sent, released, moved from).
  void send(T value) {
    if (core_ == nullptr) throw std::logic_error("permit: its slot was used or released already");
    std::exchange(core_, nullptr)->send_reserved(handle_, std::move(value));
  }

  // Idempotent.
  void release() noexcept {
    if (core_ != nullptr) std::exchange(core_, nullptr)->release_reserved(handle_);
  }

 private:
  template <class, class>
  friend class detail::ReserveOp;
  Permit(std::shared_ptr<detail::MpmcCore<T>> core, std::uint64_t handle) noexcept
      : core_(std::move(core)), handle_(handle) {}

  std::shared_ptr<detail::MpmcCore<T>> core_;  // null: it holds nothing
  std::uint64_t handle_;                       // of the sender that it counts for
};

namespace detail {

template <class T, class Core>
class ReserveOp : OpBase<Core> {
 public:
  ReserveOp(const std::shared_ptr<Core>& core, const Registration& handle) : OpBase<Core>(core, handle) {
    waiter_.reserves = true;
  }

  Status start(Operation* op) {
    if (!this->has_core()) {
      waiter_.why = CloseKind::handle_closed;
      return Status::closed;
    }
    if (op != nullptr) this->keep_core();
    return hold(this->core().start_send(this->handle(), waiter_, op));
  }
  Status finish() { return hold(this->core().finish_send(waiter_)); }
  void abandon() noexcept {
    if (this->is_started()) this->core().abandon_send(waiter_);
  }

  [[nodiscard]] Result<Permit<T>, ChannelClosed> result(Status status) {
    assert(status == Status::done || status == Status::closed);
    if (status == Status::done) return take();
    return std::unexpected(closed());
  }
  [[nodiscard]] Result<Permit<T>, SendError> limited_result(Status status) {
    if (status == Status::done) return take();
    if (status == Status::closed) return std::unexpected(SendError(closed()));
    return std::unexpected(SendError(ChannelFull{this->core().capacity()}));
  }
  // The permit of an op that came to Status::done.
  [[nodiscard]] Permit<T> take() noexcept { return *std::move(permit_); }
  [[nodiscard]] ChannelClosed closed() const { return OpBase<Core>::closed(Side::sender, waiter_.why); }

 private:
  // From here on the slot is the permit's.
  Status hold(Status status) {
    if (status == Status::done) {
      waiter_.signal = Waiter::Signal::none;
      permit_ = Permit<T>(this->share(), waiter_.handle);
    }
    return status;
  }

  SendWaiter<T> waiter_;
  std::optional<Permit<T>> permit_;
};

}  // namespace detail

}  // namespace klaw::channels
