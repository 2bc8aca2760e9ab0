// The codec: how a T becomes a message for other processes, and a message a T. (Not part of klaw/channels.hpp.)
//
//   encode(value)         Result<Payload, EncodeError>
//   decode<T>(payload)    Result<T, DecodeError>
//
// C++ and Python write the same messages, so either end of a channel may be in either language:
//
//   T                                           sent as           received from
//   None, std::monostate                        None              None
//   bool                                        bool              bool
//   integers, enums                             int               int in the range of T
//   float, double, long double                  float             float; an int, if a T can be equal to it
//   std::string; std::string_view (send only)   str               str
//   Bytes, std::vector or std::array of bytes   bytes             bytes
//   std::span of bytes (send only)              bytes
//   std::optional<U>                            None, or a U      None, or a U
//   std::vector, std::deque                     list              list, tuple
//   std::array                                  list              list, tuple of as many elements
//   std::tuple, std::pair                       tuple             tuple, list of as many elements
//   std::map, std::unordered_map                dict              dict; the last of equal keys counts
//   MSGPACK_DEFINE, MSGPACK_DEFINE_ARRAY        list of fields    list, tuple: too few leave fields as they are by default
//   MSGPACK_DEFINE_MAP                          dict by name      dict: the same for what is missing; others are passed over
//   std::variant                                what it holds     see below
//   Value                                       what it holds     any of these
//   Raw                                         the message       any message
//   a type with a Codec<T>                      what that says    what that says
//
// "Bytes" are std::byte, char and unsigned char. A T that is received has a default constructor.
//
//   variant   the first alternative that fits exactly: an int only an integer, a list or tuple only what is sent as such;
//             then the first that fits at all.
//   errors    what does not fit is an error with a place: "element 3: expected an int64, got a str". A std::string has to be
//             UTF-8: send other bytes as Bytes. A Python object of another type arrives pickled, which only Raw can take.
//   limits    values are nested 32 levels deep at most, the innermost included. A decoder allocates for what is there, not for
//             a length that a message claims.
//   cost      a Bytes, received or made by the sender, is never copied; other T once into the message and once out of it.
//   msgpack   is needed for its macros alone: this header does not include it. Instead of a macro, a struct may have this
//             member, which is all that klaw takes of them. Its fields may be of any type here, Value and Bytes included:
//
//   template <class Packer>
//   void msgpack_pack(Packer& packer) const {
//     packer.pack_array(2);  // or pack_map(2), and each name before its field
//     packer.pack(id);
//     packer.pack(image);
//   }
//
// A type of your own, as another one that has a codec:
//
//   template <>
//   struct klaw::channels::Codec<Url> {
//     static std::string to_wire(const Url& url) { return url.text(); }
//     static klaw::Result<Url, std::string> from_wire(std::string text);  // the error: what is wrong with it
//   };
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <expected>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include <klaw/channels/detail/msgpack.hpp>
#include <klaw/channels/payload.hpp>
#include <klaw/channels/value.hpp>
#include <klaw/errors.hpp>
#include <klaw/result.hpp>

