// Broadcast within one process: every BroadcastReceiver gets every message that was sent after it subscribed.
//
// What it promises
//   capacity   `broadcast<T>(n)` keeps n messages at most, rounded up to a power of two (16 by default, 1 at least), for
//              the slowest receiver. What happens when that is not enough is the channel's choice:
//                Overflow::lag    a send never waits: it takes the place of the oldest message. A receiver that had not
//                                 seen it gets Lagged{skipped} once, and goes on at the oldest message kept.
//                Overflow::wait   a send waits for the slowest receiver. Nobody lags; one receiver that does not receive
//                                 holds all up.
//   order      all receivers see messages in one order, that of each sender in it; sends that wait go in order of arrival.
//   close      by reference count: when the last sender is gone, each receiver gets what is kept for it, and then
//              ChannelClosed. Without receivers a send gives ChannelClosed ("no receivers"); a later subscribe() makes it
//              possible again. Whoever already waits is woken at once.
//   cancel     a coroutine that is destroyed while it waits, a time limit that passes: nothing is lost.
//   threads    every handle may be used from several threads at once, by parked threads and coroutines in any mix. Two
//              receives on one handle share its messages.
//   memory     a message is destroyed when the last receiver that had yet to see it has received it or is gone, or, with
//              Overflow::lag, when it is the oldest and a send takes its place. One allocation for the channel, one for each
//              receiver, one for the messages (doubling up to the capacity), none per waiter. A T that is not small
//              and cheap to copy (std::string) takes one more per message, which its receivers share.
//   copies     each receiver gets its own copy, made in its own thread: outside of the lock, unless T's copy constructor
//              is noexcept and T of at most 64 bytes. One that throws does so in the receive: the message counts as taken.
//              Send a std::shared_ptr<const T> to share instead.
//   errors     values (errors.hpp); only bad arguments throw.
//   cost       one uncontended lock for each operation that needn't wait; a send, O(1) for each receive that it wakes.
//
//   auto [tx, rx] = klaw::channels::broadcast<std::string>(64);
//   std::jthread listener([rx = tx.subscribe()]() mutable { for (std::string line : rx) std::puts(line.c_str()); });
//   (void)tx.try_send("hello");  // to both receivers
#pragma once

#include <bit>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <stdexcept>
#include <utility>

#include <klaw/channels/detail/broadcast_ops.hpp>
#include <klaw/channels/detail/handles.hpp>

namespace klaw::channels {

template <class T>
class BroadcastReceiver;

// The sending half of a broadcast. Move-only; clone() for another one; the destructor closes. One handle may be used by
// several threads at once.
//
//              awaited               blocking                      never waits
//   one        send(v)               blocking_send(v)              try_send(v)
//   limited    send_for(v, limit)    blocking_send_for(v, limit)
//
// They give the number of receivers that the message was sent to. An argument that is given up (an rvalue) is moved only if
// the send succeeds; an lvalue is copied.
// Errors: ChannelClosed if this handle is closed, or while there is no receiver. With Overflow::wait ChannelFull, from a try
// or at a time limit; with Overflow::lag no send ever waits, and none is full.
// Cancel safety: a send that is cancelled or runs out of time has either sent its message, or not touched it.
template <class T>
class BroadcastSender : public detail::Handle<T, detail::Broadcast<T>, detail::Side::sender> {
  using Core = detail::Broadcast<T>;
  using Op = detail::BroadcastSendOp<T, Core>;
  using Value = detail::OneValue<T>;

 public:
  using value_type = T;

  // Another handle on the same channel; it counts when this returns. Of a closed handle: a closed one.
  [[nodiscard]] BroadcastSender clone() const { return BroadcastSender(this->core_, this->clone_registration()); }

  // A new receiver of what is sent from now on, also when no other is left. Of a closed handle: a closed one.
  [[nodiscard]] BroadcastReceiver<T> subscribe() const;

  template <class Other>
  [[nodiscard]] bool same_channel(const Other& other) const noexcept;

  [[nodiscard]] std::size_t receiver_count() const {
    return this->core_ == nullptr ? 0 : this->core_->receiver_count();
  }

  // How many messages are kept: those that the slowest receiver has yet to receive.
  [[nodiscard]] std::size_t size() const { return this->core_ == nullptr ? 0 : this->core_->queue_size(); }

  // Result<std::size_t, ChannelClosed>
  [[nodiscard]] auto send(T&& value) { return detail::awaited(op(Value(std::move(value)))); }
  [[nodiscard]] auto send(const T& value) { return detail::awaited(op(Value(value))); }
  [[nodiscard]] Result<std::size_t, ChannelClosed> blocking_send(T&& value) {
    return detail::blocking(op(Value(std::move(value))));
  }
  [[nodiscard]] Result<std::size_t, ChannelClosed> blocking_send(const T& value) {
    return detail::blocking(op(Value(value)));
  }

  // Result<std::size_t, SendError>: ChannelFull when the time is up. A limit of zero or less tries once.
  template <class Rep, class Period>
  [[nodiscard]] auto send_for(T&& value, std::chrono::duration<Rep, Period> limit) {
    return detail::awaited(op(Value(std::move(value))), limit);
  }
  template <class Rep, class Period>
  [[nodiscard]] auto send_for(const T& value, std::chrono::duration<Rep, Period> limit) {
    return detail::awaited(op(Value(value)), limit);
  }
  template <class Rep, class Period>
  [[nodiscard]] Result<std::size_t, SendError> blocking_send_for(T&& value, std::chrono::duration<Rep, Period> limit) {
    return detail::blocking(op(Value(std::move(value))), limit);
  }
  template <class Rep, class Period>
  [[nodiscard]] Result<std::size_t, SendError> blocking_send_for(const T& value,
                                                                 std::chrono::duration<Rep, Period> limit) {
    return detail::blocking(op(Value(value)), limit);
  }

