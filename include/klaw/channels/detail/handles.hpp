// The two handles of an MPMC channel, over any core: LocalSender/LocalReceiver (local.hpp) name the local core itself, so
// that every call is direct; AnySender/AnyReceiver (factory.hpp) name the interface, whose backend is chosen at run time.
#pragma once

#include <chrono>
#include <concepts>
#include <iterator>
#include <memory>
#include <optional>
#include <ranges>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <klaw/channels/detail/delivery.hpp>
#include <klaw/channels/detail/ops.hpp>
#include <klaw/channels/detail/permit.hpp>
#include <klaw/channels/detail/ways.hpp>
#include <klaw/channels/detail/weak.hpp>

namespace klaw::channels::detail {

struct HandleAccess;

// What both handles have in common: a share in the core, and a registration that counts as one handle of its side.
template <class T, class Core, Side kSide>
class Handle {
 public:
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  Handle(Handle&& other) noexcept
      : core_(std::exchange(other.core_, nullptr)), registration_(std::exchange(other.registration_, {})) {}
  Handle& operator=(Handle&& other) noexcept {
    if (this != &other) {
      close();
      core_ = std::exchange(other.core_, nullptr);
      registration_ = std::exchange(other.registration_, {});
    }
    return *this;
  }
  ~Handle() { close(); }

  // Closes this handle: its own pending operations end with ChannelClosed{handle_closed}; the last of a side ends the
  // other side (see SPEC section 4). Takes effect at the call, from any thread; idempotent; never fails.
  // `reason`: the end is not an orderly one; the other side is told why.
  void close(std::optional<std::string> reason = std::nullopt) noexcept {
    if (core_ != nullptr) core_->close_handle(kSide, registration_, std::move(reason));
  }

  // Ends the channel for everybody: sends give ChannelClosed{shutdown} from now on, those that wait at once. Receivers
  // drain what is stored, then get the same; `immediate`: what is stored is dropped. For iterations it is an orderly end,
  // with a reason too. Permits that are held stay good, unless `immediate`: then what they send is dropped. Takes effect at
  // the call; idempotent: the first reason is kept. Errors: ChannelClosed{handle_closed}, if this handle is closed.
  [[nodiscard]] Result<void, ChannelClosed> shutdown(bool immediate = false,
                                                     std::optional<std::string> reason = std::nullopt) {
    if (core_ != nullptr && core_->shut_down(registration_, immediate, std::move(reason))) return {};
    return std::unexpected(ChannelClosed{CloseKind::handle_closed});
  }

  // True if the next operation on this handle would give ChannelClosed.
  [[nodiscard]] bool is_closed() const { return core_ == nullptr || core_->is_closed(kSide, registration_); }

  // The most messages that the channel holds; 0: a rendezvous; nullopt: unbounded.
  [[nodiscard]] std::optional<std::size_t> capacity() const noexcept {
    if (core_ == nullptr || core_->capacity() == kUnbounded) return std::nullopt;
    return core_->capacity();
  }

  [[nodiscard]] ChannelStats stats() const { return core_ == nullptr ? ChannelStats{} : core_->stats(); }

  // Waits until the other side is gone, or the channel was shut down. Errors: ChannelClosed{handle_closed}, if this handle is closed first.
  // Cancel safety: holds nothing.
  [[nodiscard]] auto closed() const { return detail::awaited(ClosedOp<Core>(kSide, core_, registration_)); }
  [[nodiscard]] Result<void, ChannelClosed> blocking_closed() const {
    return detail::blocking(ClosedOp<Core>(kSide, core_, registration_));
  }

 protected:
  Handle(std::shared_ptr<Core> core, Registration registration) noexcept
      : core_(std::move(core)), registration_(registration) {}

  [[nodiscard]] Registration clone_registration() const {
    return core_ == nullptr ? Registration{.id = 0, .closed = true} : core_->clone_handle(kSide, registration_);
  }

