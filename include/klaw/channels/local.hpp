// MPMC channels within one process: values go in at any LocalSender and come out at any LocalReceiver, each exactly once.
//
// What it promises
//   capacity   `channel<T>(n)` holds n messages at most (10'000 by default): a full channel makes senders wait. 0 is a
//              rendezvous: a send completes when a receiver has been chosen for the message. `unbounded_channel<T>()`
//              never makes a sender wait.
//   order      FIFO per sender; waiters are served in order of arrival; nobody starves.
//   close      by reference count: when the last sender is gone, receivers drain what is queued and then get
//              ChannelClosed; when the last receiver is gone, what is queued is dropped and senders get ChannelClosed.
//              Whoever already waits is woken at once. shutdown() ends the channel whoever still has handles.
//   cancel     a coroutine that is destroyed while it waits, a time limit that passes: nothing is lost, nobody's turn.
//   settling   `recv_acked()` gives a message that comes back unless it is acknowledged: at least once.
//   threads    every handle may be used from several threads at once, by parked threads and coroutines in any mix.
//   memory     one allocation for the channel, one for the queue (doubling up to the capacity), none per message and
//              none per waiter.
//   errors     values (errors.hpp); only bad arguments throw.
//   cost       one uncontended lock for each operation that needn't wait.
//
//   auto [tx, rx] = klaw::channels::channel<std::string>(64);
//   std::jthread producer([tx = std::move(tx)]() mutable { (void)tx.blocking_send("hello"); });
//   for (std::string line : rx) std::puts(line.c_str());
#pragma once

#include <concepts>
#include <cstddef>
#include <memory>
#include <stdexcept>
#include <utility>

#include <klaw/channels/detail/handles.hpp>
#include <klaw/channels/detail/mpmc.hpp>

namespace klaw::channels {

template <class T>
using LocalSender = detail::BasicSender<T, detail::Mpmc<T>>;
template <class T>
using LocalReceiver = detail::BasicReceiver<T, detail::Mpmc<T>>;

// Handles that don't count: tx.downgrade(), rx.downgrade().
template <class T>
using WeakSender = typename LocalSender<T>::Weak;
template <class T>
using WeakReceiver = typename LocalReceiver<T>::Weak;

// Both halves of a new channel, made for `auto [tx, rx] = ...`.
template <class T>
struct LocalPair {
  LocalSender<T> tx;
  LocalReceiver<T> rx;
};

inline constexpr std::size_t kDefaultCapacity = 10'000;

namespace detail {

template <class T>
[[nodiscard]] LocalPair<T> make_local(std::size_t capacity) {
  auto core = std::make_shared<Mpmc<T>>(capacity);
  auto tx = HandleAccess::make<LocalSender<T>>(core, Mpmc<T>::kFirstSender);
  return {.tx = std::move(tx), .rx = HandleAccess::make<LocalReceiver<T>>(std::move(core), Mpmc<T>::kFirstReceiver)};
}

}  // namespace detail

// A channel that holds `capacity` messages at most; 0 is a rendezvous. Throws std::invalid_argument for a negative one.
// (Deduced, without a default, so that `channel<T>({})` means the options of factory.hpp.)
template <class T, std::integral Count>
[[nodiscard]] LocalPair<T> channel(Count capacity) {
  if (std::cmp_less(capacity, 0)) throw std::invalid_argument("channel: capacity must not be negative");
  return detail::make_local<T>(static_cast<std::size_t>(capacity));
}

template <class T>
[[nodiscard]] LocalPair<T> channel() {
  return detail::make_local<T>(kDefaultCapacity);
}

// A channel whose senders never wait; its memory is bounded by its receivers' diligence alone.
template <class T>
[[nodiscard]] LocalPair<T> unbounded_channel() {
  return detail::make_local<T>(detail::kUnbounded);
}

}  // namespace klaw::channels
