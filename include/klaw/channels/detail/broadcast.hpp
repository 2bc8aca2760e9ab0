// The broadcast channel of one process: a window over the stream of messages, and subscriptions that read it, each at its
// own pace; a lock.
//
//        base_                        tail()
//          │ m0 │ m1 │ m2 │ ... │ mk    │
//          ▲         ▲                  ▲
//          └─────────┴── next of ───────┘  each subscription: the first message that it has not seen
//
// A message has a position in the stream, counted from 0 by 64 bits, which do not wrap. What a subscription has yet to see
// are its `events`: that it fell behind, if messages that it had not seen were dropped, and then the messages kept. A send
// adds at most one to them, and nothing but receiving takes one away, so that an event can be promised.
//
// Between any two critical sections these hold:
//   I1  items_.size() <= capacity_; item i is the message at position base_ + i.
//   I2  each message counts the open subscriptions that stand at it (the oldest: also those that fell behind it), and
//       at_tail_ those that have seen all. Somebody stands at the oldest: a message is dropped with the last subscription
//       that passes it. So a window without subscriptions is empty, and the window's size is the lag of the slowest.
//   I3  if an offer waits (only with Overflow::wait), the window is full; nobody passes it.
//   I4  if a receive waits, all events of its subscription are promised to other receives of it, that were woken.
//   I5  a receive waits on a channel without senders only while such promises are outstanding (a cancelled one hands its
//       event on); with the last of them taken, all who wait on that subscription get the end.
// "Waits" means linked with an unclaimed operation; see mpmc.hpp.
//
// While an operation is busy here (Operation::lock) nobody is claimed: it commits or unlocks first. So two operations that
// examine two channels can't wait for each other.
//
// No user code runs under the lock but T's move constructor, the destructor of a moved-from T, and such copy constructors
// as Kept allows. Where a critical section is noexcept and must allocate, running out of memory ends the process.
#pragma once

#include <algorithm>
#include <cassert>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include <klaw/channels/detail/dropped.hpp>
#include <klaw/channels/detail/held.hpp>
#include <klaw/channels/detail/ring.hpp>

namespace klaw::channels {

// What becomes of a message for which there is no room.
enum class Overflow : std::uint8_t {
  lag,   // it takes the place of the oldest; receivers that had not seen that one are told how many they missed
  wait,  // its send waits for the slowest receiver
};

namespace detail {

// A message as it is kept. Receivers copy it: under the lock what is as cheap to copy as to point at (numbers, small
// structs, shared pointers), and from its slot; anything else outside of the lock, from one allocation that they share.
template <class T>
inline constexpr bool kCopiedUnderLock = std::is_nothrow_copy_constructible_v<T> && sizeof(T) <= 64;

template <class T, bool = kCopiedUnderLock<T>>
class Kept {
 public:
  struct Room {};
  static void prepare(Room& /*room*/) noexcept {}
  Kept(Room /*room*/, T&& value) noexcept : value_(std::move(value)) {}
  [[nodiscard]] T take() && noexcept { return std::move(value_); }
  [[nodiscard]] const T& value() const noexcept { return value_; }

 private:
  T value_;
};

template <class T>
class Kept<T, false> {
 public:
  // Made by the sender before it takes the lock, filled under it, when the send is certain.
  using Room = std::shared_ptr<std::optional<T>>;
  static void prepare(Room& room) {
    if (room == nullptr) room = std::make_shared<std::optional<T>>();
  }
  Kept(Room room, T&& value) noexcept : shared_(std::move(room)) { shared_->emplace(std::move(value)); }
  [[nodiscard]] T take() && { return std::as_const(**shared_); }
  [[nodiscard]] const T& value() const noexcept { return **shared_; }

 private:
  Room shared_;
};

// A send that waits is an offer: its value stays where it is until somebody moves it into the window.
template <class T>
struct BroadcastSendWaiter : Waiter {
  T* value = nullptr;
  typename Kept<T>::Room room = {};
  std::size_t receivers = 0;         // how many there were when it was sent
  CloseKind why = CloseKind::ended;  // set with Status::closed
};

// A receive that waits is promised an event of its subscription, which stays there until the woken receive takes it.
template <class T>
struct BroadcastRecvWaiter : Waiter {
  std::optional<Kept<T>> message = std::nullopt;  // set with Status::done, unless:
  std::uint64_t skipped = 0;                      // the event was that so many messages were missed
  CloseKind why = CloseKind::ended;               // set with Status::closed
};

template <class T, class Exclusion>
class Subscription;

// `Exclusion`: a lock of its own, or one that its callers hold anyway (Python's GIL).
template <class T, class Exclusion = ShortMutex>
class Broadcast final : public Held<Exclusion> {
  using typename Held<Exclusion>::Guard;
  using Reader = Subscription<T, Exclusion>;
  using SendWaiter = BroadcastSendWaiter<T>;
  using RecvWaiter = BroadcastRecvWaiter<T>;

