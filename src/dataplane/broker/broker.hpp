// One channel's state, and the rules by which its clients change it: a state machine without socket, clock or thread. What is
// said here, and in broker_messages.cpp, is said of a queue (MPMC); what other kinds do otherwise, and why, is in files of their
// own: broker_oneshot.cpp, broker_broadcast.cpp, broker_watch.cpp.
//
// Its driver (the server, the simulator) tells it what happened and when; it answers with actions, in order:
//
//   broker.received(now, connection, frame);   any number of events, in the order in which they happened
//   broker.flush(now);                         answers that are worth coalescing: once per batch of events
//   for (auto& action : broker.take_actions()) ...
//   and broker.tick(now) at broker.next_deadline()
//
// A message's way through it, and what holds a slot of the capacity (*):
//
//   OFFER ─> offers ─> ready* ─> unread* ─CONSUMED─> unsettled ─SETTLE─> gone
//               │        ^  <─RELEASE─┘ │                │
//               │        └────death─────┘                └─death, requeue─> (delay) ─> lane ─> unread ...
//               └─ capacity 0: straight to unread, and back to its place in the offers on RELEASE or death
//
// unread: delivered to a receiver's process, and not yet returned to its caller's code, as far as we know.
// lane:   messages that were consumed once, and come back: they have given their slot away, and are served first.
//
// Invariants, between any two events:
//   B1  ready + unread + reserved <= capacity; capacity 0: only what permits sent is ready
//   B2  the head of the offers does not fit; so nobody waits for room that is there
//   B3  if a receive waits, ready and lane are empty (capacity 0: and so are the offers, if no permit counts on it)
//   B4  each message is in one place, and has at most one live attempt
//   B5  a side's count is its open sessions and its holds
//   B6  once the channel is shut down no offer waits; at once, or once the receivers are gone, nothing is stored
//
// The driver serialises the calls (one lock, or one thread).
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include <dataplane/broker/checkpoint.hpp>
#include <dataplane/broker/state.hpp>
#include <dataplane/broker/window.hpp>
#include <dataplane/wire/frame.hpp>
#include <dataplane/wire/kind.hpp>
#include <dataplane/wire/limits.hpp>
#include <dataplane/wire/stream.hpp>
#include <dataplane/wire/time.hpp>
#include <klaw/channels/stats.hpp>

namespace klaw::dataplane {

inline constexpr std::uint64_t kUnbounded = std::numeric_limits<std::uint64_t>::max();

struct BrokerSettings {
  ChannelKind kind = ChannelKind::mpmc;
  std::uint64_t capacity = 10'000;  // messages; 0: rendezvous, but not of a broadcast; or kUnbounded
  std::uint64_t epoch = 1;          // 1 + how often the channel's actor was restarted
  bool persistent = false;          // no side ever closes by itself
  bool waits_for_slowest = false;   // a full broadcast: its senders wait; else its oldest message goes
  Bytes initial = {};               // a watch's first value, also after a restart
  double created_at = 0.0;          // unix seconds, for statistics

