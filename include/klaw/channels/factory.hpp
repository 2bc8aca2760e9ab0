// Channels whose backend is chosen at run time: type-erased handles with the same operations as the local ones.
//
//   auto made = channel<int>({.capacity = 64, .backend = Backend::ray, .name = "jobs"});
//   if (!made) return std::puts(klaw::message(made.error()).c_str());
//   auto& [tx, rx] = *made;
//
// Making, finding and deleting can fail, so they return Results. A named channel exists only where there is a place to
// find it: on the local backend get_channel, delete_channel and list_channels give InvalidArgument.
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <klaw/channels/local.hpp>

namespace klaw::channels {

enum class Backend : std::uint8_t { local, ray };

// Handles whose backend was chosen at run time; each call costs one virtual call more.
template <class T>
using AnySender = detail::BasicSender<T, detail::MpmcCore<T>>;
template <class T>
using AnyReceiver = detail::BasicReceiver<T, detail::MpmcCore<T>>;

template <class T>
struct ChannelPair {
  AnySender<T> tx;
  AnyReceiver<T> rx;
};

struct ChannelOptions {
  std::int64_t capacity = static_cast<std::int64_t>(kDefaultCapacity);  // messages; 0 is a rendezvous
  bool unbounded = false;                                               // ignores the capacity
  Backend backend = Backend::local;
  std::optional<std::string> name = std::nullopt;  // ignored by the local backend
  std::string ns = "klaw";                         // ignored by the local backend
};

// Where a named channel is looked for.
struct ChannelPlace {
  Backend backend = Backend::ray;
  std::string ns = "klaw";
};

namespace detail {

[[nodiscard]] inline ChannelError ray_not_available() {
  return ChannelBackendError{.message =
                                 "the Ray backend is not part of this version of klaw channels yet; "
                                 "use Backend::local",
                             .backend = "ray",
                             .actor_name = std::nullopt,
                             .ns = std::nullopt};
}

[[nodiscard]] inline ChannelError not_for(const ChannelPlace& place, const std::string& call) {
  if (place.backend == Backend::ray) return ray_not_available();
  return InvalidArgument{call + "() only implemented for backend='ray'"};
}

}  // namespace detail

template <class T>
[[nodiscard]] Result<ChannelPair<T>, ChannelError> channel(const ChannelOptions& options) {
  if (options.backend == Backend::ray) return std::unexpected(detail::ray_not_available());
  if (options.capacity < 0 && !options.unbounded) {
    return std::unexpected(InvalidArgument{"channel: capacity must not be negative"});
  }
  using Local = detail::Mpmc<T>;
  std::shared_ptr<detail::MpmcCore<T>> core =
      std::make_shared<Local>(options.unbounded ? detail::kUnbounded : static_cast<std::size_t>(options.capacity));
  auto tx = detail::HandleAccess::make<AnySender<T>>(core, Local::kFirstSender);
  return ChannelPair<T>{.tx = std::move(tx),
                        .rx = detail::HandleAccess::make<AnyReceiver<T>>(std::move(core), Local::kFirstReceiver)};
}

// Both halves of an existing channel; nullopt if there is none of that name.
template <class T>
[[nodiscard]] Result<std::optional<ChannelPair<T>>, ChannelError> get_channel(const std::string& /*name*/,
                                                                              const ChannelPlace& place = {}) {
  return std::unexpected(detail::not_for(place, "get_channel"));
}

// True if there was one.
[[nodiscard]] inline Result<bool, ChannelError> delete_channel(const std::string& /*name*/,
                                                               const ChannelPlace& place = {}) {
  return std::unexpected(detail::not_for(place, "delete_channel"));
}

[[nodiscard]] inline Result<std::vector<std::string>, ChannelError> list_channels(const ChannelPlace& place = {}) {
  return std::unexpected(detail::not_for(place, "list_channels"));
}

}  // namespace klaw::channels
