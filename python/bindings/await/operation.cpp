#include "await/operation.hpp"

#include <array>
#include <cassert>
#include <memory>
#include <unordered_map>

#include "await/wake_queue.hpp"

namespace klaw::python {

namespace {

using channels::detail::Clock;
using channels::detail::RunQueue;

// Fairness: a thread's tasks may do ready operations in a row for kReadySlice; then one of them gives way to the event
// loop. The clock is looked at every kReadyBudget operations: a look costs 25 ns, a turn of the loop some microseconds, a
// ready operation 0.1 us.
constexpr int kReadyBudget = 128;
constexpr auto kReadySlice = std::chrono::microseconds(250);

struct Fairness {
  int budget = kReadyBudget;
  Clock::time_point slice_began{};

  // The loop has its turn now: begins a new slice.
  void restart() noexcept {
    budget = kReadyBudget;
    slice_began = {};
  }
  // Counts one operation; true if it should give way first.
  bool is_spent() noexcept {
    if (--budget >= 0) [[likely]]
      return false;
    budget = kReadyBudget;
    const auto now = Clock::now();
    if (slice_began == Clock::time_point{}) slice_began = now;
    if (now - slice_began < kReadySlice) return false;
    restart();
    return true;
  }
};
// initial-exec: a few bytes of static TLS spare each operation a call.
[[gnu::tls_model("initial-exec")]] thread_local Fairness fairness;

enum class Phase : std::uint8_t {
  created,   // nothing has happened yet
  yielded,   // has given way once; nothing has happened yet
  waiting,   // linked in a channel, a future was yielded
  running,   // its op is being started or finished, which may run Python code: it must not be touched
  orphaned,  // was woken, but its event loop is closed: its grant was handed on
  done,
};

struct OperationObject;

// The pending operation of a suspended awaitable; lives in the awaitable, which it keeps alive from wake to run.
class LoopOperation final : public Wakeable {
 public:
  LoopOperation(OperationObject& owner, std::shared_ptr<WakeQueue> queue) noexcept
      : Wakeable(&LoopOperation::wake, &LoopOperation::run, std::move(queue)), owner_(&owner) {}

  void resume() noexcept override;
  void orphan() noexcept override;

