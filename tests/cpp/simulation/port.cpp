#include <utility>

#include "simulation/client.hpp"
#include "simulation/world.hpp"

namespace klaw::dataplane::simulation {

Port::Port(World& world, Client& client, std::uint8_t channel)
    : world_(world), client_(client), channel_(channel), alarm_(world.scheduler) {
  LinkSettings settings;
  settings.new_client_id = [&client] { return client.new_id(); };
  settings.kind = world.config.channel_kind();
  settings.prefetch = static_cast<std::uint32_t>(world.config.prefetch);
  settings.unreachable_limit = std::chrono::milliseconds(world.config.unreachable_ms);
  link_ = std::make_unique<Link>(std::move(settings), client.now());
}

Port::~Port() = default;

Micros Port::stopped_until() const { return client_.stopped_until(); }

// --- events ---

void Port::bytes_arrived(ConnectionId connection, std::string_view bytes) {
  if (connection_ != connection) return;
  decoder_.push(bytes);
  while (connection_ == connection) {
    auto frame = decoder_.next();
    if (!frame) {
      world_.trace.note(world_.scheduler.now(), "client", client_.index(), "can't decode", frame.error());
      world_.network.close(connection, Network::End::client);
      connection_.reset();
      link_->disconnected(client_.now(), frame.error());
    } else if (*frame) {
      world_.trace.note(world_.scheduler.now(), "  client", client_.index(), "<-", connection, **frame);
      link_->received(client_.now(), *std::move(*frame));
    } else {
      break;
    }
    link_->wakeups().fire();
    if (!perform()) return;
  }
  after_event();
}

void Port::connection_ended(ConnectionId connection, std::string_view why) {
  if (connection_ != connection) return;
  world_.trace.note(world_.scheduler.now(), "client", client_.index(), "lost", connection, why);
  world_.network.close(connection, Network::End::client);
  connection_.reset();
  link_->disconnected(client_.now(), std::string(why));
  after_event();
}

void Port::drop_connection() {
  if (connection_) connection_ended(*connection_, "dropped");
}

void Port::broker_died(std::uint64_t epoch, const std::string& why, bool is_final) {
  link_->broker_died(client_.now(), epoch, why, is_final);
  after_event();
}

void Port::ring() {
  if (link_ == nullptr) return;
  if (stopped_until() > world_.scheduler.now()) return alarm_.set(stopped_until(), [this] { ring(); });
  if (link_->next_deadline() > client_.now()) return set_alarm();
  rings_at_once_ = std::exchange(last_ring_, world_.scheduler.now()) == world_.scheduler.now() ? rings_at_once_ + 1 : 0;
  if (rings_at_once_ > 20) world_.oracle.fail("L5", "a link's deadline stays in the past");
  link_->tick(client_.now());
  after_event();
}

// --- actions ---

void Port::after_event() {
  if (link_ == nullptr) return;  // it died of an event before
  link_->wakeups().fire();
  if (!world_.random.chance(200)) return pump();
  if (std::exchange(is_pump_due_, true)) return;
  world_.scheduler.in(world_.random.between(0, 50), [this] {
    is_pump_due_ = false;
    if (link_ != nullptr) pump();
  });
}

void Port::pump() {
  link_->flush(client_.now());
  if (!perform()) return;
  write_out();
  link_->wakeups().fire();
  if (++steps_ % static_cast<std::uint64_t>(world_.config.check_every) == 0) check();
  set_alarm();
}

// False: the process died in the middle.
bool Port::perform() {
  for (auto& action : link_->take_actions()) {
    if (client_.is_dying_now()) return false;
    if (const auto* const send = std::get_if<link_action::Send>(&action)) {
      if (!connection_) continue;
      world_.trace.note(world_.scheduler.now(), "  client", client_.index(), "->", *connection_, *send->frame);
      encode(*send->frame, out_);
      ++world_.frames;
    } else if (const auto* const disconnect = std::get_if<link_action::Disconnect>(&action)) {
      ++attempt_;
      if (!connection_) continue;
      world_.trace.note(world_.scheduler.now(), "client", client_.index(), "disconnects", *connection_,
                        disconnect->why);
      write_out();
      world_.network.close(*connection_, Network::End::client);
      connection_.reset();
    } else {
      look_up();
    }
  }
  return true;
}

void Port::write_out() {
  if (!out_.empty() && connection_) world_.network.write(*connection_, Network::End::client, std::move(out_));
  out_.clear();
}

template <class F>
void Port::when_running(Micros delay, std::uint64_t attempt, F f) {
  world_.scheduler.in(delay, [this, attempt, f] {
    if (link_ == nullptr || attempt != attempt_) return;
    const Micros stopped_for = stopped_until() - world_.scheduler.now();
    if (stopped_for > 0) return when_running(stopped_for, attempt, f);
    f();
  });
}

// The control plane says where the broker is: the truth, a stale address, or nothing.
void Port::look_up() {
  const std::uint64_t attempt = ++attempt_;
  out_.clear();
  decoder_ = Decoder();
  decoder_.authenticated();
  const Config& config = world_.config;
  const bool is_faulty = !world_.is_healed();
  const Micros delay = 1 + config.latency_us + (is_faulty ? world_.random.skewed(config.jitter_us) : 0);
  if (is_faulty && world_.random.chance(config.failing_lookups)) {
    return when_running(delay, attempt, [this, attempt] { could_not_connect(attempt, "the actor does not answer"); });
  }
  when_running(delay, attempt, [this, attempt] {
    const bool may_be_old = !world_.is_healed() && world_.random.chance(world_.config.old_addresses);
    looked_up(attempt, world_.channels[channel_]->look_up(may_be_old));
  });
}

void Port::looked_up(std::uint64_t attempt, Server* server) {
  if (world_.channels[channel_]->is_gone())
    return broker_died(world_.channels[channel_]->newest().epoch(), "the channel is gone", true);
  if (server == nullptr) return could_not_connect(attempt, "the actor is being restarted");
  const Micros blocked = std::max(world_.network.blocked_until(client_.index(), Network::End::client),
                                  world_.network.blocked_until(client_.index(), Network::End::server));
  constexpr Micros kConnectLimit = 2 * kSecond;
  const Micros delay = 1 + world_.config.latency_us + std::max<Micros>(0, blocked - world_.scheduler.now());
  if (delay > kConnectLimit) {
    return when_running(kConnectLimit, attempt, [this, attempt] { could_not_connect(attempt, "no answer in 2 s"); });
  }
  when_running(delay, attempt, [this, attempt, server] {
    if (!server->is_alive()) return could_not_connect(attempt, "connection refused");
    connect(attempt, *server);
  });
}

void Port::could_not_connect(std::uint64_t attempt, const std::string& why) {
  if (attempt != attempt_) return;
  link_->disconnected(client_.now(), why);
  after_event();
}

void Port::connect(std::uint64_t attempt, Server& server) {
  if (attempt != attempt_) return;
  connection_ = world_.network.connect(*this, server, client_.index());
  world_.trace.note(world_.scheduler.now(), "client", client_.index(), "connects", *connection_, "to epoch",
                    server.epoch());
  server.accept(*connection_);
  link_->connected(client_.now());
  after_event();
}

void Port::set_alarm() {
  alarm_.set(client_.global(link_->next_deadline()), [this] { ring(); });
}

void Port::die(bool silently) {
  ++attempt_;
  write_out();
  if (connection_) {
    if (silently) {
      world_.network.vanish(*connection_, Network::End::client);
    } else {
      world_.network.close(*connection_, Network::End::client);
    }
  }
  connection_.reset();
  link_->wakeups().fire();
  link_.reset();
}

void Port::check() const { link_->check_invariants(client_.now()); }

}  // namespace klaw::dataplane::simulation
