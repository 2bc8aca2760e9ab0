// The data plane by hand: a clock that a test sets, a Broker whose clients are frames that the test writes, a Link whose
// broker the test plays, and a World that wires a Broker with several Links.
//
// What one side tells the other is compared as text, in a notation of its own:
//
//   OFFER 1:4 a b      session 1, sequence number 4, the payloads        DELIVER 1 a#7 b#8+1   #7: attempt 7 of epoch 1
//   STORED 1:4         ANSWER 1:4 full                                                         +1: handed out once before
//   SENT 1:4 to=2      RECEIVERS 1 none peer_gone: why                   MISSED 1 skipped=3
//   DEMAND 1 to=2 waiting=1 spare=1                                      OPENED 1 refused peer_gone: why
//
// After each event the invariants of whoever had it are checked.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <dataplane/broker/broker.hpp>
#include <dataplane/link/link.hpp>
#include <dataplane/wire/codec.hpp>
#include <klaw/channels/detail/operation.hpp>
#include <klaw/errors.hpp>

namespace klaw::dataplane::test {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

using Texts = std::vector<std::string>;

template <class Id>
[[nodiscard]] Id id_of(std::uint8_t number) {
  Id id;
  id.bytes[0] = number;
  return id;
}
[[nodiscard]] constexpr Attempt attempt(std::uint64_t number, std::uint64_t epoch = 1) {
  return (epoch << kAttemptEpochShift) + number;
}

// --- frames as text ---

namespace notation {

inline std::string number(Attempt a) {
  const std::uint64_t epoch = a >> kAttemptEpochShift;
  std::string text = "#" + std::to_string(a - (epoch << kAttemptEpochShift));
  return epoch == 1 ? text : text + "@" + std::to_string(epoch);
}
inline std::string numbers(const std::vector<Attempt>& attempts) {
  std::string text;
  for (const Attempt a : attempts) text += " " + number(a);
  return text;
}
inline std::string because(CloseKind kind, const std::optional<std::string>& reason) {
  return " " + std::string(to_string(kind)) + (reason ? ": " + *reason : "");
}
inline std::string place(SessionId session, Seq seq) {
  return " " + std::to_string(session) + ":" + std::to_string(seq);
}
inline std::string delivered(const Delivery& d) {
  std::string text = " " + std::string(d.message.view()) + number(d.attempt);
  return d.redeliveries == 0 ? text : text + "+" + std::to_string(d.redeliveries);
}
inline std::string wanted(const auto& f) {
  std::string text =
      " " + std::to_string(f.session) + " to=" + std::to_string(f.limit) + " waiting=" + std::to_string(f.waiting);
  return f.spare == 0 ? text : text + " spare=" + std::to_string(f.spare);
}

inline std::string shut_down(const auto& f) {
  return std::string(f.immediate ? " at once" : "") + (f.reason ? ": " + *f.reason : "");
}

struct Body {
  std::string operator()(const Attach& f) const {
    return " epoch=" + std::to_string(f.epoch) + (f.resume ? " resume" : "") +
           " received=" + std::to_string(f.received);
  }
  std::string operator()(const Attached& f) const {
    return " epoch=" + std::to_string(f.epoch) + (f.resumed ? " resumed" : "") + (f.restored ? " restored" : "") +
           " received=" + std::to_string(f.received);
  }
  std::string operator()(const Expired& f) const {
    std::string text;
    for (const auto& sender : f.senders) text += place(sender.session, sender.stored);
    return text;
  }
  std::string operator()(const Refused& f) const {
    static constexpr const char* kWhy[] = {" deleted", " stale", " limit", " ticket: "};
    return kWhy[std::to_underlying(f.why)] + (f.why == Refused::Why::ticket ? f.text : "");
  }
  std::string operator()(const Ack& f) const { return " " + std::to_string(f.received); }
  std::string operator()(const Open& f) const {
    return " " + std::to_string(f.session) + (f.side == Side::sender ? " sender" : " receiver") +
           (f.claim ? " claim" : "") + (f.counts ? "" : " passing") +
           (f.next == 1 ? "" : " next=" + std::to_string(f.next));
  }
  std::string operator()(const Close& f) const {
    return " " + std::to_string(f.session) + (f.reason ? ": " + *f.reason : "");
  }
  std::string operator()(const Hold& f) const { return f.side == Side::sender ? " sender" : " receiver"; }
  std::string operator()(const Offer& f) const {
    std::string text = place(f.session, f.seq) + (f.nowait ? " try " : " ") + std::string(f.message.view());
    for (const Bytes& message : f.more) text += " " + std::string(message.view());
    return text;
  }
  std::string operator()(const Withdraw& f) const { return place(f.session, f.seq); }
  std::string operator()(const Demand& f) const { return wanted(f); }
  std::string operator()(const DemandShrink& f) const { return wanted(f); }
  std::string operator()(const Consumed& f) const {
    return " " + std::to_string(f.session) + (f.settled ? "" : " unsettled") + numbers(f.attempts);
  }
  std::string operator()(const Settle& f) const {
    return " " + std::to_string(f.session) + (f.requeue ? " requeue" : " ok") +
           (f.delay_ms == 0 ? "" : " delay=" + std::to_string(f.delay_ms)) + numbers(f.attempts);
  }
  std::string operator()(const Release& f) const {
    return " " + std::to_string(f.session) + (f.answer ? " answer" : "") + numbers(f.attempts);
  }
  std::string operator()(const Reserve& f) const { return place(f.session, f.seq) + (f.nowait ? " try" : ""); }
  std::string operator()(const Fill& f) const { return place(f.session, f.seq) + " " + std::string(f.message.view()); }
  std::string operator()(const Unreserve& f) const { return place(f.session, f.seq); }
  std::string operator()(const Shutdown& f) const { return shut_down(f); }
  std::string operator()(const IsShutDown& f) const { return shut_down(f); }
  std::string operator()(const Opened& f) const {
    return " " + std::to_string(f.session) + (f.accepted ? "" : " refused" + because(f.kind, f.reason));
  }
  std::string operator()(const Stored& f) const { return place(f.session, f.seq); }
  std::string operator()(const Answer& f) const {
    static constexpr const char* kOutcomes[] = {" withdrawn", " full",   " taken",       " refused",
                                                " reserved",  " filled", " already_sent"};
    return place(f.session, f.seq) + kOutcomes[std::to_underlying(f.outcome)];
  }
  std::string operator()(const Deliver& f) const {
    std::string text = " " + std::to_string(f.session) + delivered(f.delivery);
    for (const Delivery& delivery : f.more) text += delivered(delivery);
    return text;
  }
  std::string operator()(const Recall& f) const {
    return " " + std::to_string(f.session) + " count=" + std::to_string(f.count);
  }
  std::string operator()(const DemandIs& f) const {
    return " " + std::to_string(f.session) + " to=" + std::to_string(f.limit);
  }
  std::string operator()(const End& f) const { return " " + std::to_string(f.session) + because(f.kind, f.reason); }
  std::string operator()(const Closed& f) const {
    return (f.session == kAllSessions ? " all" : " " + std::to_string(f.session)) + because(f.kind, f.reason);
  }
  std::string operator()(const DataLoss& f) const { return place(f.session, f.first) + "-" + std::to_string(f.last); }
  std::string operator()(const Missed& f) const {
    return " " + std::to_string(f.session) + " skipped=" + std::to_string(f.skipped);
  }
  std::string operator()(const Sent& f) const { return place(f.session, f.seq) + " to=" + std::to_string(f.receivers); }
  std::string operator()(const Latest& f) const {
    return " " + number(f.version) + " " + std::string(f.message.view());
  }
  std::string operator()(const Changed& f) const {
    return place(f.session, f.seq) + " " + number(f.version) + " to=" + std::to_string(f.receivers);
  }
  std::string operator()(const Receivers& f) const {
    return " " + std::to_string(f.session) + (f.any ? " some" : " none" + because(f.kind, f.reason));
  }
  template <class F>
  std::string operator()(const F& /*other*/) const {
    return "";
  }
};

}  // namespace notation

[[nodiscard]] inline std::string text(const Frame& frame) {
  return std::string(name(type_of(frame))) + std::visit(notation::Body(), frame);
}
[[nodiscard]] inline std::string text(const ChannelClosed& error) {
  std::string text = "closed" + notation::because(error.kind, error.reason);
  return error.backend_error ? text + ": " + error.backend_error->message : text;
}

// --- a broker whose clients are frames ---

class BrokerByHand;

// A client that says what its test tells it to, and notes what it is told.
class Peer {
 public:
  Peer(BrokerByHand& broker, std::uint8_t number) : id(id_of<ClientId>(number)), broker_(broker) {}
  Peer(const Peer&) = delete;

