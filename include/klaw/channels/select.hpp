// select(): wait on several channels at once, and receive from, or send into, the first that is ready.
//
// A branch is a receiver, or sending(tx, value). Exactly one branch happens. The others never held anything, also when the
// select is cancelled or runs out of time: one compare-and-swap decides which channel it belongs to, and the value of a
// send that did not happen is untouched. A closed branch is a ready one: its Result says so. The search starts at a random
// branch, so that none starves; `biased` as the first branch keeps the order of the arguments.
//
//   awaited       co_await select(rx1, sending(tx, v))       SelectResult
//   limited       co_await select_for(50ms, rx1, rx2)        std::optional<SelectResult>: nullopt when the time is up
//   blocking      blocking_select(rx1, rx2), blocking_select_for(50ms, rx1, rx2)
//   never waits   try_select(rx1, rx2)                       std::optional<SelectResult>: nullopt if none is ready
//
//   auto got = co_await select(orders, cancellations, sending(log, std::move(line)));
//   switch (got.index()) {
//     case 0: handle(got.get<0>()); break;                   // Result<Order, ChannelClosed>
//     case 1: cancel(got.get<1>()); break;
//     case 2: line.clear(); break;                           // sent, or nobody reads the log: Result<void, ChannelClosed>
//   }
//
// Instead of branches each form also takes one std::span of receivers, how many being known at run time only; the result
// is then an IndexedResult. An empty one throws NoReceiversError.
//
//   auto [index, message] = co_await select(std::span(receivers));
//
// A select may send and receive on one channel, and have one handle in several branches: it never meets itself. A receiver
// of any flavour is a branch; what it gives is what an unlimited receive of it gives.
//
// Cost: one lock per branch, and one more to leave each that was waited on; for a span, also an allocation.
// Cancel safety: a select that is cancelled has sent and received nothing; a message that was already granted to it goes to
// the next in line. (A send that has happened has happened: whoever cancels a select can't know, as with any send.)
#pragma once

#include <cassert>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include <klaw/channels/detail/handles.hpp>

namespace klaw::channels {

struct Biased {};
// As first argument of a select: look at the branches in order, every time.
inline constexpr Biased biased{};

// Which branch was ready, and what came of it: each branch's own Result.
template <class... R>
class [[nodiscard]] SelectResult {
 public:
  using Variant = std::variant<R...>;
  template <std::size_t I>
  SelectResult(std::in_place_index_t<I> branch, std::variant_alternative_t<I, Variant> result)
      : value_(branch, std::move(result)) {}

  [[nodiscard]] std::size_t index() const noexcept { return value_.index(); }
  // The result of branch I; throws std::bad_variant_access if another one was ready.
  template <std::size_t I>
  [[nodiscard]] auto& get() & {
    return std::get<I>(value_);
  }
  template <std::size_t I>
  [[nodiscard]] auto get() && {
    return std::get<I>(std::move(value_));
  }

