// One face for klaw and its rivals: a channel of 64-bit numbers with blocking ends.
//
// A contender is made with a capacity (`unbounded` for none). Each thread takes an end of its own: a producer's has
// push(number), a consumer's has pop(), which gives nullopt once the channel has ended and is drained. end(consumers) ends
// it, when all producers are done.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <stdexcept>
#include <utility>

#include <klaw/channels.hpp>
#include <tbb/concurrent_queue.h>

#include "local/mutex_deque.hpp"

namespace klaw_bench {

// Spelled as the names of the benchmarks have it.
inline constexpr std::size_t unbounded = std::numeric_limits<std::size_t>::max();

[[noreturn]] inline void ended_early() { throw std::logic_error("a channel ended while its benchmark ran"); }

class Klaw {
  using Tx = klaw::channels::LocalSender<std::uint64_t>;
  using Rx = klaw::channels::LocalReceiver<std::uint64_t>;

 public:
  explicit Klaw(std::size_t capacity)
      : ends_(capacity == unbounded ? klaw::channels::unbounded_channel<std::uint64_t>()
                                    : klaw::channels::channel<std::uint64_t>(capacity)) {}

  struct Producer {
    Tx tx;
    void push(std::uint64_t number) {
      if (!tx.blocking_send(number)) ended_early();
    }
  };
  struct Consumer {
    Rx rx;
    std::optional<std::uint64_t> pop() {
      const auto number = rx.blocking_recv();
      return number ? std::optional(*number) : std::nullopt;
    }
  };
  Producer producer() { return {ends_.tx.clone()}; }
  Consumer consumer() { return {ends_.rx.clone()}; }
  void end(std::size_t /*consumers*/) { ends_.tx.close(); }

 private:
  klaw::channels::LocalPair<std::uint64_t> ends_;
};

class Deque {
  using Queue = MutexDeque<std::uint64_t>;

 public:
  explicit Deque(std::size_t capacity) : queue_(capacity) { static_assert(unbounded == Queue::kNoLimit); }

  struct Producer {
    Queue& queue;
    void push(std::uint64_t number) {
      if (!queue.push(number)) ended_early();
    }
  };
  struct Consumer {
    Queue& queue;
    std::optional<std::uint64_t> pop() { return queue.pop(); }
  };
  Producer producer() { return {queue_}; }
  Consumer consumer() { return {queue_}; }
  void end(std::size_t /*consumers*/) { queue_.close(); }

 private:
  Queue queue_;
};

// oneTBB's bounded queue. It has no close: each consumer is sent a last number instead.
class Tbb {
  using Queue = tbb::concurrent_bounded_queue<std::uint64_t>;
  static constexpr std::uint64_t kLast = std::numeric_limits<std::uint64_t>::max();

 public:
  explicit Tbb(std::size_t capacity) {
    if (capacity != unbounded) queue_.set_capacity(static_cast<Queue::size_type>(capacity));
  }

  struct Producer {
    Queue& queue;
    void push(std::uint64_t number) { queue.push(number); }
  };
  struct Consumer {
    Queue& queue;
    std::optional<std::uint64_t> pop() {
      std::uint64_t number = 0;
      queue.pop(number);
      return number == kLast ? std::nullopt : std::optional(number);
    }
  };
  Producer producer() { return {queue_}; }
  Consumer consumer() { return {queue_}; }
  void end(std::size_t consumers) {
    for (std::size_t i = 0; i < consumers; ++i) queue_.push(kLast);
  }

 private:
  Queue queue_;
};

}  // namespace klaw_bench
