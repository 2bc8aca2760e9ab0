// The C++ half of tests/runtime/channels/test_cpp_values.py, and of the tables in docs/values.md.
//
//   klaw_echo echo TYPE   decodes each message from stdin as that type, and writes what it encodes to
//   klaw_echo describe    decodes each as a Value, and answers with its alternative and how it is printed
//   klaw_echo examples    writes pairs of messages: a C++ expression as a str, and its value
//
// A message is preceded by its length (4 bytes, little-endian), an answer by 1 as well, or by 0 if it is the text of an error.

#include <array>
#include <bit>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <iostream>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include <klaw/channels/codec.hpp>
#include <msgpack.hpp>

namespace {

using namespace klaw::channels;  // NOLINT(google-build-using-namespace)
using namespace std::string_literals;

static_assert(std::endian::native == std::endian::little);

struct Point {
  int x = 0;
  int y = 0;
  MSGPACK_DEFINE(x, y)
};
struct Job {
  std::string name = {};
  std::optional<double> priority = std::nullopt;
  MSGPACK_DEFINE_MAP(name, priority)
};

std::optional<Payload> read_message() {
  std::uint32_t size = 0;
  if (std::fread(&size, sizeof size, 1, stdin) != 1) return std::nullopt;
  std::string message(size, '\0');
  if (std::fread(message.data(), 1, size, stdin) != size) return std::nullopt;
  return Payload(message);
}

void write(std::string_view bytes) {
  const auto size = static_cast<std::uint32_t>(bytes.size());
  std::fwrite(&size, sizeof size, 1, stdout);
  std::fwrite(bytes.data(), 1, bytes.size(), stdout);
}

void answer(bool is_good, std::string_view bytes) {
  std::fputc(is_good ? 1 : 0, stdout);
  write(bytes);
  std::fflush(stdout);
}

template <class T>
void echo(const Payload& message) {
  const auto value = decode<T>(message);
  if (!value) return answer(false, value.error().message);
  const auto again = encode(*value);
  answer(again.has_value(), again ? again->view() : again.error().message);
}

void describe(const Payload& message) {
  constexpr std::array<std::string_view, 10> kAlternatives = {
      "None", "bool", "std::int64_t", "std::uint64_t", "double", "std::string", "Bytes", "List", "Tuple", "Dict"};
  const auto value = decode<Value>(message);
  if (!value) return answer(false, value.error().message);
  const Value text = std::string(kAlternatives[value->variant().index()]) + ' ' + to_string(*value);
  answer(true, encode(text)->view());
}

// The name in docs/values.md, and what to do with a message as that type.
#define TYPE(...) {#__VA_ARGS__, echo<__VA_ARGS__>}
const std::map<std::string_view, void (*)(const Payload&)>& types() {
  static const std::map<std::string_view, void (*)(const Payload&)> kTypes = {
      TYPE(None),
      TYPE(std::monostate),
      TYPE(bool),
      TYPE(std::int8_t),
      TYPE(std::uint8_t),
      TYPE(int),
      TYPE(std::int64_t),
      TYPE(std::uint64_t),
      TYPE(float),
      TYPE(double),
      TYPE(std::string),
      TYPE(Bytes),
      TYPE(std::vector<std::byte>),
      TYPE(std::optional<std::int64_t>),
      TYPE(std::vector<Value>),
      TYPE(std::vector<std::int64_t>),
      TYPE(std::deque<Value>),
      TYPE(std::array<Value, 2>),
      TYPE(std::tuple<Value, Value>),
      TYPE(std::pair<int, std::string>),
      TYPE(std::map<std::string, Value>),
      TYPE(std::unordered_map<std::string, Value>),
      TYPE(std::variant<double, int, std::string>),
      TYPE(Point),
      TYPE(Job),
      TYPE(Value),
      TYPE(Raw),
  };
  return kTypes;
}
#undef TYPE

template <class T>
void example(std::string_view expression, const T& value) {
  write(encode(expression)->view());
  write(encode(value)->view());
}
#define EXAMPLE(...) example(#__VA_ARGS__, __VA_ARGS__)
void write_examples() {
  enum class Colour : std::uint8_t { red, green };
  EXAMPLE(None());
  EXAMPLE(std::optional<int>());
  EXAMPLE(true);
  EXAMPLE(42);
  EXAMPLE('a');
  EXAMPLE(Colour::green);
  EXAMPLE(18446744073709551615U);
  EXAMPLE(1.0F);
  EXAMPLE(0.5);
  EXAMPLE("text");
  EXAMPLE(std::string("text"));
  EXAMPLE(Bytes("ab"));
  EXAMPLE(std::vector{std::byte{1}, std::byte{2}});
  EXAMPLE(std::vector<unsigned char>{1, 2});
  EXAMPLE(std::vector{1, 2});
  EXAMPLE(std::array{1, 2});
  EXAMPLE(std::tuple(1, "a"));
  EXAMPLE(std::pair(1, 2.0));
  EXAMPLE(std::map<std::string, int>{{"a", 1}});
  EXAMPLE(std::map<std::pair<int, int>, bool>{{{1, 2}, true}});
  EXAMPLE(std::variant<int, std::string>("a"));
  EXAMPLE(Point{.x = 1, .y = 2});
  EXAMPLE(Job{.name = "a"});
  EXAMPLE(Value(Dict{{"a", List{1, None()}}, {2, Tuple{}}}));
}
#undef EXAMPLE

int run(std::string_view mode, std::string_view type) {
  if (mode == "examples") {
    write_examples();
    return 0;
  }
  const auto found = types().find(type);
  if (mode == "echo" && found == types().end()) {
    std::cerr << "klaw_echo: there is no type '" << type << "'\n";
    return 2;
  }
  const auto handle = mode == "echo" ? found->second : describe;
  while (const auto message = read_message()) handle(*message);
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return run(argc > 1 ? argv[1] : "describe", argc > 2 ? argv[2] : ""); }
