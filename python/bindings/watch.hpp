// Local watch channels.
#pragma once

#include <Python.h>

#include <memory>

#include <klaw/channels/detail/watch.hpp>

#include "flavour.hpp"

namespace klaw::python {

using WatchCore = channels::detail::Watch<Ref, GilExclusion>;

// A way to put a new value into a watch: it happens when the outcome is asked for.
class WatchSend final : public InstantOp {
 public:
  WatchSend(HandleObject* handle, const char* name, Patience patience, Style style, Ref value)
      : InstantOp(handle, name, patience, style), value_(std::move(value)) {}

  PyObject* outcome(Status status) override;
  int traverse(visitproc visit, void* arg) const override {
    Py_VISIT(value_.get());
    return InstantOp::traverse(visit, arg);
  }
  bool may_be_in_cycle() const noexcept override { return PyObject_IS_GC(value_.get()) != 0; }

 private:
  Ref value_;
};

struct WatchSide : LocalBackend<WatchSide, WatchCore> {
  using RecvOp = channels::detail::RecvOp<WatchCore::Value, WatchCore>;
  template <class Value>
  using Send = WatchSend;
  using Recv = RecvPending<WatchSide>;  // the value after a change
  static constexpr FixedString kPrefix = "Watch";

  static bool is_spent(const Handle& /*self*/) noexcept { return false; }
  static std::string contents(const channels::ChannelStats& s) {
    return std::to_string(s.total_sent) + (s.total_sent == 1 ? " change" : " changes");
  }
};

// (tx, rx) of a new channel. Null with an exception set.
[[nodiscard]] PyObject* make_watch_channel(PyObject* initial);

// Makes the types and adds WatchSender and WatchReceiver to the module. False with an exception set.
[[nodiscard]] bool add_watch_types(PyObject* module) noexcept;

}  // namespace klaw::python
