// Value: a message of any type that C++ and Python both have. (Not part of klaw/channels.hpp: local channels never encode.)
//
//   Value v = Dict{{"name", "ada"}, {"scores", List{1, 2.5, None()}}};
//   if (const auto* dict = v.get_if<Dict>()) std::cout << *dict->find("name");    // 'ada'
//   v.visit([](const auto& one) { ... });                                        // each alternative in turn
//
// A list of one list is written List{Value(List{1})}: for some compilers List{List{1}} is a copy (CWG 2137). So is Tuple.
//
// What each alternative is in Python
//   None     None                      std::string    str (UTF-8)
//   bool     bool                      Bytes          bytes
//   int64    int                       List           list
//   uint64   int, above 2^63 - 1       Tuple          tuple
//   double   float                     Dict           dict
//
//   equality   by type, then by value: 1, 1.0 and true are three values, and a NaN equals nothing. The order of a Dict
//              does not matter. (In Python the three are one key of a dict.)
//   printing   to_string(value) and << write it as Python's repr() does, but that a float may have another length
//   threads    as a std::vector
//   cost       40 bytes, and what is in it. A Bytes shares its memory, all else is copied with the Value
//
// Raw is for those who want a message as it came, such as a Python object that they pass on.
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <klaw/channels/payload.hpp>

namespace klaw::channels {

// Nothing: Python's None.
struct None {
  friend constexpr auto operator<=>(None, None) noexcept = default;
};

// Bytes that never change, shared by their copies. Sent alone, they travel without a copy; received, they are the received
// message's memory, at any alignment.
class Bytes {
 public:
  Bytes() noexcept = default;
  // A copy.
  explicit Bytes(std::string_view content)
      : Bytes(filled(content.size(), [&](std::byte* to) {
          if (!content.empty()) std::memcpy(to, content.data(), content.size());
        })) {}
  explicit Bytes(std::span<const std::byte> content)
      : Bytes(std::string_view(reinterpret_cast<const char*>(content.data()), content.size())) {}
  // `size` bytes that fill(std::byte* begin) writes.
  template <class Fill>
  [[nodiscard]] static Bytes filled(std::size_t size, Fill fill) {
    Payload message = Payload::filled(size + 1, [&](std::byte* begin) {
      *begin = static_cast<std::byte>(PayloadTag::raw);
      fill(begin + 1);
    });
    const std::string_view content = message.view().substr(1);
    return {std::move(message), content};
  }
  // What lies at `content`, within the message.
  Bytes(Payload message, std::string_view content) noexcept
      : message_(std::move(message)), data_(content.data()), size_(content.size()) {}

  [[nodiscard]] const std::byte* data() const noexcept { return reinterpret_cast<const std::byte*>(data_); }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] const std::byte* begin() const noexcept { return data(); }
  [[nodiscard]] const std::byte* end() const noexcept { return data() + size_; }
  [[nodiscard]] std::byte operator[](std::size_t index) const noexcept { return data()[index]; }
  [[nodiscard]] std::string_view view() const noexcept { return {data_, size_}; }
  // The message that these bytes are all of, else an empty one.
  [[nodiscard]] Payload whole_message() const noexcept {
    const std::string_view all = message_.view();
    const bool is_whole = all.size() == size_ + 1 && all[0] == static_cast<char>(PayloadTag::raw);
    return is_whole ? message_ : Payload();
  }

  friend bool operator==(const Bytes& a, const Bytes& b) noexcept { return a.view() == b.view(); }
  friend auto operator<=>(const Bytes& a, const Bytes& b) noexcept { return a.view() <=> b.view(); }

 private:
  Payload message_;
  const char* data_ = nullptr;
  std::size_t size_ = 0;
};

// A message as it came, of any form. Sent, it is the same message again, so a program can pass on Python objects that it can't
// read.
class Raw {
 public:
  Raw() : Raw(PayloadTag::raw, {}) {}  // no bytes
  explicit Raw(Payload message) noexcept : message_(std::move(message)) {}
  Raw(PayloadTag tag, std::string_view content)
      : message_(Payload::filled(content.size() + 1, [&](std::byte* begin) {
          *begin = static_cast<std::byte>(tag);
          if (!content.empty()) std::memcpy(begin + 1, content.data(), content.size());
        })) {}