 private:
  static void wake(Operation& self) noexcept;
  static void run(Operation& self) noexcept;
  OperationObject* owner_;
};

struct OperationObject {
  PyObject_HEAD PendingOp* op;  // in storage; null once done
  Phase phase;
  bool is_finalized;
  bool is_resumed;                       // while waiting: we have completed the future
  bool is_late;                          // the time has run out after it was woken, before it went on
  std::optional<LoopOperation> waiting;  // while phase is waiting
  std::uint64_t fork_generation;
  PyObject* loop;    // while waiting: where to resume
  PyObject* future;  // while waiting: what the task waits for
  PyObject* timer;   // while waiting with a time limit
  alignas(std::max_align_t) std::byte storage[detail::kOpSize];
};

PyTypeObject* operation_type = nullptr;
Py_ssize_t live_count = 0;

// Freed objects kept for the next operation: allocation would be a third of a ready one's cost. Under the GIL.
constexpr std::size_t kFreeListMax = 128;
std::array<OperationObject*, kFreeListMax> free_list;
std::size_t free_list_size = 0;

OperationObject* cast(PyObject* object) noexcept { return reinterpret_cast<OperationObject*>(object); }
PyObject* cast(OperationObject* object) noexcept { return reinterpret_cast<PyObject*>(object); }

// In a forked child the core may be locked for ever by a thread that does not exist there.
bool is_foreign(const OperationObject& self) noexcept { return self.fork_generation != fork_generation; }

// --- resuming a task ---

// `object.method(argument)`, from frames through which nothing may unwind. Null with an exception set.
Ref call(const Ref& object, PyObject* method, PyObject* argument = nullptr) noexcept {
  PyObject* const arguments[] = {object.get(), argument};
  const std::size_t count = argument != nullptr ? 2 : 1;
  return Ref::steal(outlive_exit([&] { return PyObject_VectorcallMethod(method, arguments, count, nullptr); }));
}

// Completes the future that the task waits for. Must run in the loop's thread. False with an exception set.
bool complete_future(OperationObject& self) noexcept {
  if (self.future == nullptr) return true;
  self.is_resumed = true;
  const Ref future = Ref::borrow(self.future);
  const Ref is_done = call(future, Names::get().done);
  if (!is_done) return false;
  if (is_done.get() == Py_True) return true;  // the task was cancelled meanwhile: it is on its way, and will hand on
  return static_cast<bool>(call(future, Names::get().set_result, Py_None));
}

// The op of an operation that is over. Taken out before anything is done with it that may run Python's code: whoever closes
// the operation meanwhile, in another thread or in that code, finds nothing that is left to do.
struct DestroyOp {
  bool leaks = false;  // with what it refers to: see is_foreign()
  void operator()(PendingOp* op) const noexcept {
    if (!leaks) op->~PendingOp();
  }
};
using OwnedOp = std::unique_ptr<PendingOp, DestroyOp>;

// Null if it was taken before.
OwnedOp take_op(OperationObject& self) noexcept {
  return {std::exchange(self.op, nullptr), DestroyOp{.leaks = is_foreign(self)}};
}

// Its loop is closed, so it will never take what it was granted: the next in line gets it.
void orphan(OperationObject& self) noexcept {
  if (self.phase != Phase::waiting) return;
  self.phase = Phase::orphaned;
  const OwnedOp op = take_op(self);
  op->abandon();
  op->release();
}

// The awaitables of one event loop that other threads have woken. They are resumed together, by one call into the loop.
// Only the loop holds it, as a callback that is due: if the loop is closed first, it goes, and orphans what is in it.
struct LoopInboxObject {
  PyObject_HEAD PyObject* loop;  // its address
  PyObject* woken;               // list of OperationObject; null once it was taken
};

PyTypeObject* inbox_type = nullptr;
// The inbox of each event loop that has one due, which takes itself out; under the GIL. No dictionary of Python's: its code
// would let in other threads and signal handlers. Never destroyed: threads may wake others until the process ends.
std::unordered_map<PyObject*, LoopInboxObject*>& due_inboxes = *new std::unordered_map<PyObject*, LoopInboxObject*>;

LoopInboxObject& cast_inbox(PyObject* object) noexcept { return *reinterpret_cast<LoopInboxObject*>(object); }

// What is in it. A thread that wakes an awaitable from here on finds no inbox that is due, and sends the next one.
Ref take_woken(LoopInboxObject& inbox) noexcept {
  const auto due = due_inboxes.find(inbox.loop);
  if (due != due_inboxes.end() && due->second == &inbox) due_inboxes.erase(due);
  return Ref::steal(std::exchange(inbox.woken, nullptr));
}

PyObject* inbox_call(PyObject* object, PyObject* /*args*/, PyObject* /*kwargs*/) {
  const Ref woken = take_woken(cast_inbox(object));
  for (Py_ssize_t i = 0; woken && i < PyList_GET_SIZE(woken.get()); ++i) {
    PyObject* const item = PyList_GET_ITEM(woken.get(), i);
    if (!complete_future(*cast(item))) PyErr_WriteUnraisable(item);
  }
  Py_RETURN_NONE;
}

int inbox_traverse(PyObject* object, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(object));
  Py_VISIT(cast_inbox(object).woken);
  return 0;
}

int inbox_clear(PyObject* object) {
  take_woken(cast_inbox(object));
  return 0;
}

void inbox_finalize(PyObject* object) {
  const SavedError saved;
  const Ref woken = take_woken(cast_inbox(object));
  for (Py_ssize_t i = 0; woken && i < PyList_GET_SIZE(woken.get()); ++i) orphan(*cast(PyList_GET_ITEM(woken.get(), i)));
}

void inbox_dealloc(PyObject* object) {
  if (PyObject_CallFinalizerFromDealloc(object) < 0) return;  // resurrected
  PyTypeObject* const type = Py_TYPE(object);
  PyObject_GC_UnTrack(object);
  inbox_clear(object);
  type->tp_free(object);
  Py_DECREF(type);
}

// Has the loop call the inbox. A loop that is closed refuses: then the inbox goes with the last reference to it. Any other
// exception is no answer of the loop's but a signal handler's, or of whoever interrupts this thread: the loop is asked again
// (a second call of an inbox does nothing), and the exception comes later.
void call_soon(const Ref& loop, const Ref& inbox) noexcept {
  constexpr int kAttempts = 3;
  Ref interruption;
  for (int i = 0; i < kAttempts && !call(loop, Names::get().call_soon_threadsafe, inbox.get()); ++i) {
    const bool is_refused = PyErr_ExceptionMatches(PyExc_RuntimeError) != 0;
    Ref error = fetch_exception();
    if (is_refused) break;
    interruption = std::move(error);
  }
  if (interruption) postpone(interruption);
}

// Resumes it together with what is on its way to the same loop already, or orphans it if the loop is closed. False with an
// exception set: neither could be done. Other threads may run meanwhile: the task may be cancelled, and the operation over,
// when it returns; then it is resumed for nothing.
bool resume_from_other_thread(OperationObject& self, const Ref& loop) noexcept {
  if (const auto due = due_inboxes.find(loop.get()); due != due_inboxes.end()) {
    return PyList_Append(due->second->woken, cast(&self)) == 0;
  }
  const Ref inbox = Ref::steal(inbox_type->tp_alloc(inbox_type, 0));
  if (!inbox) return false;
  LoopInboxObject& made = cast_inbox(inbox.get());
  made.loop = loop.get();
  made.woken = PyList_New(0);
  if (made.woken == nullptr || PyList_Append(made.woken, cast(&self)) < 0) return false;
  due_inboxes.insert_or_assign(loop.get(), &made);
  call_soon(loop, inbox);
  return true;
}

// In the loop's own thread the task is resumed directly; from elsewhere, or when the loop does not run, through its inbox.
bool resume(OperationObject& self, const Ref& loop) noexcept {
  const Classes* const classes = Classes::get();
  const Ref running = Ref::steal(classes != nullptr ? PyObject_CallNoArgs(classes->get_running_loop) : nullptr);
  if (!running) return false;
  return running.get() == loop.get() ? complete_future(self) : resume_from_other_thread(self, loop);
}

void LoopOperation::wake(Operation& self) noexcept {
  if (static_cast<LoopOperation&>(self).enqueue_without_gil()) return;
  Py_INCREF(cast(static_cast<LoopOperation&>(self).owner_));
  RunQueue::of_this_thread().push(self);
}

void LoopOperation::run(Operation& self) noexcept {
  OperationObject* const owner = static_cast<LoopOperation&>(self).owner_;
  const Ref keep = Ref::steal(cast(owner));  // taken in wake()
  const SavedError saved;
  if (owner->phase != Phase::waiting) {
    owner->waiting.reset();  // it was cancelled after we had been queued
    return;
  }
  const Ref loop = Ref::borrow(owner->loop);  // which the operation lets go of when it is over
  owner->op->release();  // from here on it belongs to its task only: if that goes, what it was granted goes to the next
  if (!klaw::python::resume(*owner, loop)) {
    const Ref error = fetch_exception();
    klaw::python::orphan(*owner);
    postpone(error);
  }
}

// Out of the queue of its loop, in the loop's thread.
void LoopOperation::resume() noexcept {
  const Ref keep = Ref::borrow(cast(owner_));
  owner_->op->release();
  if (!complete_future(*owner_)) PyErr_WriteUnraisable(keep.get());
}

void LoopOperation::orphan() noexcept {
  const Ref keep = Ref::borrow(cast(owner_));
  klaw::python::orphan(*owner_);
}

// --- phases ---

[[gnu::noinline]] void drop_wait(OperationObject& self) noexcept {
  if (PyObject* const timer = std::exchange(self.timer, nullptr)) {
    const SavedError saved;
    const Ref owned = Ref::steal(timer);
    if (!call(owned, Names::get().cancel)) PyErr_WriteUnraisable(timer);
  }
  if (self.waiting && !is_foreign(self)) {
    self.waiting->leave();
    // In a RunQueue it is still referred to, as we are by it: run() will end it. (All under the GIL, so this can't change.)
    if (!self.waiting->is_linked()) self.waiting.reset();
  }
  Py_CLEAR(self.future);
  Py_CLEAR(self.loop);
}

// To phase done, without an outcome: what was waiting is cancelled.
void abandon(OperationObject& self) noexcept {
  const Phase before = std::exchange(self.phase, Phase::done);
  const OwnedOp op = take_op(self);
  if (before == Phase::waiting && !is_foreign(self)) {
    // Claimed already? Then it was fired too: under the GIL, which we hold, or by the I/O thread, which leave() waits for.
    (void)self.waiting->cancel();
    self.waiting->leave();
    op->abandon();
  }
  if (op) op->release();
  drop_wait(self);
}

// To phase done with the outcome of `status`.
PySendResult complete(OperationObject& self, Status status, PyObject** result) {
  const bool has_waited = std::exchange(self.phase, Phase::done) == Phase::waiting || self.loop != nullptr;
  const OwnedOp op = take_op(self);
  if (has_waited) {
    op->release();
    drop_wait(self);
  }
  *result = op->outcome(status);
  return *result != nullptr ? PYGEN_RETURN : PYGEN_ERROR;
}

PySendResult yield_future(OperationObject& self, PyObject** result) {
  self.is_resumed = false;
  if (PyObject_SetAttr(self.future, Names::get().future_blocking, Py_True) < 0) return PYGEN_ERROR;
  *result = Py_NewRef(self.future);
  return PYGEN_NEXT;
}

bool prepare_loop(OperationObject& self) {
  const Classes* const classes = Classes::get();
  if (classes == nullptr) return false;
  self.loop = PyObject_CallNoArgs(classes->get_running_loop);
  if (self.loop == nullptr) return false;
  if (self.loop == Py_None) {
    PyErr_Format(
        PyExc_RuntimeError,
        "%s() has to wait, but no asyncio event loop runs here: klaw channels wait on asyncio (also with uvloop, "
        "and anyio on asyncio), not on trio; in a thread without a loop use the blocking_ twin",
        self.op->name().c_str());
    return false;
  }
  self.future = PyObject_CallMethodNoArgs(self.loop, Names::get().create_future);
  return self.future != nullptr;
}

PyObject* operation_on_timeout(PyObject* object, PyObject* /*unused*/);
PyMethodDef on_timeout_def = {"_on_timeout", operation_on_timeout, METH_NOARGS, nullptr};

bool start_timer(OperationObject& self) {
  const Ref callback = Ref::steal(PyCFunction_New(&on_timeout_def, cast(&self)));
  const Ref delay = Ref::steal(PyFloat_FromDouble(self.op->patience().seconds()));
  if (!callback || !delay) return false;
  PyObject* const arguments[] = {self.loop, delay.get(), callback.get()};
  self.timer =
      PyObject_VectorcallMethod(Names::get().call_later, arguments, 3 | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr);
  return self.timer != nullptr;
}

// False with an exception set.
bool queue_if_remote(const OperationObject& self, std::shared_ptr<WakeQueue>& queue) {
  if (self.op->is_remote()) queue = WakeQueue::of_loop(self.loop);
  return !self.op->is_remote() || queue != nullptr;
}

PySendResult wait_again(OperationObject& self, PyObject** result);

// It was woken.
PySendResult finish(OperationObject& self, PyObject** result) {
  const Status status = self.op->finish();
  return status != Status::pending ? complete(self, status, result) : wait_again(self, result);
}

// Links it, and yields its future, a fresh one.
PySendResult wait(OperationObject& self, std::shared_ptr<WakeQueue> queue, PyObject** result) {
  self.waiting.emplace(self, std::move(queue));
  const Status status = self.op->start(&*self.waiting);
  if (status != Status::pending) return complete(self, status, result);
  // One that needs no GIL may have fired it already.
  if (!self.waiting->arm()) return finish(self, result);
  self.phase = Phase::waiting;
  self.waiting->enter();
  if (yield_future(self, result) == PYGEN_ERROR) {
    const SavedError saved;
    abandon(self);
    return PYGEN_ERROR;
  }
  self.op->hold(cast(&self));
  return PYGEN_NEXT;
}

// It was woken by what it does not wait for.
[[gnu::noinline]] PySendResult wait_again(OperationObject& self, PyObject** result) {
  if (self.is_late) return complete(self, Status::pending, result);
  self.waiting->leave();
  Py_SETREF(self.future, PyObject_CallMethodNoArgs(self.loop, Names::get().create_future));
  std::shared_ptr<WakeQueue> queue;
  if (self.future != nullptr && queue_if_remote(self, queue)) return wait(self, std::move(queue), result);
  const SavedError saved;
  abandon(self);
  return PYGEN_ERROR;
}

// Apart from the ready path, which it would burden with its frame.
[[gnu::noinline]] PySendResult suspend(OperationObject& self, PyObject** result) {
  fairness.restart();
  if (!prepare_loop(self)) {
    abandon(self);
    return PYGEN_ERROR;
  }
  std::shared_ptr<WakeQueue> queue;
  if (!queue_if_remote(self, queue)) {
    const SavedError saved;
    abandon(self);
    return PYGEN_ERROR;
  }
  const bool needs_timer = self.op->patience().is_limited() && !self.op->keeps_time();
  self.is_late = false;
  if (needs_timer && !start_timer(self)) {
    const SavedError saved;
    abandon(self);
    return PYGEN_ERROR;
  }
  return wait(self, std::move(queue), result);
}

// The time has run out, in the loop's thread: nobody else may have the operation from here on.
PyObject* operation_on_timeout(PyObject* object, PyObject* /*unused*/) {
  OperationObject& self = *cast(object);
  if (self.phase != Phase::waiting || !self.waiting->cancel()) {
    self.is_late = true;
    Py_RETURN_NONE;
  }
  self.op->release();
  if (!complete_future(self)) return nullptr;
  Py_RETURN_NONE;
}

// Whoever resumes a waiting operation that we have not resumed awaits it as well, unless somebody else has completed its
// future. False with an exception set, which is the intruder's.
bool may_resume(OperationObject& self) noexcept {
  if (self.is_resumed) [[likely]]
    return true;
  const Ref is_done = Ref::steal(PyObject_CallMethodNoArgs(self.future, Names::get().done));
  if (is_done && is_done.get() != Py_True) {
    PyErr_SetString(PyExc_RuntimeError, "coroutine is being awaited already");  // in Python's own words
  }
  return is_done.get() == Py_True;
}

[[gnu::noinline]] PySendResult resume_waiting(OperationObject& self, PyObject** result) {
  if (!may_resume(self)) return PYGEN_ERROR;
  if (self.waiting->claimed_index() == Operation::kCancelled) {
    self.phase = Phase::running;
    self.op->abandon();
    return complete(self, Status::pending, result);
  }
  // (A local one that is still in a RunQueue will be resumed by that.)
  if (self.waiting->is_fired() && (self.op->is_remote() || !self.waiting->is_linked())) {
    self.phase = Phase::running;
    return finish(self, result);
  }
  // Resumed by somebody else's hand: wait on, for a fresh future if the old one is spent.
  Py_SETREF(self.future, PyObject_CallMethodNoArgs(self.loop, Names::get().create_future));
  if (self.future == nullptr || yield_future(self, result) == PYGEN_ERROR) {
    const SavedError saved;
    abandon(self);
    return PYGEN_ERROR;
  }
  return PYGEN_NEXT;
}

PySendResult attempt(OperationObject& self, PyObject** result) {
  self.phase = Phase::running;
  const Status status = self.op->start(nullptr);
  const bool waits = self.op->patience().waits() || self.op->keeps_time();
  if (status != Status::pending || !waits) return complete(self, status, result);
  return suspend(self, result);
}

void raise_running() { PyErr_SetString(PyExc_ValueError, "coroutine already executing"); }  // in Python's own words

PySendResult operation_send_impl(PyObject* object, PyObject* value, PyObject** result) {
  OperationObject& self = *cast(object);
  *result = nullptr;
  switch (self.phase) {
    case Phase::created:
      if (value != Py_None) {
        PyErr_SetString(PyExc_TypeError, "can't send non-None value to a just-started coroutine");
        return PYGEN_ERROR;
      }
      if (is_foreign(self)) break;
      if (fairness.is_spent()) {
        // Before anything is taken: cancelled here, nothing has happened.
        self.phase = Phase::yielded;
        *result = Py_NewRef(Py_None);
        return PYGEN_NEXT;
      }
      return attempt(self, result);
    case Phase::yielded: return attempt(self, result);
    case Phase::waiting: return resume_waiting(self, result);
    case Phase::running: raise_running(); return PYGEN_ERROR;
    case Phase::orphaned:
      abandon(self);
      PyErr_SetString(PyExc_RuntimeError, "the event loop that this operation waited in was closed");
      return PYGEN_ERROR;
    case Phase::done: PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited coroutine"); return PYGEN_ERROR;
  }
  PyErr_SetString(PyExc_RuntimeError, "this operation was made before a fork, in the parent process");
  return PYGEN_ERROR;
}

// --- the type ---

void raise_stop_iteration(PyObject* value) {
  // As the return value of a generator: also a tuple or an exception is one value.
  const Ref stop = Ref::steal(PyObject_CallOneArg(PyExc_StopIteration, value));
  if (stop) PyErr_SetObject(PyExc_StopIteration, stop.get());
}

PyObject* operation_send(PyObject* object, PyObject* value) {
  PyObject* result = nullptr;
  if (operation_send_impl(object, value, &result) != PYGEN_RETURN) return result;
  raise_stop_iteration(Ref::steal(result).get());
  return nullptr;
}

PyObject* operation_iternext(PyObject* object) { return operation_send(object, Py_None); }

PyObject* operation_throw(PyObject* object, PyObject* const* args, Py_ssize_t nargs) {
  if (nargs < 1 || nargs > 3) {
    PyErr_SetString(PyExc_TypeError, "throw() takes 1 to 3 arguments: an exception, or its type, value and traceback");
    return nullptr;
  }
  Ref type = Ref::borrow(args[0]);
  Ref value = Ref::borrow(nargs > 1 && args[1] != Py_None ? args[1] : nullptr);
  Ref traceback = Ref::borrow(nargs > 2 && args[2] != Py_None ? args[2] : nullptr);
  if (PyExceptionInstance_Check(type.get())) {
    value = std::move(type);
    type = Ref::borrow(PyExceptionInstance_Class(value.get()));
    if (!traceback) traceback = Ref::steal(PyException_GetTraceback(value.get()));
  } else if (!PyExceptionClass_Check(type.get())) {
    PyErr_Format(PyExc_TypeError, "exceptions must be classes or instances deriving from BaseException, not %.200s",
                 Py_TYPE(type.get())->tp_name);
    return nullptr;
  }
  if (traceback && PyTraceBack_Check(traceback.get()) == 0) {
    PyErr_SetString(PyExc_TypeError, "throw() third argument must be a traceback object");
    return nullptr;
  }
  if (cast(object)->phase == Phase::done) {
    PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited coroutine");
    return nullptr;
  }
  if (cast(object)->phase == Phase::running) {
    raise_running();
    return nullptr;
  }
  abandon(*cast(object));
  PyErr_Restore(type.release(), value.release(), traceback.release());
  return nullptr;
}

PyObject* operation_close(PyObject* object, PyObject* /*unused*/) {
  if (cast(object)->phase == Phase::running) {
    raise_running();
    return nullptr;
  }
  abandon(*cast(object));
  Py_RETURN_NONE;
}

PyObject* operation_repr(PyObject* object) {
  const OperationObject& self = *cast(object);
  static constexpr const char* kPhases[] = {"not awaited yet", "yielded", "waiting", "running", "orphaned", "done"};
  return PyUnicode_FromFormat("<Operation %s, %s>", self.op != nullptr ? self.op->name().c_str() : "(over)",
                              kPhases[static_cast<std::size_t>(self.phase)]);
}

PyObject* operation_get_name(PyObject* object, void* /*closure*/) {
  const PendingOp* const op = cast(object)->op;
  return PyUnicode_FromString(op != nullptr ? op->name().c_str() : "Operation");
}

int operation_traverse(PyObject* object, visitproc visit, void* arg) {
  const OperationObject& self = *cast(object);
  Py_VISIT(Py_TYPE(object));
  Py_VISIT(self.loop);
  Py_VISIT(self.future);
  Py_VISIT(self.timer);
  return self.op != nullptr ? self.op->traverse(visit, arg) : 0;
}

int operation_clear(PyObject* object) {
  abandon(*cast(object));
  return 0;
}

// Before it is collected: warns if it was never awaited.
void operation_finalize(PyObject* object) {
  OperationObject& self = *cast(object);
  self.is_finalized = true;
  if (self.phase != Phase::created || !self.op->must_be_awaited()) return;
  const SavedError saved;
  if (PyErr_WarnFormat(PyExc_RuntimeWarning, 1, "coroutine '%s' was never awaited", self.op->name().c_str()) < 0) {
    PyErr_WriteUnraisable(object);
  }
}

void operation_dealloc(PyObject* object) {
  OperationObject& self = *cast(object);
  if (self.phase == Phase::created && PyObject_CallFinalizerFromDealloc(object) < 0) return;  // resurrected
  PyObject_GC_UnTrack(object);
  if (self.phase != Phase::done) abandon(self);
  --live_count;
  if (is_foreign(self)) return;  // leaked: its LoopOperation may be linked in a channel of the parent's
  // An object that was finalised is not used again: the collector has marked it, and would not finalise it again.
  if (free_list_size < kFreeListMax && !self.is_finalized) {
    free_list[free_list_size++] = &self;
    return;
  }
  self.waiting.~optional();
  PyTypeObject* const type = Py_TYPE(object);
  type->tp_free(object);
  Py_DECREF(type);
}

// What `operation.__await__()` gives, for `yield from`. The operation is no iterable itself, so that a forgotten await, as
// in `for value in rx.recv_batch(8)`, is a TypeError; and `await` itself does without this.
struct AwaitIteratorObject {
  PyObject_HEAD PyObject* operation;
};

PyTypeObject* await_iterator_type = nullptr;

PyObject* awaited(PyObject* object) noexcept { return reinterpret_cast<AwaitIteratorObject*>(object)->operation; }

PyObject* operation_await(PyObject* object, PyObject* /*unused*/) {
  PyObject* const iterator = await_iterator_type->tp_alloc(await_iterator_type, 0);
  if (iterator != nullptr) reinterpret_cast<AwaitIteratorObject*>(iterator)->operation = Py_NewRef(object);
  return iterator;
}

PyObject* await_iterator_next(PyObject* object) { return operation_send(awaited(object), Py_None); }
PyObject* await_iterator_send(PyObject* object, PyObject* value) { return operation_send(awaited(object), value); }
PyObject* await_iterator_throw(PyObject* object, PyObject* const* args, Py_ssize_t nargs) {
  return operation_throw(awaited(object), args, nargs);
}
PyObject* await_iterator_close(PyObject* object, PyObject* unused) { return operation_close(awaited(object), unused); }

int await_iterator_traverse(PyObject* object, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(object));
  Py_VISIT(awaited(object));
  return 0;
}

