#include "remote/payload.hpp"

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <new>
#include <string_view>
#include <vector>

#include <msgpack.hpp>

namespace klaw::python {

namespace {

using Tag = channels::PayloadTag;

// What is nested deeper, or holds itself, is pickled.
constexpr int kDepthMax = 32;
constexpr std::size_t kAlignment = 16;
constexpr std::size_t kReferenceNameSize = 32;  // hexadecimal digits

// tag, three zeros, how many buffers; then the size of the pickle and of each buffer, as u64; then these, each aligned.
constexpr std::size_t kPickleHeader = 8;
constexpr std::uint32_t kBuffersMax = 1024 * 1024;

PyObject* pickle_dumps = nullptr;
PyObject* pickle_loads = nullptr;
PyObject* reference_type = nullptr;
PyTypeObject* buffer_type = nullptr;

constexpr std::size_t aligned(std::size_t offset) noexcept { return (offset + kAlignment - 1) & ~(kAlignment - 1); }

// --- msgpack ---

using Buffer = msgpack::sbuffer;

constexpr std::int8_t kTuple = 1;  // of the extension that marks one

// msgpack-cxx packs a double that is a whole number as an integer, and -0.0 as 0: a float is written here, as it is.
class Packer : public msgpack::packer<Buffer> {
 public:
  explicit Packer(Buffer& buffer) : msgpack::packer<Buffer>(buffer), buffer_(buffer) {}

  // A tuple is an array whose first element is an empty extension of type 1.
  void pack_tuple(std::uint32_t size) {
    has_tuples_ = true;
    pack_array(size + 1);
    pack_ext(0, kTuple);
  }
  [[nodiscard]] bool has_tuples() const noexcept { return has_tuples_; }

  void pack_float(double value) {
    std::array<char, 1 + sizeof value> packed{kFloat64};
    const auto bits = std::bit_cast<std::uint64_t>(value);
    for (std::size_t i = 0; i < sizeof value; ++i) packed[sizeof value - i] = static_cast<char>(bits >> (8 * i));
    buffer_.write(packed.data(), packed.size());
  }