 public:
  static_assert(std::is_nothrow_move_constructible_v<T> && std::is_nothrow_destructible_v<T>,
                "klaw channels need a T whose move constructor and destructor are noexcept; "
                "send a std::shared_ptr<const T> instead");
  static_assert(std::copy_constructible<T>,
                "each receiver of a broadcast gets a copy: send a std::shared_ptr<const T> instead");

  // A channel with one sender, whose registration is kFirstSender, and one subscription, which the caller takes by
  // Subscription::first(). `capacity`: a power of two.
  Broadcast(std::size_t capacity, Overflow overflow) : capacity_(capacity), overflow_(overflow) {}

  [[nodiscard]] Status start_send(const Registration& handle, SendWaiter& w, Operation* op) {
    Kept<T>::prepare(w.room);
    Wakeups wakeups;
    std::optional<Kept<T>> dropped;  // destroyed after the lock is released: destructors of T are user code
    Status status;
    {
      const Guard guard(mutex_);
      status = send_locked(handle, w, op, dropped, wakeups);
    }
    wakeups.fire();
    return status;
  }

  [[nodiscard]] Status finish_send(SendWaiter& w) noexcept {
    // The waker set the signal before it fired, and has unlinked the waiter: it is ours, no lock needed.
    return w.signal == Waiter::Signal::granted ? Status::done : Status::closed;
  }

  void abandon_send(SendWaiter& w) noexcept {
    const Guard guard(mutex_);
    if (w.is_linked()) offers_.remove(w);  // nobody moves up: the window is full (I3)
  }

  // Registers one more sender. Of a closed one comes a closed one.
  [[nodiscard]] Registration clone_handle(Side /*sender*/, const Registration& from) {
    const Guard guard(mutex_);
    return from.closed ? Registration{.id = 0, .closed = true} : this->open_handle(Side::sender);
  }

  // Opens a new subscription, to what is sent from now on. False: `from`, which asks for it, is closed.
  [[nodiscard]] bool admit(Reader& fresh, const Registration& from) {
    const Guard guard(mutex_);
    if (from.closed) return false;
    fresh.handle_ = this->open_handle(Side::receiver);
    fresh.next_ = tail();
    ++at_tail_;
    return true;
  }

  void close_handle(Side /*sender*/, Registration& handle, std::optional<std::string> reason) noexcept {
    Wakeups wakeups;
    {
      const Guard guard(mutex_);
      if (handle.closed) return;
      close_own(offers_, handle.id, wakeups);
      this->retire_handle(Side::sender, handle, std::move(reason), wakeups);
      if (this->count(Side::sender) == 0) hungry_.for_each([&](Reader& reader) { serve(reader, wakeups); });
    }
    wakeups.fire();
  }

  [[nodiscard]] bool is_closed(Side /*sender*/, const Registration& handle) const {
    const Guard guard(mutex_);
    return handle.closed || this->count(Side::receiver) == 0;
  }

  [[nodiscard]] ChannelClosed closed_error(Side side, CloseKind why) const {
    const Guard guard(mutex_);
    ChannelClosed error = this->error_of(side, why);
    if (why == CloseKind::peer_gone && !error.reason) error.reason = "no receivers";
    return error;
  }

  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }

  // How many messages are kept: those that the slowest receiver has yet to see.
  [[nodiscard]] std::size_t queue_size() const {
    const Guard guard(mutex_);
    return items_.size();
  }

  [[nodiscard]] std::size_t receiver_count() const {
    const Guard guard(mutex_);
    return this->count(Side::receiver);
  }

  [[nodiscard]] ChannelStats stats() const {
    const Guard guard(mutex_);
    ChannelStats s = this->handle_stats();
    s.queue_size = items_.size();
    s.capacity = capacity_;
    s.high_watermark = high_watermark_;
    s.total_sent = tail();
    s.total_received = total_received_;
    s.waiting_senders = offers_.size();
    s.waiting_receivers = receives_waiting_;
    s.in_flight = promised_;
    return s;
  }