  friend struct HandleAccess;
  std::shared_ptr<Core> core_;
  Registration registration_;
};

// For the rest of the library: the parts of a handle.
struct HandleAccess {
  template <class H>
  static const auto& core(const H& handle) noexcept {
    return handle.core_;
  }
  template <class H>
  static const Registration& registration(const H& handle) noexcept {
    return handle.registration_;
  }
  // What a receive of `receiver` is, for select() and iteration.
  template <class R>
  static auto recv_op(const R& receiver) -> decltype(receiver.op()) {
    return receiver.op();
  }
  // What the wait for a change of a watch is.
  template <class R>
  static auto changed_op(const R& receiver) -> decltype(receiver.change()) {
    return receiver.change();
  }
  // What a send of one value is, for select().
  template <class Tx>
  static auto send_op(const Tx& sender, OneValue<typename Tx::value_type> value)
      -> decltype(sender.op(std::move(value))) {
    return sender.op(std::move(value));
  }
  template <class H, class Core>
  static H make(std::shared_ptr<Core> core, Registration registration) {
    return H(std::move(core), registration);
  }
};

// Blocking iteration over what a receiver receives, without the lags of a broadcast; it ends with the channel. An end that
// is not orderly (is_orderly(kind)) throws ChannelClosedError.
template <class Receiver>
class ReceiveIterator {
  using Op = decltype(HandleAccess::recv_op(std::declval<const Receiver&>()));

 public:
  using iterator_concept = std::input_iterator_tag;
  using value_type = typename Op::value_type;
  using difference_type = std::ptrdiff_t;

  explicit ReceiveIterator(Receiver& receiver) : receiver_(&receiver) { ++*this; }

  // The message is yours to move from: an input iterator gives each once.
  [[nodiscard]] value_type&& operator*() const noexcept { return std::move(*current_); }
  ReceiveIterator& operator++() {
    current_.reset();
    while (!advance()) {
    }
    return *this;
  }
  void operator++(int) { ++*this; }
  friend bool operator==(const ReceiveIterator& it, std::default_sentinel_t) noexcept { return !it.current_; }

 private:
  // False: what came is passed over.
  bool advance() {
    Op op = HandleAccess::recv_op(*receiver_);
    if (detail::block_on(op) == Status::done) {
      if constexpr (requires { op.is_lag(); }) {
        if (op.is_lag()) return false;
      }
      current_.emplace(op.take());
    } else {
      ChannelClosed closed = op.closed();
      if (!is_orderly(closed.kind)) throw_error(std::move(closed));
    }
    return true;
  }

  Receiver* receiver_;
  mutable std::optional<value_type> current_;
};

template <class A, class B>
[[nodiscard]] bool same_core(const A& a, const B& b) noexcept {
  const void* const one = HandleAccess::core(a).get();
  return one != nullptr && one == static_cast<const void*>(HandleAccess::core(b).get());
}

// The sending half of a channel. Move-only; clone() for another one; the destructor closes. One handle may be used by
// several threads at once.
//
// An argument that is given up (an rvalue) is moved only if the send succeeds; an lvalue is copied.
// Batches go in whole or not at all; one of more values than max(capacity, 1) is ChannelFull at once.
//
//              awaited                  blocking                     never waits
//   one        send(v)                  blocking_send(v)             try_send(v)
//   limited    send_for(v, limit)       blocking_send_for(v, limit)
//   many       send_batch(values)       blocking_send_batch(values)  try_send_batch(values)
//   a slot     reserve()                blocking_reserve()           try_reserve()
//   limited    reserve_for(limit)       blocking_reserve_for(limit)
//
// Errors: ChannelClosed if this handle is closed or no receiver is left; ChannelFull from a try or at a time limit.
// Cancel safety: a send that is cancelled or runs out of time has either delivered its message, or not touched it; the
// next in line moves up.
template <class T, class Core>
class BasicSender : public Handle<T, Core, Side::sender> {
 public:
  using value_type = T;
  using Weak = BasicWeak<BasicSender, Core, Side::sender>;

  // Another handle on the same channel; it counts when this returns. Of a closed handle: a closed one.
  [[nodiscard]] BasicSender clone() const { return BasicSender(this->core_, this->clone_registration()); }

  // A handle that does not count (weak.hpp).
  [[nodiscard]] Weak downgrade() const { return Weak(this->core_); }

  template <class Other>
  [[nodiscard]] bool same_channel(const Other& other) const noexcept {
    return same_core(*this, other);
  }

  // Result<void, ChannelClosed>
  [[nodiscard]] auto send(T&& value) { return detail::awaited(op(OneValue<T>(std::move(value)))); }
  [[nodiscard]] auto send(const T& value)
    requires std::copy_constructible<T>
  {
    return detail::awaited(op(OneValue<T>(value)));
  }
  [[nodiscard]] Result<void, ChannelClosed> blocking_send(T&& value) {
    return detail::blocking(op(OneValue<T>(std::move(value))));
  }
  [[nodiscard]] Result<void, ChannelClosed> blocking_send(const T& value)
    requires std::copy_constructible<T>
  {
    return detail::blocking(op(OneValue<T>(value)));
  }

