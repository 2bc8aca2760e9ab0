// A client's half of a channel: the handles of one process, and what they wait for. A state machine without socket, clock
// or thread; its broker is at the other end of one connection at a time.
//
// Its driver tells it what happened, and does what it asks for:
//
//   link.connected(now) / received(now, frame) / disconnected(now, why) / start_recv(...) ...    any number of events
//   link.flush(now);                            requests that are worth coalescing: once per batch of events
//   for (auto& action : link.take_actions()) ...
//   link.take_wakeups(...)                      to be fired outside of the driver's lock
//   and link.tick(now) at link.next_deadline()
//
// Operations are the waiters of the local core (klaw/channels/detail/core.hpp), with the same verbs start, finish and
// abandon, so threads, coroutines, Python's awaitable and select() wait on it as on any channel.
//
// Invariants, between any two events:
//   L1  a session's unread messages are, in this order, granted to woken receives, and spare (after a death, there may be
//       fewer than were granted: the first to be resumed have what there is)
//   L2  if a receive waits unclaimed, there is no spare message that it may have (the lease allowing)
//   L3  offers are sent in the order in which they were started, and answered or withdrawn; none is forgotten
//   L4  the broker was asked for as many deliveries as receives wait (plus prefetch), once flush() has run
//   L5  while not attached, every operation has a limit: unreachable_limit after the connection went or it began
//
// The driver serialises the calls (one lock).
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <dataplane/link/operations.hpp>
#include <dataplane/link/state.hpp>
#include <dataplane/wire/frame.hpp>
#include <dataplane/wire/kind.hpp>
#include <dataplane/wire/limits.hpp>
#include <dataplane/wire/stream.hpp>
#include <dataplane/wire/time.hpp>

namespace klaw::dataplane {

struct LinkSettings {
  std::function<ClientId()> new_client_id;                // random; called at construction and after each expiry
  ChannelKind kind = ChannelKind::mpmc;                   // of its handles: a broker of another one is refused
  std::string node = {};                                  // for statistics
  ChannelBackendError about = {};                         // what errors say of the channel; the message is theirs
  std::uint32_t prefetch = 0;                             // messages asked for ahead of receives
  Duration unreachable_limit = std::chrono::seconds(10);  // then what waits for a broker that can't be reached fails
  std::string advice = {};                                // which that failure's text ends with
  Duration retry_min = std::chrono::milliseconds(50);     // between attempts to connect; doubles up to retry_max
  Duration retry_max = std::chrono::seconds(1);
};

namespace link_action {
// Find the broker's endpoint (again), connect, authenticate; then call connected() or disconnected().
struct Connect {};
// Close the connection, or stop connecting; nothing that comes of it is to be told any more.
struct Disconnect {
  std::string why;
};
struct Send {
  FramePtr frame;
};
}  // namespace link_action
using LinkAction = std::variant<link_action::Connect, link_action::Disconnect, link_action::Send>;

class Link {
 public:
  Link(LinkSettings settings, Time now);
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;
  ~Link();  // no operation may be waiting

  // --- handles; each is a session of its own ---

  // `claim`: it was unpickled, from a handle that hold() had announced. Counts at the broker once start_opened() is done;
  // operations may be started at once.
  // `counts`: false for what keeps its side open no more than a passer-by does.
  [[nodiscard]] Registration open(Time now, Side side, std::optional<Token> claim = std::nullopt, std::string name = {},
                                  bool counts = true);
  // Of a closed handle comes a closed one.
  [[nodiscard]] Registration clone(Time now, Side side, const Registration& from, std::string name = {});
  // Idempotent. Its own operations end with handle_closed (a send: unless it turns out to have happened).
  // Gives a failure that the handle has not been told of.
  [[nodiscard]] std::optional<ChannelClosed> close(Time now, Side side, Registration& handle,
                                                   std::optional<std::string> reason);
  // Closes all handles, in an orderly way: the process ends.
  void close_all(Time now);
  // The handle is about to be pickled under this token: until that is claimed, it counts.
  void hold(Time now, Side side, const Registration& handle, const Token& token);

  // --- operations; `op` null: only if it can be done without waiting ---

  [[nodiscard]] Status start_send(Time now, const Registration&, SendOperation&, Operation* op);
  [[nodiscard]] Status finish_send(Time now, SendOperation&);
  void abandon_send(Time now, SendOperation&) noexcept;

