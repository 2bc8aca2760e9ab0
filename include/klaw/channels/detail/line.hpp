// What the cores of all flavours do with the lines in which operations wait. All of it runs under the core's lock.
#pragma once

#include <cstdint>

#include <klaw/channels/detail/core.hpp>

namespace klaw::channels::detail {

// Links an unlinked waiter at the end of its line.
template <class W>
void link(IntrusiveList<W>& line, W& w, const Registration& handle, Operation& op) noexcept {
  w.operation = &op;
  w.handle = handle.id;
  w.signal = Waiter::Signal::none;
  line.push_back(w);
}

// Claims the operation of an unlinked waiter. False: it was cancelled, or went to another channel.
inline bool signal(Waiter& w, Waiter::Signal what, Wakeups& wakeups) noexcept {
  if (!w.operation->try_claim(w.index)) return false;
  w.signal = what;
  wakeups.add(*w.operation);
  return true;
}

// What all in `line` wait for has come.
template <class W>
void grant_all(IntrusiveList<W>& line, Wakeups& wakeups) noexcept {
  while (!line.empty()) signal(line.pop_front(), Waiter::Signal::granted, wakeups);
}

// Ends all that wait in `line`.
template <class W>
void close_all(IntrusiveList<W>& line, CloseKind why, Wakeups& wakeups) noexcept {
  while (!line.empty()) {
    W& w = line.pop_front();
    w.why = why;
    signal(w, Waiter::Signal::closed, wakeups);
  }
}

// Ends all that wait in `line` on a handle that is being closed.
template <class W>
void close_own(IntrusiveList<W>& line, std::uint64_t handle, Wakeups& wakeups) noexcept {
  line.for_each([&](W& w) {
    if (w.handle != handle) return;
    line.remove(w);
    w.why = CloseKind::handle_closed;
    signal(w, Waiter::Signal::closed, wakeups);
  });
}

}  // namespace klaw::channels::detail
