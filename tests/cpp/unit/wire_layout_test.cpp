// The wire, byte by byte. A change of this table breaks what klaw speaks: it needs a new version of the protocol
// (docs/wire-protocol.md).
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <dataplane/wire/codec.hpp>
#include <gtest/gtest.h>

#include "support/frames.hpp"

namespace klaw_test {
namespace {

struct Layout {
  std::string_view frame;
  std::string_view bytes;  // length, checksum, type, body
};

// clang-format off
constexpr Layout kLayouts[] = {
    {R"(PING{sent_us=1 echo_us=300 received=2})",
     "05000000 7a1bea48 02 01ac0202"},
    {R"(ACK{received=1})",
     "02000000 d5b357df 03 01"},
    {R"(HELLO{magic=1 version_min=300 version_max=2 features=301 channel=01020304 nonce=11121314})",
     "27000000 21fec8c9 08 01ac0202ad020102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20"},
    {R"(CHALLENGE{version=1 features=300 nonce=01020304})",
     "14000000 603bfa0f 09 01ac020102030405060708090a0b0c0d0e0f10"},
    {R"(PROOF{mac=01020304})",
     "21000000 aeaf3035 0a 0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20"},
    {R"(WELCOME{mac=01020304})",
     "21000000 87df07d7 0b 0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20"},
    {R"(ATTACH{client=01020304 connection=1 epoch=300 resume=1 received=2})",
     "16000000 bb73e93d 0c 0102030405060708090a0b0c0d0e0f1001ac020102"},
    {R"(ATTACHED{epoch=1 resumed=1 restored=1 received=300 kind=watch capacity=2 heartbeat_ms=301 )"
     R"(reconnect_grace_ms=3 offered_max=302 offered_bytes_max=4 message_bytes_max=303})",
     "10000000 77b6c2a9 0d 010101ac020302ad0203ae0204af02"},
    {R"(EXPIRED{senders=[{session=1 stored=300} {session=2 stored=301}]})",
     "08000000 60b75ca0 0e 0201ac0202ad02"},
    {R"(REFUSED{why=ticket text="text1"})",
     "08000000 678452f5 0f 03057465787431"},
    {R"(OPEN{session=1 side=receiver claim=01020304 counts=1 next=300 name="text1" node="text2"})",
     "23000000 9882db09 20 0101010102030405060708090a0b0c0d0e0f1001ac02057465787431057465787432"},
    {R"(CLOSE{session=1 reason="text1"})",
     "09000000 8c6eec9c 21 0101057465787431"},
    {R"(HOLD{token=01020304 side=receiver})",
     "12000000 64a6876c 22 0102030405060708090a0b0c0d0e0f1001"},
    {R"(OFFER{session=1 seq=300 nowait=1 message=5B more=[5B 5B]})",
     "18000000 b2856528 23 01ac020105746578743102057465787432057465787433"},
    {R"(WITHDRAW{session=1 seq=300})",
     "04000000 26f0cb1c 24 01ac02"},
    {R"(DEMAND{session=1 limit=300 waiting=2 spare=301})",
     "07000000 62a0ee75 25 01ac0202ad02"},
    {R"(DEMAND_SHRINK{session=1 limit=300 waiting=2 spare=301})",
     "07000000 370c3915 26 01ac0202ad02"},
    {R"(CONSUMED{session=1 settled=1 attempts=[300 2]})",
     "07000000 d2f35d2a 27 010102ac0202"},
    {R"(SETTLE{session=1 requeue=1 delay_ms=300 attempts=[2 301]})",
     "09000000 6bf6ea17 28 0101ac020202ad02"},
    {R"(RELEASE{session=1 answer=1 attempts=[300 2]})",
     "07000000 43889d49 29 010102ac0202"},
    {R"(RETURN_CREDIT{session=1 limit=300})",
     "04000000 c5252528 2a 01ac02"},
    {R"(SHUTDOWN{immediate=1 reason="text1"})",
     "09000000 ca5aed9b 2b 0101057465787431"},
    {R"(RESERVE{session=1 seq=300 nowait=1})",
     "05000000 865fac0c 2c 01ac0201"},
    {R"(FILL{session=1 seq=300 message=5B})",
     "0a000000 5e3345d2 2d 01ac02057465787431"},
    {R"(UNRESERVE{session=1 seq=300})",
     "04000000 c1826ba8 2e 01ac02"},
    {R"(OPENED{session=1 accepted=1 kind=backend reason="text1"})",
     "0b000000 380a1964 40 01010601057465787431"},
    {R"(STORED{session=1 seq=300})",
     "04000000 790bd696 41 01ac02"},
    {R"(ANSWER{session=1 seq=300 outcome=already_sent})",
     "05000000 5aba5971 42 01ac0206"},
    {R"(DELIVER{session=1 delivery={attempt=300 redeliveries=2 message=5B} more=[{attempt=301 redeliveries=3 )"
     R"(message=5B} {attempt=302 redeliveries=4 message=5B}]})",
     "1e000000 719a2dad 43 01ac020205746578743102ad0203057465787432ae0204057465787433"},
    {R"(RECALL{session=1 count=300})",
     "04000000 fee0f19b 44 01ac02"},
    {R"(DEMAND_IS{session=1 limit=300})",
     "04000000 59047df2 45 01ac02"},
    {R"(END{session=1 received=300 kind=backend reason="text1"})",
     "0c000000 5abf1826 46 01ac020601057465787431"},
    {R"(CLOSED{session=1 kind=backend reason="text1"})",
     "0a000000 4892b582 47 010601057465787431"},
    {R"(DATA_LOSS{session=1 first=300 last=2})",
     "05000000 6594c2bc 48 01ac0202"},
    {R"(CREDIT{session=1 limit=300})",
     "04000000 ae18f2bc 49 01ac02"},
    {R"(REVOKE{session=1 floor=300})",
     "04000000 2e7fb6a4 4a 01ac02"},
    {R"(IS_SHUT_DOWN{immediate=1 reason="text1"})",
     "09000000 ad9d96a5 4b 0101057465787431"},
    {R"(MISSED{session=1 skipped=300})",
     "04000000 86895a54 4c 01ac02"},
    {R"(SENT{session=1 seq=300 receivers=2})",
     "05000000 d3f7515a 4d 01ac0202"},
    {R"(RECEIVERS{session=1 any=1 kind=backend reason="text1"})",
     "0b000000 abb3ae7a 4e 01010601057465787431"},
    {R"(LATEST{version=1 message=5B})",
     "08000000 bf949dbc 4f 01057465787431"},
    {R"(CHANGED{session=1 seq=300 version=2 receivers=301})",
     "07000000 c7b5251c 50 01ac0202ad02"},
};
// clang-format on

// With spaces as in the table.
std::string hex(std::string_view bytes) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 8 || i == 9) text += ' ';
    const auto byte = static_cast<std::uint8_t>(bytes[i]);
    text += {kDigits[byte >> 4], kDigits[byte & 15]};
  }
  return text;
}

