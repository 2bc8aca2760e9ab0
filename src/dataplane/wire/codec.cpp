#define XXH_INLINE_ALL
#include <xxhash.h>

#include <dataplane/wire/codec.hpp>
#include <dataplane/wire/frame.hpp>

namespace klaw::dataplane {

std::uint32_t checksum(std::string_view type_and_body) noexcept {
  return static_cast<std::uint32_t>(XXH3_64bits(type_and_body.data(), type_and_body.size()));
}

}  // namespace klaw::dataplane
