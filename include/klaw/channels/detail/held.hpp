// What the cores of all flavours have in common: who holds a channel, and until when.
//
// Open handles are counted by side; the first reason that a side closed with is kept; and somebody may wait until the other
// side is gone. All of it under the one lock of the core, which the core's own state is under as well.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include <klaw/channels/detail/line.hpp>

namespace klaw::channels::detail {

// `Exclusion`: a lock of its own, or one that its callers hold anyway (Python's GIL).
template <class Exclusion>
class Held {
 public:
  // The handles that a channel begins with.
  static constexpr Registration kFirstSender{.id = 1, .closed = false};
  static constexpr Registration kFirstReceiver{.id = 2, .closed = false};

  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;

  [[nodiscard]] Status start_closed(Side side, const Registration& handle, ClosedWaiter& w, Operation* op) {
    const Guard guard(mutex_);
    return wait_for_close(side, handle, w, op);
  }
  [[nodiscard]] static Status finish_closed(Side /*side*/, const ClosedWaiter& w) noexcept {
    return w.signal == Waiter::Signal::granted ? Status::done : Status::closed;
  }
  void abandon_closed(Side side, ClosedWaiter& w) noexcept {
    const Guard guard(mutex_);
    if (w.is_linked()) waiting_for_close_[index(side)].remove(w);
  }

 protected:
  using Guard = LockGuard<Exclusion>;

  Held() = default;
  ~Held() = default;

  // --- all that follows runs under mutex_ ---

  [[nodiscard]] std::size_t count(Side side) const noexcept { return open_handles_[index(side)]; }

  [[nodiscard]] Registration open_handle(Side side) noexcept {
    // Why the last of a side closed is of no interest any more once there is another.
    if (open_handles_[index(side)]++ == 0) reason_[index(side)].reset();
    return {.id = next_handle_++, .closed = false};
  }

  // The handle is closed from here on: ends those who wait on it for the other side to be gone.
  void end_handle(Side side, Registration& handle, std::optional<std::string> reason, Wakeups& wakeups) noexcept {
    handle.closed = true;
    if (reason && !reason_[index(side)]) reason_[index(side)] = std::move(reason);
    close_own(waiting_for_close_[index(side)], handle.id, wakeups);
  }

  // One handle of `side` no longer counts. True: it was the last one, and those who wait for that are told.
  bool leave(Side side, Wakeups& wakeups) noexcept {
    if (--open_handles_[index(side)] > 0) return false;
    tell_of_close(other(side), wakeups);
    return true;
  }

  // Both at once.
  void retire_handle(Side side, Registration& handle, std::optional<std::string> reason, Wakeups& wakeups) noexcept {
    end_handle(side, handle, std::move(reason), wakeups);
    leave(side, wakeups);
  }

  [[nodiscard]] Status wait_for_close(Side side, const Registration& handle, ClosedWaiter& w, Operation* op) noexcept {
    if (handle.closed) {
      w.why = CloseKind::handle_closed;
      return Status::closed;
    }
    if (count(other(side)) == 0) return Status::done;
    if (op != nullptr) link(waiting_for_close_[index(side)], w, handle, *op);
    return Status::pending;
  }
  // What handles of `side` wait for has come.
  void tell_of_close(Side side, Wakeups& wakeups) noexcept { grant_all(waiting_for_close_[index(side)], wakeups); }

  // Why receivers find the end of a channel without senders.
  [[nodiscard]] CloseKind end_kind() const noexcept {
    return reason_[index(Side::sender)] ? CloseKind::peer_died : CloseKind::ended;
  }

  // The error value for an operation of `side` that can't happen for `why`.
  [[nodiscard]] ChannelClosed error_of(Side side, CloseKind why) const {
    ChannelClosed error{.kind = why};
    if (why != CloseKind::handle_closed) error.reason = reason_[index(other(side))];
    return error;
  }

  // Statistics, as far as they are about handles.
  [[nodiscard]] ChannelStats handle_stats() const {
    ChannelStats s;
    s.sender_count = count(Side::sender);
    s.receiver_count = count(Side::receiver);
    s.senders_closed = s.sender_count == 0;
    s.receivers_closed = s.receiver_count == 0;
    s.created_at = created_at_;
    return s;
  }

  mutable Exclusion mutex_;  // protects all that is not const, here and in what derives from this

 private:
  const double created_at_ = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  std::size_t open_handles_[2] = {1, 1};
  std::uint64_t next_handle_ = 3;
  std::optional<std::string> reason_[2];              // [side]: the first reason that a handle of this side closed with
  IntrusiveList<ClosedWaiter> waiting_for_close_[2];  // [side]: handles of `side` that wait for the other side to close
};

}  // namespace klaw::channels::detail
