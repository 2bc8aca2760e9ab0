// What the methods of handles share.
#pragma once

#include <Python.h>

#include <algorithm>
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

// The name of an operation, made of a backend and a method: "LocalSender.send".
template <std::size_t kSize>
struct FixedString {
  constexpr FixedString() = default;
  // NOLINTNEXTLINE(*-explicit-constructor): a literal is meant; the check has two names
  constexpr FixedString(const char (&literal)[kSize]) { std::copy_n(literal, kSize, text); }
  char text[kSize] = {};
};
template <FixedString kFirst, FixedString kSecond>
struct Joined {
  static constexpr auto make() {
    FixedString<sizeof(kFirst.text) + sizeof(kSecond.text) - 1> all;
    std::copy_n(kFirst.text, sizeof(kFirst.text) - 1, all.text);
    std::copy_n(kSecond.text, sizeof(kSecond.text), all.text + sizeof(kFirst.text) - 1);
    return all;
  }
  static constexpr auto kText = make();
};
template <class Backend, FixedString kName>
inline constexpr const char* kNamed = Joined<Backend::kPrefix, kName>::kText.text;

}  // namespace klaw::python
