// What the methods of handles share.
#pragma once

#include <Python.h>

#include <cstddef>
#include <vector>

#include "handles/channel.hpp"

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

}  // namespace klaw::python
