#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <dataplane/broker/checkpoint.hpp>
#include <dataplane/wire/codec.hpp>
#include <gtest/gtest.h>

#include "support/frames.hpp"

namespace klaw_test {
namespace {

using namespace std::string_literals;
using wire::Checkpoint;
using wire::decode_checkpoint;

std::string error_of(std::string_view bytes) {
  const auto checkpoint = decode_checkpoint(bytes);
  return checkpoint ? "no error" : checkpoint.error();
}

Checkpoint some_checkpoint() {
  Checkpoint checkpoint;
  checkpoint.epoch = 3;
  checkpoint.sending = {.is_closed = true, .reason = "it broke"};
  checkpoint.has_messages = true;
  for (const std::string_view message : {"a", "", "ccc"})
    checkpoint.messages.push_back({.message = wire::Bytes(message)});
  checkpoint.senders.push_back({.session = 1, .stored = 2});
  return checkpoint;
}

TEST(CheckpointBytes, of_every_checkpoint_come_back) {
  RandomFields random(1);
  for (int i = 0; i < 1000; ++i) {
    Checkpoint checkpoint;
    random.set(checkpoint);
    const std::string bytes = encode(checkpoint);
    const auto back = decode_checkpoint(bytes);
    ASSERT_TRUE(back) << back.error();
    ASSERT_EQ(encode(*back), bytes);
  }
}

TEST(CheckpointBytes, begin_with_their_name_checksum_and_format) {
  const std::string bytes = encode(Checkpoint());
  EXPECT_EQ(bytes.substr(0, 8), "KLAWCKPT");
  EXPECT_EQ(bytes.substr(12, 4), "\1\0\0\0"s);
}

TEST(CheckpointBytes, that_end_early_are_not_taken_wherever_they_end) {
  const std::string bytes = encode(some_checkpoint());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_NE(error_of(std::string_view(bytes).substr(0, size)), "no error") << size;
  }
  EXPECT_EQ(error_of(bytes + "x"), "it is damaged: its checksum is another");
}

TEST(CheckpointBytes, with_a_bit_that_flipped_are_not_taken) {
  const std::string bytes = encode(some_checkpoint());
  for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    std::string damaged = bytes;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_NE(error_of(damaged), "no error") << bit;
  }
}

TEST(CheckpointBytes, of_another_format_are_told_from_damaged_ones) {
  std::string bytes = encode(some_checkpoint());
  bytes[12] = 2;
  const std::uint32_t checksum = wire::checksum(std::string_view(bytes).substr(12));
  for (std::size_t i = 0; i < 4; ++i) bytes[8 + i] = static_cast<char>(checksum >> (8 * i));
  EXPECT_EQ(error_of(bytes), "its format is 2, and only 1 is known here");
  EXPECT_EQ(error_of("something else"), "these bytes are no checkpoint");
}

}  // namespace
}  // namespace klaw_test
