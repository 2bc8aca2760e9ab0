// Handles: opening, cloning, closing, and what ends the operations that wait on them.
#include <algorithm>
#include <cassert>
#include <cstdint>
#include <tuple>
#include <utility>

#include <dataplane/link/link.hpp>

namespace klaw::dataplane {

using detail::Waiter;

namespace {

// The broker refuses longer texts, and with them the connection. UTF-8 is not cut within a character.
std::string shortened(std::string text) {
  if (text.size() <= kTextBytesMax) return text;
  std::size_t size = kTextBytesMax;
  while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xC0U) == 0x80U) --size;
  text.resize(size);
  return text;
}

}  // namespace

Link::Link(LinkSettings settings, Time now)
    : settings_(std::move(settings)),
      now_(now),
      client_(settings_.new_client_id()),
      retry_after_(settings_.retry_min),
      down_since_(now) {}

Link::~Link() = default;

Registration Link::open(Time now, Side side, std::optional<Token> claim, std::string name, bool counts) {
  now_ = now;
  auto session = std::make_unique<Session>();
  session->id = ++last_session_;
  session->side = side;
  session->claim = claim;
  session->counts = counts;
  session->name = shortened(std::move(name));
  session->seen = latest_ ? latest_->version : 0;
  Session& s = *session;
  sessions_.emplace(s.id, std::move(session));
  if (gone_) {
    s.refused = gone_;
  } else {
    push_open(s);
    if (state_ == State::idle) connect();
  }
  return Registration{.id = s.id, .closed = false};
}

Registration Link::clone(Time now, Side side, const Registration& from, std::string name) {
  const Session* const original = find(from);
  if (from.closed || original == nullptr) return Registration{.id = 0, .closed = true};
  return open(now, side, std::nullopt, std::move(name));
}

void Link::hold(Time now, Side side, const Registration& handle, const Token& token) {
  now_ = now;
  const Session* const s = find(handle);
  if (s != nullptr && !s->refused) push(Hold{.token = token, .side = side});
}

Status Link::start_hold(Time now, Side side, const Registration& handle, const Token& token, HandleOperation& w,
                        Operation* op) {
  now_ = now;
  Session* const s = find(handle);
  if (auto error = closed_for(s)) {
    w.error = *std::move(error);
    return Status::closed;
  }
  if (op == nullptr) return Status::pending;
  push(Hold{.token = token, .side = side});
  w.through = stream_.sent();
  // Its answer says what the broker has; it would say so by itself, later.
  if (state_ == State::attached) send_ping();
  return start_wait(*s, holding_, w, op);
}

void Link::check_holding() {
  while (!holding_.empty() && stream_.has_acknowledged(holding_.front().through)) {
    signal(holding_.pop_front(), Waiter::Signal::granted);
  }
}

std::optional<ChannelClosed> Link::close(Time now, Side side, Registration& handle, std::optional<std::string> reason) {
  now_ = now;
  if (handle.closed) return std::nullopt;
  handle.closed = true;
  Session* const s = find(handle.id);
  if (s == nullptr) return std::nullopt;
  s->is_closed = true;
  auto untold = std::exchange(s->failure, std::nullopt);
  if (reason) s->reason = shortened(*std::move(reason));
  const ChannelClosed error{.kind = CloseKind::handle_closed};
  end_waits(s->watching, &error);
  end_waits(s->opening, &error);
  end_waits(s->shutting_down, &error);
  if (side == Side::sender) {
    end_backlog(*s, error);
    // What has been offered may be stored this very moment: the broker's answer decides.
    for (Offered& offered : s->offered) withdraw(*s, offered);
    check_flushed(*s);
  } else {
    end_waiting(*s, error);
  }
  push_close(*s);
  erase_if_done(*s);
  return untold;
}

void Link::close_all(Time now) {
  for_each_session([&](Session& s) {
    while (!s.permits.empty()) give_back(s, *s.permits.begin());
    give_back_unconfirmed(s);
    s.outlived.clear();
    if (s.is_closed) return erase_if_done(s);  // it was kept for what was decoded
    Registration handle{.id = s.id};
    std::ignore = close(now, s.side, handle, std::nullopt);  // nobody is left to be told
  });
}