  // Result<void, SendError>: ChannelFull when the time is up. A limit of zero or less tries once.
  template <class Rep, class Period>
  [[nodiscard]] auto send_for(T&& value, std::chrono::duration<Rep, Period> limit) {
    return detail::awaited(op(OneValue<T>(std::move(value))), limit);
  }
  template <class Rep, class Period>
  [[nodiscard]] auto send_for(const T& value, std::chrono::duration<Rep, Period> limit)
    requires std::copy_constructible<T>
  {
    return detail::awaited(op(OneValue<T>(value)), limit);
  }
  template <class Rep, class Period>
  [[nodiscard]] Result<void, SendError> blocking_send_for(T&& value, std::chrono::duration<Rep, Period> limit) {
    return detail::blocking(op(OneValue<T>(std::move(value))), limit);
  }
  template <class Rep, class Period>
  [[nodiscard]] Result<void, SendError> blocking_send_for(const T& value, std::chrono::duration<Rep, Period> limit)
    requires std::copy_constructible<T>
  {
    return detail::blocking(op(OneValue<T>(value)), limit);
  }

  [[nodiscard]] Result<void, SendError> try_send(T&& value) {
    return detail::at_once(op(OneValue<T>(std::move(value))));
  }
  [[nodiscard]] Result<void, SendError> try_send(const T& value)
    requires std::copy_constructible<T>
  {
    return detail::at_once(op(OneValue<T>(value)));
  }

  // All of `values`, in order. A std::vector<T> that is given up is moved from; any other range is copied.
  template <std::ranges::input_range Range>
  [[nodiscard]] auto send_batch(Range&& values) {
    return detail::awaited(op(many(std::forward<Range>(values))));
  }
  template <std::ranges::input_range Range>
  [[nodiscard]] Result<void, SendError> blocking_send_batch(Range&& values) {
    return detail::blocking(op(many(std::forward<Range>(values))));
  }
  template <std::ranges::input_range Range>
  [[nodiscard]] Result<void, SendError> try_send_batch(Range&& values) {
    return detail::at_once(op(many(std::forward<Range>(values))));
  }

  // A slot for one message that is to come (permit.hpp): Result<Permit<T>, ChannelClosed>.
  [[nodiscard]] auto reserve() { return detail::awaited(reservation()); }
  [[nodiscard]] Result<Permit<T>, ChannelClosed> blocking_reserve() { return detail::blocking(reservation()); }
  // Result<Permit<T>, SendError>: ChannelFull when the time is up. A limit of zero or less tries once.
  template <class Rep, class Period>
  [[nodiscard]] auto reserve_for(std::chrono::duration<Rep, Period> limit) {
    return detail::awaited(reservation(), limit);
  }
  template <class Rep, class Period>
  [[nodiscard]] Result<Permit<T>, SendError> blocking_reserve_for(std::chrono::duration<Rep, Period> limit) {
    return detail::blocking(reservation(), limit);
  }
  [[nodiscard]] Result<Permit<T>, SendError> try_reserve() { return detail::at_once(reservation()); }

 private:
  friend struct HandleAccess;
  friend Weak;
  using Handle<T, Core, Side::sender>::Handle;

  ReserveOp<T, Core> reservation() const { return ReserveOp<T, Core>(this->core_, this->registration_); }

  template <class Range>
  static ManyValues<T> many(Range&& values) {
    if constexpr (std::is_same_v<Range, std::vector<T>>) {
      return ManyValues<T>(std::move(values));  // NOLINT(bugprone-move-forwarding-reference): an rvalue vector
    } else {
      return ManyValues<T>(values);
    }
  }
  template <class Values>
  SendOp<T, Core, Values> op(Values values) const {
    return SendOp<T, Core, Values>(this->core_, this->registration_, std::move(values));
  }
};

// A handle that receives, one thing at a time: `Op` is what such a receive is. What a watch waits for has other names.
template <class T, class Core, class Op, class Error = ChannelClosed, class LimitedError = RecvError>
class ReceivingHandle : public Handle<T, Core, Side::receiver> {
 public:
  using value_type = T;
  using Iterator = ReceiveIterator<ReceivingHandle>;

  // Result<T, Error>
  [[nodiscard]] auto recv() { return detail::awaited(op()); }
  [[nodiscard]] Result<T, Error> blocking_recv() { return detail::blocking(op()); }

  // Result<T, LimitedError>: ChannelEmpty when the time is up. A limit of zero or less tries once.
  template <class Rep, class Period>
  [[nodiscard]] auto recv_for(std::chrono::duration<Rep, Period> limit) {
    return detail::awaited(op(), limit);
  }
  template <class Rep, class Period>
  [[nodiscard]] Result<T, LimitedError> blocking_recv_for(std::chrono::duration<Rep, Period> limit) {
    return detail::blocking(op(), limit);
  }
  [[nodiscard]] Result<T, LimitedError> try_recv() { return detail::at_once(op()); }

