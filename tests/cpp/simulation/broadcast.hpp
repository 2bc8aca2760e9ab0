// What one broker's broadcast must look like from outside: every receiver sees, in the order in which they arrived at the
// broker, a gapless run of the messages that were sent after it subscribed, but for those that it was told it missed.
//
// Fed by the broker's witness with what arrives and what is answered, and by the clients' code with what it gets. A message
// has a position in the stream, which is in its attempt's number: the broker claims it, and everything else must agree.
//   R1  a message has one position, at all receivers, and positions are in order of arrival
//   R2  between two positions there are as many messages as may have been stored, and at least those that certainly were
//   R3  a receiver gets position after position, and is told how many it missed, never with overflow 'wait'
//   R4  it begins with the first message that was stored after it subscribed
//   R5  at its end nothing is left for it; and nothing that is there keeps a receive waiting, or is not there for one that tries
//   R6  a send is told a number of receivers between those that certainly were subscribed and those that may have been
//   R7  with overflow 'wait' no receiver has more than the capacity to take yet
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <dataplane/broker/broker.hpp>

#include "simulation/oracle.hpp"

namespace klaw::dataplane::simulation {

class Broadcast {
 public:
  using Reader = std::pair<ClientId, SessionId>;

  Broadcast(const Oracle& oracle, BrokerSettings settings) : oracle_(oracle), settings_(std::move(settings)) {}

  // --- what its witness hears and sees, in order ---

  void offered(ConnectionId connection, const ClientId& client, const Offer& frame);
  void opened(Time now, const Reader& reader, const std::optional<Token>& claim);
  void held(Time now, const Token& token);
  void closed(const Reader& reader) { readers_[reader].is_gone = true; }
  void died(const ClientId& client);
  // `counted`: receivers for sure, and at most, at this moment.
  void sent(ConnectionId connection, const ClientId& client, const Sent& frame,
            std::pair<std::size_t, std::size_t> counted);
  void answered(ConnectionId connection, const ClientId& client, const Answer& frame,
                std::pair<std::size_t, std::size_t> counted);

  // --- what the clients' code sees ---

  void send_done(MessageId id, std::uint64_t receivers);
  void got(const Reader& reader, MessageId id, const Message& message);
  void missed(const Reader& reader, std::uint64_t skipped);
  void ended(const Reader& reader) const;
  // A receive that waits still, or that began then and has found nothing, and nobody received beside it.
  void found_nothing(const Reader& reader, Micros since) const;

 private:
  struct Arrival {
    MessageId id;
    ConnectionId connection;
    std::uint64_t heard_at;  // by clock_
    enum class Fate : std::uint8_t { unknown, stored, void_ } fate = Fate::unknown;
    std::uint64_t stored_at = 0;  // by clock_, when that was told
    std::uint64_t receivers = 0;
    std::optional<Micros> done_at = std::nullopt;  // its sender knows
    std::optional<std::uint64_t> position = std::nullopt;
  };
  struct Reading {
    // By clock_: it gets what is stored after `from`, and nothing that was stored before `earliest`.
    std::uint64_t from = 0;
    std::uint64_t earliest = 0;
    bool is_gone = false;
    std::optional<std::uint64_t> next = std::nullopt;  // none: it has got nothing yet
    std::uint64_t missed = 0;                          // told, and no message since
    std::size_t last = 0;                              // the arrival that it got last
  };

  [[nodiscard]] Arrival* find(const ClientId& client, SessionId session, Seq seq);
  [[nodiscard]] Reading& reading_of(const Reader& reader);
  void place(std::size_t arrival, std::uint64_t position);
  void check_between(std::pair<std::uint64_t, std::size_t> before, std::pair<std::uint64_t, std::size_t> after) const;
  // That were stored for certain, and that it has not got nor been told to have missed.
  template <class Which>
  [[nodiscard]] std::size_t left_for(const Reading& reading, Which which) const;
  [[nodiscard]] std::string describe(std::size_t arrival) const;

  const Oracle& oracle_;
  const BrokerSettings settings_;
  std::uint64_t clock_ = 0;  // of what was heard and seen
  std::vector<Arrival> arrivals_;
  std::map<std::tuple<ClientId, SessionId, Seq>, std::size_t> by_name_;
  std::map<MessageId, std::size_t> by_id_;
  std::map<std::uint64_t, std::size_t> by_position_;
  std::map<Reader, Reading> readers_;
  struct Hold {
    std::uint64_t from;  // by clock_
    Time until;          // at least
  };
  std::map<Token, Hold> holds_;
};

}  // namespace klaw::dataplane::simulation
