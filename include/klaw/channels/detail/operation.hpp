// A pending operation: what waits, and how exactly one waker gets it.
//
// Whoever must wait (a parked thread, a suspended coroutine, a Python awaitable) owns one Operation and links a Waiter of
// it into each channel it waits on: one channel for a send or a receive, several for a select. Its life:
//
//   owner:   start() on each channel links a Waiter ─> arm() ─> sleeps ─────────────────────> finish() or abandon()
//   waker:              under its channel's lock: try_claim(index) ─> after the lock: fire() ┘
//
// The claim decides, by one compare-and-swap, which channel (or which timeout) the operation belongs to: the losers of a
// select never hold anything. Firing is separate, because it must happen outside of every lock, and because the owner may
// still be busy linking when it is claimed: fire() before arm() means that arm() tells the owner not to sleep at all.
//
// Lifetime: from a successful claim by a waker until that waker's fire(), the Operation must live. Its owner guarantees
// that by leaving only (a) before anybody claimed it (cancel() succeeded), or (b) after it was fired.
#pragma once

#include <cassert>
#include <cstdint>
#include <functional>
#include <limits>
#include <utility>

#include <klaw/channels/detail/intrusive_list.hpp>
#include <klaw/channels/detail/sync.hpp>

namespace klaw::channels::detail {

// (The ListHook is its place in a RunQueue.)
class Operation : public ListHook {
 public:
  // Runs in the waker's thread after all locks were released, and before any woken code runs: it must only note that
  // the owner can go on (set an event, queue a resumption), and must run no user code.
  using Wake = void (*)(Operation&) noexcept;
  // Resumes the owner; called by RunQueue for operations that their Wake queued there.
  using Run = void (*)(Operation&) noexcept;

  explicit Operation(Wake wake, Run run = nullptr) noexcept : wake_(wake), run_(run) {}
  Operation(Operation&&) = delete;

  // --- for wakers, under the lock of the channel that claims ---

  // unclaimed -> claimed(index). False: it belongs to another channel already, or was cancelled.
  [[nodiscard]] bool try_claim(std::uint32_t index) noexcept {
    std::uint32_t seen = state_.load(std::memory_order_relaxed);
    for (;;) {
      if (seen >> kIndexShift != 0) return false;
      if ((seen & kBusy) != 0) {
        // It is looked at by another channel this very moment (see lock()); a few instructions, no system call.
        yield_thread();
        seen = state_.load(std::memory_order_relaxed);
        continue;
      }
      // acq_rel: acquire the owner's writes to its waiter (it released them by unlocking the channel, and by unlock());
      // release ours to a rival that reads the claim.
      if (state_.compare_exchange_weak(seen, seen | claim_bits(index), std::memory_order_acq_rel,
                                       std::memory_order_relaxed)) {
        return true;
      }
    }
  }

  // What came of a claim by one that holds another operation busy.
  enum class Claim : std::uint8_t {
    won,        // this operation is the caller's channel's, and `self` still busy
    lost,       // it belongs to another channel already, or was cancelled
    preempted,  // `self` was claimed by another channel meanwhile: it is no longer busy
  };

  // try_claim() for one that holds `self` busy: two operations meet, and each could be claimed by somebody else. Claims this
  // one only while `self` is busy, so that no third can come between; then `self` is the caller's to commit().
  //
  // Both may be busy, each at a channel where the other is linked. Then the one at the lower address keeps its busy bit and
  // waits for the other; the one at the higher address lets go of its own until the other has moved on. So who waits while
  // busy waits for a higher address, which can't go round in a circle; and who waits without being busy keeps nobody
  // waiting (not by its channel's lock either: whoever is busy has the only lock it needs).
  [[nodiscard]] Claim try_claim_from(Operation& self, std::uint32_t index) noexcept {
    std::uint32_t seen = state_.load(std::memory_order_relaxed);
    for (;;) {
      if (seen >> kIndexShift != 0) return Claim::lost;
      if ((seen & kBusy) == 0) {
        if (state_.compare_exchange_weak(seen, seen | claim_bits(index), std::memory_order_acq_rel,
                                         std::memory_order_relaxed)) {
          return Claim::won;
        }
        continue;
      }
      if (std::less<>{}(&self, this)) {
        yield_thread();
      } else {
        self.unlock();
        while ((state_.load(std::memory_order_relaxed) & kBusy) != 0) yield_thread();
        if (!self.lock()) return Claim::preempted;
      }
      seen = state_.load(std::memory_order_relaxed);
    }
  }

