// The awaitable: what `tx.send(x)`, `rx.recv()` and their kin return.
//
// One CPython type, `Operation`, a collections.abc.Coroutine written in C++ (am_await, am_send, send, throw, close), so
// that asyncio and anyio take it wherever they take a coroutine. Nothing happens before it is awaited. A ready operation
// finishes in its first am_send, without a future and without a trip through the event loop.
//
//   created ── send(None) ──> done                                            it was ready
//      │  └──> yielded (once in kReadyBudget operations, for fairness) ──> as if created
//      │  └──> waiting (a future was yielded) ── fired ──> send(None) ──> done
//      │      (and, if it was not what it waits for, back to waiting)
//      └── throw(), close(), collection: from every phase ──> done; a waiting one is cancelled: it takes nothing, and what
//          was granted to it already goes to the next in line
//
// What differs between send, recv, select, ... is a PendingOp, which lives inside the object.
#pragma once

#include <Python.h>

#include <concepts>
#include <cstddef>
#include <memory>
#include <new>
#include <string>
#include <utility>

#include <klaw/channels/detail/operation.hpp>

#include "await/patience.hpp"
#include "await/python.hpp"

namespace klaw::python {

using channels::detail::Operation;
using channels::detail::Status;

// For messages and repr: the type of a handle and a method, or one word for both. Literals.
class OpName {
 public:
  // NOLINTNEXTLINE(*-explicit-constructor): a literal is meant; the check has two names
  constexpr OpName(const char* word) noexcept : method_(word) {}
  constexpr OpName(const char* type, const char* method) noexcept : type_(type), method_(method) {}

  // "LocalSender.send"
  [[nodiscard]] std::string text() const {
    return type_ == nullptr ? std::string(method_) : std::string(type_) + "." + method_;
  }

 private:
  const char* type_ = nullptr;
  const char* method_;
};

class PendingOp {
 public:
  PendingOp(OpName name, Patience patience) noexcept : name_(name), patience_(patience) {}
  PendingOp(const PendingOp&) = delete;
  PendingOp& operator=(const PendingOp&) = delete;
  virtual ~PendingOp() = default;

  [[nodiscard]] std::string name() const { return name_.text(); }
  [[nodiscard]] Patience patience() const noexcept { return patience_; }

  // As the ops of detail/ops.hpp. finish() may give Status::pending: it was woken by what it does not wait for, and is to be
  // started again. They may run Python code, if no operation is linked then.
  [[nodiscard]] virtual Status start(Operation* operation) = 0;
  [[nodiscard]] virtual Status finish() = 0;
  virtual void abandon() noexcept = 0;

  // Turns the outcome into what `await` gives; null with an exception set. Status::pending: it was not to wait, or the
  // time has run out.
  [[nodiscard]] virtual PyObject* outcome(Status status) = 0;

  // Makes the channels that it waits on owners of `operation`, its awaitable; they no longer are after release(). (asyncio
  // itself keeps its tasks by weak references only: one that waits must live as long as somebody may wake it.)
  virtual void hold(PyObject* /*operation*/) {}
  virtual void release() noexcept {}

  // It waits for the I/O thread, which wakes it without the GIL.
  [[nodiscard]] virtual bool is_remote() const noexcept { return false; }
  // It keeps its time itself, and has to be waited for even if it only tries: another process has the answer.
  [[nodiscard]] virtual bool keeps_time() const noexcept { return false; }

  virtual int traverse(visitproc visit, void* arg) const = 0;
  // False for what has taken effect at the call and need not be awaited.
  [[nodiscard]] virtual bool must_be_awaited() const noexcept { return true; }

 private:
  OpName name_;
  Patience patience_;
};

namespace detail {

// Room for any PendingOp within the object, so that an operation is one allocation, and none when one can be reused.
inline constexpr std::size_t kOpSize = 272;
struct NewOperation {
  PyObject* object;  // null with an exception set
  void* storage;     // kOpSize bytes for the PendingOp
};
[[nodiscard]] NewOperation new_operation() noexcept;
// The op in `storage` is complete. The garbage collector knows it from now on: its handle leads to messages, which may refer
// to it.
void publish_operation(PyObject* object, PendingOp* op) noexcept;

}  // namespace detail

// A new awaitable that will do `Op(arguments...)`. Null with an exception set.
template <std::derived_from<PendingOp> Op, class... Arguments>
[[nodiscard]] PyObject* make_operation(Arguments&&... arguments) {
  static_assert(sizeof(Op) <= detail::kOpSize && alignof(Op) <= alignof(std::max_align_t));
  const auto [object, storage] = detail::new_operation();
  if (object != nullptr) {
    detail::publish_operation(object, ::new (storage) Op(std::forward<Arguments>(arguments)...));
  }
  return object;
}

// An awaitable that gives `value` at once, and may be left unawaited. Null with an exception set.
[[nodiscard]] PyObject* make_completed(const char* name, Ref value);

// Makes the types; adds nothing to the module's public names but `Operation`. False with an exception set.
[[nodiscard]] bool add_operation_type(PyObject* module) noexcept;

// How many operations exist; for leak tests.
[[nodiscard]] Py_ssize_t live_operations() noexcept;

}  // namespace klaw::python
