// Receiving: demands, grants, and how a message is taken, given back or settled.
#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>

#include <dataplane/link/link.hpp>

namespace klaw::dataplane {

using detail::Waiter;

std::uint64_t Link::wants(const RecvOperation& w) noexcept {
  return w.many == nullptr ? 1 : std::min<std::uint64_t>(w.max_items, kBatchMessagesMax);
}

// It has had its END, and all that came before was really taken: a woken receive that is cancelled leaves its message to
// those that wait beside it, which must not have been told of the end by then.
bool Link::is_over(const Session& s) const noexcept {
  return (shut_down_ && shut_down_->immediate) || s.is_spent || (s.ended && s.spare() == 0 && s.granted == 0);
}

std::optional<ChannelClosed> Link::end_of(const Session& s) const {
  if (!is_over(s)) return std::nullopt;
  if (s.is_spent) return ChannelClosed{.kind = CloseKind::ended, .reason = "already consumed"};
  return shut_down_ && shut_down_->immediate ? shutdown_error() : s.ended;
}

// What receives want beyond what is there for them.
std::uint32_t Link::unserved(const Session& s) noexcept {
  return static_cast<std::uint32_t>(std::min(s.wanted - std::min<std::uint64_t>(s.wanted, s.spare()), kDemandMax));
}

Status Link::start_recv(Time now, const Registration& handle, RecvOperation& w, Operation* op) {
  now_ = now;
  // A select that was claimed by another channel while it was on its way here waits for that one.
  if (op != nullptr && !op->lock()) return Status::pending;
  if (is_watch()) return start_change(now, handle, w, op);
  Session* const s = find(handle);
  auto error = closed_for(s);
  const bool is_ready = !error && s->spare() > 0 && has_lease(now);
  if (!error) error = end_of(*s);
  if (error) {
    w.error = *std::move(error);
    w.why = w.error.kind;
    if (op != nullptr) op->commit(w.index);
    return Status::closed;
  }
  s->received_at = now;
  if (settings_.prefetch > 0 && !s->is_prefetching) {
    s->is_prefetching = true;
    touch(*s);
  }
  if (is_ready) {
    take(*s, w);
    if (op != nullptr) op->commit(w.index);
    return Status::done;
  }
  return op == nullptr ? Status::pending : wait_in_line(now, *s, w, *op);
}

Status Link::wait_in_line(Time now, Session& s, RecvOperation& w, Operation& op) {
  begin_wait(s, w, op);
  w.question = 0;
  s.waiting.push_back(w);
  s.wanted += wants(w);
  w.is_asking = w.deadline <= now;
  if (w.is_asking) {
    s.asking.push_back(&w);
  } else {
    set_timer(w.timer, w.deadline, s.id, nullptr, &w);
  }
  touch(s);
  op.unlock();
  return Status::pending;
}

Status Link::finish_recv(Time now, RecvOperation& w) {
  now_ = now;
  if (w.signal == Waiter::Signal::closed) {
    told(w.handle, w.error);
    return Status::closed;
  }
  if (w.signal == Waiter::Signal::timed_out) return Status::timed_out;
  w.signal = Waiter::Signal::none;
  if (is_watch()) return finish_change(w);
  Session* const s = find(w.handle);
  if (s == nullptr || s->unread.empty()) {
    // What it was woken for went to others: this process was declared dead, or the channel is gone.
    auto error = closed_for(s);
    if (!error && s != nullptr) error = end_of(*s);
    w.error = std::move(error).value_or(gone_error());
  } else if (!has_lease(now)) {
    // Between its wake-up and now this process stood still for so long that the message may have been given to another.
    w.error = lease_error();
  } else {
    --s->granted;
    take(*s, w);
    give_up_grant(*s);
    return Status::done;
  }
  w.why = w.error.kind;
  if (s != nullptr && s->granted > 0) {
    --s->granted;
    give_up_grant(*s);
  }
  return Status::closed;
}

void Link::abandon_recv(Time now, RecvOperation& w) noexcept {
  now_ = now;
  Session* const s = find(w.handle);
  if (w.is_linked()) {
    leave_waiting(*s, w);
  } else if (w.signal == Waiter::Signal::granted) {
    w.signal = Waiter::Signal::none;
    if (s == nullptr || s->granted == 0) return;
    --s->granted;
    give_up_grant(*s);
  }
}

ChannelClosed Link::lease_error() const {
  return backend_error("this process stood still for too long to be sure that the message is still its own; try again");
}

// One woken receive less: the next may have what it leaves, or the handle's CLOSE may have waited for it.
void Link::give_up_grant(Session& s) {
  touch(s);
  grant(s);
  if (!s.is_closed) return;
  push_close(s);
  erase_if_done(s);
}

namespace {

// False: it has none of them. They came together, and are side by side.
bool remove_run(std::vector<Attempt>& all, std::span<const Attempt> run) {
  const auto first = std::ranges::find(all, run.front());
  if (first == all.end()) return false;
  all.erase(first, first + static_cast<std::ptrdiff_t>(run.size()));
  return true;
}

}  // namespace

// The broker has heard nothing of them: until now they would have gone to others, had this process died.
std::optional<ChannelClosed> Link::confirm(Time now, const Registration& handle, std::span<const Attempt> attempts) {
  now_ = now;
  if (is_broadcast() || is_watch()) return std::nullopt;  // nothing is handed out twice
  Session* const s = find(handle.id);
  if (s != nullptr && remove_run(s->outlived, attempts)) {
    erase_if_done(*s);
    return std::nullopt;
  }
  if (s == nullptr || !remove_run(s->unconfirmed, attempts)) {
    if (s != nullptr) {
      s->is_spent = false;
      erase_if_done(*s);
    }
    return gone_error();  // it was declared dead meanwhile
  }
  const bool is_ours = has_lease(now);
  if (is_ours && s->is_registered) {
    s->taken.insert(s->taken.end(), attempts.begin(), attempts.end());
    touch(*s);
    return std::nullopt;
  }
  // After CLOSE they are to be settled. What may be with others goes back.
  if (s->is_registered) s->taken_unsettled.insert(s->taken_unsettled.end(), attempts.begin(), attempts.end());
  settle(now, handle, {attempts.begin(), attempts.end()}, !is_ours);
  s->is_spent = is_oneshot() && is_ours;
  erase_if_done(*s);
  if (is_ours) return std::nullopt;
  return lease_error();
}

// The process ends: nobody will return them.
void Link::give_back_unconfirmed(Session& s) {
  if (s.unconfirmed.empty()) return;
  s.taken_unsettled.insert(s.taken_unsettled.end(), s.unconfirmed.begin(), s.unconfirmed.end());
  settle(now_, {.id = s.id, .closed = false}, std::exchange(s.unconfirmed, {}), true);
}

void Link::settle(Time now, const Registration& handle, const std::vector<Attempt>& attempts, bool requeue,
                  Duration delay) {
  now_ = now;
  if (gone_) return;
  Session* const s = find(handle.id);
  if (s != nullptr) report_taken(*s);  // the broker hears of the taking first
  const auto delay_ms = std::chrono::ceil<std::chrono::milliseconds>(delay).count();
  const auto limit = static_cast<std::int64_t>(std::numeric_limits<std::uint32_t>::max());
  for (auto it = attempts.begin(); it != attempts.end();) {
    const auto end = it + std::min<std::ptrdiff_t>(attempts.end() - it, kBatchMessagesMax);
    push(Settle{.session = static_cast<SessionId>(handle.id),
                .requeue = requeue,
                .delay_ms = static_cast<std::uint32_t>(std::clamp<std::int64_t>(delay_ms, 0, limit)),
                .attempts = std::vector<Attempt>(it, end)});
    it = end;
  }
  if (s == nullptr || !requeue) return;
  gave_back(*s);
  touch(*s);  // who waits beside a woken receive has been told no end, and is to be asked for again
}

// One message, or those there are up to the limit, but none that is granted to others.
void Link::take(Session& s, RecvOperation& w) {
  w.skipped = s.unread.front().skipped;
  if (w.skipped > 0) {  // (of a broadcast, which has no batches)
    s.unread.pop_front();
    return touch(s);
  }
  const std::size_t count = w.many == nullptr ? 1 : std::clamp<std::size_t>(s.spare(), 1, w.max_items);
  if (w.many != nullptr) w.many->reserve(count);
  std::vector<Attempt>& undecided = w.confirms && !is_broadcast() ? s.unconfirmed : s.taken;
  std::vector<Attempt>& taken = w.acknowledges ? s.taken_unsettled : undecided;
  for (std::size_t i = 0; i < count; ++i) {
    Delivery& delivery = s.unread.front();
    Message message{
        .payload = std::move(delivery.message), .attempt = delivery.attempt, .redeliveries = delivery.redeliveries};
    taken.push_back(delivery.attempt);
    if (w.many == nullptr) {
      w.value.emplace(std::move(message));
    } else {
      w.many->push_back(std::move(message));
    }
    s.unread.pop_front();
  }
  s.is_spent = is_oneshot();
  s.received_at = now_;
  touch(s);
}

// Promises spare messages to waiting receives, and lets those go for whom nothing can come.
void Link::grant(Session& s) {
  while (!s.waiting.empty() && s.spare() > 0) {
    if (!has_lease(now_)) {
      // It may have been given to another while this process stood still: ask first.
      if (state_ == State::attached && !asks_for_lease_) send_ping();
      asks_for_lease_ = true;
      return;
    }
    RecvOperation& w = s.waiting.front();
    leave_waiting(s, w);
    if (signal(w, Waiter::Signal::granted)) ++s.granted;
  }
  if (const auto error = end_of(s)) end_waiting(s, *error);
}

void Link::leave_waiting(Session& s, RecvOperation& w) {
  stop_timer(w.timer, w.deadline);
  s.waiting.remove(w);
  if (w.question == 0) {
    s.wanted -= wants(w);
  } else {
    std::erase(s.asked, &w);
  }
  if (w.is_asking) std::erase(s.asking, &w);
  w.is_asking = false;
  touch(s);
}

void Link::touch(Session& s) {
  if (s.is_dirty) return;
  s.is_dirty = true;
  dirty_.push_back(s.id);
}

// --- what flush() tells the broker of a session ---

void Link::report_taken(Session& s) {
  if (!s.is_registered) return s.forget_taken();  // it was taken from an earlier broker
  if (!s.taken.empty()) {
    push(Consumed{.session = s.id, .settled = true, .attempts = std::exchange(s.taken, {})});
  }
  if (!s.taken_unsettled.empty()) {
    push(Consumed{.session = s.id, .settled = false, .attempts = std::exchange(s.taken_unsettled, {})});
  }
}

// Asks for as many messages as receives wait for, and lets those know whose time is over.
void Link::demand(Session& s) {
  if (is_watch()) return report_watching(s);
  report_taken(s);
  if (!s.is_registered || s.is_closed || s.refused) return;
  const bool is_rendezvous = broker_->capacity == 0;
  if (is_rendezvous && s.waiting.empty() && s.spare() > 0) release_spare(s, s.spare(), false);
  const std::uint64_t prefetch = s.is_prefetching && !is_rendezvous && !s.ended ? settings_.prefetch : 0;
  const auto limit_for = [&](std::uint64_t wanted) {
    const std::uint64_t enough = std::max<std::uint64_t>(wanted, prefetch);
    return s.received + std::min(enough - std::min<std::uint64_t>(enough, s.spare()), kDemandMax);
  };
  const auto idle = static_cast<std::uint32_t>(s.idle());
  // A receive that only tries is asked for like any other, before the question whether there was something for it.
  // What was asked for ahead may be waited for now: that makes a difference to the broker, too.
  const bool has_spare_news = s.is_short_of_spare ? idle > 0 : idle > s.reported_spare && prefetch == 0;
  const bool wants_more = !s.ended && (limit_for(s.wanted) > s.limit || unserved(s) > s.reported_waiting);
  if (has_spare_news || wants_more) {
    if (!s.ended) s.limit = std::max(s.limit, limit_for(s.wanted));
    s.reported_waiting = s.ended ? 0 : unserved(s);
    s.is_short_of_spare = false;
    push(Demand{.session = s.id, .limit = s.limit, .waiting = s.reported_waiting, .spare = idle});
  }
  s.reported_spare = idle;
  ask(s);
  if (const std::uint64_t limit = limit_for(s.wanted); limit < s.limit && !s.ended) {
    s.limit = limit;
    ++s.questions;
    s.reported_waiting = unserved(s);
    push(DemandShrink{.session = s.id, .limit = limit, .waiting = s.reported_waiting, .spare = idle});
  }
}

// For receives whose time is over: only the broker can say that there is nothing for them. They want nothing from here on;
// the DEMAND_SHRINK that says so is the question, and what arrives before its answer is theirs. There is nothing if by then
// less has arrived than was demanded; else receives that came earlier have taken it all, and there may be more. (Nor is there
// nothing if what has arrived waits for the lease.) After an END there is nothing, but for what others are about to take.
void Link::ask(Session& s) {
  if (s.asking.empty()) return;
  for (RecvOperation* const w : std::exchange(s.asking, {})) {
    s.wanted -= wants(*w);
    w->is_asking = false;
    w->question = s.questions + 1;
    w->demanded = s.limit;
    s.asked.push_back(w);
  }
  ++s.questions;
  s.reported_waiting = unserved(s);
  s.limit = s.received + s.reported_waiting;
  push(DemandShrink{
      .session = s.id, .limit = s.limit, .waiting = s.reported_waiting, .spare = static_cast<std::uint32_t>(s.idle())});
}

// It was the last frame. What went back may have to come to this very receiver again, if it is the only one: no END that was
// said before the broker had it, or is about to be, is the end.
void Link::gave_back(Session& s) {
  s.ended.reset();
  s.gave_back_at = stream_.sent();
}

void Link::ask_again(Session& s, RecvOperation& w) {
  std::erase(s.asked, &w);
  w.question = 0;
  w.is_asking = true;
  s.wanted += wants(w);
  s.asking.push_back(&w);
  touch(s);
}

// The newest first: so that order is kept among what stays. What came from an earlier broker can't go back.
void Link::release_spare(Session& s, std::size_t count, bool is_answer) {
  Release frame{.session = s.id, .answer = is_answer, .attempts = {}};
  for (std::size_t left = std::min(count, s.spare()); left > 0; --left) {
    if (s.unread.back().attempt >> kAttemptEpochShift != epoch_) break;
    frame.attempts.push_back(s.unread.back().attempt);
    s.unread.pop_back();
  }
  const bool is_any = !frame.attempts.empty();
  if (is_answer || is_any) push(std::move(frame));
  if (is_any) gave_back(s);
  s.reported_spare = std::min(s.reported_spare, s.idle());
}

// Nothing of it is handed out any more, nor what woken receives were promised.
void Link::drop_unread(Session& s) {
  Release frame{.session = s.id, .attempts = {}};
  for (const link_state::Arrived& delivery : std::exchange(s.unread, {})) {
    if (delivery.attempt >> kAttemptEpochShift == epoch_) frame.attempts.push_back(delivery.attempt);
  }
  if (s.is_registered && !frame.attempts.empty()) push(std::move(frame));
  s.is_prefetching = false;
  grant(s);
  touch(s);
}

// --- what the broker tells of it ---

void Link::apply(Deliver&& frame) {
  Session* const s = find(frame.session);
  if (s == nullptr || !s->is_registered) return;  // closed: CLOSE gives it back
  s->received += frame.count();
  s->reported_waiting -= static_cast<std::uint32_t>(std::min<std::size_t>(s->reported_waiting, frame.count()));
  s->unread.push_back({std::move(frame.delivery)});
  for (Delivery& delivery : frame.more) s->unread.push_back({std::move(delivery)});
  touch(*s);
  grant(*s);
}

void Link::apply(const Recall& frame) {
  Session* const s = find(frame.session);
  if (s == nullptr || !s->is_registered) return;
  // What receives wait for is not spare, though they may have to wait for the lease.
  const std::size_t idle = s->idle();
  release_spare(*s, std::min<std::size_t>(frame.count, idle), true);
  s->is_short_of_spare = frame.count > idle && s->idle() == 0;
  touch(*s);
}

void Link::apply(const DemandIs& frame) {
  Session* const s = find(frame.session);
  if (s == nullptr) return;
  ++s->answers;
  // What was sent before the answer has arrived before it.
  s->limit = std::max(s->limit, frame.limit);
  for (RecvOperation* const w : std::vector<RecvOperation*>(s->asked)) {
    if (w->question > s->answers) continue;
    if (is_watch() || ((s->received < w->demanded || s->ended) && s->spare() == 0)) {
      leave_waiting(*s, *w);
      // relaxed: it only counts; what a branch has found is told by the claim.
      const bool is_last = !w->tries_left || w->tries_left->fetch_sub(1, std::memory_order_relaxed) == 1;
      if (is_last) signal(*w, Waiter::Signal::timed_out);
    } else {
      ask_again(*s, *w);
    }
  }
}

void Link::apply(const End& frame) {
  Session* const s = find(frame.session);
  if (s == nullptr) return;
  s->limit = s->received;  // the END took the demand back
  s->reported_waiting = 0;
  if (s->gave_back_at > frame.received) return touch(*s);
  s->ended = ChannelClosed{.kind = frame.kind, .reason = frame.reason};
  grant(*s);
}

}  // namespace klaw::dataplane
