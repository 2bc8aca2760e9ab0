// The watch channel of one process: the latest value, a version that counts its changes, and the version that each receiver
// has seen.
//
// Between any two critical sections these hold:
//   I1  the value is there while any handle of either side is open.
//   I2  if a receive waits, its handle has seen the current version, and there is a sender. So a change wakes all that wait,
//       and so does the last sender's end.
// "Waits" means linked with an unclaimed operation, as in mpmc.hpp.
//
// A woken receive takes the value that is the latest when it goes on, which is not seen before that: cancelled after its
// wake-up, it leaves its handle with a change that the next receive finds.
//
// Values are shared, never copied, and destroyed by whoever lets go of them last: never under the lock, under which no user
// code runs but T's move constructor.
#pragma once

#include <algorithm>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <utility>

#include <klaw/channels/detail/dropped.hpp>
#include <klaw/channels/detail/held.hpp>
#include <klaw/channels/detail/ops.hpp>

namespace klaw::channels::detail {

template <class T, class Exclusion = ShortMutex>
class Watch final : public Held<Exclusion> {
  using typename Held<Exclusion>::Guard;

 public:
  static_assert(std::is_nothrow_move_constructible_v<T> && std::is_nothrow_destructible_v<T>,
                "klaw channels need a T whose move constructor and destructor are noexcept; "
                "watch a std::unique_ptr<T> instead");

  using Value = std::shared_ptr<const T>;

  explicit Watch(T initial) {
    seen_.emplace(Held<Exclusion>::kFirstReceiver.id, version_);
    const std::shared_ptr<Cell> cell = std::make_shared<Cell>();
    value_ = cell->put(cell, initial);
  }

  // The number of receivers that can see it. Moves from `value` only if it succeeds.
  [[nodiscard]] Result<std::size_t, ChannelClosed> send(const Registration& handle, T& value) {
    const std::shared_ptr<Cell> cell = std::make_shared<Cell>();
    Value replaced;  // destroyed after the lock is released
    Wakeups wakeups;
    std::size_t receivers = 0;
    {
      const Guard guard(mutex_);
      receivers = this->count(Side::receiver);
      if (handle.closed || receivers == 0) {
        return std::unexpected(
            this->error_of(Side::sender, handle.closed ? CloseKind::handle_closed : CloseKind::peer_gone));
      }
      replaced = std::exchange(value_, cell->put(cell, value));
      ++version_;
      grant_all(receivers_waiting_, wakeups);
    }
    wakeups.fire();
    return receivers;
  }

  // The latest value; null on a closed handle.
  [[nodiscard]] Value borrow(const Registration& handle) const {
    const Guard guard(mutex_);
    return handle.closed ? nullptr : value_;
  }
  // A receiver's: it has seen that value from then on.
  [[nodiscard]] Value borrow_and_update(const Registration& handle) {
    const Guard guard(mutex_);
    if (handle.closed) return nullptr;
    seen_.find(handle.id)->second = version_;
    return value_;
  }
  [[nodiscard]] bool has_changed(const Registration& handle) const {
    const Guard guard(mutex_);
    return !handle.closed && is_unseen(handle);
  }

  // A receive is the wait for a change: it gives the value, which the handle has seen then.
  [[nodiscard]] Status start_recv(const Registration& handle, RecvWaiter<Value>& w, Operation* op) {
    const Guard guard(mutex_);
    // A select that was claimed by another channel while it was on its way here waits for that one. While `op` is busy
    // here we claim nobody, so two busy owners can't wait for each other.
    if (op != nullptr && !op->lock()) return Status::pending;
    Status status = Status::done;
    if (!handle.closed && is_unseen(handle)) {
      if (w.takes_late && op != nullptr) {
        w.handle = handle.id;
        return grant_at_once(w, *op);
      }
      take(handle.id, w);
    } else if (handle.closed || this->count(Side::sender) == 0) {
      w.why = handle.closed ? CloseKind::handle_closed : this->end_kind();
      status = Status::closed;
    } else {
      if (op != nullptr) {
        link(receivers_waiting_, w, handle, *op);
        op->unlock();
      }
      return Status::pending;
    }
    if (op != nullptr) op->commit(w.index);
    return status;
  }

