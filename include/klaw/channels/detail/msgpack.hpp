// msgpack, one object after the other: what payloads of plain data are made of. codec.hpp says which T is which object.
//
// Reader and Writer are the whole of the format that klaw uses: no extension type but the mark of a tuple, which is an array
// whose first element is an empty extension of type 1 (c7 00 01). Neither throws nor allocates for what is read. Both stop at
// the first error; what is wrong is said where it is found, and where that is by those who called, on their way out.
//
// A reader trusts nothing: no count allocates, and nothing is nested deeper than kLevelsMax.
#pragma once

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <klaw/channels/payload.hpp>

namespace klaw::channels::detail {

// As deep as Python's own encoder goes: the innermost value is on this level at most.
inline constexpr int kLevelsMax = 32;
inline constexpr std::size_t kLengthMax = std::numeric_limits<std::int32_t>::max();
inline constexpr std::array<unsigned char, 3> kTupleMark = {0xc7, 0x00, 0x01};

enum class Kind : std::uint8_t { none, boolean, integer, real, text, bytes, list, tuple, dict };

[[nodiscard]] constexpr std::string_view name_of(Kind kind) noexcept {
  constexpr std::array<std::string_view, 9> kNames = {"None",  "a bool", "an int",  "a float", "a str",
                                                      "bytes", "a list", "a tuple", "a dict"};
  return kNames[static_cast<std::size_t>(kind)];
}

// Where text stops being UTF-8 as Unicode has it (no surrogates, no over-long forms), or its size.
[[nodiscard]] inline std::size_t valid_utf8(std::string_view text) noexcept {
  const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
  std::size_t at = 0;
  while (at < text.size()) {
    std::uint64_t eight = 0;
    if (text.size() - at >= sizeof eight) {
      std::memcpy(&eight, text.data() + at, sizeof eight);
      if ((eight & 0x8080808080808080U) == 0) {
        at += sizeof eight;
        continue;
      }
    }
    const unsigned char first = byte(at);
    if (first < 0x80) {
      ++at;
      continue;
    }
    // How many bytes follow, and between which bounds the first of them is.
    std::size_t more = 0;
    unsigned char low = 0x80;
    unsigned char high = 0xbf;
    if (first >= 0xc2 && first <= 0xdf) {
      more = 1;
    } else if (first >= 0xe0 && first <= 0xef) {
      more = 2;
      if (first == 0xe0) low = 0xa0;
      if (first == 0xed) high = 0x9f;
    } else if (first >= 0xf0 && first <= 0xf4) {
      more = 3;
      if (first == 0xf0) low = 0x90;
      if (first == 0xf4) high = 0x8f;
    } else {
      return at;
    }
    if (text.size() - at <= more || byte(at + 1) < low || byte(at + 1) > high) return at;
    for (std::size_t i = 2; i <= more; ++i) {
      if (byte(at + i) < 0x80 || byte(at + i) > 0xbf) return at;
    }
    at += more + 1;
  }
  return at;
}

// What is wrong, and where: "value of 'scores', element 3: expected an int64, got a str".
class Fault {
 public:
  [[nodiscard]] const std::string& what() const noexcept { return what_; }
  // False, for `return fault.is("...")`.
  bool is(std::string what) {
    if (what_.empty()) what_ = std::move(what);
    return false;
  }
  // Called from the innermost place outwards.
  bool is_in(std::string_view place) {
    what_.insert(0, std::string(place) + (has_place_ ? ", " : ": "));
    has_place_ = true;
    return false;
  }
  bool is_in(std::string_view place, std::size_t number) {
    return is_in(std::string(place) + ' ' + std::to_string(number));
  }

