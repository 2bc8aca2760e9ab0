// LocalPermit: a slot of a local channel, held for a message that is to come.
#pragma once

#include <Python.h>

#include <klaw/channels/detail/permit.hpp>

#include "channel.hpp"

namespace klaw::python {

// Null with an exception set; the slot is free again then.
[[nodiscard]] PyObject* make_permit(ChannelObject* channel, channels::Permit<Ref> permit) noexcept;

// False with an exception set.
[[nodiscard]] bool add_permit_type(PyObject* module) noexcept;

}  // namespace klaw::python
