// A message between processes: a Python value as bytes, and back.
//
//   tag 0  the bytes of a `bytes`
//   tag 1  msgpack, for values made of exactly None, bool, int (of 64 bits), float, str, bytes, list and dict
//   tag 2  pickle, protocol 5, for all others; large buffers (numpy arrays) beside it, and read where they arrived
//   tag 3  a reference: the name of a payload that is elsewhere
//   tag 4  msgpack, as tag 1, for values that have tuples, too
//
// docs/wire-protocol.md has the layouts. Subclasses and the rest are pickled, so what comes out is equal to what went in, and
// of the same types; only that an object that is in a message twice comes out as two. C++ reads and writes the same messages,
// but for pickles: klaw/channels/codec.hpp.
#pragma once

#include <Python.h>

#include <optional>
#include <string_view>

#include <dataplane/wire/bytes.hpp>

#include "await/python.hpp"

namespace klaw::python {

using dataplane::Bytes;

// nullopt with an exception set: it can't be pickled.
[[nodiscard]] std::optional<Bytes> encode_payload(PyObject* value) noexcept;
// Null with an exception set. Unpickling runs code of the sender's choice: see docs/threat-model.md.
[[nodiscard]] PyObject* decode_payload(const Bytes& payload) noexcept;

// How values are pickled: dumps(value) -> (pickle, list of buffers), loads(pickle, buffers) -> value.
void set_pickler(PyObject* dumps, PyObject* loads) noexcept;

// What stands for a payload that is elsewhere: a subclass of str, whose text is the payload's name.
void set_reference_type(PyObject* type) noexcept;
[[nodiscard]] bool is_reference(const Bytes& payload) noexcept;
// The name in a reference.
[[nodiscard]] std::string_view reference_name(const Bytes& payload) noexcept;

// Makes the type of the buffers that arrays are read from. False with an exception set.
[[nodiscard]] bool add_payload_type(PyObject* module) noexcept;

}  // namespace klaw::python
