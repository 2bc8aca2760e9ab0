// select(): wait on several receivers at once, and receive from the first that is ready.
//
// Exactly one branch receives. The others never held anything, also when the select is cancelled or runs out of time: one
// compare-and-swap decides which channel it belongs to. A closed branch is a ready one: its Result says so. The search
// starts at a random branch, so that none starves; `biased` keeps the order of the arguments.
//
//   awaited       co_await select(rx1, rx2)               SelectResult
//   limited       co_await select_for(50ms, rx1, rx2)     std::optional<SelectResult>: nullopt when the time is up
//   blocking      blocking_select(rx1, rx2), blocking_select_for(50ms, rx1, rx2)
//   never waits   try_select(rx1, rx2)                    std::optional<SelectResult>: nullopt if none is ready
//
//   auto got = co_await select(orders, cancellations);
//   if (got.index() == 0) handle(got.get<0>());           // Result<Order, ChannelClosed>
//
// Cost: one lock per branch, and one more to leave each that was waited on.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <tuple>
#include <utility>
#include <variant>

#include <klaw/channels/detail/handles.hpp>

namespace klaw::channels {

struct Biased {};
// As first argument of a select: look at the branches in order, every time.
inline constexpr Biased biased{};

// Which branch was ready, and what it received.
template <class... T>
class [[nodiscard]] SelectResult {
 public:
  using Variant = std::variant<Result<T, ChannelClosed>...>;
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

namespace detail {

// A number to start the search at: fairness, not secrecy (xorshift64; Marsaglia, "Xorshift RNGs", 2003).
[[nodiscard]] inline std::uint64_t random_start() noexcept {
  thread_local std::uint64_t state = reinterpret_cast<std::uintptr_t>(&state) | 1;
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

// The op of a select over `Branches`, which has size() and visit(i, f): f(RecvOp&) of branch i.
template <class Branches>
class SelectOp {
 public:
  SelectOp(Branches branches, bool is_biased) : branches_(std::move(branches)), is_biased_(is_biased) {}

  Status start(Operation* op) {
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

  // Of an op that came to Status::done: which branch, how, and the branches, the winner of which holds the outcome.
  [[nodiscard]] std::size_t winner() const noexcept { return winner_; }
  [[nodiscard]] Status winner_status() const noexcept { return winner_status_; }
  [[nodiscard]] Branches& branches() noexcept { return branches_; }

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

// The branches of a select over receivers that are known when it is compiled.
template <class... Ops>
class TupleBranches {
 public:
  explicit TupleBranches(Ops... ops) : ops_(std::move(ops)...) {}

  static constexpr std::size_t size() noexcept { return sizeof...(Ops); }

  template <class F>
  auto visit(std::size_t i, F f) {
    return visit_from<0>(i, f);
  }

  // SelectResult of the types received.
  [[nodiscard]] auto result(std::size_t i, Status status) { return result_from<0>(i, status); }

 private:
  template <std::size_t I, class F>
  auto visit_from(std::size_t i, F& f) {
    if constexpr (I + 1 < sizeof...(Ops)) {
      if (i != I) return visit_from<I + 1>(i, f);
    }
    return f(std::get<I>(ops_));
  }

  template <std::size_t I>
  auto result_from(std::size_t i, Status status) {
    using Out = SelectResult<typename Ops::value_type...>;
    if constexpr (I + 1 < sizeof...(Ops)) {
      if (i != I) return result_from<I + 1>(i, status);
    }
    return Out(std::in_place_index<I>, std::get<I>(ops_).result(status));
  }

  std::tuple<Ops...> ops_;
};

template <class... T, class... Core>
[[nodiscard]] auto select_op(bool is_biased, BasicReceiver<T, Core>&... receivers) {
  static_assert(sizeof...(T) > 0, "select() needs at least one receiver");
  using Branches = TupleBranches<RecvOp<T, Core>...>;
  return SelectOp<Branches>(
      Branches(RecvOp<T, Core>(HandleAccess::core(receivers), HandleAccess::registration(receivers))...), is_biased);
}

template <class Op>
auto blocking_limited(Op op, const Deadline& deadline) {
  return op.limited_result(block_on(op, deadline));
}

}  // namespace detail

template <class... T, class... Core>
[[nodiscard]] auto select(detail::BasicReceiver<T, Core>&... receivers) {
  auto op = detail::select_op(false, receivers...);
  return detail::Awaitable<decltype(op), false>(std::move(op));
}
template <class... T, class... Core>
[[nodiscard]] auto select(Biased /*order*/, detail::BasicReceiver<T, Core>&... receivers) {
  auto op = detail::select_op(true, receivers...);
  return detail::Awaitable<decltype(op), false>(std::move(op));
}

template <class Rep, class Period, class... T, class... Core>
[[nodiscard]] auto select_for(std::chrono::duration<Rep, Period> limit, detail::BasicReceiver<T, Core>&... receivers) {
  auto op = detail::select_op(false, receivers...);
  return detail::Awaitable<decltype(op), true>(std::move(op), detail::deadline_after(limit));
}

template <class... T, class... Core>
[[nodiscard]] auto blocking_select(detail::BasicReceiver<T, Core>&... receivers) {
  auto op = detail::select_op(false, receivers...);
  return op.result(detail::block_on(op));
}
template <class... T, class... Core>
[[nodiscard]] auto blocking_select(Biased /*order*/, detail::BasicReceiver<T, Core>&... receivers) {
  auto op = detail::select_op(true, receivers...);
  return op.result(detail::block_on(op));
}
template <class Rep, class Period, class... T, class... Core>
[[nodiscard]] auto blocking_select_for(std::chrono::duration<Rep, Period> limit,
                                       detail::BasicReceiver<T, Core>&... receivers) {
  return detail::blocking_limited(detail::select_op(false, receivers...), detail::deadline_after(limit));
}

template <class... T, class... Core>
[[nodiscard]] auto try_select(detail::BasicReceiver<T, Core>&... receivers) {
  auto op = detail::select_op(false, receivers...);
  return op.limited_result(op.start(nullptr));
}

}  // namespace klaw::channels