 private:
  Variant value_;
};

// The same of a select over a span of receivers.
template <class R>
struct [[nodiscard]] IndexedResult {
  std::size_t index;
  R result;
};

namespace detail {

// Every thread's numbers begin elsewhere. Their variables may be at the same address, one thread after the other; so they
// are counted. (A step of splitmix64, which spreads the counts: Steele, Lea and Flood, 2014.)
[[nodiscard]] inline std::uint64_t random_seed() noexcept {
  static Atomic<std::uint64_t> threads{0};
  // relaxed: only that each thread gets a count of its own.
  std::uint64_t z = (threads.fetch_add(1, std::memory_order_relaxed) + 1) * 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return (z ^ (z >> 31)) | 1;
}

// A number to start the search at: fairness, not secrecy (xorshift64; Marsaglia, "Xorshift RNGs", 2003).
[[nodiscard]] inline std::uint64_t random_start() noexcept {
  thread_local std::uint64_t state = random_seed();
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

template <class Op>
concept TakesLate = requires(Op& op) { op.take_late(); };

// The op of a select over `Branches`, which has size() and visit(i, f): f(op) of branch i.
template <class Branches>
class SelectOp {
 public:
  SelectOp(Branches branches, bool is_biased) : branches_(std::move(branches)), is_biased_(is_biased) {
    assert(branches_.size() < Operation::kCancelled);
  }

  // noexcept: it can't be undone halfway, when an earlier branch may have been claimed; so running out of memory at a
  // later one ends the process.
  Status start(Operation* op) noexcept {
    operation_ = op;
    const std::size_t count = branches_.size();
    const std::size_t first = is_biased_ ? 0 : random_start() % count;
    for (std::size_t k = 0; k < count; ++k) {
      const std::size_t i = (first + k) % count;
      // Also `pending`: an earlier branch has claimed `op` meanwhile. Then the rest find it claimed and stay unlinked.
      const Status status =
          branches_.visit(i, [&](auto& branch) { return branch.start(op, static_cast<std::uint32_t>(i)); });
      if (status == Status::pending) continue;
      win(i, status);
      return Status::done;
    }
    return Status::pending;
  }

  Status finish() {
    const std::size_t i = operation_->claimed_index();
    win(i, branches_.visit(i, [](auto& branch) { return branch.finish(); }));
    return Status::done;
  }

  void abandon() noexcept { leave_all_but(branches_.size()); }

  void take_late() noexcept {
    for (std::size_t i = 0; i < branches_.size(); ++i) {
      branches_.visit(i, [](auto& branch) {
        if constexpr (TakesLate<decltype(branch)>) branch.take_late();
      });
    }
  }
  // Of one that was fired: is its branch one that takes in finish()? A send has happened.
  [[nodiscard]] bool takes_in_finish() noexcept {
    return branches_.visit(operation_->claimed_index(), [](auto& branch) { return TakesLate<decltype(branch)>; });
  }

  [[nodiscard]] auto result(Status /*done*/) { return branches_.result(winner_, winner_status_); }
  [[nodiscard]] auto limited_result(Status status) {
    using SelectResult = decltype(result(status));
    return status == Status::done ? std::optional<SelectResult>(result(status)) : std::nullopt;
  }

 private:
  void win(std::size_t i, Status status) noexcept {
    winner_ = i;
    winner_status_ = status;
    leave_all_but(i);
  }
  void leave_all_but(std::size_t kept) noexcept {
    for (std::size_t i = 0; i < branches_.size(); ++i) {
      if (i != kept) branches_.visit(i, [](auto& branch) { branch.abandon(); });
    }
  }

  Branches branches_;
  Operation* operation_ = nullptr;
  std::size_t winner_ = 0;
  Status winner_status_ = Status::pending;
  bool is_biased_;
};

// The branches of a select that are known when it is compiled.
template <class... Ops>
class TupleBranches {
 public:
  explicit TupleBranches(Ops... ops) : ops_(std::move(ops)...) {}

  static constexpr std::size_t size() noexcept { return sizeof...(Ops); }

  template <class F>
  auto visit(std::size_t i, F f) {
    return visit_from<0>(i, f);
  }

  [[nodiscard]] auto result(std::size_t i, Status status) { return result_from<0>(i, status); }

 private:
  using Selected = SelectResult<decltype(std::declval<Ops&>().result(Status::done))...>;

  template <std::size_t I, class F>
  auto visit_from(std::size_t i, F& f) {
    if constexpr (I + 1 < sizeof...(Ops)) {
      if (i != I) return visit_from<I + 1>(i, f);
    }
    return f(std::get<I>(ops_));
  }

  template <std::size_t I>
  Selected result_from(std::size_t i, Status status) {
    if constexpr (I + 1 < sizeof...(Ops)) {
      if (i != I) return result_from<I + 1>(i, status);
    }
    return Selected(std::in_place_index<I>, std::get<I>(ops_).result(status));
  }

  std::tuple<Ops...> ops_;
};

// The branches of a select over a span of receivers.
template <class Op>
class ListBranches {
 public:
  template <class Rx>
  explicit ListBranches(std::span<Rx> receivers) {
    ops_.reserve(receivers.size());
    for (Rx& receiver : receivers) ops_.push_back(HandleAccess::recv_op(receiver));
  }

  [[nodiscard]] std::size_t size() const noexcept { return ops_.size(); }
  template <class F>
  auto visit(std::size_t i, F f) {
    return f(ops_[i]);
  }
  [[nodiscard]] auto result(std::size_t i, Status status) {
    return IndexedResult<decltype(ops_[i].result(status))>{.index = i, .result = ops_[i].result(status)};
  }

 private:
  std::vector<Op> ops_;
};

// What sending() makes.
template <class Op>
struct [[nodiscard]] SendBranch {
  Op op;
};

template <class Op>
[[nodiscard]] Op branch_op(SendBranch<Op>&& branch) {
  return std::move(branch.op);
}
template <class Rx>
[[nodiscard]] auto branch_op(Rx& receiver) -> decltype(HandleAccess::recv_op(receiver)) {
  return HandleAccess::recv_op(receiver);
}

template <class B>
concept Branch = requires(B&& branch) { branch_op(std::forward<B>(branch)); };

template <Branch... B>
  requires(sizeof...(B) > 0)
[[nodiscard]] auto select_op_of(bool is_biased, B&&... branches) {
  using Branches = TupleBranches<decltype(branch_op(std::forward<B>(branches)))...>;
  return SelectOp<Branches>(Branches(branch_op(std::forward<B>(branches))...), is_biased);
}
template <class Rx, std::size_t kExtent>
  requires Branch<Rx&>
[[nodiscard]] auto select_op_of(bool is_biased, std::span<Rx, kExtent> receivers) {
  if (receivers.empty()) throw_error(NoReceivers{});
  using Branches = ListBranches<decltype(HandleAccess::recv_op(receivers.front()))>;
  return SelectOp<Branches>(Branches(std::span<Rx>(receivers)), is_biased);
}

// The arguments of any form: branches or a span, perhaps after `biased`.
template <class... Arguments>
[[nodiscard]] auto select_op(Arguments&&... arguments)
    -> decltype(select_op_of(false, std::forward<Arguments>(arguments)...)) {
  return select_op_of(false, std::forward<Arguments>(arguments)...);
}
template <class... Arguments>
[[nodiscard]] auto select_op(Biased /*order*/, Arguments&&... arguments)
    -> decltype(select_op_of(true, std::forward<Arguments>(arguments)...)) {
  return select_op_of(true, std::forward<Arguments>(arguments)...);
}

template <class... Arguments>
concept SelectArguments = requires(Arguments&&... arguments) { select_op(std::forward<Arguments>(arguments)...); };

}  // namespace detail

// A branch that sends: Result<void, ChannelClosed>. A value that is given up (an rvalue) is moved only if this branch
// happens, and has to live until the select is over; an lvalue is copied.
template <class Tx>
[[nodiscard]] auto sending(Tx& sender, typename Tx::value_type&& value) {
  using Value = detail::OneValue<typename Tx::value_type>;
  return detail::SendBranch{detail::HandleAccess::send_op(sender, Value(std::move(value)))};
}
template <class Tx>
  requires std::copy_constructible<typename Tx::value_type>
[[nodiscard]] auto sending(Tx& sender, const typename Tx::value_type& value) {
  using Value = detail::OneValue<typename Tx::value_type>;
  return detail::SendBranch{detail::HandleAccess::send_op(sender, Value(value))};
}

template <class... Arguments>
  requires detail::SelectArguments<Arguments...>
[[nodiscard]] auto select(Arguments&&... arguments) {
  return detail::awaited(detail::select_op(std::forward<Arguments>(arguments)...));
}

// A limit of zero or less tries once.
template <class Rep, class Period, class... Arguments>
  requires detail::SelectArguments<Arguments...>
[[nodiscard]] auto select_for(std::chrono::duration<Rep, Period> limit, Arguments&&... arguments) {
  return detail::awaited(detail::select_op(std::forward<Arguments>(arguments)...), limit);
}

template <class... Arguments>
  requires detail::SelectArguments<Arguments...>
[[nodiscard]] auto blocking_select(Arguments&&... arguments) {
  return detail::blocking(detail::select_op(std::forward<Arguments>(arguments)...));
}

template <class Rep, class Period, class... Arguments>
  requires detail::SelectArguments<Arguments...>
[[nodiscard]] auto blocking_select_for(std::chrono::duration<Rep, Period> limit, Arguments&&... arguments) {
  return detail::blocking(detail::select_op(std::forward<Arguments>(arguments)...), limit);
}

template <class... Arguments>
  requires detail::SelectArguments<Arguments...>
[[nodiscard]] auto try_select(Arguments&&... arguments) {
  return detail::at_once(detail::select_op(std::forward<Arguments>(arguments)...));
}

}  // namespace klaw::channels