  [[nodiscard]] PayloadTag tag() const noexcept {
    return message_.empty() ? PayloadTag::raw : static_cast<PayloadTag>(message_.data()[0]);
  }
  // What follows the tag: docs/wire-protocol.md has the layouts.
  [[nodiscard]] Bytes content() const noexcept {
    return message_.empty() ? Bytes() : Bytes(message_, message_.view().substr(1));
  }
  [[nodiscard]] const Payload& message() const noexcept { return message_; }

  friend bool operator==(const Raw&, const Raw&) = default;

 private:
  Payload message_;
};

class Value;

using List = std::vector<Value>;

// The items of a tuple.
struct Tuple : std::vector<Value> {
  using std::vector<Value>::vector;
  friend bool operator==(const Tuple& a, const Tuple& b);
};

// Pairs of a key and its value, in the order in which they came or were added, as in Python. Nobody checks that keys differ.
class Dict : public std::vector<std::pair<Value, Value>> {
 public:
  using std::vector<std::pair<Value, Value>>::vector;
  // The value under this key, the last one of several; null if there is none. Looks at one entry after the other.
  [[nodiscard]] const Value* find(const Value& key) const noexcept;
  [[nodiscard]] Value* find(const Value& key) noexcept;
  friend bool operator==(const Dict& a, const Dict& b);
};

class Value {
 public:
  using Variant = std::variant<None, bool, std::int64_t, std::uint64_t, double, std::string, Bytes, List, Tuple, Dict>;

  // NOLINTBEGIN(google-explicit-constructor,misc-explicit-constructor): a Value is any of these.
  Value() noexcept = default;
  Value(None) noexcept {}
  Value(std::same_as<bool> auto value) noexcept : variant_(value) {}
  // An integer is an int64 if that can hold it, so that equal integers are equal Values.
  template <std::integral Int>
    requires(!std::same_as<Int, bool>)
  Value(Int value) noexcept {
    if (std::is_signed_v<Int> || static_cast<std::uint64_t>(value) <= std::numeric_limits<std::int64_t>::max()) {
      variant_ = static_cast<std::int64_t>(value);
    } else {
      variant_ = static_cast<std::uint64_t>(value);
    }
  }
  Value(double value) noexcept : variant_(value) {}
  Value(float value) noexcept : variant_(static_cast<double>(value)) {}
  Value(std::string value) noexcept : variant_(std::move(value)) {}
  Value(std::string_view value) : variant_(std::string(value)) {}
  Value(const char* value) : variant_(std::string(value)) {}
  Value(Bytes value) noexcept : variant_(std::move(value)) {}
  Value(List value) noexcept : variant_(std::move(value)) {}
  Value(Tuple value) noexcept : variant_(std::move(value)) {}
  Value(Dict value) noexcept : variant_(std::move(value)) {}
  // NOLINTEND(google-explicit-constructor,misc-explicit-constructor)

  [[nodiscard]] const Variant& variant() const noexcept { return variant_; }
  // T is one of the alternatives. An integer of up to 2^63 - 1 is an int64.
  template <class T>
  [[nodiscard]] bool is() const noexcept {
    return std::holds_alternative<T>(variant_);
  }
  // Null if it is another alternative.
  template <class T>
  [[nodiscard]] const T* get_if() const noexcept {
    return std::get_if<T>(&variant_);
  }
  template <class T>
  [[nodiscard]] T* get_if() noexcept {
    return std::get_if<T>(&variant_);
  }
  // Throws std::bad_variant_access if it is another alternative.
  template <class T>
  [[nodiscard]] const T& get() const {
    return std::get<T>(variant_);
  }
  // Makes it an empty T.
  template <class T>
  T& emplace() {
    return variant_.template emplace<T>();
  }
  template <class Visitor>
  decltype(auto) visit(Visitor&& visitor) const {
    return std::visit(std::forward<Visitor>(visitor), variant_);
  }

