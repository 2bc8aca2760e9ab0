// One client process: a link to each channel, the handles and operations of its code.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <dataplane/link/link.hpp>
#include <dataplane/wire/codec.hpp>

#include "simulation/alarm.hpp"
#include "simulation/network.hpp"
#include "simulation/oracle.hpp"

namespace klaw::dataplane::simulation {

class Broadcast;
class World;
class Client;
class Server;

// The driver of one Link.
class Port final : public Endpoint {
 public:
  Port(World& world, Client& client, std::uint8_t channel);
  ~Port();

  void bytes_arrived(ConnectionId connection, std::string_view bytes) override;
  void connection_ended(ConnectionId connection, std::string_view why) override;
  [[nodiscard]] Micros stopped_until() const override;

  // To be called after each call of the link that is an event. Wakes whom it woke; what it wants is done now or soon.
  void after_event();
  void broker_died(std::uint64_t epoch, const std::string& why, bool is_final);
  // The connection breaks, for this end to notice at once.
  void drop_connection();
  // The process ends, after so many more actions, or at once.
  void die(bool silently);
  void check() const;
  void set_alarm();

  [[nodiscard]] Link& link() noexcept { return *link_; }
  [[nodiscard]] const Link& link() const noexcept { return *link_; }
  [[nodiscard]] std::uint8_t channel() const noexcept { return channel_; }

 private:
  void pump();
  bool perform();
  void look_up();
  void looked_up(std::uint64_t attempt, Server* server);
  void connect(std::uint64_t attempt, Server& server);
  void could_not_connect(std::uint64_t attempt, const std::string& why);
  // Runs it when the process runs, if this attempt to connect is still wanted then.
  template <class F>
  void when_running(Micros delay, std::uint64_t attempt, F f);
  void write_out();
  void ring();

  World& world_;
  Client& client_;
  const std::uint8_t channel_;
  Alarm alarm_;
  std::unique_ptr<Link> link_;
  std::optional<ConnectionId> connection_;
  std::uint64_t attempt_ = 0;  // to connect; an earlier one's outcome does not matter any more
  Decoder decoder_;
  std::string out_;
  bool is_pump_due_ = false;
  Micros last_ring_ = -1;
  int rings_at_once_ = 0;
  std::uint64_t steps_ = 0;
};

// A handle as its application has it.
struct Handle {
  HandleId id = 0;
  std::uint8_t channel = 0;
  Side side = Side::sender;
  Registration registration = {};
  bool is_open = true;
  bool passes_by = false;        // it does not count
  bool is_flushed = false;       // draining: everything is stored
  bool has_ended = false;        // nothing can be done with it any more
  std::uint64_t errors = 0;      // of the backend, that were raised
  Version version = 0;           // of a watch: the newest that it has seen
  Micros gave_up_at = 0;         // when a receive by it last ended without what it may have been granted
  std::uint64_t epoch_made = 0;  // the channel's, when it was made
  std::uint64_t closed_in = 0;   // the newest epoch that its process had seen when it closed it
  // It counted at the broker of this epoch under this client id, or comes of one that did.
  std::uint64_t counts_in = 0;
  ClientId counts_as = {};

  [[nodiscard]] SessionId session() const noexcept { return static_cast<SessionId>(registration.id); }
};

// A message that is not settled yet.
struct Held {
  Handle* handle;
  Attempt attempt;
  MessageId id;
};

// What a receive has taken, and its owner decodes.
struct Decoding {
  Handle* handle;
  std::vector<Message> messages;
  std::uint64_t epoch;  // in which they were taken
};

// A slot that is held.
struct HeldSlot {
  Handle* handle;
  Permit permit;
};

// An operation that somebody waits for.
class Task final : public Operation {
 public:
  enum class Kind : std::uint8_t { send, recv, select, opened, closed, flush, shutdown, reserve };
  static constexpr std::size_t kBranches = 2;

  Task(Client& owner, std::uint32_t number, Kind kind) noexcept;

  Client& client;
  const std::uint32_t number;
  const Kind kind;
  bool is_due = false;   // was woken, and is about to be resumed
  bool can_wait = true;  // else it was started without an operation
  Micros started_at = 0;
  std::uint64_t epoch = 0;  // whose broker its client had seen then
  Time deadline = kNever;

  std::vector<Handle*> handles;  // one, or a select's branches
  SendOperation send;
  std::vector<Message> values;
  std::vector<MessageId> ids;
  RecvOperation recv[kBranches];
  std::vector<Message> many;
  HandleOperation wait;
};

class Client {
 public:
  enum class Patience : std::uint8_t { endless, limited, tries, never_waits };

  Client(World& world, std::size_t index);

  // --- what its code does; all of it while it is running ---

