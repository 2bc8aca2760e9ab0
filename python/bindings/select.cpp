#include "select.hpp"

#include <klaw/channels/select.hpp>

#include "blocking.hpp"
#include "handle.hpp"
#include "mpmc_ops.hpp"

namespace klaw::python {

namespace {

// Branches that are known at run time.
struct ListBranches {
  std::vector<channels::detail::RecvOp<Ref, Core>> ops;

  [[nodiscard]] std::size_t size() const noexcept { return ops.size(); }
  template <class F>
  auto visit(std::size_t i, F f) {
    return f(ops[i]);
  }
};

class SelectPending final : public PendingOp {
 public:
  SelectPending(Patience patience, Ref receivers, ListBranches branches, bool is_biased)
      : PendingOp("select", patience), receivers_(std::move(receivers)), op_(std::move(branches), is_biased) {}

  Status start(Operation* operation) override { return op_.start(operation); }
  Status finish() override { return op_.finish(); }
  void abandon() noexcept override { op_.abandon(); }

  PyObject* outcome(Status status) override {
    if (status != Status::done) {
      PyErr_SetString(PyExc_TimeoutError, "select() timed out: no receiver was ready");
      return nullptr;
    }
    const std::size_t i = op_.winner();
    auto& branch = op_.branches().ops[i];
    if (op_.winner_status() == Status::closed) {
      raise_closed(branch.closed(), i);
      return nullptr;
    }
    const Ref value = branch.take();
    return Py_BuildValue("nO", static_cast<Py_ssize_t>(i), value.get());
  }

  void hold(PyObject* operation) override {
    const Py_ssize_t count = PyTuple_GET_SIZE(receivers_.get());
    holds_ = std::make_unique<Hold[]>(static_cast<std::size_t>(count));
    for (Py_ssize_t i = 0; i < count; ++i) {
      PyObject* const receiver = PyTuple_GET_ITEM(receivers_.get(), i);
      holds_[static_cast<std::size_t>(i)].enter(*cast_handle(receiver)->channel, operation);
    }
  }
  void release() noexcept override { holds_.reset(); }

  int traverse(visitproc visit, void* arg) const override {
    Py_VISIT(receivers_.get());
    return 0;
  }

 private:
  Ref receivers_;  // the tuple of handles
  std::unique_ptr<Hold[]> holds_;
  channels::detail::SelectOp<ListBranches> op_;
};

// False with an exception set.
bool collect_branches(PyObject* receivers, ListBranches& branches) {
  const Py_ssize_t count = PyTuple_GET_SIZE(receivers);
  if (count == 0) {
    if (const Classes* const classes = Classes::get()) {
      const Ref error = Ref::steal(PyObject_CallNoArgs(classes->NoReceiversError));
      if (error) PyErr_SetObject(classes->NoReceiversError, error.get());
    }
    return false;
  }
  branches.ops.reserve(static_cast<std::size_t>(count));
  for (Py_ssize_t i = 0; i < count; ++i) {
    const HandleObject* const handle = as_receiver(PyTuple_GET_ITEM(receivers, i), "select()");
    if (handle == nullptr) return false;
    branches.ops.emplace_back(handle->channel->core, handle->registration);
  }
  return true;
}

}  // namespace

PyObject* make_select(PyObject* receivers, PyObject* timeout, bool is_biased) {
  Patience patience = Patience::forever();
  ListBranches branches;
  if (!parse_patience(timeout, patience) || !collect_branches(receivers, branches)) return nullptr;
  return make_operation<SelectPending>(patience, Ref::borrow(receivers), std::move(branches), is_biased);
}

PyObject* blocking_select(PyObject* receivers, PyObject* timeout, bool is_biased) {
  Patience patience = Patience::forever();
  ListBranches branches;
  if (!parse_patience(timeout, patience) || !collect_branches(receivers, branches) ||
      !refuse_event_loop("await select(...)")) {
    return nullptr;
  }
  SelectPending op(patience, Ref::borrow(receivers), std::move(branches), is_biased);
  return run_blocking(op);
}

}  // namespace klaw::python
