// What kinds of channels there are, and what Python calls them.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

namespace klaw::dataplane {

enum class ChannelKind : std::uint8_t { mpmc, oneshot, broadcast, watch };

inline constexpr std::array<std::string_view, 4> kKindNames = {"mpmc", "oneshot", "broadcast", "watch"};

[[nodiscard]] constexpr std::string_view name(ChannelKind kind) noexcept {
  return kKindNames[std::to_underlying(kind)];
}

[[nodiscard]] constexpr std::optional<ChannelKind> kind_named(std::string_view wanted) noexcept {
  const auto* const found = std::ranges::find(kKindNames, wanted);
  if (found == kKindNames.end()) return std::nullopt;
  return static_cast<ChannelKind>(found - kKindNames.begin());
}

}  // namespace klaw::dataplane
