// Oneshot channels within one process: one value, sent once, received once. An answer, a result, a start signal.
//
// What it promises
//   send       never waits, from any thread. The second one gives AlreadySent.
//   receive    waits for the value; the second one gives ChannelClosed with the reason "already consumed".
//   close      a sender that closes unsent ends the receiver's wait with ChannelClosed. When the receiver closes, a value
//              that was not received is dropped, and a send gives ChannelClosed; `tx.closed()` waits for that, so that
//              nobody computes what nobody wants.
//   cancel     a receive that is cancelled or runs out of time takes nothing; the next one finds the value.
//   threads    both handles may be used from several threads at once, by parked threads and coroutines in any mix.
//   memory     one allocation for the channel, none to send, receive or wait.
//   errors     values (errors.hpp).
//   cost       one uncontended lock for each operation that needn't wait.
//
//   auto [tx, rx] = klaw::channels::oneshot<int>();
//   std::jthread worker([tx = std::move(tx)]() mutable { (void)tx.send(42); });
//   int answer = klaw::value_or_throw(rx.blocking_recv());
#pragma once

#include <concepts>
#include <memory>
#include <type_traits>
#include <utility>

#include <klaw/channels/detail/handles.hpp>
#include <klaw/channels/detail/oneshot.hpp>

namespace klaw::channels {

// The sending half. Move-only; there is no clone(), since there is one value; the destructor closes.
template <class T>
class OneshotSender : public detail::Handle<T, detail::Oneshot<T>, detail::Side::sender> {
 public:
  using value_type = T;

  template <class Other>
  [[nodiscard]] bool same_channel(const Other& other) const noexcept {
    return detail::same_core(*this, other);
  }

  // Errors: AlreadySent; ChannelClosed if the receiver is gone or this handle is closed. An argument that is given up (an
  // rvalue) is moved only if the send succeeds; an lvalue is copied.
  [[nodiscard]] Result<void, OneshotSendError> send(T&& value) {
    if (this->core_ == nullptr) return std::unexpected(OneshotSendError(ChannelClosed{CloseKind::handle_closed}));
    return this->core_->send(this->registration_, value);
  }
  [[nodiscard]] Result<void, OneshotSendError> send(const T& value)
    requires std::copy_constructible<T>
  {
    return send(T(value));
  }
  // As send(), which never waits either: the call that senders of all flavours have.
  template <class V>
    requires std::same_as<std::remove_cvref_t<V>, T>
  [[nodiscard]] Result<void, OneshotSendError> try_send(V&& value) {
    return send(std::forward<V>(value));
  }

 private:
  friend struct detail::HandleAccess;
  using detail::Handle<T, detail::Oneshot<T>, detail::Side::sender>::Handle;
};

// The receiving half. Move-only; the destructor closes.
//
//              awaited            blocking                   never waits
//              recv()             blocking_recv()            try_recv()
//   limited    recv_for(limit)    blocking_recv_for(limit)
//
// Errors: ChannelClosed if this handle is closed, the sender closed unsent, or the value was received already; ChannelEmpty
// from a try or at a time limit. Cancel safety: a receive that is cancelled or runs out of time takes nothing.
// `for (T v : rx)` gives the value, then ends.
template <class T>
class OneshotReceiver : public detail::ReceivingHandle<T, detail::Oneshot<T>, detail::RecvOp<T, detail::Oneshot<T>>> {
 public:
  template <class Other>
  [[nodiscard]] bool same_channel(const Other& other) const noexcept {
    return detail::same_core(*this, other);
  }

 private:
  friend struct detail::HandleAccess;
  using OneshotReceiver::ReceivingHandle::ReceivingHandle;
};

// Both halves of a new channel, made for `auto [tx, rx] = ...`.
template <class T>
struct OneshotPair {
  OneshotSender<T> tx;
  OneshotReceiver<T> rx;
};

template <class T>
[[nodiscard]] OneshotPair<T> oneshot() {
  using Core = detail::Oneshot<T>;
  auto core = std::make_shared<Core>();
  auto tx = detail::HandleAccess::make<OneshotSender<T>>(core, Core::kFirstSender);
  return {.tx = std::move(tx),
          .rx = detail::HandleAccess::make<OneshotReceiver<T>>(std::move(core), Core::kFirstReceiver)};
}

}  // namespace klaw::channels