  // Makes a new connection, and says nothing yet.
  void connect();
  // Over a new connection, as a client that has (resume) or has no streams in that epoch.
  void attach(bool resume = false, std::uint64_t epoch = 0);
  // Over the newest connection.
  void say(Frame frame);
  // Its newest connection is lost.
  void cut();

  void open_sender(SessionId session, Seq next = 1) {
    say(Open{.session = session, .side = Side::sender, .next = next});
  }
  void open_receiver(SessionId session) { say(Open{.session = session, .side = Side::receiver}); }
  void close(SessionId session, std::optional<std::string> reason = std::nullopt) {
    say(Close{.session = session, .reason = std::move(reason)});
  }
  void offer(SessionId session, Seq seq, std::initializer_list<const char*> messages, bool nowait = false) {
    Offer frame{.session = session, .seq = seq, .nowait = nowait, .message = Bytes(*messages.begin())};
    for (const char* const* more = messages.begin() + 1; more != messages.end(); ++more) frame.more.emplace_back(*more);
    say(std::move(frame));
  }
  void try_offer(SessionId session, Seq seq, const char* message) { offer(session, seq, {message}, true); }
  void withdraw(SessionId session, Seq seq) { say(Withdraw{.session = session, .seq = seq}); }
  // `waiting` of them are what receives wait for; the rest is prefetching.
  void demand(SessionId session, std::uint64_t limit, std::uint32_t waiting, std::uint32_t spare = 0) {
    say(Demand{.session = session, .limit = limit, .waiting = waiting, .spare = spare});
  }
  void shrink(SessionId session, std::uint64_t limit, std::uint32_t waiting = 0, std::uint32_t spare = 0) {
    say(DemandShrink{.session = session, .limit = limit, .waiting = waiting, .spare = spare});
  }
  void consume(SessionId session, std::vector<Attempt> attempts, bool settled = true) {
    say(Consumed{.session = session, .settled = settled, .attempts = std::move(attempts)});
  }
  void settle(SessionId session, std::vector<Attempt> attempts) {
    say(Settle{.session = session, .attempts = std::move(attempts)});
  }
  void requeue(SessionId session, std::vector<Attempt> attempts, std::uint32_t delay_ms = 0) {
    say(Settle{.session = session, .requeue = true, .delay_ms = delay_ms, .attempts = std::move(attempts)});
  }
  void release(SessionId session, std::vector<Attempt> attempts, bool answer = false) {
    say(Release{.session = session, .answer = answer, .attempts = std::move(attempts)});
  }
  void hold(std::uint8_t token, Side side) { say(Hold{.token = id_of<Token>(token), .side = side}); }
  void claim(SessionId session, std::uint8_t token, Side side) {
    say(Open{.session = session, .side = side, .claim = id_of<Token>(token)});
  }
  void reserve(SessionId session, Seq seq, bool nowait = false) {
    say(Reserve{.session = session, .seq = seq, .nowait = nowait});
  }
  void fill(SessionId session, Seq seq, const char* message) {
    say(Fill{.session = session, .seq = seq, .message = Bytes(message)});
  }
  void unreserve(SessionId session, Seq seq) { say(Unreserve{.session = session, .seq = seq}); }
  void shut_down(bool immediate = false, std::optional<std::string> reason = std::nullopt) {
    say(Shutdown{.immediate = immediate, .reason = std::move(reason)});
  }
  void ack() { say(Ack{.received = received}); }
  void ping() { say(Ping{.sent_us = 1, .received = received}); }

