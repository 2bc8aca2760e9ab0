// Watch channels within one process: the latest value, and who has not seen it yet. A configuration, a state, progress.
//
// What it promises
//   send       never waits; replaces the value, and returns the number of receivers.
//   receive    each receiver waits for changes on its own account. Values between two looks collapse into the latest.
//   borrow     the latest value at any time, from both sides, as std::shared_ptr<const T>: never copied, and good for as
//              long as it is held.
//   close      when the last sender is gone, a receiver still gets a value that it has not seen, then ChannelClosed. Without
//              a receiver a send gives ChannelClosed, until `tx.subscribe()` makes one; `tx.closed()` waits until there is
//              none. Without any handle the value is dropped.
//   cancel     a wait that is cancelled or runs out of time has seen nothing; the next one finds the change.
//   threads    every handle may be used from several threads at once, by parked threads and coroutines in any mix. A change
//              ends all waits on a handle.
//   memory     one allocation for the channel, one per receiver, one per value; none to wait.
//   errors     values (errors.hpp).
//   cost       one uncontended lock for each operation that needn't wait; a send also wakes each receiver that waits.
//
//   auto [tx, rx] = klaw::channels::watch<Config>(load_config());
//   std::jthread reloader([tx = std::move(tx)]() mutable { (void)tx.send(load_config()); });
//   for (std::shared_ptr<const Config> config : rx) apply(*config);
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <iterator>
#include <memory>
#include <type_traits>
#include <utility>

#include <klaw/channels/detail/handles.hpp>
#include <klaw/channels/detail/watch.hpp>

namespace klaw::channels {

template <class T>
class WatchReceiver;

// The sending half. Move-only; clone() for another one; the destructor closes.
template <class T>
class WatchSender : public detail::Handle<T, detail::Watch<T>, detail::Side::sender> {
 public:
  using value_type = T;

  // Another handle on the same channel; it counts when this returns. Of a closed handle: a closed one.
  [[nodiscard]] WatchSender clone() const { return WatchSender(this->core_, this->clone_registration()); }
  // A receiver that has seen the current value. Of a closed handle: a closed one.
  [[nodiscard]] WatchReceiver<T> subscribe() const;

  template <class Other>
  [[nodiscard]] bool same_channel(const Other& other) const noexcept {
    return detail::same_core(*this, other);
  }

  // The number of receivers, each of which has a change now. Errors: ChannelClosed if there is no receiver or this handle
  // is closed. An argument that is given up (an rvalue) is moved only if the send succeeds; an lvalue is copied.
  [[nodiscard]] Result<std::size_t, ChannelClosed> send(T&& value) {
    if (this->core_ == nullptr) return std::unexpected(ChannelClosed{CloseKind::handle_closed});
    return this->core_->send(this->registration_, value);
  }
  [[nodiscard]] Result<std::size_t, ChannelClosed> send(const T& value)
    requires std::copy_constructible<T>
  {
    return send(T(value));
  }
  // As send(), which never waits either: the call that senders of all flavours have.
  template <class V>
    requires std::same_as<std::remove_cvref_t<V>, T>
  [[nodiscard]] Result<std::size_t, ChannelClosed> try_send(V&& value) {
    return send(std::forward<V>(value));
  }

  // The latest value; null on a closed handle.
  [[nodiscard]] std::shared_ptr<const T> borrow() const {
    return this->core_ == nullptr ? nullptr : this->core_->borrow(this->registration_);
  }

 private:
  friend struct detail::HandleAccess;
  using detail::Handle<T, detail::Watch<T>, detail::Side::sender>::Handle;
};

// The receiving half. Move-only; resubscribe() for another one, which waits on its own account; the destructor closes.
//
//                      awaited                     blocking                             never waits
//   a change           changed()                   blocking_changed()                   try_changed(), has_changed()
//   limited            changed_for(limit)          blocking_changed_for(limit)
//   a certain value    wait_for(is_it)             blocking_wait_for(is_it)
//   limited            wait_for(is_it, limit)      blocking_wait_for(is_it, limit)
//
// A receiver has seen the value that is current when it is made; changed() waits for a later one, and the receiver has seen
// the latest when it returns. select() and `for (std::shared_ptr<const T> v : rx)` wait for a change and give its value.
// Errors: ChannelClosed if this handle is closed, or if the senders are gone and their last value was seen; ChannelEmpty
// from a try or at a time limit. Cancel safety: a wait that is cancelled or runs out of time has seen nothing.
template <class T>
class WatchReceiver : public detail::Handle<T, detail::Watch<T>, detail::Side::receiver> {
  using Core = detail::Watch<T>;
  using Op = detail::RecvOp<std::shared_ptr<const T>, Core>;
  using Changed = detail::ChangedOp<T, Core>;
  template <class Predicate>
  using WaitFor = detail::WaitForOp<T, Core, Predicate>;

