// Sending: every send is an offer; the broker's answer ends it.
#include <algorithm>
#include <cstdint>
#include <utility>

#include <dataplane/link/link.hpp>

namespace klaw::dataplane {

using detail::Waiter;

Status Link::start_send(Time now, const Registration& handle, SendOperation& w, Operation* op) {
  now_ = now;
  Session* const s = find(handle);
  auto error = closed_for(s);
  if (!error && shut_down_) error = shutdown_error();
  // (Of another kind the broker has the word: somebody may have subscribed since, or have sent before.)
  if (!error && s->peer_gone && settings_.kind == ChannelKind::mpmc) error = s->peer_gone;
  if (error) {
    w.error = *std::move(error);
    w.why = w.error.kind;
    return Status::closed;
  }
  if (w.reserves && s->permits.size() + s->offered_count + s->backlog_count >= kPermitsMax) {
    w.error = backend_error("this handle holds " + std::to_string(s->permits.size()) + " slots: send into them first");
    w.why = w.error.kind;
    return Status::closed;
  }
  if (w.count == 0) return Status::done;
  if (broker_ && w.count > batch_max()) return Status::too_large;
  const bool is_try = w.deadline <= now;
  // An earlier send of this handle waits: there is no room for this one either.
  if (is_try && broker_ && !s->backlog.empty()) return Status::timed_out;
  if (op == nullptr) return Status::pending;
  begin_wait(*s, w, *op);
  w.seq = 0;
  s->backlog.push_back(w);
  s->backlog_count += w.count;
  if (!is_try) set_timer(w.timer, w.deadline, s->id, &w, nullptr);
  offer_backlog(*s);
  return Status::pending;
}

Status Link::finish_send(Time now, SendOperation& w) {
  now_ = now;
  if (w.reserves && w.signal == Waiter::Signal::granted && w.life != life_) {
    // Between its wake-up and now the slot was lost with the broker.
    w.error = closed_for(find(w.handle)).value_or(slot_lost_error());
    w.why = w.error.kind;
    return Status::closed;
  }
  switch (w.signal) {
    case Waiter::Signal::granted: return Status::done;
    case Waiter::Signal::timed_out: return w.is_too_large ? Status::too_large : Status::timed_out;
    default: told(w.handle, w.error); return Status::closed;
  }
}

// Cancelled. What was offered may have been stored already; if not, it is withdrawn.
void Link::abandon_send(Time now, SendOperation& w) noexcept {
  now_ = now;
  stop_timer(w.timer, w.deadline);
  if (w.reserves && w.signal == Waiter::Signal::granted) {
    w.signal = Waiter::Signal::none;
    return release_reserved(now, permit_of(w));
  }
  Session* const s = find(w.handle);
  if (s == nullptr || w.operation == nullptr) return;
  if (w.is_linked()) {
    leave_backlog(*s, w);
    offer_backlog(*s);  // it may have been too large for the window, and held others up
    check_flushed(*s);
  } else if (w.seq != 0) {
    for (Offered& offered : s->offered) {
      if (offered.operation != &w) continue;
      offered.operation = nullptr;
      withdraw(*s, offered);
    }
  }
}

// What one offer may hold: no more messages than the channel, nor than a frame.
std::uint64_t Link::batch_max() const {
  return is_broadcast() ? 1 : std::clamp<std::uint64_t>(broker_->capacity, 1, kBatchMessagesMax);
}

void Link::leave_backlog(Session& s, SendOperation& w) {
  stop_timer(w.timer, w.deadline);
  s.backlog.remove(w);
  s.backlog_count -= w.count;
}

namespace {

std::uint64_t bytes_of(const SendOperation& w) {
  if (w.reserves) return 0;
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < w.count; ++i) bytes += w.values[i].payload.size();
  return bytes;
}

std::uint64_t largest_of(const SendOperation& w) {
  if (w.reserves) return 0;
  std::uint64_t largest = 0;
  for (std::size_t i = 0; i < w.count; ++i) largest = std::max<std::uint64_t>(largest, w.values[i].payload.size());
  return largest;
}

}  // namespace

