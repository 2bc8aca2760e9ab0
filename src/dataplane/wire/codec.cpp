#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#define XXH_INLINE_ALL
#include <dataplane/wire/codec.hpp>
#include <dataplane/wire/describe.hpp>
#include <xxhash.h>

namespace klaw::dataplane {

namespace {

constexpr std::size_t kHeaderBytes = 8;
constexpr std::size_t kTypeBytes = 1;
// A piece of the largest size is its type, `last`, the length of its data (three bytes of varint), and the data.
constexpr std::size_t kPieceDataMax = kFrameBytesMax - kTypeBytes - 1 - 3;
static_assert(wire_detail::varint_size(kPieceDataMax) == 3);

constexpr wire_detail::ValueLimits kFrameLimits = {
    .text_bytes = kTextBytesMax, .message_bytes = kMessageBytesMax, .elements = kBatchMessagesMax};

void store_u32(std::uint32_t value, char* to) noexcept {
  for (unsigned i = 0; i < 4; ++i) to[i] = static_cast<char>(value >> (8 * i));
}
[[nodiscard]] std::uint32_t load_u32(const char* from) noexcept {
  std::uint32_t value = 0;
  for (unsigned i = 0; i < 4; ++i) value |= std::uint32_t{static_cast<std::uint8_t>(from[i])} << (8 * i);
  return value;
}

template <class F>
[[nodiscard]] std::size_t type_and_body_size(const F& frame) noexcept {
  return kTypeBytes + wire_detail::encoded_size(frame);
}

template <class F>
char* write_type_and_body(const F& frame, char* to) noexcept {
  wire_detail::ByteWriter writer{to};
  *writer.to++ = static_cast<char>(F::kType);
  wire_detail::put(writer, frame);
  return writer.to;
}

template <class F>
char* write_frame(const F& frame, char* to) noexcept {
  char* const begin = to + kHeaderBytes;
  char* const end = write_type_and_body(frame, begin);
  const std::string_view type_and_body(begin, end);
  store_u32(static_cast<std::uint32_t>(type_and_body.size()), to);
  store_u32(checksum(type_and_body), to + 4);
  return end;
}

// The frame is written to the end of its place, then each piece of it moves forward to its own: the room for the headers
// of the pieces to come is always between the two.
template <class F>
void append_pieces(const F& frame, std::size_t size, std::string& out) {
  std::size_t room = 0;
  for (std::size_t left = size; left != 0; left -= std::min(left, kPieceDataMax)) {
    const std::size_t data_size = std::min(left, kPieceDataMax);
    room += kHeaderBytes + kTypeBytes + 1 + wire_detail::varint_size(data_size) + data_size;
  }
  wire_detail::append(room, out, [&](char* to) noexcept {
    std::string_view left(to + room - size, size);
    write_type_and_body(frame, to + room - size);
    while (!left.empty()) {
      const std::string_view piece = left.substr(0, kPieceDataMax);
      left.remove_prefix(piece.size());
      to = write_frame(Piece{.last = left.empty(), .data = piece}, to);
    }
  });
}

using DecodeBody = void (*)(wire_detail::Reader&, Frame&);

struct Codecs {
  std::array<DecodeBody, 256> decode_body = {};
  std::array<std::string_view, 256> name = {};
};

template <FrameType Type>
constexpr auto kUpperCaseName = [] {
  constexpr std::string_view kLower = wire_detail::identifier<Type>();
  std::array<char, kLower.size()> upper = {};
  for (std::size_t i = 0; i < upper.size(); ++i) {
    upper[i] = kLower[i] >= 'a' && kLower[i] <= 'z' ? static_cast<char>(kLower[i] - 'a' + 'A') : kLower[i];
  }
  return upper;
}();

// By the number of the frame type. A piece has a name, but is no frame that anybody is given.
template <class... F>
consteval Codecs codecs_of(std::type_identity<std::variant<F...>> /*frames*/) {
  Codecs codecs;
  ((codecs.decode_body[std::to_underlying(F::kType)] = [](wire_detail::Reader& reader,
                                                          Frame& frame) { reader.get(frame.template emplace<F>()); }),
   ...);
  const auto set_name = [&]<FrameType Type>(std::integral_constant<FrameType, Type>) {
    codecs.name[std::to_underlying(Type)] = {kUpperCaseName<Type>.data(), kUpperCaseName<Type>.size()};
  };
  set_name(std::integral_constant<FrameType, Piece::kType>());
  (set_name(std::integral_constant<FrameType, F::kType>()), ...);
  return codecs;
}
constexpr Codecs kCodecs = codecs_of(std::type_identity<Frame>());
static_assert(std::ranges::count(kCodecs.decode_body, nullptr) == 256 - std::variant_size_v<Frame>,
              "two frames have the same number");

}  // namespace

std::uint32_t checksum(std::string_view type_and_body) noexcept {
  return static_cast<std::uint32_t>(XXH3_64bits(type_and_body.data(), type_and_body.size()));
}

std::string_view name(FrameType type) noexcept { return kCodecs.name[std::to_underlying(type)]; }

std::string to_string(const Frame& frame) {
  std::string text(name(type_of(frame)));
  std::visit([&](const auto& f) { wire_detail::describe(f, text); }, frame);
  return text;
}

void encode(const Frame& frame, std::string& out) {
  std::visit(
      [&](const auto& f) {
        const std::size_t size = type_and_body_size(f);
        assert(size <= kAssembledBytesMax);
        if (size <= kFrameBytesMax) {
          wire_detail::append(kHeaderBytes + size, out, [&](char* to) noexcept { write_frame(f, to); });
        } else {
          append_pieces(f, size, out);
        }
      },
      frame);
}

void Decoder::push(std::string_view bytes) {
  if (!error_.empty()) return;
  // What was taken is dropped when it is at least as much as what has to be moved for it.
  if (begin_ >= buffer_.size() - begin_) {
    buffer_.erase(0, begin_);
    begin_ = 0;
  }
  buffer_.append(bytes);
}

Decoder::Next Decoder::next() {
  std::string joined;
  const std::string_view whole = take_whole(joined);
  if (!whole.empty()) return decode(whole);
  if (!error_.empty()) return std::unexpected(error_);
  return std::nullopt;
}

// The type and body of the next frame that is all there, in buffer_ or in `joined`; else empty.
std::string_view Decoder::take_whole(std::string& joined) {
  for (std::string_view frame = take_frame(); !frame.empty(); frame = take_frame()) {
    const auto type = static_cast<FrameType>(frame.front());
    if (type == FrameType::piece) {
      if (!take_piece(frame.substr(kTypeBytes))) continue;
      joined = std::exchange(pieces_, {});
      return joined;
    }
    if (pieces_.empty() || type == FrameType::ping || type == FrameType::ack) return frame;
    fail("a frame other than PING and ACK between pieces");
  }
  return {};
}

// Of what arrived, the next type and body, which may be a piece's; empty: it is not all there, or wrong.
std::string_view Decoder::take_frame() {
  const char* const arrived = buffer_.data() + begin_;
  const std::size_t arrived_size = buffer_.size() - begin_;
  if (arrived_size < kHeaderBytes) return {};
  const std::size_t size = load_u32(arrived);
  const std::size_t size_max = is_authenticated_ ? kFrameBytesMax : kHandshakeFrameBytesMax;
  if (size == 0 || size > size_max) {
    fail("a frame of " + std::to_string(size) + " bytes, where 1 to " + std::to_string(size_max) + " are allowed");
    return {};
  }
  if (arrived_size < kHeaderBytes + size) return {};
  const std::string_view frame(arrived + kHeaderBytes, size);
  if (load_u32(arrived + 4) != checksum(frame)) {
    fail("a checksum that is not its frame's");
    return {};
  }
  begin_ += kHeaderBytes + size;
  return frame;
}

// True: it was the last one.
bool Decoder::take_piece(std::string_view body) {
  Piece piece;
  wire_detail::Reader reader(body, kFrameLimits);
  reader.get(piece);
  reader.finish();
  if (!reader.error().empty()) {
    fail("PIECE: " + reader.error());
  } else if (!is_authenticated_) {
    fail("PIECE: of a peer that has not authenticated itself");
  } else if (piece.data.empty()) {
    fail("PIECE: it is empty");
  } else if (piece.data.size() > kAssembledBytesMax - pieces_.size()) {
    fail("PIECE: more than " + std::to_string(kAssembledBytesMax) + " bytes in all");
  } else {
    pieces_.append(piece.data);
    return piece.last;
  }
  return false;
}

Decoder::Next Decoder::decode(std::string_view type_and_body) {
  frame_bytes_ = kHeaderBytes + type_and_body.size();
  // The frame is made where the caller gets it. As a Ping, since a default one would be zeroed first, all of it.
  Next next(std::in_place, std::in_place, std::in_place_type<Ping>);
  const auto type = static_cast<std::uint8_t>(type_and_body.front());
  const DecodeBody decode_body = kCodecs.decode_body[type];
  if (decode_body == nullptr) {
    const bool is_piece = type == std::to_underlying(FrameType::piece);
    fail(is_piece ? "a PIECE in pieces" : "a frame of the unknown type " + std::to_string(type));
  } else {
    wire_detail::Reader reader(type_and_body.substr(kTypeBytes), kFrameLimits);
    decode_body(reader, **next);
    reader.finish();
    if (!reader.error().empty()) fail(std::string(kCodecs.name[type]) + ": " + reader.error());
  }
  if (!error_.empty()) next = std::unexpected(error_);
  return next;
}

void Decoder::fail(std::string what) {
  error_ = std::move(what);
  buffer_.clear();
  begin_ = 0;
  pieces_.clear();
}

}  // namespace klaw::dataplane
