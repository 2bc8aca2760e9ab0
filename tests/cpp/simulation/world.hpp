// Everything that one seed consists of: brokers, clients, the network between them, the time, and those who watch.
//
// A run has two phases. First things go wrong, and only safety is checked. Then nothing goes wrong any more, and what was
// begun must come to its end: every operation, every message, every count.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "simulation/client.hpp"
#include "simulation/config.hpp"
#include "simulation/hostile.hpp"
#include "simulation/network.hpp"
#include "simulation/oracle.hpp"
#include "simulation/random.hpp"
#include "simulation/scheduler.hpp"
#include "simulation/server.hpp"
#include "simulation/statistics.hpp"
#include "simulation/trace.hpp"

namespace klaw::dataplane::simulation {

class World {
 public:
  World(const Config& config, Trace& trace, Statistics& statistics);
  ~World();

  // Throws a Violation.
  void run();

  [[nodiscard]] bool is_healed() const noexcept { return scheduler.now() >= heal_at; }
  // Has anything been drawn that may make a backend fail?
  [[nodiscard]] bool may_fail() const noexcept;
  [[nodiscard]] Clock new_clock();
  template <class Id>
  [[nodiscard]] Id new_id();
  Client& spawn();

  const Config config;
  const Micros heal_at;
  Trace& trace;
  Statistics& statistics;
  Scheduler scheduler;
  Random random;
  Network network;
  Oracle oracle;
  std::vector<std::unique_ptr<Channel>> channels;
  std::vector<std::unique_ptr<Client>> clients;
  std::vector<std::unique_ptr<Hostile>> hostiles;
  HandleId next_handle = 1;
  std::uint64_t frames = 0;  // sent, by anybody

 private:
  void run_until(Micros end);
  void heal();
  [[nodiscard]] Micros settling_time() const;
  void check_settled();
  void check_counts(Channel& channel);
  void check_nobody_waits_in_vain(Channel& channel);
  void check_the_dead_hold_nothing(Channel& channel);
  void check_drained();
  void check_quiet();

  Random ids_;
};

template <class Id>
Id World::new_id() {
  Id id;
  for (std::size_t i = 0; i < id.bytes.size(); i += 8) {
    const std::uint64_t word = ids_.next();
    for (std::size_t k = 0; k < 8; ++k) id.bytes[i + k] = static_cast<std::uint8_t>(word >> (8 * k));
  }
  return id;
}

}  // namespace klaw::dataplane::simulation