  // What it was told since the last call, over whichever connection.
  [[nodiscard]] Texts heard() {
    Texts texts;
    for (const FramePtr& frame : std::exchange(inbox, {})) texts.push_back(text(*frame));
    return texts;
  }

  const ClientId id;
  std::optional<Token> ticket;  // that it comes by
  ConnectionId connection = 0;  // the newest
  std::uint64_t connection_number = 0;
  std::uint64_t received = 0;  // numbered frames
  std::deque<FramePtr> inbox;
  std::string closed_because;  // the broker closed the newest connection

 private:
  BrokerByHand& broker_;
};

class BrokerByHand {
 public:
  explicit BrokerByHand(const BrokerSettings& settings = {}) : state_(settings, now) {}

  // Attached, and told so. Number them from 1.
  Peer& client(std::uint8_t number) {
    Peer& peer = unattached(number);
    peer.attach();
    (void)peer.heard();
    return peer;
  }
  Peer& unattached(std::uint8_t number) { return *peers_.emplace_back(std::make_unique<Peer>(*this, number)); }
  // With an open sender, or receiver, whose session is 1.
  Peer& sender(std::uint8_t number) {
    Peer& peer = client(number);
    peer.open_sender(1);
    (void)peer.heard();
    return peer;
  }
  Peer& receiver(std::uint8_t number) {
    Peer& peer = client(number);
    peer.open_receiver(1);
    (void)peer.heard();
    return peer;
  }

