#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <dataplane/broker/checkpoint.hpp>
#include <dataplane/wire/codec.hpp>
#include <dataplane/wire/values.hpp>

namespace klaw::dataplane {

namespace {

constexpr std::string_view kName = "KLAWCKPT";
constexpr std::size_t kNumberBytes = 4;
constexpr std::size_t kChecksumAt = kName.size();
constexpr std::size_t kFormatAt = kChecksumAt + kNumberBytes;
constexpr std::size_t kFieldsAt = kFormatAt + kNumberBytes;

void set_number(std::string& bytes, std::size_t at, std::uint32_t number) noexcept {
  for (std::size_t i = 0; i < kNumberBytes; ++i) bytes[at + i] = static_cast<char>(number >> (8 * i));
}

std::uint32_t number_at(std::string_view bytes, std::size_t at) noexcept {
  std::uint32_t number = 0;
  for (std::size_t i = 0; i < kNumberBytes; ++i) {
    number |= std::uint32_t{static_cast<std::uint8_t>(bytes[at + i])} << (8 * i);
  }
  return number;
}

}  // namespace

std::string encode(const Checkpoint& checkpoint) {
  std::string bytes(kName);
  bytes.resize(kFieldsAt);
  set_number(bytes, kFormatAt, kCheckpointFormat);
  encode_value(checkpoint, bytes);
  set_number(bytes, kChecksumAt, checksum(std::string_view(bytes).substr(kFormatAt)));
  return bytes;
}

std::expected<Checkpoint, std::string> decode_checkpoint(std::string_view bytes) {
  if (bytes.size() < kFieldsAt || !bytes.starts_with(kName)) return std::unexpected("these bytes are no checkpoint");
  if (number_at(bytes, kChecksumAt) != checksum(bytes.substr(kFormatAt))) {
    return std::unexpected("it is damaged: its checksum is another");
  }
  if (const std::uint32_t format = number_at(bytes, kFormatAt); format != kCheckpointFormat) {
    return std::unexpected("its format is " + std::to_string(format) + ", and only " +
                           std::to_string(kCheckpointFormat) + " is known here");
  }
  return decode_value<Checkpoint>(bytes.substr(kFieldsAt));
}

}  // namespace klaw::dataplane