  Handle* open(std::uint8_t channel, Side side, std::optional<Token> claim = std::nullopt, bool passes_by = false);
  Handle* clone(Handle& handle);
  void close(Handle& handle, std::optional<std::string> reason);
  [[nodiscard]] Token hold(Handle& handle);
  void send(Handle& handle, const std::vector<std::uint32_t>& sizes, Patience patience);
  void recv(Handle& handle, std::size_t max_items, bool acknowledges, Patience patience);
  void select(Handle& first, Handle& second, Patience patience);
  void wait(Task::Kind kind, Handle& handle);
  void reserve(Handle& handle, Patience patience);
  void send_reserved(std::size_t permit, std::uint32_t size);
  void release_reserved(std::size_t permit);
  void shut_down(Handle& handle, bool immediate, std::optional<std::string> reason);
  void cancel(Task& task);
  // At a watch's value.
  void look(Handle& handle, bool updates);
  void settle(std::size_t held, bool requeue, Duration delay);
  void woken(Task& task);
  // Of a broadcast: a receive that waits, or is over, has found nothing that was there since then.
  void found_nothing(const Task& task, Micros since) const;

  // --- what happens to it ---

  void die(bool silently);
  // The same, between two actions of one of its links.
  void die_after(std::uint64_t actions, bool silently);
  [[nodiscard]] bool is_dying_now();
  void need_not_die() { actions_left_.reset(); }
  // The control plane is mistaken.
  void is_said_to_be_dead();
  void stop(Micros until);
  void jump(Micros forward);
  void broker_died(std::uint8_t channel, std::uint64_t epoch, const std::string& why, bool is_final);

  [[nodiscard]] std::size_t index() const noexcept { return index_; }
  [[nodiscard]] bool is_alive() const noexcept { return is_alive_; }
  [[nodiscard]] bool is_running() const;
  [[nodiscard]] Micros stopped_until() const noexcept { return stopped_until_; }
  [[nodiscard]] Time now() const;
  [[nodiscard]] Micros global(Time time) const { return clock_.global(time); }
  [[nodiscard]] Port& port(std::uint8_t channel) { return *ports_[channel]; }
  [[nodiscard]] auto& handles() noexcept { return handles_; }
  [[nodiscard]] auto& tasks() noexcept { return tasks_; }
  [[nodiscard]] auto& held() noexcept { return held_; }
  [[nodiscard]] auto& permits() noexcept { return permits_; }
  [[nodiscard]] bool is_decoding() const noexcept { return !decoding_.empty(); }
  [[nodiscard]] bool counts(const Handle& handle) const;
  // Its side of the channel had closed before the broker, or a restarted one, knew of it.
  [[nodiscard]] bool is_refused(Handle& handle);
  [[nodiscard]] ClientId new_id();
  [[nodiscard]] std::string describe(const Task& task) const;

 private:
  Handle* adopt(std::uint8_t channel, Side side, const Registration& registration);
  Task& make(Task::Kind kind, Handle& handle, Patience patience);
  void started(Task& task, Status status, std::size_t branch = 0);
  void resume(std::uint32_t number);
  void finish(Task& task);
  void abandon(Task& task, std::size_t but_branch);
  void came_to(Task& task, Status status, std::size_t branch);
  void sent(Task& task, Status status);
  void reserved(Task& task, Status status);
  [[nodiscard]] bool is_too_large(const Task& task) const;
  void received(Task& task, Status status, std::size_t branch);
  [[nodiscard]] bool decodes(const Handle& handle) const noexcept;
  void decode(Handle& handle, std::vector<Message> messages);
  void decoded(Handle& handle);
  void hand_out(Handle& handle, const Message& message, bool acknowledges);
  void read(const Handle& handle, const RecvOperation& recv);
  void see(Handle& handle, const Latest& latest, bool is_change);
  [[nodiscard]] Broadcast& broadcast_of(const Handle& handle) const;
  void waited(Task& task, Status status);
  void failed(Handle& handle, const Task& task, const ChannelClosed& error);
  void confirm(Handle& handle);
  void check_time(const Task& task, Status status) const;

  World& world_;
  const std::size_t index_;
  Clock clock_;
  bool is_alive_ = true;
  Micros stopped_until_ = 0;
  std::optional<std::uint64_t> actions_left_ = std::nullopt;
  bool dies_silently_ = false;
  std::vector<std::unique_ptr<Handle>> handles_;
  std::map<std::uint32_t, std::unique_ptr<Task>> tasks_;  // pending
  std::vector<Held> held_;
  std::vector<HeldSlot> permits_;
  std::vector<Decoding> decoding_;
  std::vector<std::unique_ptr<Port>> ports_;  // by channel
  std::uint32_t next_task_ = 1;
};

}  // namespace klaw::dataplane::simulation