  // event(Broker&), and what follows from it.
  void event(const std::function<void(Broker&)>& what) {
    what(state_);
    state_.check_invariants();
    if (!is_batch_) state_.flush(now);
    for (BrokerAction& action : state_.take_actions()) carry_out(action);
    state_.check_invariants();
  }
  // Events between which the driver does not flush.
  void batch(const std::function<void()>& events) {
    is_batch_ = true;
    events();
    is_batch_ = false;
    event([](Broker&) {});
  }
  // Time passes, with a tick at each deadline; clients say nothing meanwhile.
  void pass(Duration d) {
    const Time until = now + d;
    while (now < until) {
      now = std::clamp(state_.next_deadline(), now + microseconds(1), until);
      event([this](Broker& b) { b.tick(now); });
    }
  }
  // Likewise, while these clients send their heartbeats.
  void pass(Duration d, std::initializer_list<Peer*> living) {
    for (const Time until = now + d; now < until;) {
      pass(std::min<Duration>(until - now, milliseconds(500)));
      for (Peer* const peer : living) {
        peer->ping();
        std::erase_if(peer->inbox, [](const FramePtr& f) { return type_of(*f) == FrameType::ping; });
      }
    }
  }
  void died(const Peer& peer, const std::string& why = "killed") {
    event([&](Broker& b) { b.client_died(now, peer.id, why); });
  }
  void abandoned(std::uint8_t token) {
    event([&](Broker& b) { b.abandoned(now, id_of<Token>(token)); });
  }
  void remove() {
    event([this](Broker& b) { b.remove(now); });
  }
  [[nodiscard]] bool restore(const Checkpoint& checkpoint) {
    bool is_restored = false;
    event([&](Broker& b) { is_restored = b.restore(now, checkpoint); });
    return is_restored;
  }

  [[nodiscard]] channels::ChannelStats stats() const { return state_.stats(now); }
  [[nodiscard]] const Broker& state() const { return state_; }
  // "a ready", "b unread", ... as they would be received; then what is out.
  [[nodiscard]] Texts places() const {
    static constexpr const char* kPlaces[] = {" offered", " ready", " unread", " unsettled", " delayed", " lane"};
    Texts texts;
    for (const MessageView& view : state_.messages()) {
      texts.push_back(std::string(view.message->view()) + kPlaces[std::to_underlying(view.place)]);
    }
    return texts;
  }

  Time now{seconds(100)};
  Texts log;
  bool has_ended = false;

 private:
  friend class Peer;

  void carry_out(BrokerAction& action) {
    if (const auto* const send = std::get_if<broker_action::Send>(&action)) {
      const auto found = connections_.find(send->connection);
      if (found == connections_.end()) return;
      if (is_numbered(type_of(*send->frame))) ++found->second->received;
      found->second->inbox.push_back(send->frame);
    } else if (auto* const end = std::get_if<broker_action::Disconnect>(&action)) {
      const auto found = connections_.find(end->connection);
      if (found == connections_.end()) return;
      if (found->second->connection == end->connection) found->second->closed_because = end->why;
      connections_.erase(found);
    } else if (auto* const line = std::get_if<broker_action::Log>(&action)) {
      log.push_back(std::move(line->text));
    } else {
      has_ended = true;
    }
  }

  Broker state_;
  std::deque<std::unique_ptr<Peer>> peers_;
  std::map<ConnectionId, Peer*> connections_;
  ConnectionId last_connection_ = 0;
  bool is_batch_ = false;
};

inline void Peer::connect() {
  connection = ++broker_.last_connection_;
  broker_.connections_[connection] = this;
  closed_because.clear();
}
inline void Peer::attach(bool resume, std::uint64_t epoch) {
  connect();
  say(Attach{.client = id,
             .connection = ++connection_number,
             .epoch = epoch,
             .resume = resume,
             .received = resume ? received : 0});
}
inline void Peer::say(Frame frame) {
  broker_.event([&](Broker& b) { b.received(broker_.now, connection, std::move(frame), ticket); });
}
inline void Peer::cut() {
  broker_.connections_.erase(connection);
  broker_.event([&](Broker& b) { b.disconnected(broker_.now, connection); });
}

// --- a link, and what waits on it ---

class Process;

// One operation of a process. It is cancelled when its test is over.
class Pending : public Operation {
 public:
  // What it has come to: "pending", or how it ended.
  [[nodiscard]] std::string result();
  void give_up();

 protected:
  explicit Pending(Process& process)
      : Operation([](Operation& op) noexcept { static_cast<Pending&>(op).is_fired_ = true; }), process_(process) {}
  ~Pending() = default;

  void started(Status status) {
    status_ = status;
    if (status == Status::pending && !arm()) is_fired_ = true;
  }

  Process& process_;

 private:
  virtual Status finish() = 0;
  virtual void abandon() = 0;
  [[nodiscard]] virtual std::string ended(Status status) const = 0;

  Status status_ = Status::pending;
  bool is_fired_ = false;
  bool is_cancelled_ = false;
};

class Send final : public Pending {
 public:
  Send(Process& process, const Registration& handle, const std::vector<Bytes>& messages, Time deadline);
  // Of a slot.
  Send(Process& process, const Registration& handle, Time deadline);
  [[nodiscard]] Permit permit() const { return Link::permit_of(op_); }

 private:
  Status finish() override;
  void abandon() override;
  [[nodiscard]] std::string ended(Status status) const override;

  std::vector<Message> messages_;
  SendOperation op_;
};

struct RecvOptions {
  Time deadline = kNever;
  std::size_t batch = 0;  // 0: one message, not a batch
  bool acknowledges = false;
  bool confirms = false;
};

class Recv final : public Pending {
 public:
  Recv(Process& process, const Registration& handle, const RecvOptions& options);
  // "a", "a+1": handed out once before; a batch: "a b".
  [[nodiscard]] Attempt attempt() const { return op_.value->attempt; }