TEST(Layout, of_each_frame_is_what_it_always_was) {
  const auto samples = sample_frames();
  ASSERT_EQ(samples.size(), std::size(kLayouts));
  for (std::size_t i = 0; i < samples.size(); ++i) {
    std::string bytes;
    wire::encode(samples[i], bytes);
    EXPECT_EQ(to_string(samples[i]), kLayouts[i].frame);
    EXPECT_EQ(hex(bytes), kLayouts[i].bytes) << to_string(samples[i]);
  }
}

TEST(Layout, of_a_piece_is_what_it_always_was) {
  std::string bytes;
  wire::encode(wire::Offer{.session = 1, .seq = 2, .message = wire::Bytes(std::string(wire::kFrameBytesMax, 'x'))},
               bytes);
  // Its length, its checksum, its type; not the last, 262139 bytes: an OFFER of session 1, its seq 2, no nowait.
  EXPECT_EQ(hex(bytes.substr(0, 17)), "00000400 af888c19 01 00fbff0f23010200");
  // The last one, 13 bytes: the end of the message, and no more messages.
  EXPECT_EQ(hex(bytes.substr(bytes.size() - 24)), "10000000 6a8044b7 01 010d78787878787878787878787800");
}

TEST(Layout, has_the_magic_number_and_the_limits_that_it_always_had) {
  EXPECT_EQ(wire::kMagic, 0x57414c4bU);
  EXPECT_EQ(wire::kVersion, 1);
  EXPECT_EQ(wire::kFrameBytesMax, 262'144U);
  EXPECT_EQ(wire::kHandshakeFrameBytesMax, 512U);
}

}  // namespace
}  // namespace klaw_test