// As far as the broker lets a session offer ahead. One offer may be as large as it likes: it could never be sent else.
void Link::offer_backlog(Session& s) {
  while (broker_ && !s.backlog.empty()) {
    SendOperation& w = s.backlog.front();
    if (refuse_oversized(s, w)) continue;
    const std::uint64_t bytes = bytes_of(w);
    const bool fits =
        s.offered_count + w.count <= broker_->offered_max && s.offered_bytes + bytes <= broker_->offered_bytes_max;
    if (!fits && !s.offered.empty()) return;
    s.backlog.remove(w);
    s.backlog_count -= w.count;
    offer(s, w, bytes);
  }
}

// Ends what no broker would take, however much room it has.
bool Link::refuse_oversized(Session& s, SendOperation& w) {
  if (w.count > batch_max()) {
    leave_backlog(s, w);
    w.is_too_large = true;
    signal(w, Waiter::Signal::timed_out);
    check_flushed(s);
    return true;
  }
  constexpr std::uint64_t kOverheadMax = 16;  // of one message in an OFFER
  std::optional<ChannelClosed> why;
  if (largest_of(w) > broker_->message_bytes_max) {
    why = too_large_error();
  } else if (bytes_of(w) + w.count * kOverheadMax > kAssembledBytesMax) {
    why = backend_error("a batch of " + std::to_string(bytes_of(w)) + " bytes is more than one frame may hold, " +
                        std::to_string(kAssembledBytesMax) + " bytes: send it in parts");
  } else {
    return false;
  }
  leave_backlog(s, w);
  signal_closed(w, *why);
  check_flushed(s);
  return true;
}

void Link::offer(Session& s, SendOperation& w, std::uint64_t bytes) {
  w.seq = s.next;
  const bool nowait = w.deadline <= w.started_at;
  s.offered.push_back({.seq = s.next,
                       .count = static_cast<std::uint32_t>(w.count),
                       .bytes = bytes,
                       .nowait = nowait,
                       .reserves = w.reserves,
                       .operation = &w,
                       .value = is_watch() ? w.values[0].payload : Bytes()});
  s.offered_count += w.count;
  s.offered_bytes += bytes;
  s.next += w.count;
  if (w.reserves) return push(Reserve{.session = s.id, .seq = w.seq, .nowait = nowait});
  Offer frame{.session = s.id, .seq = w.seq, .nowait = nowait, .message = w.values[0].payload};
  frame.more.reserve(w.count - 1);
  for (std::size_t i = 1; i < w.count; ++i) frame.more.push_back(w.values[i].payload);
  push(std::move(frame));
}

void Link::withdraw(Session& s, Offered& offered) {
  if (offered.is_withdrawn) return;
  offered.is_withdrawn = true;
  push(Withdraw{.session = s.id, .seq = offered.seq});
}

// Its time is over: in the backlog nothing has happened; else only the broker knows.
void Link::send_timed_out(Session& s, SendOperation& w) {
  if (w.is_linked()) {
    leave_backlog(s, w);
    signal(w, Waiter::Signal::timed_out);
    offer_backlog(s);
    check_flushed(s);
    return;
  }
  for (Offered& offered : s.offered) {
    if (offered.operation == &w) withdraw(s, offered);
  }
}

void Link::apply(const Stored& frame) {
  Session* const s = find(frame.session);
  if (s == nullptr) return;
  while (!s->offered.empty() && s->offered.front().seq <= frame.seq) {
    s->stored = s->offered.front().seq + s->offered.front().count - 1;
    finish_offer(*s, 0, Waiter::Signal::granted);
  }
  offer_backlog(*s);
  check_flushed(*s);
  erase_if_done(*s);
}

namespace {

Waiter::Signal signal_for(Answer::Outcome outcome) {
  switch (outcome) {
    case Answer::Outcome::taken:
    case Answer::Outcome::reserved: return Waiter::Signal::granted;
    case Answer::Outcome::refused:
    case Answer::Outcome::already_sent: return Waiter::Signal::closed;
    default: return Waiter::Signal::timed_out;
  }
}

}  // namespace

