// The MPMC channel of one process: a queue, two lines of waiters, and a lock.
//
// Between any two critical sections these hold (match() restores them):
//   I1  bounded: items_.size() + slots reserved <= capacity_. A rendezvous (capacity 0) stores nothing there, except a
//       message whose receiver was chosen and then cancelled: it is kept for the next one. What was taken, to be settled, has
//       given its slot away: if it comes back it is stored in returned_, which is served first.
//   I2  if a receiver waits, every queued message is promised to another receiver that was woken and is on its way.
//   I3  if an offer waits, there is no room for the one at the head of the line; nobody passes it. The room of a
//       rendezvous is a receiver that waits, for whom no slot is reserved, and that is not of the same select as the offer:
//       a select that sends and receives on one channel does not meet itself.
//   I4  a receiver waits on a channel without senders, or one that was shut down, only while a message may come: a promised
//       one, since a cancelled receiver may yet hand it on; or one that is delayed, or unsettled at another handle, since it
//       may come back. (Its own unsettled ones do not keep a receiver: it would wait for itself.) With the last of them all
//       who wait get the end.
// "Waits" means linked with an unclaimed operation; a waiter whose operation was claimed elsewhere or cancelled may be
// linked for a moment longer: whoever meets it unlinks it.
//
// Order: messages leave only from the front of the queue, when a receiver really takes one: per sender FIFO, also when a
// woken receiver is cancelled. Among waiters: order of arrival; a promise can't be taken by anybody else, so nobody starves.
//
// No user code runs under the lock but T's move constructor and the destructor of a moved-from T. Where a critical section
// is noexcept and the queue must grow, running out of memory ends the process.
#pragma once

#include <algorithm>
#include <tuple>
#include <utility>

#include <klaw/channels/detail/claims.hpp>
#include <klaw/channels/detail/dropped.hpp>
#include <klaw/channels/detail/held.hpp>
#include <klaw/channels/detail/returned.hpp>
#include <klaw/channels/detail/ring.hpp>

namespace klaw::channels::detail {

// `Exclusion`: a lock of its own, or one that its callers hold anyway (Python's GIL).
template <class T, class Exclusion = ShortMutex>
class Mpmc final : public MpmcCore<T>, public Held<Exclusion> {
  using typename Held<Exclusion>::Guard;
  using Claim = Operation::Claim;

 public:
  // A channel with one sender and one receiver, whose registrations are kFirstSender and kFirstReceiver.
  explicit Mpmc(std::size_t capacity) : capacity_(capacity) {}

  Status start_send(const Registration& handle, SendWaiter<T>& w, Operation* op) override {
    Wakeups wakeups;
    Status status;
    {
      const Guard guard(mutex_);
      status = send_locked(handle, w, op, wakeups);
    }
    wakeups.fire();
    return status;
  }

  Status finish_send(SendWaiter<T>& w) override {
    // The waker set the signal before it fired, and has unlinked the waiter: it is ours, no lock needed.
    return w.signal == Waiter::Signal::granted ? Status::done : Status::closed;
  }

  void abandon_send(SendWaiter<T>& w) noexcept override {
    Wakeups wakeups;
    {
      const Guard guard(mutex_);
      // Not linked: either it was never linked, or its values have gone, or it was closed: nothing to hand back but the
      // slot of a reservation.
      if (w.is_linked()) {
        offers_.remove(w);
        match(wakeups);  // a large batch at the head of the line may have held others up
      } else if (w.reserves && w.signal == Waiter::Signal::granted) {
        w.signal = Waiter::Signal::none;
        end_reservation(w.handle, wakeups);
        match(wakeups);
      }
    }
    wakeups.fire();
  }

  void send_reserved(std::uint64_t handle, T&& value) noexcept override {
    Wakeups wakeups;
    {
      const Guard guard(mutex_);
      if (count(Side::receiver) > 0 && shutdown_ != Shutdown::immediate) {
        SendWaiter<T> granted;
        granted.values = &value;
        store(granted);
      }
      end_reservation(handle, wakeups);
      match(wakeups);
    }
    wakeups.fire();
  }