  friend bool operator==(const Value& a, const Value& b) { return a.variant_ == b.variant_; }

 private:
  Variant variant_;
};

inline bool operator==(const Tuple& a, const Tuple& b) { return std::ranges::equal(a, b); }
inline bool operator==(const Dict& a, const Dict& b) { return std::ranges::is_permutation(a, b); }

inline const Value* Dict::find(const Value& key) const noexcept {
  for (auto entry = rbegin(); entry != rend(); ++entry) {
    if (entry->first == key) return &entry->second;
  }
  return nullptr;
}
inline Value* Dict::find(const Value& key) noexcept { return const_cast<Value*>(std::as_const(*this).find(key)); }

namespace detail {

// Writes values as Python's repr() does.
class ValuePrinter {
 public:
  [[nodiscard]] std::string take() && { return std::move(out_); }

  void print(const Value& value) {
    value.visit([this](const auto& one) { put(one); });
  }

 private:
  void put(None) { out_ += "None"; }
  void put(bool value) { out_ += value ? "True" : "False"; }
  void put(std::int64_t value) { out_ += std::to_string(value); }
  void put(std::uint64_t value) { out_ += std::to_string(value); }
  void put(double value) {
    std::array<char, 32> digits = {};
    const std::to_chars_result result = std::to_chars(digits.data(), digits.data() + digits.size(), value);
    const std::string_view text(digits.data(), static_cast<std::size_t>(result.ptr - digits.data()));
    out_ += text;
    if (text.find_first_not_of("-0123456789") == text.npos) out_ += ".0";
  }
  void put(const std::string& text) { put_quoted(text, false); }
  void put(const Bytes& bytes) {
    out_ += 'b';
    put_quoted(bytes.view(), true);
  }
  void put(const List& list) { put_items(list, '[', ']'); }
  void put(const Tuple& tuple) { put_items(tuple, '(', tuple.size() == 1 ? std::string_view(",)") : ")"); }
  void put(const Dict& dict) {
    out_ += '{';
    std::string_view separator;
    for (const auto& [key, value] : dict) {
      out_ += std::exchange(separator, ", ");
      print(key);
      out_ += ": ";
      print(value);
    }
    out_ += '}';
  }

  void put_items(const std::vector<Value>& items, char open, std::string_view close) {
    out_ += open;
    std::string_view separator;
    for (const Value& item : items) {
      out_ += std::exchange(separator, ", ");
      print(item);
    }
    out_ += close;
  }
  void put_items(const std::vector<Value>& items, char open, char close) {
    put_items(items, open, std::string_view(&close, 1));
  }

  void put_quoted(std::string_view text, bool only_ascii) {
    constexpr std::string_view kHex = "0123456789abcdef";
    const char quote = text.contains('\'') && !text.contains('"') ? '"' : '\'';
    out_ += quote;
    for (const char c : text) {
      const auto byte = static_cast<unsigned char>(c);
      if (c == quote || c == '\\') {
        out_ += '\\';
        out_ += c;
      } else if (c == '\n') {
        out_ += "\\n";
      } else if (c == '\r') {
        out_ += "\\r";
      } else if (c == '\t') {
        out_ += "\\t";
      } else if (byte < 0x20 || byte == 0x7f || (only_ascii && byte > 0x7f)) {
        out_ += "\\x";
        out_ += kHex[byte >> 4];
        out_ += kHex[byte & 15];
      } else {
        out_ += c;
      }
    }
    out_ += quote;
  }

  std::string out_;
};

}  // namespace detail

[[nodiscard]] inline std::string to_string(const Value& value) {
  detail::ValuePrinter printer;
  printer.print(value);
  return std::move(printer).take();
}
inline std::ostream& operator<<(std::ostream& out, const Value& value) { return out << to_string(value); }

}  // namespace klaw::channels

template <>
struct std::hash<klaw::channels::Bytes> {
  [[nodiscard]] std::size_t operator()(const klaw::channels::Bytes& bytes) const noexcept {
    return std::hash<std::string_view>()(bytes.view());
  }
};