  Duration heartbeat = std::chrono::seconds(1);
  int heartbeat_misses = 4;                            // then a silent client's connection is taken for lost
  Duration reconnect_grace = std::chrono::seconds(3);  // then a client without a connection is dead
  Duration orphan_grace = std::chrono::seconds(10);    // then a side whose last handle died is closed
  Duration rejoin_grace = std::chrono::seconds(10);    // after a restart (epoch > 1): no side closes, no END
  Duration hold_limit = std::chrono::minutes(10);      // then an unclaimed handle has lapsed
  Duration delete_grace = std::chrono::seconds(1);     // for clients to hear of the deletion
  // What a sender may have offered and unanswered, per session. Tests make them small.
  std::uint32_t offered_max = kOfferedMax;
  std::uint64_t offered_bytes_max = kOfferedBytesMax;
  std::uint64_t message_bytes_max = kMessageBytesMax;
  // Of which messages the end is told (take_ended_messages); null: of none.
  bool (*tells_end_of)(const Bytes& message) noexcept = nullptr;
};

namespace broker_action {
struct Send {
  ConnectionId connection;
  FramePtr frame;
};
// The connection's bytes have no effect from here on; close it.
struct Disconnect {
  ConnectionId connection;
  std::string why;
};
struct Log {
  std::string text;
};
// The channel was deleted and its clients know, or had their time: the actor can go.
struct Ended {};
}  // namespace broker_action
using BrokerAction =
    std::variant<broker_action::Send, broker_action::Disconnect, broker_action::Log, broker_action::Ended>;

struct ReaderStats {
  std::string name;
  std::string node;
  Time registered_at;
  Time last_seen_at;
  std::uint64_t total_received = 0;
};

// Bytes of the messages' payloads, since the broker began: a checkpoint does not have them.
struct Traffic {
  std::uint64_t sent_bytes = 0;      // of messages in total_sent
  std::uint64_t received_bytes = 0;  // of messages in total_received
};

// Where a message is, for the tests' oracle and for a user who wants to look into a channel.
struct MessageView {
  enum class Place : std::uint8_t { offered, ready, unread, unsettled, delayed, lane };
  ClientId client;  // its sender's
  SessionId session;
  Seq seq;
  Place place;
  std::uint64_t order;  // in which they are received
  std::uint32_t redeliveries;
  Attempt attempt = 0;                    // unread, unsettled: the live one
  std::optional<ClientId> receiver = {};  // unread, unsettled
  SessionId receiver_session = 0;
  bool has_slot = false;   // it counts in the capacity
  bool by_permit = false;  // seq is that of a RESERVE
  const Bytes* message = nullptr;
};

class Broker {
 public:
  Broker(BrokerSettings settings, Time now);
  Broker(const Broker&) = delete;
  Broker& operator=(const Broker&) = delete;
  ~Broker();

  // --- events ---

  // A frame came over a connection whose peer has authenticated itself; the first one must be ATTACH. Frames of a
  // connection that was disconnected or fenced are ignored.
  // `ticket`: by which it did so. It is looked at when the connection attaches.
  void received(Time now, ConnectionId connection, Frame&& frame, const std::optional<Token>& ticket = std::nullopt);
  void disconnected(Time now, ConnectionId connection);
  // Its pidfd fired, or the control plane says that its process or node is gone.
  void client_died(Time now, const ClientId& client, const std::string& why);
  // The control plane says that nobody can unpickle this handle any more. One who has done so may be about to claim it, and has
  // reconnect_grace for that.
  void abandoned(Time now, const Token& token);
  void tick(Time now);
  void flush(Time now);
  // Deletes the channel: everybody is told, and broker_action::Ended comes when all have acknowledged, or delete_grace is over.
  void remove(Time now);

  // --- what it wants ---

  [[nodiscard]] std::vector<BrokerAction> take_actions() { return std::exchange(actions_, {}); }
  [[nodiscard]] Time next_deadline() const;
  // Those that have left it since it was asked last: settled, dropped, withdrawn, refused, or gone with their senders.
  [[nodiscard]] std::vector<Bytes> take_ended_messages() { return std::exchange(ended_messages_, {}); }

  // --- what it can tell ---

  [[nodiscard]] channels::ChannelStats stats(Time now) const;
  [[nodiscard]] std::vector<ReaderStats> reader_stats() const;
  [[nodiscard]] Traffic traffic() const noexcept { return traffic_; }
  // Handles of both sides that count, those on their way to other processes among them.
  [[nodiscard]] std::size_t handle_count() const noexcept { return sides_[0].count + sides_[1].count; }
  // Of these, handles on their way: pickled, and claimed by nobody yet.
  [[nodiscard]] std::size_t unclaimed(Side side) const noexcept;
  // For the key of a client that comes by this ticket: those by which it was made, the first one first, and itself.
  [[nodiscard]] std::vector<Token> path_of(const Token& ticket) const;
  // Slots that permits hold.
  [[nodiscard]] std::size_t reserved() const noexcept { return reserved_; }
  [[nodiscard]] ChannelKind kind() const noexcept { return settings_.kind; }
  // Both sides have closed and nothing is left.
  [[nodiscard]] bool is_closed() const;
  [[nodiscard]] Checkpoint checkpoint(bool with_messages) const;
  // Takes over a checkpoint. Once messages have been stored or clients have attached, only a queue takes one, and only its
  // counters: of a checkpoint with messages it is false. It is also false for one of a channel that had more messages than one
  // of this kind ever has.
  [[nodiscard]] bool restore(Time now, const Checkpoint& checkpoint);
  // In the order in which they would be received; then what is out at receivers.
  [[nodiscard]] std::vector<MessageView> messages() const;
  // Those that would be received next, `max` at most, in that order; what is out or delayed is not among them.
  [[nodiscard]] std::vector<Bytes> peek(std::size_t max) const;
  // Throws std::logic_error naming the invariant (B1...) that does not hold. For tests: it looks at everything.
  void check_invariants() const;