  // For a garbage collector, as in mpmc.hpp: f(value) for each message kept.
  template <class F>
  void for_each_queued(F f) const {
    const Guard guard(mutex_);
    for (std::size_t i = 0; i < items_.size(); ++i) f(items_[i].message.value());
  }
  void drop_queued() noexcept {
    Dropped<Ring<Kept<T>>> dropped;
    const Guard guard(mutex_);
    while (!items_.empty()) dropped->push_back(pop_front());
  }

  // --- for Subscription: its side of the channel ---

  [[nodiscard]] Status start_recv(Reader& reader, RecvWaiter& w, Operation* op) {
    Wakeups wakeups;
    Status status;
    {
      const Guard guard(mutex_);
      status = recv_locked(reader, w, op, wakeups);
    }
    wakeups.fire();
    return status;
  }

  [[nodiscard]] Status finish_recv(Reader& reader, RecvWaiter& w) {
    if (w.signal == Waiter::Signal::closed) return Status::closed;
    Wakeups wakeups;
    Status status = Status::done;
    {
      const Guard guard(mutex_);
      w.signal = Waiter::Signal::none;
      if (reader.handle_.closed) {
        // After we were woken our handle was closed, and what it had yet to see was given up.
        w.why = CloseKind::handle_closed;
        status = Status::closed;
      } else {
        unpromise(reader, 1);
        take(reader, w, wakeups);
        serve(reader, wakeups);  // that may have been the last event (I5)
      }
    }
    wakeups.fire();
    return status;
  }

  void abandon_recv(Reader& reader, RecvWaiter& w) noexcept {
    Wakeups wakeups;
    {
      const Guard guard(mutex_);
      if (w.is_linked()) {
        unlink(reader, w);
        if (reader.line_.empty()) hungry_.remove(reader);
      } else if (w.signal == Waiter::Signal::granted) {
        w.signal = Waiter::Signal::none;
        if (!reader.handle_.closed) {
          unpromise(reader, 1);
          serve(reader, wakeups);  // the next in line gets the event in our place
        }
      }
    }
    wakeups.fire();
  }

  void close_reader(Reader& reader, std::optional<std::string> reason) noexcept {
    Wakeups wakeups;
    Dropped<Ring<Slot>> dropped;
    {
      const Guard guard(mutex_);
      if (reader.handle_.closed) return;
      end_line(reader, CloseKind::handle_closed, wakeups);
      unpromise(reader, reader.promised_);
      --readers_at(std::max(reader.next_, base_));
      drop_what_all_have_seen(*dropped);
      this->retire_handle(Side::receiver, reader.handle_, std::move(reason), wakeups);
      if (this->count(Side::receiver) == 0) close_all(offers_, CloseKind::peer_gone, wakeups);
      accept_offers(wakeups);
    }
    wakeups.fire();
  }

  [[nodiscard]] bool is_closed(const Reader& reader) const {
    const Guard guard(mutex_);
    return reader.handle_.closed || at_end(reader);
  }

  // How many messages were sent that the reader has yet to receive, or to be told that it missed.
  [[nodiscard]] std::uint64_t lag(const Reader& reader) const {
    const Guard guard(mutex_);
    return reader.handle_.closed ? 0 : tail() - reader.next_;
  }

 private:
  using Held<Exclusion>::mutex_;

  struct Slot {
    Kept<T> message;
    std::size_t readers;  // that stand here
  };

  // --- all that follows runs under mutex_ ---

  [[nodiscard]] std::uint64_t tail() const noexcept { return base_ + items_.size(); }
  [[nodiscard]] bool has_room() const noexcept { return items_.size() < capacity_; }
  [[nodiscard]] std::size_t& readers_at(std::uint64_t position) noexcept {
    return position == tail() ? at_tail_ : items_[position - base_].readers;
  }

  [[nodiscard]] std::uint64_t events(const Reader& reader) const noexcept {
    return reader.next_ < base_ ? 1 + items_.size() : tail() - reader.next_;
  }
  [[nodiscard]] std::uint64_t unpromised(const Reader& reader) const noexcept {
    assert(events(reader) >= reader.promised_);
    return events(reader) - reader.promised_;
  }
  void unpromise(Reader& reader, std::size_t count) noexcept {
    reader.promised_ -= count;
    promised_ -= count;
  }

  [[nodiscard]] bool at_end(const Reader& reader) const noexcept {
    return this->count(Side::sender) == 0 && events(reader) == 0;
  }

