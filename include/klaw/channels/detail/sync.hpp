// The one door to threads: the only header that includes <atomic>, <mutex>, <condition_variable> and <thread>, or that
// makes a futex call. All other code names what it needs from here, so that a sanitizer, a model checker or a seeded
// scheduler can take its place in one file.
#pragma once

#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <thread>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

namespace klaw::channels::detail {

template <class T>
using Atomic = std::atomic<T>;
using Mutex = std::mutex;
using Lock = std::unique_lock<Mutex>;
template <class AnyMutex>
using LockGuard = std::lock_guard<AnyMutex>;
using ConditionVariable = std::condition_variable;
using Thread = std::jthread;
using StopToken = std::stop_token;

using Clock = std::chrono::steady_clock;
// No value: no limit.
using Deadline = std::optional<Clock::time_point>;

// Now plus `limit`, without overflow: a limit too large for the clock is no limit; a negative one has passed.
template <class Rep, class Period>
[[nodiscard]] Deadline deadline_after(std::chrono::duration<Rep, Period> limit) {
  const auto now = Clock::now();
  if (!(limit > limit.zero())) return now;
  const std::chrono::duration<double> room = Clock::time_point::max() - now;
  if (std::chrono::duration<double>(limit) >= room) return std::nullopt;
  return now + std::chrono::ceil<Clock::duration>(limit);
}

inline void cpu_pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

inline void yield_thread() noexcept { std::this_thread::yield(); }

// The lock of a channel: for critical sections of some ten instructions, where the calls into the library and the checks of
// std::mutex cost more than what they protect. One word: free -> held -> free, and a futex for those who find it held for
// longer than they spin ("mutex 2" of Drepper, "Futexes Are Tricky", 2011). Not fair, not recursive.
//
// unlock() touches the object itself for the last time when it frees the word, as Event::set() does: the one who gets the
// lock next may destroy it.
class ShortMutex {
 public:
  ShortMutex() = default;
  ShortMutex(const ShortMutex&) = delete;
  ShortMutex& operator=(const ShortMutex&) = delete;

  void lock() noexcept {
    if (!try_lock()) lock_contended();
  }
  [[nodiscard]] bool try_lock() noexcept {
    std::uint32_t expected = kFree;
    // acquire: what its holders did before they freed it happens before what we do. relaxed on failure: nothing is read.
    return word_.compare_exchange_strong(expected, kHeld, std::memory_order_acquire, std::memory_order_relaxed);
  }
  void unlock() noexcept {
    std::uint32_t* const address = futex_address();
    // release: pairs with the acquire of the next holder.
    if (word_.exchange(kFree, std::memory_order_release) == kAwaited) {
      syscall(SYS_futex, address, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
    }
  }

 private:
  static constexpr std::uint32_t kFree = 0;
  static constexpr std::uint32_t kHeld = 1;
  static constexpr std::uint32_t kAwaited = 2;  // held, and somebody may sleep on it
  static constexpr int kSpins = 64;

  [[gnu::noinline]] void lock_contended() noexcept {
    for (int i = 0; i < kSpins; ++i) {
      // relaxed: try_lock() acquires.
      if (word_.load(std::memory_order_relaxed) == kFree && try_lock()) return;
      cpu_pause();
    }
    // free -> awaited: it is ours, and whoever else may sleep is woken by our unlock. held -> awaited: tells its holder.
    while (word_.exchange(kAwaited, std::memory_order_acquire) != kFree) {
      syscall(SYS_futex, futex_address(), FUTEX_WAIT_PRIVATE, kAwaited, nullptr, nullptr, 0);
    }
  }

  std::uint32_t* futex_address() noexcept { return reinterpret_cast<std::uint32_t*>(&word_); }

  Atomic<std::uint32_t> word_{kFree};
  static_assert(sizeof(Atomic<std::uint32_t>) == sizeof(std::uint32_t) && Atomic<std::uint32_t>::is_always_lock_free);
};

// A word that is set once, and that one thread sleeps on.
//
// The setter's store is its last access to the object itself: once the sleeper sees it, it may destroy the Event. The
// futex call after it only names the address; waking nobody, or a stranger's futex there, is harmless (every futex user
// must expect spurious wake-ups).
class Event {
 public:
  enum class Wait : std::uint8_t { set, timed_out, interrupted };

  void set() noexcept {
    std::uint32_t* const address = futex_address();
    // release: what the setter did happens before what the sleeper does next (paired with the acquire in is_set()).
    const std::uint32_t before = word_.exchange(kSet, std::memory_order_release);
    if (before == kSleeping) {
      syscall(SYS_futex, address, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
    }
  }

  [[nodiscard]] bool is_set() const noexcept { return word_.load(std::memory_order_acquire) == kSet; }

  // Sleeps until set() or the deadline, or until a signal was handled in this thread (`interrupted`).
  [[nodiscard]] Wait wait(const Deadline& deadline) noexcept {
    for (int i = 0; i < kSpins; ++i) {
      if (is_set()) return Wait::set;
      cpu_pause();
    }
    std::uint32_t expected = kUnset;
    // relaxed on success: only this thread's own intent is published; the value carries no data. On failure the word
    // is kSet, or kSleeping from an interrupted wait, and is read again below with acquire.
    word_.compare_exchange_strong(expected, kSleeping, std::memory_order_relaxed);
    while (!is_set()) {
      timespec until{};
      if (deadline) until = to_timespec(*deadline);
      const long rc = syscall(SYS_futex, futex_address(), FUTEX_WAIT_BITSET_PRIVATE, kSleeping,
                              deadline ? &until : nullptr, nullptr, FUTEX_BITSET_MATCH_ANY);
      if (rc == 0 || errno == EAGAIN) continue;
      if (is_set()) break;
      return errno == ETIMEDOUT ? Wait::timed_out : Wait::interrupted;
    }
    return Wait::set;
  }

 private:
  static constexpr std::uint32_t kUnset = 0;
  static constexpr std::uint32_t kSleeping = 1;
  static constexpr std::uint32_t kSet = 2;
  // About 2 us: worth it when the peer runs on another core, and small beside the 5 us of a futex call and switch.
  static constexpr int kSpins = 64;

  // The address of the word for the kernel. std::atomic<uint32_t> is lock-free and has the size of its value.
  std::uint32_t* futex_address() noexcept { return reinterpret_cast<std::uint32_t*>(&word_); }

  static timespec to_timespec(Clock::time_point when) noexcept {
    // steady_clock is CLOCK_MONOTONIC on Linux, which is what FUTEX_WAIT_BITSET measures absolute time by.
    const auto since = when.time_since_epoch();
    const auto seconds = std::chrono::floor<std::chrono::seconds>(since);
    if (seconds.count() < 0) return timespec{};
    return timespec{static_cast<time_t>(seconds.count()),
                    static_cast<long>(std::chrono::nanoseconds(since - seconds).count())};
  }

  // kUnset -> kSleeping (the sleeper) -> kSet (the setter), or kUnset -> kSet.
  Atomic<std::uint32_t> word_{kUnset};
  static_assert(sizeof(Atomic<std::uint32_t>) == sizeof(std::uint32_t) && Atomic<std::uint32_t>::is_always_lock_free);
};

}  // namespace klaw::channels::detail
