// How values are bytes: what frames and checkpoints are made of.
//
//   bool, enum, unsigned integer   LEB128 varint, in as few bytes as it takes
//   double                         8 bytes, IEEE 754, little-endian
//   RandomId, Mac                  its bytes
//   std::string, Bytes             length, bytes
//   std::optional                  0; or 1 and the value
//   std::vector                    count, elements
//   a struct with fields()         its fields
//
// Each value has one encoding: what decodes, encodes to the same bytes again. A decoder trusts nothing that it reads: it
// allocates for bytes that are there, not for those that a length claims.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <dataplane/wire/bytes.hpp>
#include <dataplane/wire/frame.hpp>
#include <dataplane/wire/limits.hpp>

namespace klaw::dataplane {

namespace wire_detail {

// What a decoder puts up with.
struct ValueLimits {
  std::size_t text_bytes = std::numeric_limits<std::size_t>::max();     // of a std::string
  std::size_t message_bytes = std::numeric_limits<std::size_t>::max();  // of a Bytes or a std::string_view
  std::size_t elements = std::numeric_limits<std::size_t>::max();       // of a std::vector
};

template <template <class...> class Template, class T>
inline constexpr bool kIsA = false;
template <template <class...> class Template, class... Args>
inline constexpr bool kIsA<Template, Template<Args...>> = true;

template <class T>
concept IsId = std::same_as<T, Mac> || kIsA<RandomId, T>;
template <class T>
concept IsText = std::same_as<T, std::string> || std::same_as<T, std::string_view>;

template <class Id>
  requires IsId<std::remove_const_t<Id>>
[[nodiscard]] auto& bytes_of(Id& id) noexcept {
  if constexpr (std::same_as<std::remove_const_t<Id>, Mac>) {
    return id;
  } else {
    return id.bytes;
  }
}

[[nodiscard]] constexpr std::size_t varint_size(std::uint64_t number) noexcept {
  return static_cast<std::size_t>(std::bit_width(number | 1) + 6) / 7;
}

// Both walk a value in the same way: one finds how many bytes it takes, the other writes them.
struct ByteCounter {
  std::size_t count = 0;
  void number(std::uint64_t value) noexcept { count += varint_size(value); }
  void raw(const void* /*from*/, std::size_t size) noexcept { count += size; }
};

struct ByteWriter {
  char* to;
  void number(std::uint64_t value) noexcept {
    for (; value >= 0x80; value >>= 7) *to++ = static_cast<char>(value | 0x80);
    *to++ = static_cast<char>(value);
  }
  // The bytes may lie where they are written to, or behind.
  void raw(const void* from, std::size_t size) noexcept {
    if (size != 0) std::memmove(to, from, size);
    to += size;
  }
};

[[nodiscard]] constexpr std::array<char, 8> double_bytes(double value) noexcept {
  std::array<char, 8> bytes = {};
  const auto bits = std::bit_cast<std::uint64_t>(value);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(bits >> (8 * i));
  return bytes;
}

template <class Sink, class T>
void put(Sink& sink, const T& value) noexcept {
  if constexpr (HasFields<T>) {
    std::apply([&](const auto&... field) { (put(sink, field), ...); }, T::fields(value));
  } else if constexpr (std::is_enum_v<T>) {
    sink.number(std::to_underlying(value));
  } else if constexpr (std::unsigned_integral<T>) {
    sink.number(value);
  } else if constexpr (std::same_as<T, double>) {
    sink.raw(double_bytes(value).data(), sizeof value);
  } else if constexpr (IsId<T>) {
    sink.raw(bytes_of(value).data(), bytes_of(value).size());
  } else if constexpr (IsText<T> || std::same_as<T, Bytes>) {
    sink.number(value.size());
    sink.raw(value.data(), value.size());
  } else if constexpr (kIsA<std::optional, T>) {
    sink.number(value.has_value());
    if (value) put(sink, *value);
  } else {
    static_assert(kIsA<std::vector, T>, "no encoding is defined for this type");
    sink.number(value.size());
    for (const auto& element : value) put(sink, element);
  }
}

template <class T>
[[nodiscard]] std::size_t encoded_size(const T& value) noexcept {
  ByteCounter counter;
  put(counter, value);
  return counter.count;
}

// Appends `size` bytes that write(begin) writes.
template <class Write>
void append(std::size_t size, std::string& out, Write write) {
  const std::size_t before = out.size();
  const std::size_t after = before + size;
  // The size that is handed to us is not used: libstdc++ 12 hands out the capacity.
  out.resize_and_overwrite(after, [&](char* data, std::size_t /*size*/) noexcept {
    write(data + before);
    return after;
  });
}

// Reads values from bytes. The first thing that is wrong is remembered; what is read from then on means nothing.
class Reader {
 public:
  Reader(std::string_view bytes, const ValueLimits& limits) noexcept
      : at_(bytes.data()), end_(bytes.data() + bytes.size()), limits_(limits) {}