namespace klaw::channels {

// The value can't be a message.
struct EncodeError {
  std::string message;
  friend bool operator==(const EncodeError&, const EncodeError&) = default;
};
// The message is no T.
struct DecodeError {
  std::string message;
  friend bool operator==(const DecodeError&, const DecodeError&) = default;
};
[[nodiscard]] inline std::string message(const EncodeError& e) { return e.message; }
[[nodiscard]] inline std::string message(const DecodeError& e) { return e.message; }
using EncodeErrorException = klaw::detail::ErrorOf<EncodeError>;
using DecodeErrorException = klaw::detail::ErrorOf<DecodeError>;

// To be specialised by users: see above.
template <class T>
struct Codec;

namespace detail {

template <template <class...> class Template, class T>
inline constexpr bool kIsA = false;
template <template <class...> class Template, class... Args>
inline constexpr bool kIsA<Template, Template<Args...>> = true;
template <class T>
inline constexpr bool kIsArray = false;
template <class T, std::size_t N>
inline constexpr bool kIsArray<std::array<T, N>> = true;
template <class T>
inline constexpr bool kIsByte = std::same_as<T, std::byte> || std::same_as<T, char> || std::same_as<T, unsigned char>;
template <class T>
inline constexpr bool kIsBytes = false;
template <class T, class Allocator>
inline constexpr bool kIsBytes<std::vector<T, Allocator>> = kIsByte<T>;
template <class T, std::size_t N>
inline constexpr bool kIsBytes<std::array<T, N>> = kIsByte<T>;
template <class T>
inline constexpr bool kIsByteSpan = false;
template <class T, std::size_t N>
inline constexpr bool kIsByteSpan<std::span<T, N>> = kIsByte<std::remove_const_t<T>>;

template <class T>
concept HasCodec = requires(const T& value) { Codec<T>::to_wire(value); };
template <HasCodec T>
using WireOf = std::remove_cvref_t<decltype(Codec<T>::to_wire(std::declval<const T&>()))>;

template <class T>
concept IsNone = std::same_as<T, None> || std::same_as<T, std::monostate>;
template <class T>
concept IsInteger = std::integral<T> && !std::same_as<T, bool> && !std::same_as<T, wchar_t> &&
                    !std::same_as<T, char8_t> && !std::same_as<T, char16_t> && !std::same_as<T, char32_t>;
template <class T>
concept IsSequence = !kIsBytes<T> && (kIsA<std::vector, T> || kIsA<std::deque, T>);
template <class T>
concept IsFixedSequence = !kIsBytes<T> && kIsArray<T>;
template <class T>
concept IsTuple = kIsA<std::tuple, T> || kIsA<std::pair, T>;
template <class T>
concept IsMap = kIsA<std::map, T> || kIsA<std::unordered_map, T>;
// MSGPACK_DEFINE and its like give a type msgpack_pack(packer), which calls pack_array() or pack_map(), then pack() of each member.
template <class T>
concept IsDefined = std::is_class_v<T> && requires(const T& value, Writer& packer) { value.msgpack_pack(packer); };

template <class T>
inline constexpr bool kHasNoCodec = false;

// --- encoding ---

template <class T>
bool write(Writer& to, const T& value);

// The name of a key, for an error's place.
template <class Key>
[[nodiscard]] std::string place_of(const Key& key, std::size_t number) {
  constexpr std::size_t kShown = 40;
  if constexpr (std::convertible_to<const Key&, Value>) {
    std::string text = to_string(Value(key));
    if (text.size() > kShown) text = text.substr(0, valid_utf8(text.substr(0, kShown))) + "...";
    return "value of " + text;
  } else {
    return "value " + std::to_string(number);
  }
}

// What MSGPACK_DEFINE takes for a packer.
class FieldWriter {
 public:
  explicit FieldWriter(Writer& to) noexcept : to_(to) {}

  FieldWriter& pack_array(std::uint32_t count) {
    ok_ = to_.begin_list(count);
    return *this;
  }
  FieldWriter& pack_map(std::uint32_t count) {
    is_map_ = true;
    ok_ = to_.begin_dict(count);
    return *this;
  }
  template <class Member>
  FieldWriter& pack(const Member& member) {
    if constexpr (std::convertible_to<const Member&, std::string_view>) {
      if (is_map_ && packed_ % 2 == 0) return pack_name(member);
    }
    if (ok_ && !write(to_, member)) {
      ok_ = is_map_ ? to_.fault.is_in("field " + name_) : to_.fault.is_in("field", packed_);
    }
    ++packed_;
    return *this;
  }
  [[nodiscard]] bool finish() { return ok_ && to_.end(); }

 private:
  FieldWriter& pack_name(std::string_view name) {
    name_ = name;
    ok_ = ok_ && to_.text(name);
    ++packed_;
    return *this;
  }