 private:
  Status finish() override;
  void abandon() override;
  [[nodiscard]] std::string ended(Status status) const override;

  std::vector<Message> many_;
  RecvOperation op_;
};

class Wait final : public Pending {
 public:
  enum class For : std::uint8_t { opened, closed, flushed };
  Wait(Process& process, For what, Side side, const Registration& handle);
  // For the channel to be shut down.
  Wait(Process& process, const Registration& handle, bool immediate, std::optional<std::string> reason);
  // For the broker to have a HOLD.
  Wait(Process& process, Side side, const Registration& handle, const Token& token);

 private:
  Status finish() override;
  void abandon() override;
  [[nodiscard]] std::string ended(Status status) const override;

  HandleOperation op_;
};

// A Link, its driver's outbox, and the operations of its test.
class Process {
 public:
  Process(const Time& now, std::uint8_t number, std::uint32_t prefetch = 0, ChannelKind kind = ChannelKind::mpmc)
      : now_(now),
        link(LinkSettings{.new_client_id =
                              [this, number] {
                                ClientId id = id_of<ClientId>(number);
                                id.bytes[1] = lives++;
                                return id;
                              },
                          .kind = kind,
                          .about = {.message = {}, .backend = "test", .actor_name = {}, .ns = {}},
                          .prefetch = prefetch},
             now) {}
  Process(const Process&) = delete;
  ~Process() {
    for (const auto& op : ops_) op->give_up();
  }

  [[nodiscard]] Registration open(Side side, std::optional<Token> claim = std::nullopt) {
    const Registration handle = link.open(now_, side, claim);
    turn();
    return handle;
  }
  std::optional<ChannelClosed> close(Side side, Registration& handle,
                                     std::optional<std::string> reason = std::nullopt) {
    auto untold = link.close(now_, side, handle, std::move(reason));
    turn();
    return untold;
  }
  Send& send(const Registration& handle, std::initializer_list<const char*> messages, Time deadline = kNever) {
    return send(handle, std::vector<Bytes>(messages.begin(), messages.end()), deadline);
  }
  Send& send(const Registration& handle, const std::vector<Bytes>& messages, Time deadline = kNever) {
    return start<Send>(handle, messages, deadline);
  }
  Send& reserve(const Registration& handle, Time deadline = kNever) { return start<Send>(handle, deadline); }
  // "sent", or what is wrong.
  [[nodiscard]] std::string fill(const Permit& permit, const std::string& message) {
    const auto error = link.send_reserved(now_, permit, Bytes(message));
    turn();
    return error ? text(*error) : "sent";
  }
  Send& try_send(const Registration& handle, const char* message) { return send(handle, {message}, now_); }
  Recv& recv(const Registration& handle, const RecvOptions& options = {}) { return start<Recv>(handle, options); }
  Recv& try_recv(const Registration& handle) { return recv(handle, {.deadline = now_}); }
  Wait& wait(Wait::For what, Side side, const Registration& handle) { return start<Wait>(what, side, handle); }
  Wait& shut_down(const Registration& handle, bool immediate = false,
                  const std::optional<std::string>& reason = std::nullopt) {
    return start<Wait>(handle, immediate, reason);
  }
  Wait& hold(Side side, const Registration& handle, std::uint8_t token) {
    auto op = std::make_shared<Wait>(*this, side, handle, id_of<Token>(token));
    Wait& started = *op;
    ops_.push_back(std::move(op));
    turn();
    return started;
  }
  Wait& flush(const Registration& tx) { return wait(Wait::For::flushed, Side::sender, tx); }
  void settle(const Registration& rx, const std::vector<Attempt>& attempts, bool requeue, Duration delay = {}) {
    link.settle(now_, rx, attempts, requeue, delay);
    turn();
  }
  // "returned", or why not.
  [[nodiscard]] std::string confirm(const Registration& rx, const std::vector<Attempt>& attempts) {
    const auto error = link.confirm(now_, rx, attempts);
    turn();
    return error ? text(*error) : "returned";
  }

  // The broker, played by hand.
  void connected() {
    link.connected(now_);
    turn();
  }
  void hear(Frame frame) {
    link.received(now_, std::move(frame));
    turn();
  }
  void disconnected(const std::string& why = "connection reset") {
    link.disconnected(now_, why);
    turn();
  }
  void tick() {
    link.tick(now_);
    turn();
  }
  void broker_died(std::uint64_t epoch, bool final) {
    link.broker_died(now_, epoch, "killed", final);
    turn();
  }

