// The ways in which a verb of a handle drives its operation (ops.hpp): what it returns for each. A limit of zero or less tries
// once. (Call them with the namespace: without it, a user's function of that name would be looked at, too.)
#pragma once

#include <chrono>
#include <utility>

#include <klaw/channels/detail/coroutine_wait.hpp>
#include <klaw/channels/detail/thread_wait.hpp>

namespace klaw::channels::detail {

template <class Op>
[[nodiscard]] auto awaited(Op&& op) {
  return Awaitable<Op, false>(std::forward<Op>(op));
}
template <class Op, class Rep, class Period>
[[nodiscard]] auto awaited(Op&& op, std::chrono::duration<Rep, Period> limit) {
  return Awaitable<Op, true>(std::forward<Op>(op), deadline_after(limit));
}

template <class Op>
[[nodiscard]] auto blocking(Op op) {
  return op.result(detail::block_on(op));
}
template <class Op, class Rep, class Period>
[[nodiscard]] auto blocking(Op op, std::chrono::duration<Rep, Period> limit) {
  return op.limited_result(detail::block_on(op, deadline_after(limit)));
}

template <class Op>
[[nodiscard]] auto at_once(Op op) {
  return op.limited_result(op.start(nullptr));
}

}  // namespace klaw::channels::detail
