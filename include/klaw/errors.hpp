// Every way in which a channel operation fails, as plain values and as exceptions.
//
// Operations return values: `Result<T, ChannelClosed>` and the like. Each value has a matching exception, thrown by
// `value_or_throw(result)` and by range-for over a receiver. One type per meaning: "no room now" (ChannelFull),
// "nothing there now" (ChannelEmpty) and "never again" (ChannelClosed) are never confused.
//
//   value                 exception                      meaning
//   ChannelClosed         ChannelClosedError             the other side, or this handle, is gone; `kind` says why
//   ChannelFull           ChannelFullError               no room (now, or within the time limit)
//   ChannelEmpty          ChannelEmptyError              no message (now, or within the time limit)
//   Lagged                LaggedError                    a broadcast receiver fell behind
//   AlreadySent           AlreadySentError               the second send on a oneshot
//   NoReceivers           NoReceiversError               select() without receivers
//   ChannelBackendError   ChannelBackendErrorException   the backend failed; carried inside a ChannelClosed
//   InvalidArgument       InvalidArgumentError           a setting that can't be meant
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include <klaw/result.hpp>

namespace klaw {

// Why a channel is closed. `ended` and `shutdown` are orderly ends; `handle_closed` is the caller's own doing; the rest
// are failures, which end an iteration with an exception.
enum class CloseKind : std::uint8_t {
  ended,          // the last sender closed
  handle_closed,  // this very handle was closed
  peer_gone,      // no receiver is left
  peer_died,      // a sender died, or closed with a reason
  shutdown,       // shutdown() was called on some handle
  deleted,        // the channel was deleted
  backend,        // the backend failed
};

[[nodiscard]] constexpr std::string_view to_string(CloseKind kind) noexcept {
  switch (kind) {
    case CloseKind::ended: return "ended";
    case CloseKind::handle_closed: return "handle_closed";
    case CloseKind::peer_gone: return "peer_gone";
    case CloseKind::peer_died: return "peer_died";
    case CloseKind::shutdown: return "shutdown";
    case CloseKind::deleted: return "deleted";
    case CloseKind::backend: return "backend";
  }
  return "unknown";
}

// Does an iteration simply end here (true), or must its user hear of it (false)?
[[nodiscard]] constexpr bool is_orderly(CloseKind kind) noexcept {
  return kind == CloseKind::ended || kind == CloseKind::shutdown || kind == CloseKind::handle_closed;
}

struct ChannelBackendError {
  std::string message;
  std::string backend;
  std::optional<std::string> actor_name;
  std::optional<std::string> ns;

  friend bool operator==(const ChannelBackendError&, const ChannelBackendError&) = default;
};

struct ChannelClosed {
  CloseKind kind = CloseKind::ended;
  std::optional<std::string> reason = std::nullopt;
  std::optional<ChannelBackendError> backend_error = std::nullopt;

