// How a thread without the GIL wakes awaitables (the I/O thread, or one of Python's that has released it while it works on a
// broker): it puts them into their event loop's queue and rings an eventfd that the loop watches, once for as many as come
// before the loop looks. The loop's own thread resumes them.
//
//   loop ──add_reader──> LoopQueue (a Python object, held by the loop alone) ──> WakeQueue <── awaitables that wait there
//
// So a loop that is closed lets go of its LoopQueue, and what still waits there is abandoned: it takes nothing, and what it
// was granted goes to the next in line.
#pragma once

#include <Python.h>

#include <memory>

#include <klaw/channels/detail/operation.hpp>
#include <klaw/channels/detail/sync.hpp>

namespace klaw::python {

class WakeQueue;

// The pending operation of an awaitable, which may be woken without the GIL if it has a queue.
class Wakeable : public channels::detail::Operation {
 public:
  // `queue`: null for one that is only woken under the GIL.
  Wakeable(Wake wake, Run run, std::shared_ptr<WakeQueue> queue) noexcept;
  Wakeable(Wakeable&&) = delete;
  virtual ~Wakeable();

  // Between arm() and leave(): closing the loop abandons it.
  void enter() noexcept;
  // Nobody wakes it any more, or is about to: a thread without the GIL, if it has claimed it, has let go of it when this
  // returns (a few instructions: it gets the GIL only after them). Under the GIL; idempotent.
  void leave() noexcept;

  // Under the GIL, in the loop's thread: the awaitable goes on.
  virtual void resume() noexcept = 0;
  // Under the GIL: its loop is closed.
  virtual void orphan() noexcept = 0;

 protected:
  // For its Wake: true if this thread has no GIL, and has put it into its queue.
  [[nodiscard]] bool enqueue_without_gil() noexcept;

 private:
  friend class WakeQueue;
  struct Seat : channels::detail::ListHook {
    Wakeable* owner = nullptr;
  };

  const std::shared_ptr<WakeQueue> queue_;
  Seat seat_;              // among those who wait in the queue's loop; under the GIL
  bool is_woken_ = false;  // under the GIL: by somebody who held it
  // release: it is the last touch of who has no GIL. acquire (leave()): so the owner may destroy it after that.
  channels::detail::Atomic<bool> is_enqueued_{false};
};

class WakeQueue {
 public:
  WakeQueue();
  WakeQueue(const WakeQueue&) = delete;
  ~WakeQueue();

  // The queue of `loop`, an asyncio event loop; made, and watched by it, at first use. Null with an exception set.
  [[nodiscard]] static std::shared_ptr<WakeQueue> of_loop(PyObject* loop) noexcept;

  [[nodiscard]] int descriptor() const noexcept { return descriptor_; }
  // In the loop's thread: resumes all that were woken.
  void drain() noexcept;
  // The loop is closed.
  void close() noexcept;

 private:
  friend class Wakeable;
  void push(Wakeable& woken) noexcept;

  const int descriptor_;  // an eventfd
  channels::detail::Mutex mutex_;
  channels::detail::IntrusiveList<channels::detail::Operation> woken_;  // under the mutex
  channels::detail::IntrusiveList<Wakeable::Seat> waiting_;             // under the GIL
};

// Makes the type. False with an exception set.
[[nodiscard]] bool add_wake_queue_type(PyObject* module) noexcept;

}  // namespace klaw::python
