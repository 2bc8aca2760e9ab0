#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <dataplane/wire/codec.hpp>
#include <gtest/gtest.h>

#include "support/frames.hpp"

namespace klaw_test {
namespace {

using namespace std::string_literals;
using wire::Decoder;
using wire::Frame;
using wire::FrameType;

constexpr std::size_t kHeaderBytes = 8;

std::string encoded(const Frame& frame) {
  std::string bytes;
  wire::encode(frame, bytes);
  return bytes;
}

std::string little_endian(std::size_t number) {
  std::string bytes;
  for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(number >> shift);
  return bytes;
}

// A frame as anybody might make one.
std::string raw_frame(std::string_view type_and_body) {
  return little_endian(type_and_body.size()) + little_endian(wire::checksum(type_and_body)) +
         std::string(type_and_body);
}
std::string raw_frame(FrameType type, std::string_view body) {
  return raw_frame(static_cast<char>(type) + std::string(body));
}

std::string piece_of(std::string_view data, bool last) {
  std::string body;
  wire::encode_value(wire::Piece{.last = last, .data = data}, body);
  return raw_frame(FrameType::piece, body);
}

// What travels in each frame of an encoding.
std::vector<std::string_view> split(std::string_view bytes) {
  std::vector<std::string_view> frames;
  while (!bytes.empty()) {
    std::size_t size = 0;
    for (std::size_t i = 4; i-- > 0;) size = size << 8 | static_cast<std::uint8_t>(bytes[i]);
    frames.push_back(bytes.substr(kHeaderBytes, size));
    bytes.remove_prefix(kHeaderBytes + size);
  }
  return frames;
}

Decoder authenticated_decoder() {
  Decoder decoder;
  decoder.authenticated();
  return decoder;
}

// All that comes out of these bytes, and the error that ended it ("" if none did).
struct Decoded {
  std::vector<Frame> frames;
  std::string error;
};

Decoded drain(Decoder& decoder) {
  Decoded decoded;
  for (auto next = decoder.next();; next = decoder.next()) {
    if (!next) decoded.error = next.error();
    if (!next || !*next) return decoded;
    decoded.frames.push_back(**std::move(next));
  }
}

Decoded decode(std::string_view bytes) {
  Decoder decoder = authenticated_decoder();
  decoder.push(bytes);
  return drain(decoder);
}

std::string error_of(std::string_view bytes) { return decode(bytes).error; }

Frame offer_of(std::vector<std::size_t> sizes) {
  wire::Offer offer{.session = 1, .seq = 2, .message = wire::Bytes(std::string(sizes.front(), 'a'))};
  for (std::size_t i = 1; i < sizes.size(); ++i)
    offer.more.emplace_back(std::string(sizes[i], static_cast<char>('a' + i)));
  return offer;
}

TEST(Codec, gives_each_frame_back) {
  for (const Frame& frame : sample_frames()) {
    const Decoded decoded = decode(encoded(frame));
    EXPECT_EQ(decoded.error, "");
    ASSERT_EQ(decoded.frames.size(), 1U) << to_string(frame);
    EXPECT_TRUE(decoded.frames[0] == frame) << to_string(frame);
  }
}

TEST(Codec, gives_random_frames_back_however_their_bytes_are_cut) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RandomFields random(seed);
    std::vector<Frame> frames;
    std::string bytes;
    for (int i = 0; i < 50; ++i) wire::encode(frames.emplace_back(random.frame()), bytes);

    const std::size_t cut_max = seed % 3 == 0 ? 1 : seed % 3 == 1 ? 50 : 100'000;
    Decoder decoder = authenticated_decoder();
    std::size_t count = 0;
    for (std::string_view left = bytes; !left.empty();) {
      const std::string_view cut = left.substr(0, 1 + random.below(cut_max));
      decoder.push(cut);
      left.remove_prefix(cut.size());
      const Decoded decoded = drain(decoder);
      ASSERT_EQ(decoded.error, "");
      for (const Frame& frame : decoded.frames) {
        ASSERT_TRUE(frame == frames.at(count)) << to_string(frame) << " instead of " << to_string(frames[count]);
        ++count;
      }
    }
    EXPECT_EQ(count, frames.size());
  }
}

TEST(Codec, has_one_encoding_for_each_frame) {
  RandomFields random(7);
  for (int i = 0; i < 2000; ++i) {
    const std::string bytes = encoded(random.frame());
    const Decoded decoded = decode(bytes);
    ASSERT_EQ(decoded.frames.size(), 1U) << decoded.error;
    ASSERT_EQ(encoded(decoded.frames[0]), bytes);
  }
}

