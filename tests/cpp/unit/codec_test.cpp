#include <array>
#include <cmath>
#include <cstdint>
#include <deque>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <klaw/channels/codec.hpp>
#include <msgpack.hpp>

namespace {

using namespace klaw::channels;
using namespace std::string_literals;
using namespace std::string_view_literals;
using testing::HasSubstr;
using testing::StartsWith;

struct Point {
  int x = 0;
  double y = 0.5;
  MSGPACK_DEFINE(x, y)
  friend bool operator==(const Point&, const Point&) = default;
};

struct Job {
  std::string name = "unnamed";
  std::vector<Point> points = {};
  std::optional<std::uint8_t> priority = std::nullopt;
  MSGPACK_DEFINE_MAP(name, points, MSGPACK_NVP("prio", priority))
  friend bool operator==(const Job&, const Job&) = default;
};

struct NamedPoint : Point {
  std::string name = {};
  MSGPACK_DEFINE(MSGPACK_BASE(Point), name)
  friend bool operator==(const NamedPoint&, const NamedPoint&) = default;
};

// What msgpack-cxx has no adaptor for.
struct Image {
  Bytes pixels = {};
  std::variant<None, std::string, Value> note = None();
  template <class Packer>
  void msgpack_pack(Packer& packer) const {
    packer.pack_map(2);
    packer.pack("pixels");
    packer.pack(pixels);
    packer.pack("note");
    packer.pack(note);
  }
  friend bool operator==(const Image&, const Image&) = default;
};

struct PacksWhatIsNoMember {
  int x = 0;
  template <class Packer>
  void msgpack_pack(Packer& packer) const {
    packer.pack_array(1);
    packer.pack(x + 1);
  }
};

enum class Colour : std::uint8_t { none, red, green };

struct Url {
  std::string host;
  friend bool operator==(const Url&, const Url&) = default;
};

}  // namespace

template <>
struct klaw::channels::Codec<Url> {
  static std::string to_wire(const Url& url) { return "http://" + url.host; }
  static klaw::Result<Url, std::string> from_wire(const std::string& text) {
    if (!text.starts_with("http://")) return std::unexpected("'" + text + "' is no URL");
    return Url{text.substr(7)};
  }
};

