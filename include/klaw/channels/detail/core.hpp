// What every MPMC backend offers to the handles: channel state behind three verbs for each operation.
//
//   start(waiter, op)   do it now; else, if `op` is given, link the waiter to be woken when it can be done
//   finish(waiter)      after the operation was claimed by this channel and fired: complete it
//   abandon(waiter)     it was cancelled, lost a select, or its owner is gone: unlink, or hand on what it was granted
//
// The ways of waiting (thread_wait.hpp, coroutine_wait.hpp, Python's awaitable) know only these verbs, and a backend
// knows nothing of the ways of waiting.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <klaw/channels/detail/operation.hpp>
#include <klaw/channels/stats.hpp>
#include <klaw/errors.hpp>

namespace klaw::channels::detail {

inline constexpr std::size_t kUnbounded = std::numeric_limits<std::size_t>::max();

enum class Side : std::uint8_t { sender, receiver };
[[nodiscard]] constexpr Side other(Side side) noexcept { return side == Side::sender ? Side::receiver : Side::sender; }
[[nodiscard]] constexpr std::size_t index(Side side) noexcept { return static_cast<std::size_t>(side); }

// One handle's registration. The core's lock protects `closed`; the rest never changes while the handle lives.
struct Registration {
  std::uint64_t id = 0;
  bool closed = false;
};

// A send that waits is an offer: its values stay where they are until the core moves them into the queue (or, on a
// rendezvous, to a receiver), all `count` of them or none. So a woken sender has nothing left to do.
//
// A reservation is an offer without a value: what it waits for is the slot. Once it was granted that, the slot is its
// owner's, who ends it by send_reserved() or release_reserved(); abandon_send() of a granted one releases it.
template <class T>
struct SendWaiter : Waiter {
  T* values = nullptr;
  std::size_t count = 1;
  bool reserves = false;
  CloseKind why = CloseKind::ended;  // set with Status::closed
};

// Of a message that its receiver settles: what it is known by, until then.
struct Receipt {
  std::uint64_t handle = 0;        // of the receiver that took it
  std::uint64_t order = 0;         // in which messages were taken first
  std::uint32_t redeliveries = 0;  // how often it was handed out before
};

// A receive that waits is granted a message, which stays in the queue, in its order, until the woken receiver takes it.
// Cancelled after its wake-up, it hands the grant on: nothing is ever put back.
template <class T>
struct RecvWaiter : Waiter {
  std::size_t max_items = 1;
  std::optional<T> value = std::nullopt;  // filled by a receive of one (many == nullptr)
  std::vector<T>* many = nullptr;         // filled by a batch
  bool acknowledges = false;              // what it takes is not done with before its receiver settles it
  Receipt receipt;                        // filled with the value, if it acknowledges
  CloseKind why = CloseKind::ended;       // set with Status::closed
};

// Waits until the other side is gone.
struct ClosedWaiter : Waiter {
  CloseKind why = CloseKind::ended;
};

template <class T>
class MpmcCore {
 public:
  // Values are moved under a lock, and on behalf of senders that sleep: there is nobody to tell of a throwing move.
  static_assert(std::is_nothrow_move_constructible_v<T> && std::is_nothrow_destructible_v<T>,
                "klaw channels need a T whose move constructor and destructor are noexcept; "
                "send a std::unique_ptr<T> instead");

  MpmcCore() = default;
  MpmcCore(const MpmcCore&) = delete;
  MpmcCore& operator=(const MpmcCore&) = delete;
  virtual ~MpmcCore() = default;

  [[nodiscard]] virtual Status start_send(const Registration&, SendWaiter<T>&, Operation*) = 0;
  [[nodiscard]] virtual Status finish_send(SendWaiter<T>&) = 0;
  virtual void abandon_send(SendWaiter<T>&) noexcept = 0;

  // The slot that sender `handle` was granted: fills it, or gives it to the next in line. Until then the sender counts,
  // also when its handle has closed. `value` is untouched if nobody can receive it any more.
  virtual void send_reserved(std::uint64_t handle, T&& value) noexcept = 0;
  virtual void release_reserved(std::uint64_t handle) noexcept = 0;

  [[nodiscard]] virtual Status start_recv(const Registration&, RecvWaiter<T>&, Operation*) = 0;
  [[nodiscard]] virtual Status finish_recv(RecvWaiter<T>&) = 0;
  virtual void abandon_recv(RecvWaiter<T>&) noexcept = 0;

  // A message that was taken by a receive that acknowledges is done with.
  virtual void settle(const Receipt&) noexcept = 0;
  // It comes back, to be handed out again before what is newer, not before `due`: then somebody must call release_due().
  // `value` is untouched if nobody can receive it any more.
  virtual void give_back(const Receipt&, T&& value, Clock::time_point due) noexcept = 0;
  virtual void release_due(Clock::time_point now) noexcept = 0;

  [[nodiscard]] virtual Status start_closed(Side, const Registration&, ClosedWaiter&, Operation*) = 0;
  [[nodiscard]] virtual Status finish_closed(Side, ClosedWaiter&) = 0;
  virtual void abandon_closed(Side, ClosedWaiter&) noexcept = 0;

  // Registers one more handle. It counts when this returns. `from`: the handle that is cloned; of a closed one comes a
  // closed one.
  [[nodiscard]] virtual Registration clone_handle(Side, const Registration& from) = 0;
  // Idempotent. Wakes the handle's own pending operations, and the other side if this was the last of its side.
  virtual void close_handle(Side, Registration&, std::optional<std::string> reason) noexcept = 0;
  // One more handle of a side that is still open; of one that has closed a closed one.
  [[nodiscard]] virtual Registration upgrade_handle(Side) = 0;
  // No more sends, from anywhere; receivers drain what is stored and what permits still send, or `immediate`: it is
  // dropped. Wakes whoever waits to send or for a close. Idempotent; the first reason is kept. False: `handle` is closed.
  [[nodiscard]] virtual bool shut_down(const Registration& handle, bool immediate,
                                       std::optional<std::string> reason) = 0;
  // Would the next operation on this handle give ChannelClosed?
  [[nodiscard]] virtual bool is_closed(Side, const Registration&) const = 0;
  // The error value for an operation of `side` that came to Status::closed for `why`.
  [[nodiscard]] virtual ChannelClosed closed_error(Side, CloseKind why) const = 0;

  [[nodiscard]] virtual std::size_t capacity() const noexcept = 0;  // or kUnbounded
  [[nodiscard]] virtual std::size_t queue_size() const = 0;
  [[nodiscard]] virtual ChannelStats stats() const = 0;
};

}  // namespace klaw::channels::detail
