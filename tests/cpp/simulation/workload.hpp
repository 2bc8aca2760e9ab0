// What the applications do: at first anything, then only what brings their work to its end.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "simulation/client.hpp"
#include "simulation/random.hpp"

namespace klaw::dataplane::simulation {

class World;

class Workload {
 public:
  explicit Workload(World& world);

  // Lays out the actions of the first phase.
  void begin();
  // The second phase: finish what was begun, receive to the end, close.
  void drain();
  [[nodiscard]] bool is_drained() const;
  // What is not finished, for the report.
  [[nodiscard]] std::string unfinished() const;
  // A process with a handle or two of its own.
  void add_client();
  void fork(Client& parent);

 private:
  struct Pickled {
    Token token;
    std::uint8_t channel;
    Side side;
    int claims = 0;
  };

  void act();
  void act(Client& client);
  void send(Client& client);
  void recv(Client& client);
  void select(Client& client);
  void cancel(Client& client);
  void wait(Client& client);
  void settle(Client& client);
  void clone(Client& client);
  void close(Client& client);
  void shut_down(Client& client);
  void reserve(Client& client);
  void hold(Client& client);
  void claim(Client& client);
  [[nodiscard]] Client* any_client();
  [[nodiscard]] Handle* any_handle(Client& client, std::optional<Side> side);
  [[nodiscard]] Client::Patience patience();
  [[nodiscard]] std::uint32_t size();

  void drain(Client& client);
  void drain_sender(Client& client, Handle& handle);
  void drain_receiver(Client& client, Handle& handle);
  void open_what_is_missing();
  void claim_the_rest();
  void delete_what_is_empty();

  World& world_;
  Random random_;
  std::vector<Pickled> pickled_;
  bool is_draining_ = false;
};

}  // namespace klaw::dataplane::simulation
