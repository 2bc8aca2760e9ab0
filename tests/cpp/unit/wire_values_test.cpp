#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include <dataplane/wire/values.hpp>
#include <gtest/gtest.h>

#include "support/frames.hpp"

namespace klaw_test {
namespace {

using namespace std::string_literals;
using wire::decode_value;
using wire::encode_value;

template <class T>
std::string encoded(const T& value) {
  std::string bytes;
  encode_value(value, bytes);
  return bytes;
}

template <class T>
std::string error_of(std::string_view bytes) {
  const auto value = decode_value<T>(bytes);
  return value ? "no error" : value.error();
}

struct Everything {
  struct Nested {
    std::uint8_t number = 0;
    std::string text = {};
    static constexpr auto fields(auto& f) { return std::tie(f.number, f.text); }
    friend bool operator==(const Nested&, const Nested&) = default;
  };
  bool yes = false;
  std::uint64_t number = 0;
  double real = 0.0;
  wire::Side side = wire::Side::sender;
  wire::Token token = {};
  wire::Mac mac = {};
  std::optional<std::string> text = std::nullopt;
  wire::Bytes bytes = {};
  std::vector<Nested> nested = {};
  static constexpr auto fields(auto& f) {
    return std::tie(f.yes, f.number, f.real, f.side, f.token, f.mac, f.text, f.bytes, f.nested);
  }
};

TEST(Values, of_every_type_come_back) {
  RandomFields random(1);
  for (int i = 0; i < 1000; ++i) {
    Everything value;
    random.set(value);
    const auto back = decode_value<Everything>(encoded(value));
    ASSERT_TRUE(back) << back.error();
    ASSERT_EQ(encoded(*back), encoded(value));
    ASSERT_EQ(Everything::fields(*back), Everything::fields(value));
  }
}

TEST(Values, are_appended) {
  std::string bytes = "before";
  encode_value(std::uint64_t{300}, bytes);
  EXPECT_EQ(bytes, "before\xac\x02");
}

TEST(Values, look_as_documented) {
  EXPECT_EQ(encoded(false), "\0"s);
  EXPECT_EQ(encoded(true), "\1");
  EXPECT_EQ(encoded(std::uint32_t{127}), "\x7f");
  EXPECT_EQ(encoded(std::uint32_t{128}), "\x80\1");
  EXPECT_EQ(encoded(std::numeric_limits<std::uint64_t>::max()), "\xff\xff\xff\xff\xff\xff\xff\xff\xff\1");
  EXPECT_EQ(encoded(klaw::CloseKind::peer_died), "\3");
  EXPECT_EQ(encoded(1.0), "\0\0\0\0\0\0\xf0\x3f"s);
  EXPECT_EQ(encoded("abc"s), "\3abc");
  EXPECT_EQ(encoded(wire::Bytes("abc")), "\3abc");
  EXPECT_EQ(encoded(std::optional<std::string>()), "\0"s);
  EXPECT_EQ(encoded(std::optional("abc"s)), "\1\3abc");
  EXPECT_EQ(encoded(std::vector<std::uint64_t>{1, 300}), "\2\1\xac\x02");
}

TEST(Values, may_be_as_large_as_their_type_and_no_larger) {
  EXPECT_EQ(decode_value<std::uint64_t>("\xff\xff\xff\xff\xff\xff\xff\xff\xff\1"),
            std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(error_of<std::uint64_t>("\xff\xff\xff\xff\xff\xff\xff\xff\xff\2"), "a number of more than 64 bits");
  EXPECT_EQ(error_of<std::uint64_t>("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\1"), "a number of more than 64 bits");
  EXPECT_EQ(decode_value<std::uint32_t>("\xff\xff\xff\xff\x0f"), std::numeric_limits<std::uint32_t>::max());
  EXPECT_EQ(error_of<std::uint32_t>("\x80\x80\x80\x80\x10"), "4294967296 where at most 4294967295 is allowed");
  EXPECT_EQ(decode_value<std::uint16_t>("\xff\xff\3"), std::numeric_limits<std::uint16_t>::max());
  EXPECT_EQ(error_of<std::uint16_t>("\x80\x80\4"), "65536 where at most 65535 is allowed");
  EXPECT_EQ(decode_value<bool>("\1"), true);
  EXPECT_EQ(error_of<bool>("\2"), "2 where at most 1 is allowed");
  EXPECT_EQ(decode_value<klaw::CloseKind>("\6"), klaw::CloseKind::backend);
  EXPECT_EQ(error_of<klaw::CloseKind>("\7"), "7 where at most 6 is allowed");
  EXPECT_EQ(error_of<std::optional<bool>>("\2\1"), "2 where at most 1 is allowed");
}

TEST(Values, have_one_encoding_only) {
  EXPECT_EQ(error_of<std::uint64_t>("\x80\0"s), "an over-long number");
  EXPECT_EQ(error_of<std::uint64_t>("\x81\x80\0"s), "an over-long number");
  EXPECT_EQ(error_of<std::uint64_t>("\xff\xff\xff\xff\xff\xff\xff\xff\xff\0"s), "an over-long number");
  EXPECT_EQ(error_of<bool>("\x81\0"s), "an over-long number");
  EXPECT_EQ(error_of<std::string>("\x83\0abc"s), "an over-long number");
}

TEST(Values, that_end_early_are_refused_wherever_they_end) {
  RandomFields random(2);
  Everything value;
  random.set(value);
  const std::string bytes = encoded(value);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_EQ(error_of<Everything>(std::string_view(bytes).substr(0, size)), "it ends early") << size;
  }
}

TEST(Values, with_bytes_behind_them_are_refused) {
  EXPECT_EQ(error_of<bool>("\1\0"s), "1 bytes too many");
  EXPECT_EQ(error_of<Everything::Nested>("\1\0abc"s), "3 bytes too many");
}

TEST(Values, whose_lengths_lie_are_refused) {
  EXPECT_EQ(error_of<std::string>("\4abc"), "it ends early");
  EXPECT_EQ(error_of<wire::Bytes>("\xff\xff\xff\xff\xff\xff\xff\xff\xff\1"), "it ends early");
  EXPECT_EQ(error_of<std::vector<std::uint64_t>>("\xff\xff\xff\xff\xff\xff\xff\xff\xff\1"), "it ends early");
}

}  // namespace
}  // namespace klaw_test