 private:
  std::string what_;
  bool has_place_ = false;
};

// The bytes that a message is made of: short ones on the stack.
class MessageBuffer {
 public:
  void append(const void* from, std::size_t size) {
    if (size == 0) return;
    if (long_.empty() && size_ + size <= short_.size()) {
      std::memcpy(short_.data() + size_, from, size);
    } else {
      if (long_.empty()) long_.assign(short_.data(), size_);
      long_.append(static_cast<const char*>(from), size);
    }
    size_ += size;
  }
  [[nodiscard]] std::string_view view() const noexcept { return {long_.empty() ? short_.data() : long_.data(), size_}; }

 private:
  static constexpr std::size_t kShort = 256;
  std::array<char, kShort> short_;
  std::string long_;
  std::size_t size_ = 0;
};

class Writer {
 public:
  Fault fault;

  bool none() { return enter_value() && put(0xc0); }
  bool boolean(bool value) { return enter_value() && put(value ? 0xc3 : 0xc2); }
  bool integer(std::uint64_t value) {
    if (!enter_value()) return false;
    if (value < 0x80) return put(static_cast<std::uint8_t>(value));
    if (value <= 0xff) return put(0xcc, static_cast<std::uint8_t>(value));
    if (value <= 0xffff) return put(0xcd, static_cast<std::uint16_t>(value));
    if (value <= 0xffffffff) return put(0xce, static_cast<std::uint32_t>(value));
    return put(0xcf, value);
  }
  bool integer(std::int64_t value) {
    if (value >= 0) return integer(static_cast<std::uint64_t>(value));
    if (!enter_value()) return false;
    if (value >= -32) return put(static_cast<std::uint8_t>(value));
    if (value >= std::numeric_limits<std::int8_t>::min()) return put(0xd0, static_cast<std::uint8_t>(value));
    if (value >= std::numeric_limits<std::int16_t>::min()) return put(0xd1, static_cast<std::uint16_t>(value));
    if (value >= std::numeric_limits<std::int32_t>::min()) return put(0xd2, static_cast<std::uint32_t>(value));
    return put(0xd3, static_cast<std::uint64_t>(value));
  }
  bool real(double value) { return enter_value() && put(0xcb, std::bit_cast<std::uint64_t>(value)); }
  bool text(std::string_view text) {
    if (!enter_value()) return false;
    if (const std::size_t at = valid_utf8(text); at != text.size()) {
      return fault.is("a std::string that is not UTF-8 (at byte " + std::to_string(at) +
                      "), which no str can be: send it as klaw::channels::Bytes");
    }
    if (text.size() < 0x20) return put(static_cast<std::uint8_t>(0xa0 | text.size())) && put_body(text);
    return put_length(text.size(), 0xd9, 0xda, 0xdb) && put_body(text);
  }
  // `message`: the one that is these bytes and nothing else, if there is one already.
  bool bytes(std::string_view bytes, Payload message) {
    if (!enter_value()) return false;
    if (levels_ != 0) return put_length(bytes.size(), 0xc4, 0xc5, 0xc6) && put_body(bytes);
    whole_ = message.empty() ? tagged(PayloadTag::raw, bytes) : std::move(message);
    return true;
  }
  // A message that is sent as it is.
  bool message(Payload payload) {
    if (levels_ != 0) return fault.is("a message inside of a message");
    whole_ = std::move(payload);
    return true;
  }
  // Then as many values, and end().
  bool begin_list(std::size_t count) {
    return enter_container(Kind::list) && put_count(count, 0x90, 0xdc, 0xdd) && descend();
  }
  bool begin_tuple(std::size_t count) {
    tag_ = PayloadTag::tuples;
    return enter_container(Kind::tuple) && put_count(count + 1, 0x90, 0xdc, 0xdd) &&
           put_body({reinterpret_cast<const char*>(kTupleMark.data()), kTupleMark.size()}) && descend();
  }
  // Then as many keys, each with its value behind it, and end().
  bool begin_dict(std::size_t count) {
    return enter_container(Kind::dict) && put_count(count, 0x80, 0xde, 0xdf) && descend();
  }
  bool end() noexcept {
    --levels_;
    return true;
  }
  // Between these a key of a dict is written. Python hashes keys, so nothing in them may be a list or a dict.
  void begin_key() noexcept { ++keys_; }
  void end_key() noexcept { --keys_; }