 public:
  using value_type = std::shared_ptr<const T>;
  using Iterator = detail::ReceiveIterator<WatchReceiver>;

  // Another receiver, which has seen the current value. Of a closed handle: a closed one.
  [[nodiscard]] WatchReceiver resubscribe() const { return subscribe_to(this->core_, this->registration_); }

  template <class Other>
  [[nodiscard]] bool same_channel(const Other& other) const noexcept {
    return detail::same_core(*this, other);
  }

  // The latest value; null on a closed handle. borrow_and_update(): this handle has seen it then.
  [[nodiscard]] value_type borrow() const {
    return this->core_ == nullptr ? nullptr : this->core_->borrow(this->registration_);
  }
  value_type borrow_and_update() {
    return this->core_ == nullptr ? nullptr : this->core_->borrow_and_update(this->registration_);
  }

  // Is there a value that this handle has not seen?
  [[nodiscard]] bool has_changed() const {
    return this->core_ != nullptr && this->core_->has_changed(this->registration_);
  }

  // Result<void, ChannelClosed>
  [[nodiscard]] auto changed() { return detail::awaited(change()); }
  [[nodiscard]] Result<void, ChannelClosed> blocking_changed() { return detail::blocking(change()); }

  // Result<void, RecvError>: ChannelEmpty when the time is up. A limit of zero or less tries once.
  template <class Rep, class Period>
  [[nodiscard]] auto changed_for(std::chrono::duration<Rep, Period> limit) {
    return detail::awaited(change(), limit);
  }
  template <class Rep, class Period>
  [[nodiscard]] Result<void, RecvError> blocking_changed_for(std::chrono::duration<Rep, Period> limit) {
    return detail::blocking(change(), limit);
  }
  [[nodiscard]] Result<void, RecvError> try_changed() { return detail::at_once(change()); }

  // Result<std::shared_ptr<const T>, ChannelClosed>: the first value for which `is_it` is true, beginning with the current
  // one, seen or not. With a limit the error is a RecvError, as of changed_for().
  //
  // `is_it(const T&)` is called for the values that it happens to see, in the thread that sends them or in this one, one
  // call after the other, under no lock. What it throws comes out of here.
  template <std::predicate<const T&> Predicate>
  [[nodiscard]] auto wait_for(Predicate is_it) {
    return detail::awaited(value(std::move(is_it)));
  }
  template <std::predicate<const T&> Predicate>
  [[nodiscard]] Result<value_type, ChannelClosed> blocking_wait_for(Predicate is_it) {
    return detail::blocking(value(std::move(is_it)));
  }
  template <std::predicate<const T&> Predicate, class Rep, class Period>
  [[nodiscard]] auto wait_for(Predicate is_it, std::chrono::duration<Rep, Period> limit) {
    return detail::awaited(value(std::move(is_it)), limit);
  }
  template <std::predicate<const T&> Predicate, class Rep, class Period>
  [[nodiscard]] Result<value_type, RecvError> blocking_wait_for(Predicate is_it,
                                                                std::chrono::duration<Rep, Period> limit) {
    return detail::blocking(value(std::move(is_it)), limit);
  }

  // Blocking iteration over the value after each change; see ReceiveIterator.
  [[nodiscard]] Iterator begin() { return Iterator(*this); }
  [[nodiscard]] static std::default_sentinel_t end() noexcept { return {}; }

 private:
  friend struct detail::HandleAccess;
  friend class WatchSender<T>;
  using detail::Handle<T, Core, detail::Side::receiver>::Handle;

  static WatchReceiver subscribe_to(const std::shared_ptr<Core>& core, const detail::Registration& from) {
    if (core == nullptr) return WatchReceiver(nullptr, detail::Registration{.id = 0, .closed = true});
    return WatchReceiver(core, core->subscribe(from));
  }

  Op op() const { return Op(this->core_, this->registration_); }
  Changed change() const { return Changed(this->core_, this->registration_); }
  template <class Predicate>
  WaitFor<Predicate> value(Predicate is_it) const {
    return WaitFor<Predicate>(this->core_, this->registration_, std::move(is_it));
  }
};

template <class T>
WatchReceiver<T> WatchSender<T>::subscribe() const {
  return WatchReceiver<T>::subscribe_to(this->core_, this->registration_);
}

// Both halves of a new channel, made for `auto [tx, rx] = ...`.
template <class T>
struct WatchPair {
  WatchSender<T> tx;
  WatchReceiver<T> rx;
};

// The receiver has seen the initial value.
template <class T>
[[nodiscard]] WatchPair<T> watch(T initial) {
  using Core = detail::Watch<T>;
  auto core = std::make_shared<Core>(std::move(initial));
  auto tx = detail::HandleAccess::make<WatchSender<T>>(core, Core::kFirstSender);
  return {.tx = std::move(tx),
          .rx = detail::HandleAccess::make<WatchReceiver<T>>(std::move(core), Core::kFirstReceiver)};
}

}  // namespace klaw::channels
