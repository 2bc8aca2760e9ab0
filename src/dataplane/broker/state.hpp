// What a broker remembers of its clients, their handles, and the messages on their way. Plain data: the rules are
// the broker's (broker.hpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <dataplane/wire/frame.hpp>
#include <dataplane/wire/stream.hpp>
#include <dataplane/wire/time.hpp>
#include <klaw/channels/detail/intrusive_list.hpp>

namespace klaw::dataplane {

using ConnectionId = std::uint64_t;  // the driver's; never used twice

namespace broker_state {

using Position = std::uint64_t;  // of a message in a broadcast's stream: 0, 1, 2, ...

struct Client;

// A message that the broker has. Whichever way it goes, its destructor tells those who want to know of its end.
class Held {
 public:
  Held() noexcept = default;
  // `ended`: where its end is told, or null; it outlives this.
  Held(Bytes bytes, std::vector<Bytes>* ended) noexcept : bytes_(std::move(bytes)), ended_(ended) {}
  Held(Held&& other) noexcept : bytes_(std::move(other.bytes_)), ended_(std::exchange(other.ended_, nullptr)) {}
  Held& operator=(Held&& other) noexcept {
    Held old(std::move(*this));
    bytes_ = std::move(other.bytes_);
    ended_ = std::exchange(other.ended_, nullptr);
    return *this;
  }
  ~Held() {
    if (ended_ != nullptr) ended_->push_back(std::move(bytes_));
  }

  [[nodiscard]] const Bytes& bytes() const noexcept { return bytes_; }

 private:
  Bytes bytes_;
  std::vector<Bytes>* ended_ = nullptr;
};

// A sender handle's session. Its messages keep it alive beyond its client, since they are known by its name.
struct Sender {
  // An offer that was neither stored nor voided yet.
  struct Undecided {
    Seq seq;
    std::uint64_t order;  // its key in the broker's offers
    std::uint32_t count;
    std::uint64_t bytes;
    bool nowait;
    bool is_out = false;        // capacity 0: with a receiver, and not in the offers
    bool is_withdrawn = false;  // ... and its sender does not want it any more
  };

  ClientId client_id;
  SessionId id = 0;
  Client* client = nullptr;  // null: the session is over
  bool counts = true;
  bool is_closing = false;               // CLOSE was applied; it counts until nothing is undecided
  Seq received = 0;                      // the last that was offered
  Seq stored = 0;                        // the last that was stored
  std::deque<Undecided> undecided = {};  // by seq
  std::uint64_t offered = 0;             // messages in undecided
  std::uint64_t offered_bytes = 0;
  std::set<Seq> permits = {};  // slots that it holds, by the numbers of their RESERVEs
  bool owes_stored = false;    // in the broker's list of senders that flush() tells STORED
};

struct Item {
  Held message;
  std::shared_ptr<Sender> sender;
  Seq seq = 0;
  std::uint64_t order = 0;  // in which it is received; kept when it comes back
  Time stored_at = {};
  std::uint32_t redeliveries = 0;
  bool has_slot = true;    // false: it was consumed, and comes back through the lane
  bool by_permit = false;  // seq is its permit's
};

struct Offer {
  std::shared_ptr<Sender> sender;
  Seq seq = 0;
  std::uint32_t redeliveries = 0;  // capacity 0: its receiver died with it
  Held message;
  std::vector<Held> more;
  bool reserves = false;  // it is a RESERVE, without a message
  [[nodiscard]] std::size_t count() const noexcept { return 1 + more.size(); }
};

struct Outstanding {
  enum class State : std::uint8_t { unread, unsettled, gone };
  Attempt attempt = 0;
  State state = State::unread;
  Item item;
};

// Of a receiver of a broadcast: what it has yet to be sent, and what it was sent and has not taken.
struct Reading {
  struct Unread {
    Position position;
    std::size_t bytes;
  };

  Position next = 0;  // the first message that it was not sent; before the window's base: it has missed some
  std::deque<Unread> unread = {};

