// What a channel can tell about itself at one moment.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace klaw::channels {

// A consistent snapshot of one channel. Counts are messages or handles; times are seconds.
struct ChannelStats {
  std::size_t sender_count = 0;
  std::size_t receiver_count = 0;
  std::size_t queue_size = 0;
  std::optional<std::size_t> capacity = std::nullopt;  // nullopt = unbounded
  bool senders_closed = false;
  bool receivers_closed = false;
  double created_at = 0.0;  // unix seconds
  std::size_t high_watermark = 0;
  std::uint64_t total_sent = 0;
  std::uint64_t total_received = 0;
  std::map<std::string, std::string> backend_extras = {};
  std::size_t waiting_senders = 0;
  std::size_t waiting_receivers = 0;
  // Promised to receivers that are just being woken, or taken and not settled yet.
  std::size_t in_flight = 0;
  std::uint64_t redelivered = 0;
  double oldest_age = 0.0;  // seconds; 0 where the backend does not time its messages (local)
};

// The counters of a channel, to be kept and restored.
struct ChannelCheckpoint {
  double created_at = 0.0;  // unix seconds
  std::uint64_t total_sent = 0;
  std::uint64_t total_received = 0;
  bool senders_closed = false;
  bool receivers_closed = false;
};

}  // namespace klaw::channels
