#include <array>
#include <cstddef>
#include <optional>
#include <utility>

#include <dataplane/ticket/ticket.hpp>
#include <dataplane/wire/codec.hpp>
#include <dataplane/wire/values.hpp>

namespace klaw::dataplane {

namespace {

constexpr std::string_view kFamily = "klaw";
constexpr std::string_view kPrefix = "klaw1-";
constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";  // RFC 4648, 5
constexpr unsigned kDigitBits = 6;
constexpr std::size_t kChecksumBytes = 4;
constexpr std::size_t kTextMax = 16 * 1024;
constexpr std::string_view kDamaged = "the ticket is damaged: it was cut off or changed on its way";

// Without padding. The last digit's spare bits are 0.
std::string digits_of(std::string_view bytes) {
  std::string digits;
  std::uint32_t bits = 0;
  unsigned count = 0;
  for (const char byte : bytes) {
    bits = bits << 8U | static_cast<std::uint8_t>(byte);
    for (count += 8; count >= kDigitBits; count -= kDigitBits) {
      digits += kDigits[bits >> (count - kDigitBits) & 0x3FU];
    }
  }
  if (count > 0) digits += kDigits[bits << (kDigitBits - count) & 0x3FU];
  return digits;
}

// None: they are not what digits_of() makes of any bytes.
std::optional<std::string> bytes_of(std::string_view digits) {
  std::string bytes;
  std::uint32_t bits = 0;
  unsigned count = 0;
  for (const char digit : digits) {
    const std::size_t value = kDigits.find(digit);
    if (value == std::string_view::npos) return std::nullopt;
    bits = bits << kDigitBits | static_cast<std::uint32_t>(value);
    count += kDigitBits;
    if (count < 8) continue;
    count -= 8;
    bytes += static_cast<char>(bits >> count);
  }
  const std::uint32_t spare = bits & ((1U << count) - 1);
  if (count >= kDigitBits || spare != 0) return std::nullopt;
  return bytes;
}

std::array<char, kChecksumBytes> checksum_of(std::string_view bytes) {
  const std::uint32_t sum = checksum(bytes);
  std::array<char, kChecksumBytes> four = {};
  for (std::size_t i = 0; i < four.size(); ++i) four[i] = static_cast<char>(sum >> (8 * i));
  return four;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) + 1 - begin);
}

}  // namespace

std::string ticket_detail::armored(std::string bytes) {
  const auto sum = checksum_of(bytes);
  bytes.append(sum.data(), sum.size());
  return std::string(kPrefix) + digits_of(bytes);
}

std::string to_text(const Ticket& ticket) {
  std::string bytes;
  encode_value(ticket, bytes);
  return ticket_detail::armored(std::move(bytes));
}

std::expected<Ticket, std::string> ticket_of(std::string_view text) {
  text = trimmed(text);
  if (!text.starts_with(kPrefix)) {
    const bool is_newer = text.starts_with(kFamily) && text.find('-') != std::string_view::npos;
    return std::unexpected(is_newer ? "this ticket is in a form that this version of klaw does not know: its text "
                                      "would begin with '" +
                                          std::string(kPrefix) + "'"
                                    : "this is not a ticket: one begins with '" + std::string(kPrefix) + "'");
  }
  if (text.size() > kTextMax) return std::unexpected(std::string(kDamaged));
  const auto bytes = bytes_of(text.substr(kPrefix.size()));
  if (!bytes || bytes->size() < kChecksumBytes) return std::unexpected(std::string(kDamaged));
  const std::string_view content = std::string_view(*bytes).substr(0, bytes->size() - kChecksumBytes);
  const auto sum = checksum_of(content);
  if (std::string_view(*bytes).substr(content.size()) != std::string_view(sum.data(), sum.size())) {
    return std::unexpected(std::string(kDamaged));
  }
  // Before the rest: another protocol's ticket may have other fields.
  wire_detail::Reader reader(content, wire_detail::ValueLimits{});
  std::uint16_t protocol = 0;
  reader.get(protocol);
  if (reader.error().empty() && protocol != kVersion) {
    return std::unexpected("this ticket was made by a klaw that speaks version " + std::to_string(protocol) +
                           " of the protocol, and this one speaks version " + std::to_string(kVersion) +
                           ": both sides need the same version of klaw-channels");
  }
  auto ticket = decode_value<Ticket>(content);
  if (!ticket) return std::unexpected(std::string(kDamaged) + " (" + ticket.error() + ")");
  return *std::move(ticket);
}

}  // namespace klaw::dataplane