  void release_reserved(std::uint64_t handle) noexcept override {
    Wakeups wakeups;
    {
      const Guard guard(mutex_);
      end_reservation(handle, wakeups);
      match(wakeups);
    }
    wakeups.fire();
  }

  Status start_recv(const Registration& handle, RecvWaiter<T>& w, Operation* op) override {
    Wakeups wakeups;
    Status status;
    {
      const Guard guard(mutex_);
      status = recv_locked(handle, w, op, wakeups);
    }
    wakeups.fire();
    return status;
  }

  Status finish_recv(RecvWaiter<T>& w) override {
    if (w.signal == Waiter::Signal::closed) return Status::closed;
    Wakeups wakeups;
    Status status = Status::done;
    {
      const Guard guard(mutex_);
      w.signal = Waiter::Signal::none;
      --promised_;
      if (available() == 0) {
        // After we were woken the queue was dropped: by a shutdown, or since the last receiver was closed, and with it our
        // handle.
        w.why = is_shut_down() ? CloseKind::shutdown : CloseKind::handle_closed;
        status = Status::closed;
      } else {
        take(w);
        match(wakeups);
      }
    }
    wakeups.fire();
    return status;
  }

  void abandon_recv(RecvWaiter<T>& w) noexcept override {
    Wakeups wakeups;
    {
      const Guard guard(mutex_);
      if (w.is_linked()) {
        receivers_waiting_.remove(w);
      } else if (w.signal == Waiter::Signal::granted) {
        w.signal = Waiter::Signal::none;
        --promised_;
        match(wakeups);  // the next in line gets the message in our place
      }
    }
    wakeups.fire();
  }

  void settle(const Receipt& receipt) noexcept override {
    Wakeups wakeups;
    {
      const Guard guard(mutex_);
      std::ignore = unsettled_.end(receipt.handle);
      match(wakeups);
    }
    wakeups.fire();
  }

  void give_back(const Receipt& receipt, T&& value, Clock::time_point due) noexcept override {
    Wakeups wakeups;
    {
      const Guard guard(mutex_);
      std::ignore = unsettled_.end(receipt.handle);
      if (count(Side::receiver) > 0 && shutdown_ != Shutdown::immediate) {
        if (due > Clock::now()) {
          returned_.put_delayed(receipt.order, std::move(value), receipt.redeliveries + 1, due);
        } else {
          returned_.put(receipt.order, std::move(value), receipt.redeliveries + 1);
        }
      }
      match(wakeups);
    }
    wakeups.fire();
  }

  void release_due(Clock::time_point now) noexcept override {
    Wakeups wakeups;
    {
      const Guard guard(mutex_);
      returned_.release_due(now);
      match(wakeups);
    }
    wakeups.fire();
  }

  Status start_closed(Side side, const Registration& handle, ClosedWaiter& w, Operation* op) override {
    const Guard guard(mutex_);
    if (is_shut_down() && !handle.closed) return Status::done;
    return this->wait_for_close(side, handle, w, op);
  }
  Status finish_closed(Side side, ClosedWaiter& w) override { return Held<Exclusion>::finish_closed(side, w); }
  void abandon_closed(Side side, ClosedWaiter& w) noexcept override { Held<Exclusion>::abandon_closed(side, w); }

  Registration clone_handle(Side side, const Registration& from) override {
    const Guard guard(mutex_);
    return from.closed ? Registration{.id = 0, .closed = true} : this->open_handle(side);
  }

  Registration upgrade_handle(Side side) override {
    const Guard guard(mutex_);
    return count(side) == 0 ? Registration{.id = 0, .closed = true} : this->open_handle(side);
  }

  bool shut_down(const Registration& handle, bool immediate, std::optional<std::string> reason) override {
    Wakeups wakeups;
    Dropped<Stored> dropped;
    {
      const Guard guard(mutex_);
      if (handle.closed) return false;
      if (!is_shut_down()) shutdown_reason_ = std::move(reason);
      if (shutdown_ != Shutdown::immediate) shutdown_ = immediate ? Shutdown::immediate : Shutdown::draining;
      close_all(offers_, CloseKind::shutdown, wakeups);
      for (const Side side : {Side::sender, Side::receiver}) this->tell_of_close(side, wakeups);
      if (immediate) take_all(*dropped);
      match(wakeups);
    }
    wakeups.fire();
    return true;
  }