  // What it has to say since the last call: its driver's work, and frames.
  [[nodiscard]] Texts said() {
    Texts texts;
    for (const LinkAction& action : std::exchange(outbox, {})) {
      if (const auto* const send = std::get_if<link_action::Send>(&action)) {
        texts.push_back(text(*send->frame));
      } else if (const auto* const end = std::get_if<link_action::Disconnect>(&action)) {
        texts.push_back("disconnect: " + end->why);
      } else {
        texts.emplace_back("connect");
      }
    }
    return texts;
  }

  // After each event: what a driver does, but for carrying out the actions.
  void turn() {
    if (is_batch_) return;
    link.wakeups().fire();
    link.flush(now_);
    link.wakeups().fire();
    for (LinkAction& action : link.take_actions()) outbox.push_back(std::move(action));
    link.check_invariants(now_);
  }
  // Events between which the driver does not flush.
  void batch(const std::function<void()>& events) {
    is_batch_ = true;
    events();
    is_batch_ = false;
    turn();
  }

 private:
  friend class Send;
  friend class Recv;
  friend class Wait;

  const Time& now_;

 public:
  std::uint8_t lives = 0;  // client ids it has had
  Link link;
  std::vector<LinkAction> outbox;

 private:
  template <class Op, class... Args>
  Op& start(const Registration& handle, const Args&... args) {
    auto op = std::make_shared<Op>(*this, handle, args...);
    Op& started = *op;
    ops_.push_back(std::move(op));
    turn();
    return started;
  }
  template <class Op>
  Op& start(Wait::For what, Side side, const Registration& handle) {
    auto op = std::make_shared<Op>(*this, what, side, handle);
    Op& started = *op;
    ops_.push_back(std::move(op));
    turn();
    return started;
  }

  std::vector<std::shared_ptr<Pending>> ops_;
  bool is_batch_ = false;
};

inline std::string Pending::result() {
  if (is_cancelled_) return "cancelled";
  if (status_ == Status::pending && is_fired_) {
    status_ = finish();
    process_.turn();
  }
  return status_ == Status::pending ? "pending" : ended(status_);
}
inline void Pending::give_up() {
  if (status_ != Status::pending || is_cancelled_) return;
  is_cancelled_ = true;
  (void)Operation::cancel();
  abandon();
  process_.turn();
}

inline Send::Send(Process& process, const Registration& handle, const std::vector<Bytes>& messages, Time deadline)
    : Pending(process) {
  for (const Bytes& message : messages) messages_.push_back({.payload = message});
  op_.values = messages_.data();
  op_.count = messages_.size();
  op_.deadline = deadline;
  started(process.link.start_send(process.now_, handle, op_, this));
}
inline Send::Send(Process& process, const Registration& handle, Time deadline) : Pending(process) {
  op_.reserves = true;
  op_.deadline = deadline;
  started(process.link.start_send(process.now_, handle, op_, this));
}
inline Status Send::finish() { return process_.link.finish_send(process_.now_, op_); }
inline void Send::abandon() { process_.link.abandon_send(process_.now_, op_); }
inline std::string Send::ended(Status status) const {
  if (op_.is_already_sent) return "already sent";
  if (status == Status::closed) return text(op_.error);
  if (status == Status::done && op_.receivers > 0) return "done to=" + std::to_string(op_.receivers);
  return status == Status::done ? "done" : status == Status::too_large ? "too large" : "full";
}

inline Recv::Recv(Process& process, const Registration& handle, const RecvOptions& options) : Pending(process) {
  op_.deadline = options.deadline;
  op_.acknowledges = options.acknowledges;
  op_.confirms = options.confirms;
  if (options.batch > 0) op_.many = &many_;
  op_.max_items = std::max<std::size_t>(options.batch, 1);
  started(process.link.start_recv(process.now_, handle, op_, this));
}
inline Status Recv::finish() { return process_.link.finish_recv(process_.now_, op_); }
inline void Recv::abandon() { process_.link.abandon_recv(process_.now_, op_); }
inline std::string Recv::ended(Status status) const {
  if (status == Status::closed) return text(op_.error);
  if (status == Status::timed_out) return "empty";
  if (op_.skipped > 0) return "missed " + std::to_string(op_.skipped);
  std::string got;
  const auto add = [&](const Message& message) {
    if (!got.empty()) got += ' ';
    got += message.payload.view();
    if (message.redeliveries > 0) got += "+" + std::to_string(message.redeliveries);
  };
  if (op_.value) add(*op_.value);
  for (const Message& message : many_) add(message);
  return got;
}

inline Wait::Wait(Process& process, For what, Side side, const Registration& handle) : Pending(process) {
  switch (what) {
    case For::opened: started(process.link.start_opened(process.now_, side, handle, op_, this)); break;
    case For::closed: started(process.link.start_closed(process.now_, side, handle, op_, this)); break;
    case For::flushed: started(process.link.start_flush(process.now_, handle, op_, this)); break;
  }
}
inline Wait::Wait(Process& process, const Registration& handle, bool immediate, std::optional<std::string> reason)
    : Pending(process) {
  started(process.link.start_shutdown(process.now_, handle, immediate, std::move(reason), op_, this));
}
inline Wait::Wait(Process& process, Side side, const Registration& handle, const Token& token) : Pending(process) {
  started(process.link.start_hold(process.now_, side, handle, token, op_, this));
}
inline Status Wait::finish() { return process_.link.finish_wait(op_); }
inline void Wait::abandon() { process_.link.abandon_wait(op_); }
inline std::string Wait::ended(Status status) const { return status == Status::closed ? text(op_.error) : "done"; }

// A process whose broker is played by its test.
class LinkByHand {
 public:
  explicit LinkByHand(std::uint32_t prefetch = 0, ChannelKind kind = ChannelKind::mpmc)
      : process(now, 1, prefetch, kind) {}