  Writer& to_;
  std::string name_;
  std::size_t packed_ = 0;
  bool is_map_ = false;
  bool ok_ = true;
};

template <class Sequence>
bool write_sequence(Writer& to, const Sequence& sequence) {
  if (!to.begin_list(sequence.size())) return false;
  std::size_t number = 0;
  for (const auto& element : sequence) {
    if (!write<typename Sequence::value_type>(to, element)) return to.fault.is_in("element", number);
    ++number;
  }
  return to.end();
}

template <class Tuple>
bool write_tuple(Writer& to, const Tuple& tuple) {
  if (!to.begin_tuple(std::tuple_size_v<Tuple>)) return false;
  std::size_t number = 0;
  const auto put = [&](const auto& element) {
    if (!write(to, element)) return to.fault.is_in("element", number);
    ++number;
    return true;
  };
  return std::apply([&](const auto&... element) { return (put(element) && ...); }, tuple) && to.end();
}

template <class Map>
bool write_map(Writer& to, const Map& map) {
  if (!to.begin_dict(map.size())) return false;
  std::size_t number = 0;
  for (const auto& [key, value] : map) {
    to.begin_key();
    if (!write(to, key)) return to.fault.is_in("key", number);
    to.end_key();
    if (!write(to, value)) return to.fault.is_in(place_of(key, number));
    ++number;
  }
  return to.end();
}

inline bool write_value(Writer& to, const Value& value) {
  return value.visit([&]<class One>(const One& one) {
    if constexpr (std::same_as<One, Tuple>) {
      if (!to.begin_tuple(one.size())) return false;
      for (std::size_t i = 0; i < one.size(); ++i) {
        if (!write_value(to, one[i])) return to.fault.is_in("element", i);
      }
      return to.end();
    } else if constexpr (std::same_as<One, Dict>) {
      return write_map(to, one);
    } else {
      return write(to, one);
    }
  });
}

template <std::floating_point Float>
bool write_float(Writer& to, Float value) {
  const auto as_double = static_cast<double>(value);
  if (static_cast<Float>(as_double) == value || std::isnan(value)) return to.real(as_double);
  return to.fault.is("a long double that no double is equal to");
}

template <class T>
bool write(Writer& to, const T& value) {
  if constexpr (HasCodec<T>) {
    return write<WireOf<T>>(to, Codec<T>::to_wire(value));
  } else if constexpr (std::same_as<T, Value>) {
    return write_value(to, value);
  } else if constexpr (std::same_as<T, Raw>) {
    if (value.tag() != PayloadTag::reference) return to.message(value.message());
    return to.fault.is("a reference, which is of one channel alone");
  } else if constexpr (IsNone<T>) {
    return to.none();
  } else if constexpr (std::same_as<T, bool>) {
    return to.boolean(value);
  } else if constexpr (std::is_enum_v<T>) {
    return write(to, std::to_underlying(value));
  } else if constexpr (IsInteger<T>) {
    return to.integer(static_cast<std::conditional_t<std::is_signed_v<T>, std::int64_t, std::uint64_t>>(value));
  } else if constexpr (std::floating_point<T>) {
    return write_float(to, value);
  } else if constexpr (std::same_as<T, Bytes>) {
    return to.bytes(value.view(), value.whole_message());
  } else if constexpr (kIsBytes<T> || kIsByteSpan<T>) {
    return to.bytes({reinterpret_cast<const char*>(value.data()), value.size()}, Payload());
  } else if constexpr (std::convertible_to<const T&, std::string_view>) {
    return to.text(value);
  } else if constexpr (kIsA<std::optional, T>) {
    static_assert(!kIsA<std::optional, typename T::value_type>, "two std::optional can't be told apart in a message");
    return value ? write(to, *value) : to.none();
  } else if constexpr (kIsA<std::variant, T>) {
    return std::visit([&](const auto& one) { return write(to, one); }, value);
  } else if constexpr (IsSequence<T> || IsFixedSequence<T>) {
    return write_sequence(to, value);
  } else if constexpr (IsTuple<T>) {
    return write_tuple(to, value);
  } else if constexpr (IsMap<T>) {
    return write_map(to, value);
  } else if constexpr (IsDefined<T>) {
    FieldWriter fields(to);
    value.msgpack_pack(fields);
    return fields.finish();
  } else {
    static_assert(kHasNoCodec<T>, "klaw can't send this type: give it msgpack_pack() or a klaw::channels::Codec");
  }
}

// --- decoding ---

class Decoder : public Reader {
 public:
  // Only what is sent as a T is a T.
  bool is_exact = false;
};

template <class T>
bool read(Decoder& from, T& value);

// Whether an object of this kind may be a T.
template <class T>
[[nodiscard]] bool takes(Kind kind, bool is_exact);
// What a T wants, for errors.
template <class T>
[[nodiscard]] std::string wanted();

template <class... Ts>
[[nodiscard]] std::string wanted_one_of() {
  const std::array<std::string, sizeof...(Ts)> all = {wanted<Ts>()...};
  std::string text;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (i > 0) text += i + 1 == all.size() ? " or " : ", ";
    text += all[i];
  }
  return text;
}

template <class T>
struct Alternatives;
template <class... Ts>
struct Alternatives<std::variant<Ts...>> {
  static bool take(Kind kind, bool is_exact) { return (takes<Ts>(kind, is_exact) || ...); }
  static std::string want() { return wanted_one_of<Ts...>(); }
};

template <class T>
std::string wanted() {
  if constexpr (HasCodec<T>) {
    return wanted<WireOf<T>>();
  } else if constexpr (IsNone<T>) {
    return "None";
  } else if constexpr (std::same_as<T, bool>) {
    return "a bool";
  } else if constexpr (std::is_enum_v<T>) {
    return wanted<std::underlying_type_t<T>>();
  } else if constexpr (IsInteger<T>) {
    return (std::is_signed_v<T> ? "an int" : "a uint") + std::to_string(8 * sizeof(T));
  } else if constexpr (std::floating_point<T>) {
    return "a float";
  } else if constexpr (std::same_as<T, std::string>) {
    return "a str";
  } else if constexpr (std::same_as<T, Bytes> || kIsBytes<T>) {
    return "bytes";
  } else if constexpr (kIsA<std::optional, T>) {
    return wanted<typename T::value_type>() + " or None";
  } else if constexpr (kIsA<std::variant, T>) {
    return Alternatives<T>::want();
  } else if constexpr (IsTuple<T>) {
    return "a tuple";
  } else if constexpr (IsMap<T>) {
    return "a dict";
  } else if constexpr (IsDefined<T>) {
    return "an object's fields";
  } else {
    return "a list";
  }
}

template <class T>
bool takes(Kind kind, bool is_exact) {
  if constexpr (HasCodec<T>) {
    return takes<WireOf<T>>(kind, is_exact);
  } else if constexpr (std::same_as<T, Value>) {
    return true;
  } else if constexpr (IsNone<T>) {
    return kind == Kind::none;
  } else if constexpr (std::same_as<T, bool>) {
    return kind == Kind::boolean;
  } else if constexpr (std::is_enum_v<T> || IsInteger<T>) {
    return kind == Kind::integer;
  } else if constexpr (std::floating_point<T>) {
    return kind == Kind::real || (kind == Kind::integer && !is_exact);
  } else if constexpr (std::same_as<T, std::string>) {
    return kind == Kind::text;
  } else if constexpr (std::same_as<T, Bytes> || kIsBytes<T>) {
    return kind == Kind::bytes;
  } else if constexpr (kIsA<std::optional, T>) {
    return kind == Kind::none || takes<typename T::value_type>(kind, is_exact);
  } else if constexpr (kIsA<std::variant, T>) {
    return Alternatives<T>::take(kind, is_exact);
  } else if constexpr (IsMap<T>) {
    return kind == Kind::dict;
  } else if constexpr (IsDefined<T>) {
    return kind == Kind::list || kind == Kind::dict || (kind == Kind::tuple && !is_exact);
  } else if constexpr (IsTuple<T>) {
    return kind == Kind::tuple || (kind == Kind::list && !is_exact);
  } else {
    return kind == Kind::list || (kind == Kind::tuple && !is_exact);
  }
}

// The next object, which has to be one that a T may be.
template <class T>
bool next_for(Decoder& from, Head& head) {
  if (!from.next(head)) return false;
  if (takes<T>(head.kind, from.is_exact)) return true;
  return from.fault.is("expected " + wanted<T>() + ", got " + std::string(name_of(head.kind)));
}

inline std::string shown(const Head& integer) {
  return integer.is_negative ? std::to_string(static_cast<std::int64_t>(integer.number))
                             : std::to_string(integer.number);
}

template <class T>
bool read_integer(Decoder& from, T& value) {
  Head head;
  if (!next_for<T>(from, head)) return false;
  using Limits = std::numeric_limits<T>;
  const bool fits = head.is_negative
                        ? std::is_signed_v<T> && static_cast<std::int64_t>(head.number) >= std::int64_t{Limits::min()}
                        : head.number <= static_cast<std::uint64_t>(Limits::max());
  if (!fits) {
    return from.fault.is("expected " + wanted<T>() + ", got " + shown(head));
  }
  value = static_cast<T>(head.number);
  return true;
}

template <class T>
bool read_float(Decoder& from, T& value) {
  Head head;
  if (!next_for<T>(from, head)) return false;
  if (head.kind == Kind::integer) {
    // It is exact if all bits from the first to the last one that is set are digits.
    constexpr int kDigits = std::numeric_limits<T>::digits;
    const std::uint64_t size = head.is_negative ? 0 - head.number : head.number;
    const int zeros = size == 0 ? 0 : std::countr_zero(size);
    if (static_cast<int>(std::bit_width(size)) - zeros > kDigits)
      return from.fault.is("expected a float, got " + shown(head) + ", which no such float is equal to");
    value = static_cast<T>(size);
    if (head.is_negative) value = -value;
    return true;
  }
  value = static_cast<T>(head.real);
  if (std::isfinite(value) || !std::isfinite(head.real)) return true;
  return from.fault.is("expected a float, got " + to_string(Value(head.real)) + ", which is out of its range");
}

template <class T>
bool read_bytes(Decoder& from, T& value) {
  Head head;
  if (!next_for<T>(from, head)) return false;
  if constexpr (std::same_as<T, Bytes>) {
    value = Bytes(from.payload(), head.content);
  } else {
    if constexpr (kIsArray<T>) {
      if (head.content.size() != value.size()) {
        return from.fault.is("expected " + std::to_string(value.size()) + " bytes, got " +
                             std::to_string(head.content.size()));
      }
    } else {
      value.resize(head.content.size());
    }
    if (!head.content.empty()) std::memcpy(value.data(), head.content.data(), head.content.size());
  }
  return true;
}

inline bool has_elements(Decoder& from, const Head& head, std::size_t wanted) {
  if (head.count == wanted) return true;
  return from.fault.is("expected " + std::to_string(wanted) + (wanted == 1 ? " element" : " elements") + ", got " +
                       std::string(name_of(head.kind)) + " of " + std::to_string(head.count));
}

template <class T>
bool read_sequence(Decoder& from, T& value) {
  Head head;
  if (!next_for<T>(from, head)) return false;
  value.clear();
  // An element takes more memory than it takes bytes: what was only claimed shall not be allocated.
  constexpr std::size_t kReservedMax = 1024;
  if constexpr (requires { value.reserve(head.count); }) value.reserve(std::min(head.count, kReservedMax));
  for (std::size_t i = 0; i < head.count; ++i) {
    typename T::value_type element{};
    if (!read(from, element)) return from.fault.is_in("element", i);
    value.push_back(std::move(element));
  }
  from.end();
  return true;
}

template <class T>
bool read_fixed_sequence(Decoder& from, T& value) {
  Head head;
  if (!next_for<T>(from, head) || !has_elements(from, head, value.size())) return false;
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (!read(from, value[i])) return from.fault.is_in("element", i);
  }
  from.end();
  return true;
}