  void unlink(Reader& reader, RecvWaiter& w) noexcept {
    reader.line_.remove(w);
    --receives_waiting_;
  }

  Status send_locked(const Registration& handle, SendWaiter& w, Operation* op, std::optional<Kept<T>>& dropped,
                     Wakeups& wakeups) {
    items_.reserve(std::min(items_.size() + 1, capacity_));  // may throw: before anything is changed
    if (op != nullptr && !op->lock()) return Status::pending;
    if (handle.closed || this->count(Side::receiver) == 0) {
      w.why = handle.closed ? CloseKind::handle_closed : CloseKind::peer_gone;
      if (op != nullptr) op->commit(w.index);
      return Status::closed;
    }
    if (overflow_ == Overflow::wait && !has_room()) {
      if (op != nullptr) {
        link(offers_, w, handle, *op);
        op->unlock();
      }
      return Status::pending;
    }
    if (op != nullptr) op->commit(w.index);
    if (!has_room()) dropped.emplace(pop_front());
    store(w, wakeups);
    return Status::done;
  }

  void store(SendWaiter& w, Wakeups& wakeups) noexcept {
    items_.push_back(Slot{Kept<T>(std::move(w.room), std::move(*w.value)), std::exchange(at_tail_, 0)});
    w.receivers = this->count(Side::receiver);
    high_watermark_ = std::max(high_watermark_, items_.size());
    hungry_.for_each([&](Reader& reader) { serve(reader, wakeups); });
  }

  // Those who stand at the oldest message stand at the one after it then: they have seen it, or have fallen behind.
  Kept<T> pop_front() noexcept {
    Slot front = items_.pop_front();
    ++base_;
    readers_at(base_) += front.readers;
    return std::move(front.message);
  }

  // Moves offers into free room. They waited for a window that was full, so it has its storage already.
  void accept_offers(Wakeups& wakeups) noexcept {
    while (!offers_.empty() && has_room()) {
      SendWaiter& offer = offers_.pop_front();
      if (signal(offer, Waiter::Signal::granted, wakeups)) store(offer, wakeups);
    }
  }

  Status recv_locked(Reader& reader, RecvWaiter& w, Operation* op, Wakeups& wakeups) {
    // A select that was claimed by another channel while it was on its way here waits for that one.
    if (op != nullptr && !op->lock()) return Status::pending;
    if (reader.handle_.closed || at_end(reader)) {
      w.why = reader.handle_.closed ? CloseKind::handle_closed : this->end_kind();
      if (op != nullptr) op->commit(w.index);
      return Status::closed;
    }
    if (unpromised(reader) == 0) {
      if (op != nullptr) {
        link(reader.line_, w, reader.handle_, *op);
        ++receives_waiting_;
        if (!reader.is_linked()) hungry_.push_back(reader);
        op->unlock();
      }
      return Status::pending;
    }
    if (w.takes_late && op != nullptr) {
      ++reader.promised_;
      ++promised_;
      return grant_at_once(w, *op);
    }
    if (op != nullptr) op->commit(w.index);
    take(reader, w, wakeups);
    return Status::done;
  }

  // Takes the first event.
  void take(Reader& reader, RecvWaiter& w, Wakeups& wakeups) noexcept {
    if (reader.next_ < base_) {
      w.skipped = base_ - reader.next_;
      reader.next_ = base_;
      return;
    }
    Slot& slot = items_[reader.next_ - base_];
    ++reader.next_;
    ++total_received_;
    if (slot.readers == 1 && reader.next_ == base_ + 1) {
      w.message.emplace(pop_front());  // nobody else has yet to see it
      accept_offers(wakeups);
    } else {
      w.message.emplace(slot.message);
      --slot.readers;
      ++readers_at(reader.next_);
    }
  }

  // Promises events to the receives that wait, and lets those go for whom nothing can come. Called after every change
  // that could concern them.
  void serve(Reader& reader, Wakeups& wakeups) noexcept {
    while (!reader.line_.empty() && unpromised(reader) > 0) {
      RecvWaiter& w = reader.line_.front();
      unlink(reader, w);
      if (signal(w, Waiter::Signal::granted, wakeups)) {
        ++reader.promised_;
        ++promised_;
      }
    }
    if (at_end(reader)) {
      end_line(reader, this->end_kind(), wakeups);
    } else if (reader.line_.empty() && reader.is_linked()) {
      hungry_.remove(reader);
    }
  }

