// What sender.cpp and receiver.cpp share: making handles, and the CPython type of a side out of what all handles have and
// what that side has.
#pragma once

#include <Python.h>

#include <initializer_list>

#include "channel.hpp"

namespace klaw::python {

// A method with another signature than (self, argument), as the method tables want it.
template <class Function>
PyCFunction as_method(Function* function) noexcept {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}
inline constexpr int kFastKeywords = METH_FASTCALL | METH_KEYWORDS;

inline HandleObject* cast_handle(PyObject* object) noexcept { return reinterpret_cast<HandleObject*>(object); }

void raise_not_usable() noexcept;

inline bool is_usable(const HandleObject& self) noexcept {
  return self.channel != nullptr && self.channel->fork_generation == fork_generation;
}

// The handle, if this process may use it; null with RuntimeError set in a forked child.
[[nodiscard]] inline HandleObject* usable(PyObject* object) noexcept {
  HandleObject* const self = cast_handle(object);
  if (is_usable(*self)) [[likely]]
    return self;
  raise_not_usable();
  return nullptr;
}

// A final type named `name` with the methods and slots given, besides those of every handle. Null with an exception set.
[[nodiscard]] PyTypeObject* make_handle_type(PyObject* module, const char* name,
                                             std::initializer_list<PyMethodDef> methods,
                                             std::initializer_list<PyType_Slot> slots) noexcept;

[[nodiscard]] PyTypeObject* make_sender_type(PyObject* module) noexcept;
[[nodiscard]] PyTypeObject* make_receiver_type(PyObject* module) noexcept;

}  // namespace klaw::python
