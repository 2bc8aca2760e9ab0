// Frames as bytes, for one direction of one connection.
//
//   u32 length of type and body | u32 checksum of type and body | u8 type | body
//
// The body is the frame's fields, encoded as values.hpp has it; docs/wire-protocol.md has the layouts. A frame of more than
// kFrameBytesMax travels as PIECE frames, which are joined here: nobody else sees them.
//
// A decoder believes nothing. What it holds is bounded by limits.hpp and by what has arrived; the first byte that can't be
// right ends the connection, since nothing after it can be trusted to begin where a frame begins.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include <dataplane/wire/frame.hpp>
#include <dataplane/wire/limits.hpp>
#include <dataplane/wire/values.hpp>

namespace klaw::dataplane {

// Appends the frame's bytes, in pieces if they are many. The frame is within the limits of limits.hpp.
void encode(const Frame& frame, std::string& out);

class Decoder {
 public:
  // What has arrived, cut anywhere. Call next() until it has nothing, else the bytes pile up here.
  void push(std::string_view bytes);
  // A frame, nothing yet, or what was wrong with the bytes; then the same error for ever.
  using Next = std::expected<std::optional<Frame>, std::string>;
  [[nodiscard]] Next next();
  // The size of the frame that next() gave last, for ResumableStream::count_received().
  [[nodiscard]] std::size_t frame_bytes() const noexcept { return frame_bytes_; }
  // The peer has proved who it is: from the next frame on, it may send large ones. Until then it has small buffers only.
  void authenticated() noexcept { is_authenticated_ = true; }

 private:
  [[nodiscard]] std::string_view take_whole(std::string& joined);
  [[nodiscard]] std::string_view take_frame();
  [[nodiscard]] bool take_piece(std::string_view body);
  [[nodiscard]] Next decode(std::string_view type_and_body);
  void fail(std::string what);

  std::string buffer_;  // from begin_ on, what arrived and was not taken
  std::size_t begin_ = 0;
  std::string pieces_;  // that were taken, of a frame whose last is still to come
  bool is_authenticated_ = false;
  std::size_t frame_bytes_ = 0;
  std::string error_;
};

// As the protocol's documents write it: DEMAND_SHRINK.
[[nodiscard]] std::string_view name(FrameType type) noexcept;
// On one line, for traces and logs. Payloads are counted, not shown.
[[nodiscard]] std::string to_string(const Frame& frame);

// Of a frame's type and body: the lower half of their XXH3. For tests and tools.
[[nodiscard]] std::uint32_t checksum(std::string_view type_and_body) noexcept;

}  // namespace klaw::dataplane