  // The first that it has not taken.
  [[nodiscard]] Position place() const noexcept { return unread.empty() ? next : unread.front().position; }
};

// A receiver handle's session; linked in one of the broker's lines while it demands, is open, and its client attached.
struct Receiver : channels::detail::ListHook {
  SessionId id = 0;
  Client* client = nullptr;
  std::uint64_t serial = 0;  // of all sessions; an order that does not depend on addresses
  std::string name;
  std::string node;
  Time registered_at = {};
  bool counts = true;
  bool is_closed = false;          // CLOSE was applied; it is kept for what may still be settled
  std::uint64_t delivered = 0;     // so many, since OPEN
  std::uint64_t limit = 0;         // and so many may be
  std::uint32_t waiting = 0;       // of those not yet delivered, how many receives wait for
  std::uint32_t spare = 0;         // unread ones that no receive waited for, as far as we know
  bool is_recalled = false;        // a RECALL has not been answered
  bool has_none_to_spare = false;  // it answered a RECALL so, and has not reported since
  enum class Line : std::uint8_t { none, waiting, prefetching, caught_up } line = Line::none;
  std::deque<Outstanding> outstanding = {};       // by attempt; those that are gone are swept out now and then
  std::size_t live = 0;                           // of outstanding, how many are not gone
  std::size_t unread = 0;                         // and how many are unread
  std::optional<Deliver> deliver = std::nullopt;  // not sent yet
  std::size_t deliver_bytes = 0;
  std::uint64_t total_received = 0;
  Reading reading = {};  // of a broadcast; else not used

  [[nodiscard]] std::size_t unsettled() const noexcept { return live + reading.unread.size(); }
  [[nodiscard]] bool demands() const noexcept { return limit > delivered; }
};

// Of a client that came by a ticket: what it may do.
struct Admission {
  Token ticket;
  Side side;                        // handles of the other one are not for it
  std::vector<Token> issuers = {};  // the tickets by which the client that made this one came, the first one first
  bool has_opened = false;          // it has the handle that the ticket stands for
};

struct Client {
  ClientId id;
  std::optional<Admission> admission = std::nullopt;      // none: it knows the channel's secret
  std::optional<ConnectionId> connection = std::nullopt;  // none: detached
  std::uint64_t connection_number = 0;                    // the newest; older ones are fenced
  Time heard_at = {};                                     // attached: the last frame's time
  Time detached_at = kNever;
  Time gone_at = kNever;  // detached: when it was last there, as far as we know
  ResumableStream stream = {};
  bool is_touched = false;      // in the broker's list of clients that flush() may send an ACK
  SessionId last_session = 0;   // the newest that was opened
  Version latest = 0;           // of a watch: the newest that it was told; 0: none
  std::uint64_t latest_at = 0;  // by the frame of this number
  std::map<SessionId, std::shared_ptr<Sender>> senders = {};
  std::map<SessionId, std::unique_ptr<Receiver>> receivers = {};
};

// What its handles are called.
[[nodiscard]] constexpr const char* name_of(Side side) noexcept { return side == Side::sender ? "sender" : "receiver"; }

struct SideState {
  std::size_t count = 0;  // open sessions and holds
  bool is_closed = false;
  CloseKind kind = CloseKind::ended;                 // closed: what the other side is told
  std::optional<std::string> reason = std::nullopt;  // the first that a handle closed with
  Time orphan_deadline = kNever;                     // nobody is left, but somebody may come until then
  Time last_word = Time::min();                      // when the last handle left, as it happened
  bool died = false;                                 // ... by the death of its process
  std::string who_died = {};
};

// How a handle left that nobody closed.
struct Death {
  std::string who;
  Time at;  // as it happened; it may be noticed much later
};

// Why receivers get nothing any more.
struct Ending {
  CloseKind kind;
  std::optional<std::string> reason;
};

// A channel that takes no more sends.
enum class Shutdown : std::uint8_t { none, draining, immediate };

struct HeldHandle {
  Side side;
  Time deadline;
  Position place = 0;  // of a receiver of a broadcast: where the handle that claims it begins
  std::optional<Time> abandoned_at = std::nullopt;  // nobody is left who could claim it, unless the claim is on its way
  std::vector<Token> issuers = {};                  // the tickets by which the client that announced it came
  bool is_taken = false;  // a client came by it, as by a ticket, and has not opened its handle yet
};

// What has become of a ticket that is not held any more.
enum class TicketEnd : std::uint8_t { used, lapsed };

}  // namespace broker_state

}  // namespace klaw::dataplane