template <class T>
bool read_tuple(Decoder& from, T& value) {
  Head head;
  if (!next_for<T>(from, head) || !has_elements(from, head, std::tuple_size_v<T>)) return false;
  std::size_t number = 0;
  const auto get = [&](auto& element) {
    if (!read(from, element)) return from.fault.is_in("element", number);
    ++number;
    return true;
  };
  if (!std::apply([&](auto&... element) { return (get(element) && ...); }, value)) return false;
  from.end();
  return true;
}

template <class Key, class Mapped, class Insert>
bool read_entries(Decoder& from, std::size_t count, Insert insert) {
  for (std::size_t i = 0; i < count; ++i) {
    Key key{};
    Mapped value{};
    if (!read(from, key)) return from.fault.is_in("key", i);
    if (!read(from, value)) return from.fault.is_in(place_of(key, i));
    insert(std::move(key), std::move(value));
  }
  from.end();
  return true;
}

template <class T>
bool read_map(Decoder& from, T& value) {
  using Key = typename T::key_type;
  using Mapped = typename T::mapped_type;
  Head head;
  if (!next_for<T>(from, head)) return false;
  value.clear();
  return read_entries<Key, Mapped>(
      from, head.count, [&](Key&& key, Mapped&& mapped) { value.insert_or_assign(std::move(key), std::move(mapped)); });
}

