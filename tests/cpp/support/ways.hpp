// The ways of waiting: the same verbs by a parked thread and by a suspended coroutine. Each starts the operation and
// gives something with is_done() and get(), which a test holds while it watches the channel.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <gtest/gtest.h>
#include <klaw/channels.hpp>

#include "support/coroutine.hpp"
#include "support/flavours.hpp"

namespace klaw_test {

using klaw::ChannelClosed;
using klaw::ChannelEmpty;
using klaw::ChannelFull;
using klaw::CloseKind;
using klaw::RecvError;
using klaw::Result;
using klaw::SendError;
using klaw::channels::Delivery;
using klaw::channels::Permit;

template <class Handle>
using ValueOf = typename Handle::value_type;

// A branch of a select that gives the caller's own object up: it shows what was done to it.
template <class Tx>
struct Giving {
  Tx* tx;
  ValueOf<Tx>* value;
};
template <class Tx>
[[nodiscard]] Giving<Tx> giving(Tx& tx, ValueOf<Tx>& value) {
  return {&tx, &value};
}

// The arguments of a select as they are kept until it begins, in a thread or a coroutine, and then given to it.
template <class Rx>
[[nodiscard]] auto hold(Rx& receiver) {
  return std::ref(receiver);
}
template <class Tx>
[[nodiscard]] Giving<Tx> hold(Giving<Tx>& given) {
  return given;
}
template <class Rx>
[[nodiscard]] std::span<Rx> hold(std::span<Rx>& receivers) {
  return receivers;
}
[[nodiscard]] inline klaw::channels::Biased hold(const klaw::channels::Biased& biased) { return biased; }

template <class Rx>
[[nodiscard]] Rx& branch(std::reference_wrapper<Rx>& receiver) {
  return receiver.get();
}
template <class Tx>
[[nodiscard]] auto branch(Giving<Tx>& given) {
  return klaw::channels::sending(*given.tx, std::move(*given.value));
}
template <class Rx>
[[nodiscard]] std::span<Rx> branch(std::span<Rx>& receivers) {
  return receivers;
}
[[nodiscard]] inline klaw::channels::Biased branch(klaw::channels::Biased& biased) { return biased; }

struct Parked {
  static constexpr const char* name = "Parked";
  static constexpr bool can_cancel = false;

  template <class Tx>
  static auto send(Tx& tx, ValueOf<Tx> value) {
    return start([&tx, value = std::move(value)]() mutable { return tx.blocking_send(std::move(value)); });
  }
  // The caller's own object is given up: it shows what was done to it.
  template <class Tx>
  static auto give(Tx& tx, ValueOf<Tx>& value) {
    return start([&] { return tx.blocking_send(std::move(value)); });
  }
  template <class Tx, class Limit>
  static auto give_for(Tx& tx, ValueOf<Tx>& value, Limit limit) {
    return start([&tx, &value, limit] { return tx.blocking_send_for(std::move(value), limit); });
  }
  template <class Tx>
  static auto send_batch(Tx& tx, std::vector<ValueOf<Tx>> values) {
    return start([&tx, values = std::move(values)]() mutable { return tx.blocking_send_batch(std::move(values)); });
  }
  template <class Tx>
  static auto give_batch(Tx& tx, std::vector<ValueOf<Tx>>& values) {
    return start([&] { return tx.blocking_send_batch(std::move(values)); });
  }
  template <class Tx>
  static auto reserve(Tx& tx) {
    return start([&] { return tx.blocking_reserve(); });
  }
  template <class Tx, class Limit>
  static auto reserve_for(Tx& tx, Limit limit) {
    return start([&tx, limit] { return tx.blocking_reserve_for(limit); });
  }
  template <class Rx>
  static auto recv(Rx& rx) {
    return start([&] { return rx.blocking_recv(); });
  }
  template <class Rx, class Limit>
  static auto recv_for(Rx& rx, Limit limit) {
    return start([&rx, limit] { return rx.blocking_recv_for(limit); });
  }
  template <class Rx>
  static auto recv_acked(Rx& rx) {
    return start([&] { return rx.blocking_recv_acked(); });
  }
  template <class Rx, class Limit>
  static auto recv_acked_for(Rx& rx, Limit limit) {
    return start([&rx, limit] { return rx.blocking_recv_acked_for(limit); });
  }
  template <class Rx>
  static auto recv_batch(Rx& rx, std::size_t max_items) {
    return start([&rx, max_items] { return rx.blocking_recv_batch(max_items); });
  }
  template <class Handle>
  static auto closed(Handle& handle) {
    return start([&] { return handle.blocking_closed(); });
  }
  template <class... Arguments>
  static auto select(Arguments&&... arguments) {
    return start([... held = hold(arguments)]() mutable { return klaw::channels::blocking_select(branch(held)...); });
  }
  template <class Limit, class... Arguments>
  static auto select_for(Limit limit, Arguments&&... arguments) {
    return start([limit, ... held = hold(arguments)]() mutable {
      return klaw::channels::blocking_select_for(limit, branch(held)...);
    });
  }

