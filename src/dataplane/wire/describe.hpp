// Values as text, for traces and logs: OFFER{session=1 seq=4 nowait=0 message=12B more=[]}.
//
// The names are the members': the compiler knows them, and tells them in __PRETTY_FUNCTION__ of a template whose argument
// is the address of the member, or the enumerator.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <dataplane/wire/values.hpp>

namespace klaw::dataplane::wire_detail {

// Never defined: only addresses are taken of it.
template <class T>
struct Nowhere {
  T value;
};
template <class T>
extern const Nowhere<T> kNowhere;

// The last identifier in the description of the template's argument.
template <auto Named>
[[nodiscard]] consteval std::string_view identifier() {
  std::string_view text = __PRETTY_FUNCTION__;
  // GCC:   ... [with auto Named = (& kNowhere<...>.Nowhere<...>::value.Offer::seq); std::string_view = ...]
  // Clang: ... [Named = &kNowhere.value.seq]
  text = text.substr(text.find("Named = "));
  text = text.substr(0, text.find_first_of(";]"));
  if (text.ends_with(')')) text.remove_suffix(1);
  return text.substr(text.find_last_of(":.") + 1);
}

#ifdef __clang__
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wundefined-var-template"
#endif
template <HasFields T, std::size_t Index>
inline constexpr std::string_view kFieldName = identifier<&std::get<Index>(T::fields(kNowhere<T>.value))>();
#ifdef __clang__
#pragma clang diagnostic pop
#endif

template <class E>
[[nodiscard]] std::string_view enumerator_name(E value) {
  static constexpr auto kNames = []<std::size_t... I>(std::index_sequence<I...>) {
    return std::array{identifier<static_cast<E>(I)>()...};
  }(std::make_index_sequence<std::size_t{std::to_underlying(kLast<E>)} + 1>());
  return kNames[std::to_underlying(value)];
}

inline constexpr std::size_t kDescribedElementsMax = 8;
inline constexpr std::size_t kDescribedIdBytes = 4;

// Text of a peer may hold anything, and logs are lines.
inline void describe_text(std::string_view text, std::string& out) {
  static constexpr std::string_view kHex = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    if (c >= ' ' && c <= '~' && c != '"' && c != '\\') {
      out += c;
    } else {
      const auto byte = static_cast<std::uint8_t>(c);
      out += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  out += '"';
}

inline void describe_hex(const std::uint8_t* bytes, std::size_t size, std::string& out) {
  static constexpr std::string_view kHex = "0123456789abcdef";
  for (std::size_t i = 0; i < size; ++i) out += {kHex[bytes[i] >> 4], kHex[bytes[i] & 15]};
}

template <class T>
void describe(const T& value, std::string& out) {
  if constexpr (HasFields<T>) {
    const auto fields = T::fields(value);
    out += '{';
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      ((out += (I == 0 ? "" : " "), out += kFieldName<T, I>, out += '=', describe(std::get<I>(fields), out)), ...);
    }(std::make_index_sequence<std::tuple_size_v<decltype(fields)>>());
    out += '}';
  } else if constexpr (std::is_enum_v<T>) {
    out += enumerator_name(value);
  } else if constexpr (std::is_arithmetic_v<T>) {
    out += std::to_string(value);
  } else if constexpr (IsId<T>) {
    describe_hex(bytes_of(value).data(), kDescribedIdBytes, out);
  } else if constexpr (IsText<T>) {
    describe_text(value, out);
  } else if constexpr (std::same_as<T, Bytes>) {
    out += std::to_string(value.size()) + 'B';
  } else if constexpr (kIsA<std::optional, T>) {
    if (value) {
      describe(*value, out);
    } else {
      out += "none";
    }
  } else {
    out += '[';
    for (std::size_t i = 0; i < value.size() && i < kDescribedElementsMax; ++i) {
      if (i != 0) out += ' ';
      describe(value[i], out);
    }
    if (value.size() > kDescribedElementsMax) out += " ... " + std::to_string(value.size()) + " in all";
    out += ']';
  }
}

}  // namespace klaw::dataplane::wire_detail