void Link::push_open(Session& s) {
  s.is_registered = true;
  push(Open{.session = s.id,
            .side = s.side,
            .claim = s.claim,
            .counts = s.counts,
            .next = s.next,
            .name = s.name,
            .node = settings_.node});
}

// Once nobody is about to take one of its messages: CLOSE gives all back that is unread.
void Link::push_close(Session& s) {
  if (!s.is_registered || s.granted > 0) return;
  // What is still being decoded is settled once it is.
  s.taken_unsettled.insert(s.taken_unsettled.end(), s.unconfirmed.begin(), s.unconfirmed.end());
  report_taken(s);
  s.is_registered = false;
  push(Close{.session = s.id, .reason = std::move(s.reason)});
  s.unread.clear();
}

// A closed session is kept for the answers and the operations that it still owes.
void Link::erase_if_done(Session& s) {
  if (!s.is_closed || s.is_registered || s.granted > 0 || !s.offered.empty() || !s.flushing.empty()) return;
  if (!s.permits.empty() || s.fills_answered < s.fills) return;
  if (!s.unconfirmed.empty() || !s.outlived.empty()) return;
  sessions_.erase(s.id);
}

Link::Session* Link::find(std::uint64_t id) const {
  const auto found = sessions_.find(id);
  return found == sessions_.end() ? nullptr : found->second.get();
}

Link::Session* Link::find(const Registration& handle) const { return handle.closed ? nullptr : find(handle.id); }

// Why an operation on this handle can't begin, if so. Tells a failure that nobody has heard of, once.
std::optional<ChannelClosed> Link::closed_for(Session* s) {
  if (s == nullptr || s->is_closed) return ChannelClosed{.kind = CloseKind::handle_closed};
  if (s->failure) return std::exchange(s->failure, std::nullopt);
  return gone_ ? gone_ : s->refused;
}

// An operation of this handle ends with `error`: if that is its failure, it is told.
void Link::told(std::uint64_t handle, const ChannelClosed& error) {
  if (Session* const s = find(handle); s != nullptr && s->failure == error) s->failure.reset();
}

bool Link::is_closed(Side side, const Registration& handle) const {
  const Session* const s = find(handle);
  if (s == nullptr || gone_ || s->refused) return true;
  if (side == Side::sender) return shut_down_ || (s->peer_gone && !s->is_spent);
  return is_watch() ? s->peer_gone && !is_unseen(*s) : is_over(*s);
}

// --- operations about a handle ---

Status Link::start_opened(Time now, Side /*side*/, const Registration& handle, HandleOperation& w, Operation* op) {
  now_ = now;
  Session* const s = find(handle);
  if (s == nullptr || gone_ || s->refused) {
    w.error = *closed_for(s);
    return Status::closed;
  }
  return s->is_opened ? Status::done : start_wait(*s, s->opening, w, op);
}

Status Link::start_closed(Time now, Side /*side*/, const Registration& handle, HandleOperation& w, Operation* op) {
  now_ = now;
  Session* const s = find(handle);
  if (s != nullptr && (s->peer_gone || shut_down_) && !gone_) return Status::done;
  if (auto error = closed_for(s)) {
    w.error = *std::move(error);
    return Status::closed;
  }
  return start_wait(*s, s->watching, w, op);
}

Status Link::start_flush(Time now, const Registration& handle, HandleOperation& w, Operation* op) {
  now_ = now;
  Session* const s = find(handle.id);  // of a closed handle, too
  if (s == nullptr) return Status::done;
  if (s->failure) {
    w.error = *std::exchange(s->failure, std::nullopt);
    return Status::closed;
  }
  if (s->offered.empty() && s->backlog.empty() && s->fills_answered == s->fills) return Status::done;
  w.through = s->next - 1 + s->backlog_count;
  w.fills_through = s->fills;
  return start_wait(*s, s->flushing, w, op);
}

Status Link::start_shutdown(Time now, const Registration& handle, bool immediate, std::optional<std::string> reason,
                            HandleOperation& w, Operation* op) {
  now_ = now;
  Session* const s = find(handle);
  if (auto error = closed_for(s)) {
    w.error = *std::move(error);
    return Status::closed;
  }
  if (shut_down_ && (shut_down_->immediate || !immediate)) return Status::done;
  if (op == nullptr) return Status::pending;
  if (reason) reason = shortened(*std::move(reason));
  push(Shutdown{.immediate = immediate, .reason = std::move(reason)});
  w.immediate = immediate;
  return start_wait(*s, s->shutting_down, w, op);
}

