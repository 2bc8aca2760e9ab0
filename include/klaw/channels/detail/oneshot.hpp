// The oneshot channel of one process: room for one value that goes in once and comes out once.
//
//   empty ── send ──> stored ── a receive takes it ──> consumed
//                       └────── the receiver closes ──> dropped
//
// Between any two critical sections these hold (match() restores them):
//   I1  is_sent_ never becomes false again; the value is there exactly while the channel is "stored".
//   I2  if a receive waits, there is no value yet, or it is promised to another receive that was woken and is on its way.
//   I3  a receive waits on a channel that can't get a value any more only while the value is promised, since the receive
//       that was promised it may be cancelled and hand it on; once it is taken, all who wait get the end.
// "Waits" means linked with an unclaimed operation, as in mpmc.hpp. (Several receives wait if one handle is used by several
// threads.)
//
// No user code runs under the lock but T's move constructor and the destructor of a moved-from T.
#pragma once

#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include <klaw/channels/detail/dropped.hpp>
#include <klaw/channels/detail/held.hpp>

namespace klaw::channels::detail {

template <class T, class Exclusion = ShortMutex>
class Oneshot final : public Held<Exclusion> {
  using typename Held<Exclusion>::Guard;

 public:
  // The value is moved under a lock: there is nobody to tell of a throwing move.
  static_assert(std::is_nothrow_move_constructible_v<T> && std::is_nothrow_destructible_v<T>,
                "klaw channels need a T whose move constructor and destructor are noexcept; "
                "send a std::unique_ptr<T> instead");

  // Moves from `value` only if it succeeds.
  [[nodiscard]] Result<void, OneshotSendError> send(const Registration& handle, T& value) {
    Wakeups wakeups;
    {
      const Guard guard(mutex_);
      if (is_sent_) return std::unexpected(OneshotSendError(AlreadySent{}));
      if (handle.closed || this->count(Side::receiver) == 0) {
        const CloseKind why = handle.closed ? CloseKind::handle_closed : CloseKind::peer_gone;
        return std::unexpected(OneshotSendError(this->error_of(Side::sender, why)));
      }
      value_.emplace(std::move(value));
      is_sent_ = true;
      match(wakeups);
    }
    wakeups.fire();
    return {};
  }

