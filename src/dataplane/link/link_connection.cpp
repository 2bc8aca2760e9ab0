// The connection: attaching, resuming, epochs, expiry, heartbeats, and the clock.
#include <algorithm>
#include <cstdint>
#include <utility>

#include <dataplane/link/link.hpp>
#include <dataplane/wire/check.hpp>

namespace klaw::dataplane {

using detail::Waiter;

namespace {

// A broker is believed to be gone after this many heartbeats without a word of it.
constexpr int kHeartbeatMisses = 4;

Duration heartbeat_of(const Attached& broker) { return std::chrono::milliseconds(broker.heartbeat_ms); }

}  // namespace

bool Link::is_attached() const { return state_ == State::attached; }
std::uint64_t Link::epoch() const { return epoch_; }
const ClientId& Link::client_id() const { return client_; }

bool Link::has_nothing_to_say() const { return sessions_.empty() && stream_.unacknowledged().empty(); }
bool Link::is_drained() const { return gone_ || state_ == State::idle || has_nothing_to_say(); }

void Link::drain(Time now) {
  now_ = now;
  is_draining_ = true;
  if (state_ == State::attached) send_ping();
}

void Link::push(Frame&& frame) {
  if (gone_) return;
  FramePtr kept = make_frame(std::move(frame));
  stream_.push(kept);
  if (state_ == State::attached) send(std::move(kept));
}

void Link::connect() {
  state_ = State::connecting;
  retry_at_ = kNever;
  actions_.emplace_back(link_action::Connect{});
}

void Link::connected(Time now) {
  now_ = now;
  if (state_ != State::connecting) return;
  state_ = State::attaching;
  attach_sent_at_ = now;
  heard_at_ = now;
  send(make_frame(Attach{.client = client_,
                         .connection = ++connection_number_,
                         .epoch = epoch_,
                         .resume = has_streams_,
                         .received = stream_.received()}));
}

void Link::disconnected(Time now, const std::string& why) {
  now_ = now;
  if (state_ == State::connecting || state_ == State::attaching || state_ == State::attached) {
    down_why_ = why;
    pause();
  }
}

// Of our own accord; the driver tells nothing more of that connection.
void Link::drop_connection(const std::string& why) {
  actions_.emplace_back(link_action::Disconnect{why});
  down_why_ = why;
  pause();
}

// A connection that worked is replaced at once; one that could not be made is tried again, less and less often.
void Link::pause() {
  if (gone_) {
    state_ = State::gone;
    return;
  }
  if (has_nothing_to_say()) {
    // Nobody wants a broker, which may have ended because of that. Who opens a handle later begins as somebody else.
    state_ = State::idle;
    client_ = settings_.new_client_id();
    connection_number_ = 0;
    return begin_streams();
  }
  if (state_ == State::attached) {
    down_since_ = now_;
    unreachable_at_ = after(now_, settings_.unreachable_limit);
    retry_after_ = settings_.retry_min;
    return connect();
  }
  state_ = State::pausing;
  retry_at_ = after(now_, retry_after_);
  retry_after_ = std::min(2 * retry_after_, settings_.retry_max);
}

void Link::broker_died(Time now, std::uint64_t epoch, const std::string& why, bool final) {
  now_ = now;
  if (gone_ || epoch < epoch_) return;
  if (final) {
    if (state_ != State::idle) actions_.emplace_back(link_action::Disconnect{why});
    state_ = State::gone;
    return end_all(backend_error("the channel's actor died for good: " + why));
  }
  if (!has_streams_) return;  // we had nothing at that broker, or know of its death
  fail_handles("the channel's actor died, and what it held with it: " + why);
  if (state_ == State::attached || state_ == State::attaching) drop_connection(why);
  begin_streams();
}

// The next broker, or this one under a new client id, knows nothing of us: all handles are opened anew.
void Link::begin_streams() {
  std::vector<FramePtr> holds;
  for (const FramePtr& frame : stream_.unacknowledged()) {
    if (std::holds_alternative<Hold>(*frame)) holds.push_back(frame);
  }
  stream_ = ResumableStream();
  has_streams_ = false;
  ++life_;
  lease_until_ = Time();
  for_each_session([&](Session& s) {
    // Perhaps that broker lives, or lived long enough to declare us dead, and to give it to others.
    for (Delivery& delivery : s.unread) ++delivery.redeliveries;
    if (is_broadcast()) s.unread.clear();  // what came after it is lost: no message comes after the error that says so
    s.is_registered = s.is_opened = false;
    s.received = s.limit = s.gave_back_at = s.questions = s.answers = 0;
    s.forget_taken();
    s.outlive_broker();
    forget_permits(s);
    s.reported_spare = s.reported_waiting = 0;
    s.is_short_of_spare = false;
    if (is_oneshot()) begin_again(s);
    s.peer_gone.reset();
    s.ended.reset();
    if (s.is_closed) {
      erase_if_done(s);
    } else if (!s.refused) {
      push_open(s);
      touch(s);
    }
  });
  for (const FramePtr& frame : holds) push(Frame(*frame));
}

// --- what the broker says ---

void Link::received(Time now, Frame&& frame) {
  now_ = now;
  if (state_ != State::attaching && state_ != State::attached) return;
  heard_at_ = now;
  if (is_numbered(type_of(frame))) {
    if (state_ != State::attached) return drop_connection("the broker sent frames before ATTACHED");
    stream_.count_received(payload_bytes(frame));
    if (gone_) return;
  }
  std::visit(
      [&]<class F>(F&& f) {
        using Kind = std::remove_cvref_t<F>;
        if constexpr (std::is_same_v<Kind, Ping>) {
          apply_ping(f);
        } else if constexpr (std::is_same_v<Kind, Ack>) {
          if (!stream_.acknowledged(f.received)) return drop_connection("the broker acknowledged what was never sent");
          check_holding();
        } else if constexpr (std::is_same_v<Kind, Attached>) {
          apply_attached(f);
        } else if constexpr (std::is_same_v<Kind, Expired>) {
          apply_expired(f);
        } else if constexpr (std::is_same_v<Kind, Refused>) {
          apply_refused(f);
        } else if constexpr (requires { apply(std::forward<F>(f)); }) {
          apply(std::forward<F>(f));
        } else {
          drop_connection("the broker sent a frame that brokers don't send");
        }
      },
      std::move(frame));
}

void Link::apply_attached(const Attached& frame) {
  if (state_ != State::attaching) return drop_connection("the broker sent ATTACHED twice");
  if (frame.epoch < epoch_) return drop_connection("a broker of an earlier epoch answered");
  if (frame.kind != settings_.kind) return refuse_kind(frame.kind);
  const bool is_new_epoch = frame.epoch > epoch_;
  if (is_new_epoch && has_streams_) {
    // The old broker is dead, and we hear of it from the new one.
    fail_handles(frame.restored ? "the channel's actor was restarted, and what came after its last checkpoint is lost"
                                : "the channel's actor was restarted, and what it held is lost");
    begin_streams();
  }
  if (frame.resumed != has_streams_ || !stream_.acknowledged(frame.received)) {
    return drop_connection("the broker resumed another stream than ours");
  }
  if (is_new_epoch && frame.restored) {
    // What we have not read is in the checkpoint, or was taken since and is there again: it comes once more.
    for (const auto& [id, session] : sessions_) session->unread.clear();
  }
  state_ = State::attached;
  epoch_ = frame.epoch;
  has_streams_ = true;
  broker_ = frame;
  unreachable_at_ = kNever;
  retry_after_ = settings_.retry_min;
  ping_at_ = after(now_, heartbeat_of(frame));
  // The broker answered what we sent then: it knew us alive at some time after it.
  lease_until_ = std::max(lease_until_, after(attach_sent_at_, std::chrono::milliseconds(frame.reconnect_grace_ms)));
  asks_for_lease_ = false;
  for (const FramePtr& kept : stream_.unacknowledged()) send(kept);
  // This broker may not know of it, if an earlier one said so.
  if (!frame.resumed && shut_down_) push(Shutdown{.immediate = shut_down_->immediate, .reason = shut_down_->reason});
  check_holding();
  if (is_draining_ || !holding_.empty()) send_ping();
  for (const auto& [id, session] : sessions_) {
    offer_backlog(*session);
    grant(*session);
    touch(*session);
  }
}

// Its rules are others: nothing that these handles say would mean there what it means here.
void Link::refuse_kind(ChannelKind theirs) {
  const auto quoted = [](ChannelKind kind) { return "'" + std::string(name(kind)) + "'"; };
  const std::string why = "the channel is of kind " + quoted(theirs) + ", and this handle is one of kind " +
                          quoted(settings_.kind) + ": get_channel() gives the right one";
  end_all(backend_error(why));
  drop_connection(why);
}

// We were taken for dead: what we held is with others, and what was not stored is not.
void Link::apply_expired(const Expired& frame) {
  if (state_ != State::attaching) return drop_connection("the broker sent EXPIRED to one that it had attached");
  for (const Expired::Sender& sender : frame.senders) {
    Session* const s = find(sender.session);
    if (s == nullptr) continue;
    for (std::size_t i = 0; i < s->offered.size();) {
      const Offered& offered = s->offered[i];
      // Of one that we wanted back, or only tried, we can't tell whether it was stored before a later one was; nor of a
      // broadcast's, which may have met nobody.
      const bool is_known = !is_broadcast() && !is_watch() && !offered.nowait && !offered.reserves &&
                            !offered.is_withdrawn && offered.seq <= sender.stored;
      if (is_known) {
        finish_offer(*s, i, Waiter::Signal::granted);
      } else {
        ++i;
      }
    }
    check_flushed(*s);
  }
  fail_handles("this process was out of reach for so long that it was declared dead; what was not stored is not sent");
  for (const auto& [id, session] : sessions_) {
    session->unconfirmed.clear();
    session->outlived.clear();  // we took this broker for dead: it lives
    session->unread.clear();
    session->next = 1;
    session->stored = 0;
  }
  client_ = settings_.new_client_id();
  connection_number_ = 0;
  begin_streams();
  drop_connection("expired");
  connect();
}

void Link::apply_refused(const Refused& frame) {
  if (state_ != State::attaching) return drop_connection("the broker refused one that it had attached");
  if (frame.why == Refused::Why::deleted) {
    end_all(ChannelClosed{.kind = CloseKind::deleted});
  } else if (frame.why == Refused::Why::ticket) {
    end_all(backend_error(frame.text));
  }
  drop_connection(frame.text);
}

void Link::apply_ping(const Ping& frame) {
  if (state_ != State::attached) return;
  if (!stream_.acknowledged(frame.received)) return drop_connection("the broker acknowledged what was never sent");
  check_holding();
  if (frame.echo_us == 0) return;
  // When it answered, the broker had us alive; it can't declare us dead before reconnect_grace is over.
  const Time asked_at{Duration(static_cast<Duration::rep>(frame.echo_us))};
  if (asked_at > now_) return;
  lease_until_ = std::max(lease_until_, after(asked_at, std::chrono::milliseconds(broker_->reconnect_grace_ms)));
  asks_for_lease_ = false;
  for (const auto& [id, session] : sessions_) {
    if (!session->waiting.empty() && session->spare() > 0) grant(*session);
  }
}

void Link::apply(const Opened& frame) {
  Session* const s = find(frame.session);
  if (s == nullptr) return;
  if (frame.accepted) {
    s->is_opened = true;
    end_waits(s->opening, nullptr);
    return;
  }
  s->refused = frame.kind == CloseKind::backend
                   ? backend_error(frame.reason.value_or("the channel refuses this handle"))
                   : ChannelClosed{.kind = frame.kind, .reason = frame.reason};
  s->is_registered = false;
  end_waits(s->opening, &*s->refused);
  fail_pending(*s, *s->refused);
  forget_permits(*s);
  erase_if_done(*s);
}

void Link::apply(const Closed& frame) {
  const ChannelClosed closed{.kind = frame.kind, .reason = frame.reason};
  if (frame.session == kAllSessions) {
    must_ack_ = true;  // the broker waits for it
    return end_all(closed);
  }
  Session* const s = find(frame.session);
  if (s == nullptr) return;
  s->peer_gone = closed;
  end_waits(s->watching, nullptr);
  if (is_watch()) return end_waiting(*s, closed);  // what was sent last has come before
  if (s->side != Side::sender || is_oneshot()) return;
  fail_pending(*s, shut_down_ ? shutdown_error() : closed);
  erase_if_done(*s);
}

// What is offered is answered all the same: some of it may be stored, or out at a receiver.
void Link::apply(const IsShutDown& frame) {
  shut_down_ = frame;
  for_each_session([&](Session& s) {
    end_waits(s.watching, nullptr);
    detail::IntrusiveList<HandleOperation>& line = s.shutting_down;
    line.for_each([&](HandleOperation& w) {
      if (w.immediate && !frame.immediate) return;
      line.remove(w);
      signal(w, Waiter::Signal::granted);
    });
    end_backlog(s, shutdown_error());
    check_flushed(s);
    if (frame.immediate && s.side == Side::receiver) drop_unread(s);
  });
}

void Link::apply(const DataLoss& frame) {
  Session* const s = find(frame.session);
  if (s == nullptr || s->is_closed || frame.first > s->stored) return;
  const Seq last = std::min(frame.last, s->stored);
  const ChannelClosed error =
      backend_error("the channel was restored from a checkpoint that lacks " + std::to_string(last - frame.first + 1) +
                    " messages that this handle had sent and that were stored");
  s->failure = error;
}

// --- the clock ---

// Connected: when to believe that nobody is there, if nothing is heard.
Time Link::silent_until() const {
  const Duration heartbeat = broker_ ? heartbeat_of(*broker_) : Duration(std::chrono::seconds(1));
  return after(heard_at_, kHeartbeatMisses * heartbeat);
}

void Link::send_ping() {
  ping_at_ = after(now_, heartbeat_of(*broker_));
  const auto now_us = static_cast<std::uint64_t>(now_.time_since_epoch().count());
  send(make_frame(Ping{.sent_us = now_us, .received = stream_.report()}));
}

void Link::tick(Time now) {
  now_ = now;
  if ((state_ == State::attached || state_ == State::attaching) && now >= silent_until()) {
    drop_connection("the broker was silent for " + std::to_string(kHeartbeatMisses) + " heartbeats");
  }
  if (state_ == State::attached && now >= ping_at_) {
    send_ping();
    for (const auto& [id, session] : sessions_) {
      if (!session->is_prefetching || now < after(session->received_at, heartbeat_of(*broker_))) continue;
      session->is_prefetching = false;
      touch(*session);
    }
  }
  if (state_ == State::pausing && now >= retry_at_) connect();
  run_timers();
  fail_unreachable();
}

void Link::flush(Time now) {
  now_ = now;
  if (state_ != State::attached) return;
  for (std::size_t i = 0; i < dirty_.size(); ++i) {
    Session* const s = find(dirty_[i]);
    if (s == nullptr) continue;
    s->is_dirty = false;
    if (s->side == Side::receiver) demand(*s);
  }
  dirty_.clear();
  if (must_ack_ || stream_.is_ack_due()) send(make_frame(Ack{.received = stream_.report()}));
  must_ack_ = false;
}

void Link::set_timer(std::uint64_t& timer, Time deadline, std::uint64_t session, SendOperation* send,
                     RecvOperation* recv) {
  timer = 0;
  if (deadline == kNever) return;
  timer = next_timer_++;
  timers_.emplace(std::pair(deadline, timer), Timer{.session = session, .send = send, .recv = recv});
}

void Link::stop_timer(std::uint64_t& timer, Time deadline) {
  if (timer != 0) timers_.erase({deadline, timer});
  timer = 0;
}

void Link::run_timers() {
  while (!timers_.empty() && timers_.begin()->first.first <= now_) {
    const Timer timer = timers_.begin()->second;
    timers_.erase(timers_.begin());
    Session& s = *find(timer.session);
    if (timer.send != nullptr) {
      timer.send->timer = 0;
      send_timed_out(s, *timer.send);
    } else {
      timer.recv->timer = 0;
      timer.recv->is_asking = true;
      s.asking.push_back(timer.recv);
      touch(s);
    }
  }
}

// Nothing waits for ever for a broker that can't be reached.
void Link::fail_unreachable() {
  if (state_ == State::attached || now_ < unreachable_at_) return;
  unreachable_at_ = kNever;
  const ChannelClosed error = backend_error("the channel's actor can't be reached: " + down_why_ + settings_.advice);
  const auto is_over = [&](Time started_at) {
    const Time limit = after(std::max(started_at, down_since_), settings_.unreachable_limit);
    if (limit > now_) unreachable_at_ = std::min(unreachable_at_, limit);
    return limit <= now_;
  };
  const auto fail_waits = [&](detail::IntrusiveList<HandleOperation>& line) {
    line.for_each([&](HandleOperation& w) {
      if (!is_over(w.started_at)) return;
      line.remove(w);
      signal_closed(w, error);
    });
  };
  fail_waits(holding_);
  for_each_session([&](Session& s) {
    for (auto* const line : {&s.opening, &s.watching, &s.flushing, &s.shutting_down}) fail_waits(*line);
    s.backlog.for_each([&](SendOperation& w) {
      if (!is_over(w.started_at)) return;
      leave_backlog(s, w);
      signal_closed(w, error);
    });
    for (Offered& offered : s.offered) {
      if (offered.operation == nullptr || !is_over(offered.operation->started_at)) continue;
      SendOperation& w = *std::exchange(offered.operation, nullptr);
      stop_timer(w.timer, w.deadline);
      withdraw(s, offered);
      signal_closed(w, error);
    }
    s.waiting.for_each([&](RecvOperation& w) {
      if (!is_over(w.started_at)) return;
      leave_waiting(s, w);
      signal_closed(w, error);
    });
    erase_if_done(s);
  });
}

Time Link::next_deadline() const {
  Time next = timers_.empty() ? kNever : timers_.begin()->first.first;
  if (state_ == State::pausing) next = std::min(next, retry_at_);
  if (state_ != State::attached) next = std::min(next, unreachable_at_);
  if (state_ == State::attached || state_ == State::attaching) {
    next = std::min(next, silent_until());
  }
  if (state_ == State::attached) next = std::min(next, ping_at_);
  return next;
}

void Link::check_invariants(Time now) const {
  check(state_ == State::attached || holding_.empty() || unreachable_at_ != kNever || gone_,
        "L5 what waits for a broker has a limit");
  for (const auto& [id, session] : sessions_) {
    Session& s = *session;
    check(s.waiting.empty() || s.spare() == 0 || !has_lease(now), "L2 no receive waits beside a spare message");
    check(s.waiting.empty() || !is_unseen(s), "L2 no receive waits beside a value that it has not seen");
    std::uint64_t count = 0;
    std::uint64_t bytes = 0;
    Seq last = 0;
    for (const Offered& offered : s.offered) {
      check(offered.seq > last, "L3 offers are in order");
      last = offered.seq + offered.count - 1;
      count += offered.count;
      bytes += offered.bytes;
    }
    check(last < s.next, "L3 what was offered has a number below the next");
    check(count == s.offered_count && bytes == s.offered_bytes, "L3 what is unanswered is counted");
    std::uint64_t wanted = 0;
    s.waiting.for_each([&](RecvOperation& w) { wanted += w.question == 0 ? wants(w) : 0; });
    check(wanted == s.wanted, "L4 what receives want is counted");
    if (state_ == State::attached && s.is_registered && !s.is_closed && !s.ended && !s.is_dirty &&
        s.side == Side::receiver && !gone_ && !is_watch()) {
      check(s.limit - s.received + s.spare() >= std::min(s.wanted, kDemandMax), "L4 what receives want is demanded");
    }
    const bool waits = !s.waiting.empty() || !s.backlog.empty() || !s.watching.empty() || !s.shutting_down.empty();
    check(state_ == State::attached || !waits || unreachable_at_ != kNever || gone_,
          "L5 what waits for a broker has a limit");
  }
}

}  // namespace klaw::dataplane
