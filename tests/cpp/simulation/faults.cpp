#include "simulation/faults.hpp"

#include <algorithm>

#include "simulation/workload.hpp"
#include "simulation/world.hpp"

namespace klaw::dataplane::simulation {
namespace {

class Faults {
 public:
  Faults(World& world, Workload& workload) : world_(world), workload_(workload) {}

  void schedule() {
    const Config& c = world_.config;
    each(c.resets, "connection reset", [](World& w, Workload&) { w.network.reset_one(false); });
    each(c.half_open, "connection half open", [](World& w, Workload&) { w.network.reset_one(true); });
    each(c.clogs, "network clogged", [](World& w, Workload&) { w.network.clog_some(soon(w, 6 * kSecond)); });
    each(c.partitions, "one-way partition", [](World& w, Workload&) {
      const auto from = w.random.chance(500) ? Network::End::client : Network::End::server;
      w.network.partition(w.random.below(w.clients.size()), from, soon(w, 12 * kSecond));
    });
    each(c.kills, "client to be killed", [](World& w, Workload&) { kill(w); });
    each(c.stops, "client stopped", [](World& w, Workload&) { any(w).stop(soon(w, 12 * kSecond)); });
    each(c.storms, "reconnect storm", [](World& w, Workload&) { storm(w); });
    each(c.forks, "client forked", [](World& w, Workload& workload) { workload.fork(any(w)); });
    each(c.broker_kills, "broker killed", [](World& w, Workload&) { any_channel(w).kill(w.random.chance(500)); });
    each(c.broker_moves, "two brokers at once", [](World& w, Workload&) { any_channel(w).move(); });
    each(c.checkpoints, "checkpoint", [](World& w, Workload&) { any_channel(w).take_checkpoint(); });
    each(c.broker_stops, "broker stopped",
         [](World& w, Workload&) { any_channel(w).newest().stop(soon(w, 12 * kSecond)); });
    each(c.false_deaths, "client said to be dead", [](World& w, Workload&) { any(w).is_said_to_be_dead(); });
    each(c.deletes, "channel deleted", [](World& w, Workload&) { any_channel(w).newest().remove(); });
    each(c.jumps, "clock jumped", [](World& w, Workload&) { any(w).jump(w.random.skewed(20 * kSecond)); });
    for (auto& hostile : world_.hostiles) {
      for (std::int64_t i = world_.random.between(5, 60); i > 0; --i) {
        world_.scheduler.at(some_time(), [&hostile = *hostile] { hostile.act(); });
      }
    }
    for (const auto& knob : Config::knobs()) {
      if (knob.kind == Config::Knob::Kind::fault && c.*knob.member != 0)
        world_.statistics.count("class: " + std::string(knob.name));
    }
  }

 private:
  [[nodiscard]] static Micros soon(World& w, Micros most) {
    return std::min(w.heal_at, w.scheduler.now() + w.random.skewed(most));
  }
  [[nodiscard]] static Client& any(World& w) { return *w.random.pick(w.clients); }
  [[nodiscard]] static Channel& any_channel(World& w) { return *w.random.pick(w.channels); }
  [[nodiscard]] Micros some_time() { return world_.random.between(0, world_.heal_at - 1); }

  template <class Strike>
  void each(std::int64_t times, const char* name, Strike strike) {
    for (; times > 0; --times) {
      world_.scheduler.at(some_time(), [this_world = &world_, workload = &workload_, name, strike] {
        this_world->statistics.count(std::string("fault: ") + name);
        strike(*this_world, *workload);
      });
    }
  }

  // At once, or between two of the next actions of its links.
  static void kill(World& w) {
    const bool silently = w.random.chance(300);
    Client& victim = any(w);
    if (w.random.chance(500)) return victim.die(silently);
    victim.die_after(w.random.below(10), silently);
  }

  static void storm(World& w) {
    Client& client = any(w);
    const auto channel = static_cast<std::uint8_t>(w.random.below(w.channels.size()));
    for (std::int64_t i = w.random.between(3, 12); i > 0; --i) {
      w.scheduler.in(w.random.between(0, 300 * kMillisecond), [&client, channel] {
        if (client.is_running()) client.port(channel).drop_connection();
      });
    }
  }

  World& world_;
  Workload& workload_;
};

}  // namespace

void schedule_faults(World& world, Workload& workload) { Faults(world, workload).schedule(); }

}  // namespace klaw::dataplane::simulation