  void close_handle(Side side, Registration& handle, std::optional<std::string> reason) noexcept override {
    Wakeups wakeups;
    Dropped<Stored> dropped;  // destructors of T are user code
    {
      const Guard guard(mutex_);
      if (handle.closed) return;
      wake_own_operations(side, handle.id, wakeups);
      this->end_handle(side, handle, std::move(reason), wakeups);
      if (side == Side::receiver || !reserved_.outlive(handle.id)) leave(side, *dropped, wakeups);
      match(wakeups);
    }
    wakeups.fire();
  }

  bool is_closed(Side side, const Registration& handle) const override {
    const Guard guard(mutex_);
    return handle.closed || (side == Side::sender ? is_shut_down() || count(Side::receiver) == 0 : at_end(handle.id));
  }

  ChannelClosed closed_error(Side side, CloseKind why) const override {
    const Guard guard(mutex_);
    if (why == CloseKind::shutdown) return {.kind = why, .reason = shutdown_reason_};
    return this->error_of(side, why);
  }

  std::size_t capacity() const noexcept override { return capacity_; }

  std::size_t queue_size() const override {
    const Guard guard(mutex_);
    return stored();
  }

  ChannelStats stats() const override {
    const Guard guard(mutex_);
    ChannelStats s = this->handle_stats();
    s.senders_closed = s.senders_closed || is_shut_down();
    s.queue_size = stored();
    if (capacity_ != kUnbounded) s.capacity = capacity_;
    s.high_watermark = high_watermark_;
    s.total_sent = total_sent_;
    s.total_received = total_received_;
    s.waiting_senders = offers_.size();
    s.waiting_receivers = receivers_waiting_.size();
    s.in_flight = std::min(promised_, available()) + unsettled_.total();
    s.redelivered = redelivered_;
    return s;
  }

  // Calls f(value) for each queued value. For a garbage collector that must know what the queue refers to: nobody may
  // send or receive meanwhile (Python's front changes this queue only under the GIL, which the collector holds).
  template <class F>
  void for_each_queued(F f) const {
    const Guard guard(mutex_);
    for (std::size_t i = 0; i < items_.size(); ++i) f(items_[i]);
    returned_.for_each(f);
  }

  // Drops what is queued; for a collector that found that nobody can receive it.
  void drop_queued() noexcept {
    Dropped<Stored> dropped;
    const Guard guard(mutex_);
    take_all(*dropped);
  }

 private:
  using Held<Exclusion>::mutex_;
  using Held<Exclusion>::count;

  struct Stored {
    Ring<T> items;
    Returned<T> returned;
    [[nodiscard]] bool empty() const noexcept { return items.empty() && returned.size() == 0; }
  };

  // --- all that follows runs under mutex_ ---

  [[nodiscard]] std::size_t stored() const noexcept { return items_.size() + returned_.size(); }
  void take_all(Stored& into) noexcept {
    items_.swap(into.items);
    returned_.swap(into.returned);
  }
  // What can be received now.
  [[nodiscard]] std::size_t available() const noexcept { return items_.size() + returned_.ready(); }
  [[nodiscard]] std::size_t unpromised() const noexcept {
    return available() > promised_ ? available() - promised_ : 0;
  }
  [[nodiscard]] bool has_room(std::size_t values) const noexcept {
    const std::size_t used = items_.size() + reserved_.total();
    return capacity_ == kUnbounded || (used <= capacity_ && values <= capacity_ - used);
  }
  // Rendezvous: one that waits, and that no permit counts on.
  [[nodiscard]] bool has_free_receiver() const noexcept { return receivers_waiting_.size() > reserved_.total(); }
  [[nodiscard]] bool is_shut_down() const noexcept { return shutdown_ != Shutdown::none; }
  // Nothing is there, and nothing new can come any more: also not from a permit.
  [[nodiscard]] bool is_over() const noexcept {
    if (stored() > 0) return false;
    switch (shutdown_) {
      case Shutdown::immediate: return true;
      case Shutdown::draining: return reserved_.total() == 0;
      case Shutdown::none: break;
    }
    return count(Side::sender) == 0;
  }
  // And nothing can come back to this receiver, but what it has itself.
  [[nodiscard]] bool at_end(std::uint64_t receiver) const noexcept {
    return is_over() && (shutdown_ == Shutdown::immediate || unsettled_.of(receiver) == unsettled_.total());
  }
  [[nodiscard]] CloseKind end_kind() const noexcept {
    return is_shut_down() ? CloseKind::shutdown : Held<Exclusion>::end_kind();
  }

