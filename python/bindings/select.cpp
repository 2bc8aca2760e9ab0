#include "select.hpp"

#include <memory>
#include <variant>
#include <vector>

#include <klaw/channels/select.hpp>

#include "await/blocking.hpp"
#include "handles/handle.hpp"
#include "local/broadcast.hpp"
#include "local/mpmc_ops.hpp"
#include "local/oneshot.hpp"
#include "local/watch.hpp"
#include "remote/payload.hpp"
#include "remote/remote_ops.hpp"

namespace klaw::python {

namespace {

// A receive of a remote channel, as a branch.
class RemoteBranch {
 public:
  // `tries_left`: null for one that waits.
  RemoteBranch(const RemoteHandleObject& handle, std::shared_ptr<channels::detail::Atomic<std::size_t>> tries_left,
               bool acknowledges)
      : dialer_(handle.channel->dialer), registration_(&handle.registration), op_(std::make_unique<RecvOperation>()) {
    if (tries_left) op_->deadline = dataplane::Time();
    op_->tries_left = std::move(tries_left);
    op_->acknowledges = acknowledges;
  }

  Status start(Operation* operation, std::uint32_t branch) {
    op_->index = branch;
    return dialer_->with_link([&](dataplane::Link& link, dataplane::Time now) {
      return link.start_recv(now, *registration_, *op_, operation);
    });
  }
  Status finish() {
    return dialer_->with_link([&](dataplane::Link& link, dataplane::Time now) { return link.finish_recv(now, *op_); });
  }
  void abandon() noexcept {
    dialer_->with_link([&](dataplane::Link& link, dataplane::Time now) { link.abandon_recv(now, *op_); });
  }
  // Null with an exception set: it can't be decoded.
  [[nodiscard]] Ref take() {
    return Ref::steal(op_->acknowledges ? to_delivery(*op_->value, dialer_, registration_->id)
                                        : decode_payload(op_->value->payload));
  }
  // Of a broadcast.
  [[nodiscard]] bool is_lag() const noexcept { return op_->skipped > 0; }
  [[nodiscard]] std::uint64_t skipped() const noexcept { return op_->skipped; }
  [[nodiscard]] ChannelClosed closed() const { return op_->error; }

 private:
  using RecvOperation = dataplane::RecvOperation;
  std::shared_ptr<dataplane::Dialer> dialer_;
  const Registration* registration_;  // the handle's, which the select holds
  std::unique_ptr<RecvOperation> op_;
};

// Branches that are known at run time.
struct ListBranches {
  std::vector<
      std::variant<Local::RecvOp, OneshotSide::RecvOp, BroadcastReceiving::RecvOp, WatchSide::RecvOp, RemoteBranch>>
      ops;
  bool has_remote = false;

  [[nodiscard]] std::size_t size() const noexcept { return ops.size(); }
  template <class F>
  auto visit(std::size_t i, F f) {
    return std::visit([&](auto& branch) { return f(branch); }, ops[i]);
  }
};

class SelectPending final : public PendingOp {
 public:
  SelectPending(Patience patience, Ref receivers, ListBranches branches, bool is_biased)
      : PendingOp("select", patience),
        receivers_(std::move(receivers)),
        has_remote_(branches.has_remote),
        op_(std::move(branches), is_biased) {}

  Status start(Operation* operation) override { return op_.start(operation); }
  Status finish() override { return op_.finish(); }
  void abandon() noexcept override { op_.abandon(); }

  // A remote branch may be woken by the I/O thread, and only its broker knows whether there is something.
  [[nodiscard]] bool is_remote() const noexcept override { return has_remote_; }
  [[nodiscard]] bool keeps_time() const noexcept override { return has_remote_ && !patience().waits(); }

  PyObject* outcome(Status status) override {
    if (status != Status::done || op_.winner_status() == Status::timed_out) {
      PyErr_SetString(PyExc_TimeoutError, "select() timed out: no receiver was ready");
      return nullptr;
    }
    const std::size_t i = op_.winner();
    return op_.branches().visit(i, [&](auto& branch) -> PyObject* {
      if (op_.winner_status() == Status::closed) {
        raise_closed(branch.closed(), i);
        return nullptr;
      }
      if constexpr (requires { branch.is_lag(); }) {
        if (branch.is_lag()) {
          raise_lagged(branch.skipped(), i);
          return nullptr;
        }
      }
      const Ref value = as_object(branch.take());
      return value ? Py_BuildValue("nO", static_cast<Py_ssize_t>(i), value.get()) : nullptr;
    });
  }