  [[nodiscard]] Status finish_recv(RecvWaiter<Value>& w) {
    if (w.signal == Waiter::Signal::closed) return Status::closed;
    const Guard guard(mutex_);
    if (value_ == nullptr) {
      // All handles, and with them ours, were closed after we were woken: the value was dropped.
      w.why = CloseKind::handle_closed;
      return Status::closed;
    }
    take(w.handle, w);
    return Status::done;
  }

  void abandon_recv(RecvWaiter<Value>& w) noexcept {
    const Guard guard(mutex_);
    if (w.is_linked()) receivers_waiting_.remove(w);
  }

  // Another sender; of a closed handle, a closed one.
  [[nodiscard]] Registration clone_handle(Side side, const Registration& from) {
    const Guard guard(mutex_);
    return from.closed ? Registration{.id = 0, .closed = true} : this->open_handle(side);
  }
  // Another receiver, which has seen the current value; from a handle of either side. Of a closed one, a closed one.
  [[nodiscard]] Registration subscribe(const Registration& from) {
    const Guard guard(mutex_);
    if (from.closed) return {.id = 0, .closed = true};
    const Registration made = this->open_handle(Side::receiver);
    seen_.emplace(made.id, version_);
    return made;
  }

  // Idempotent. Wakes the handle's own pending operations, and the other side if this was the last of its side.
  void close_handle(Side side, Registration& handle, std::optional<std::string> reason) noexcept {
    Wakeups wakeups;
    Dropped<Value> dropped;
    {
      const Guard guard(mutex_);
      if (handle.closed) return;
      if (side == Side::receiver) {
        close_own(receivers_waiting_, handle.id, wakeups);
        seen_.erase(handle.id);
      }
      this->retire_handle(side, handle, std::move(reason), wakeups);
      if (this->count(Side::sender) == 0) {
        close_all(receivers_waiting_, this->end_kind(), wakeups);
        if (this->count(Side::receiver) == 0) dropped->swap(value_);
      }
    }
    wakeups.fire();
  }

  // Would the next operation on this handle give ChannelClosed?
  [[nodiscard]] bool is_closed(Side side, const Registration& handle) const {
    const Guard guard(mutex_);
    if (handle.closed || this->count(other(side)) > 0) return handle.closed;
    return side == Side::sender || !is_unseen(handle);
  }

  // The error value for an operation of `side` that came to Status::closed for `why`.
  [[nodiscard]] ChannelClosed closed_error(Side side, CloseKind why) const {
    const Guard guard(mutex_);
    return this->error_of(side, why);
  }

  [[nodiscard]] static constexpr std::size_t capacity() noexcept { return 1; }

  [[nodiscard]] ChannelStats stats() const {
    const Guard guard(mutex_);
    ChannelStats s = this->handle_stats();
    s.queue_size = value_ != nullptr ? 1 : 0;
    s.capacity = capacity();
    s.high_watermark = 1;
    s.total_sent = version_;
    s.total_received = total_received_;
    s.waiting_receivers = receivers_waiting_.size();
    return s;
  }

  // For a garbage collector, as in mpmc.hpp: f(the latest value).
  template <class F>
  void for_each_queued(F f) const {
    const Guard guard(mutex_);
    if (value_ != nullptr) f(*value_);
  }
  void drop_queued() noexcept {
    Dropped<Value> dropped;
    const Guard guard(mutex_);
    dropped->swap(value_);
  }

 private:
  using Held<Exclusion>::mutex_;

  // Allocated before it is known whether the send can happen, and filled only then.
  struct Cell {
    std::optional<T> content;
    Value put(const std::shared_ptr<Cell>& self, T& value) noexcept {
      return Value(self, &content.emplace(std::move(value)));
    }
  };

  // --- all that follows runs under mutex_ ---

  [[nodiscard]] bool is_unseen(const Registration& receiver) const {
    return seen_.find(receiver.id)->second != version_;
  }

  void take(std::uint64_t receiver, RecvWaiter<Value>& w) {
    // A handle that was closed after its receive had been woken is not there any more.
    if (const auto seen = seen_.find(receiver); seen != seen_.end()) seen->second = version_;
    w.value.emplace(value_);
    ++total_received_;
  }