int await_iterator_clear(PyObject* object) {
  Py_CLEAR(reinterpret_cast<AwaitIteratorObject*>(object)->operation);
  return 0;
}

void await_iterator_dealloc(PyObject* object) {
  PyTypeObject* const type = Py_TYPE(object);
  PyObject_GC_UnTrack(object);
  await_iterator_clear(object);
  type->tp_free(object);
  Py_DECREF(type);
}

PyMethodDef await_iterator_methods[] = {
    {"send", await_iterator_send, METH_O, nullptr},
    {"throw", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(await_iterator_throw)), METH_FASTCALL,
     nullptr},
    {"close", await_iterator_close, METH_NOARGS, nullptr},
    {},
};

PyType_Slot await_iterator_slots[] = {
    {Py_tp_iter, reinterpret_cast<void*>(PyObject_SelfIter)},
    {Py_tp_iternext, reinterpret_cast<void*>(await_iterator_next)},
    {Py_tp_methods, await_iterator_methods},
    {Py_tp_traverse, reinterpret_cast<void*>(await_iterator_traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(await_iterator_clear)},
    {Py_tp_dealloc, reinterpret_cast<void*>(await_iterator_dealloc)},
    {},
};

PyType_Spec await_iterator_spec = {
    .name = "klaw_core._core.OperationIterator",
    .basicsize = sizeof(AwaitIteratorObject),
    .itemsize = 0,
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = await_iterator_slots,
};

PyMethodDef operation_methods[] = {
    {"send", operation_send, METH_O, "Resumes the operation; StopIteration carries its result."},
    {"__await__", operation_await, METH_NOARGS | METH_COEXIST, nullptr},
    {"throw", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(operation_throw)), METH_FASTCALL,
     "Cancels the operation and raises the exception given. Nothing is lost: a message that was granted to it goes to "
     "the next in line."},
    {"close", operation_close, METH_NOARGS, "Cancels the operation without an exception. Idempotent."},
    {},
};