 private:
  using Client = broker_state::Client;
  using Sender = broker_state::Sender;
  using Receiver = broker_state::Receiver;
  using Item = broker_state::Item;
  using Held = broker_state::Held;
  using Outstanding = broker_state::Outstanding;
  using SideState = broker_state::SideState;
  template <class T>
  using Line = channels::detail::IntrusiveList<T>;

  [[nodiscard]] bool restore_counters(const Checkpoint& checkpoint);
  [[nodiscard]] bool is_broadcast() const noexcept { return settings_.kind == ChannelKind::broadcast; }
  // The receivers' side is closed while nobody is there, from the beginning on, and open again with the next who comes.
  [[nodiscard]] bool reopens() const noexcept { return is_broadcast() || is_watch(); }

  // --- clients (broker_clients.cpp) ---
  void attach(ConnectionId connection, const Attach& frame, const std::optional<Token>& ticket);
  void join(Client& client, ConnectionId connection, const Attach& frame);
  void refuse(ConnectionId connection, Frame answer, std::string why);
  [[nodiscard]] bool takes(FrameType type) const noexcept;
  void detach(Client& client);
  void fail(Client& client, const std::string& why);
  void bury(const ClientId& id, const std::string& why);
  void remember_dead(const ClientId& id, Expired&& what);
  void bury_sender(Sender& sender);
  void bury_receiver(Receiver& receiver);
  void push(Client& client, FramePtr frame);
  void touch(Client& client);
  void send(Client& client, FramePtr frame);
  void disconnect(ConnectionId connection, std::string why);
  void check_clients(Time now);
  void log(std::string text) { actions_.emplace_back(broker_action::Log{std::move(text)}); }

  // --- numbered frames; they give what is wrong with the frame, if anything ---
  using Fault = std::optional<std::string>;
  [[nodiscard]] Fault apply(Client& client, Open&& frame);
  [[nodiscard]] Fault apply(Client& client, Close&& frame);
  [[nodiscard]] Fault apply(Client& client, Hold&& frame);
  [[nodiscard]] Fault apply(Client& client, Offer&& frame);
  [[nodiscard]] Fault apply(Client& client, Withdraw&& frame);
  [[nodiscard]] Fault apply(Client& client, Demand&& frame);
  [[nodiscard]] Fault apply(Client& client, DemandShrink&& frame);
  [[nodiscard]] Fault apply(Client& client, Consumed&& frame);
  [[nodiscard]] Fault apply(Client& client, Settle&& frame);
  [[nodiscard]] Fault apply(Client& client, Release&& frame);
  [[nodiscard]] Fault apply(Client& client, Shutdown&& frame);
  [[nodiscard]] Fault apply(Client& client, Reserve&& frame);
  [[nodiscard]] Fault apply(Client& client, Fill&& frame);
  [[nodiscard]] Fault apply(Client& client, Unreserve&& frame);

  // --- sides (broker_sides.cpp) ---
  [[nodiscard]] SideState& side(Side s) noexcept { return sides_[index(s)]; }
  [[nodiscard]] const SideState& side(Side s) const noexcept { return sides_[index(s)]; }
  void open_sender(Client& client, const Open& frame);
  void open_receiver(Client& client, Open&& frame, broker_state::Position place);
  void tell_closed(Client& client, SessionId session, Side gone);
  void release(Side s, const std::optional<broker_state::Death>& death);
  void lapse(const broker_state::HeldHandle& held);
  void close_side(Side s);
  void refuse_session(Client& client, SessionId session, Side its);
  void refuse_passers_by(Side s);
  void finish_closing(Sender& sender);
  void close_receiver(Receiver& receiver);
  void erase_receiver(Receiver& receiver);
  [[nodiscard]] bool is_shut_down() const noexcept { return shutdown_ != broker_state::Shutdown::none; }
  void tell_shut_down(Client& client);
  void refuse_offers();
  void drop_orphans(Time now);
  void finish_removal(Time now);