 private:
  static constexpr char kFloat64 = '\xcb';  // before the bits, the most significant byte first
  Buffer& buffer_;
  bool has_tuples_ = false;
};

std::uint32_t size32(Py_ssize_t size) noexcept { return static_cast<std::uint32_t>(size); }
bool fits_32(Py_ssize_t size) noexcept { return size <= std::numeric_limits<std::int32_t>::max(); }

bool pack_int(Packer& packer, PyObject* object) {
  int overflow = 0;
  const long long value = PyLong_AsLongLongAndOverflow(object, &overflow);
  if (overflow == 0) {
    packer.pack_int64(value);
    return true;
  }
  if (overflow < 0) return false;
  const unsigned long long large = PyLong_AsUnsignedLongLong(object);
  if (PyErr_Occurred() != nullptr) {
    PyErr_Clear();
    return false;
  }
  packer.pack_uint64(large);
  return true;
}

bool pack_str(Packer& packer, PyObject* object) {
  Py_ssize_t size = 0;
  const char* const text = PyUnicode_AsUTF8AndSize(object, &size);
  if (text == nullptr) {
    PyErr_Clear();  // a lone surrogate
    return false;
  }
  if (!fits_32(size)) return false;
  packer.pack_str(size32(size));
  packer.pack_str_body(text, size32(size));
  return true;
}

bool pack(Packer& packer, PyObject* object, int depth);

bool pack_list(Packer& packer, PyObject* object, int depth) {
  const Py_ssize_t size = PyList_GET_SIZE(object);
  if (!fits_32(size)) return false;
  packer.pack_array(size32(size));
  // Nothing in here runs Python code: the list stays as it is.
  for (Py_ssize_t i = 0; i < size; ++i) {
    if (!pack(packer, PyList_GET_ITEM(object, i), depth)) return false;
  }
  return true;
}

bool pack_tuple(Packer& packer, PyObject* object, int depth) {
  const Py_ssize_t size = PyTuple_GET_SIZE(object);
  if (!fits_32(size)) return false;
  packer.pack_tuple(size32(size));
  for (Py_ssize_t i = 0; i < size; ++i) {
    if (!pack(packer, PyTuple_GET_ITEM(object, i), depth)) return false;
  }
  return true;
}

bool pack_dict(Packer& packer, PyObject* object, int depth) {
  const Py_ssize_t size = PyDict_GET_SIZE(object);
  if (!fits_32(size)) return false;
  packer.pack_map(size32(size));
  PyObject* key = nullptr;
  PyObject* value = nullptr;
  for (Py_ssize_t position = 0; PyDict_Next(object, &position, &key, &value) != 0;) {
    if (!pack(packer, key, depth) || !pack(packer, value, depth)) return false;
  }
  return true;
}

// False, without an exception: it is of another type, and has to be pickled.
bool pack(Packer& packer, PyObject* object, int depth) {
  if (depth == 0) return false;
  if (object == Py_None) {
    packer.pack_nil();
  } else if (object == Py_True) {
    packer.pack_true();
  } else if (object == Py_False) {
    packer.pack_false();
  } else if (PyUnicode_CheckExact(object)) {
    return pack_str(packer, object);
  } else if (PyLong_CheckExact(object)) {
    return pack_int(packer, object);
  } else if (PyFloat_CheckExact(object)) {
    packer.pack_float(PyFloat_AS_DOUBLE(object));
  } else if (PyBytes_CheckExact(object) && fits_32(PyBytes_GET_SIZE(object))) {
    packer.pack_bin(size32(PyBytes_GET_SIZE(object)));
    packer.pack_bin_body(PyBytes_AS_STRING(object), size32(PyBytes_GET_SIZE(object)));
  } else if (PyList_CheckExact(object)) {
    return pack_list(packer, object, depth - 1);
  } else if (PyTuple_CheckExact(object)) {
    return pack_tuple(packer, object, depth - 1);
  } else if (PyDict_CheckExact(object)) {
    return pack_dict(packer, object, depth - 1);
  } else {
    return false;
  }
  return true;
}

// `tuples`: they may be among it.
PyObject* unpack(const msgpack::object& object, bool tuples);

bool is_tuple(const msgpack::object_array& array) {
  return array.size > 0 && array.ptr[0].type == msgpack::type::EXT && array.ptr[0].via.ext.type() == kTuple &&
         array.ptr[0].via.ext.size == 0;
}

PyObject* unpack_tuple(const msgpack::object_array& array) {
  Ref tuple = Ref::steal(PyTuple_New(static_cast<Py_ssize_t>(array.size) - 1));
  for (std::uint32_t i = 1; tuple && i < array.size; ++i) {
    PyObject* const item = unpack(array.ptr[i], true);
    if (item == nullptr) return nullptr;
    PyTuple_SET_ITEM(tuple.get(), static_cast<Py_ssize_t>(i) - 1, item);
  }
  return tuple.release();
}

PyObject* unpack_list(const msgpack::object_array& array, bool tuples) {
  Ref list = Ref::steal(PyList_New(static_cast<Py_ssize_t>(array.size)));
  for (std::uint32_t i = 0; list && i < array.size; ++i) {
    PyObject* const item = unpack(array.ptr[i], tuples);
    if (item == nullptr) return nullptr;
    PyList_SET_ITEM(list.get(), static_cast<Py_ssize_t>(i), item);
  }
  return list.release();
}

PyObject* unpack_dict(const msgpack::object_map& map, bool tuples) {
  Ref dict = Ref::steal(PyDict_New());
  for (std::uint32_t i = 0; dict && i < map.size; ++i) {
    const Ref key = Ref::steal(unpack(map.ptr[i].key, tuples));
    const Ref value = Ref::steal(key ? unpack(map.ptr[i].val, tuples) : nullptr);
    if (!value || PyDict_SetItem(dict.get(), key.get(), value.get()) < 0) return nullptr;
  }
  return dict.release();
}

PyObject* unpack(const msgpack::object& object, bool tuples) {
  switch (object.type) {
    case msgpack::type::NIL: Py_RETURN_NONE;
    case msgpack::type::BOOLEAN: return PyBool_FromLong(object.via.boolean ? 1 : 0);
    case msgpack::type::POSITIVE_INTEGER: return PyLong_FromUnsignedLongLong(object.via.u64);
    case msgpack::type::NEGATIVE_INTEGER: return PyLong_FromLongLong(object.via.i64);
    case msgpack::type::FLOAT32:
    case msgpack::type::FLOAT64: return PyFloat_FromDouble(object.via.f64);
    case msgpack::type::STR:
      return PyUnicode_DecodeUTF8(object.via.str.ptr, static_cast<Py_ssize_t>(object.via.str.size), "strict");
    case msgpack::type::BIN:
      return PyBytes_FromStringAndSize(object.via.bin.ptr, static_cast<Py_ssize_t>(object.via.bin.size));
    case msgpack::type::ARRAY:
      return tuples && is_tuple(object.via.array) ? unpack_tuple(object.via.array)
                                                  : unpack_list(object.via.array, tuples);
    case msgpack::type::MAP: return unpack_dict(object.via.map, tuples);
    case msgpack::type::EXT: break;
  }
  PyErr_SetString(PyExc_ValueError, "the message has a msgpack extension type, which klaw does not send");
  return nullptr;
}

PyObject* decode_msgpack(std::string_view packed, bool tuples) {
  try {
    // Strings and bytes are read where they are; nothing is allocated for a size that was only claimed.
    const auto refer = [](msgpack::type::object_type, std::size_t, void*) { return true; };
    const msgpack::unpack_limit limit(packed.size(), packed.size(), packed.size(), packed.size(), packed.size(),
                                      kDepthMax + 1);
    const msgpack::object_handle handle = msgpack::unpack(packed.data(), packed.size(), refer, nullptr, limit);
    return unpack(handle.get(), tuples);
  } catch (const std::exception& error) {
    PyErr_Format(PyExc_ValueError, "the message is not valid msgpack: %s", error.what());
    return nullptr;
  }
}

// --- pickle ---

// Read-only memory that lives as long as whoever looks at it.
struct BufferObject {
  PyObject_HEAD Bytes payload;
};

int buffer_get(PyObject* object, Py_buffer* view, int flags) {
  const Bytes& payload = reinterpret_cast<BufferObject*>(object)->payload;
  return PyBuffer_FillInfo(view, object, const_cast<char*>(payload.data()), static_cast<Py_ssize_t>(payload.size()), 1,
                           flags);
}

void buffer_dealloc(PyObject* object) {
  PyTypeObject* const type = Py_TYPE(object);
  reinterpret_cast<BufferObject*>(object)->payload.~Bytes();
  type->tp_free(object);
  Py_DECREF(type);
}

PyType_Slot buffer_slots[] = {
    {Py_tp_doc, const_cast<char*>("The bytes of a received message, which arrays are read from.")},
    {Py_bf_getbuffer, reinterpret_cast<void*>(buffer_get)},
    {Py_tp_dealloc, reinterpret_cast<void*>(buffer_dealloc)},
    {},
};

PyType_Spec buffer_spec = {
    .name = "klaw_core._core.PayloadBuffer",
    .basicsize = sizeof(BufferObject),
    .itemsize = 0,
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = buffer_slots,
};

// A view of contiguous memory, released with it.
class View {
 public:
  explicit View(PyObject* object) noexcept : is_held_(PyObject_GetBuffer(object, &buffer_, PyBUF_SIMPLE) == 0) {}
  View(View&& other) noexcept : buffer_(other.buffer_), is_held_(std::exchange(other.is_held_, false)) {}
  View& operator=(View&&) = delete;
  ~View() {
    if (is_held_) PyBuffer_Release(&buffer_);
  }
  explicit operator bool() const noexcept { return is_held_; }
  [[nodiscard]] std::string_view bytes() const noexcept {
    return {static_cast<const char*>(buffer_.buf), static_cast<std::size_t>(buffer_.len)};
  }

