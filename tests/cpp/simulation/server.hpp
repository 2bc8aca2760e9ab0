// One incarnation of a channel's actor: the driver of a Broker, and the channel's control plane.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <dataplane/broker/broker.hpp>
#include <dataplane/wire/codec.hpp>

#include "simulation/alarm.hpp"
#include "simulation/network.hpp"
#include "simulation/witness.hpp"

namespace klaw::dataplane::simulation {

class World;
class Channel;

class Server final : public Endpoint {
 public:
  // `initial`: a watch's.
  Server(World& world, Channel& channel, std::uint64_t epoch, const Checkpoint* checkpoint, const Bytes& initial);

  // --- the network's events ---
  void accept(ConnectionId connection);
  void bytes_arrived(ConnectionId connection, std::string_view bytes) override;
  void connection_ended(ConnectionId connection, std::string_view why) override;
  [[nodiscard]] Micros stopped_until() const override { return stopped_until_; }

  // --- the control plane's ---
  void client_died(const ClientId& client, const std::string& why, bool is_true = true);
  void remove();

  // --- faults ---
  // The process ends. `silently`: its node does, and nobody closes its connections.
  void die(bool silently);
  // The same, in the middle of what it is about to do.
  void die_after(std::uint64_t actions, bool silently);
  void stop(Micros until) { stopped_until_ = until; }
  void jump(Micros forward);

  [[nodiscard]] bool is_alive() const noexcept { return broker_ != nullptr; }
  [[nodiscard]] std::uint64_t epoch() const noexcept { return settings_.epoch; }
  [[nodiscard]] const Broker& broker() const noexcept { return *broker_; }
  [[nodiscard]] Witness& witness() noexcept { return witness_; }
  [[nodiscard]] Time now() const;
  void check() const;

 private:
  struct Peer {
    Decoder decoder;
    std::string out;  // encoded, not written yet
  };

  void decode_all(ConnectionId connection);
  void after_events();
  void pump();
  bool perform();
  void perform(const broker_action::Send& action);
  void perform(const broker_action::Disconnect& action);
  void write_out(ConnectionId connection, Peer& peer);
  void write_all();
  void set_alarm();
  void ring();
  void look_at_sides();

  World& world_;
  Channel& channel_;
  const BrokerSettings settings_;
  Clock clock_;
  Alarm alarm_;
  Witness witness_;
  std::unique_ptr<Broker> broker_;  // null: it is dead
  std::unordered_map<ConnectionId, Peer> peers_;
  std::vector<ConnectionId> to_write_;
  Micros stopped_until_ = 0;
  std::optional<std::uint64_t> actions_left_ = std::nullopt;
  bool dies_silently_ = false;
  bool is_pump_due_ = false;
  bool were_receivers_gone_ = false;
  bool has_ended_ = false;
  Micros last_ring_ = -1;
  int rings_at_once_ = 0;
  std::uint64_t steps_ = 0;
};

// A channel as the control plane knows it: its actor's incarnations, where it is said to be, its checkpoint store.
class Channel {
 public:
  Channel(World& world, std::uint8_t index);

  [[nodiscard]] std::uint8_t index() const noexcept { return index_; }
  // The newest incarnation; it may be dead.
  [[nodiscard]] Server& newest() noexcept { return *incarnations_.back(); }
  [[nodiscard]] std::vector<std::unique_ptr<Server>>& incarnations() noexcept { return incarnations_; }
  // Where a client is told to connect to: null if the actor is being restarted.
  [[nodiscard]] Server* look_up(bool may_be_old);
  [[nodiscard]] bool is_gone() const noexcept { return is_gone_; }

  // The next incarnation begins, the last one dead or not.
  void restart();
  void kill(bool between_actions);
  void move();
  void take_checkpoint();
  // It will never come back.
  void end(const std::string& why);
  void notice_death(std::uint64_t epoch, const std::string& why);

 private:
  World& world_;
  const std::uint8_t index_;
  std::vector<std::unique_ptr<Server>> incarnations_;  // oldest first
  std::optional<Checkpoint> checkpoint_;
  Bytes initial_;  // a watch's first value
  bool is_gone_ = false;
};

}  // namespace klaw::dataplane::simulation
