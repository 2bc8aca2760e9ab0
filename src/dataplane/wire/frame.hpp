// The frames that a channel's broker and its clients exchange: what they say, not how they look as bytes.
//
// Each frame is a plain struct whose fields() names its members in the order of the wire; encoding, decoding, comparing
// and printing are made of it (codec.hpp). docs/wire-protocol.md has the layouts, and which side sends what when.
//
// Numbered frames travel in a resumable stream (stream.hpp): each arrives once and in order, over any number of
// connections. The others are about one connection and are never repeated.
#pragma once

#include <array>
#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <variant>
#include <vector>

#include <dataplane/wire/bytes.hpp>
#include <dataplane/wire/kind.hpp>
#include <klaw/channels/detail/core.hpp>
#include <klaw/errors.hpp>

namespace klaw::dataplane {

using channels::detail::index;
using channels::detail::other;
using channels::detail::Side;

// Sixteen bytes that nobody guesses. `Of` keeps clients, channels and tokens apart.
template <class Of>
struct RandomId {
  std::array<std::uint8_t, 16> bytes = {};
  friend auto operator<=>(const RandomId&, const RandomId&) = default;
};
using ChannelId = RandomId<struct ChannelTag>;
using ClientId = RandomId<struct ClientTag>;  // one process, until the broker has declared it dead
using Token = RandomId<struct TokenTag>;      // a handle on its way to another process
using Nonce = RandomId<struct NonceTag>;
using Mac = std::array<std::uint8_t, 32>;

using Seq = std::uint64_t;        // of one sender session: 1, 2, 3, ...
using Version = std::uint64_t;    // of a watch's value; ascending, the epoch in its upper bits
using Attempt = std::uint64_t;    // one handing out of one message; never used twice in an epoch
using SessionId = std::uint32_t;  // of one handle; chosen by its client: 1, 2, 3, ...
inline constexpr SessionId kAllSessions = 0;

// Every frame type has a number for ever: a retired one is not used again.
enum class FrameType : std::uint8_t {
  // Either direction, one connection each.
  piece = 1,
  ping = 2,
  ack = 3,
  // The handshake.
  hello = 8,
  challenge = 9,
  proof = 10,
  welcome = 11,
  attach = 12,
  attached = 13,
  expired = 14,
  refused = 15,
  // Client to broker, numbered.
  open = 32,
  close = 33,
  hold = 34,
  offer = 35,
  withdraw = 36,
  demand = 37,
  demand_shrink = 38,
  consumed = 39,
  settle = 40,
  release = 41,
  return_credit = 42,
  shutdown = 43,
  reserve = 44,
  fill = 45,
  unreserve = 46,
  // Broker to client, numbered.
  opened = 64,
  stored = 65,
  answer = 66,
  deliver = 67,
  recall = 68,
  demand_is = 69,
  end = 70,
  closed = 71,
  data_loss = 72,
  credit = 73,
  revoke = 74,
  is_shut_down = 75,
  missed = 76,
  sent = 77,
  receivers = 78,
  latest = 79,
  changed = 80,
};

// What a fields() names: unsigned integers, enums and bool, RandomId and Mac, std::string, Bytes, std::optional and
// std::vector of these, and structs with fields() of their own.
template <class T>
concept HasFields = requires(const T& value) { T::fields(value); };

template <HasFields T>
[[nodiscard]] bool operator==(const T& a, const T& b) {
  return T::fields(a) == T::fields(b);
}

// The last value of an enum, whose values are 0, 1, ...: a peer's may not be beyond.
template <class E>
inline constexpr E kLast = E::no_kLast_is_defined_for_this_enum;
template <>
inline constexpr Side kLast<Side> = Side::receiver;
template <>
inline constexpr CloseKind kLast<CloseKind> = CloseKind::backend;
template <>
inline constexpr ChannelKind kLast<ChannelKind> = ChannelKind::watch;

// --- about one connection ---

// Part of a frame that is larger than a frame may be. Only the codec sees it.
struct Piece {
  static constexpr auto kType = FrameType::piece;
  bool last = false;
  std::string_view data = {};  // of the buffer that the codec reads or writes
  static constexpr auto fields(auto& f) { return std::tie(f.last, f.data); }
};

// Each side sends one per heartbeat. An answer to my ping shows that the peer lived after I sent it.
struct Ping {
  static constexpr auto kType = FrameType::ping;
  std::uint64_t sent_us = 0;   // on the sender's clock
  std::uint64_t echo_us = 0;   // the newest sent_us that came from the peer; 0: none yet
  std::uint64_t received = 0;  // as in Ack
  static constexpr auto fields(auto& f) { return std::tie(f.sent_us, f.echo_us, f.received); }
};

// The peer need not keep numbered frames up to `received` for a retransmission.
struct Ack {
  static constexpr auto kType = FrameType::ack;
  std::uint64_t received = 0;
  static constexpr auto fields(auto& f) { return std::tie(f.received); }
};

// --- the handshake: HELLO, CHALLENGE, PROOF and WELCOME authenticate, ATTACH joins a connection to a client ---

struct Hello {
  static constexpr auto kType = FrameType::hello;
  std::uint32_t magic = 0;  // kMagic (limits.hpp)
  std::uint16_t version_min = 0;
  std::uint16_t version_max = 0;
  std::uint64_t features = 0;
  ChannelId channel = {};
  Nonce nonce = {};
  static constexpr auto fields(auto& f) {
    return std::tie(f.magic, f.version_min, f.version_max, f.features, f.channel, f.nonce);
  }
};

struct Challenge {
  static constexpr auto kType = FrameType::challenge;
  std::uint16_t version = 0;
  std::uint64_t features = 0;
  Nonce nonce = {};
  static constexpr auto fields(auto& f) { return std::tie(f.version, f.features, f.nonce); }
};

struct Proof {
  static constexpr auto kType = FrameType::proof;
  Mac mac = {};
  static constexpr auto fields(auto& f) { return std::tie(f.mac); }
};

struct Welcome {
  static constexpr auto kType = FrameType::welcome;
  Mac mac = {};
  static constexpr auto fields(auto& f) { return std::tie(f.mac); }
};

// This connection is that client's from now on; an earlier one of it is fenced off.
struct Attach {
  static constexpr auto kType = FrameType::attach;
  ClientId client = {};
  std::uint64_t connection = 0;  // 1, 2, 3, ... of this client: tells which of two connections is the newer
  std::uint64_t epoch = 0;       // the newest the client has seen; 0: none
  bool resume = false;           // it was attached in that epoch, and goes on where it was
  std::uint64_t received = 0;    // numbered frames it has of the broker
  static constexpr auto fields(auto& f) { return std::tie(f.client, f.connection, f.epoch, f.resume, f.received); }
};

struct Attached {
  static constexpr auto kType = FrameType::attached;
  std::uint64_t epoch = 0;
  bool resumed = false;        // both sides retransmit what the other lacks; else both streams begin anew
  bool restored = false;       // this epoch began with a checkpoint's messages
  std::uint64_t received = 0;  // numbered frames the broker has of the client
  ChannelKind kind = ChannelKind::mpmc;
  std::uint64_t capacity = 0;  // kUnbounded: none
  std::uint32_t heartbeat_ms = 0;
  std::uint32_t reconnect_grace_ms = 0;
  std::uint32_t offered_max = 0;        // messages of one session that may be offered and unanswered
  std::uint64_t offered_bytes_max = 0;  // bytes likewise; a single offer may be larger
  std::uint64_t message_bytes_max = 0;
  static constexpr auto fields(auto& f) {
    return std::tie(f.epoch, f.resumed, f.restored, f.received, f.kind, f.capacity, f.heartbeat_ms,
                    f.reconnect_grace_ms, f.offered_max, f.offered_bytes_max, f.message_bytes_max);
  }
};

// The broker has declared this client dead, or does not know it any more. It must come back under another id.
struct Expired {
  static constexpr auto kType = FrameType::expired;
  struct Sender {
    SessionId session = 0;
    Seq stored = 0;  // the last that was stored
    static constexpr auto fields(auto& f) { return std::tie(f.session, f.stored); }
  };
  std::vector<Sender> senders = {};  // those the broker remembers
  static constexpr auto fields(auto& f) { return std::tie(f.senders); }
};

struct Refused {
  static constexpr auto kType = FrameType::refused;
  enum class Why : std::uint8_t {
    deleted,  // the channel was deleted
    stale,    // the client has seen a later epoch: this broker should be gone
    limit,    // too many clients
    ticket,   // the ticket that the client came by is used, has lapsed, or was never known
  };
  Why why = Why::deleted;
  std::string text = {};
  static constexpr auto fields(auto& f) { return std::tie(f.why, f.text); }
};
template <>
inline constexpr Refused::Why kLast<Refused::Why> = Refused::Why::ticket;

// --- client to broker ---

// A handle exists, and counts from here on; but for one through which a plain call passes that nobody registered for.
struct Open {
  static constexpr auto kType = FrameType::open;
  SessionId session = 0;
  Side side = Side::sender;
  std::optional<Token> claim = std::nullopt;  // it was unpickled: takes the place of this hold, if that is still there
  bool counts = true;                         // false: it keeps its side open no more than a passer-by does
  Seq next = 1;           // a sender's next sequence number (more than 1 after the broker's restart)
  std::string name = {};  // a receiver's reader_id; for statistics
  std::string node = {};
  static constexpr auto fields(auto& f) {
    return std::tie(f.session, f.side, f.claim, f.counts, f.next, f.name, f.node);
  }
};

// A handle closed. A sender counts until its offers are stored or withdrawn. A receiver's unread messages go back to the
// queue; what it has consumed and not settled, it may still settle.
struct Close {
  static constexpr auto kType = FrameType::close;
  SessionId session = 0;
  std::optional<std::string> reason = std::nullopt;
  static constexpr auto fields(auto& f) { return std::tie(f.session, f.reason); }
};

// A handle was pickled: until it is claimed, or ten minutes have passed, the hold counts like a handle.
struct Hold {
  static constexpr auto kType = FrameType::hold;
  Token token = {};
  Side side = Side::sender;
  static constexpr auto fields(auto& f) { return std::tie(f.token, f.side); }
};

// Messages seq, seq + 1, ..., all of them or none.
struct Offer {
  static constexpr auto kType = FrameType::offer;
  SessionId session = 0;
  Seq seq = 0;
  bool nowait = false;  // store it now, or answer `full`
  Bytes message = {};
  std::vector<Bytes> more = {};  // the rest of a batch
  [[nodiscard]] std::size_t count() const noexcept { return 1 + more.size(); }
  [[nodiscard]] std::size_t payload_bytes() const noexcept {
    std::size_t bytes = message.size();
    for (const Bytes& one : more) bytes += one.size();
    return bytes;
  }
  static constexpr auto fields(auto& f) { return std::tie(f.session, f.seq, f.nowait, f.message, f.more); }
};

// The offer that begins at seq is not wanted any more. Answered `withdrawn`, or by what has become of it already.
struct Withdraw {
  static constexpr auto kType = FrameType::withdraw;
  SessionId session = 0;
  Seq seq = 0;
  static constexpr auto fields(auto& f) { return std::tie(f.session, f.seq); }
};

// This session takes deliveries up to number `limit`, counted from its OPEN.
struct Demand {
  static constexpr auto kType = FrameType::demand;
  SessionId session = 0;
  std::uint64_t limit = 0;
  std::uint32_t waiting = 0;  // messages that receives wait for; the rest of the demand is prefetching
  std::uint32_t spare = 0;    // unread messages that no receive is waiting for: they could be recalled
  static constexpr auto fields(auto& f) { return std::tie(f.session, f.limit, f.waiting, f.spare); }
};

// As Demand, with a limit that may be lower; answered DEMAND_IS. So also a question: is there anything for me?
struct DemandShrink {
  static constexpr auto kType = FrameType::demand_shrink;
  SessionId session = 0;
  std::uint64_t limit = 0;
  std::uint32_t waiting = 0;
  std::uint32_t spare = 0;
  static constexpr auto fields(auto& f) { return std::tie(f.session, f.limit, f.waiting, f.spare); }
};

// Receives returned these to their callers: their slots are free. Settled: and they are done with.
struct Consumed {
  static constexpr auto kType = FrameType::consumed;
  SessionId session = 0;
  bool settled = true;
  std::vector<Attempt> attempts = {};
  static constexpr auto fields(auto& f) { return std::tie(f.session, f.settled, f.attempts); }
};

// The end of attempts that were consumed without being settled. Stale ones are ignored.
struct Settle {
  static constexpr auto kType = FrameType::settle;
  SessionId session = 0;
  bool requeue = false;  // hand them out again, after delay_ms
  std::uint32_t delay_ms = 0;
  std::vector<Attempt> attempts = {};
  static constexpr auto fields(auto& f) { return std::tie(f.session, f.requeue, f.delay_ms, f.attempts); }
};

// Unread deliveries go back, as if they had never been handed out. Also the answer to RECALL, even if there are none.
struct Release {
  static constexpr auto kType = FrameType::release;
  SessionId session = 0;
  bool answer = false;  // to a RECALL
  std::vector<Attempt> attempts = {};
  static constexpr auto fields(auto& f) { return std::tie(f.session, f.answer, f.attempts); }
};

// Reserved for credits, which this version does not grant: see Credit.
struct ReturnCredit {
  static constexpr auto kType = FrameType::return_credit;
  SessionId session = 0;
  Seq limit = 0;
  static constexpr auto fields(auto& f) { return std::tie(f.session, f.limit); }
};

// No more sends, from anywhere. Receivers drain what is stored; immediate: that is dropped. The first reason is kept.
// Answered IS_SHUT_DOWN, unless that was said before.
struct Shutdown {
  static constexpr auto kType = FrameType::shutdown;
  bool immediate = false;
  std::optional<std::string> reason = std::nullopt;
  static constexpr auto fields(auto& f) { return std::tie(f.immediate, f.reason); }
};

// An offer without a message: it waits in line like one, for a slot that is held until FILL or UNRESERVE. Its number is the
// permit's name. On a rendezvous a slot is a receive that waits. Withdrawn like an offer.
struct Reserve {
  static constexpr auto kType = FrameType::reserve;
  SessionId session = 0;
  Seq seq = 0;
  bool nowait = false;
  static constexpr auto fields(auto& f) { return std::tie(f.session, f.seq, f.nowait); }
};

// The message for a slot that is held. Also after CLOSE: until its permits are over, a sender counts.
struct Fill {
  static constexpr auto kType = FrameType::fill;
  SessionId session = 0;
  Seq seq = 0;
  Bytes message = {};
  [[nodiscard]] std::size_t payload_bytes() const noexcept { return message.size(); }
  static constexpr auto fields(auto& f) { return std::tie(f.session, f.seq, f.message); }
};

// A slot that was held is free again. Likewise.
struct Unreserve {
  static constexpr auto kType = FrameType::unreserve;
  SessionId session = 0;
  Seq seq = 0;
  static constexpr auto fields(auto& f) { return std::tie(f.session, f.seq); }
};

// --- broker to client ---

// The answer to OPEN. Refused: that side of the channel has closed; the handle is a closed one.
struct Opened {
  static constexpr auto kType = FrameType::opened;
  SessionId session = 0;
  bool accepted = true;
  CloseKind kind = CloseKind::ended;
  std::optional<std::string> reason = std::nullopt;
  static constexpr auto fields(auto& f) { return std::tie(f.session, f.accepted, f.kind, f.reason); }
};

// Every offer of this sender up to seq is stored, unless ANSWER said otherwise.
struct Stored {
  static constexpr auto kType = FrameType::stored;
  SessionId session = 0;
  Seq seq = 0;
  static constexpr auto fields(auto& f) { return std::tie(f.session, f.seq); }
};

// What became of the offer that began at seq, if it was not stored.
struct Answer {
  static constexpr auto kType = FrameType::answer;
  enum class Outcome : std::uint8_t {
    withdrawn,
    full,     // to a nowait
    taken,    // capacity 0: a receiver has consumed it
    refused,  // the channel is shut down, a oneshot's receivers are gone, or a broadcast has none: that was said before
    reserved,      // to a RESERVE: a slot is held
    filled,        // to a FILL: it is stored, or dropped, if nobody may receive it any more
    already_sent,  // a oneshot's value was offered before, by whomever
  };
  SessionId session = 0;
  Seq seq = 0;
  Outcome outcome = Outcome::withdrawn;
  static constexpr auto fields(auto& f) { return std::tie(f.session, f.seq, f.outcome); }
};
template <>
inline constexpr Answer::Outcome kLast<Answer::Outcome> = Answer::Outcome::already_sent;

struct Delivery {
  Attempt attempt = 0;
  std::uint32_t redeliveries = 0;  // how often it may have been handed out before
  Bytes message = {};
  static constexpr auto fields(auto& f) { return std::tie(f.attempt, f.redeliveries, f.message); }
};

struct Deliver {
  static constexpr auto kType = FrameType::deliver;
  SessionId session = 0;
  Delivery delivery = {};
  std::vector<Delivery> more = {};
  [[nodiscard]] std::size_t count() const noexcept { return 1 + more.size(); }
  [[nodiscard]] std::size_t payload_bytes() const noexcept {
    std::size_t bytes = delivery.message.size();
    for (const Delivery& one : more) bytes += one.message.size();
    return bytes;
  }
  static constexpr auto fields(auto& f) { return std::tie(f.session, f.delivery, f.more); }
};

// Another receiver waits: release up to `count` spare messages, the newest first. Answered RELEASE.
struct Recall {
  static constexpr auto kType = FrameType::recall;
  SessionId session = 0;
  std::uint32_t count = 0;
  static constexpr auto fields(auto& f) { return std::tie(f.session, f.count); }
};

// The answer to DEMAND_SHRINK: deliveries up to `limit` have been sent, or will be.
struct DemandIs {
  static constexpr auto kType = FrameType::demand_is;
  SessionId session = 0;
  std::uint64_t limit = 0;
  static constexpr auto fields(auto& f) { return std::tie(f.session, f.limit); }
};

// Nothing more will come to this receiver, unless it gives something back. It is void if that has happened after the first
// `received` numbered frames of its client.
struct End {
  static constexpr auto kType = FrameType::end;
  SessionId session = 0;
  std::uint64_t received = 0;
  CloseKind kind = CloseKind::ended;
  std::optional<std::string> reason = std::nullopt;
  static constexpr auto fields(auto& f) { return std::tie(f.session, f.received, f.kind, f.reason); }
};

// The other side of the channel is gone. A sender's unanswered offers are void; a receiver still drains until END.
// With kAllSessions: the channel is gone.
struct Closed {
  static constexpr auto kType = FrameType::closed;
  SessionId session = kAllSessions;
  CloseKind kind = CloseKind::ended;
  std::optional<std::string> reason = std::nullopt;
  static constexpr auto fields(auto& f) { return std::tie(f.session, f.kind, f.reason); }
};

// The broker was restored from a checkpoint that does not have this sender's messages first..last.
struct DataLoss {
  static constexpr auto kType = FrameType::data_loss;
  SessionId session = 0;
  Seq first = 0;
  Seq last = 0;
  static constexpr auto fields(auto& f) { return std::tie(f.session, f.first, f.last); }
};

// The channel takes no more sends. Every offer that is unanswered will be answered all the same. immediate: receivers have
// had their end, and give back what is unread. To every client, also to those that come later; a second time if a shutdown
// is hastened.
struct IsShutDown {
  static constexpr auto kType = FrameType::is_shut_down;
  bool immediate = false;
  std::optional<std::string> reason = std::nullopt;
  static constexpr auto fields(auto& f) { return std::tie(f.immediate, f.reason); }
};

// --- broker to client, of a broadcast ---

// In the place of a message: so many were dropped before this receiver had them. Counts as one delivery.
struct Missed {
  static constexpr auto kType = FrameType::missed;
  SessionId session = 0;
  std::uint64_t skipped = 0;
  static constexpr auto fields(auto& f) { return std::tie(f.session, f.skipped); }
};

// The answer to an OFFER that is stored: for so many receivers.
struct Sent {
  static constexpr auto kType = FrameType::sent;
  SessionId session = 0;
  Seq seq = 0;
  std::uint64_t receivers = 0;
  static constexpr auto fields(auto& f) { return std::tie(f.session, f.seq, f.receivers); }
};

// To a sender: whether there are any receivers, and if not, why. Unlike CLOSED it is not the end, and voids nothing.
struct Receivers {
  static constexpr auto kType = FrameType::receivers;
  SessionId session = 0;
  bool any = false;
  CloseKind kind = CloseKind::peer_gone;
  std::optional<std::string> reason = std::nullopt;
  static constexpr auto fields(auto& f) { return std::tie(f.session, f.any, f.kind, f.reason); }
};

// --- broker to client, of a watch ---

// The value, for all handles of this client. Acknowledged at once: until then no later one is sent, and changes collapse.
struct Latest {
  static constexpr auto kType = FrameType::latest;
  Version version = 0;
  Bytes message = {};
  [[nodiscard]] std::size_t payload_bytes() const noexcept { return message.size(); }
  static constexpr auto fields(auto& f) { return std::tie(f.version, f.message); }
};

// The answer to an OFFER that has become the value, of this version, with so many receivers. Its client has it: it gets no
// LATEST of it.
struct Changed {
  static constexpr auto kType = FrameType::changed;
  SessionId session = 0;
  Seq seq = 0;
  Version version = 0;
  std::uint64_t receivers = 0;
  static constexpr auto fields(auto& f) { return std::tie(f.session, f.seq, f.version, f.receivers); }
};

// --- reserved ---

// Reserved slots, to come: a sender with credit need not offer. This version never sends these three; to receive one is
// an error. They are here so that their numbers are taken.
struct Credit {
  static constexpr auto kType = FrameType::credit;
  SessionId session = 0;
  Seq limit = 0;
  static constexpr auto fields(auto& f) { return std::tie(f.session, f.limit); }
};
struct Revoke {
  static constexpr auto kType = FrameType::revoke;
  SessionId session = 0;
  Seq floor = 0;
  static constexpr auto fields(auto& f) { return std::tie(f.session, f.floor); }
};

using Frame = std::variant<Ping, Ack, Hello, Challenge, Proof, Welcome, Attach, Attached, Expired, Refused, Open, Close,
                           Hold, Offer, Withdraw, Demand, DemandShrink, Consumed, Settle, Release, ReturnCredit,
                           Shutdown, Reserve, Fill, Unreserve, Opened, Stored, Answer, Deliver, Recall, DemandIs, End,
                           Closed, DataLoss, Credit, Revoke, IsShutDown, Missed, Sent, Receivers, Latest, Changed>;
// A frame on its way: kept for retransmission and being written at the same time.
using FramePtr = std::shared_ptr<const Frame>;

template <class F>
[[nodiscard]] FramePtr make_frame(F&& frame) {
  return std::make_shared<const Frame>(std::forward<F>(frame));
}

[[nodiscard]] inline FrameType type_of(const Frame& frame) noexcept {
  return std::visit([](const auto& f) { return std::remove_cvref_t<decltype(f)>::kType; }, frame);
}
// What of it is messages; the rest is small.
[[nodiscard]] inline std::size_t payload_bytes(const Frame& frame) noexcept {
  return std::visit(
      [](const auto& f) -> std::size_t {
        if constexpr (requires { f.payload_bytes(); }) return f.payload_bytes();
        return 0;
      },
      frame);
}
[[nodiscard]] constexpr bool is_numbered(FrameType type) noexcept { return type >= FrameType::open; }

}  // namespace klaw::dataplane