template <class Items>
bool read_items(Decoder& from, std::size_t count, Value& value) {
  Items& items = value.template emplace<Items>();
  for (std::size_t i = 0; i < count; ++i) {
    if (!read(from, items.emplace_back())) return from.fault.is_in("element", i);
  }
  from.end();
  return true;
}

inline bool read_value(Decoder& from, Value& value) {
  Head head;
  if (!from.next(head)) return false;
  switch (head.kind) {
    case Kind::none: value = None(); return true;
    case Kind::boolean: value = head.boolean; return true;
    case Kind::integer:
      value = head.is_negative ? Value(static_cast<std::int64_t>(head.number)) : Value(head.number);
      return true;
    case Kind::real: value = head.real; return true;
    case Kind::text: value = head.content; return true;
    case Kind::bytes: value = Bytes(from.payload(), head.content); return true;
    case Kind::list: return read_items<List>(from, head.count, value);
    case Kind::tuple: return read_items<Tuple>(from, head.count, value);
    case Kind::dict: break;
  }
  Dict& dict = value.emplace<Dict>();
  return read_entries<Value, Value>(
      from, head.count, [&](Value&& key, Value&& mapped) { dict.emplace_back(std::move(key), std::move(mapped)); });
}

template <class T>
bool read_optional(Decoder& from, T& value) {
  static_assert(!kIsA<std::optional, typename T::value_type>, "two std::optional can't be told apart in a message");
  const Reader::Place place = from.place();
  Head head;
  if (!next_for<T>(from, head)) return false;
  // Not emplace(): GCC 14 warns that the string it would destroy first may be uninitialized (bug 80635).
  value = head.kind == Kind::none ? T() : T(std::in_place);
  if (!value) return true;
  from.go_to(place);
  return read(from, *value);
}