TEST(Codec, tells_frames_apart_by_each_of_their_fields) {
  EXPECT_TRUE(Frame(wire::Ack{.received = 1}) == Frame(wire::Ack{.received = 1}));
  EXPECT_FALSE(Frame(wire::Ack{.received = 1}) == Frame(wire::Ack{.received = 2}));
  EXPECT_FALSE(offer_of({1, 2}) == offer_of({1, 3}));
  EXPECT_FALSE(offer_of({1, 2}) == offer_of({1}));
}

TEST(Codec, appends) {
  std::string bytes = "before";
  wire::encode(wire::Ack{.received = 1}, bytes);
  EXPECT_EQ(bytes, "before" + encoded(wire::Ack{.received = 1}));
}

TEST(Codec, tells_how_large_the_last_frame_was) {
  const Frame small = wire::Ack{.received = 1};
  const Frame large = offer_of({300'000});
  Decoder decoder = authenticated_decoder();
  decoder.push(encoded(small) + encoded(large));
  ASSERT_TRUE(decoder.next().value());
  EXPECT_EQ(decoder.frame_bytes(), encoded(small).size());
  ASSERT_TRUE(decoder.next().value());
  EXPECT_GT(decoder.frame_bytes(), 300'000U);
}

TEST(Codec, never_takes_a_frame_with_a_flipped_bit_for_another) {
  const std::string ping = encoded(wire::Ping{.sent_us = 1});
  std::string pings;
  while (pings.size() < wire::kFrameBytesMax) pings += ping;
  for (const Frame& frame : sample_frames()) {
    const std::string bytes = encoded(frame);
    for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
      std::string flipped = bytes;
      flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
      // A larger length takes what follows for a part of the frame.
      flipped += bit < 32 ? pings : ping;
      const Decoded decoded = decode(flipped);
      EXPECT_NE(decoded.error, "") << to_string(frame) << " bit " << bit;
      EXPECT_TRUE(decoded.frames.empty()) << to_string(frame) << " bit " << bit;
    }
  }
}

TEST(Codec, waits_for_the_rest_of_a_frame) {
  for (const Frame& frame : sample_frames()) {
    const std::string bytes = encoded(frame);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      const Decoded decoded = decode(std::string_view(bytes).substr(0, size));
      EXPECT_EQ(decoded.error, "");
      EXPECT_TRUE(decoded.frames.empty());
    }
  }
}

TEST(Codec, refuses_a_body_that_ends_early_wherever_it_ends) {
  for (const Frame& frame : sample_frames()) {
    const std::string bytes = encoded(frame);
    const std::string_view type_and_body = split(bytes).front();
    for (std::size_t size = 1; size < type_and_body.size(); ++size) {
      EXPECT_EQ(error_of(raw_frame(type_and_body.substr(0, size))),
                std::string(name(type_of(frame))) + ": it ends early");
    }
  }
}

TEST(Codec, refuses_bytes_behind_a_body) {
  EXPECT_EQ(error_of(raw_frame(FrameType::ack, "\1\0"s)), "ACK: 1 bytes too many");
}

TEST(Codec, refuses_what_is_no_frame) {
  EXPECT_EQ(error_of(raw_frame("")), "a frame of 0 bytes, where 1 to 262144 are allowed");
  EXPECT_EQ(error_of(raw_frame("\0"s)), "a frame of the unknown type 0");
  EXPECT_EQ(error_of(raw_frame("\xff")), "a frame of the unknown type 255");
  EXPECT_EQ(error_of(little_endian(1) + "sum?\3"), "a checksum that is not its frame's");
  EXPECT_EQ(error_of(raw_frame(FrameType::ack, "\x81\0"s)), "ACK: an over-long number");
  EXPECT_EQ(error_of("GET / HTTP/1.1\r\n"), "a frame of 542393671 bytes, where 1 to 262144 are allowed");
}

TEST(Codec, gives_the_frames_before_an_error_and_then_the_error_for_ever) {
  Decoder decoder = authenticated_decoder();
  decoder.push(encoded(wire::Ack{.received = 1}) + raw_frame("\xff"));
  const Decoded decoded = drain(decoder);
  EXPECT_EQ(decoded.frames.size(), 1U);
  EXPECT_EQ(decoded.error, "a frame of the unknown type 255");
  decoder.push(encoded(wire::Ack{.received = 2}));
  EXPECT_EQ(decoder.next().error(), decoded.error);
}

TEST(Codec, allows_only_small_frames_before_authentication) {
  const auto hello_of = [](std::size_t size) {
    return raw_frame(FrameType::refused, "\0\xf0\3"s + std::string(size, 'x'));
  };
  Decoder decoder;
  decoder.push(hello_of(496));
  EXPECT_TRUE(decoder.next().value());
  decoder.push(raw_frame(FrameType::refused, std::string(wire::kHandshakeFrameBytesMax, 'x')).substr(0, kHeaderBytes));
  EXPECT_EQ(decoder.next().error(), "a frame of 513 bytes, where 1 to 512 are allowed");
}

TEST(Codec, allows_large_frames_from_authentication_on) {
  Decoder decoder;
  const Frame proof = wire::Proof{};
  const Frame large = offer_of({10'000});
  decoder.push(encoded(proof) + encoded(large));
  EXPECT_TRUE(decoder.next().value() == proof);
  decoder.authenticated();
  EXPECT_TRUE(decoder.next().value() == large);
}

TEST(Codec, every_handshake_frame_is_small_enough) {
  for (const Frame& frame : sample_frames()) {
    if (type_of(frame) < FrameType::hello || type_of(frame) > FrameType::refused) continue;
    EXPECT_LE(encoded(frame).size(), wire::kHandshakeFrameBytesMax) << to_string(frame);
  }
}

TEST(Codec, refuses_texts_messages_and_lists_above_their_limits) {
  // RELEASE{session=1 answer=0 attempts=...}, OFFER{session=1 seq=1 nowait=0 message=...}, CLOSE{session=1 reason=...}
  EXPECT_EQ(error_of(raw_frame(FrameType::release, "\1\0\x81\x80\4"s)),
            "RELEASE: 65537 where at most 65536 is allowed");
  EXPECT_EQ(error_of(raw_frame(FrameType::offer, "\1\1\0\x81\x80\x80\x20"s)),
            "OFFER: 67108865 where at most 67108864 is allowed");
  EXPECT_EQ(error_of(raw_frame(FrameType::close, "\1\1\x81\x80\1"s)), "CLOSE: 16385 where at most 16384 is allowed");

  const Frame largest = wire::Close{.session = 1, .reason = std::string(wire::kTextBytesMax, 'x')};
  EXPECT_TRUE(decode(encoded(largest)).frames.at(0) == largest);
  const Frame longest = wire::Release{.session = 1, .attempts = std::vector<wire::Attempt>(wire::kBatchMessagesMax, 1)};
  EXPECT_TRUE(decode(encoded(longest)).frames.at(0) == longest);
}

TEST(Codec, cuts_a_frame_in_pieces_only_if_it_is_too_large) {
  // OFFER: its type, session, seq, nowait, the length of the message in three bytes, and of the list behind it.
  constexpr std::size_t kLargest = wire::kFrameBytesMax - 8;
  const std::string whole = encoded(offer_of({kLargest}));
  EXPECT_EQ(split(whole).size(), 1U);
  EXPECT_EQ(split(whole)[0].size(), wire::kFrameBytesMax);
  const std::string pieces = encoded(offer_of({kLargest + 1}));
  EXPECT_EQ(split(pieces).size(), 2U);
  for (const std::size_t size : {kLargest - 1, kLargest, kLargest + 1, kLargest + 2, 2 * kLargest, 2 * kLargest + 10}) {
    EXPECT_TRUE(decode(encoded(offer_of({size}))).frames.at(0) == offer_of({size})) << size;
  }
}

TEST(Codec, joins_the_data_of_pieces_to_type_and_body) {
  const Frame frame = offer_of({400'000, 5, 0, 300'000});
  const std::string bytes = "before" + encoded(frame);
  std::string joined;
  const auto pieces = split(std::string_view(bytes).substr(6));
  ASSERT_EQ(pieces.size(), 3U);
  for (const std::string_view& piece : pieces) {
    EXPECT_LE(piece.size(), wire::kFrameBytesMax);
    EXPECT_EQ(piece[0], static_cast<char>(FrameType::piece));
    EXPECT_EQ(piece[1], &piece == &pieces.back() ? '\1' : '\0');
    joined += piece.substr(5);  // the length of each takes three bytes
  }
  EXPECT_TRUE(decode(encoded(frame)).frames.at(0) == frame);
  std::string expected(1, static_cast<char>(FrameType::offer));
  wire::encode_value(std::get<wire::Offer>(frame), expected);
  EXPECT_EQ(joined, expected);
}

TEST(Codec, lets_ping_and_ack_between_pieces_and_nothing_else) {
  const std::string close = "\x21\7\0"s;  // its type, session, no reason
  const std::string first = piece_of(close.substr(0, 1), false);
  const std::string last = piece_of(close.substr(1), true);
  const Frame ping = wire::Ping{.sent_us = 1};
  const Frame ack = wire::Ack{.received = 1};
  const Decoded decoded = decode(first + encoded(ping) + encoded(ack) + last + encoded(ping));
  EXPECT_EQ(decoded.error, "");
  ASSERT_EQ(decoded.frames.size(), 4U);
  EXPECT_TRUE(decoded.frames[0] == ping);
  EXPECT_TRUE(decoded.frames[1] == ack);
  EXPECT_TRUE(decoded.frames[2] == Frame(wire::Close{.session = 7}));
  EXPECT_TRUE(decoded.frames[3] == ping);

  for (const Frame& frame : sample_frames()) {
    if (type_of(frame) == FrameType::ping || type_of(frame) == FrameType::ack) continue;
    EXPECT_EQ(error_of(first + encoded(frame)), "a frame other than PING and ACK between pieces") << to_string(frame);
  }
}

TEST(Codec, refuses_pieces_that_no_encoder_makes) {
  EXPECT_EQ(error_of(piece_of("", false)), "PIECE: it is empty");
  EXPECT_EQ(error_of(piece_of("", true)), "PIECE: it is empty");
  EXPECT_EQ(error_of(piece_of("\1\1\1x", true)), "a PIECE in pieces");  // its type, last, one byte of data
  EXPECT_EQ(error_of(raw_frame(FrameType::piece, "\2\1x")), "PIECE: 2 where at most 1 is allowed");
  EXPECT_EQ(error_of(raw_frame(FrameType::piece, "\1\2x")), "PIECE: it ends early");
  EXPECT_EQ(error_of(raw_frame(FrameType::piece, "\1\1xx")), "PIECE: 1 bytes too many");
  Decoder decoder;
  decoder.push(piece_of("x", false));
  EXPECT_EQ(decoder.next().error(), "PIECE: of a peer that has not authenticated itself");
}

TEST(Codec, joins_no_more_pieces_than_the_limit_allows) {
  const std::string large(wire::kFrameBytesMax / 2, 'x');
  const std::string piece = piece_of(large, false);
  Decoder decoder = authenticated_decoder();
  for (std::size_t i = 0; i < wire::kAssembledBytesMax / large.size(); ++i) {
    decoder.push(piece);
    ASSERT_EQ(drain(decoder).error, "");
  }
  decoder.push(piece_of("x", false));
  EXPECT_EQ(drain(decoder).error, "PIECE: more than 134217728 bytes in all");
}

TEST(Codec, names_each_type_of_frame) {
  EXPECT_EQ(name(FrameType::piece), "PIECE");
  EXPECT_EQ(name(FrameType::demand_shrink), "DEMAND_SHRINK");
  EXPECT_EQ(name(static_cast<FrameType>(0)), "");
  for (const Frame& frame : sample_frames()) EXPECT_FALSE(name(type_of(frame)).empty());
}

TEST(Codec, writes_frames_for_people_to_read) {
  EXPECT_EQ(to_string(wire::Offer{.session = 1, .seq = 4, .message = wire::Bytes("twelve bytes"), .more = {}}),
            "OFFER{session=1 seq=4 nowait=0 message=12B more=[]}");
  EXPECT_EQ(to_string(wire::Closed{.session = 0, .kind = klaw::CloseKind::peer_died, .reason = "a \"b\"\n"}),
            R"(CLOSED{session=0 kind=peer_died reason="a \x22b\x22\x0a"})");
  EXPECT_EQ(to_string(wire::Open{.session = 1, .side = wire::Side::receiver}),
            R"(OPEN{session=1 side=receiver claim=none counts=1 next=1 name="" node=""})");
  EXPECT_EQ(to_string(wire::Hold{.token = {{0xab, 0xcd, 0xef, 0x01, 0x23}}}), "HOLD{token=abcdef01 side=sender}");
  EXPECT_EQ(to_string(wire::Expired{.senders = {{.session = 1, .stored = 2}}}),
            "EXPIRED{senders=[{session=1 stored=2}]}");
  EXPECT_EQ(to_string(wire::Consumed{.session = 1, .attempts = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}}),
            "CONSUMED{session=1 settled=1 attempts=[1 2 3 4 5 6 7 8 ... 10 in all]}");
  EXPECT_EQ(to_string(wire::Answer{.session = 1, .seq = 2, .outcome = wire::Answer::Outcome::taken}),
            "ANSWER{session=1 seq=2 outcome=taken}");
}

}  // namespace
}  // namespace klaw_test