  Status send_locked(const Registration& handle, SendWaiter<T>& w, Operation* op, Wakeups& wakeups) {
    // An earlier offer that waits keeps its place (I3); one that was cancelled is no obstacle.
    if (!offers_.empty()) match(wakeups);
    // See recv_locked.
    if (op != nullptr && !op->lock()) return Status::pending;
    if (handle.closed || is_shut_down() || count(Side::receiver) == 0) {
      w.why = handle.closed ? CloseKind::handle_closed : is_shut_down() ? CloseKind::shutdown : CloseKind::peer_gone;
      return end(Status::closed, w, op);
    }
    if (w.count == 0) return end(Status::done, w, op);
    if (w.reserves) {
      if (has_room_for(w)) {
        w.handle = handle.id;
        reserved_.add(handle.id);
        return end(Status::done, w, op);
      }
    } else if (capacity_ == 0) {
      switch (hand_over(w, op, wakeups)) {
        case Claim::won: return end(Status::done, w, op);
        case Claim::preempted: return Status::pending;
        case Claim::lost: break;
      }
    } else if (has_room_for(w)) {
      store(w);
      (void)end(Status::done, w, op);
      match(wakeups);
      return Status::done;
    }
    return wait(offers_, w, handle, op);
  }

  // How an operation that is busy here stops being so: it has come to its end,
  Status end(Status status, const Waiter& w, Operation* op) noexcept {
    if (op != nullptr) op->commit(w.index);
    return status;
  }
  // or it waits in line.
  template <class W>
  Status wait(IntrusiveList<W>& line, W& w, const Registration& handle, Operation* op) noexcept {
    if (op != nullptr) {
      link(line, w, handle, *op);
      op->unlock();
    }
    return Status::pending;
  }

  // May a send that has just come go in, now that match() has let in those that waited and could? (On a rendezvous, offers
  // that wait beside a free receiver are of one select with it: the newcomer may have what they can't.)
  [[nodiscard]] bool has_room_for(const SendWaiter<T>& w) const noexcept {
    return capacity_ == 0 ? has_free_receiver() : offers_.empty() && has_room(w.count);
  }

  // The slot is free again, or its value has been stored.
  void end_reservation(std::uint64_t handle, Wakeups& wakeups) noexcept {
    Stored none;
    if (reserved_.end(handle)) leave(Side::sender, none, wakeups);
  }

  // Rendezvous: claims the first that waits in `line` up to one at which is_end(w) is true, for `op`, which is busy (null:
  // for a try). Waiters of `op` itself are passed over.
  template <class W, class IsEnd>
  Claim claim_peer(IntrusiveList<W>& line, IsEnd is_end, W*& peer, Operation* op, Wakeups& wakeups) noexcept {
    Claim claim = Claim::lost;
    W* const last = line.find_if([&](W& w) {
      if (is_end(w)) {
        claim = Claim::lost;
        return true;
      }
      if (w.operation == op) return false;
      if (op != nullptr) {
        claim = w.operation->try_claim_from(*op, w.index);
      } else {
        claim = w.operation->try_claim(w.index) ? Claim::won : Claim::lost;
      }
      if (claim != Claim::preempted) line.remove(w);
      return claim != Claim::lost;
    });
    if (claim == Claim::won) {
      peer = last;
      peer->signal = Waiter::Signal::granted;
      wakeups.add(*peer->operation);
    }
    return claim;
  }