  void end_line(Reader& reader, CloseKind why, Wakeups& wakeups) noexcept {
    receives_waiting_ -= reader.line_.size();
    close_all(reader.line_, why, wakeups);
    if (reader.is_linked()) hungry_.remove(reader);
  }

  void drop_what_all_have_seen(Ring<Slot>& dropped) noexcept {
    std::size_t seen = 0;
    while (seen < items_.size() && items_[seen].readers == 0) ++seen;
    dropped.reserve(seen);
    for (std::size_t i = 0; i < seen; ++i) dropped.push_back(items_.pop_front());
    base_ += seen;
  }

  const std::size_t capacity_;  // a power of two
  const Overflow overflow_;
  Ring<Slot> items_;
  std::uint64_t base_ = 0;    // position of the oldest message kept
  std::size_t at_tail_ = 1;   // subscriptions that have seen all
  std::size_t promised_ = 0;  // over all subscriptions
  std::size_t receives_waiting_ = 0;
  IntrusiveList<SendWaiter> offers_;
  IntrusiveList<Reader> hungry_;  // subscriptions on which receives wait
  std::size_t high_watermark_ = 0;
  std::uint64_t total_received_ = 0;
};

// One receiver's place in the stream, and the verbs of its side, as MpmcCore has them: what its handle and the operations
// on it share. It is its own registration.
template <class T, class Exclusion = ShortMutex>
class Subscription final : public ListHook {
  using Core = Broadcast<T, Exclusion>;

 public:
  // Closed; see first() and open().
  explicit Subscription(std::shared_ptr<Core> core) noexcept : core_(std::move(core)) {}

  [[nodiscard]] const std::shared_ptr<Core>& core() const noexcept { return core_; }

  [[nodiscard]] Status start_recv(BroadcastRecvWaiter<T>& w, Operation* op) { return core_->start_recv(*this, w, op); }
  [[nodiscard]] Status finish_recv(BroadcastRecvWaiter<T>& w) { return core_->finish_recv(*this, w); }
  void abandon_recv(BroadcastRecvWaiter<T>& w) noexcept { core_->abandon_recv(*this, w); }

  [[nodiscard]] Status start_closed(Side /*side*/, const Registration& /*self*/, ClosedWaiter& w, Operation* op) {
    return core_->start_closed(Side::receiver, handle_, w, op);
  }
  [[nodiscard]] Status finish_closed(Side side, ClosedWaiter& w) noexcept { return core_->finish_closed(side, w); }
  void abandon_closed(Side side, ClosedWaiter& w) noexcept { core_->abandon_closed(side, w); }

  void close_handle(Side /*side*/, Registration& /*self*/, std::optional<std::string> reason) noexcept {
    core_->close_reader(*this, std::move(reason));
  }
  [[nodiscard]] bool is_closed(Side /*side*/, const Registration& /*self*/) const { return core_->is_closed(*this); }
  [[nodiscard]] ChannelClosed closed_error(Side side, CloseKind why) const { return core_->closed_error(side, why); }

  [[nodiscard]] std::size_t capacity() const noexcept { return core_->capacity(); }
  [[nodiscard]] std::uint64_t lag() const { return core_->lag(*this); }
  [[nodiscard]] ChannelStats stats() const { return core_->stats(); }

  // The subscription that a channel begins with.
  [[nodiscard]] static std::shared_ptr<Subscription> first(const std::shared_ptr<Core>& core) {
    auto fresh = std::make_shared<Subscription>(core);
    fresh->handle_ = Core::kFirstReceiver;
    return fresh;
  }
  // Another one, from now on; nullptr if `from`, which asks for it, is closed.
  [[nodiscard]] static std::shared_ptr<Subscription> open(const std::shared_ptr<Core>& core, const Registration& from) {
    auto fresh = std::make_shared<Subscription>(core);
    return core->admit(*fresh, from) ? fresh : nullptr;
  }
  [[nodiscard]] std::shared_ptr<Subscription> reopen() const { return open(core_, handle_); }

 private:
  friend Core;

  const std::shared_ptr<Core> core_;

  // The core's lock protects what follows.
  Registration handle_{.id = 0, .closed = true};
  std::uint64_t next_ = 0;    // position of the first message that it has not seen
  std::size_t promised_ = 0;  // how many of its events belong to receives that were woken and have not taken them yet
  IntrusiveList<BroadcastRecvWaiter<T>> line_;
};

}  // namespace detail
}  // namespace klaw::channels