  [[nodiscard]] Payload take() { return whole_ ? *std::move(whole_) : tagged(tag_, buffer_.view()); }

 private:
  static Payload tagged(PayloadTag tag, std::string_view content) {
    return Payload::filled(content.size() + 1, [&](std::byte* begin) {
      *begin = static_cast<std::byte>(tag);
      if (!content.empty()) std::memcpy(begin + 1, content.data(), content.size());
    });
  }

  bool enter_value() {
    if (levels_ < kLevelsMax) return true;
    return fault.is("nested more than " + std::to_string(kLevelsMax) + " levels deep");
  }
  bool enter_container(Kind kind) {
    if (keys_ != 0 && kind != Kind::tuple) {
      return fault.is(std::string(name_of(kind)) + " in a key of a dict, which Python can't hash");
    }
    return enter_value();
  }
  bool descend() noexcept {
    ++levels_;
    return true;
  }

  bool put(std::uint8_t byte) {
    buffer_.append(&byte, 1);
    return true;
  }
  // The number's most significant byte first.
  template <std::unsigned_integral Number>
  bool put(std::uint8_t code, Number number) {
    std::array<std::uint8_t, 1 + sizeof number> packed = {code};
    for (std::size_t i = 0; i < sizeof number; ++i) {
      packed[sizeof number - i] = static_cast<std::uint8_t>(std::uint64_t{number} >> (8 * i));
    }
    buffer_.append(packed.data(), packed.size());
    return true;
  }
  bool put_body(std::string_view bytes) {
    buffer_.append(bytes.data(), bytes.size());
    return true;
  }
  bool put_length(std::size_t length, std::uint8_t code8, std::uint8_t code16, std::uint8_t code32) {
    if (length > kLengthMax) return fault.is(std::to_string(length) + " bytes, which are too many for a message");
    if (length <= 0xff) return put(code8, static_cast<std::uint8_t>(length));
    if (length <= 0xffff) return put(code16, static_cast<std::uint16_t>(length));
    return put(code32, static_cast<std::uint32_t>(length));
  }
  bool put_count(std::size_t count, std::uint8_t fix, std::uint8_t code16, std::uint8_t code32) {
    if (count > kLengthMax) return fault.is(std::to_string(count) + " elements, which are too many for a message");
    if (count < 16) return put(static_cast<std::uint8_t>(fix | count));
    if (count <= 0xffff) return put(code16, static_cast<std::uint16_t>(count));
    return put(code32, static_cast<std::uint32_t>(count));
  }

  MessageBuffer buffer_;
  std::optional<Payload> whole_;
  PayloadTag tag_ = PayloadTag::msgpack;
  int levels_ = 0;  // containers that are open
  int keys_ = 0;    // keys that are being written: a tuple in a key may have one of its own no more
};

// An object, of a list, a tuple or a dict only its beginning: `count` elements or entries follow.
struct Head {
  Kind kind = Kind::none;
  bool boolean = false;
  bool is_negative = false;    // of an integer: number is its two's complement
  std::uint64_t number = 0;    // an integer
  double real = 0.0;           // a float
  std::string_view content{};  // a text, bytes: where they are in the message
  std::size_t count = 0;
};

class Reader {
 public:
  Fault fault;

  // Of the payload's content; false if this is no plain data.
  bool open(const Payload& payload);

  // The next object. A container has to be left by end() after its elements were read.
  bool next(Head& head);
  void end() noexcept { --levels_; }
  // Passes over an object, with all that is in it.
  bool skip();
  // Nothing may be left over.
  bool finish() {
    return at_ == end_ || fault.is("the message is not valid msgpack: " + std::to_string(left()) + " bytes too many");
  }