  // claimed -> claimed and fired; wakes the owner if it is asleep. After this call the waker must not touch it again.
  void fire() noexcept {
    const Wake wake = wake_;
    // release: what the waker did to the waiter (its signal, the moved value) happens before what the owner does after
    // arm() or its wake-up. acquire: `armed` says that the owner has finished setting itself up to be woken.
    if ((state_.fetch_or(kFired, std::memory_order_acq_rel) & kArmed) != 0) wake(*this);
  }

  // --- for the owner, under the lock of the channel that it looks at, or for that channel in its place ---

  // unclaimed -> busy: while a channel is examined for it, an operation that is linked into others already keeps them from
  // claiming it, so that a ready channel can be taken without a way back. False: another has claimed it, and will fire or
  // has fired.
  [[nodiscard]] bool lock() noexcept {
    std::uint32_t seen = state_.load(std::memory_order_relaxed);
    for (;;) {
      if (seen >> kIndexShift != 0) return false;
      if ((seen & kBusy) != 0) {
        yield_thread();
        seen = state_.load(std::memory_order_relaxed);
      } else if (state_.compare_exchange_weak(seen, seen | kBusy, std::memory_order_acq_rel,
                                              std::memory_order_relaxed)) {
        return true;
      }
    }
  }
  // busy -> unclaimed: nothing was ready, others may claim it.
  void unlock() noexcept { state_.fetch_and(~kBusy, std::memory_order_release); }
  // busy -> claimed(index). Nobody will fire it, but the channel that did this in its owner's place.
  void commit(std::uint32_t index) noexcept {
    // acq_rel: as in try_claim(). While it is busy only arm() writes beside us.
    state_.fetch_add(claim_bits(index) - kBusy, std::memory_order_acq_rel);
  }

  // --- for the owner ---

  // The owner is ready to be woken. False: it was fired already, don't sleep. After `true` the owner must assume that it
  // is being resumed in another thread this instant, and touch nothing.
  [[nodiscard]] bool arm() noexcept { return (state_.fetch_or(kArmed, std::memory_order_acq_rel) & kFired) == 0; }

  // fired, or claimed by the owner itself -> unclaimed: for another wait, after one that has brought nothing. Nobody else
  // knows the operation then: what was linked is unlinked, a timer removed.
  void renew() noexcept { state_.store(0, std::memory_order_relaxed); }

  // unclaimed -> cancelled. True: nobody will ever fire it (its waiters are still linked). False: somebody claimed it.
  [[nodiscard]] bool cancel() noexcept { return try_claim(kCancelled); }

  [[nodiscard]] bool is_fired() const noexcept { return (state_.load(std::memory_order_acquire) & kFired) != 0; }
  [[nodiscard]] std::uint32_t claimed_index() const noexcept {
    return (state_.load(std::memory_order_acquire) >> kIndexShift) - 1;
  }

  // claimed_index() of an operation that nobody has claimed yet.
  static constexpr std::uint32_t kUnclaimed = std::numeric_limits<std::uint32_t>::max();
  // The index under which an operation is cancelled or times out; select() takes fewer branches than this.
  static constexpr std::uint32_t kCancelled = (std::numeric_limits<std::uint32_t>::max() >> 3) - 1;

 protected:
  ~Operation() = default;

 private:
  friend class RunQueue;
  friend class Wakeups;

