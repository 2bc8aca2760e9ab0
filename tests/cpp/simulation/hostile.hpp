// A client that knows the protocol and means harm: it sends frames that no link would.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include <dataplane/wire/codec.hpp>

#include "simulation/network.hpp"
#include "simulation/random.hpp"

namespace klaw::dataplane::simulation {

class World;
class Channel;

class Hostile final : public Endpoint {
 public:
  Hostile(World& world, std::size_t index);

  // Sends something, on a connection that it makes first if it has none.
  void act();
  // Its process ends, and the broker is told.
  void die();

  void bytes_arrived(ConnectionId connection, std::string_view bytes) override;
  void connection_ended(ConnectionId connection, std::string_view why) override;
  [[nodiscard]] Micros stopped_until() const override { return 0; }

 private:
  void connect();
  void send(const Frame& frame);
  [[nodiscard]] Frame plausible();
  [[nodiscard]] Frame about_a_slot();
  [[nodiscard]] Frame anything();
  [[nodiscard]] SessionId session();
  [[nodiscard]] std::uint64_t number();
  [[nodiscard]] std::vector<Attempt> attempts();

  World& world_;
  Channel& channel_;
  const std::size_t index_;
  Random random_;
  ClientId id_ = {};
  std::uint64_t connections_ = 0;
  std::uint64_t epoch_ = 0;
  std::uint64_t received_ = 0;
  std::optional<ConnectionId> connection_;
  Decoder decoder_;
  SessionId last_session_ = 0;
  std::vector<Attempt> seen_;              // attempts that were made to it
  std::vector<std::uint64_t> next_ = {1};  // by session: the next sequence number
  bool is_dead_ = false;
};

}  // namespace klaw::dataplane::simulation