  [[nodiscard]] Status start_recv(const Registration& handle, RecvWaiter<T>& w, Operation* op) {
    const Guard guard(mutex_);
    // A select that was claimed by another channel while it was on its way here waits for that one. While `op` is busy
    // here we claim nobody, so two busy owners can't wait for each other.
    if (op != nullptr && !op->lock()) return Status::pending;
    Status status = Status::done;
    if (handle.closed || is_over()) {
      w.why = handle.closed ? CloseKind::handle_closed : over_kind();
      status = Status::closed;
    } else if (value_ && !is_promised_) {
      if (w.takes_late && op != nullptr) {
        is_promised_ = true;
        return grant_at_once(w, *op);
      }
      take(w);  // nobody waits for it (I2)
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

  [[nodiscard]] Status finish_recv(RecvWaiter<T>& w) {
    if (w.signal == Waiter::Signal::closed) return Status::closed;
    Wakeups wakeups;
    Status status = Status::done;
    {
      const Guard guard(mutex_);
      w.signal = Waiter::Signal::none;
      is_promised_ = false;
      if (value_) {
        take(w);
        match(wakeups);
      } else {
        // The receiver was closed after we were woken: the value was dropped.
        w.why = CloseKind::handle_closed;
        status = Status::closed;
      }
    }
    wakeups.fire();
    return status;
  }

  void abandon_recv(RecvWaiter<T>& w) noexcept {
    Wakeups wakeups;
    {
      const Guard guard(mutex_);
      if (w.is_linked()) {
        receivers_waiting_.remove(w);
      } else if (w.signal == Waiter::Signal::granted) {
        w.signal = Waiter::Signal::none;
        is_promised_ = false;
        match(wakeups);  // the next in line gets it in our place
      }
    }
    wakeups.fire();
  }

  // Idempotent. Wakes the handle's own pending operations, and the other side.
  void close_handle(Side side, Registration& handle, std::optional<std::string> reason) noexcept {
    Wakeups wakeups;
    Dropped<std::optional<T>> dropped;  // its destructor is user code
    {
      const Guard guard(mutex_);
      if (handle.closed) return;
      if (side == Side::receiver) {
        close_own(receivers_waiting_, handle.id, wakeups);
        drop(*dropped);
      }
      this->retire_handle(side, handle, std::move(reason), wakeups);
      match(wakeups);
    }
    wakeups.fire();
  }

  // Would the next operation on this handle give ChannelClosed?
  [[nodiscard]] bool is_closed(Side side, const Registration& handle) const {
    const Guard guard(mutex_);
    return handle.closed || (side == Side::sender ? !is_sent_ && this->count(Side::receiver) == 0 : is_over());
  }

  // Has this side done all that it is for?
  [[nodiscard]] bool is_spent(Side side) const {
    const Guard guard(mutex_);
    return side == Side::sender ? is_sent_ : is_taken_;
  }

  // The error value for an operation of `side` that came to Status::closed for `why`.
  [[nodiscard]] ChannelClosed closed_error(Side side, CloseKind why) const {
    const Guard guard(mutex_);
    if (side == Side::receiver && why != CloseKind::handle_closed && is_taken_) {
      return {.kind = why, .reason = "already consumed"};
    }
    return this->error_of(side, why);
  }

  [[nodiscard]] static constexpr std::size_t capacity() noexcept { return 1; }

  [[nodiscard]] ChannelStats stats() const {
    const Guard guard(mutex_);
    ChannelStats s = this->handle_stats();
    s.queue_size = value_ ? 1 : 0;
    s.capacity = capacity();
    s.high_watermark = s.total_sent = is_sent_ ? 1 : 0;
    s.total_received = is_taken_ ? 1 : 0;
    s.waiting_receivers = receivers_waiting_.size();
    s.in_flight = is_promised_ && value_ ? 1 : 0;
    return s;
  }

  // For a garbage collector, as in mpmc.hpp: f(value) if there is one.
  template <class F>
  void for_each_queued(F f) const {
    const Guard guard(mutex_);
    if (value_) f(*value_);
  }
  void drop_queued() noexcept {
    Dropped<std::optional<T>> dropped;
    const Guard guard(mutex_);
    drop(*dropped);
  }

 private:
  using Held<Exclusion>::mutex_;

  // --- all that follows runs under mutex_ ---

  [[nodiscard]] bool is_over() const noexcept { return !value_ && (is_sent_ || this->count(Side::sender) == 0); }
  [[nodiscard]] CloseKind over_kind() const noexcept { return is_sent_ ? CloseKind::ended : this->end_kind(); }

  void take(RecvWaiter<T>& w) noexcept {
    w.value.emplace(*std::move(value_));
    value_.reset();
    is_taken_ = true;
  }

  void drop(std::optional<T>& dropped) noexcept {
    if (!value_) return;
    dropped.emplace(*std::move(value_));
    value_.reset();
  }

  // Promises the value to the first receive that waits, and lets those go for whom nothing can come.
  void match(Wakeups& wakeups) noexcept {
    while (value_ && !is_promised_ && !receivers_waiting_.empty()) {
      is_promised_ = signal(receivers_waiting_.pop_front(), Waiter::Signal::granted, wakeups);
    }
    if (is_over()) close_all(receivers_waiting_, over_kind(), wakeups);
  }

  std::optional<T> value_;
  bool is_sent_ = false;
  bool is_taken_ = false;     // by a receive
  bool is_promised_ = false;  // to a receive that was woken and has not taken it yet
  IntrusiveList<RecvWaiter<T>> receivers_waiting_;
};

}  // namespace klaw::channels::detail
