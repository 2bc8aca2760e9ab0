// Frames to test with: one sample of each type, and random ones. Both follow from fields(), so a new frame is among them.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <dataplane/wire/frame.hpp>
#include <dataplane/wire/values.hpp>

namespace klaw_test {

namespace wire = klaw::dataplane;

// fn.operator()<F>() for each type of frame.
template <class Fn>
void for_each_frame_type(Fn fn) {
  [&]<class... F>(std::type_identity<std::variant<F...>>) {
    (fn.template operator()<F>(), ...);
  }(std::type_identity<wire::Frame>());
}

// Sets every field to a value of its own: integers to 1, 300, 2, 301, ... (of one byte and of two).
class SampleFields {
 public:
  template <class T>
  void set(T& value) {
    if constexpr (wire::HasFields<T>) {
      std::apply([&](auto&... field) { (set(field), ...); }, T::fields(value));
    } else if constexpr (std::is_enum_v<T>) {
      value = wire::kLast<T>;
    } else if constexpr (std::is_same_v<T, bool>) {
      value = true;
    } else if constexpr (std::is_unsigned_v<T>) {
      ++numbers_;
      value = static_cast<T>(numbers_ % 2 == 0 ? 299 + (numbers_ / 2) : 1 + (numbers_ / 2));
    } else if constexpr (wire::wire_detail::IsId<T>) {
      for (auto& byte : wire::wire_detail::bytes_of(value)) byte = ++byte_;
    } else if constexpr (std::is_same_v<T, std::string> || std::is_same_v<T, wire::Bytes>) {
      value = T("text" + std::to_string(++texts_));
    } else if constexpr (wire::wire_detail::kIsA<std::optional, T>) {
      set(value.emplace());
    } else {
      for (int i = 0; i < 2; ++i) set(value.emplace_back());
    }
  }

 private:
  unsigned numbers_ = 0;
  std::uint8_t byte_ = 0;
  int texts_ = 0;
};

// One frame of each type, all its fields set, small enough for a handshake.
inline std::vector<wire::Frame> sample_frames() {
  std::vector<wire::Frame> samples;
  for_each_frame_type([&]<class F>() {
    F frame;
    SampleFields().set(frame);
    samples.emplace_back(std::move(frame));
  });
  return samples;
}

// Random values, with the edges of each type more often than chance would have them.
class RandomFields {
 public:
  explicit RandomFields(std::uint64_t seed) : random_(seed) {}

  // One of 0 .. count - 1.
  std::size_t below(std::size_t count) { return std::uniform_int_distribution<std::size_t>(0, count - 1)(random_); }

  wire::Frame frame() {
    std::array<void (*)(RandomFields&, wire::Frame&), std::variant_size_v<wire::Frame>> makers = {};
    std::size_t count = 0;
    for_each_frame_type(
        [&]<class F>() { makers[count++] = [](RandomFields& self, wire::Frame& out) { self.set(out.emplace<F>()); }; });
    wire::Frame frame;
    makers[below(count)](*this, frame);
    return frame;
  }

  template <class T>
  void set(T& value) {
    if constexpr (wire::HasFields<T>) {
      std::apply([&](auto&... field) { (set(field), ...); }, T::fields(value));
    } else if constexpr (std::is_enum_v<T>) {
      value = static_cast<T>(below(std::size_t{std::to_underlying(wire::kLast<T>)} + 1));
    } else if constexpr (std::is_same_v<T, bool>) {
      value = below(2) == 1;
    } else if constexpr (std::is_unsigned_v<T>) {
      // Each length of varint comes up, and so do the smallest and the largest of that length.
      const std::uint64_t largest = std::numeric_limits<std::uint64_t>::max() >> below(64);
      value = static_cast<T>(below(4) == 0 ? largest : below(4) == 0 ? largest / 2 + 1 : random_() & largest);
    } else if constexpr (std::is_same_v<T, double>) {
      value = std::uniform_real_distribution<double>(-1e9, 1e9)(random_);
    } else if constexpr (wire::wire_detail::IsId<T>) {
      for (auto& byte : wire::wire_detail::bytes_of(value)) byte = static_cast<std::uint8_t>(random_());
    } else if constexpr (std::is_same_v<T, std::string> || std::is_same_v<T, wire::Bytes>) {
      value = T(text());
    } else if constexpr (wire::wire_detail::kIsA<std::optional, T>) {
      value.reset();
      if (below(2) == 1) set(value.emplace());
    } else {
      value.clear();
      const std::size_t count = below(2) == 0 ? below(4) : below(40);
      for (std::size_t i = 0; i < count; ++i) set(value.emplace_back());
    }
  }

 private:
  std::string text() {
    std::string bytes(below(8) == 0 ? below(4000) : below(20), '\0');
    std::ranges::generate(bytes, [&] { return static_cast<char>(random_()); });
    return bytes;
  }

  std::mt19937_64 random_;
};

}  // namespace klaw_test