Status Link::start_wait(Session& s, detail::IntrusiveList<HandleOperation>& line, HandleOperation& w, Operation* op) {
  if (op == nullptr) return Status::pending;
  begin_wait(s, w, *op);
  w.line = &line;
  line.push_back(w);
  return Status::pending;
}

Status Link::finish_wait(HandleOperation& w) {
  if (w.signal == Waiter::Signal::granted) return Status::done;
  told(w.handle, w.error);
  return Status::closed;
}

void Link::abandon_wait(HandleOperation& w) noexcept {
  if (!w.is_linked()) return;
  w.line->remove(w);
  if (Session* const s = find(w.handle)) erase_if_done(*s);
}

// --- how operations end ---

// Claims the operation of an unlinked waiter. False: it was cancelled, or went to another channel.
bool Link::signal(Waiter& w, Waiter::Signal what) {
  if (!w.operation->try_claim(w.index)) return false;
  w.signal = what;
  wakeups_.add(*w.operation);
  return true;
}

// Done, or with an error: closed.
void Link::end_waits(detail::IntrusiveList<HandleOperation>& line, const ChannelClosed* error) {
  while (!line.empty()) {
    HandleOperation& w = line.pop_front();
    if (error != nullptr) {
      signal_closed(w, *error);
    } else {
      signal(w, Waiter::Signal::granted);
    }
  }
}

void Link::end_backlog(Session& s, const ChannelClosed& error) {
  while (!s.backlog.empty()) {
    SendOperation& w = s.backlog.front();
    leave_backlog(s, w);
    signal_closed(w, error);
  }
}

void Link::end_waiting(Session& s, const ChannelClosed& error) {
  while (!s.waiting.empty()) {
    RecvOperation& w = s.waiting.front();
    leave_waiting(s, w);
    signal_closed(w, error);
  }
}

// Ends all that waits on the session, but the wait for its being opened.
void Link::fail_pending(Session& s, const ChannelClosed& error) {
  end_waits(s.watching, &error);
  end_waits(s.shutting_down, &error);
  end_backlog(s, error);
  for (Offered& offered : std::exchange(s.offered, {})) {
    if (offered.operation == nullptr) continue;
    stop_timer(offered.operation->timer, offered.operation->deadline);
    signal_closed(*offered.operation, error);
  }
  s.offered_count = s.offered_bytes = 0;
  end_waits(s.flushing, &error);
  end_waiting(s, error);
}

// Something was lost that handles rely on. Each hears of it: by what it waits for; or, if nothing did, or all that did is
// cancelled before it is told, by its next operation.
void Link::fail_handles(const std::string& why) {
  const ChannelClosed error = backend_error(why);
  end_waits(holding_, &error);
  for_each_session([&](Session& s) {
    fail_pending(s, error);
    if (!s.is_closed && !s.refused) s.failure = error;
    erase_if_done(s);
  });
}

// The channel is no more.
void Link::end_all(const ChannelClosed& error) {
  if (gone_) return;
  gone_ = error;
  end_waits(holding_, &error);
  for_each_session([&](Session& s) {
    s.is_registered = false;
    fail_pending(s, error);
    forget_permits(s);
    end_waits(s.opening, &error);
    s.unread.clear();
    s.outlive_broker();
    erase_if_done(s);
  });
}

ChannelClosed Link::shutdown_error() const {
  return ChannelClosed{.kind = CloseKind::shutdown, .reason = shut_down_ ? shut_down_->reason : std::nullopt};
}

// Why the broker takes no more offers of this sender.
ChannelClosed Link::refusal(const Session& s) const {
  return s.peer_gone && !shut_down_ ? *s.peer_gone : shutdown_error();
}

ChannelClosed Link::backend_error(std::string message) const {
  ChannelBackendError error = settings_.about;
  error.message = std::move(message);
  return ChannelClosed{.kind = CloseKind::backend, .backend_error = std::move(error)};
}

}  // namespace klaw::dataplane