  // Blocking iteration; see ReceiveIterator.
  [[nodiscard]] Iterator begin() { return Iterator(*this); }
  [[nodiscard]] static std::default_sentinel_t end() noexcept { return {}; }

 protected:
  using Handle<T, Core, Side::receiver>::Handle;

 private:
  friend struct HandleAccess;
  Op op() const { return Op(this->core_, this->registration_); }
};

// The receiving half of a channel. Move-only; clone() for another one (they share the messages: each goes to exactly
// one); the destructor closes. One handle may be used by several threads at once.
//
//              awaited            blocking                   never waits
//   one        recv()             blocking_recv()            try_recv()
//   limited    recv_for(limit)    blocking_recv_for(limit)
//   many       recv_batch(n)      blocking_recv_batch(n)     try_recv_batch(n)
//   to settle  recv_acked()       blocking_recv_acked()      try_recv_acked()
//   limited    recv_acked_for(limit) blocking_recv_acked_for(limit)
//
// A batch waits for the first message and takes what is there, n >= 1 at most. `for (T v : rx)` receives blocking.
// Errors: ChannelClosed if this handle is closed, or if the senders are gone and all is drained; ChannelEmpty from a try
// or at a time limit. Cancel safety: a receive that is cancelled or runs out of time takes nothing: a message that was
// already granted to it goes to the next in line.
template <class T, class Core>
class BasicReceiver : public ReceivingHandle<T, Core, RecvOp<T, Core>> {
  using BatchOp = RecvBatchOp<T, Core>;
  using AckedOp = RecvAckedOp<T, Core>;

 public:
  using Weak = BasicWeak<BasicReceiver, Core, Side::receiver>;

  [[nodiscard]] BasicReceiver clone() const { return BasicReceiver(this->core_, this->clone_registration()); }

  // A handle that does not count (weak.hpp).
  [[nodiscard]] Weak downgrade() const { return Weak(this->core_); }

  template <class Other>
  [[nodiscard]] bool same_channel(const Other& other) const noexcept {
    return same_core(*this, other);
  }

  // How many messages are queued at this moment.
  [[nodiscard]] std::size_t size() const { return this->core_ == nullptr ? 0 : this->core_->queue_size(); }

  // Result<std::vector<T>, ChannelClosed>, of 1 to max_items values. Throws std::invalid_argument for max_items == 0.
  [[nodiscard]] auto recv_batch(std::size_t max_items) { return detail::awaited(batch(max_items)); }
  [[nodiscard]] Result<std::vector<T>, ChannelClosed> blocking_recv_batch(std::size_t max_items) {
    return detail::blocking(batch(max_items));
  }
  [[nodiscard]] Result<std::vector<T>, RecvError> try_recv_batch(std::size_t max_items) {
    return detail::at_once(batch(max_items));
  }

  // A message that is done with when its Delivery says so (delivery.hpp): Result<Delivery<T>, ChannelClosed>.
  [[nodiscard]] auto recv_acked() { return detail::awaited(acked_op()); }
  [[nodiscard]] Result<Delivery<T>, ChannelClosed> blocking_recv_acked() { return detail::blocking(acked_op()); }
  // Result<Delivery<T>, RecvError>: ChannelEmpty when the time is up. A limit of zero or less tries once.
  template <class Rep, class Period>
  [[nodiscard]] auto recv_acked_for(std::chrono::duration<Rep, Period> limit) {
    return detail::awaited(acked_op(), limit);
  }
  template <class Rep, class Period>
  [[nodiscard]] Result<Delivery<T>, RecvError> blocking_recv_acked_for(std::chrono::duration<Rep, Period> limit) {
    return detail::blocking(acked_op(), limit);
  }
  [[nodiscard]] Result<Delivery<T>, RecvError> try_recv_acked() { return detail::at_once(acked_op()); }

 private:
  friend struct HandleAccess;
  friend Weak;
  using ReceivingHandle<T, Core, RecvOp<T, Core>>::ReceivingHandle;

  AckedOp acked_op() const { return AckedOp(this->core_, this->registration_); }
  BatchOp batch(std::size_t max_items) const {
    if (max_items == 0) throw std::invalid_argument("recv_batch: max_items must be at least 1");
    return BatchOp(this->core_, this->registration_, max_items);
  }
};

}  // namespace klaw::channels::detail
