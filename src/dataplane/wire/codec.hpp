// How frames are bytes. docs/wire-protocol.md has the layouts.
#pragma once

#include <cstdint>
#include <string_view>

namespace klaw::dataplane {

// Of a frame's type and body. For tests and tools.
[[nodiscard]] std::uint32_t checksum(std::string_view type_and_body) noexcept;

}  // namespace klaw::dataplane
