// Local oneshot channels.
#pragma once

#include <Python.h>

#include <klaw/channels/detail/oneshot.hpp>

#include "flavour.hpp"

namespace klaw::python {

using OneshotCore = channels::detail::Oneshot<Ref, GilExclusion>;

// A way to put a value into a oneshot: it happens when the outcome is asked for.
class OneshotSend final : public InstantOp {
 public:
  OneshotSend(HandleObject* handle, const char* name, Patience patience, Style style, Ref value)
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

struct OneshotSide : LocalBackend<OneshotSide, OneshotCore> {
  using RecvOp = channels::detail::RecvOp<Ref, OneshotCore>;
  template <class Value>
  using Send = OneshotSend;
  using Recv = RecvPending<OneshotSide>;
  static constexpr FixedString kPrefix = "Oneshot";

  static bool is_spent(const Handle& self) { return core(self)->is_spent(self.side); }
  static std::string contents(const channels::ChannelStats& s) {
    if (s.total_sent == 0) return "unsent";
    return s.total_received == 0 ? "sent" : "received";
  }
};

// (tx, rx) of a new channel. Null with an exception set.
[[nodiscard]] PyObject* make_oneshot_channel();

// Makes the types and adds OneshotSender and OneshotReceiver to the module. False with an exception set.
[[nodiscard]] bool add_oneshot_types(PyObject* module) noexcept;

}  // namespace klaw::python