  Value value_;
  std::uint64_t version_ = 0;                              // of value_: how many were sent
  std::unordered_map<std::uint64_t, std::uint64_t> seen_;  // by id of each open receiver: the version it has seen
  std::uint64_t total_received_ = 0;
  IntrusiveList<RecvWaiter<Value>> receivers_waiting_;
};

// Waits for a change: a receive that gives no value. The handle has seen the change then.
template <class T, class Core>
class ChangedOp {
 public:
  ChangedOp(const std::shared_ptr<Core>& core, const Registration& handle) : recv_(core, handle) {}

  Status start(Operation* op) { return recv_.start(op); }
  Status finish() { return recv_.finish(); }
  void abandon() noexcept { recv_.abandon(); }
  void take_late() noexcept { recv_.take_late(); }

  [[nodiscard]] Result<void, ChannelClosed> result(Status status) const {
    return status == Status::done ? Result<void, ChannelClosed>() : std::unexpected(recv_.closed());
  }
  [[nodiscard]] Result<void, RecvError> limited_result(Status status) const {
    if (status == Status::done) return {};
    return std::unexpected(status == Status::closed ? RecvError(recv_.closed()) : RecvError(ChannelEmpty{}));
  }

 private:
  RecvOp<std::shared_ptr<const T>, Core> recv_;
};

// Waits for a value that `is_it`, beginning with the current one, seen or not. Its finish() may give Status::pending: the
// change was not the one that is waited for (see Operation::renew).
//
// The predicate runs in the thread that wakes the operation, outside of every lock; what it throws comes out of result().
template <class T, class Core, class Predicate>
class WaitForOp : OpBase<Core> {
  using Value = std::shared_ptr<const T>;

 public:
  static constexpr bool kMayWaitAgain = true;

  WaitForOp(const std::shared_ptr<Core>& core, const Registration& handle, Predicate is_it)
      : OpBase<Core>(core, handle), recv_(core, handle), is_it_(std::move(is_it)) {}

  Status start(Operation* op) {
    if (!std::exchange(has_begun_, true) && this->has_core()) {
      const Value current = this->core().borrow_and_update(this->handle());
      if (current != nullptr && holds(current)) return Status::done;
    }
    for (;;) {
      const Status status = recv_.start(op);
      if (status != Status::done || holds(recv_.take())) return status;
      if (op != nullptr) op->renew();
    }
  }
  Status finish() {
    const Status status = recv_.finish();
    return status != Status::done || holds(recv_.take()) ? status : Status::pending;
  }
  void abandon() noexcept { recv_.abandon(); }

  [[nodiscard]] Result<Value, ChannelClosed> result(Status status) {
    if (error_) std::rethrow_exception(error_);
    if (status == Status::done) return std::move(value_);
    return std::unexpected(closed());
  }
  [[nodiscard]] Result<Value, RecvError> limited_result(Status status) {
    if (error_) std::rethrow_exception(error_);
    if (status == Status::done) return std::move(value_);
    return std::unexpected(status == Status::closed ? RecvError(closed()) : RecvError(ChannelEmpty{}));
  }
  // The value of an op that came to Status::done.
  [[nodiscard]] Value take() noexcept { return std::move(value_); }
  [[nodiscard]] ChannelClosed closed() const { return recv_.closed(); }
  [[nodiscard]] Predicate& predicate() noexcept { return is_it_; }
  [[nodiscard]] const Predicate& predicate() const noexcept { return is_it_; }

 private:
  bool holds(Value value) {
    // No handler where nothing is thrown: it would stand in the way of a thread that is being unwound (pthread_exit).
    if constexpr (requires { typename Predicate::NeverThrows; }) {
      if (!is_it_(*value)) return false;
    } else {
      try {
        if (!is_it_(*value)) return false;
      } catch (...) {
        error_ = std::current_exception();
      }
    }
    value_ = std::move(value);
    return true;
  }

  RecvOp<Value, Core> recv_;
  Predicate is_it_;
  bool has_begun_ = false;
  Value value_;
  std::exception_ptr error_;
};

}  // namespace klaw::channels::detail