 private:
  Py_buffer buffer_;
  bool is_held_;
};

Bytes laid_out(const std::vector<View>& parts) {
  std::size_t size = aligned(kPickleHeader + parts.size() * sizeof(std::uint64_t));
  for (const View& part : parts) size = aligned(size + part.bytes().size());
  return Bytes::filled(size, [&](std::byte* begin) {
    std::memset(begin, 0, size);
    begin[0] = static_cast<std::byte>(Tag::pickle);
    const auto buffers = static_cast<std::uint32_t>(parts.size() - 1);
    std::memcpy(begin + 4, &buffers, sizeof buffers);
    std::size_t at = aligned(kPickleHeader + parts.size() * sizeof(std::uint64_t));
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const std::string_view bytes = parts[i].bytes();
      const std::uint64_t length = bytes.size();
      std::memcpy(begin + kPickleHeader + i * sizeof length, &length, sizeof length);
      if (length > 0) std::memcpy(begin + at, bytes.data(), length);
      at = aligned(at + length);
    }
  });
}

std::optional<Bytes> encode_pickle(PyObject* value) {
  if (pickle_dumps == nullptr) {
    PyErr_SetString(PyExc_RuntimeError, "no pickler was set");
    return std::nullopt;
  }
  const Ref pair = Ref::steal(outlive_exit([&] { return PyObject_CallOneArg(pickle_dumps, value); }));
  if (!pair) {
    replace_stop_iteration("pickling a message");
    return std::nullopt;
  }
  PyObject* const buffers = PyTuple_GET_ITEM(pair.get(), 1);
  std::vector<View> parts;
  parts.emplace_back(PyTuple_GET_ITEM(pair.get(), 0));
  for (Py_ssize_t i = 0; parts.back() && i < PyList_GET_SIZE(buffers); ++i) {
    parts.emplace_back(PyList_GET_ITEM(buffers, i));
  }
  if (!parts.back()) return std::nullopt;
  return laid_out(parts);
}

PyObject* malformed() {
  PyErr_SetString(PyExc_ValueError, "the message is malformed");
  return nullptr;
}

PyObject* decode_pickle(const Bytes& payload) {
  const std::string_view all = payload.view();
  std::uint32_t buffers = 0;
  if (all.size() < kPickleHeader) return malformed();
  std::memcpy(&buffers, all.data() + 4, sizeof buffers);
  if (buffers > kBuffersMax || all.size() < kPickleHeader + (buffers + 1) * sizeof(std::uint64_t)) return malformed();
  BufferObject* const owner = PyObject_New(BufferObject, buffer_type);
  if (owner == nullptr) return nullptr;
  ::new (&owner->payload) Bytes(payload);
  const Ref keep = Ref::steal(reinterpret_cast<PyObject*>(owner));
  const Ref whole = Ref::steal(PyMemoryView_FromObject(keep.get()));
  const Ref list = Ref::steal(PyList_New(0));
  Ref pickle;
  if (!whole || !list) return nullptr;
  std::size_t at = aligned(kPickleHeader + (buffers + 1) * sizeof(std::uint64_t));
  for (std::uint32_t i = 0; i <= buffers; ++i) {
    std::uint64_t size = 0;
    std::memcpy(&size, all.data() + kPickleHeader + i * sizeof size, sizeof size);
    if (at > all.size() || size > all.size() - at) return malformed();
    Ref part =
        Ref::steal(PySequence_GetSlice(whole.get(), static_cast<Py_ssize_t>(at), static_cast<Py_ssize_t>(at + size)));
    if (!part || (i > 0 && PyList_Append(list.get(), part.get()) < 0)) return nullptr;
    if (i == 0) pickle = std::move(part);
    at = aligned(at + size);
  }
  PyObject* const value =
      outlive_exit([&] { return PyObject_CallFunctionObjArgs(pickle_loads, pickle.get(), list.get(), nullptr); });
  if (value == nullptr) replace_stop_iteration("unpickling a message");
  return value;
}

Bytes tagged(Tag tag, std::string_view content) {
  return Bytes::filled(content.size() + 1, [&](std::byte* begin) {
    begin[0] = static_cast<std::byte>(tag);
    if (!content.empty()) std::memcpy(begin + 1, content.data(), content.size());
  });
}

std::optional<Bytes> encode_reference(PyObject* reference) {
  Py_ssize_t size = 0;
  const char* const name = PyUnicode_AsUTF8AndSize(reference, &size);
  if (name == nullptr) return std::nullopt;
  return tagged(Tag::reference, {name, static_cast<std::size_t>(size)});
}

PyObject* decode_reference(std::string_view name) {
  if (reference_type == nullptr) {
    PyErr_SetString(PyExc_ValueError, "the message is a reference, and there is nothing here to look it up in");
    return nullptr;
  }
  const Ref text = Ref::steal(PyUnicode_DecodeUTF8(name.data(), static_cast<Py_ssize_t>(name.size()), "strict"));
  return text ? PyObject_CallOneArg(reference_type, text.get()) : nullptr;
}

}  // namespace

