// The broker, fed with arbitrary frames by arbitrary clients over arbitrary connections.
//
// Whatever comes, it must keep its invariants, answer only connections that are there, and let go of all memory. Frames
// are drawn field by field, mostly small, so that they often mean something: a session that exists, the next number.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <dataplane/broker/broker.hpp>
#include <fuzzer/FuzzedDataProvider.h>

namespace {

using namespace klaw::dataplane;  // NOLINT(google-build-using-namespace)

constexpr int kConnectionsMax = 6;
constexpr int kClients = 3;
constexpr SessionId kSessions = 4;

[[noreturn]] void fail(const char* what) {
  std::cerr << "the broker broke: " << what << '\n';
  std::abort();
}

class Fuzz {
 public:
  Fuzz(const std::uint8_t* data, std::size_t size) : in_(data, size), broker_(settings(), Time()) {}

  void run() {
    while (in_.remaining_bytes() > 0) {
      step();
      look();
    }
    broker_.flush(now_);
    look();
  }

 private:
  BrokerSettings settings() {
    BrokerSettings s;
    constexpr std::uint64_t kCapacities[] = {0, 1, 2, 5, kUnbounded};
    s.capacity = in_.PickValueInArray(kCapacities);
    s.epoch = in_.ConsumeIntegralInRange<std::uint64_t>(1, 2);
    s.persistent = in_.ConsumeBool();
    s.offered_max = in_.ConsumeIntegralInRange<std::uint32_t>(1, 8);
    s.offered_bytes_max = in_.ConsumeIntegralInRange<std::uint64_t>(1, 64);
    s.message_bytes_max = 32;
    constexpr ChannelKind kKinds[] = {ChannelKind::mpmc, ChannelKind::oneshot, ChannelKind::broadcast,
                                      ChannelKind::watch};
    s.kind = in_.PickValueInArray(kKinds);
    if (s.kind == ChannelKind::broadcast) {
      s.capacity = std::max<std::uint64_t>(s.capacity, 1);
      s.waits_for_slowest = in_.ConsumeBool();
    } else if (s.kind != ChannelKind::mpmc) {
      s.capacity = 1;
    }
    return s;
  }

  void step() {
    switch (in_.ConsumeIntegralInRange(0, 11)) {
      case 0: return broker_.flush(now_);
      case 1: now_ += std::chrono::milliseconds(in_.ConsumeIntegralInRange(0, 5000)); return broker_.tick(now_);
      case 2: return broker_.disconnected(now_, some_connection());
      case 3: return broker_.client_died(now_, some_client(), "fuzz");
      case 4: return attach();
      case 5: return check_checkpoint();
      case 6:
        if (in_.ConsumeIntegralInRange(0, 30) == 0) broker_.remove(now_);
        return;
      default: return broker_.received(now_, some_connection(), some_frame());
    }
  }

  void attach() {
    const ConnectionId connection = ++last_connection_;
    open_.insert(connection);
    broker_.received(now_, connection,
                     Attach{.client = some_client(),
                            .connection = in_.ConsumeBool() ? last_connection_ : small(),
                            .epoch = in_.ConsumeIntegralInRange<std::uint64_t>(0, 3),
                            .resume = in_.ConsumeBool(),
                            .received = small()});
  }

  // A checkpoint taken now fits a fresh broker.
  void check_checkpoint() {
    const std::string bytes = encode(broker_.checkpoint(true));
    const auto decoded = decode_checkpoint(bytes);
    if (!decoded || encode(*decoded) != bytes) fail("a checkpoint's bytes are another's");
    const Checkpoint& checkpoint = *decoded;
    BrokerSettings next;
    next.capacity = in_.ConsumeBool() ? 3 : kUnbounded;
    next.epoch = 3;
    next.kind = broker_.kind();
    Broker other(next, now_);
    if (!other.restore(now_, checkpoint)) fail("a fresh broker refuses a checkpoint");
    other.check_invariants();
    // Where no receiver can come any more, or none may have them, they are dropped.
    const bool is_watch = broker_.kind() == ChannelKind::watch;  // whose value stays
    const bool drops = !is_watch && (checkpoint.receiving.is_closed || checkpoint.shutdown.immediate);
    const std::size_t kept = drops ? 0 : checkpoint.messages.size();
    const std::size_t found = is_watch ? other.peek(1).size() : other.messages().size();
    if (found != kept) fail("a checkpoint's messages are not all there");
  }

  // Its actions name only connections that are open, and it keeps its invariants.
  void look() {
    for (const BrokerAction& action : broker_.take_actions()) {
      if (const auto* const send = std::get_if<broker_action::Send>(&action)) {
        if (!open_.contains(send->connection)) fail("it sends over a connection that is closed");
        learn(*send->frame);
      } else if (const auto* const disconnect = std::get_if<broker_action::Disconnect>(&action)) {
        open_.erase(disconnect->connection);
      }
    }
    broker_.check_invariants();
    if (broker_.next_deadline() <= now_ && broker_.next_deadline() != Time()) broker_.tick(now_);
  }