  // Rendezvous: gives the value to the first receiver that waits, if one does that no permit counts on.
  Claim hand_over(SendWaiter<T>& w, Operation* op, Wakeups& wakeups) {
    // A stored message (see I1) is older than ours, and its turn comes first; nobody waits for it (I2).
    items_.reserve(items_.size() + 1);
    RecvWaiter<T>* receiver = nullptr;
    const auto is_counted_on = [&](const RecvWaiter<T>&) { return !has_free_receiver(); };
    const Claim claim = claim_peer(receivers_waiting_, is_counted_on, receiver, op, wakeups);
    if (claim == Claim::won) {
      ++promised_;
      store(w);
    }
    return claim;
  }

  void store(SendWaiter<T>& w) {
    items_.reserve(items_.size() + w.count);
    for (std::size_t i = 0; i < w.count; ++i) items_.push_back(std::move(w.values[i]));
    total_sent_ += w.count;
    high_watermark_ = std::max(high_watermark_, items_.size());
  }

  Status recv_locked(const Registration& handle, RecvWaiter<T>& w, Operation* op, Wakeups& wakeups) {
    // A select that was claimed by another channel while it was on its way here waits for that one. From here to end() or
    // wait() `op` is busy: nobody else can claim it. Meanwhile we claim others only by claim_peer(), which knows how two
    // busy operations meet; match() comes before or after.
    if (op != nullptr && !op->lock()) return Status::pending;
    w.handle = handle.id;
    if (handle.closed || at_end(handle.id)) {
      w.why = handle.closed ? CloseKind::handle_closed : end_kind();
      return end(Status::closed, w, op);
    }
    if (unpromised() == 0) {
      const Claim claim = capacity_ == 0 ? take_offer(op, wakeups) : Claim::lost;
      if (claim == Claim::preempted) return Status::pending;
      if (claim == Claim::lost) {
        (void)wait(receivers_waiting_, w, handle, op);
        if (op != nullptr && capacity_ == 0) match(wakeups);  // a reservation waits for one who waits
        return Status::pending;
      }
    }
    if (w.takes_late && op != nullptr) {
      ++promised_;
      return grant_at_once(w, *op);
    }
    take(w);
    (void)end(Status::done, w, op);
    match(wakeups);
    return Status::done;
  }

  // Takes what the receive is for: one message, or those there are up to its limit, but none that is promised to others.
  void take(RecvWaiter<T>& w) {
    if (w.many == nullptr) {
      if (w.acknowledges) unsettled_.add(w.handle);  // may throw: before anything is changed
      w.value.emplace(next(w.receipt));
      if (w.acknowledges && w.receipt.order == 0) w.receipt.order = next_order_++;
      w.receipt.handle = w.handle;
    } else {
      const std::size_t taken = std::min(w.max_items, unpromised());
      w.many->reserve(taken);
      for (std::size_t i = 0; i < taken; ++i) w.many->push_back(next(w.receipt));
    }
    if (capacity_ == kUnbounded) items_.shrink_if_empty();
  }

  // What comes next: what came back, then the queue.
  [[nodiscard]] T next(Receipt& receipt) noexcept {
    if (returned_.ready() > 0) {
      auto [order, message] = returned_.pop_front();
      receipt.order = order;
      receipt.redeliveries = message.redeliveries;
      ++redelivered_;
      return std::move(message.value);
    }
    receipt = {};
    ++total_received_;
    return items_.pop_front();
  }

  // Rendezvous: the value of the first sender that waits, if one does, is there then. Not past a reservation: its sender came first,
  // and its value comes later.
  Claim take_offer(Operation* op, Wakeups& wakeups) {
    items_.reserve(items_.size() + 1);
    SendWaiter<T>* offer = nullptr;
    const auto reserves = [](const SendWaiter<T>& waiting) { return waiting.reserves; };
    const Claim claim = claim_peer(offers_, reserves, offer, op, wakeups);
    if (claim == Claim::won) store(*offer);
    return claim;
  }

  // Moves offers into free room, promises messages to waiting receivers, and lets those go for whom nothing can come.
  // Called after every change that could concern a waiter; mostly nobody waits.
  void match(Wakeups& wakeups) {
    if (!offers_.empty() || !receivers_waiting_.empty()) match_waiters(wakeups);
  }