  [[nodiscard]] static Attached attached(std::uint64_t epoch = 1, ChannelKind kind = ChannelKind::mpmc) {
    return {.epoch = epoch,
            .kind = kind,
            .capacity = 10,
            .heartbeat_ms = 1000,
            .reconnect_grace_ms = 3000,
            .offered_max = 1024,
            .offered_bytes_max = 1024,
            .message_bytes_max = 512};
  }
  // A handle, attached and opened, and nothing left of what was said meanwhile.
  [[nodiscard]] Registration ready(Side side, const Attached& broker = attached()) {
    const Registration handle = process.open(side);
    process.connected();
    process.hear(broker);
    process.hear(Opened{.session = static_cast<SessionId>(handle.id)});
    (void)process.said();
    return handle;
  }
  // Over the next connection; its streams go on.
  void resume(std::uint64_t received, std::uint64_t epoch = 1) {
    process.connected();
    Attached answer = attached(epoch);
    answer.resumed = true;
    answer.received = received;
    process.hear(answer);
  }
  void deliver(std::initializer_list<const char*> messages, SessionId session = 1) {
    Deliver frame{.session = session, .delivery = next(*messages.begin())};
    for (const char* const* more = messages.begin() + 1; more != messages.end(); ++more)
      frame.more.push_back(next(*more));
    process.hear(std::move(frame));
  }
  void stored(Seq seq) { process.hear(Stored{.session = 1, .seq = seq}); }
  void answer(Seq seq, Answer::Outcome outcome) { process.hear(Answer{.session = 1, .seq = seq, .outcome = outcome}); }

  // Time passes, with a tick at each deadline; the broker says nothing.
  void pass(Duration d) {
    for (const Time until = now + d; now < until;) {
      now = std::clamp(process.link.next_deadline(), now + microseconds(1), until);
      process.tick();
    }
  }
  // Likewise, while the broker answers each PING. What is said meanwhile is kept, but for these.
  void pass_in_touch(Duration d) {
    for (const Time until = now + d; now < until;) {
      pass(std::min<Duration>(until - now, milliseconds(500)));
      answer_pings();
    }
  }
  void answer_pings() {
    for (auto it = process.outbox.begin(); it != process.outbox.end();) {
      const auto* const send = std::get_if<link_action::Send>(&*it);
      const auto* const ping = send == nullptr ? nullptr : std::get_if<Ping>(send->frame.get());
      if (ping == nullptr) {
        ++it;
        continue;
      }
      const std::uint64_t sent_us = ping->sent_us;
      const auto position = it - process.outbox.begin();
      process.outbox.erase(it);
      process.hear(Ping{.sent_us = 1, .echo_us = sent_us});
      it = process.outbox.begin() + position;
    }
  }
  // The process stands still: no tick, no frame.
  void stand_still(Duration d) { now += d; }

  Time now{seconds(100)};
  Process process;

 private:
  Delivery next(const char* message) { return {.attempt = attempt(++last_attempt_), .message = Bytes(message)}; }

  std::uint64_t last_attempt_ = 0;
};

// --- a broker and several processes ---

class World {
 public:
  explicit World(const BrokerSettings& settings = {})
      : settings_(settings), broker_(std::make_unique<Broker>(settings, now)) {}

  Process& process(std::uint32_t prefetch = 0) {
    const auto number = static_cast<std::uint8_t>(members_.size() + 1);
    members_.push_back(std::make_unique<Member>(now, number, prefetch, settings_.kind));
    return members_.back()->process;
  }

  // Until nobody has more to say.
  void run() {
    for (bool any = true; any;) {
      any = false;
      for (const auto& m : members_) any |= carry_to_broker(*m);
      if (broker_ != nullptr) any |= carry_to_links();
      for (const auto& m : members_) any |= deliver(*m);
    }
  }
  // Time passes for all but those that are stopped, with a tick at each deadline.
  void pass(Duration d) {
    run();
    for (const Time until = now + d; now < until;) {
      Time next = broker_ == nullptr ? kNever : broker_->next_deadline();
      for (const auto& m : members_) {
        if (m->is_alive && !m->is_stopped) next = std::min(next, m->process.link.next_deadline());
      }
      now = std::clamp(next, now + microseconds(1), until);
      if (broker_ != nullptr) broker_->tick(now);
      for (const auto& m : members_) {
        if (m->is_alive && !m->is_stopped) m->process.tick();
      }
      run();
    }
  }