namespace {

template <class T>
Payload encoded(const T& value) {
  auto payload = encode(value);
  EXPECT_TRUE(payload) << payload.error().message;
  return payload.value_or(Payload());
}

template <class T>
std::string encode_error(const T& value) {
  const auto payload = encode(value);
  return payload ? "no error" : payload.error().message;
}

// Of what is sent as `value`, received as a T.
template <class T, class From>
std::string decode_error(const From& value) {
  const auto result = decode<T>(encoded(value));
  return result ? "no error" : result.error().message;
}

template <class T, class From>
T received(const From& value) {
  auto result = decode<T>(encoded(value));
  EXPECT_TRUE(result) << result.error().message;
  return result ? *std::move(result) : T{};
}

template <class T>
std::string error_of(std::string_view message) {
  const auto result = decode<T>(Payload(message));
  return result ? "no error" : result.error().message;
}

// What is sent is this message, and comes back as it was.
template <class T>
void expect_message(const T& value, std::string_view message) {
  EXPECT_EQ(encoded(value).view(), message) << to_string(decode<Value>(Payload(message)).value_or(Value()));
  EXPECT_TRUE(received<T>(value) == value);
}

Value nested(int levels) {
  Value value = 1;
  for (int level = 1; level < levels; ++level) value = List{std::move(value)};
  return value;
}

TEST(Codec, each_type_has_its_message_and_comes_back) {
  expect_message(None(), "\1\xc0"sv);
  expect_message(std::monostate(), "\1\xc0"sv);
  expect_message(true, "\1\xc3"sv);
  expect_message(false, "\1\xc2"sv);
  expect_message(7, "\1\x07"sv);
  expect_message('a', "\1\x61"sv);
  expect_message(Colour::green, "\1\x02"sv);
  expect_message(1.0, "\1\xcb\x3f\xf0\0\0\0\0\0\0"sv);
  expect_message(-0.0, "\1\xcb\x80\0\0\0\0\0\0\0"sv);
  expect_message(0.5F, "\1\xcb\x3f\xe0\0\0\0\0\0\0"sv);
  expect_message(1.0L, "\1\xcb\x3f\xf0\0\0\0\0\0\0"sv);
  expect_message("h\xc3\xa9"s, "\1\xa3h\xc3\xa9"sv);
  expect_message(Bytes("ab"), "\0ab"sv);
  expect_message(std::vector{std::byte{1}, std::byte{2}}, "\0\1\2"sv);
  expect_message(std::vector<unsigned char>{1, 2}, "\0\1\2"sv);
  expect_message(std::vector<char>{'a'}, "\0a"sv);
  expect_message(std::array<std::byte, 2>{std::byte{1}, std::byte{2}}, "\0\1\2"sv);
  expect_message(std::optional<int>(3), "\1\3"sv);
  expect_message(std::optional<int>(), "\1\xc0"sv);
  expect_message(std::optional(Bytes("ab")), "\0ab"sv);
  expect_message(std::vector{1, 2}, "\1\x92\1\2"sv);
  expect_message(std::vector{true, false}, "\1\x92\xc3\xc2"sv);
  expect_message(std::deque{1, 2}, "\1\x92\1\2"sv);
  expect_message(std::array{1, 2}, "\1\x92\1\2"sv);
  expect_message(std::vector{Bytes("ab")}, "\1\x91\xc4\2ab"sv);
  expect_message(std::tuple(1, "a"s),
                 "\4\x93\xc7\0\1\1\xa1"
                 "a"sv);
  expect_message(std::tuple<>(), "\4\x91\xc7\0\1"sv);
  expect_message(std::pair(1, 2), "\4\x93\xc7\0\1\1\2"sv);
  expect_message(std::map<int, bool>{{1, true}, {2, false}}, "\1\x82\1\xc3\2\xc2"sv);
  expect_message(std::unordered_map<std::string, int>{{"a", 1}},
                 "\1\x81\xa1"
                 "a\1"sv);
  expect_message(std::map<std::pair<int, int>, int>{{{1, 2}, 3}}, "\4\x81\x93\xc7\0\1\1\2\3"sv);
  expect_message(Point{1, 1.0}, "\1\x92\1\xcb\x3f\xf0\0\0\0\0\0\0"sv);
  expect_message(std::variant<int, std::string>("a"),
                 "\1\xa1"
                 "a"sv);
  expect_message(Url{"a"}, "\1\xa8http://a"sv);
  expect_message(Value(Dict{{"a", List{1, None()}}}),
                 "\1\x81\xa1"
                 "a\x92\1\xc0"sv);
}

TEST(Codec, views_are_sent_as_what_they_are_views_of) {
  const std::array<std::byte, 2> bytes = {std::byte{1}, std::byte{2}};
  EXPECT_EQ(encoded("text").view(), "\1\xa4text"sv);
  EXPECT_EQ(encoded("text"sv).view(), "\1\xa4text"sv);
  EXPECT_EQ(encoded(std::span(bytes)).view(), "\0\1\2"sv);
  EXPECT_EQ(encoded(std::span<const std::byte>(bytes)).view(), "\0\1\2"sv);
}

TEST(Codec, integers_are_as_short_as_they_can_be) {
  using Limits = std::numeric_limits<std::int64_t>;
  for (const auto& [value, size] : std::vector<std::pair<std::int64_t, std::size_t>>{
           {0, 1},      {127, 1},         {128, 2},         {255, 2},           {256, 3},
           {65535, 3},  {65536, 5},       {4294967295, 5},  {4294967296, 9},    {-1, 1},
           {-32, 1},    {-33, 2},         {-128, 2},        {-129, 3},          {-32768, 3},
           {-32769, 5}, {-2147483648, 5}, {-2147483649, 9}, {Limits::max(), 9}, {Limits::min(), 9}}) {
    EXPECT_EQ(encoded(value).size(), 1 + size) << value;
    EXPECT_EQ(received<std::int64_t>(value), value);
    EXPECT_EQ(received<Value>(value), Value(value));
  }
  constexpr auto kLargest = std::numeric_limits<std::uint64_t>::max();
  EXPECT_EQ(received<std::uint64_t>(kLargest), kLargest);
  EXPECT_EQ(received<Value>(kLargest), Value(kLargest));
}

TEST(Codec, messages_are_those_of_msgpack_cxx) {
  const std::vector<std::string> texts = {"", std::string(31, 'a'), std::string(32, 'a'), std::string(256, 'a'),
                                          std::string(65536, 'a')};
  for (const std::size_t count :
       {std::size_t{0}, std::size_t{15}, std::size_t{16}, std::size_t{65535}, std::size_t{65536}}) {
    const std::vector<int> numbers(count, 7);
    std::map<std::size_t, std::string> map;
    for (std::size_t i = 0; i < count; ++i) map.emplace(i, texts[i % texts.size()].substr(0, 300));
    const std::tuple value(numbers, map, texts);
    msgpack::sbuffer packed;
    msgpack::pack(packed, std::vector{numbers});
    EXPECT_EQ(encoded(std::vector{numbers}).view().substr(1), std::string_view(packed.data(), packed.size()));
    packed.clear();
    msgpack::pack(packed, map);
    EXPECT_EQ(encoded(map).view().substr(1), std::string_view(packed.data(), packed.size()));
    EXPECT_TRUE(received<std::remove_const_t<decltype(value)>>(value) == value);
  }
  msgpack::sbuffer packed;
  msgpack::pack(packed, texts);
  EXPECT_EQ(encoded(texts).view().substr(1), std::string_view(packed.data(), packed.size()));
}

TEST(Codec, a_number_out_of_its_types_range_is_an_error) {
  EXPECT_EQ(decode_error<std::uint8_t>(300), "expected a uint8, got 300");
  EXPECT_EQ(decode_error<std::uint8_t>(-1), "expected a uint8, got -1");
  EXPECT_EQ(decode_error<std::int8_t>(128), "expected an int8, got 128");
  EXPECT_EQ(decode_error<std::int64_t>(std::uint64_t{1} << 63), "expected an int64, got 9223372036854775808");
  EXPECT_EQ(decode_error<Colour>(256), "expected a uint8, got 256");
  EXPECT_EQ(decode_error<float>(1e300), "expected a float, got 1e+300, which is out of its range");
  EXPECT_EQ(received<std::uint8_t>(255), 255);
  EXPECT_EQ(received<std::int8_t>(-128), -128);
  EXPECT_EQ(received<float>(0.1), 0.1F);
  EXPECT_EQ(received<float>(std::numeric_limits<double>::infinity()), std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(received<float>(std::numeric_limits<double>::quiet_NaN())));
}

TEST(Codec, types_of_numbers_are_not_mixed_but_an_int_may_be_a_float) {
  EXPECT_EQ(decode_error<int>(1.0), "expected an int32, got a float");
  EXPECT_EQ(decode_error<int>(true), "expected an int32, got a bool");
  EXPECT_EQ(decode_error<bool>(1), "expected a bool, got an int");
  EXPECT_EQ(decode_error<double>(true), "expected a float, got a bool");
  EXPECT_EQ(received<double>(-3), -3.0);
  EXPECT_EQ(received<double>(0), 0.0);
  EXPECT_EQ(received<double>(std::int64_t{1} << 53), 0x1p53);
  EXPECT_EQ(received<double>(std::numeric_limits<std::int64_t>::min()), -0x1p63);
  EXPECT_EQ(received<double>(std::uint64_t{1} << 63), 0x1p63);
  EXPECT_EQ(decode_error<double>((std::int64_t{1} << 53) + 1),
            "expected a float, got 9007199254740993, which no such float is equal to");
  EXPECT_EQ(decode_error<float>((1 << 24) + 1), "expected a float, got 16777217, which no such float is equal to");
  EXPECT_EQ(decode_error<double>(std::numeric_limits<std::uint64_t>::max()),
            "expected a float, got 18446744073709551615, which no such float is equal to");
}

TEST(Codec, floats_keep_their_bits) {
  for (const std::uint64_t bits : {0xfff80000deadbeefU, 0x7ff8000000000001U, 0x8000000000000000U, std::uint64_t{1}}) {
    const auto value = std::bit_cast<double>(bits);
    EXPECT_EQ(std::bit_cast<std::uint64_t>(received<double>(value)), bits);
    EXPECT_EQ(std::bit_cast<std::uint64_t>(received<Value>(value).get<double>()), bits);
  }
  if constexpr (std::numeric_limits<long double>::digits > std::numeric_limits<double>::digits) {
    EXPECT_EQ(encode_error(1.0L + std::numeric_limits<long double>::epsilon()),
              "a long double that no double is equal to");
  }
  EXPECT_EQ(error_of<double>("\1\xca\x3f\x80\0\0"sv), "no error");  // a float 32, of somebody else's making
}

TEST(Codec, a_string_that_is_not_utf_8_is_an_error_that_names_bytes) {
  EXPECT_EQ(encode_error("ab\xff"s),
            "a std::string that is not UTF-8 (at byte 2), which no str can be: send it as klaw::channels::Bytes");
  EXPECT_THAT(encode_error(std::vector{"a"s, "\xed\xa0\x80"s}),
              StartsWith("element 1: a std::string that is not UTF-8"));
  EXPECT_EQ(error_of<std::string>("\1\xa1\xff"sv), "the message has a str that is not UTF-8");
  EXPECT_EQ(error_of<Value>("\1\xa1\xff"sv), "the message has a str that is not UTF-8");
}

TEST(Codec, utf_8_is_what_unicode_says_it_is) {
  using detail::valid_utf8;
  for (const std::string_view good : {""sv, "\0"sv, "0123456789abcdef"sv, "\xc2\x80"sv, "\xdf\xbf"sv, "\xe0\xa0\x80"sv,
                                      "\xed\x9f\xbf"sv, "\xee\x80\x80"sv, "\xf0\x90\x80\x80"sv, "\xf4\x8f\xbf\xbf"sv}) {
    EXPECT_EQ(valid_utf8(good), good.size());
    EXPECT_EQ(valid_utf8("01234567" + std::string(good)), 8 + good.size());
  }
  for (const std::string_view bad :
       {"\x80"sv, "\xbf"sv, "\xc0\x80"sv, "\xc1\xbf"sv, "\xc2"sv, "\xc2\x41"sv, "\xe0\x9f\xbf"sv, "\xe1\x80"sv,
        "\xe1\x80\xc0"sv, "\xed\xa0\x80"sv, "\xf0\x8f\xbf\xbf"sv, "\xf4\x90\x80\x80"sv, "\xf1\x80\x80"sv,
        "\xf1\x80\x80\x41"sv, "\xf5\x80\x80\x80"sv, "\xff"sv}) {
    EXPECT_EQ(valid_utf8(bad), 0) << testing::PrintToString(bad);
    EXPECT_EQ(valid_utf8("0123456789" + std::string(bad)), 10);
  }
}

TEST(Codec, bytes_are_received_and_sent_again_without_a_copy) {
  const Payload message = encoded(std::vector<std::byte>(1000));
  const Bytes bytes = *decode<Bytes>(message);
  EXPECT_EQ(bytes.view().data(), message.data() + 1);
  EXPECT_EQ(encoded(bytes).data(), message.data());
  EXPECT_EQ(encoded(Value(bytes)).data(), message.data());
  const Bytes made = Bytes::filled(3, [](std::byte* to) { std::fill_n(to, 3, std::byte{7}); });
  EXPECT_EQ(encoded(made).data() + 1, made.view().data());
  const auto within = received<std::vector<Bytes>>(std::vector{Bytes("ab"), Bytes("cd")});
  EXPECT_EQ(within[0].view().data() + 4, within[1].view().data());
  EXPECT_EQ(encoded(within[1]).view(), "\0cd"sv);
}

TEST(Codec, bytes_are_no_text_and_no_list) {
  EXPECT_EQ(decode_error<std::string>(Bytes("a")), "expected a str, got bytes");
  EXPECT_EQ(decode_error<Bytes>("a"), "expected bytes, got a str");
  EXPECT_EQ(decode_error<std::vector<unsigned char>>(std::vector{1}), "expected bytes, got a list");
  EXPECT_EQ((decode_error<std::array<std::byte, 2>>(Bytes("abc"))), "expected 2 bytes, got 3");
}

TEST(Codec, an_error_says_where_and_what) {
  EXPECT_EQ(decode_error<std::vector<std::int64_t>>(Value(List{1, 2, 3, "x"})),
            "element 3: expected an int64, got a str");
  EXPECT_EQ((decode_error<std::tuple<int, std::string>>(std::tuple(1, 2))), "element 1: expected a str, got an int");
  EXPECT_EQ((decode_error<std::tuple<int, int>>(std::tuple(1))), "expected 2 elements, got a tuple of 1");
  EXPECT_EQ((decode_error<std::array<int, 1>>(std::vector{1, 2})), "expected 1 element, got a list of 2");
  EXPECT_EQ((decode_error<std::map<std::string, std::vector<int>>>(Value(Dict{{"scores", List{1, 2.5}}}))),
            "value of 'scores', element 1: expected an int32, got a float");
  EXPECT_EQ((decode_error<std::map<std::string, int>>(Value(Dict{{"a", 1}, {2, 1}}))),
            "key 1: expected a str, got an int");
  EXPECT_EQ(decode_error<Job>(Value(Dict{{"points", List{Value(List{1, "y"})}}})),
            "field points, element 0, field 1: expected a float, got a str");
  EXPECT_EQ(decode_error<Job>(Value(Dict{{1, 2}})), "key 0: expected a str, got an int");
  EXPECT_EQ(decode_error<Job>(1), "expected a dict, got an int");
  EXPECT_EQ(decode_error<Point>(Value(Dict{})), "expected a list, got a dict");
  EXPECT_EQ(decode_error<std::optional<int>>("x"), "expected an int32 or None, got a str");
  EXPECT_EQ(decode_error<Url>("ftp"), "'ftp' is no URL");
  EXPECT_EQ(decode_error<std::vector<Url>>(Value(List{"http://a", 1})), "element 1: expected a str, got an int");
  EXPECT_EQ(encode_error(std::map<std::string, std::vector<std::string>>{{"k", {"\xff"}}}).substr(0, 22),
            "value of 'k', element ");
  EXPECT_EQ(encode_error(Job{.name = "\xff"}).substr(0, 12), "field name: ");
  EXPECT_EQ((decode_error<std::map<std::string, int>>(Value(Dict{{std::string(100, 'k'), "x"}}))),
            "value of '" + std::string(39, 'k') + "...: expected an int32, got a str");
}

TEST(Codec, lists_and_tuples_stand_in_for_each_other) {
  EXPECT_EQ(received<std::vector<int>>(std::tuple(1, 2)), (std::vector{1, 2}));
  EXPECT_EQ((received<std::tuple<int, int>>(std::vector{1, 2})), std::tuple(1, 2));
  EXPECT_EQ(received<Point>(std::tuple(1, 2.0)), (Point{1, 2.0}));
  EXPECT_NE(received<Value>(std::tuple(1, 2)), received<Value>(std::vector{1, 2}));
}

TEST(Codec, a_variant_takes_the_alternative_that_fits) {
  using Numbers = std::variant<double, std::int8_t, std::int64_t>;
  EXPECT_EQ(received<Numbers>(1), Numbers(std::int8_t{1}));
  EXPECT_EQ(received<Numbers>(300), Numbers(std::int64_t{300}));
  EXPECT_EQ(received<Numbers>(1.0), Numbers(1.0));
  using Lists = std::variant<std::vector<int>, std::tuple<int, int>, std::vector<std::string>>;
  EXPECT_EQ(received<Lists>(std::tuple(1, 2)).index(), 1);
  EXPECT_EQ(received<Lists>(std::tuple(1, 2, 3)).index(), 0);
  EXPECT_EQ(received<Lists>(std::vector{"a"s}).index(), 2);
  EXPECT_EQ((received<std::variant<double, std::string>>(1)), (std::variant<double, std::string>(1.0)));
  EXPECT_EQ((decode_error<std::variant<int, std::string, None>>(1.5)), "expected an int32, a str or None, got a float");
  EXPECT_EQ((decode_error<std::variant<std::int8_t, std::uint8_t>>(300)),
            "fits no alternative of a variant (expected an int8, got 300; expected a uint8, got 300)");
  EXPECT_EQ((decode_error<std::vector<std::variant<std::vector<int>, std::string>>>(Value(List{Value(List{None()})}))),
            "element 0: fits no alternative of a variant (element 0: expected an int32, got None)");
}

TEST(Codec, structs_are_lists_or_dicts_of_their_fields) {
  const Job job = {.name = "a", .points = {{1, 2.0}, {3, 4.0}}, .priority = 7};
  EXPECT_EQ(received<Job>(job), job);
  EXPECT_EQ(to_string(received<Value>(job)), "{'name': 'a', 'points': [[1, 2.0], [3, 4.0]], 'prio': 7}");
  NamedPoint point;
  point.x = 5;
  point.name = "p";
  EXPECT_EQ(received<NamedPoint>(point), point);
  EXPECT_EQ(to_string(received<Value>(point)), "[[5, 0.5], 'p']");
  const Image image = {.pixels = Bytes("\xff"), .note = Value(1)};
  EXPECT_EQ(received<Image>(image), image);
  EXPECT_EQ(to_string(received<Value>(image)), "{'pixels': b'\\xff', 'note': 1}");
}

TEST(Codec, what_msgpack_cxx_packs_of_a_struct_is_what_klaw_sends) {
  const Job job = {.name = "a", .points = {{1, 2.5}}, .priority = 7};
  msgpack::sbuffer packed;
  msgpack::pack(packed, job);
  EXPECT_EQ(encoded(job).view().substr(1), std::string_view(packed.data(), packed.size()));
}

TEST(Codec, a_struct_may_have_fields_that_the_message_lacks_or_lack_some_itself) {
  EXPECT_EQ(received<Point>(std::vector{4}), (Point{4, 0.5}));
  EXPECT_EQ(received<Point>(Value(List{4, 1.5, List{"more"}, 7})), (Point{4, 1.5}));
  EXPECT_EQ(received<Job>(Value(Dict{})), Job());
  EXPECT_EQ(received<Job>(Value(Dict{{"later", List{1}}, {"prio", 1}, {"name", "b"}})),
            (Job{.name = "b", .priority = 1}));
  EXPECT_EQ(received<std::vector<Job>>(Value(List{Dict{{"x", 1}}, Dict{{"name", "c"}}}))[1].name, "c");
}

TEST(Codec, a_packed_temporary_is_an_error_and_not_lost) {
  EXPECT_THAT(decode_error<PacksWhatIsNoMember>(PacksWhatIsNoMember()), HasSubstr("no member"));
}

TEST(Codec, a_key_that_python_can_not_hash_is_an_error) {
  EXPECT_EQ(encode_error(std::map<std::vector<int>, int>{{{1}, 1}}),
            "key 0: a list in a key of a dict, which Python can't hash");
  EXPECT_EQ(encode_error(Value(Dict{{Tuple{Dict{}}, 1}})),
            "key 0, element 0: a dict in a key of a dict, which Python can't hash");
  EXPECT_EQ(encode_error(Value(Dict{{Tuple{1}, List{}}})), "no error");
}

TEST(Codec, the_last_of_equal_keys_counts) {
  const Value twice = Dict{{"a", 1}, {"a", 2}};
  EXPECT_EQ((received<std::map<std::string, int>>(twice)), (std::map<std::string, int>{{"a", 2}}));
  EXPECT_EQ(*received<Value>(twice).get<Dict>().find("a"), Value(2));
  EXPECT_EQ(received<Job>(Value(Dict{{"name", "x"}, {"name", "y"}})).name, "y");
}

TEST(Codec, values_are_nested_32_levels_deep_at_most) {
  EXPECT_EQ(received<Value>(nested(32)), nested(32));
  EXPECT_THAT(encode_error(nested(33)), HasSubstr("nested more than 32 levels deep"));
  EXPECT_THAT(error_of<Value>("\1" + std::string(32, '\x91') + "\1"), HasSubstr("nested more than 32 levels deep"));
  EXPECT_THAT(error_of<Point>("\1\x93\1\2" + std::string(1'000'000, '\x91')),
              HasSubstr("nested more than 32 levels deep"));
}

TEST(Codec, a_length_that_is_only_claimed_is_an_error) {
  for (const std::string_view claim :
       {"\1\xdd\xff\xff\xff\xff"sv, "\1\xdf\xff\xff\xff\xff"sv, "\1\xdb\xff\xff\xff\xff"sv, "\1\xc6\xff\xff\xff\xff"sv,
        "\1\xdd"sv, "\1\xcd\1"sv, "\1\x92\1"sv, "\1\x81\1"sv, "\1"sv}) {
    EXPECT_EQ(error_of<Value>(claim), "the message is not valid msgpack: it ends early");
  }
}

TEST(Codec, what_is_no_message_is_an_error) {
  EXPECT_EQ(error_of<Value>(""), "the message is empty");
  EXPECT_EQ(error_of<Raw>(""), "the message is empty");
  EXPECT_EQ(error_of<Value>("\1\xc1"sv), "the message is not valid msgpack: c1 is never used");
  EXPECT_EQ(error_of<Value>("\1\1\1"sv), "the message is not valid msgpack: 1 bytes too many");
  EXPECT_EQ(error_of<Value>("\1\xd4\1\1"sv), "the message has a msgpack extension type, which klaw does not send");
  EXPECT_EQ(error_of<Value>("\1\x91\xc7\0\1"sv),
            "element 0: the message has a msgpack extension type, which klaw does not send");
  EXPECT_EQ(error_of<Value>("\4\x91\xc7\0\2"sv),
            "element 0: the message has a msgpack extension type, which klaw does not send");
  EXPECT_EQ(error_of<Value>("\4\xc7\0\1"sv), "the message has a msgpack extension type, which klaw does not send");
  EXPECT_EQ(error_of<Value>("\5\1"sv), "the message has an unknown form (tag 5): was it sent by a newer klaw?");
  EXPECT_EQ(error_of<int>("\xff\1"sv), "the message has an unknown form (tag 255): was it sent by a newer klaw?");
}

TEST(Codec, a_pickle_is_an_error_that_names_raw) {
  const std::string_view pickle = "\2\0\0\0..."sv;
  EXPECT_EQ(
      error_of<Value>(pickle),
      "the message is a pickled Python object, which C++ can't read: send None, bool, int (of 64 bits), float, str, "
      "bytes, list, tuple or dict, of exactly these types, or receive klaw::channels::Raw");
  EXPECT_THAT(error_of<Value>("\3" + std::string(32, 'a')), StartsWith("the message is a reference"));
}

TEST(Codec, raw_takes_any_message_and_passes_it_on_as_it_is) {
  const Payload pickle("\2\0\0\0..."sv);
  const Raw raw = *decode<Raw>(pickle);
  EXPECT_EQ(raw.tag(), PayloadTag::pickle);
  EXPECT_EQ(raw.content().view(), "\0\0\0..."sv);
  EXPECT_EQ(encoded(raw).data(), pickle.data());
  EXPECT_EQ(encoded(Raw(PayloadTag::raw, "ab")).view(), "\0ab"sv);
  EXPECT_EQ(encoded(Raw()).view(), "\0"sv);
  EXPECT_EQ(received<Raw>(1).tag(), PayloadTag::msgpack);
  EXPECT_EQ(encode_error(Raw(PayloadTag::reference, std::string(32, 'a'))),
            "a reference, which is of one channel alone");
}

TEST(Codec, errors_can_be_thrown) {
  EXPECT_THROW(klaw::value_or_throw(decode<int>(encoded("x"))), DecodeErrorException);
  EXPECT_THROW(klaw::value_or_throw(encode("\xff")), EncodeErrorException);
}

TEST(Values, that_are_equal_have_one_type) {
  EXPECT_EQ(Value(1), Value(std::uint64_t{1}));
  EXPECT_EQ(Value('a'), Value(97));
  EXPECT_NE(Value(1), Value(1.0));
  EXPECT_NE(Value(1), Value(true));
  EXPECT_NE(Value("a"), Value(Bytes("a")));
  EXPECT_NE(Value(List{1}), Value(Tuple{1}));
  EXPECT_NE(Value(std::nan("")), Value(std::nan("")));
  EXPECT_EQ(Value(Dict{{"a", 1}, {"b", 2}}), Value(Dict{{"b", 2}, {"a", 1}}));
  EXPECT_NE(Value(Dict{{"a", 1}}), Value(Dict{{"a", 2}}));
  EXPECT_TRUE(Value(std::numeric_limits<std::uint64_t>::max()).is<std::uint64_t>());
  EXPECT_TRUE(Value().is<None>());
}

TEST(Values, are_looked_into) {
  Value value = Dict{{"a", List{1, 2}}, {Tuple{1, "b"}, 1.5}};
  const Dict& dict = value.get<Dict>();
  EXPECT_EQ(*dict.find(Tuple{1, "b"}), Value(1.5));
  EXPECT_EQ(dict.find("missing"), nullptr);
  value.get_if<Dict>()->find("a")->get_if<List>()->emplace_back("three");
  EXPECT_EQ(to_string(value), "{'a': [1, 2, 'three'], (1, 'b'): 1.5}");
  EXPECT_EQ(value.get_if<List>(), nullptr);
  EXPECT_THROW((void)value.get<List>(), std::bad_variant_access);
}

TEST(Values, are_printed_as_python_prints_them) {
  std::ostringstream out;
  out << Value(List{None(), true, -1, 1.0, 1e300, "it's", "\"'\\\n", Bytes("\0\xff'"sv), Tuple{}, Tuple{1}, Dict{}});
  EXPECT_EQ(out.str(), R"([None, True, -1, 1.0, 1e+300, "it's", '"\'\\\n', b"\x00\xff'", (), (1,), {}])");
}

}  // namespace
