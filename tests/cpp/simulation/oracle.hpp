// Knows every message: who sent it, what was promised, who got it. It believes nothing that a state machine says.
//
// A message carries its identity in its first bytes, and the rest of them follow from it, so that any message that comes
// out of anywhere can be told, and told from a damaged one.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include <dataplane/broker/broker.hpp>
#include <dataplane/link/operations.hpp>

#include "simulation/config.hpp"
#include "simulation/random.hpp"
#include "simulation/scheduler.hpp"
#include "simulation/trace.hpp"

namespace klaw::dataplane::simulation {

using MessageId = std::uint32_t;  // index into the oracle's records
using HandleId = std::uint32_t;
inline constexpr MessageId kAnonymous = 0xffff'ffff;  // too small to say who it is
inline constexpr MessageId kHostile = 0xffff'fffe;    // a hostile client made it: nobody cares

struct MessageRecord {
  enum class Fate : std::uint8_t {
    pending,
    stored,   // its send is done
    voided,   // its send was told that nothing has happened
    unknown,  // cancelled, or its sender died, or the backend failed
  };

  HandleId sender = 0;
  std::uint32_t index = 0;  // 1, 2, 3, ... of its sender, in the order in which the sends began
  std::uint32_t size = 0;
  std::uint8_t channel = 0;
  Fate fate = Fate::pending;
  bool was_offered = false;
  bool was_released = false;         // some receiver gave it back unread: from then on its order is not kept
  bool is_stolen = false;            // delivered to a hostile client, once
  bool is_satisfied = false;         // was handed out, and settled if that was asked for
  bool is_waiting = false;           // counted among the stored ones that nobody has received yet
  bool has_left_slot = false;        // was taken, though it was not handed out then: its handle closed, or it went back
  bool is_doubled = false;           // delivered to one that was falsely reported dead
  bool reached_a_dead_one = false;   // was delivered to a client that was then declared dead
  bool reached_a_passer_by = false;  // was delivered to a receiver that does not count
  Micros composed_at = 0;            // its send began
  std::uint64_t home_epoch = 0;      // the newest broker that has, or had, it
  MessageId batch_first = 0;
  std::uint32_t batch_count = 1;
  std::vector<std::pair<std::uint64_t, Attempt>> handouts = {};  // (epoch of the attempt, attempt)
  Attempt newest_handout = 0;                                    // of newest_epoch
  std::uint64_t newest_epoch = 0;
  Micros newest_at = 0;

  // On a rendezvous, its send may have been told that nothing has happened: nobody knows what the dead have read, nor does
  // the end of the receivers wait for who passes by.
  [[nodiscard]] bool may_be_void_and_read() const noexcept { return reached_a_dead_one || reached_a_passer_by; }
};

// What the oracle knows of a channel as a whole.
struct ChannelRecord {
  std::uint64_t epoch = 1;
  bool was_restored = false;  // some epoch began with messages
  bool is_deleted = false;
  bool is_shut_down = false;             // somebody asked for it
  std::uint64_t shut_down_epoch = 0;     // the newest epoch whose broker has said so, to somebody who had asked,
  Micros shut_down_at = 0;               // and when
  bool is_gone = false;                  // its last broker died: all that it held is lost, and everybody was told
  std::uint64_t dropping_epoch = 0;      // the newest epoch in which receivers were all gone, and messages dropped
  std::uint64_t stored_waiting = 0;      // sends done, message not received by anybody
  std::set<std::uint64_t> sent_in = {};  // of a oneshot: the epochs in whose brokers a send is done
  std::set<HandleId> sent_by = {};       // and by which handles
  std::uint64_t anonymous_sent = 0;
  std::uint64_t anonymous_received = 0;
  std::optional<Micros> filled_since = std::nullopt;  // something has been queued all the time since then
  bool has_delays = false;                            // ... but perhaps it must not be received yet
};

class Broadcast;
class Watched;
class Witness;

class Oracle {
 public:
  Oracle(const Config& config, Scheduler& scheduler);

  // --- messages ---

