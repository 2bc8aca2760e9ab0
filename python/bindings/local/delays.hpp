// When a delayed message of a local channel is due: told to its channel by a thread of Python's.
//
// Not by the timers of the C++ core, which are no Python thread: the GIL is the channel's lock, and a foreign thread must
// not ask for it once the interpreter is going down.
#pragma once

#include "handles/channel.hpp"

namespace klaw::python {

// False with an exception set: the thread could not be started.
[[nodiscard]] bool start_delays();
// After start_delays(): has `core` release what is due, at `due`; by then it may be gone.
void release_at(channels::detail::Clock::time_point due, std::weak_ptr<channels::detail::MpmcCore<Ref>> core);

}  // namespace klaw::python
