#include "simulation/config.hpp"

#include <charconv>

#include <dataplane/wire/limits.hpp>

#include "simulation/random.hpp"

namespace klaw::dataplane::simulation {
namespace {

using Kind = Config::Knob::Kind;

constexpr Config::Knob kKnobs[] = {
    {"kind", &Config::kind, Kind::setting},
    {"channels", &Config::channels, Kind::amount},
    {"capacity", &Config::capacity, Kind::setting},
    {"prefetch", &Config::prefetch, Kind::setting},
    {"offered_max", &Config::offered_max, Kind::setting},
    {"offered_bytes_max", &Config::offered_bytes_max, Kind::setting},
    {"message_max", &Config::message_max, Kind::setting},
    {"persistent", &Config::persistent, Kind::workload},
    {"heartbeat_ms", &Config::heartbeat_ms, Kind::setting},
    {"reconnect_ms", &Config::reconnect_ms, Kind::setting},
    {"orphan_ms", &Config::orphan_ms, Kind::setting},
    {"rejoin_ms", &Config::rejoin_ms, Kind::setting},
    {"hold_ms", &Config::hold_ms, Kind::setting},
    {"unreachable_ms", &Config::unreachable_ms, Kind::setting},
    {"clients", &Config::clients, Kind::amount},
    {"handles", &Config::handles, Kind::amount},
    {"actions", &Config::actions, Kind::amount},
    {"duration_ms", &Config::duration_ms, Kind::setting},
    {"size_max", &Config::size_max, Kind::setting},
    {"receives", &Config::receives, Kind::setting},
    {"batches", &Config::batches, Kind::workload},
    {"big", &Config::big, Kind::workload},
    {"anonymous", &Config::anonymous, Kind::workload},
    {"tries", &Config::tries, Kind::workload},
    {"timeouts", &Config::timeouts, Kind::workload},
    {"cancels", &Config::cancels, Kind::workload},
    {"selects", &Config::selects, Kind::workload},
    {"clones", &Config::clones, Kind::workload},
    {"closes", &Config::closes, Kind::workload},
    {"holds", &Config::holds, Kind::workload},
    {"acknowledged", &Config::acknowledged, Kind::workload},
    {"waits", &Config::waits, Kind::workload},
    {"passers_by", &Config::passers_by, Kind::workload},
    {"shutdowns", &Config::shutdowns, Kind::workload},
    {"reserves", &Config::reserves, Kind::workload},
    {"decodes", &Config::decodes, Kind::workload},
    {"latency_us", &Config::latency_us, Kind::setting},
    {"jitter_us", &Config::jitter_us, Kind::fault},
    {"resets", &Config::resets, Kind::fault},
    {"half_open", &Config::half_open, Kind::fault},
    {"clogs", &Config::clogs, Kind::fault},
    {"partitions", &Config::partitions, Kind::fault},
    {"short_io", &Config::short_io, Kind::fault},
    {"flips", &Config::flips, Kind::fault},
    {"kills", &Config::kills, Kind::fault},
    {"stops", &Config::stops, Kind::fault},
    {"storms", &Config::storms, Kind::fault},
    {"forks", &Config::forks, Kind::fault},
    {"hostile", &Config::hostile, Kind::fault},
    {"lazy", &Config::lazy, Kind::fault},
    {"broker_kills", &Config::broker_kills, Kind::fault},
    {"broker_moves", &Config::broker_moves, Kind::fault},
    {"checkpoints", &Config::checkpoints, Kind::fault},
    {"messages_in_checkpoints", &Config::messages_in_checkpoints, Kind::fault},
    {"old_addresses", &Config::old_addresses, Kind::fault},
    {"failing_lookups", &Config::failing_lookups, Kind::fault},
    {"broker_stops", &Config::broker_stops, Kind::fault},
    {"false_deaths", &Config::false_deaths, Kind::fault},
    {"deletes", &Config::deletes, Kind::fault},
    {"final_deaths", &Config::final_deaths, Kind::fault},
    {"skew_ppm", &Config::skew_ppm, Kind::fault},
    {"jumps", &Config::jumps, Kind::fault},
    {"check_every", &Config::check_every, Kind::setting},
};

void draw_channel(Config& c, Random& random) {
  c.channels = random.chance(250) ? 2 : 1;
  c.capacity = random.one_of({0, 0, 1, 1, 2, 3, 3, 8, 100, -1});
  c.prefetch = random.one_of({0, 0, 0, 1, 2, 1000});
  c.offered_max = random.one_of({1, 2, 4, 1024, 1024});
  c.offered_bytes_max = random.one_of({1, 64, 16 << 20, 16 << 20});
  c.persistent = random.chance(30) ? 1 : 0;
  if (random.chance(300)) {  // everything faster
    c.heartbeat_ms = 100;
    c.reconnect_ms = 300;
    c.unreachable_ms = 1000;
  }
  c.orphan_ms = random.one_of({0, 100, 1000, 10'000});
  c.rejoin_ms = random.one_of({0, 1000, 10'000});
  c.hold_ms = random.one_of({1000, 10'000, 10'000, 60'000});
}

void draw_workload(Config& c, Random& random) {
  c.clients = random.between(1, 5);
  c.handles = random.between(1, 3);
  c.actions = random.one_of({10, 30, 60, 60, 100, 200});
  c.duration_ms = random.one_of({20, 100, 500, 2000, 10'000, 30'000});
  c.size_max = random.one_of({8, 40, 40, 40, 1000});
  c.receives = random.one_of({300, 500, 500, 700});
  const auto maybe = [&](std::int64_t likely, std::int64_t most) {
    return random.chance(likely) ? random.between(1, most) : 0;
  };
  c.batches = maybe(500, 500);
  c.big = maybe(15, 20);
  c.anonymous = maybe(100, 300);
  c.tries = maybe(500, 500);
  c.timeouts = maybe(500, 700);
  c.cancels = maybe(500, 200);
  c.selects = maybe(300, 200);
  c.clones = maybe(400, 100);
  c.closes = maybe(500, 100);
  c.holds = maybe(300, 150);
  c.acknowledged = maybe(400, 1000);
  c.waits = maybe(400, 100);
  c.message_max = random.chance(30) ? c.size_max / 2 : kMessageBytesMax;
}

void draw_faults(Config& c, Random& random) {
  c.latency_us = random.one_of({1, 50, 50, 1000, 20'000});
  if (random.chance(120)) return;  // a peaceful world
  // Swarm testing (Groce et al., 2012): each class of faults is on or off, so that none hides another.
  const auto maybe = [&](std::int64_t likely, std::int64_t most) {
    return random.chance(likely) ? random.between(1, most) : 0;
  };
  c.jitter_us = random.chance(400) ? random.one_of({100, 5000, 200'000}) : 0;
  c.resets = maybe(300, 8);
  c.half_open = maybe(150, 3);
  c.clogs = maybe(200, 6);
  c.partitions = maybe(150, 3);
  c.short_io = random.chance(300) ? random.one_of({50, 1000}) : 0;
  c.flips = maybe(80, 30);
  c.kills = maybe(250, 3);
  c.stops = maybe(250, 4);
  c.storms = maybe(150, 2);
  c.forks = maybe(150, 2);
  c.hostile = maybe(120, 2);
  c.lazy = maybe(400, 800);
  c.broker_kills = maybe(200, 3);
  c.broker_moves = maybe(80, 2);
  c.checkpoints = maybe(400, 6);
  c.messages_in_checkpoints = random.chance(700) ? 1 : 0;
  c.old_addresses = maybe(150, 600);
  c.failing_lookups = maybe(150, 600);
  c.broker_stops = maybe(80, 2);
  c.deletes = maybe(30, 1);
  c.final_deaths = maybe(20, 1);
  c.skew_ppm = maybe(200, 500);
  c.jumps = maybe(100, 3);
  c.false_deaths = maybe(80, 3);
}

}  // namespace

Config Config::draw(std::uint64_t seed) {
  Random random(seed, 0);
  Config config;
  config.seed = seed;
  draw_channel(config, random);
  draw_workload(config, random);
  draw_faults(config, random);
  config.check_every = random.one_of({1, 4, 16, 16});
  config.passers_by = random.chance(150) ? random.between(1, 700) : 0;
  config.shutdowns = random.chance(200) ? random.between(1, 60) : 0;
  config.reserves = random.chance(300) ? random.between(1, 300) : 0;
  config.kind = random.chance(450) ? random.between(1, 4) : 0;
  config.decodes = random.chance(400) ? random.between(1, 1000) : 0;
  return config;
}

ChannelKind Config::channel_kind() const noexcept {
  if (kind == 0) return ChannelKind::mpmc;
  if (kind == 3) return ChannelKind::oneshot;
  return kind == 4 ? ChannelKind::watch : ChannelKind::broadcast;
}

Config Config::adapted() const {
  Config config = *this;
  if (channel_kind() == ChannelKind::mpmc) return config;
  config.prefetch = config.batches = config.anonymous = config.acknowledged = config.shutdowns = config.reserves = 0;
  if (is_broadcast()) {
    if (capacity < 1) config.capacity = capacity < 0 ? 100 : 4;
    config.persistent = 0;
    config.decodes = 0;
  } else {
    if (is_watch()) config.persistent = config.decodes = 0;
    config.capacity = 1;
  }
  return config;
}

std::span<const Config::Knob> Config::knobs() noexcept { return kKnobs; }

bool Config::set(std::string_view assignment) {
  const std::size_t equals = assignment.find('=');
  if (equals == std::string_view::npos) return false;
  const std::string_view name = assignment.substr(0, equals);
  const std::string_view value = assignment.substr(equals + 1);
  for (const Knob& knob : kKnobs) {
    if (knob.name != name) continue;
    std::int64_t& member = this->*knob.member;
    return std::from_chars(value.data(), value.data() + value.size(), member).ec == std::errc{};
  }
  return false;
}

std::string Config::difference() const {
  const Config drawn = draw(seed);
  std::string text;
  for (const Knob& knob : kKnobs) {
    if (this->*knob.member == drawn.*knob.member) continue;
    if (!text.empty()) text += ' ';
    text += std::string(knob.name) + '=' + std::to_string(this->*knob.member);
  }
  return text;
}

}  // namespace klaw::dataplane::simulation