std::optional<Bytes> encode_payload(PyObject* value) noexcept {
  try {
    if (PyBytes_CheckExact(value)) {
      return tagged(Tag::raw, {PyBytes_AS_STRING(value), static_cast<std::size_t>(PyBytes_GET_SIZE(value))});
    }
    if (reinterpret_cast<PyObject*>(Py_TYPE(value)) == reference_type) return encode_reference(value);
    thread_local Buffer buffer;
    buffer.clear();
    constexpr char kTag = static_cast<char>(Tag::msgpack);
    buffer.write(&kTag, 1);
    Packer packer(buffer);
    if (pack(packer, value, kDepthMax)) {
      if (packer.has_tuples()) *buffer.data() = static_cast<char>(Tag::tuples);
      return Bytes(std::string_view(buffer.data(), buffer.size()));
    }
    return encode_pickle(value);
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
    return std::nullopt;
  }
}

PyObject* decode_payload(const Bytes& payload) noexcept {
  const std::string_view all = payload.view();
  if (all.empty()) return malformed();
  const std::string_view content = all.substr(1);
  switch (static_cast<Tag>(all[0])) {
    case Tag::raw: return PyBytes_FromStringAndSize(content.data(), static_cast<Py_ssize_t>(content.size()));
    case Tag::msgpack: return decode_msgpack(content, false);
    case Tag::pickle: return decode_pickle(payload);
    case Tag::reference: return decode_reference(content);
    case Tag::tuples: return decode_msgpack(content, true);
  }
  PyErr_Format(PyExc_ValueError, "the message has an unknown form (tag %d): was it sent by a newer klaw?",
               static_cast<int>(all[0]));
  return nullptr;
}

void set_pickler(PyObject* dumps, PyObject* loads) noexcept {
  Py_XSETREF(pickle_dumps, Py_NewRef(dumps));
  Py_XSETREF(pickle_loads, Py_NewRef(loads));
}

void set_reference_type(PyObject* type) noexcept { Py_XSETREF(reference_type, Py_NewRef(type)); }

bool is_reference(const Bytes& payload) noexcept {
  const std::string_view all = payload.view();
  return all.size() == 1 + kReferenceNameSize && static_cast<Tag>(all[0]) == Tag::reference &&
         all.find_first_not_of("0123456789abcdef", 1) == std::string_view::npos;
}

std::string_view reference_name(const Bytes& payload) noexcept { return payload.view().substr(1); }

bool add_payload_type(PyObject* module) noexcept {
  buffer_type = reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &buffer_spec, nullptr));
  return buffer_type != nullptr;
}

}  // namespace klaw::python
