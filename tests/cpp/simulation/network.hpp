// Byte streams between processes, and what can go wrong with them.
//
// Each connection has two pipes. A pipe keeps the order of its bytes and nothing else: they arrive late, in other pieces
// than they were written, after the connection's successor is open, or never.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <dataplane/broker/broker.hpp>

#include "simulation/config.hpp"
#include "simulation/random.hpp"
#include "simulation/scheduler.hpp"
#include "simulation/trace.hpp"

namespace klaw::dataplane::simulation {

// A process, as the network sees it.
class Endpoint {
 public:
  virtual void bytes_arrived(ConnectionId connection, std::string_view bytes) = 0;
  // The peer has closed it, or it broke.
  virtual void connection_ended(ConnectionId connection, std::string_view why) = 0;
  // A process that is stopped does not read until then.
  [[nodiscard]] virtual Micros stopped_until() const = 0;

 protected:
  ~Endpoint() = default;
};

class Network {
 public:
  enum class End : std::uint8_t { client, server };

  Network(const Config& config, Scheduler& scheduler, Trace& trace, Micros heal_at)
      : config_(config), scheduler_(scheduler), trace_(trace), heal_at_(heal_at), random_(config.seed, 1) {}

  [[nodiscard]] ConnectionId connect(Endpoint& client, Endpoint& server, std::size_t client_index);
  void write(ConnectionId connection, End from, std::string bytes);
  // What was written still arrives, then the peer is told. This end hears nothing any more.
  void close(ConnectionId connection, End by);
  // This end has vanished, and nobody is told.
  void vanish(ConnectionId connection, End end);

  // --- faults; all of them end with the time of healing ---

  // The connection breaks at any byte. `half`: only one end hears of it.
  void reset_one(bool half);
  void clog_some(Micros until);
  // Nothing goes from this end of a client's connections to the other, for a while.
  void partition(std::size_t client_index, End from, Micros until);
  [[nodiscard]] Micros blocked_until(std::size_t client_index, End from) const;

  [[nodiscard]] std::uint64_t writes() const noexcept { return writes_; }

 private:
  struct Chunk {
    Micros arrives;
    std::string bytes;
    const char* ended;  // not null: the end of the stream, and why
  };
  struct Pipe {
    std::deque<Chunk> chunks;
    Micros last_arrival = 0;
    Micros clogged_until = 0;
    bool is_pumping = false;
    bool is_broken = false;  // what is written from here on vanishes
    bool is_reading = true;  // the reader is still interested
  };
  struct Connection {
    std::array<Pipe, 2> from;  // [End] that writes
    std::array<Endpoint*, 2> ends;
    std::size_t client_index;
  };

  static constexpr std::size_t index(End end) noexcept { return static_cast<std::size_t>(end); }
  static constexpr End other(End end) noexcept { return end == End::client ? End::server : End::client; }
  [[nodiscard]] Connection& at(ConnectionId id) noexcept { return *connections_[id - 1]; }
  [[nodiscard]] Micros latency();
  void enqueue(ConnectionId id, End from, std::string bytes, const char* ended);
  void pump_at(ConnectionId id, End from, Micros when);
  void pump(ConnectionId id, End from);
  void truncate(Pipe& pipe);

  const Config& config_;
  Scheduler& scheduler_;
  Trace& trace_;
  const Micros heal_at_;
  Random random_;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::vector<std::array<Micros, 2>> blocked_until_;  // by client, [End] that writes
  std::uint64_t writes_ = 0;
};

}  // namespace klaw::dataplane::simulation