  // --- tickets (broker_tickets.cpp) ---
  [[nodiscard]] std::optional<std::string> why_not(const Token& ticket) const;
  void admit(Client& client, const Token& ticket);
  [[nodiscard]] std::optional<std::string> why_not(Client& client, const Open& frame);
  void note_end(const Token& ticket, broker_state::TicketEnd end);
  [[nodiscard]] std::string lapsed_text() const;

  // --- messages (broker_messages.cpp) ---
  [[nodiscard]] bool has_room(std::size_t count) const noexcept;
  [[nodiscard]] Held hold(Bytes message);
  void store(broker_state::Offer&& offer);
  void store_message(Held&& message, const std::shared_ptr<Sender>& sender, Seq seq, bool by_permit);
  [[nodiscard]] bool refuses(Sender& sender, Seq seq);
  void wait_in_line(broker_state::Offer&& offer, bool nowait, std::uint64_t bytes);
  [[nodiscard]] bool has_free_receiver() const noexcept;
  void grant(Sender& sender, Seq seq);
  void end_permit(Sender& sender);
  void drop_permits(Sender& sender);
  void decide(Sender& sender, Seq seq);
  void answer(Sender& sender, Seq seq, Answer::Outcome outcome);
  void tell_stored(Sender& sender);
  void owe_stored(const std::shared_ptr<Sender>& sender);
  void match();
  void store_offers();
  void serve();
  void serve_prefetch();
  [[nodiscard]] std::optional<Item> next_item();
  void deliver(Receiver& receiver, Item&& item);
  void add_delivery(Receiver& receiver, Delivery&& delivery);
  void send_deliveries(Receiver& receiver);
  void recall_spare();
  [[nodiscard]] std::optional<broker_state::Ending> ending() const;
  void tell_end();
  void send_end(Receiver& receiver, const broker_state::Ending& ending);
  void update_demand(Receiver& receiver, std::uint64_t limit, std::uint32_t waiting, std::uint32_t spare);
  void join_line(Receiver& receiver);
  void leave_line(Receiver& receiver);
  [[nodiscard]] Line<Receiver>& line_of(const Receiver& receiver) noexcept;
  void set_spare(Receiver& receiver, std::uint32_t spare);
  [[nodiscard]] static const std::shared_ptr<Sender>& find_sender(Client& client, SessionId session);
  [[nodiscard]] static Receiver* find_receiver(Client& client, SessionId session);
  [[nodiscard]] static Outstanding* find(Receiver& receiver, Attempt attempt);
  void consume(Receiver& receiver, Outstanding& out);
  Item take_back(Receiver& receiver, Outstanding& out);
  void after_attempts_ended(Receiver& receiver);
  void put_back(Item&& item);
  void put_back_offer(Item&& item);
  void requeue(Item&& item, Duration delay);
  [[nodiscard]] bool drops_messages() const noexcept;
  void drop_stored(const char* why);
  void drop_messages();
  void check_queue(std::size_t out_offers) const;

  // --- a broadcast (broker_broadcast.cpp) ---
  void subscribe(broker_state::Position place);
  void unsubscribe(Receiver& receiver);
  void tell_receivers(Client& client, SessionId session);
  void refuse_unheard();
  void offer_to_all(broker_state::Offer&& offer, bool nowait, std::uint64_t bytes);
  [[nodiscard]] bool can_publish() const noexcept;
  void publish(broker_state::Offer&& offer);
  void wake_readers();
  void match_readers();
  void read(Receiver& receiver);
  void take(Receiver& receiver, const std::vector<Attempt>& attempts);
  [[nodiscard]] Attempt first_attempt() const noexcept { return (settings_.epoch << kAttemptEpochShift) + 1; }
  [[nodiscard]] std::size_t count_unread() const;
  void check_window() const;

