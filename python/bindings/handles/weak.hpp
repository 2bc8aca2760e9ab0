// Weak handles, of both backends: what `handle.downgrade()` returns.
//
// A weak handle holds its channel, and no registration. upgrade() asks for one, as clone() does of an open handle.
#pragma once

#include <Python.h>

#include <klaw/channels/detail/core.hpp>

namespace klaw::python {

using channels::detail::Side;

struct WeakObject {
  PyObject_HEAD PyObject* channel;  // strong: a ChannelObject or a RemoteChannelObject; null once cleared
  PyTypeObject* handle_type;        // strong: of what upgrade() gives
  Side side;
};

inline WeakObject& cast_weak(PyObject* object) noexcept { return *reinterpret_cast<WeakObject*>(object); }

// A type whose upgrade() and blocking_upgrade() are these. Null with an exception set.
[[nodiscard]] PyTypeObject* make_weak_type(PyObject* module, const char* name, PyCFunction upgrade,
                                           PyCFunction blocking_upgrade) noexcept;

// Null with an exception set.
[[nodiscard]] PyObject* make_weak(PyTypeObject* type, PyObject* channel, PyTypeObject* handle_type, Side side) noexcept;

}  // namespace klaw::python