  // Its connection is lost, with all that was on its way.
  void cut(Process& process) {
    Member& m = member(process);
    const ConnectionId connection = std::exchange(m.connection, 0);
    m.process.outbox.clear();
    m.inbox.clear();
    if (broker_ != nullptr) broker_->disconnected(now, connection);
    process.disconnected();
  }
  // No connection can be made.
  void set_reachable(Process& process, bool is_reachable) { member(process).is_reachable = is_reachable; }
  // As by SIGSTOP and SIGCONT: what it is sent meanwhile waits in its socket.
  void stop(Process& process) { member(process).is_stopped = true; }
  void go_on(Process& process) { member(process).is_stopped = false; }
  // As by SIGKILL, and its broker hears of it.
  void kill(Process& process) {
    Member& m = member(process);
    m.is_alive = false;
    broker_->client_died(now, process.link.client_id(), "killed");
  }
  // The broker's process dies; connections are lost when the next one is there, or by cut().
  void lose_broker() {
    broker_.reset();
    for (const auto& m : members_) {
      m->inbox.clear();
      m->connection = 0;
    }
  }
  void restart(const std::optional<Checkpoint>& checkpoint = std::nullopt) {
    lose_broker();
    ++settings_.epoch;
    broker_ = std::make_unique<Broker>(settings_, now);
    if (checkpoint) (void)broker_->restore(now, *checkpoint);
    for (const auto& m : members_) {
      if (!m->is_alive) continue;
      m->process.outbox.clear();
      m->process.disconnected("end of file");
    }
    run();
  }

  [[nodiscard]] Broker& broker() { return *broker_; }

  Time now{seconds(100)};
  bool has_ended = false;

 private:
  struct Member {
    Member(const Time& now, std::uint8_t number, std::uint32_t prefetch, ChannelKind kind)
        : process(now, number, prefetch, kind) {}
    Process process;
    ConnectionId connection = 0;
    std::deque<FramePtr> inbox = {};
    bool is_alive = true;
    bool is_reachable = true;
    bool is_stopped = false;
  };

  Member& member(const Process& process) {
    return **std::ranges::find_if(members_, [&](const auto& m) { return &m->process == &process; });
  }

  bool carry_to_broker(Member& m) {
    if (!m.is_alive || m.is_stopped) return false;
    m.process.turn();
    const auto actions = std::exchange(m.process.outbox, {});
    for (const LinkAction& action : actions) {
      if (const auto* const send = std::get_if<link_action::Send>(&action)) {
        if (broker_ == nullptr || m.connection == 0) continue;
        broker_->received(now, m.connection, Frame(*send->frame));
        broker_->check_invariants();
      } else if (std::holds_alternative<link_action::Disconnect>(action)) {
        if (broker_ != nullptr && m.connection != 0) broker_->disconnected(now, m.connection);
        m.connection = 0;
        m.inbox.clear();
      } else if (m.is_reachable && broker_ != nullptr) {
        m.connection = ++last_connection_;
        m.inbox.clear();
        m.process.connected();
      } else {
        m.process.disconnected("connection refused");
      }
    }
    return !actions.empty();
  }

  bool carry_to_links() {
    broker_->flush(now);
    auto actions = broker_->take_actions();
    for (BrokerAction& action : actions) {
      if (auto* const send = std::get_if<broker_action::Send>(&action)) {
        for (const auto& m : members_) {
          if (m->connection == send->connection) m->inbox.push_back(send->frame);
        }
      } else if (const auto* const end = std::get_if<broker_action::Disconnect>(&action)) {
        for (const auto& m : members_) {
          if (m->connection == end->connection) m->inbox.push_back(nullptr);
        }
      } else if (std::holds_alternative<broker_action::Ended>(action)) {
        has_ended = true;
      }
    }
    broker_->check_invariants();
    return !actions.empty();
  }

  // nullptr: the end of the connection.
  bool deliver(Member& m) {
    if (!m.is_alive || m.is_stopped || m.inbox.empty()) return false;
    const FramePtr frame = m.inbox.front();
    m.inbox.pop_front();
    if (frame == nullptr) {
      m.connection = 0;
      m.inbox.clear();
      m.process.disconnected("end of file");
    } else {
      m.process.hear(Frame(*frame));
    }
    return true;
  }

  BrokerSettings settings_;
  std::unique_ptr<Broker> broker_;
  std::vector<std::unique_ptr<Member>> members_;
  ConnectionId last_connection_ = 0;
};

}  // namespace klaw::dataplane::test