  // --- what a oneshot does otherwise (broker_oneshot.cpp) ---
  [[nodiscard]] bool is_oneshot() const noexcept { return settings_.kind == ChannelKind::oneshot; }
  void offer_once(broker_state::Offer&& offer);
  [[nodiscard]] bool was_sent() const noexcept { return total_sent_ > 0 || is_lost_; }
  void was_sent_in_an_earlier_epoch();
  [[nodiscard]] broker_state::Ending ending_once_sent() const;
  void check_oneshot() const;

  // --- what a watch does otherwise (broker_watch.cpp) ---
  [[nodiscard]] bool is_watch() const noexcept { return settings_.kind == ChannelKind::watch; }
  void replace(broker_state::Offer&& offer);
  void tell_latest(Client& client);
  void tell_news();
  void may_be_behind(const Client& client);
  void note_changes(Receiver& receiver, std::size_t count);
  [[nodiscard]] bool restore_value(const Checkpoint& checkpoint);
  [[nodiscard]] std::size_t count_waiting() const;
  void check_watch() const;

  const BrokerSettings settings_;
  Time now_;
  std::vector<BrokerAction> actions_;
  std::vector<Bytes> ended_messages_;  // before all that holds messages, so that it outlives them

  std::map<ClientId, std::unique_ptr<Client>> clients_;
  std::unordered_map<ConnectionId, Client*> connections_;   // attached ones
  std::map<ClientId, Expired> expired_;                     // what is remembered of the dead
  std::deque<ClientId> expired_order_;                      // the oldest of them first
  std::map<std::pair<ClientId, SessionId>, Seq> restored_;  // what the checkpoint has of which sender
  SideState sides_[2];                                      // [Side]
  std::map<Token, broker_state::HeldHandle> holds_;
  std::map<Token, const Client*> admitted_;                 // by ticket
  std::map<Token, broker_state::TicketEnd> ended_tickets_;  // what is remembered of them
  std::deque<Token> ended_tickets_order_;                   // the oldest of them first
  broker_state::Shutdown shutdown_ = broker_state::Shutdown::none;
  std::optional<std::string> shutdown_reason_ = std::nullopt;  // the first
  bool was_restored_ = false;
  bool is_lost_ = false;  // a oneshot's value was sent, and died with an earlier broker, as far as we know
  bool is_removed_ = false;
  bool has_ended_ = false;
  Time remove_deadline_ = kNever;
  Time clients_deadline_ = kNever;  // no client is silent or detached for too long before this
  Time holds_deadline_ = kNever;    // no hold lapses before this
  Time rejoin_until_;
  std::uint64_t next_serial_ = 1;

  std::map<std::uint64_t, broker_state::Offer> offers_;  // by order of arrival; none of them is out
  std::deque<Item> ready_;                               // by order
  std::deque<Item> lane_;                                // by order
  std::multimap<Time, Item> delayed_;                    // by the time from which they may be handed out
  std::size_t unread_slots_ = 0;                         // unread items that hold a slot
  std::size_t reserved_ = 0;                             // slots that permits hold
  std::size_t outstanding_ = 0;                          // unread and unsettled, of all receivers
  broker_state::Window window_;                          // a broadcast's messages
  Bytes value_;                                          // a watch's
  Version version_;
  bool is_news_ = false;  // some client may have an older one: flush() looks
  std::uint64_t next_order_ = 1;
  Attempt next_attempt_;
  Line<Receiver> waiting_;                    // sessions whose receives wait, in order of arrival
  Line<Receiver> prefetching_;                // sessions that demand, though no receive waits
  Line<Receiver> caught_up_;                  // a broadcast's: sessions whose receives wait for what is yet to be sent
  std::map<std::uint64_t, Receiver*> spare_;  // by serial: sessions that have something to recall

  std::vector<std::shared_ptr<Sender>> owing_stored_;  // what flush() has to do
  std::vector<Receiver*> delivering_;
  std::vector<Client*> touched_;

  std::uint64_t total_sent_ = 0;
  std::uint64_t total_received_ = 0;
  std::uint64_t redelivered_ = 0;
  Traffic traffic_;
  std::size_t high_watermark_ = 0;
  double created_at_;
};

}  // namespace klaw::dataplane