// Tries the alternatives of a variant in their order.
template <class... Ts>
class VariantReader {
 public:
  VariantReader(Decoder& from, std::variant<Ts...>& value) noexcept : from_(from), value_(value) {}

  bool read_any() {
    const Reader::Place place = from_.place();
    Head head;
    if (!next_for<std::variant<Ts...>>(from_, head)) return false;
    const bool is_exact = from_.is_exact;
    if (tries(place, head.kind, true) || (!is_exact && tries(place, head.kind, false))) return true;
    return from_.fault.is("fits no alternative of a variant (" + why_ + ")");
  }

 private:
  bool tries(const Reader::Place& place, Kind kind, bool exactly) {
    why_.clear();
    const bool before = std::exchange(from_.is_exact, exactly);
    const bool found = [&]<std::size_t... Is>(std::index_sequence<Is...>) {
      return (fits<Is>(place, kind) || ...);
    }(std::index_sequence_for<Ts...>());
    from_.is_exact = before;
    return found;
  }
  template <std::size_t I>
  bool fits(const Reader::Place& place, Kind kind) {
    using T = std::variant_alternative_t<I, std::variant<Ts...>>;
    if (!takes<T>(kind, from_.is_exact)) return false;
    from_.go_to(place);
    if (read(from_, value_.template emplace<I>())) return true;
    why_ += (why_.empty() ? "" : "; ") + std::exchange(from_.fault, Fault()).what();
    return false;
  }