  // state_: | claimed index + 1, or 0 | busy | fired | armed |
  static constexpr std::uint32_t kArmed = 1;
  static constexpr std::uint32_t kFired = 2;
  static constexpr std::uint32_t kBusy = 4;
  static constexpr std::uint32_t kIndexShift = 3;
  static constexpr std::uint32_t claim_bits(std::uint32_t index) noexcept { return (index + 1) << kIndexShift; }

  Atomic<std::uint32_t> state_{0};
  Operation* next_claimed_;  // its waker's, from the claim to fire()
  const Wake wake_;
  const Run run_;
};

// Resumptions that are due in this thread. Woken code runs only here: never under a lock, and never nested, however long
// the chain of coroutines that wake each other, since what wakes while another runs is queued behind it.
class RunQueue {
 public:
  static RunQueue& of_this_thread() noexcept {
    thread_local RunQueue queue;
    return queue;
  }

  void push(Operation& op) noexcept { queue_.push_back(op); }
  // For an operation that is destroyed after it was queued (a coroutine destroyed by one that was resumed before it).
  void remove(Operation& op) noexcept { queue_.remove(op); }

  // Runs all that is queued, unless a caller further up this thread's stack is doing so.
  void drain() noexcept {
    if (draining_) return;
    draining_ = true;
    while (!queue_.empty()) {
      Operation& op = queue_.pop_front();
      op.run_(op);
    }
    draining_ = false;
  }

 private:
  IntrusiveList<Operation> queue_;
  bool draining_ = false;
};

// Claimed operations on their way out of a critical section. Fill it under the lock, fire() it after.
class [[nodiscard]] Wakeups {
 public:
  Wakeups() = default;
  Wakeups(Wakeups&& other) noexcept : first_(std::exchange(other.first_, nullptr)), last_(other.last_) {}
  Wakeups& operator=(Wakeups&&) = delete;
  ~Wakeups() { assert(first_ == nullptr); }

  void add(Operation& op) noexcept {
    op.next_claimed_ = nullptr;
    (first_ == nullptr ? first_ : last_->next_claimed_) = &op;
    last_ = &op;
  }

  void fire() noexcept {
    if (first_ != nullptr) fire_all();
  }

 private:
  // First every owner is told, then woken code runs: so that woken code can't destroy an owner that is still in the list.
  void fire_all() noexcept {
    do {
      Operation& op = *first_;
      first_ = op.next_claimed_;
      op.fire();
    } while (first_ != nullptr);
    RunQueue::of_this_thread().drain();
  }

  Operation* first_ = nullptr;
  Operation* last_ = nullptr;  // meaningless while first_ is null
};

// What an operation has come to.
enum class Status : std::uint8_t {
  done,       // it has happened
  pending,    // it can't happen now; if an Operation was given, a waiter of it is linked
  closed,     // it can never happen: the channel or the handle is closed
  too_large,  // it can never happen: a batch of more values than the channel has room for
  timed_out,  // it has not happened within its limit, and won't (remote channels, which keep time themselves)
};

// One operation's place in one channel's line. The channel's lock protects all of it while it is linked; once its
// operation was fired, or cancelled and the waiter unlinked, it is its owner's again.
struct Waiter : ListHook {
  enum class Signal : std::uint8_t { none, granted, closed, timed_out };

  Operation* operation = nullptr;
  std::uint32_t index = 0;   // which branch of a select
  std::uint64_t handle = 0;  // id of the handle it was started on, so that closing the handle finds it
  Signal signal = Signal::none;
  // Of a receive: also a message that is there is only granted to it, as to one that waited; it is taken by finish(), and
  // can be handed on until then.
  bool takes_late = false;
};

// Ends the look of `op`, which is busy, at a channel that has something for it: granted as if `w` had waited. (Its owner,
// who is our caller, finds it fired when it arms it.)
[[nodiscard]] inline Status grant_at_once(Waiter& w, Operation& op) noexcept {
  w.signal = Waiter::Signal::granted;
  op.commit(w.index);
  op.fire();
  return Status::pending;
}

}  // namespace klaw::channels::detail