  void learn(const Frame& frame) {
    const auto* const deliver = std::get_if<Deliver>(&frame);
    if (deliver == nullptr) return;
    attempts_.push_back(deliver->delivery.attempt);
    for (const Delivery& delivery : deliver->more) attempts_.push_back(delivery.attempt);
  }

  ClientId some_client() {
    ClientId id;
    id.bytes[0] = in_.ConsumeIntegralInRange<std::uint8_t>(1, kClients);
    return id;
  }
  ConnectionId some_connection() {
    if (last_connection_ == 0) return 0;
    const ConnectionId oldest = last_connection_ > kConnectionsMax ? last_connection_ - kConnectionsMax : 1;
    const ConnectionId connection = in_.ConsumeIntegralInRange<ConnectionId>(oldest, last_connection_);
    // What a driver has closed, it does not feed any more; but for a last frame that was on its way.
    return connection;
  }
  std::uint64_t small() {
    return in_.ConsumeIntegralInRange(0, 20) == 0 ? in_.ConsumeIntegral<std::uint64_t>()
                                                  : in_.ConsumeIntegralInRange<std::uint64_t>(0, 8);
  }
  SessionId session() { return in_.ConsumeIntegralInRange<SessionId>(0, kSessions); }
  Bytes bytes() { return Bytes(in_.ConsumeRandomLengthString(8)); }
  std::vector<Attempt> attempts() {
    std::vector<Attempt> some;
    for (int left = in_.ConsumeIntegralInRange(0, 3); left > 0; --left) {
      const bool is_known = !attempts_.empty() && in_.ConsumeIntegralInRange(0, 7) != 0;
      some.push_back(is_known ? attempts_[in_.ConsumeIntegralInRange<std::size_t>(0, attempts_.size() - 1)] : small());
    }
    return some;
  }
  std::optional<std::string> text() {
    return in_.ConsumeBool() ? std::optional(in_.ConsumeRandomLengthString(4)) : std::nullopt;
  }
  Token token() {
    Token token;
    token.bytes[0] = in_.ConsumeIntegralInRange<std::uint8_t>(0, 3);
    return token;
  }
  Side side() { return in_.ConsumeBool() ? Side::sender : Side::receiver; }
  std::uint32_t count() { return in_.ConsumeIntegralInRange<std::uint32_t>(0, 5); }

  Offer offer() {
    Offer frame{.session = session(), .seq = small(), .nowait = in_.ConsumeBool(), .message = bytes()};
    for (int more = in_.ConsumeIntegralInRange(0, 3); more > 0; --more) frame.more.push_back(bytes());
    return frame;
  }

  // By a token; or, since the token 0 is nobody's, of one who passes by.
  Open open() {
    Open frame{.session = session(), .side = side(), .claim = token(), .next = 1};
    if (*frame.claim == Token()) {
      frame.claim.reset();
      frame.counts = false;
    }
    return frame;
  }

  Frame some_frame() {
    switch (in_.ConsumeIntegralInRange(0, 18)) {
      case 0: return Open{.session = session(), .side = side(), .next = small()};
      case 1: return open();
      case 2: return Close{.session = session(), .reason = text()};
      case 3: return Hold{.token = token(), .side = side()};
      case 4:
      case 5: return offer();
      case 6: return Withdraw{.session = session(), .seq = small()};
      case 7:
      case 8: return Demand{.session = session(), .limit = small(), .waiting = count(), .spare = count()};
      case 9: return DemandShrink{.session = session(), .limit = small(), .waiting = count(), .spare = count()};
      case 10: return Consumed{.session = session(), .settled = in_.ConsumeBool(), .attempts = attempts()};
      case 11:
        return Settle{
            .session = session(), .requeue = in_.ConsumeBool(), .delay_ms = 100 * count(), .attempts = attempts()};
      case 12: return Release{.session = session(), .answer = in_.ConsumeBool(), .attempts = attempts()};
      case 13: return Shutdown{.immediate = in_.ConsumeBool(), .reason = text()};
      case 14: return Reserve{.session = session(), .seq = small(), .nowait = in_.ConsumeBool()};
      case 15: return Fill{.session = session(), .seq = small(), .message = bytes()};
      case 16: return Unreserve{.session = session(), .seq = small()};
      case 17: return Ping{.sent_us = small(), .echo_us = small(), .received = small()};
      default: return in_.ConsumeBool() ? Frame(Ack{.received = small()}) : Frame(Stored{.session = session()});
    }
  }

  FuzzedDataProvider in_;
  Time now_;
  Broker broker_;
  ConnectionId last_connection_ = 0;
  std::set<ConnectionId> open_;
  std::vector<Attempt> attempts_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    Fuzz(data, size).run();
  } catch (const std::exception& e) {
    fail(e.what());
  }
  return 0;
}
