#include "simulation/world.hpp"

#include <algorithm>
#include <set>

#include "simulation/faults.hpp"
#include "simulation/workload.hpp"

namespace klaw::dataplane::simulation {

World::World(const Config& c, Trace& t, Statistics& s)
    : config(c.adapted()),
      heal_at(c.duration_ms * kMillisecond),
      trace(t),
      statistics(s),
      random(c.seed, 2),
      network(config, scheduler, trace, heal_at),
      oracle(config, scheduler),
      ids_(c.seed, 4) {
  for (std::int64_t index = 0; index < config.channels; ++index) {
    channels.push_back(std::make_unique<Channel>(*this, static_cast<std::uint8_t>(index)));
  }
  for (std::int64_t i = 0; i < config.hostile; ++i) {
    hostiles.push_back(std::make_unique<Hostile>(*this, static_cast<std::size_t>(i)));
  }
}

// Links want nobody to wait when they go.
World::~World() {
  for (auto& client : clients) client->die(true);
}

bool World::may_fail() const noexcept {
  return std::ranges::any_of(Config::knobs(), [this](const Config::Knob& knob) {
    return knob.kind == Config::Knob::Kind::fault && config.*knob.member != 0;
  });
}

Clock World::new_clock() {
  return {random.between(kSecond, 1000 * kSecond),
          config.skew_ppm == 0 ? 0 : random.between(-config.skew_ppm, config.skew_ppm)};
}

Client& World::spawn() {
  clients.push_back(std::make_unique<Client>(*this, clients.size()));
  return *clients.back();
}

void World::run_until(Micros end) {
  while (scheduler.step(end)) {
    constexpr std::uint64_t kStepsMax = 1'000'000;
    if (scheduler.steps() > kStepsMax) oracle.fail("L5", "a million steps, and no end");
  }
}

void World::run() {
  Workload workload(*this);
  workload.begin();
  schedule_faults(*this, workload);
  run_until(heal_at);
  heal();
  run_until(heal_at + settling_time());
  check_settled();
  workload.drain();
  const Micros limit = scheduler.now() + settling_time() + config.hold_ms * kMillisecond + 60 * kSecond;
  while (!workload.is_drained() && scheduler.step(limit)) {
  }
  if (!workload.is_drained()) oracle.fail("L1", "not finished:" + workload.unfinished());
  check_drained();
  check_quiet();
  statistics.count("steps", scheduler.steps());
  statistics.count("virtual milliseconds", static_cast<std::uint64_t>(scheduler.now() / kMillisecond));
}

// From here on everything works.
void World::heal() {
  trace.note(scheduler.now(), "--- healed ---");
  for (auto& hostile : hostiles) hostile->die();
  for (auto& client : clients) client->need_not_die();
  for (auto& channel : channels) {
    for (auto& incarnation : channel->incarnations()) {
      if (incarnation.get() != &channel->newest()) incarnation->die(false);
    }
    if (config.final_deaths != 0) {
      channel->end("its last restart failed");
    } else if (!channel->newest().is_alive()) {
      channel->restart();
    }
  }
}

// Until the dead are buried and the living are back.
Micros World::settling_time() const {
  if (!may_fail()) return kSecond;
  return kMillisecond * (5 * config.heartbeat_ms + config.reconnect_ms + config.rejoin_ms + config.orphan_ms) +
         10 * kSecond;
}

void World::check_settled() {
  for (auto& channel : channels) {
    if (channel->is_gone()) continue;
    channel->newest().check();
    check_counts(*channel);
    check_nobody_waits_in_vain(*channel);
    check_the_dead_hold_nothing(*channel);
  }
  for (auto& client : clients) {
    if (!client->is_alive()) continue;
    for (auto& channel : channels) client->port(channel->index()).check();
  }
}

// S12: what counts is what lives.
void World::check_counts(Channel& channel) {
  const Server& server = channel.newest();
  const channels::ChannelStats stats = server.broker().stats(server.now());
  for (const Side side : {Side::sender, Side::receiver}) {
    const std::size_t counted = side == Side::sender ? stats.sender_count : stats.receiver_count;
    const Checkpoint now_is = server.broker().checkpoint(false);
    // (A broadcast's receivers are closed while there are none, and no longer.)
    const bool is_closed =
        side == Side::sender ? now_is.sending.is_closed : now_is.receiving.is_closed && !config.reopens();
    const auto [least, most] = channel.newest().witness().count(server.now(), side);
    std::size_t living = 0;
    for (auto& client : clients) {
      if (!client->is_alive()) continue;
      for (const auto& handle : client->handles()) {
        if (handle->channel != channel.index() || handle->side != side || !handle->is_open) continue;
        if (handle->passes_by) continue;
        if (!client->is_refused(*handle)) ++living;
      }
    }
    const char* const name = side == Side::sender ? "senders" : "receivers";
    const std::string told = std::to_string(counted) + ' ' + name + " are counted, but ";
    if (counted > most || (!is_closed && counted < least)) {
      oracle.fail("S12", told + std::to_string(least) + " to " + std::to_string(most) + " were opened and not closed");
    }
    if (!is_closed && counted < living) oracle.fail("S12", told + std::to_string(living) + " live");
  }
}

// L2: no message with a waiting receiver.
void World::check_nobody_waits_in_vain(Channel& channel) {
  if (config.reopens()) {
    for (auto& client : clients) {
      if (!client->is_alive()) continue;
      for (const auto& [number, task] : client->tasks()) {
        if (task->kind != Task::Kind::recv || task->is_due || task->handles[0]->channel != channel.index()) continue;
        client->found_nothing(*task, scheduler.now());
      }
    }
    return;
  }
  const auto messages = channel.newest().broker().messages();
  const auto is_free = [&](const MessageView& view) {
    return view.place == MessageView::Place::ready || view.place == MessageView::Place::lane ||
           (config.capacity == 0 && view.place == MessageView::Place::offered &&
            channel.newest().broker().reserved() == 0);  // else a permit counts on the receive
  };
  const auto free = std::ranges::find_if(messages, is_free);
  if (free == messages.end()) return;
  for (auto& client : clients) {
    if (!client->is_alive()) continue;
    for (const auto& [number, task] : client->tasks()) {
      if (task->kind != Task::Kind::recv || task->is_due || task->handles[0]->channel != channel.index()) continue;
      oracle.fail("L2", "a message is there, and waits in vain: " + client->describe(*task));
    }
  }
}

// L3: what the dead held has come back, and what they offered is gone.
void World::check_the_dead_hold_nothing(Channel& channel) {
  std::set<ClientId> living;
  for (auto& client : clients) {
    if (client->is_alive()) living.insert(client->port(channel.index()).link().client_id());
  }
  const Broker& broker = channel.newest().broker();
  for (const MessageView& view : broker.messages()) {
    const std::string what = "number " + std::to_string(view.seq) + " of session " + std::to_string(view.session);
    if (view.receiver && !living.contains(*view.receiver)) oracle.fail("L3", "the dead hold " + what);
    if (view.place == MessageView::Place::offered && !living.contains(view.client))
      oracle.fail("L3", "the dead offer " + what);
  }
}

void World::check_drained() {
  if (!config.reopens()) {
    for (auto& channel : channels) oracle.check_all_received(channel->index());
  }
  for (auto& client : clients) {
    if (!client->is_alive()) continue;
    for (const auto& handle : client->handles()) {
      if (handle->passes_by) continue;  // it is refused once its side has closed, and hears no more
      if (!config.reopens() && handle->side == Side::sender && handle->errors == 0 &&
          oracle.has_losses(handle->id, handle->closed_in) && !channels[handle->channel]->is_gone()) {
        oracle.fail("S13", "handle " + std::to_string(handle->id) + " lost stored messages and was told nothing");
      }
    }
  }
}

// L5: when nothing is left to do, little more than heartbeats is sent; and everybody knows that it is over.
void World::check_quiet() {
  run_until(scheduler.now() + 2 * config.heartbeat_ms * kMillisecond);
  const std::uint64_t before = frames;
  constexpr std::uint64_t kHeartbeats = 5;
  run_until(scheduler.now() + static_cast<Micros>(kHeartbeats) * config.heartbeat_ms * kMillisecond);
  const std::uint64_t most = (kHeartbeats + 2) * 4 * clients.size() * channels.size() + 10;
  if (frames - before > most) {
    oracle.fail(
        "L5", std::to_string(frames - before) + " frames in a quiet world, " + std::to_string(most) + " would be many");
  }
  for (auto& channel : channels) {
    if (channel->is_gone() || oracle.channel(channel->index()).is_deleted || config.persistent != 0) continue;
    Server& server = channel->newest();
    const channels::ChannelStats stats = server.broker().stats(server.now());
    if (server.broker().reserved() > 0) oracle.fail("S2", "slots are reserved, and nobody is left");
    const bool may_keep =
        config.is_watch() || (config.is_broadcast() && stats.receiver_count > 0);  // for one on its way
    if (stats.in_flight > 0 || (stats.queue_size > 0 && !may_keep)) {
      oracle.fail("S3", std::to_string(stats.queue_size) + " messages are queued and " +
                            std::to_string(stats.in_flight) + " in flight, and nobody is left");
    }
    const auto nobody = std::pair<std::size_t, std::size_t>(0, 0);
    for (const Side side : {Side::sender, Side::receiver}) {
      if (server.witness().count(server.now(), side, false).first != nobody.first)
        oracle.fail("S12", "a closed handle counts");
    }
  }
}

}  // namespace klaw::dataplane::simulation
