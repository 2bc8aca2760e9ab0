// What the functions and classes that nanobind binds have in common.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include <nanobind/nanobind.h>

namespace klaw::python {

// A new reference from the C API, or the exception it has set.
inline nanobind::object checked(PyObject* object) {
  if (object == nullptr) nanobind::raise_python_error();
  return nanobind::steal(object);
}

// An id, or a secret, of so many bytes.
template <std::size_t kSize>
void copy_id(const nanobind::bytes& from, std::array<std::uint8_t, kSize>& to) {
  if (from.size() != kSize) throw nanobind::value_error(("expected " + std::to_string(kSize) + " bytes").c_str());
  std::copy_n(from.c_str(), kSize, reinterpret_cast<char*>(to.data()));
}

}  // namespace klaw::python