  // Of a send that reserves and is done: the slot is its owner's, who ends it by one of the two.
  [[nodiscard]] static Permit permit_of(const SendOperation& w) noexcept {
    return Permit{.handle = w.handle, .seq = w.seq, .life = w.life};
  }
  // Also of a closed handle, which counts until then. An error: nothing was sent, since the slot was lost with the broker, or
  // the message is too large; the permit is left as it was.
  [[nodiscard]] std::optional<ChannelClosed> send_reserved(Time now, const Permit& permit, Bytes message);
  void release_reserved(Time now, const Permit& permit);

  [[nodiscard]] Status start_recv(Time now, const Registration&, RecvOperation&, Operation* op);
  [[nodiscard]] Status finish_recv(Time now, RecvOperation&);
  void abandon_recv(Time now, RecvOperation&) noexcept;
  // Of messages that a receive with `confirms` has taken at once: they are decoded, and are returned now. The handle may be
  // closed. An error: they must not be returned, since others may have them.
  [[nodiscard]] std::optional<ChannelClosed> confirm(Time now, const Registration&, std::span<const Attempt> attempts);
  // Of messages that were received with `acknowledges`. Stale ones are ignored; the handle may be closed.
  void settle(Time now, const Registration&, const std::vector<Attempt>& attempts, bool requeue, Duration delay = {});

  // --- of a watch: what this process knows ---

  // None: the handle is closed, or its broker was never reached.
  [[nodiscard]] std::optional<Latest> borrow(const Registration&) const;
  // A receiver's: it has seen it then.
  [[nodiscard]] std::optional<Latest> borrow_and_update(const Registration&);
  [[nodiscard]] bool has_changed(const Registration&) const;
  [[nodiscard]] Version seen(const Registration&) const;
  // It was unpickled: its original had this value, and had seen that version.
  void take_along(Time now, const Registration&, const Latest& value, Version seen);

  // Done when the handle counts at the broker; closed if its side of the channel has closed.
  [[nodiscard]] Status start_opened(Time now, Side, const Registration&, HandleOperation&, Operation* op);
  // As hold(); done when the broker has it.
  [[nodiscard]] Status start_hold(Time now, Side, const Registration&, const Token& token, HandleOperation&,
                                  Operation* op);
  // Done when the other side is gone.
  [[nodiscard]] Status start_closed(Time now, Side, const Registration&, HandleOperation&, Operation* op);
  // Done when all that this sender has sent is stored, or has failed and was told so. Also of a closed handle: until the
  // broker has nothing more of it in its line.
  [[nodiscard]] Status start_flush(Time now, const Registration&, HandleOperation&, Operation* op);
  // Done when the broker has said that the channel takes no more sends, and, if `immediate`, holds nothing any more. It is
  // asked at once; who gives up waiting does not take that back.
  [[nodiscard]] Status start_shutdown(Time now, const Registration&, bool immediate, std::optional<std::string> reason,
                                      HandleOperation&, Operation* op);
  [[nodiscard]] Status finish_wait(HandleOperation&);
  void abandon_wait(HandleOperation&) noexcept;

  // --- events ---

  void connected(Time now);
  void received(Time now, Frame&& frame);
  // The connection is lost, or could not be made.
  void disconnected(Time now, const std::string& why);
  // The control plane says that the broker died. `final`: it will not come back; else a new epoch is to be expected.
  // `epoch`: whose broker; one that we have left already is no news.
  void broker_died(Time now, std::uint64_t epoch, const std::string& why, bool final);
  void tick(Time now);
  void flush(Time now);
  // Asks the broker to say soon what it has received; see is_drained().
  void drain(Time now);

  // --- what it wants ---

  [[nodiscard]] std::vector<LinkAction> take_actions() { return std::exchange(actions_, {}); }
  // Claimed operations. Fire them outside of the driver's lock.
  [[nodiscard]] detail::Wakeups& wakeups() noexcept { return wakeups_; }
  [[nodiscard]] detail::Wakeups take_wakeups() noexcept { return std::move(wakeups_); }
  [[nodiscard]] Time next_deadline() const;

  // --- what it can tell ---

  // Would the next operation on this handle give ChannelClosed, as far as is known here?
  [[nodiscard]] bool is_closed(Side side, const Registration& handle) const;
  // Has it done all that it is for? Only a oneshot's ever has.
  [[nodiscard]] bool is_spent(const Registration& handle) const;
  [[nodiscard]] bool is_attached() const;
  // No handle is open, and the broker has all that they had to say (or is gone): nothing is lost if the connection goes.
  [[nodiscard]] bool is_drained() const;
  [[nodiscard]] std::uint64_t epoch() const;
  [[nodiscard]] const ClientId& client_id() const;
  // Throws std::logic_error naming the invariant (L1...) that does not hold. For tests: it looks at everything.
  void check_invariants(Time now) const;