void Link::apply(const Answer& frame) {
  Session* const s = find(frame.session);
  if (s == nullptr) return;
  if (frame.outcome == Answer::Outcome::filled) {
    s->fills_answered = std::min(s->fills_answered + 1, s->fills);
  } else {
    const auto offered = std::ranges::find(s->offered, frame.seq, &Offered::seq);
    if (offered == s->offered.end()) return;
    if (frame.outcome == Answer::Outcome::already_sent) apply_already_sent(*s, offered->operation);
    finish_offer(*s, static_cast<std::size_t>(offered - s->offered.begin()), signal_for(frame.outcome));
  }
  offer_backlog(*s);
  check_flushed(*s);
  erase_if_done(*s);
}

// The broker has answered. Not stored and not timed out by its own limit: its handle was closed.
void Link::finish_offer(Session& s, std::size_t at, Waiter::Signal outcome) {
  const auto offered = s.offered.begin() + static_cast<std::ptrdiff_t>(at);
  SendOperation* const w = offered->operation;
  const Seq seq = offered->seq;
  const bool is_slot = offered->reserves && outcome == Waiter::Signal::granted;
  if (is_slot) s.permits.insert(seq);
  s.is_spent |= is_oneshot() && outcome == Waiter::Signal::granted;
  s.offered_count -= offered->count;
  s.offered_bytes -= offered->bytes;
  s.offered.erase(offered);
  if (w == nullptr) {
    if (is_slot) give_back(s, seq);
    return;
  }
  stop_timer(w->timer, w->deadline);
  w->life = life_;
  if (outcome == Waiter::Signal::closed) {
    signal_closed(*w, refusal(s));
  } else if (outcome == Waiter::Signal::timed_out && s.is_closed && now_ < w->deadline) {
    signal_closed(*w, ChannelClosed{.kind = CloseKind::handle_closed});
  } else if (!signal(*w, outcome) && is_slot) {
    give_back(s, seq);  // it was cancelled meanwhile
  }
}

// --- permits ---

void Link::give_back(Session& s, Seq seq) {
  s.permits.erase(seq);
  push(Unreserve{.session = s.id, .seq = seq});
}

// They went with the broker, or it has never heard of their handle.
void Link::forget_permits(Session& s) {
  s.permits.clear();
  s.fills = s.fills_answered = 0;
}

std::optional<ChannelClosed> Link::send_reserved(Time now, const Permit& permit, Bytes message) {
  now_ = now;
  if (gone_) return gone_;
  Session* const s = find(permit.handle);
  if (s != nullptr && s->refused) return s->refused;
  if (s == nullptr || permit.life != life_ || !s->permits.contains(permit.seq)) return slot_lost_error();
  if (message.size() > broker_->message_bytes_max) return too_large_error();
  s->permits.erase(permit.seq);
  ++s->fills;
  push(Fill{.session = s->id, .seq = permit.seq, .message = std::move(message)});
  return std::nullopt;
}

void Link::release_reserved(Time now, const Permit& permit) {
  now_ = now;
  Session* const s = find(permit.handle);
  if (s == nullptr || permit.life != life_ || !s->permits.contains(permit.seq)) return;
  give_back(*s, permit.seq);
  erase_if_done(*s);
}

ChannelClosed Link::too_large_error() const {
  return backend_error("a message is larger than " + std::to_string(broker_->message_bytes_max) +
                       " bytes, the channel's limit: send it in parts");
}

ChannelClosed Link::slot_lost_error() const {
  return backend_error(
      "the slot that was reserved is lost: the channel's actor died, or this process was out of reach");
}

void Link::check_flushed(Session& s) {
  while (!s.flushing.empty()) {
    HandleOperation& w = s.flushing.front();
    const bool all_offered = s.backlog.empty() || s.next > w.through;
    const bool all_answered = s.offered.empty() || s.offered.front().seq > w.through;
    if (!all_offered || !all_answered || s.fills_answered < w.fills_through) return;
    s.flushing.remove(w);
    signal(w, Waiter::Signal::granted);
  }
}

}  // namespace klaw::dataplane
