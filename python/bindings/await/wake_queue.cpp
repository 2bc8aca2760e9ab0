#include "await/wake_queue.hpp"

#include <cerrno>
#include <cstdint>
#include <new>
#include <system_error>
#include <unordered_map>
#include <utility>

#include <dataplane/io/io_thread.hpp>
#include <sys/eventfd.h>
#include <unistd.h>

#include "await/python.hpp"

namespace klaw::python {

using channels::detail::LockGuard;
using channels::detail::Mutex;
using channels::detail::Operation;

// --- Wakeable ---

Wakeable::Wakeable(Wake wake, Run run, std::shared_ptr<WakeQueue> queue) noexcept
    : Operation(wake, run), queue_(std::move(queue)) {
  seat_.owner = this;
}

Wakeable::~Wakeable() = default;

void Wakeable::enter() noexcept {
  if (queue_) queue_->waiting_.push_back(seat_);
}

bool Wakeable::enqueue_without_gil() noexcept {
  if (!dataplane::IoThread::is_current() && PyGILState_Check() != 0) {
    is_woken_ = true;
    return false;
  }
  // Once we are in the queue, our owner may leave, and let go of the queue.
  const std::shared_ptr<WakeQueue> queue = queue_;
  queue->push(*this);
  return true;
}

void Wakeable::leave() noexcept {
  if (!seat_.is_linked()) return;  // it has no queue, was never armed, or has left
  queue_->waiting_.remove(seat_);
  const bool is_claimed = claimed_index() != kUnclaimed && claimed_index() != kCancelled;
  if (!is_claimed) return;
  // Claimed by one that holds the GIL: then it was fired under it as well, before we got it.
  while (!is_woken_ && !is_enqueued_.load(std::memory_order_acquire)) channels::detail::yield_thread();
  if (is_woken_) return;
  const LockGuard<Mutex> guard(queue_->mutex_);
  if (is_linked()) queue_->woken_.remove(*this);
}

// --- WakeQueue ---

WakeQueue::WakeQueue() : descriptor_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  if (descriptor_ < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
}

WakeQueue::~WakeQueue() { ::close(descriptor_); }

void WakeQueue::push(Wakeable& woken) noexcept {
  bool is_first = false;
  {
    const LockGuard<Mutex> guard(mutex_);
    is_first = woken_.empty();
    woken_.push_back(woken);
    woken.is_enqueued_.store(true, std::memory_order_release);
  }
  constexpr std::uint64_t kOne = 1;
  if (is_first) std::ignore = ::write(descriptor_, &kOne, sizeof kOne);
}

void WakeQueue::drain() noexcept {
  std::uint64_t rung = 0;
  std::ignore = ::read(descriptor_, &rung, sizeof rung);
  for (;;) {
    Wakeable* next = nullptr;
    {
      const LockGuard<Mutex> guard(mutex_);
      if (woken_.empty()) return;
      next = &static_cast<Wakeable&>(woken_.pop_front());
    }
    next->resume();
  }
}

void WakeQueue::close() noexcept {
  while (!waiting_.empty()) {
    Wakeable& left = *waiting_.front().owner;
    std::ignore = left.cancel();
    left.leave();
    left.orphan();
  }
}

// --- LoopQueue ---

namespace {

struct LoopQueueObject {
  PyObject_HEAD PyObject* address;  // of its loop
  PyObject* loop;                   // a weak reference: the address may be another loop's by now
  std::shared_ptr<WakeQueue> queue;
  std::uint64_t fork_generation;
};

PyTypeObject* loop_queue_type = nullptr;
// The last LoopQueue of an event loop at each address, which takes itself out; under the GIL. No dictionary of Python's: its
// code would let in signal handlers, whose exceptions are no answer. Never destroyed, as its loops may not be.
std::unordered_map<PyObject*, LoopQueueObject*>& loop_queues = *new std::unordered_map<PyObject*, LoopQueueObject*>;

LoopQueueObject& cast_queue(PyObject* object) noexcept { return *reinterpret_cast<LoopQueueObject*>(object); }

PyObject* loop_queue_call(PyObject* object, PyObject* /*args*/, PyObject* /*kwargs*/) {
  const std::shared_ptr<WakeQueue> queue = cast_queue(object).queue;
  queue->drain();
  Py_RETURN_NONE;
}

void loop_queue_finalize(PyObject* object) {
  if (cast_queue(object).fork_generation != fork_generation) return;  // what waits there is the parent's
  const SavedError saved;
  cast_queue(object).queue->close();
}

void loop_queue_dealloc(PyObject* object) {
  if (PyObject_CallFinalizerFromDealloc(object) < 0) return;  // resurrected
  PyTypeObject* const type = Py_TYPE(object);
  const auto known = loop_queues.find(cast_queue(object).address);
  if (known != loop_queues.end() && known->second == &cast_queue(object)) loop_queues.erase(known);
  Py_CLEAR(cast_queue(object).loop);
  cast_queue(object).queue.~shared_ptr();
  type->tp_free(object);
  Py_DECREF(type);
}

PyType_Slot loop_queue_slots[] = {
    {Py_tp_finalize, reinterpret_cast<void*>(loop_queue_finalize)},
    {Py_tp_call, reinterpret_cast<void*>(loop_queue_call)},
    {Py_tp_dealloc, reinterpret_cast<void*>(loop_queue_dealloc)},
    {},
};

PyType_Spec loop_queue_spec = {
    .name = "klaw_core._core.LoopQueue",
    .basicsize = sizeof(LoopQueueObject),
    .itemsize = 0,
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = loop_queue_slots,
};

Ref make_loop_queue(PyObject* loop) noexcept {
  try {
    std::shared_ptr<WakeQueue> queue = std::make_shared<WakeQueue>();
    Ref made = Ref::steal(loop_queue_type->tp_alloc(loop_queue_type, 0));
    if (!made) return {};
    ::new (&cast_queue(made.get()).queue) std::shared_ptr<WakeQueue>(std::move(queue));
    cast_queue(made.get()).fork_generation = fork_generation;
    cast_queue(made.get()).address = loop;
    cast_queue(made.get()).loop = PyWeakref_NewRef(loop, nullptr);
    return cast_queue(made.get()).loop != nullptr ? std::move(made) : Ref();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_OSError, error.what());
    return {};
  }
}

bool refers_to(PyObject* weak, PyObject* object) noexcept {
#if PY_VERSION_HEX >= 0x030D0000
  PyObject* found = nullptr;
  (void)PyWeakref_GetRef(weak, &found);
  return Ref::steal(found).get() == object;
#else
  return PyWeakref_GetObject(weak) == object;
#endif
}

}  // namespace

std::shared_ptr<WakeQueue> WakeQueue::of_loop(PyObject* loop) noexcept {
  const auto known = loop_queues.find(loop);
  if (known != loop_queues.end() && refers_to(known->second->loop, loop)) return known->second->queue;
  const Ref made = make_loop_queue(loop);
  if (!made) return nullptr;
  loop_queues.insert_or_assign(loop, &cast_queue(made.get()));
  const std::shared_ptr<WakeQueue>& queue = cast_queue(made.get()).queue;
  const Ref added = Ref::steal(PyObject_CallMethod(loop, "add_reader", "iO", queue->descriptor(), made.get()));
  return added ? queue : nullptr;
}

bool add_wake_queue_type(PyObject* module) noexcept {
  loop_queue_type = reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &loop_queue_spec, nullptr));
  return loop_queue_type != nullptr;
}

}  // namespace klaw::python
