// Named channels, as Ray knows them: where a channel's broker is, and the channels that the supervisor makes, lists and deletes.
//
// Calls block, from any thread. A channel's own actor is asked where it is; the rest is for the namespace's ChannelSupervisor, a Python
// actor: ray-cpp can list no actors, and Python can't look up those that it makes.
//
// Errors: ChannelBackendError for Ray, the plugin (loader.hpp) and actors; InvalidArgument for what the supervisor refuses, in its words.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <klaw/errors.hpp>
#include <klaw/result.hpp>

namespace klaw::ray {

// What a channel is, and where its broker: get_metadata and get_endpoint of its actor.
struct FoundChannel {
  std::string kind;
  std::optional<std::int64_t> capacity;  // nullopt: unbounded
  bool reference = false;
  bool is_used_up = false;  // closed on both sides, and drained

  std::string channel;  // 16 bytes, the actor's id
  std::uint64_t epoch = 0;
  std::string secret;  // what a client proves to know
  std::string node;    // the Ray node of the broker
  std::string unix_path;
  std::vector<std::string> addresses;  // HOST:PORT
};

// The channel of that name; nullopt if there is none.
[[nodiscard]] Result<std::optional<FoundChannel>, ChannelError> find_channel(const std::string& name,
                                                                             const std::string& ns);

// True if it was made; false if there is one of that name, whatever its settings. capacity: nullopt for unbounded.
[[nodiscard]] Result<bool, ChannelError> make_channel(const std::string& name, const std::string& ns,
                                                      std::optional<std::int64_t> capacity);

// True if there was one. Then the name is free.
[[nodiscard]] Result<bool, ChannelError> remove_channel(const std::string& name, const std::string& ns);

// The names of the namespace's channels, sorted.
[[nodiscard]] Result<std::vector<std::string>, ChannelError> list_channels(const std::string& ns);

}  // namespace klaw::ray
