// An input of the decoder's fuzzer: a byte of flags, a chunk size, and the rest. That is either the stream itself, or frames
// (type and body) between separators, which get lengths and checksums here: a fuzzer does not guess checksums.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <dataplane/wire/codec.hpp>

namespace klaw_test {

struct DecoderInput {
  static constexpr std::uint8_t kAuthenticated = 1;
  static constexpr std::uint8_t kSealed = 2;  // the rest is frames between separators
  static constexpr std::string_view kSeparator = "\xff\xff";

  bool is_authenticated = false;
  std::size_t chunk = 1;
  std::string bytes = {};

  explicit DecoderInput(std::string_view input) {
    const auto take = [&] {
      const std::uint8_t byte = input.empty() ? 0 : static_cast<std::uint8_t>(input.front());
      input.remove_prefix(std::min<std::size_t>(input.size(), 1));
      return byte;
    };
    const std::uint8_t flags = take();
    is_authenticated = (flags & kAuthenticated) != 0;
    chunk = std::size_t{take()} + 1;
    if ((flags & kSealed) != 0) {
      seal_all(input);
    } else {
      bytes = input;
    }
  }

 private:
  void seal_all(std::string_view frames) {
    while (true) {
      const std::size_t end = frames.find(kSeparator);
      const std::string_view frame = frames.substr(0, end);
      append_u32(static_cast<std::uint32_t>(frame.size()));
      append_u32(klaw::dataplane::checksum(frame));
      bytes += frame;
      if (end == std::string_view::npos) return;
      frames.remove_prefix(end + kSeparator.size());
    }
  }
  void append_u32(std::uint32_t number) {
    for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(number >> shift);
  }
};

}  // namespace klaw_test