PyGetSetDef operation_getset[] = {
    {"__name__", operation_get_name, nullptr, nullptr, nullptr},
    {"__qualname__", operation_get_name, nullptr, nullptr, nullptr},
    {},
};

PyType_Slot operation_slots[] = {
    {Py_tp_doc, const_cast<char*>("A channel operation that is to be awaited: a coroutine written in C++.")},
    {Py_am_await, reinterpret_cast<void*>(PyObject_SelfIter)},
    {Py_am_send, reinterpret_cast<void*>(operation_send_impl)},
    {Py_tp_iternext, reinterpret_cast<void*>(operation_iternext)},
    {Py_tp_methods, operation_methods},
    {Py_tp_getset, operation_getset},
    {Py_tp_repr, reinterpret_cast<void*>(operation_repr)},
    {Py_tp_traverse, reinterpret_cast<void*>(operation_traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(operation_clear)},
    {Py_tp_finalize, reinterpret_cast<void*>(operation_finalize)},
    {Py_tp_dealloc, reinterpret_cast<void*>(operation_dealloc)},
    {},
};

PyType_Spec operation_spec = {
    .name = "klaw_core._core.Operation",
    .basicsize = sizeof(OperationObject),
    .itemsize = 0,
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = operation_slots,
};

PyType_Slot inbox_slots[] = {
    {Py_tp_finalize, reinterpret_cast<void*>(inbox_finalize)}, {Py_tp_call, reinterpret_cast<void*>(inbox_call)},
    {Py_tp_traverse, reinterpret_cast<void*>(inbox_traverse)}, {Py_tp_clear, reinterpret_cast<void*>(inbox_clear)},
    {Py_tp_dealloc, reinterpret_cast<void*>(inbox_dealloc)},   {},
};

PyType_Spec inbox_spec = {
    .name = "klaw_core._core.LoopInbox",
    .basicsize = sizeof(LoopInboxObject),
    .itemsize = 0,
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = inbox_slots,
};

class CompletedOp final : public PendingOp {
 public:
  CompletedOp(const char* name, Ref value) noexcept : PendingOp(name, Patience::never()), value_(std::move(value)) {}
  Status start(Operation* /*operation*/) override { return Status::done; }
  Status finish() override { return Status::done; }
  void abandon() noexcept override {}
  PyObject* outcome(Status /*status*/) override { return value_.release(); }
  int traverse(visitproc visit, void* arg) const override {
    Py_VISIT(value_.get());
    return 0;
  }
  bool must_be_awaited() const noexcept override { return false; }

 private:
  Ref value_;
};

}  // namespace