  [[nodiscard]] std::size_t left() const noexcept { return static_cast<std::size_t>(end_ - at_); }
  [[nodiscard]] const Payload& payload() const noexcept { return *payload_; }
  // A place to go back to, on this level.
  struct Place {
    const char* at;
    int levels;
    bool is_raw;
  };
  [[nodiscard]] Place place() const noexcept { return {at_, levels_, is_raw_}; }
  void go_to(const Place& place) noexcept {
    at_ = place.at;
    levels_ = place.levels;
    is_raw_ = place.is_raw;
  }

 private:
  bool next_container(Head& head, Kind kind, std::size_t count);
  bool next_content(Head& head, Kind kind, std::size_t size);
  bool next_of_code(Head& head, std::uint8_t code);
  bool is_tuple_next() noexcept {
    return allows_tuples_ && left() >= kTupleMark.size() && std::memcmp(at_, kTupleMark.data(), kTupleMark.size()) == 0;
  }
  bool ends_early() { return fault.is("the message is not valid msgpack: it ends early"); }

  // Most significant byte first. `into` is left as it is if the message ends before.
  template <std::unsigned_integral Number>
  [[nodiscard]] bool take(Number& into) {
    if (left() < sizeof into) return ends_early();
    std::uint64_t number = 0;
    for (std::size_t i = 0; i < sizeof into; ++i) number = number << 8 | static_cast<std::uint8_t>(*at_++);
    into = static_cast<Number>(number);
    return true;
  }
  template <std::unsigned_integral Number>
  bool next_unsigned(Head& head) {
    Number number = 0;
    if (!take(number)) return false;
    head.kind = Kind::integer;
    head.number = number;
    return true;
  }
  template <std::unsigned_integral Number>
  bool next_signed(Head& head) {
    Number number = 0;
    if (!take(number)) return false;
    const auto value = std::int64_t{static_cast<std::make_signed_t<Number>>(number)};
    head.kind = Kind::integer;
    head.is_negative = value < 0;
    head.number = static_cast<std::uint64_t>(value);
    return true;
  }
  template <std::unsigned_integral Length>
  bool next_sized(Head& head, Kind kind) {
    Length length = 0;
    if (!take(length)) return false;
    if (kind == Kind::text || kind == Kind::bytes) return next_content(head, kind, length);
    return next_container(head, kind, length);
  }