  Decoder& from_;
  std::variant<Ts...>& value_;
  std::string why_;
};

// A packer that takes instead of giving: the macro's msgpack_pack() calls pack() with each member of the object, which is
// where that member's value is put. So members are read by this codec's rules, and its errors name them.
template <class Object>
class FieldReader {
 public:
  FieldReader(Decoder& from, Object& object) noexcept : from_(from), object_(object) {}

  FieldReader& pack_array(std::uint32_t /*count*/) {
    Head head;
    if (!from_.next(head)) return failed();
    if (head.kind != Kind::list && (head.kind != Kind::tuple || from_.is_exact)) return unexpected("a list", head);
    left_ = head.count;
    return *this;
  }
  FieldReader& pack_map(std::uint32_t /*count*/) {
    is_map_ = true;
    Head head;
    if (!from_.next(head)) return failed();
    if (head.kind != Kind::dict) return unexpected("a dict", head);
    for (std::size_t i = 0; i < head.count; ++i) {
      Head key;
      if (!from_.next(key)) return failed();
      if (key.kind != Kind::text) return unexpected("a str", key, "key", i);
      entries_.emplace_back(key.content, from_.place());
      if (!from_.skip()) return failed();
    }
    end_ = from_.place();
    return *this;
  }
  template <class Member>
  FieldReader& pack(const Member& member) {
    const bool is_name = is_map_ && packed_++ % 2 == 0;
    if constexpr (std::convertible_to<const Member&, std::string_view>) {
      if (is_name) name_ = std::string_view(member);
    }
    if constexpr (!std::is_array_v<Member>) {  // a literal, which is a name
      if (!is_name && ok_ && finds_next()) read_into(member);
    }
    return *this;
  }
  [[nodiscard]] bool finish() {
    if (!ok_) return false;
    if (is_map_) from_.go_to(*end_);
    for (; left_ > 0; --left_) {
      if (!from_.skip()) return false;
    }
    from_.end();
    return true;
  }

 private:
  // Whether the message has the next member, and goes to where.
  bool finds_next() {
    if (!is_map_) {
      ++number_;
      if (left_ == 0) return false;
      --left_;
      return true;
    }
    for (auto entry = entries_.rbegin(); entry != entries_.rend(); ++entry) {
      if (entry->first != name_) continue;
      from_.go_to(entry->second);
      return true;
    }
    return false;
  }
  template <class Member>
  void read_into(const Member& member) {
    const auto* const object = reinterpret_cast<const char*>(std::addressof(object_));
    const auto* const at = reinterpret_cast<const char*>(std::addressof(member));
    if (std::less<>()(at, object) || !std::less<>()(at, object + sizeof(Object))) {
      ok_ =
          from_.fault.is("msgpack_pack() of this type gives what is no member of it: give it a klaw::channels::Codec");
      return;
    }
    // The object is not const: only the macro's function is.
    if (read(from_, const_cast<Member&>(member))) return;
    ok_ = is_map_ ? from_.fault.is_in("field " + std::string(name_)) : from_.fault.is_in("field", number_ - 1);
  }

