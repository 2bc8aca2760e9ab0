#include "simulation/server.hpp"

#include <algorithm>
#include <utility>

#include "simulation/world.hpp"

namespace klaw::dataplane::simulation {
namespace {

BrokerSettings settings_of(const Config& config, std::uint64_t epoch, const Bytes& initial) {
  using std::chrono::milliseconds;
  BrokerSettings settings;
  settings.kind = config.channel_kind();
  settings.initial = initial;
  settings.waits_for_slowest = config.kind == 2;
  settings.capacity = config.capacity < 0 ? kUnbounded : static_cast<std::uint64_t>(config.capacity);
  settings.epoch = epoch;
  settings.persistent = config.persistent != 0;
  settings.heartbeat = milliseconds(config.heartbeat_ms);
  settings.reconnect_grace = milliseconds(config.reconnect_ms);
  settings.orphan_grace = milliseconds(config.orphan_ms);
  settings.rejoin_grace = milliseconds(config.rejoin_ms);
  settings.hold_limit = milliseconds(config.hold_ms);
  settings.offered_max = static_cast<std::uint32_t>(config.offered_max);
  settings.offered_bytes_max = static_cast<std::uint64_t>(config.offered_bytes_max);
  settings.message_bytes_max = static_cast<std::uint64_t>(config.message_max);
  return settings;
}

}  // namespace

Server::Server(World& world, Channel& channel, std::uint64_t epoch, const Checkpoint* checkpoint, const Bytes& initial)
    : world_(world),
      channel_(channel),
      settings_(settings_of(world.config, epoch, initial)),
      clock_(world.new_clock()),
      alarm_(world.scheduler),
      witness_(world.oracle, channel.index(), settings_, now()),
      broker_(std::make_unique<Broker>(settings_, now())) {
  world_.oracle.add_witness(channel.index(), &witness_);
  if (checkpoint != nullptr && !broker_->restore(now(), *checkpoint))
    world_.oracle.fail("S4", "the checkpoint was refused");
  if (checkpoint != nullptr && world.config.is_watch() && !checkpoint->messages.empty()) {
    witness_.began_with(checkpoint->messages.front().message);
  }
  if (broker_->stats(now()).senders_closed) witness_.began_without_senders();
  if (checkpoint != nullptr) witness_.began_shut_down(checkpoint->shutdown);
  if (checkpoint != nullptr && checkpoint->total_sent > 0) witness_.began_sent(checkpoint->total_received > 0);
  were_receivers_gone_ = broker_->stats(now()).receivers_closed;
  world_.oracle.epoch_began(channel.index(), epoch, checkpoint);
  if (checkpoint != nullptr && checkpoint->shutdown.immediate) world_.oracle.receivers_gone(channel.index(), epoch);
  if (were_receivers_gone_) world_.oracle.receivers_gone(channel.index(), epoch);
  set_alarm();
}

Time Server::now() const { return clock_.local(world_.scheduler.now()); }

// --- events ---

void Server::accept(ConnectionId connection) {
  peers_[connection].decoder.authenticated();  // the handshake is for another test
}

void Server::bytes_arrived(ConnectionId connection, std::string_view bytes) {
  const auto peer = peers_.find(connection);
  if (!is_alive() || peer == peers_.end()) return;
  peer->second.decoder.push(bytes);
  decode_all(connection);
  after_events();
}

void Server::decode_all(ConnectionId connection) {
  for (;;) {
    const auto peer = peers_.find(connection);
    if (!is_alive() || peer == peers_.end()) return;  // it was disconnected for what it has sent
    auto frame = peer->second.decoder.next();
    if (!frame) {
      world_.trace.note(world_.scheduler.now(), "broker can't decode", frame.error());
      perform(broker_action::Disconnect{connection, frame.error()});
      broker_->disconnected(now(), connection);
      perform();
      return;
    }
    if (!*frame) return;
    world_.trace.note(world_.scheduler.now(), "  broker", channel_.index(), "epoch", epoch(), "<-", connection,
                      **frame);
    witness_.received(now(), connection, **frame, *broker_);
    broker_->received(now(), connection, *std::move(*frame));
    if (!perform()) return;
  }
}

void Server::connection_ended(ConnectionId connection, std::string_view why) {
  if (!is_alive() || peers_.erase(connection) == 0) return;
  world_.trace.note(world_.scheduler.now(), "broker", channel_.index(), "lost", connection, why);
  witness_.disconnected(now(), connection);
  broker_->disconnected(now(), connection);
  after_events();
}

void Server::client_died(const ClientId& client, const std::string& why, bool is_true) {
  if (!is_alive()) return;
  if (stopped_until_ > world_.scheduler.now()) {
    return world_.scheduler.at(stopped_until_, [this, client, why, is_true] { client_died(client, why, is_true); });
  }
  witness_.reported_dead(client, is_true);
  broker_->client_died(now(), client, why);
  after_events();
}

void Server::remove() {
  if (!is_alive()) return;
  if (stopped_until_ > world_.scheduler.now()) return world_.scheduler.at(stopped_until_, [this] { remove(); });
  world_.oracle.channel(channel_.index()).is_deleted = true;
  witness_.removed();
  broker_->remove(now());
  after_events();
}

void Server::ring() {
  if (!is_alive()) return;
  if (stopped_until_ > world_.scheduler.now()) return alarm_.set(stopped_until_, [this] { ring(); });
  if (broker_->next_deadline() > now()) return set_alarm();
  rings_at_once_ = std::exchange(last_ring_, world_.scheduler.now()) == world_.scheduler.now() ? rings_at_once_ + 1 : 0;
  if (rings_at_once_ > 20) world_.oracle.fail("L5", "the broker's deadline stays in the past");
  broker_->tick(now());
  after_events();
}

// --- actions ---

// Sometimes more events come before the flush.
void Server::after_events() {
  if (!is_alive() || !perform()) return;
  if (!world_.random.chance(200)) return pump();
  if (std::exchange(is_pump_due_, true)) return;
  world_.scheduler.in(world_.random.between(0, 50), [this] {
    is_pump_due_ = false;
    if (is_alive()) pump();
  });
}

void Server::pump() {
  broker_->flush(now());
  if (!perform()) return;
  write_all();
  look_at_sides();
  if (has_ended_) return channel_.end("the channel was deleted");
  if (++steps_ % static_cast<std::uint64_t>(world_.config.check_every) == 0) check();
  set_alarm();
}

// False: it died in the middle.
bool Server::perform() {
  for (auto& action : broker_->take_actions()) {
    if (actions_left_ && (*actions_left_)-- == 0) {
      die(dies_silently_);
      return false;
    }
    if (const auto* const send = std::get_if<broker_action::Send>(&action)) {
      perform(*send);
    } else if (const auto* const disconnect = std::get_if<broker_action::Disconnect>(&action)) {
      perform(*disconnect);
    } else if (const auto* const log = std::get_if<broker_action::Log>(&action)) {
      world_.trace.note(world_.scheduler.now(), "broker says:", log->text);
      witness_.logged(now(), log->text);
    } else {
      has_ended_ = true;
    }
  }
  if (this == &channel_.newest()) world_.oracle.queue_is(channel_.index(), broker_->stats(now()).queue_size == 0);
  return true;
}

void Server::perform(const broker_action::Send& action) {
  const auto peer = peers_.find(action.connection);
  world_.trace.note(world_.scheduler.now(), "  broker", channel_.index(), "epoch", epoch(), "->", action.connection,
                    *action.frame);
  witness_.sent(now(), action.connection, *action.frame, *broker_);
  if (peer == peers_.end()) return;
  if (peer->second.out.empty()) to_write_.push_back(action.connection);
  encode(*action.frame, peer->second.out);
  ++world_.frames;
}

void Server::perform(const broker_action::Disconnect& action) {
  witness_.disconnected(now(), action.connection);
  const auto peer = peers_.find(action.connection);
  if (peer == peers_.end()) return;
  world_.trace.note(world_.scheduler.now(), "broker", channel_.index(), "disconnects", action.connection, action.why);
  write_out(action.connection, peer->second);
  world_.network.close(action.connection, Network::End::server);
  peers_.erase(peer);
}

void Server::write_out(ConnectionId connection, Peer& peer) {
  if (peer.out.empty()) return;
  world_.network.write(connection, Network::End::server, std::exchange(peer.out, {}));
}

void Server::write_all() {
  for (const ConnectionId connection : std::exchange(to_write_, {})) {
    if (const auto peer = peers_.find(connection); peer != peers_.end()) write_out(connection, peer->second);
  }
}

void Server::set_alarm() {
  alarm_.set(clock_.global(broker_->next_deadline()), [this] { ring(); });
}

// --- faults ---

void Server::die(bool silently) {
  if (!is_alive()) return;
  world_.trace.note(world_.scheduler.now(), "broker", channel_.index(), "epoch", epoch(), "dies");
  write_all();
  std::vector<ConnectionId> connections;
  for (const auto& [connection, peer] : peers_) connections.push_back(connection);
  std::ranges::sort(connections);
  for (const ConnectionId connection : connections) {
    if (silently) {
      world_.network.vanish(connection, Network::End::server);
    } else {
      world_.network.close(connection, Network::End::server);
    }
  }
  peers_.clear();
  broker_.reset();
}

void Server::die_after(std::uint64_t actions, bool silently) {
  actions_left_ = actions;
  dies_silently_ = silently;
}

void Server::jump(Micros forward) {
  if (!is_alive()) return;
  clock_.jump(forward);
  set_alarm();
}

// --- checks ---

void Server::look_at_sides() {
  if (were_receivers_gone_ || !broker_->stats(now()).receivers_closed) return;
  if (world_.oracle.channel(channel_.index()).is_deleted) return;  // nobody counts any more
  were_receivers_gone_ = true;
  world_.oracle.receivers_gone(channel_.index(), epoch());
  if (witness_.count(now(), Side::receiver).first > 0) {
    world_.oracle.fail("S12", "the receivers' side was closed while one of them counts");
  }
}

void Server::check() const {
  broker_->check_invariants();
  witness_.check_messages(*broker_);
}

// --- Channel ---

Channel::Channel(World& world, std::uint8_t index) : world_(world), index_(index) {
  std::vector<MessageId> ids;
  if (world.config.is_watch()) initial_ = world.oracle.compose(0, index, {8}, ids).front().payload;
  incarnations_.push_back(std::make_unique<Server>(world, *this, 1, nullptr, initial_));
}

Server* Channel::look_up(bool may_be_old) {
  if (may_be_old && incarnations_.size() > 1) {
    return incarnations_[world_.random.below(incarnations_.size() - 1)].get();
  }
  return newest().is_alive() ? &newest() : nullptr;
}

void Channel::take_checkpoint() {
  if (!newest().is_alive()) return;
  // As its actor keeps it: in bytes.
  checkpoint_ =
      decode_checkpoint(encode(newest().broker().checkpoint(world_.config.messages_in_checkpoints != 0))).value();
  world_.trace.note(world_.scheduler.now(), "checkpoint of channel", index_, "messages:", checkpoint_->messages.size());
}

void Channel::restart() {
  if (is_gone_) return;
  const std::uint64_t epoch = newest().epoch() + 1;
  world_.trace.note(world_.scheduler.now(), "channel", index_, "restarts with epoch", epoch,
                    checkpoint_ ? "from a checkpoint" : "empty");
  incarnations_.push_back(
      std::make_unique<Server>(world_, *this, epoch, checkpoint_ ? &*checkpoint_ : nullptr, initial_));
  world_.statistics.count("fault: broker restarted");
}

void Channel::kill(bool between_actions) {
  if (!newest().is_alive() || is_gone_) return;
  Server& victim = newest();
  const bool silently = world_.random.chance(300);
  if (between_actions) victim.die_after(world_.random.below(8), silently);
  const Micros restart_at = world_.scheduler.now() + world_.random.skewed(3 * kSecond);
  world_.scheduler.at(restart_at, [this, &victim, silently] {
    victim.die(silently);
    if (&victim == &newest()) restart();
  });
  if (!between_actions) victim.die(silently);
  notice_death(newest().epoch(), "its process ended");
}

// The old one goes on being served for a while.
void Channel::move() {
  if (!newest().is_alive() || is_gone_) return;
  Server& old = newest();
  restart();
  world_.scheduler.in(world_.random.skewed(8 * kSecond), [&old] { old.die(false); });
  notice_death(newest().epoch() - 1, "its node is not reachable");
}

// Each client hears of it at another time, or never.
void Channel::notice_death(std::uint64_t epoch, const std::string& why) {
  for (auto& client : world_.clients) {
    if (world_.random.chance(300)) continue;
    world_.scheduler.in(world_.random.skewed(5 * kSecond),
                        [this, &client = *client, epoch, why] { client.broker_died(index_, epoch, why, is_gone_); });
  }
}

void Channel::end(const std::string& why) {
  if (std::exchange(is_gone_, true)) return;
  world_.oracle.channel(index_).is_gone = true;
  for (auto& incarnation : incarnations_) incarnation->die(false);
  notice_death(newest().epoch(), why);
}

}  // namespace klaw::dataplane::simulation
