// The operations that local handles of all flavours have, as the awaitable and the blocking calls drive them: an op of the
// core, and how its outcome looks in Python. `Backend` is a side of a flavour (flavour.hpp).
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "await/outcomes.hpp"
#include "handles/channel.hpp"
#include "handles/handle.hpp"

namespace klaw::python {

// What a core gives, as an object: a value that is the receiver's own, or one that it shares with others.
inline Ref as_object(Ref value) noexcept { return value; }
inline Ref as_object(SharedRef value) noexcept { return value; }
inline Ref as_object(const std::shared_ptr<const Ref>& value) noexcept { return Ref::borrow(value->get()); }

// What all have in common: the handle stays alive, and in the sight of the collector.
class HandleOp : public PendingOp {
 public:
  HandleOp(HandleObject* handle, OpName name, Patience patience, Style style)
      : PendingOp(name, patience), handle_(Ref::borrow(reinterpret_cast<PyObject*>(handle))), style_(style) {}

  void hold(PyObject* operation) final { hold_.emplace().enter(*handle().channel, operation); }
  void release() noexcept final { hold_.reset(); }

  int traverse(visitproc visit, void* arg) const override {
    Py_VISIT(handle_.get());
    return 0;
  }

 protected:
  [[nodiscard]] Style style() const noexcept { return style_; }
  [[nodiscard]] HandleObject& handle() const noexcept { return *reinterpret_cast<HandleObject*>(handle_.get()); }
  [[nodiscard]] PyObject* closed(const ChannelClosed& error) const noexcept { return tell_closed(style_, error); }

 private:
  Ref handle_;
  std::optional<Hold> hold_;  // while it waits: an empty one costs a ready operation next to nothing
  Style style_;
};

// Something that happens at once or not at all.
class InstantOp : public HandleOp {
 public:
  using HandleOp::HandleOp;
  Status start(Operation* /*operation*/) override { return Status::done; }
  Status finish() override { return Status::done; }
  void abandon() noexcept override {}
};

// Something that is done at once with a value, when its outcome is asked for.
class InstantSend : public InstantOp {
 public:
  InstantSend(HandleObject* handle, OpName name, Patience patience, Style style, Ref value)
      : InstantOp(handle, name, patience, style), value_(std::move(value)) {}

  int traverse(visitproc visit, void* arg) const final {
    Py_VISIT(value_.get());
    return InstantOp::traverse(visit, arg);
  }

 protected:
  [[nodiscard]] Ref& value() noexcept { return value_; }

 private:
  Ref value_;
};

template <class Backend>
class RecvPending final : public HandleOp {
 public:
  RecvPending(HandleObject* handle, OpName name, Patience patience, Style style)
      : HandleOp(handle, name, patience, style), op_(Backend::core(*handle), handle->registration) {}

  Status start(Operation* operation) override { return op_.start(operation); }
  Status finish() override { return op_.finish(); }
  void abandon() noexcept override { op_.abandon(); }

  PyObject* outcome(Status status) override {
    if (status == Status::done) {
      Ref value = as_object(op_.take());
      return style() == Style::result ? make_ok(value.get()) : value.release();
    }
    return status == Status::closed ? closed(op_.closed()) : tell_empty(style(), patience());
  }

 private:
  typename Backend::RecvOp op_;
};

// Waits until the other side is gone.
template <class Backend>
class ClosedPending final : public HandleOp {
 public:
  ClosedPending(HandleObject* handle, OpName name)
      : HandleOp(handle, name, Patience::forever(), Style::raise),
        op_(handle->side, Backend::core(*handle), handle->registration) {}

  Status start(Operation* operation) override { return op_.start(operation); }
  Status finish() override { return op_.finish(); }
  void abandon() noexcept override { op_.abandon(); }
  PyObject* outcome(Status status) override {
    if (status == Status::done) Py_RETURN_NONE;
    return closed(op_.closed());
  }

 private:
  channels::detail::ClosedOp<typename Backend::Core> op_;
};

// Takes a snapshot of the channel.
template <class Backend>
class StatsPending final : public InstantOp {
 public:
  StatsPending(HandleObject* handle, OpName name) : InstantOp(handle, name, Patience::never(), Style::raise) {}
  PyObject* outcome(Status /*status*/) override { return make_stats(Backend::core(handle())->stats()); }
};

}  // namespace klaw::python