  // `kind` is not compared, as in Python: two closed channels with one reason are equal.
  friend bool operator==(const ChannelClosed& a, const ChannelClosed& b) {
    return a.reason == b.reason && a.backend_error == b.backend_error;
  }
};

struct ChannelFull {
  std::size_t capacity = 0;
  friend bool operator==(const ChannelFull&, const ChannelFull&) = default;
};

struct ChannelEmpty {
  friend bool operator==(const ChannelEmpty&, const ChannelEmpty&) = default;
};

struct Lagged {
  std::uint64_t skipped = 0;
  friend bool operator==(const Lagged&, const Lagged&) = default;
};

struct AlreadySent {
  friend bool operator==(const AlreadySent&, const AlreadySent&) = default;
};

struct NoReceivers {
  friend bool operator==(const NoReceivers&, const NoReceivers&) = default;
};

struct InvalidArgument {
  std::string message;
  friend bool operator==(const InvalidArgument&, const InvalidArgument&) = default;
};

// What a fallible call of the factory gives.
using ChannelError = std::variant<ChannelClosed, ChannelBackendError, InvalidArgument>;
// What try_send and a timed send give, and what try_recv and a timed receive give.
using SendError = std::variant<ChannelFull, ChannelClosed>;
using RecvError = std::variant<ChannelEmpty, ChannelClosed>;
// What a broadcast receiver gives: from a receive without a limit, and from a try_recv or a timed one.
using LaggingRecvError = std::variant<Lagged, ChannelClosed>;
using LaggingTryRecvError = std::variant<ChannelEmpty, Lagged, ChannelClosed>;
// What the send of a oneshot gives.
using OneshotSendError = std::variant<AlreadySent, ChannelClosed>;

[[nodiscard]] inline std::string message(const ChannelBackendError& e) {
  std::string text = "[" + e.backend + "]";
  if (e.actor_name) text += " actor='" + *e.actor_name + "'";
  if (e.ns) text += " ns='" + *e.ns + "'";
  return text + " " + e.message;
}
[[nodiscard]] inline std::string message(const ChannelClosed& e) {
  if (e.backend_error) return message(*e.backend_error);
  return e.reason.value_or("Channel closed");
}
[[nodiscard]] inline std::string message(const ChannelFull& e) {
  return "Channel full (capacity=" + std::to_string(e.capacity) + ")";
}
[[nodiscard]] inline std::string message(const ChannelEmpty& /*e*/) { return "Channel empty"; }
[[nodiscard]] inline std::string message(const Lagged& e) {
  return "Receiver lagged: " + std::to_string(e.skipped) + " messages skipped";
}
[[nodiscard]] inline std::string message(const AlreadySent& /*e*/) { return "A value was already sent"; }
[[nodiscard]] inline std::string message(const NoReceivers& /*e*/) { return "select() needs at least one receiver"; }
[[nodiscard]] inline std::string message(const InvalidArgument& e) { return e.message; }
template <class... Errors>
[[nodiscard]] std::string message(const std::variant<Errors...>& e) {
  return std::visit([](const auto& one) { return message(one); }, e);
}

// The base of all exceptions of this library.
class ChannelException : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

namespace detail {

// An exception that carries its value: `catch (const ChannelFullError& e) { e.error().capacity; }`.
template <class Value, class Base = ChannelException>
class ErrorOf : public Base {
 public:
  explicit ErrorOf(Value value) : Base(message(value)), value_(std::move(value)) {}
  [[nodiscard]] const Value& error() const noexcept { return value_; }

 private:
  Value value_;
};

}  // namespace detail

using ChannelClosedError = detail::ErrorOf<ChannelClosed>;
using ChannelFullError = detail::ErrorOf<ChannelFull>;
using ChannelEmptyError = detail::ErrorOf<ChannelEmpty>;
using LaggedError = detail::ErrorOf<Lagged>;
using AlreadySentError = detail::ErrorOf<AlreadySent>;
using NoReceiversError = detail::ErrorOf<NoReceivers>;
using InvalidArgumentError = detail::ErrorOf<InvalidArgument>;

// A backend failure is a closed channel to those who don't care which backend it was.
class ChannelBackendErrorException : public ChannelClosedError {
 public:
  explicit ChannelBackendErrorException(ChannelBackendError e)
      : ChannelClosedError(ChannelClosed{CloseKind::backend, std::nullopt, std::move(e)}) {}
};

[[noreturn]] inline void throw_error(ChannelBackendError e) { throw ChannelBackendErrorException(std::move(e)); }
[[noreturn]] inline void throw_error(ChannelClosed e) {
  if (e.backend_error) throw ChannelBackendErrorException(*std::move(e.backend_error));
  throw ChannelClosedError(std::move(e));
}
template <class E>
  requires requires(const E& e) { message(e); }
[[noreturn]] void throw_error(E e) {
  throw detail::ErrorOf<E>(std::move(e));
}
template <class... Errors>
[[noreturn]] void throw_error(std::variant<Errors...> e) {
  std::visit([](auto one) { throw_error(std::move(one)); }, std::move(e));
  std::unreachable();
}

// The value of `result`, or the exception that matches its error.
template <class T, class E>
T value_or_throw(Result<T, E>&& result) {
  if (!result) throw_error(std::move(result).error());
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

}  // namespace klaw
