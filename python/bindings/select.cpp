#include "select.hpp"

#include <concepts>
#include <memory>
#include <optional>
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
  RemoteBranch(const RemoteHandleObject& handle, bool acknowledges)
      : dialer_(handle.channel->dialer), registration_(&handle.registration), op_(std::make_unique<RecvOperation>()) {
    op_->acknowledges = acknowledges;
    op_->confirms = true;
  }

  // It asks its broker, and waits no longer than for the answer. The last of those that share `tries_left` to find nothing
  // ends the select.
  void only_try(std::shared_ptr<channels::detail::Atomic<std::size_t>> tries_left) {
    op_->deadline = dataplane::Time();
    op_->tries_left = std::move(tries_left);
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
  // Null with an exception set: it can't be decoded. `i`: which of the select's receivers this is.
  [[nodiscard]] Ref take(std::size_t i) {
    if (op_->acknowledges) return Ref::steal(to_delivery(*op_->value, dialer_, registration_->id));
    Ref value = Ref::steal(decode_payload(op_->value->payload));
    const Ref error = value ? Ref() : fetch_exception();
    if (const auto lost = confirm(*dialer_, *registration_, *op_)) {
      raise_closed(*lost, i);
      return {};
    }
    if (error) PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.get())), error.get());
    return value;
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

using Branch =
    std::variant<Local::RecvOp, OneshotSide::RecvOp, BroadcastReceiving::RecvOp, WatchSide::RecvOp, RemoteBranch>;

// The branch of a receiver of this flavour. Nullopt if `receiver` is none, or with an exception set.
template <class Backend>
std::optional<Branch> local_branch(PyObject* receiver) {
  if (Py_TYPE(receiver) != handle_type<Backend, Side::receiver>) return std::nullopt;
  const HandleObject* const handle = usable(receiver);
  if (handle == nullptr) return std::nullopt;
  return typename Backend::RecvOp(Backend::core(*handle), handle->registration);
}

// Nullopt with an exception set. `acknowledges`: what queues of other processes give is to be settled.
std::optional<Branch> make_branch(PyObject* receiver, bool acknowledges) {
  if (RemoteHandleObject* const remote = as_remote_receiver(receiver)) {
    open_if_new(*remote);
    return RemoteBranch(*remote, acknowledges && remote->channel->kind == dataplane::ChannelKind::mpmc);
  }
  using Make = std::optional<Branch> (*)(PyObject*);
  for (const Make make :
       {local_branch<Local>, local_branch<OneshotSide>, local_branch<BroadcastReceiving>, local_branch<WatchSide>}) {
    if (PyErr_Occurred() != nullptr) return std::nullopt;
    if (std::optional<Branch> branch = make(receiver)) return branch;
  }
  if (PyErr_Occurred() == nullptr) {
    PyErr_Format(PyExc_TypeError, "select() takes receivers of channels, not %.200s", Py_TYPE(receiver)->tp_name);
  }
  return std::nullopt;
}

// Waits for a value. Unlike a select of the C++ core, for which an end is as good as a value:
//
//   look()   tries the receivers one after the other, and notes which have ended: a value goes before an end. It stops at the
//            first value, so that a select over many is done soon where many are ready.
//   link()   waits on those that are open. With an end at hand, or without time, it only asks those of other processes: the
//            end comes out if their brokers have nothing either. If one ends meanwhile, it looks again.
//
// A biased select goes strictly in the order given, ends too: it looks no further than the first end. A backend error is no
// end, and comes out at once: its link tells it only once.
class SelectPending final : public PendingOp {
 public:
  SelectPending(Patience patience, Ref receivers, SelectMode mode)
      : PendingOp("select", patience),
        receivers_(std::move(receivers)),
        mode_(mode),
        state_(std::make_unique<State>()) {}

  // noexcept: it can't be undone halfway; running out of memory ends the process.
  Status start(Operation* operation) noexcept override {
    operation_ = operation;
    // While it waits, others must not change what its branches refer to.
    if (operation != nullptr) {
      receivers_ = Ref::steal(PySequence_Tuple(receivers_.get()));
      if (!receivers_) return fail();
    }
    for (;;) {
      if (look()) return Status::done;
      if (operation == nullptr) return Status::pending;
      const Status status = link(*operation);
      if (status != Status::closed) return status;
      operation->renew();
    }
  }