 private:
  using Session = link_state::Session;
  using Offered = link_state::Offered;
  enum class State : std::uint8_t {
    idle,        // no handle needs a broker
    connecting,  // Connect was asked for
    attaching,   // ATTACH was sent
    attached,
    pausing,  // until the next attempt to connect
    gone,     // the channel was deleted, or its broker died for good
  };

  // --- handles (link_handles.cpp) ---
  [[nodiscard]] Session* find(const Registration& handle) const;
  [[nodiscard]] Session* find(std::uint64_t id) const;
  void push_open(Session& s);
  void push_close(Session& s);
  void erase_if_done(Session& s);
  template <class F>
  void for_each_session(F f);
  [[nodiscard]] std::optional<ChannelClosed> closed_for(Session* s);
  void told(std::uint64_t handle, const ChannelClosed& error);
  template <class Op>
  void begin_wait(Session& s, Op& w, Operation& op);
  [[nodiscard]] Status start_wait(Session& s, detail::IntrusiveList<HandleOperation>& line, HandleOperation& w,
                                  Operation* op);
  bool signal(detail::Waiter& w, detail::Waiter::Signal what);
  template <class Op>
  void signal_closed(Op& op, const ChannelClosed& error);
  void end_waits(detail::IntrusiveList<HandleOperation>& line, const ChannelClosed* error);
  void end_backlog(Session& s, const ChannelClosed& error);
  void end_waiting(Session& s, const ChannelClosed& error);
  void fail_pending(Session& s, const ChannelClosed& error);
  void fail_handles(const std::string& why);
  void end_all(const ChannelClosed& error);
  [[nodiscard]] ChannelClosed shutdown_error() const;
  [[nodiscard]] ChannelClosed refusal(const Session& s) const;
  [[nodiscard]] ChannelClosed backend_error(std::string message) const;

  // --- sending (link_sending.cpp) ---
  void offer_backlog(Session& s);
  bool refuse_oversized(Session& s, SendOperation& w);
  [[nodiscard]] std::uint64_t batch_max() const;
  void offer(Session& s, SendOperation& w, std::uint64_t bytes);
  void withdraw(Session& s, Offered& offered);
  void finish_offer(Session& s, std::size_t at, detail::Waiter::Signal outcome);
  void leave_backlog(Session& s, SendOperation& w);
  void check_flushed(Session& s);
  void send_timed_out(Session& s, SendOperation& w);
  void give_back(Session& s, Seq seq);
  void forget_permits(Session& s);
  [[nodiscard]] ChannelClosed too_large_error() const;
  [[nodiscard]] ChannelClosed slot_lost_error() const;

  // --- what a oneshot does otherwise (link_oneshot.cpp) ---
  [[nodiscard]] bool is_oneshot() const noexcept { return settings_.kind == ChannelKind::oneshot; }
  static void apply_already_sent(Session& s, SendOperation* w);
  static void begin_again(Session& s);

  // --- receiving (link_receiving.cpp) ---
  [[nodiscard]] static std::uint64_t wants(const RecvOperation& w) noexcept;
  [[nodiscard]] bool is_over(const Session& s) const noexcept;
  [[nodiscard]] std::optional<ChannelClosed> end_of(const Session& s) const;
  void drop_unread(Session& s);
  [[nodiscard]] static std::uint32_t unserved(const Session& s) noexcept;
  [[nodiscard]] bool has_lease(Time now) const noexcept { return now < lease_until_ || is_broadcast(); }
  void take(Session& s, RecvOperation& w);
  [[nodiscard]] Status wait_in_line(Time now, Session& s, RecvOperation& w, Operation& op);
  void grant(Session& s);
  void leave_waiting(Session& s, RecvOperation& w);
  void give_up_grant(Session& s);
  void report_taken(Session& s);
  void give_back_unconfirmed(Session& s);
  void release_spare(Session& s, std::size_t count, bool is_answer);
  void gave_back(Session& s);
  void demand(Session& s);
  void ask(Session& s);
  void ask_again(Session& s, RecvOperation& w);
  void touch(Session& s);

  [[nodiscard]] ChannelClosed gone_error() const;
  [[nodiscard]] ChannelClosed lease_error() const;

  // --- a broadcast (link_broadcast.cpp) ---
  [[nodiscard]] bool is_broadcast() const noexcept { return settings_.kind == ChannelKind::broadcast; }
  void apply(const Missed& frame);
  void apply(const Sent& frame);
  void apply(const Receivers& frame);