 private:
  template <class Body>
  static auto start(Body body) {
    return ThreadTask<decltype(body())>(std::move(body));
  }
};

struct Suspended {
  static constexpr const char* name = "Suspended";
  static constexpr bool can_cancel = true;

  template <class Tx>
  static auto send(Tx& tx, ValueOf<Tx> value) -> Task<decltype(tx.blocking_send(std::declval<ValueOf<Tx>>()))> {
    co_return co_await tx.send(std::move(value));
  }
  template <class Tx>
  static auto give(Tx& tx, ValueOf<Tx>& value) -> Task<decltype(tx.blocking_send(std::declval<ValueOf<Tx>>()))> {
    co_return co_await tx.send(std::move(value));
  }
  template <class Tx, class Limit>
  static auto give_for(Tx& tx, ValueOf<Tx>& value, Limit limit)
      -> Task<decltype(tx.blocking_send_for(std::declval<ValueOf<Tx>>(), limit))> {
    co_return co_await tx.send_for(std::move(value), limit);
  }
  template <class Tx>
  static auto send_batch(Tx& tx, std::vector<ValueOf<Tx>> values) -> Task<Result<void, SendError>> {
    co_return co_await tx.send_batch(std::move(values));
  }
  template <class Tx>
  static auto give_batch(Tx& tx, std::vector<ValueOf<Tx>>& values) -> Task<Result<void, SendError>> {
    co_return co_await tx.send_batch(std::move(values));
  }
  template <class Tx>
  static auto reserve(Tx& tx) -> Task<Result<Permit<ValueOf<Tx>>, ChannelClosed>> {
    co_return co_await tx.reserve();
  }
  template <class Tx, class Limit>
  static auto reserve_for(Tx& tx, Limit limit) -> Task<Result<Permit<ValueOf<Tx>>, SendError>> {
    co_return co_await tx.reserve_for(limit);
  }
  template <class Rx>
  static auto recv(Rx& rx) -> Task<decltype(rx.blocking_recv())> {
    co_return co_await rx.recv();
  }
  template <class Rx, class Limit>
  static auto recv_for(Rx& rx, Limit limit) -> Task<decltype(rx.blocking_recv_for(limit))> {
    co_return co_await rx.recv_for(limit);
  }
  template <class Rx>
  static auto recv_acked(Rx& rx) -> Task<Result<Delivery<ValueOf<Rx>>, ChannelClosed>> {
    co_return co_await rx.recv_acked();
  }
  template <class Rx, class Limit>
  static auto recv_acked_for(Rx& rx, Limit limit) -> Task<Result<Delivery<ValueOf<Rx>>, RecvError>> {
    co_return co_await rx.recv_acked_for(limit);
  }
  template <class Rx>
  static auto recv_batch(Rx& rx, std::size_t max_items) -> Task<Result<std::vector<ValueOf<Rx>>, ChannelClosed>> {
    co_return co_await rx.recv_batch(max_items);
  }
  template <class Handle>
  static auto closed(Handle& handle) -> Task<Result<void, ChannelClosed>> {
    co_return co_await handle.closed();
  }
  template <class... Arguments>
  static auto select(Arguments&&... arguments) {
    return select_held(hold(arguments)...);
  }
  template <class Limit, class... Arguments>
  static auto select_for(Limit limit, Arguments&&... arguments) {
    return select_held_for(limit, hold(arguments)...);
  }

