// What is particular about a broadcast's handles. Sending: whether there is anybody to send to, only the broker can tell for
// one send, and it answers each, with the number of receivers. Receiving: what has come is this process's own, whatever
// becomes of it, so that no lease limits its handing out; and it may be that so many messages were missed.
#include <algorithm>
#include <cstdint>
#include <utility>

#include <dataplane/link/link.hpp>

namespace klaw::dataplane {

using detail::Waiter;

void Link::apply(const Missed& frame) {
  Session* const s = find(frame.session);
  if (s == nullptr || !s->is_registered) return;
  ++s->received;
  if (s->reported_waiting > 0) --s->reported_waiting;
  s->unread.push_back({{}, frame.skipped});
  touch(*s);
  grant(*s);
}

void Link::apply(const Sent& frame) {
  Session* const s = find(frame.session);
  if (s == nullptr) return;
  const auto offered = std::ranges::find(s->offered, frame.seq, &Offered::seq);
  if (offered == s->offered.end()) return;
  s->stored = frame.seq;
  if (offered->operation != nullptr) offered->operation->receivers = frame.receivers;
  finish_offer(*s, static_cast<std::size_t>(offered - s->offered.begin()), Waiter::Signal::granted);
  offer_backlog(*s);
  check_flushed(*s);
  erase_if_done(*s);
}

void Link::apply(const Receivers& frame) {
  Session* const s = find(frame.session);
  if (s == nullptr) return;
  s->peer_gone.reset();
  if (frame.any) return;
  s->peer_gone = ChannelClosed{.kind = frame.kind, .reason = frame.reason};
  end_waits(s->watching, nullptr);
}

// What a receive was woken for is there no more.
ChannelClosed Link::gone_error() const {
  return backend_error(is_broadcast()
                           ? "what it was woken for is lost: the channel's actor died, or this process was out of reach"
                           : "the message was given to another receiver: this process was out of reach");
}

}  // namespace klaw::dataplane