  // A batch of messages that are about to be sent.
  [[nodiscard]] std::vector<Message> compose(HandleId sender, std::uint8_t channel,
                                             const std::vector<std::uint32_t>& sizes, std::vector<MessageId>& ids);
  // Whose bytes these are. Throws if they are not what was sent (S6).
  [[nodiscard]] MessageId identify(const Bytes& bytes) const;
  [[nodiscard]] static Bytes hostile_message(Random& random);

  // --- what the clients' code sees ---

  void send_done(const std::vector<MessageId>& ids);
  void send_voided(const std::vector<MessageId>& ids, const char* how);
  void send_unknown(const std::vector<MessageId>& ids);
  // Sent into a slot: whether it is stored, its witness knows.
  void filled(MessageId id);
  // The broker takes it for received: its handle closed while it was decoded, or it went back after that.
  void left_slot(const Bytes& bytes);
  void fill_stored(MessageId id, std::uint64_t epoch);
  // Gives the message's id.
  MessageId handed_out(HandleId receiver, std::uint8_t channel, const Message& message, bool acknowledges);
  void settled(MessageId id, Attempt attempt, bool requeue);
  // A receive timed out that began then, at a client of that epoch's broker.
  void received_nothing(std::uint8_t channel, Micros since, std::uint64_t epoch) const;

  // Of a broadcast: what its broker of that epoch must agree with.
  [[nodiscard]] Broadcast& broadcast(std::uint8_t channel, std::uint64_t epoch) const;
  void broadcast_to(const std::vector<MessageId>& ids, std::uint64_t receivers);
  // Of a watch, likewise.
  [[nodiscard]] Watched& watched(std::uint8_t channel, std::uint64_t epoch) const;
  void changed_for(const std::vector<MessageId>& ids, std::uint64_t receivers);

  // --- what the brokers see and do ---

  void add_witness(std::uint8_t channel, Witness* witness) { witnesses_[channel].push_back(witness); }
  void epoch_began(std::uint8_t channel, std::uint64_t epoch, const Checkpoint* restored);
  // Nobody is left to receive, or the channel was shut down at once: messages are dropped.
  void receivers_gone(std::uint8_t channel, std::uint64_t epoch);
  // Whoever sends from now on to this epoch's broker is refused.
  void shut_down(std::uint8_t channel, std::uint64_t epoch);
  void queue_is(std::uint8_t channel, bool is_empty);
  [[nodiscard]] MessageRecord& record(MessageId id) { return records_[id]; }
  [[nodiscard]] ChannelRecord& channel(std::uint8_t index) { return channels_[index]; }

  // --- at the end, when everything that can be received has been ---

  void check_all_received(std::uint8_t index);
  // Did messages that were stored by way of this sender get lost with brokers that were followed by this epoch's?
  [[nodiscard]] bool has_losses(HandleId sender, std::uint64_t epoch) const;

  [[noreturn]] void fail(const char* invariant, const std::string& what) const;
  [[nodiscard]] std::string describe(MessageId id) const;
  [[nodiscard]] std::size_t message_count() const noexcept { return records_.size(); }
  [[nodiscard]] Micros now() const noexcept { return scheduler_.now(); }

 private:
  [[nodiscard]] std::uint64_t epoch_of(const MessageRecord& record, MessageId id, Attempt attempt) const;
  void check_order(HandleId receiver, const MessageRecord& record, MessageId id, const Message& message);
  void check_fencing(MessageRecord& record, MessageId id, std::uint64_t epoch, const Message& message);
  [[nodiscard]] bool is_owed(const MessageRecord& record) const;

  const Config& config_;
  Scheduler& scheduler_;
  std::vector<MessageRecord> records_;
  std::vector<ChannelRecord> channels_;
  std::vector<std::vector<Witness*>> witnesses_;                       // by channel, oldest first
  std::unordered_map<HandleId, std::uint32_t> last_index_;             // by sender
  std::unordered_map<std::uint64_t, std::uint32_t> first_seen_up_to_;  // by (receiver, sender): index of the last
};

}  // namespace klaw::dataplane::simulation