  // --- a watch (link_watch.cpp) ---
  [[nodiscard]] bool is_watch() const noexcept { return settings_.kind == ChannelKind::watch; }
  [[nodiscard]] bool is_unseen(const Session& s) const noexcept;
  [[nodiscard]] Status start_change(Time now, const Registration&, RecvOperation&, Operation* op);
  [[nodiscard]] Status finish_change(RecvOperation&);
  void take_latest(Session& s, RecvOperation& w);
  void learn(Version version, const Bytes& value);
  void report_watching(Session& s);
  void apply(const Latest& frame);
  void apply(const Changed& frame);

  // --- the broker (link_connection.cpp) ---
  void apply(const Opened& frame);
  void apply(const Stored& frame);
  void apply(const Answer& frame);
  void apply(Deliver&& frame);
  void apply(const Recall& frame);
  void apply(const DemandIs& frame);
  void apply(const End& frame);
  void apply(const Closed& frame);
  void apply(const DataLoss& frame);
  void apply(const IsShutDown& frame);
  void apply_attached(const Attached& frame);
  void refuse_kind(ChannelKind theirs);
  void apply_expired(const Expired& frame);
  void apply_refused(const Refused& frame);
  void apply_ping(const Ping& frame);
  void check_holding();
  void connect();
  [[nodiscard]] bool has_nothing_to_say() const;
  void drop_connection(const std::string& why);
  void pause();
  void begin_streams();
  void push(Frame&& frame);
  void send(FramePtr frame) { actions_.emplace_back(link_action::Send{std::move(frame)}); }
  [[nodiscard]] Time silent_until() const;
  void send_ping();
  void run_timers();
  void set_timer(std::uint64_t& timer, Time deadline, std::uint64_t session, SendOperation* send, RecvOperation* recv);
  void stop_timer(std::uint64_t& timer, Time deadline);
  void fail_unreachable();

  struct Timer {
    std::uint64_t session;
    SendOperation* send;  // one of the two
    RecvOperation* recv;
  };

  const LinkSettings settings_;
  Time now_;
  std::vector<LinkAction> actions_;
  detail::Wakeups wakeups_;

  State state_ = State::idle;
  ClientId client_;
  std::uint64_t connection_number_ = 0;
  std::uint64_t epoch_ = 0;   // the newest we have seen; 0: none
  bool has_streams_ = false;  // the broker of epoch_ knows us: a new connection resumes
  ResumableStream stream_;
  std::uint64_t life_ = 0;                         // how often streams have begun
  std::optional<Attached> broker_ = std::nullopt;  // what it said of itself at the last attachment
  std::optional<ChannelClosed> gone_ = std::nullopt;
  std::optional<IsShutDown> shut_down_ = std::nullopt;  // what a broker said, this one or an earlier one
  std::optional<Latest> latest_ = std::nullopt;         // a watch's value, as far as it is known here
  detail::IntrusiveList<HandleOperation> holding_;      // until the broker has their HOLDs; in order
  bool must_ack_ = false;
  bool is_draining_ = false;

  Time heard_at_ = {};  // attached: the last frame's time
  Time attach_sent_at_ = {};
  Time lease_until_ = {};        // unread messages may be handed out before this
  Time ping_at_ = kNever;        // the next heartbeat
  bool asks_for_lease_ = false;  // a ping was sent only for it
  Time retry_at_ = kNever;
  Duration retry_after_;
  Time down_since_ = {};  // not attached since
  std::string down_why_ = "it has not been reached yet";
  Time unreachable_at_ = kNever;  // not attached: no operation fails for that before this

  std::map<std::uint64_t, std::unique_ptr<Session>> sessions_;  // by id
  SessionId last_session_ = 0;
  std::vector<std::uint64_t> dirty_;                        // ids of sessions that flush() looks at
  std::map<std::pair<Time, std::uint64_t>, Timer> timers_;  // by deadline, then by age
  std::uint64_t next_timer_ = 1;
};

// `f` may end and erase the session that it is given.
template <class F>
void Link::for_each_session(F f) {
  for (auto it = sessions_.begin(); it != sessions_.end();) f(*(it++)->second);
}

// What all operations have in common that are about to wait.
template <class Op>
void Link::begin_wait(Session& s, Op& w, Operation& op) {
  w.operation = &op;
  w.handle = s.id;
  w.signal = detail::Waiter::Signal::none;
  w.started_at = now_;
  unreachable_at_ = std::min(unreachable_at_, after(now_, settings_.unreachable_limit));
}

template <class Op>
void Link::signal_closed(Op& w, const ChannelClosed& error) {
  w.error = error;
  w.why = error.kind;
  signal(w, detail::Waiter::Signal::closed);
}

}  // namespace klaw::dataplane
