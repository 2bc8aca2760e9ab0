// How what an operation has come to looks in Python, whatever its backend.
#pragma once

#include <Python.h>

#include <cstdint>

#include <klaw/channels/detail/operation.hpp>
#include <klaw/errors.hpp>

#include "await/patience.hpp"
#include "await/python.hpp"

namespace klaw::python {

using channels::detail::Status;

// How a failure is told.
enum class Style : std::uint8_t {
  raise,    // exceptions; out of time is SendTimeoutError or RecvTimeoutError
  nowait,   // exceptions; "not now" is ChannelFullError or ChannelEmptyError
  result,   // Ok or Err
  iterate,  // as raise, but an orderly end stops the iteration (StopAsyncIteration)
  next,     // as iterate, in a plain `for`: null without an exception
};

// All of them: a new reference, or null with an exception set (but for Style::next).

// One of those that are always the same.
[[nodiscard]] inline PyObject* shared_result(PyObject* Classes::* which) noexcept {
  const Classes* const classes = Classes::get();
  return classes != nullptr ? Py_NewRef(classes->*which) : nullptr;
}

[[nodiscard]] inline PyObject* tell_sent(Style style) noexcept {
  if (style == Style::result) return shared_result(&Classes::ok_none);
  Py_RETURN_NONE;
}

// Of a broadcast or a watch: to so many receivers.
[[nodiscard]] inline PyObject* tell_receivers(Style style, std::size_t count) noexcept {
  const Ref receivers = Ref::steal(PyLong_FromSize_t(count));
  if (!receivers) return nullptr;
  return style == Style::result ? make_ok(receivers.get()) : Py_NewRef(receivers.get());
}

// Of a broadcast: so many messages were missed. An iteration skips that.
[[nodiscard]] inline PyObject* tell_lagged(Style style, std::uint64_t skipped) noexcept {
  if (style == Style::result) return make_err_lagged(skipped);
  raise_lagged(skipped);
  return nullptr;
}
[[nodiscard]] constexpr bool skips_lags(Style style) noexcept {
  return style == Style::iterate || style == Style::next;
}

[[nodiscard]] inline PyObject* tell_closed(Style style, const ChannelClosed& error) noexcept {
  if (style == Style::result) return make_err_closed(error);
  if (style == Style::iterate && is_orderly(error.kind)) {
    PyErr_SetNone(PyExc_StopAsyncIteration);
  } else if (style != Style::next || !is_orderly(error.kind)) {
    raise_closed(error);
  }
  return nullptr;
}

// Of a oneshot.
[[nodiscard]] inline PyObject* tell_already_sent(Style style) noexcept {
  if (style == Style::result) return shared_result(&Classes::err_already_sent);
  raise_already_sent();
  return nullptr;
}

// `status`: too_large, or out of time.
[[nodiscard]] inline PyObject* tell_full(Style style, Status status, std::size_t capacity, Patience patience) noexcept {
  if (style == Style::result) return make_err_full(capacity);
  if (style == Style::nowait || status == Status::too_large) {
    raise_full(capacity);
  } else {
    raise_send_timeout(capacity, patience.seconds());
  }
  return nullptr;
}

[[nodiscard]] inline PyObject* tell_empty(Style style, Patience patience) noexcept {
  if (style == Style::result) return shared_result(&Classes::err_empty);
  if (style == Style::nowait) {
    raise_empty();
  } else {
    raise_recv_timeout(patience.seconds());
  }
  return nullptr;
}

}  // namespace klaw::python
