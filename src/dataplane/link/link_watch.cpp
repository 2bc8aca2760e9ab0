// What a watch's handles do otherwise than a queue's. The value is the link's, for all its handles: as the broker tells it, and
// as they have sent it. Each receiver has a version that it has seen; a receive waits for a later one, and takes the value that
// is the latest when it goes on. So a woken receive that is cancelled has seen nothing, and one change ends all waits.
//
// Who only looks sees what has come. A receive that tries, or whose time is over, asks the broker first: what was sent before
// that, it finds.
#include <algorithm>
#include <utility>

#include <dataplane/link/link.hpp>

namespace klaw::dataplane {

using detail::Waiter;

std::optional<Latest> Link::borrow(const Registration& handle) const {
  return find(handle) == nullptr ? std::nullopt : latest_;
}

std::optional<Latest> Link::borrow_and_update(const Registration& handle) {
  Session* const s = find(handle);
  if (s == nullptr) return std::nullopt;
  if (latest_) s->seen = latest_->version;
  return latest_;
}

bool Link::has_changed(const Registration& handle) const {
  const Session* const s = find(handle);
  return s != nullptr && is_unseen(*s);
}

Version Link::seen(const Registration& handle) const {
  const Session* const s = find(handle);
  return s == nullptr ? 0 : s->seen;
}

void Link::take_along(Time now, const Registration& handle, const Latest& value, Version seen) {
  now_ = now;
  if (Session* const s = find(handle)) s->seen = seen;
  learn(value.version, value.message);
}

bool Link::is_unseen(const Session& s) const noexcept { return latest_ && s.seen != 0 && s.seen < latest_->version; }

Status Link::start_change(Time now, const Registration& handle, RecvOperation& w, Operation* op) {
  Session* const s = find(handle);
  auto error = closed_for(s);
  if (!error && is_unseen(*s)) {
    take_latest(*s, w);
    if (op != nullptr) op->commit(w.index);
    return Status::done;
  }
  if (!error) error = s->peer_gone;
  if (error) {
    w.error = *std::move(error);
    w.why = w.error.kind;
    if (op != nullptr) op->commit(w.index);
    return Status::closed;
  }
  return op == nullptr ? Status::pending : wait_in_line(now, *s, w, *op);
}

Status Link::finish_change(RecvOperation& w) {
  Session* const s = find(w.handle);
  if (s != nullptr) {
    take_latest(*s, w);
    return Status::done;
  }
  w.error = ChannelClosed{.kind = CloseKind::handle_closed};
  w.why = w.error.kind;
  return Status::closed;
}

void Link::take_latest(Session& s, RecvOperation& w) {
  w.value.emplace(Message{.payload = latest_->message, .attempt = latest_->version});
  s.seen = latest_->version;
  s.taken.push_back(latest_->version);
  touch(s);
}

// It came from the broker, or from one of our own.
void Link::learn(Version version, const Bytes& value) {
  if (latest_ && latest_->version >= version) return;
  latest_ = Latest{.version = version, .message = value};
  for_each_session([&](Session& s) {
    if (s.side != Side::receiver) return;
    if (s.seen == 0) s.seen = version;
    while (!s.waiting.empty() && is_unseen(s)) {
      RecvOperation& w = s.waiting.front();
      leave_waiting(s, w);
      signal(w, Waiter::Signal::granted);
    }
  });
}

void Link::apply(const Latest& frame) {
  must_ack_ = true;
  learn(frame.version, frame.message);
}

void Link::apply(const Changed& frame) {
  Session* const s = find(frame.session);
  if (s == nullptr) return;
  const auto offered = std::ranges::find(s->offered, frame.seq, &Offered::seq);
  if (offered == s->offered.end()) return;
  learn(frame.version, offered->value);
  s->stored = frame.seq;
  if (offered->operation != nullptr) offered->operation->receivers = frame.receivers;
  finish_offer(*s, static_cast<std::size_t>(offered - s->offered.begin()), Waiter::Signal::granted);
  offer_backlog(*s);
  check_flushed(*s);
  erase_if_done(*s);
}

void Link::report_watching(Session& s) {
  report_taken(s);
  if (!s.is_registered || s.is_closed || s.refused) return;
  ask(s);
  if (unserved(s) == s.reported_waiting) return;
  s.reported_waiting = unserved(s);
  push(Demand{.session = s.id, .waiting = s.reported_waiting});
}

}  // namespace klaw::dataplane