  const Payload* payload_ = nullptr;
  const char* at_ = nullptr;
  const char* end_ = nullptr;
  int levels_ = 0;  // containers that are open
  bool is_raw_ = false;
  bool allows_tuples_ = false;
};

inline bool Reader::open(const Payload& payload) {
  payload_ = &payload;
  if (payload.empty()) return fault.is("the message is empty");
  at_ = payload.data() + 1;
  end_ = payload.data() + payload.size();
  switch (static_cast<PayloadTag>(payload.data()[0])) {
    case PayloadTag::raw: is_raw_ = true; return true;
    case PayloadTag::msgpack: return true;
    case PayloadTag::tuples: allows_tuples_ = true; return true;
    case PayloadTag::pickle:
      return fault.is(
          "the message is a pickled Python object, which C++ can't read: send None, bool, int (of 64 bits), float, "
          "str, "
          "bytes, list, tuple or dict, of exactly these types, or receive klaw::channels::Raw");
    case PayloadTag::reference:
      return fault.is("the message is a reference to a payload in Ray's object store, which C++ can't read");
  }
  return fault.is("the message has an unknown form (tag " +
                  std::to_string(static_cast<unsigned char>(payload.data()[0])) + "): was it sent by a newer klaw?");
}

inline bool Reader::next(Head& head) {
  head = Head();
  if (is_raw_) {
    is_raw_ = false;
    return next_content(head, Kind::bytes, left());
  }
  if (levels_ >= kLevelsMax) {
    return fault.is("nested more than " + std::to_string(kLevelsMax) + " levels deep");
  }
  std::uint8_t code = 0;
  if (!take(code)) return false;
  if (code < 0x80 || code >= 0xe0) {
    head.kind = Kind::integer;
    head.is_negative = code >= 0xe0;
    head.number = head.is_negative ? code | ~std::uint64_t{0xff} : code;
    return true;
  }
  if (code < 0x90) return next_container(head, Kind::dict, code & 0x0fU);
  if (code < 0xa0) return next_container(head, Kind::list, code & 0x0fU);
  if (code < 0xc0) return next_content(head, Kind::text, code & 0x1fU);
  return next_of_code(head, code);
}

inline bool Reader::next_of_code(Head& head, std::uint8_t code) {
  switch (code) {
    case 0xc0: return true;  // None
    case 0xc2:
    case 0xc3:
      head.kind = Kind::boolean;
      head.boolean = code == 0xc3;
      return true;
    case 0xc4: return next_sized<std::uint8_t>(head, Kind::bytes);
    case 0xc5: return next_sized<std::uint16_t>(head, Kind::bytes);
    case 0xc6: return next_sized<std::uint32_t>(head, Kind::bytes);
    case 0xca: {
      std::uint32_t bits = 0;
      head.kind = Kind::real;
      if (!take(bits)) return false;
      head.real = double{std::bit_cast<float>(bits)};
      return true;
    }
    case 0xcb: {
      std::uint64_t bits = 0;
      head.kind = Kind::real;
      if (!take(bits)) return false;
      head.real = std::bit_cast<double>(bits);
      return true;
    }
    case 0xcc: return next_unsigned<std::uint8_t>(head);
    case 0xcd: return next_unsigned<std::uint16_t>(head);
    case 0xce: return next_unsigned<std::uint32_t>(head);
    case 0xcf: return next_unsigned<std::uint64_t>(head);
    case 0xd0: return next_signed<std::uint8_t>(head);
    case 0xd1: return next_signed<std::uint16_t>(head);
    case 0xd2: return next_signed<std::uint32_t>(head);
    case 0xd3: return next_signed<std::uint64_t>(head);
    case 0xd9: return next_sized<std::uint8_t>(head, Kind::text);
    case 0xda: return next_sized<std::uint16_t>(head, Kind::text);
    case 0xdb: return next_sized<std::uint32_t>(head, Kind::text);
    case 0xdc: return next_sized<std::uint16_t>(head, Kind::list);
    case 0xdd: return next_sized<std::uint32_t>(head, Kind::list);
    case 0xde: return next_sized<std::uint16_t>(head, Kind::dict);
    case 0xdf: return next_sized<std::uint32_t>(head, Kind::dict);
    case 0xc1: return fault.is("the message is not valid msgpack: c1 is never used");
    default: return fault.is("the message has a msgpack extension type, which klaw does not send");
  }
}

inline bool Reader::next_content(Head& head, Kind kind, std::size_t size) {
  if (size > left()) return ends_early();
  head.kind = kind;
  head.content = {std::exchange(at_, at_ + size), size};
  if (kind != Kind::text || valid_utf8(head.content) == size) return true;
  return fault.is("the message has a str that is not UTF-8");
}

inline bool Reader::next_container(Head& head, Kind kind, std::size_t count) {
  // An element takes a byte at least, an entry two.
  if (count > left() / (kind == Kind::dict ? 2 : 1)) return ends_early();
  head.kind = kind;
  head.count = count;
  if (kind == Kind::list && count > 0 && is_tuple_next()) {
    at_ += kTupleMark.size();
    head.kind = Kind::tuple;
    --head.count;
  }
  ++levels_;
  return true;
}

inline bool Reader::skip() {
  Head head;
  if (!next(head)) return false;
  if (head.kind < Kind::list) return true;
  const std::size_t objects = head.kind == Kind::dict ? 2 * head.count : head.count;
  for (std::size_t i = 0; i < objects; ++i) {
    if (!skip()) return false;
  }
  end();
  return true;
}

}  // namespace klaw::channels::detail
