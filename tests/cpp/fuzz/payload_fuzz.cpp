// Messages between processes, of any bytes.
//
// Whatever comes: what can be read can be written again, and is then what it was. msgpack-cxx reads what klaw reads, and
// klaw reads what msgpack-cxx does, but for what it refuses on purpose. A T is read, or the error says why not. tools/fuzz
// limits each allocation: a length that is only claimed may not take memory.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <exception>
#include <iostream>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <variant>
#include <vector>

#include <klaw/channels/codec.hpp>
#include <msgpack.hpp>

namespace {

using namespace klaw::channels;  // NOLINT(google-build-using-namespace)

[[noreturn]] void fail(std::string_view what) {
  std::cerr << "the codec broke: " << what << '\n';
  std::abort();
}

struct Fields {
  std::uint8_t number = 0;
  std::optional<std::vector<float>> floats = std::nullopt;
  std::string text = {};
  MSGPACK_DEFINE(number, floats, text)
};
struct NamedFields {
  int a = 0;
  std::vector<Fields> b = {};
  MSGPACK_DEFINE_MAP(a, b)
};

// The error, if there is one.
template <class T>
std::string check_as(const Payload& message) {
  const auto value = decode<T>(message);
  if (!value) {
    if (value.error().message.empty()) fail("an error says nothing");
    return value.error().message;
  }
  const auto written = encode(*value);
  if (!written) {
    // msgpack allows any key.
    if (written.error().message.find("Python can't hash") == std::string::npos) fail("what was read can't be written");
    return "";
  }
  const auto again = decode<T>(*written);
  if (!again) fail("what was written can't be read");
  if (encode(*again).value_or(Payload()).view() != written->view()) fail("what was written is read as another value");
  return "";
}

bool msgpack_cxx_reads(const char* packed, std::size_t size) {
  try {
    std::size_t end = 0;
    const auto refer = [](msgpack::type::object_type, std::size_t, void*) { return true; };
    const msgpack::unpack_limit limit(size, size, size, size, size, static_cast<std::size_t>(detail::kLevelsMax));
    const msgpack::object_handle handle = msgpack::unpack(packed, size, end, refer, nullptr, limit);
    return end == size;
  } catch (const std::exception&) {
    return false;
  }
}

bool is_refused_on_purpose(std::string_view error) {
  return error.find("extension type") != error.npos || error.find("not UTF-8") != error.npos ||
         error.find("levels deep") != error.npos;
}

void check(const Payload& message) {
  const std::string error = check_as<Value>(message);
  if (message.data()[0] == static_cast<char>(PayloadTag::msgpack)) {
    const bool is_read = msgpack_cxx_reads(message.data() + 1, message.size() - 1);
    if (error.empty() && !is_read) fail("msgpack-cxx does not read what klaw does");
    if (!error.empty() && is_read && !is_refused_on_purpose(error)) fail("klaw does not read what msgpack-cxx does");
  }
  check_as<Bytes>(message);
  check_as<std::deque<std::optional<double>>>(message);
  check_as<std::tuple<int, std::string, Value>>(message);
  check_as<std::array<std::int16_t, 3>>(message);
  check_as<std::map<std::string, std::vector<std::byte>>>(message);
  check_as<std::vector<std::variant<double, std::int64_t, std::tuple<int, int>, std::vector<Value>, NamedFields>>>(
      message);
  check_as<Fields>(message);
  check_as<NamedFields>(message);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  check(Payload(std::string_view(reinterpret_cast<const char*>(data), size)));
  return 0;
}
