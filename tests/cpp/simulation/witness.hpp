// Stands beside one broker, reads what goes in and out, and checks that the broker keeps its promises to each client:
// one live attempt per message, redeliveries only for a reason and marked, no end too early.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <dataplane/broker/broker.hpp>

#include "simulation/broadcast.hpp"
#include "simulation/oracle.hpp"
#include "simulation/watched.hpp"

namespace klaw::dataplane::simulation {

class Witness {
 public:
  Witness(Oracle& oracle, std::uint8_t channel, const BrokerSettings& settings, Time now)
      : oracle_(oracle), channel_(channel), settings_(settings), began_(now) {
    if (settings.kind == ChannelKind::broadcast) broadcast_.emplace(oracle, settings);
    if (settings.kind == ChannelKind::watch) watched_.emplace(oracle, settings.epoch, settings.initial);
  }

  // In the order of the broker's events and actions.
  void received(Time now, ConnectionId connection, const Frame& frame, const Broker& broker);
  void sent(Time now, ConnectionId connection, const Frame& frame, const Broker& broker);
  void disconnected(Time now, ConnectionId connection);
  void reported_dead(const ClientId& client, bool is_true);
  void logged(Time now, const std::string& text);
  // The channel was deleted: the broker does nothing any more, whatever it hears.
  void removed() { is_removed_ = true; }
  // Its senders had closed before it began: a checkpoint said so.
  void began_without_senders() { began_without_senders_ = true; }
  void began_shut_down(const Checkpoint::Shutdown& how) { shutdown_ = how; }
  // A oneshot, from a checkpoint that knows of a value.
  void began_sent(bool was_received) {
    once_.was_sent_before = true;
    once_.was_received_before = was_received;
  }
  void is_hostile(const ClientId& client) { hostile_.insert(client); }

  [[nodiscard]] std::uint64_t epoch() const noexcept { return settings_.epoch; }
  // Null: it is none.
  [[nodiscard]] Broadcast* broadcast() noexcept { return broadcast_ ? &*broadcast_ : nullptr; }
  [[nodiscard]] Watched* watched() noexcept { return watched_ ? &*watched_ : nullptr; }
  // A watch, from a checkpoint.
  void began_with(const Bytes& value) { watched_.emplace(oracle_, settings_.epoch, value); }
  [[nodiscard]] bool has_delivered(MessageId id, Attempt attempt) const;
  // The client was told dead, or has been without a connection for so long that the broker may have declared it dead.
  [[nodiscard]] bool may_be_dead(Time now, const ClientId& client) const;
  // Handles that count for sure, and, with those whose closing may not be over, at most.
  [[nodiscard]] std::pair<std::size_t, std::size_t> count(Time now, Side side, bool with_holds = true) const;
  // Everything the broker stores, against the oracle. Costs as much as there are messages.
  void check_messages(const Broker& broker) const;

 private:
  struct Attendance {
    std::optional<ConnectionId> connection;
    std::optional<std::uint64_t> connection_number;  // by the client's count
    Time detached_at;
    bool has_left = false;  // it took this broker for dead
    bool is_dead = false;
  };
  struct Session {
    Side side = Side::sender;
    bool counts = true;
    bool is_open = false;
    bool is_closed = false;
    Time closed_at = {};
    std::optional<std::uint64_t> ended_at = std::nullopt;  // after so many of its client's frames it was told END
  };
  using SessionName = std::pair<ClientId, SessionId>;
  // What there is to know of a oneshot's value.
  struct Once {
    bool was_sent_before = false;      // to an earlier broker, as a sender or a checkpoint says
    bool was_received_before = false;  // from an earlier one, as a checkpoint says
    std::size_t offers = 0;            // to this one
    std::optional<MessageId> delivered = std::nullopt;
    bool is_consumed = false;
  };
  struct Delivered {
    MessageId id;
    SessionName to;
    std::uint32_t redeliveries;
    bool is_released = false;
    bool is_consumed = false;
    bool is_settled = false;
    bool is_requeued = false;
    Time not_before = {};  // requeued with a delay
  };

  void hear(Time now, const ClientId& client, const Frame& frame, const Broker& broker);
  void hear_broadcast(Time now, ConnectionId connection, const ClientId& client, const Frame& frame);
  void see_watched(Time now, const ClientId& client, const Frame& frame);
  void see_broadcast(Time now, ConnectionId connection, const ClientId& client, const Frame& frame);
  void died(const ClientId& client);
  void hear_close(Time now, const SessionName& session, const Broker& broker);
  void hear_hold(Time now, const Hold& frame, const Broker& broker);
  void hear_open(const ClientId& client, const Open& frame);
  void hear_offer(const Offer& frame);
  void hear_shutdown(const Shutdown& frame);
  void hear_fill(Time now, const ClientId& client, const Fill& frame, const Broker& broker);
  void see_answer(Time now, const ClientId& client, const Answer& frame, const Broker& broker);
  void see_answer_of_oneshot(Time now, const Answer& frame, const Broker& broker);
  void see_shut_down(const ClientId& client, const IsShutDown& frame);
  void hear_settlements(const SessionName& session, const std::vector<Attempt>& attempts, auto apply);
  void attached(ConnectionId connection);
  void check_death(Time now, const ClientId& client, std::string_view why) const;
  void see_deliver(Time now, const ClientId& client, const Deliver& frame);
  void see_delivery(Time now, const SessionName& to, const Delivery& delivery);
  void check_cause(Time now, const Delivered& previous, const Delivery& delivery);
  void check_end(Time now, const ClientId& client, const End& frame, const Broker& broker);
  void check_end_of_oneshot(const SessionName& to, const End& frame) const;
  void check_closed(Time now, const SessionName& to, const Closed& frame) const;
  void check_last_word(Side gone) const;
  [[nodiscard]] bool is_closed(const SessionName& session) const;
  [[nodiscard]] std::size_t held_slots() const;

  Oracle& oracle_;
  const std::uint8_t channel_;
  const BrokerSettings settings_;
  const Time began_;
  std::optional<Broadcast> broadcast_;
  std::optional<Watched> watched_;
  bool began_without_senders_ = false;
  bool is_removed_ = false;
  Checkpoint::Shutdown shutdown_;  // as it was asked for
  std::map<ConnectionId, std::pair<ClientId, std::uint64_t>>
      asked_;  // sent ATTACH, not answered yet; connection number
  std::map<ConnectionId, ClientId> attached_;
  std::map<ClientId, Attendance> attendance_;
  std::map<SessionName, Session> sessions_;
  std::map<SessionName, std::optional<Token>> claims_;  // OPENs that have not been answered
  std::map<Token, std::pair<Side, Time>> holds_;        // until when at least
  std::set<ClientId> hostile_;
  std::set<ClientId> told_shut_down_;
  Once once_;
  std::map<SessionName, std::map<Seq, bool>> permits_;  // granted: held?
  std::unordered_map<Attempt, Delivered> delivered_;
  std::unordered_map<MessageId, Attempt> last_attempt_;
};

}  // namespace klaw::dataplane::simulation