namespace detail {

NewOperation new_operation() noexcept {
  OperationObject* self = nullptr;
  if (free_list_size > 0) {
    self = free_list[--free_list_size];
    _Py_NewReference(cast(self));  // it has kept its type, and the reference to it
  } else {
    self = PyObject_GC_New(OperationObject, operation_type);
    if (self == nullptr) return {nullptr, nullptr};
    ::new (&self->waiting) std::optional<LoopOperation>();
  }
  self->op = nullptr;
  self->phase = Phase::created;
  self->is_finalized = false;
  self->fork_generation = fork_generation;
  self->loop = self->future = self->timer = nullptr;
  ++live_count;
  return {cast(self), self->storage};
}

void publish_operation(PyObject* object, PendingOp* op) noexcept {
  cast(object)->op = op;
  PyObject_GC_Track(object);
}

}  // namespace detail

PyObject* make_completed(const char* name, Ref value) { return make_operation<CompletedOp>(name, std::move(value)); }

bool add_operation_type(PyObject* module) noexcept {
  operation_type = reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &operation_spec, nullptr));
  inbox_type = reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &inbox_spec, nullptr));
  await_iterator_type =
      reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &await_iterator_spec, nullptr));
  return operation_type != nullptr && inbox_type != nullptr && await_iterator_type != nullptr &&
         PyModule_AddObjectRef(module, "Operation", reinterpret_cast<PyObject*>(operation_type)) == 0;
}

Py_ssize_t live_operations() noexcept { return live_count; }

}  // namespace klaw::python
