// What one seed's world is like. All of it is drawn from the seed; each knob can be set by name to replay or to shrink.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <dataplane/wire/kind.hpp>

namespace klaw::dataplane::simulation {

struct Config {
  std::uint64_t seed = 0;

  // The channel.
  std::int64_t kind = 0;  // 0: MPMC, 1: broadcast, 2: broadcast that waits for the slowest, 3: oneshot, 4: watch
  std::int64_t channels = 1;
  std::int64_t capacity = 1;  // -1: unbounded
  std::int64_t prefetch = 0;
  std::int64_t offered_max = 1024;
  std::int64_t offered_bytes_max = 1 << 20;
  std::int64_t message_max = 1 << 26;  // bytes
  std::int64_t persistent = 0;
  std::int64_t heartbeat_ms = 1000;
  std::int64_t reconnect_ms = 3000;
  std::int64_t orphan_ms = 10'000;
  std::int64_t rejoin_ms = 10'000;
  std::int64_t hold_ms = 600'000;
  std::int64_t unreachable_ms = 10'000;

  // The workload.
  std::int64_t clients = 2;
  std::int64_t handles = 2;   // per client, to begin with
  std::int64_t actions = 50;  // of all clients together
  std::int64_t duration_ms = 1000;
  std::int64_t size_max = 40;  // bytes of a usual message
  // Of the actions, in permille.
  std::int64_t receives = 500;  // the rest of what is left over are sends
  std::int64_t batches = 0;
  std::int64_t big = 0;        // messages around the frame limit
  std::int64_t anonymous = 0;  // messages too small to carry their identity
  std::int64_t tries = 0;
  std::int64_t timeouts = 0;
  std::int64_t cancels = 0;
  std::int64_t selects = 0;
  std::int64_t clones = 0;
  std::int64_t closes = 0;
  std::int64_t holds = 0;
  std::int64_t acknowledged = 0;
  std::int64_t waits = 0;       // opened, closed, flush
  std::int64_t passers_by = 0;  // of the handles: they keep no side open
  std::int64_t shutdowns = 0;
  std::int64_t reserves = 0;  // to reserve, and to use or release what is reserved
  std::int64_t decodes = 0;   // of the receives: their owner decodes what they take, for a while

  // Faults of the network. How often in a run; or permille of the occasions, where it says so.
  std::int64_t latency_us = 100;
  std::int64_t jitter_us = 0;
  std::int64_t resets = 0;
  std::int64_t half_open = 0;
  std::int64_t clogs = 0;
  std::int64_t partitions = 0;
  std::int64_t short_io = 0;  // permille of the writes
  std::int64_t flips = 0;     // permille of the writes
  // Of clients.
  std::int64_t kills = 0;
  std::int64_t stops = 0;
  std::int64_t storms = 0;
  std::int64_t forks = 0;
  std::int64_t hostile = 0;  // so many hostile clients
  std::int64_t lazy = 0;     // permille of wake-ups that are acted upon late
  // Of brokers and the control plane.
  std::int64_t broker_kills = 0;
  std::int64_t broker_moves = 0;  // a second broker begins while the first goes on
  std::int64_t checkpoints = 0;
  std::int64_t messages_in_checkpoints = 0;
  std::int64_t old_addresses = 0;    // permille of the look-ups
  std::int64_t failing_lookups = 0;  // permille
  std::int64_t broker_stops = 0;
  std::int64_t false_deaths = 0;  // of clients that live
  std::int64_t deletes = 0;
  std::int64_t final_deaths = 0;
  // Of clocks.
  std::int64_t skew_ppm = 0;
  std::int64_t jumps = 0;

  // How often the invariants that look at everything are looked at: every so many steps of a process.
  std::int64_t check_every = 1;

  [[nodiscard]] static Config draw(std::uint64_t seed);
  [[nodiscard]] ChannelKind channel_kind() const noexcept;
  [[nodiscard]] bool is_broadcast() const noexcept { return channel_kind() == ChannelKind::broadcast; }
  [[nodiscard]] bool is_watch() const noexcept { return channel_kind() == ChannelKind::watch; }
  // The receivers' side opens again: it is for those who are there.
  [[nodiscard]] bool reopens() const noexcept { return is_broadcast() || is_watch(); }
  // The same, without what channels of this kind do not have.
  [[nodiscard]] Config adapted() const;
  // "name=value"; false if there is no such knob.
  [[nodiscard]] bool set(std::string_view assignment);

  struct Knob {
    std::string_view name;
    std::int64_t Config::* member;
    enum class Kind : std::uint8_t { setting, amount, workload, fault } kind;  // amount: fewer is simpler
  };
  [[nodiscard]] static std::span<const Knob> knobs() noexcept;
  // The assignments that lead from the seed's own configuration to this one.
  [[nodiscard]] std::string difference() const;
};

}  // namespace klaw::dataplane::simulation