  [[nodiscard]] Result<std::size_t, SendError> try_send(T&& value) {
    return detail::at_once(op(Value(std::move(value))));
  }
  [[nodiscard]] Result<std::size_t, SendError> try_send(const T& value) { return detail::at_once(op(Value(value))); }

 private:
  friend struct detail::HandleAccess;
  using detail::Handle<T, Core, detail::Side::sender>::Handle;

  Op op(Value value) const { return Op(this->core_, this->registration_, std::move(value)); }
};

// The receiving half of a broadcast. Move-only, and not to be cloned: resubscribe() gives another receiver, from now on;
// the destructor closes. One handle may be used by several threads at once.
//
//              awaited            blocking                   never waits
//   one        recv()             blocking_recv()            try_recv()
//   limited    recv_for(limit)    blocking_recv_for(limit)
//
// `for (T v : rx)` receives blocking, and skips lags.
// Errors: Lagged{skipped} once, if that many messages were dropped before they were received here (Overflow::lag); ChannelClosed
// if this handle is closed, or if the senders are gone and what was kept for this receiver is received; ChannelEmpty from a
// try or at a time limit.
// Cancel safety: a receive that is cancelled or runs out of time takes nothing; the next one on this handle gets it.
template <class T>
class BroadcastReceiver
    : public detail::ReceivingHandle<T, detail::Subscription<T>, detail::BroadcastRecvOp<T, detail::Subscription<T>>,
                                     LaggingRecvError, LaggingTryRecvError> {
 public:
  // A new receiver of what is sent from now on. Of a closed handle: a closed one.
  [[nodiscard]] BroadcastReceiver resubscribe() const {
    return BroadcastReceiver(this->core_ == nullptr ? nullptr : this->core_->reopen(), {});
  }

  template <class Other>
  [[nodiscard]] bool same_channel(const Other& other) const noexcept;

  // How many messages were sent that this receiver has yet to receive; those that it missed are among them, until it is
  // told. So more than capacity() means that the next receive gives Lagged.
  [[nodiscard]] std::uint64_t size() const { return this->core_ == nullptr ? 0 : this->core_->lag(); }

 private:
  friend struct detail::HandleAccess;
  using BroadcastReceiver::ReceivingHandle::ReceivingHandle;
};

namespace detail {

// The broadcast that a handle belongs to; nullptr for one that was moved from.
template <class T>
[[nodiscard]] const void* broadcast_of(const BroadcastSender<T>& tx) noexcept {
  return HandleAccess::core(tx).get();
}
template <class T>
[[nodiscard]] const void* broadcast_of(const BroadcastReceiver<T>& rx) noexcept {
  const auto& reader = HandleAccess::core(rx);
  return reader == nullptr ? nullptr : reader->core().get();
}

template <class A, class B>
[[nodiscard]] bool same_broadcast(const A& a, const B& b) noexcept {
  const void* const one = broadcast_of(a);
  return one != nullptr && one == broadcast_of(b);
}

}  // namespace detail

template <class T>
BroadcastReceiver<T> BroadcastSender<T>::subscribe() const {
  return detail::HandleAccess::make<BroadcastReceiver<T>>(
      this->core_ == nullptr ? nullptr : detail::Subscription<T>::open(this->core_, this->registration_),
      detail::Registration{});
}

template <class T>
template <class Other>
bool BroadcastSender<T>::same_channel(const Other& other) const noexcept {
  return detail::same_broadcast(*this, other);
}
template <class T>
template <class Other>
bool BroadcastReceiver<T>::same_channel(const Other& other) const noexcept {
  return detail::same_broadcast(*this, other);
}

// The first two handles of a new broadcast, made for `auto [tx, rx] = ...`.
template <class T>
struct BroadcastPair {
  BroadcastSender<T> tx;
  BroadcastReceiver<T> rx;
};

inline constexpr std::size_t kDefaultBroadcastCapacity = 16;

// A broadcast that keeps `capacity` messages, rounded up to a power of two. Throws std::invalid_argument if it is below 1.
template <class T, std::integral Count = std::size_t>
[[nodiscard]] BroadcastPair<T> broadcast(Count capacity = kDefaultBroadcastCapacity,
                                         Overflow overflow = Overflow::lag) {
  constexpr std::size_t kCapacityMax = std::numeric_limits<std::size_t>::max() / 2 + 1;
  if (std::cmp_less(capacity, 1)) throw std::invalid_argument("broadcast: capacity must be at least 1");
  if (std::cmp_greater(capacity, kCapacityMax)) throw std::invalid_argument("broadcast: capacity is out of range");
  using Core = detail::Broadcast<T>;
  auto core = std::make_shared<Core>(std::bit_ceil(static_cast<std::size_t>(capacity)), overflow);
  auto rx =
      detail::HandleAccess::make<BroadcastReceiver<T>>(detail::Subscription<T>::first(core), detail::Registration{});
  return {.tx = detail::HandleAccess::make<BroadcastSender<T>>(std::move(core), Core::kFirstSender),
          .rx = std::move(rx)};
}

}  // namespace klaw::channels