 private:
  template <class... Held>
  static auto select_held(Held... held) -> Task<decltype(klaw::channels::blocking_select(branch(held)...))> {
    co_return co_await klaw::channels::select(branch(held)...);
  }
  template <class Limit, class... Held>
  static auto select_held_for(Limit limit, Held... held)
      -> Task<decltype(klaw::channels::blocking_select_for(limit, branch(held)...))> {
    co_return co_await klaw::channels::select_for(limit, branch(held)...);
  }
};

// For tests of one flavour, by every way of waiting.
using Ways = ::testing::Types<Parked, Suspended>;
struct WayNames {
  template <class Way>
  static std::string GetName(int) {
    return Way::name;
  }
};

[[nodiscard]] inline std::string to_string(const Capacity& capacity) {
  return capacity ? "capacity " + std::to_string(*capacity) : "unbounded";
}

// body(capacity) for each; a failure names it.
template <class Body>
void for_each_capacity(std::initializer_list<Capacity> capacities, Body body) {
  for (const Capacity& capacity : capacities) {
    const ::testing::ScopedTrace trace(__FILE__, __LINE__, to_string(capacity));
    body(capacity);
    if (::testing::Test::HasFatalFailure()) return;
  }
}
template <class Body>
void for_each_capacity(Body body) {
  for_each_capacity({0, 1, 3, 100, std::nullopt}, body);
}

// Fills a bounded channel with 0, 1, 2...; on a rendezvous there is nothing to fill. How many went in.
template <class Tx>
std::size_t fill(Tx& tx) {
  std::size_t count = 0;
  while (tx.try_send(static_cast<ValueOf<Tx>>(count))) ++count;
  return count;
}

// Runs `body` as code that was woken: what it wakes in its turn is queued behind it in this thread, and has run when this
// returns. So `body` can act between a wake-up and the moment when the woken coroutine goes on.
template <class Body>
void while_resuming(Body body) {
  auto [tx, rx] = klaw::channels::channel<int>(1);
  auto task = [](auto& go, Body& run) -> Task<> {
    (void)co_await go.recv();
    run();
    co_return std::monostate{};
  }(rx, body);
  (void)tx.try_send(1);
  (void)task.get();
}

// Is it the error `Error`, one of those that this operation has?
template <class Error, class T, class... Errors>
[[nodiscard]] bool fails_with(const Result<T, std::variant<Errors...>>& result) {
  return !result && std::holds_alternative<Error>(result.error());
}
template <class T, class E>
[[nodiscard]] bool is_full(const Result<T, E>& result) {
  return fails_with<ChannelFull>(result);
}
template <class T, class E>
[[nodiscard]] bool is_empty(const Result<T, E>& result) {
  return fails_with<ChannelEmpty>(result);
}
// Is it ChannelClosed of this kind?
template <class T>
[[nodiscard]] bool is_closed(const Result<T, ChannelClosed>& result, CloseKind kind) {
  return !result && result.error().kind == kind;
}
template <class T, class... Errors>
[[nodiscard]] bool is_closed(const Result<T, std::variant<Errors...>>& result, CloseKind kind) {
  return fails_with<ChannelClosed>(result) && std::get<ChannelClosed>(result.error()).kind == kind;
}

// How many messages a receive of a broadcast says were missed; 0 if it says something else.
template <class T, class E>
[[nodiscard]] std::uint64_t skipped(const Result<T, E>& result) {
  return fails_with<klaw::Lagged>(result) ? std::get<klaw::Lagged>(result.error()).skipped : 0;
}

}  // namespace klaw_test