  void match_waiters(Wakeups& wakeups) {
    if (capacity_ == 0) {
      promise(wakeups);  // a stored message is older than any offer
      meet(wakeups);
    } else {
      admit(wakeups);
      promise(wakeups);
    }
    if (is_over()) {
      receivers_waiting_.for_each([&](RecvWaiter<T>& w) {
        if (!at_end(w.handle)) return;
        receivers_waiting_.remove(w);
        w.why = end_kind();
        signal(w, Waiter::Signal::closed, wakeups);
      });
    }
  }

  // Offers go into the queue while there is room.
  void admit(Wakeups& wakeups) {
    while (!offers_.empty() && has_room(offers_.front().count)) {
      SendWaiter<T>& offer = offers_.front();
      if (offer.reserves) {
        grant_slot(offer, wakeups);
      } else {
        items_.reserve(items_.size() + offer.count);  // may throw: before anything is changed
        offers_.remove(offer);
        if (signal(offer, Waiter::Signal::granted, wakeups)) store(offer);
      }
    }
  }

  void grant_slot(SendWaiter<T>& offer, Wakeups& wakeups) {
    reserved_.make_room();  // may throw: before anything is changed
    offers_.remove(offer);
    if (signal(offer, Waiter::Signal::granted, wakeups)) reserved_.add(offer.handle);
  }

  // Rendezvous: offers and receivers who wait meet. They are here together because a permit counted on the receivers, or
  // because a receiver has come for a reservation; mostly there is nothing to do.
  void meet(Wakeups& wakeups) {
    offers_.for_each([&](SendWaiter<T>& offer) {
      if (!has_free_receiver()) return;
      if (offer.reserves) {
        grant_slot(offer, wakeups);
        return;
      }
      // In place of the offer's owner, who is not here: both sides are claimed as one, or neither.
      Operation& op = *offer.operation;
      const Claim claim = op.lock() ? hand_over(offer, &op, wakeups) : Claim::preempted;
      if (claim == Claim::lost) {
        op.unlock();
        return;
      }
      offers_.remove(offer);
      if (claim == Claim::won) {
        op.commit(offer.index);
        offer.signal = Waiter::Signal::granted;
        wakeups.add(op);
      }
    });
  }

  void promise(Wakeups& wakeups) noexcept {
    while (!receivers_waiting_.empty() && unpromised() > 0) {
      if (signal(receivers_waiting_.pop_front(), Waiter::Signal::granted, wakeups)) ++promised_;
    }
  }

  // One handle of `side` less.
  void leave(Side side, Stored& dropped, Wakeups& wakeups) noexcept {
    if (!Held<Exclusion>::leave(side, wakeups) || side == Side::sender) return;
    take_all(dropped);
    close_all(offers_, CloseKind::peer_gone, wakeups);
  }

  void wake_own_operations(Side side, std::uint64_t handle, Wakeups& wakeups) {
    if (side == Side::sender) {
      close_own(offers_, handle, wakeups);
    } else {
      close_own(receivers_waiting_, handle, wakeups);
    }
  }

  const std::size_t capacity_;  // 0: rendezvous; kUnbounded

  Ring<T> items_;
  Returned<T> returned_;
  std::size_t promised_ =
      0;              // of available(), how many belong to receivers that were woken and have not taken them yet
  Claims unsettled_;  // what receivers have taken, and not settled yet
  std::uint64_t next_order_ = 1;
  Claims reserved_;  // the slots that permits hold, those of woken reservations among them
  IntrusiveList<SendWaiter<T>> offers_;
  IntrusiveList<RecvWaiter<T>> receivers_waiting_;

  enum class Shutdown : std::uint8_t { none, draining, immediate };
  Shutdown shutdown_ = Shutdown::none;
  std::optional<std::string> shutdown_reason_;

  std::size_t high_watermark_ = 0;
  std::uint64_t total_sent_ = 0;
  std::uint64_t total_received_ = 0;
  std::uint64_t redelivered_ = 0;
};

}  // namespace klaw::channels::detail