  template <class T>
  void get(T& value) {
    if constexpr (HasFields<T>) {
      std::apply([&](auto&... field) { (get(field), ...); }, T::fields(value));
    } else if constexpr (std::is_enum_v<T>) {
      value = static_cast<T>(number(std::to_underlying(kLast<T>)));
    } else if constexpr (std::unsigned_integral<T>) {
      value = static_cast<T>(number(std::numeric_limits<T>::max()));
    } else if constexpr (std::same_as<T, double>) {
      std::uint64_t bits = 0;
      const std::string_view bytes = raw(sizeof bits);
      for (std::size_t i = 0; i < bytes.size(); ++i)
        bits |= std::uint64_t{static_cast<std::uint8_t>(bytes[i])} << (8 * i);
      value = std::bit_cast<double>(bits);
    } else if constexpr (IsId<T>) {
      const std::string_view bytes = raw(bytes_of(value).size());
      std::copy(bytes.begin(), bytes.end(), bytes_of(value).begin());
    } else if constexpr (std::same_as<T, std::string>) {
      value = raw(number(limits_.text_bytes));
    } else if constexpr (std::same_as<T, Bytes> || std::same_as<T, std::string_view>) {
      value = T(raw(number(limits_.message_bytes)));
    } else if constexpr (kIsA<std::optional, T>) {
      bool has_value = false;
      get(has_value);
      // Not emplace(): GCC 14 warns that the string it would destroy first may be uninitialized (bug 80635).
      value = has_value ? T(std::in_place) : T();
      if (value) get(*value);
    } else {
      static_assert(kIsA<std::vector, T>, "no encoding is defined for this type");
      get_elements(value);
    }
  }

  [[nodiscard]] std::size_t left() const noexcept { return static_cast<std::size_t>(end_ - at_); }
  // Empty: nothing was wrong so far.
  [[nodiscard]] const std::string& error() const noexcept { return error_; }
  // Nothing may be left over.
  void finish() {
    if (left() != 0) fail_left_over();
  }

 private:
  // Most numbers are small, and the compiler thinks little of inlining this.
  [[nodiscard, gnu::always_inline]] std::uint64_t number(std::uint64_t max) {
    if (at_ != end_ && static_cast<std::uint8_t>(*at_) < 0x80 && static_cast<std::uint8_t>(*at_) <= max) {
      return static_cast<std::uint8_t>(*at_++);
    }
    return long_number(max);
  }
  [[nodiscard]] std::uint64_t long_number(std::uint64_t max);

  [[nodiscard]] std::string_view raw(std::uint64_t size) {
    if (size > left()) {
      fail_early_end();
      return {};
    }
    return {std::exchange(at_, at_ + size), static_cast<std::size_t>(size)};
  }

  template <class T>
  void get_elements(std::vector<T>& elements) {
    const std::uint64_t count = number(limits_.elements);
    elements.clear();
    // An element takes a byte at least.
    if (count > left()) return fail_early_end();
    elements.reserve(static_cast<std::size_t>(count));
    for (std::uint64_t i = 0; i < count && error_.empty(); ++i) get(elements.emplace_back());
  }

  void fail(std::string what);
  void fail_early_end();
  void fail_left_over();

  const char* at_;
  const char* end_;
  const ValueLimits& limits_;
  std::string error_;
};

}  // namespace wire_detail

// Appends the value's bytes.
template <class T>
void encode_value(const T& value, std::string& out) {
  wire_detail::append(wire_detail::encoded_size(value), out, [&](char* to) noexcept {
    wire_detail::ByteWriter writer{to};
    wire_detail::put(writer, value);
  });
}

// The value of which these are the bytes, all of them; or what is wrong with them.
template <class T>
[[nodiscard]] std::expected<T, std::string> decode_value(std::string_view bytes) {
  static constexpr wire_detail::ValueLimits kUnlimited = {};
  wire_detail::Reader reader(bytes, kUnlimited);
  std::expected<T, std::string> value;
  reader.get(*value);
  reader.finish();
  if (!reader.error().empty()) value = std::unexpected(reader.error());
  return value;
}

}  // namespace klaw::dataplane
