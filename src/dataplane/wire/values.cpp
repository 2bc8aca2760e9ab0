#include <dataplane/wire/values.hpp>

namespace klaw::dataplane::wire_detail {

std::uint64_t Reader::long_number(std::uint64_t max) {
  constexpr unsigned kLastShift = 63;  // of the tenth byte, which has one bit
  std::uint64_t number = 0;
  for (unsigned shift = 0; at_ != end_; shift += 7) {
    const auto byte = static_cast<std::uint8_t>(*at_++);
    if (shift == kLastShift && byte > 1) {
      fail("a number of more than 64 bits");
      return 0;
    }
    number |= std::uint64_t{byte & 0x7fU} << shift;
    if (byte >= 0x80) continue;
    if (byte == 0 && shift != 0) {
      fail("an over-long number");
      return 0;
    }
    if (number > max) {
      fail(std::to_string(number) + " where at most " + std::to_string(max) + " is allowed");
      return 0;
    }
    return number;
  }
  fail_early_end();
  return 0;
}

void Reader::fail(std::string what) {
  if (error_.empty()) error_ = std::move(what);
  at_ = end_;
}
void Reader::fail_early_end() { fail("it ends early"); }
void Reader::fail_left_over() { fail(std::to_string(left()) + " bytes too many"); }

}  // namespace klaw::dataplane::wire_detail