  FieldReader& failed() {
    ok_ = false;
    return *this;
  }
  FieldReader& unexpected(std::string_view wanted, const Head& head) {
    ok_ = from_.fault.is("expected " + std::string(wanted) + ", got " + std::string(name_of(head.kind)));
    return *this;
  }
  FieldReader& unexpected(std::string_view wanted, const Head& head, std::string_view place, std::size_t number) {
    unexpected(wanted, head);
    ok_ = from_.fault.is_in(place, number);
    return *this;
  }

  Decoder& from_;
  Object& object_;
  std::vector<std::pair<std::string_view, Reader::Place>> entries_;  // of a dict
  std::optional<Reader::Place> end_;                                 // of a dict
  std::string_view name_;
  std::size_t packed_ = 0;  // of a dict: names and values
  std::size_t number_ = 0;  // of a list
  std::size_t left_ = 0;    // of a list
  bool is_map_ = false;
  bool ok_ = true;
};

template <class T>
bool read_by_codec(Decoder& from, T& value) {
  WireOf<T> wire{};
  if (!read(from, wire)) return false;
  Result<T, std::string> result = Codec<T>::from_wire(std::move(wire));
  if (!result) return from.fault.is(std::move(result).error());
  value = *std::move(result);
  return true;
}

template <class T>
bool read(Decoder& from, T& value) {
  if constexpr (HasCodec<T>) {
    return read_by_codec(from, value);
  } else if constexpr (std::same_as<T, Value>) {
    return read_value(from, value);
  } else if constexpr (IsInteger<T>) {
    return read_integer(from, value);
  } else if constexpr (std::is_enum_v<T>) {
    std::underlying_type_t<T> number{};
    if (!read(from, number)) return false;
    value = static_cast<T>(number);
    return true;
  } else if constexpr (std::floating_point<T>) {
    return read_float(from, value);
  } else if constexpr (std::same_as<T, Bytes> || kIsBytes<T>) {
    return read_bytes(from, value);
  } else if constexpr (kIsA<std::optional, T>) {
    return read_optional(from, value);
  } else if constexpr (kIsA<std::variant, T>) {
    return [&]<class... Ts>(std::variant<Ts...>& variant) {
      return VariantReader<Ts...>(from, variant).read_any();
    }(value);
  } else if constexpr (IsSequence<T>) {
    return read_sequence(from, value);
  } else if constexpr (IsFixedSequence<T>) {
    return read_fixed_sequence(from, value);
  } else if constexpr (IsTuple<T>) {
    return read_tuple(from, value);
  } else if constexpr (IsMap<T>) {
    return read_map(from, value);
  } else if constexpr (IsNone<T> || std::same_as<T, bool> || std::same_as<T, std::string>) {
    Head head;
    if (!next_for<T>(from, head)) return false;
    if constexpr (std::same_as<T, bool>) value = head.boolean;
    if constexpr (std::same_as<T, std::string>) value = head.content;
    return true;
  } else if constexpr (IsDefined<T>) {
    FieldReader<T> fields(from, value);
    value.msgpack_pack(fields);
    return fields.finish();
  } else {
    static_assert(kHasNoCodec<T>, "klaw can't receive this type: give it msgpack_pack() or a klaw::channels::Codec");
  }
}

}  // namespace detail

// The message that `value` is.
template <class T>
[[nodiscard]] Result<Payload, EncodeError> encode(const T& value) {
  detail::Writer writer;
  if (!detail::write(writer, value)) return std::unexpected(EncodeError{writer.fault.what()});
  return writer.take();
}

// The T that `payload` is, all of it.
template <class T>
[[nodiscard]] Result<T, DecodeError> decode(const Payload& payload) {
  detail::Decoder decoder;
  if constexpr (std::same_as<T, Raw>) {
    if (payload.empty()) return std::unexpected(DecodeError{"the message is empty"});
    return Raw(payload);
  } else {
    T value{};
    if (!decoder.open(payload) || !detail::read(decoder, value) || !decoder.finish()) {
      return std::unexpected(DecodeError{decoder.fault.what()});
    }
    return value;
  }
}

}  // namespace klaw::channels