  Status finish() override {
    const std::uint32_t k = operation_->claimed_index();
    Branch& branch = state_->linked[k];
    const Status status = std::visit([](auto& op) { return op.finish(); }, branch);
    unlink();
    if (status == Status::done) return win(state_->open[k], branch);
    const bool is_over = status == Status::timed_out || is_end(state_->open[k], branch) || look();
    return is_over ? Status::done : Status::pending;
  }

  void abandon() noexcept override { unlink(); }

  // A remote branch may be woken by the I/O thread, and only its broker knows whether there is something.
  [[nodiscard]] bool is_remote() const noexcept override { return has_remote_; }
  [[nodiscard]] bool keeps_time() const noexcept override { return has_remote_ && !patience().waits(); }

  PyObject* outcome(Status /*status*/) override {
    if (error_) {
      PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error_.get())), error_.get());
    } else if (state_->winner != nullptr) {
      return std::visit([&](auto& branch) { return outcome_of(branch); }, *state_->winner);
    } else if (state_->ended) {
      raise_closed(state_->end, state_->ended);
    } else {
      PyErr_SetString(PyExc_TimeoutError, "select() timed out: no receiver was ready");
    }
    return nullptr;
  }

  void hold(PyObject* operation) override {
    if (has_remote_) {  // others may wake it whom the collector does not see
      held_ = Ref::borrow(operation);
      return;
    }
    const std::vector<std::size_t>& open = state_->open;
    holds_ = std::make_unique<Hold[]>(open.size());
    for (std::size_t k = 0; k < open.size(); ++k) {
      holds_[k].enter(*cast_handle(receiver(open[k]))->channel, operation);
    }
  }
  void release() noexcept override {
    const Ref last = std::move(held_);
    holds_.reset();
  }

  int traverse(visitproc visit, void* arg) const override {
    Py_VISIT(receivers_.get());
    Py_VISIT(error_.get());
    return 0;
  }

 private:
  struct State {
    std::optional<Branch> tried;       // the one that look() is at
    std::vector<std::size_t> open;     // which receivers to wait on, as of the last look
    std::vector<Branch> linked;        // theirs
    std::optional<std::size_t> ended;  // the first that has ended, as of the last look
    ChannelClosed end;                 // its
    Branch* winner = nullptr;          // it has a value
    std::size_t index = 0;             // the winner's
  };

  [[nodiscard]] PyObject* receiver(std::size_t i) const noexcept {
    return PySequence_Fast_GET_ITEM(receivers_.get(), static_cast<Py_ssize_t>(i));
  }

  Status win(std::size_t i, Branch& branch) noexcept {
    state_->winner = &branch;
    state_->index = i;
    return Status::done;
  }
  // The exception that is set is what comes out.
  Status fail() noexcept {
    error_ = fetch_exception();
    return Status::done;
  }

  // True if it is over: with a value, an end or an error.
  bool look() noexcept {
    const auto count = static_cast<std::size_t>(PySequence_Fast_GET_SIZE(receivers_.get()));
    if (count == 0) {  // another iteration over the same select_all() has dropped the last one
      PyErr_SetString(PyExc_RuntimeError, "select_all() is for one task or thread at a time");
      fail();
      return true;
    }
    const std::size_t first = mode_.is_biased ? 0 : channels::detail::random_start() % count;
    bool has_open_remote = false;
    state_->open.clear();
    state_->ended.reset();
    for (std::size_t k = 0; k < count; ++k) {
      const std::size_t i = (first + k) % count;
      std::optional<Branch> branch = make_branch(receiver(i), mode_.acknowledges);
      if (!branch) {
        fail();
        return true;
      }
      const bool is_remote = std::holds_alternative<RemoteBranch>(*branch);
      has_remote_ = has_remote_ || is_remote;
      if (mode_.is_biased && state_->ended) continue;
      state_->tried.emplace(*std::move(branch));
      switch (std::visit([](auto& op) { return op.start(nullptr, 0); }, *state_->tried)) {
        case Status::done: win(i, *state_->tried); return true;
        case Status::closed:
          if (is_end(i, *state_->tried)) return true;
          break;
        default: state_->open.push_back(i); has_open_remote = has_open_remote || is_remote;
      }
    }
    return state_->ended && !has_open_remote;
  }

  // Receiver i, whose branch this is, has ended. Does that come out, whatever others have?
  bool is_end(std::size_t i, const Branch& branch) noexcept {
    ChannelClosed end = std::visit([](const auto& op) { return op.closed(); }, branch);
    const bool is_at_once = end.kind == CloseKind::backend || (mode_.drains && is_orderly(end.kind));
    if (is_at_once || !state_->ended) {
      state_->ended = i;
      state_->end = std::move(end);
    }
    return is_at_once;
  }

  // Status::closed: one of them has ended meanwhile, and nothing is linked.
  Status link(Operation& operation) noexcept {
    State& state = *state_;
    std::size_t remotes = 0;
    state.linked.clear();
    state.linked.reserve(state.open.size());
    for (const std::size_t i : state.open) {
      std::optional<Branch> branch = make_branch(receiver(i), mode_.acknowledges);
      if (!branch) return fail();
      if (std::holds_alternative<RemoteBranch>(*branch)) ++remotes;
      state.linked.push_back(*std::move(branch));
    }
    if (state.ended || !patience().waits()) only_try(remotes);
    for (std::size_t k = 0; k < state.linked.size(); ++k) {
      // Also `pending`: an earlier branch has claimed it meanwhile. Then the rest find it claimed and stay unlinked.
      const Status status =
          std::visit([&](auto& op) { return op.start(&operation, static_cast<std::uint32_t>(k)); }, state.linked[k]);
      if (status == Status::pending) continue;
      unlink();
      if (status == Status::done) return win(state.open[k], state.linked[k]);
      return is_end(state.open[k], state.linked[k]) ? Status::done : Status::closed;
    }
    return Status::pending;
  }

  void only_try(std::size_t remotes) {
    const auto tries_left = std::make_shared<channels::detail::Atomic<std::size_t>>(remotes);
    for (Branch& branch : state_->linked) {
      if (auto* const remote = std::get_if<RemoteBranch>(&branch)) remote->only_try(tries_left);
    }
  }

  // (What a winner has taken stays with it.)
  void unlink() noexcept {
    for (Branch& branch : state_->linked) std::visit([](auto& op) { op.abandon(); }, branch);
  }

  template <class Op>
  PyObject* outcome_of(Op& branch) {
    const std::size_t i = state_->index;
    if constexpr (requires { branch.is_lag(); }) {
      if (branch.is_lag()) {
        raise_lagged(branch.skipped(), i);
        return nullptr;
      }
    }
    Ref value;
    if constexpr (std::same_as<Op, RemoteBranch>) {
      value = branch.take(i);
    } else {
      value = as_object(branch.take());
    }
    return value ? Py_BuildValue("nO", static_cast<Py_ssize_t>(i), value.get()) : nullptr;
  }

  Ref receivers_;  // a tuple or a list of handles
  const SelectMode mode_;
  bool has_remote_ = false;  // as of the first look that has seen all of them
  Operation* operation_ = nullptr;
  Ref error_;
  Ref held_;
  std::unique_ptr<Hold[]> holds_;
  std::unique_ptr<State> state_;
};

}  // namespace

bool check_receivers(PyObject* receivers) {
  const Py_ssize_t count = PySequence_Fast_GET_SIZE(receivers);
  for (Py_ssize_t i = 0; i < count; ++i) {
    if (!make_branch(PySequence_Fast_GET_ITEM(receivers, i), false)) return false;
  }
  return true;
}

PyObject* make_select(PyObject* receivers, PyObject* timeout, SelectMode mode) {
  Patience patience = Patience::forever();
  if (!parse_patience(timeout, patience) || (!mode.drains && !check_receivers(receivers))) return nullptr;
  return make_operation<SelectPending>(patience, Ref::borrow(receivers), mode);
}

PyObject* blocking_select(PyObject* receivers, PyObject* timeout, SelectMode mode) {
  Patience patience = Patience::forever();
  if (!parse_patience(timeout, patience) || (!mode.drains && !check_receivers(receivers)) ||
      !refuse_event_loop("await select(...)")) {
    return nullptr;
  }
  SelectPending op(patience, Ref::borrow(receivers), mode);
  return run_blocking(op);
}

}  // namespace klaw::python