  void hold(PyObject* operation) override {
    if (has_remote_) {  // others may wake it whom the collector does not see
      held_ = Ref::borrow(operation);
      return;
    }
    const Py_ssize_t count = PyTuple_GET_SIZE(receivers_.get());
    holds_ = std::make_unique<Hold[]>(static_cast<std::size_t>(count));
    for (Py_ssize_t i = 0; i < count; ++i) {
      PyObject* const receiver = PyTuple_GET_ITEM(receivers_.get(), i);
      holds_[static_cast<std::size_t>(i)].enter(*cast_handle(receiver)->channel, operation);
    }
  }
  void release() noexcept override {
    const Ref last = std::move(held_);
    holds_.reset();
  }

  int traverse(visitproc visit, void* arg) const override {
    Py_VISIT(receivers_.get());
    return 0;
  }

 private:
  Ref receivers_;  // the tuple of handles
  const bool has_remote_;
  Ref held_;
  std::unique_ptr<Hold[]> holds_;
  channels::detail::SelectOp<ListBranches> op_;
};

// Adds the branch of a receiver of this flavour. False if `receiver` is none, or with an exception set.
template <class Backend>
bool add_local(PyObject* receiver, ListBranches& branches) {
  if (Py_TYPE(receiver) != handle_type<Backend, Side::receiver>) return false;
  const HandleObject* const handle = usable(receiver);
  if (handle == nullptr) return false;
  branches.ops.emplace_back(typename Backend::RecvOp(Backend::core(*handle), handle->registration));
  return true;
}

// `acknowledges`: what queues of other processes give is to be settled. False with an exception set.
bool collect_branches(PyObject* receivers, Patience patience, bool acknowledges, ListBranches& branches) {
  const Py_ssize_t count = PyTuple_GET_SIZE(receivers);
  if (count == 0) {
    if (const Classes* const classes = Classes::get()) {
      const Ref error = Ref::steal(PyObject_CallNoArgs(classes->NoReceiversError));
      if (error) PyErr_SetObject(classes->NoReceiversError, error.get());
    }
    return false;
  }
  branches.ops.reserve(static_cast<std::size_t>(count));
  // It has found nothing once none of its brokers has anything, not when the first of them says so.
  std::shared_ptr<channels::detail::Atomic<std::size_t>> tries_left;
  if (!patience.waits()) tries_left = std::make_shared<channels::detail::Atomic<std::size_t>>(0);
  for (Py_ssize_t i = 0; i < count; ++i) {
    PyObject* const receiver = PyTuple_GET_ITEM(receivers, i);
    if (RemoteHandleObject* const remote = as_remote_receiver(receiver)) {
      open_if_new(*remote);
      branches.has_remote = true;
      if (tries_left) tries_left->fetch_add(1, std::memory_order_relaxed);
      branches.ops.emplace_back(
          RemoteBranch(*remote, tries_left, acknowledges && remote->channel->kind == dataplane::ChannelKind::mpmc));
      continue;
    }
    if (PyErr_Occurred() != nullptr) return false;
    if (add_local<Local>(receiver, branches) || add_local<OneshotSide>(receiver, branches) ||
        add_local<BroadcastReceiving>(receiver, branches) || add_local<WatchSide>(receiver, branches)) {
      continue;
    }
    if (PyErr_Occurred() == nullptr) {
      PyErr_Format(PyExc_TypeError, "select() takes receivers of channels, not %.200s", Py_TYPE(receiver)->tp_name);
    }
    return false;
  }
  return true;
}

}  // namespace

PyObject* make_select(PyObject* receivers, PyObject* timeout, bool is_biased, bool acknowledges) {
  Patience patience = Patience::forever();
  ListBranches branches;
  if (!parse_patience(timeout, patience) || !collect_branches(receivers, patience, acknowledges, branches)) {
    return nullptr;
  }
  return make_operation<SelectPending>(patience, Ref::borrow(receivers), std::move(branches), is_biased);
}

PyObject* blocking_select(PyObject* receivers, PyObject* timeout, bool is_biased, bool acknowledges) {
  Patience patience = Patience::forever();
  ListBranches branches;
  if (!parse_patience(timeout, patience) || !collect_branches(receivers, patience, acknowledges, branches) ||
      !refuse_event_loop("await select(...)")) {
    return nullptr;
  }
  SelectPending op(patience, Ref::borrow(receivers), std::move(branches), is_biased);
  return run_blocking(op);
}

}  // namespace klaw::python
