// A broadcast: one window over the stream of messages, and receivers that read it, each at its own pace.
//
// What it has in common with the other kinds: clients, sessions, counts, and the line in which offers wait. Its own:
//   - What is stored is in the window, not in ready_ (window.hpp), and is delivered to each receiver in its turn, one event
//     for one receive that waits: a message, or how many the receiver missed. So nothing travels ahead, and what a receiver is
//     told to have missed is what was dropped before it asked.
//   - A receiver stands where it has taken all before: CONSUMED moves it, which may drop the oldest message, and so make room.
//   - Nothing comes back: a receiver that dies is one reader less.
//   - The receivers' side is closed whenever nobody is there, from the beginning on, and open again with the next who comes. An
//     offer that meets nobody is refused. After a restart it waits for the rejoin grace: those who live will come.
//
// An attempt's number is its message's position, the same for all receivers.
#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include <dataplane/broker/broker.hpp>
#include <dataplane/wire/check.hpp>

namespace klaw::dataplane {

using broker_state::Position;
using broker_state::Reading;

// --- receivers come and go ---

// Somebody receives from `place` on.
void Broker::subscribe(Position place) {
  if (is_broadcast()) window_.enter(place);
  SideState& s = side(Side::receiver);
  if (!s.is_closed) return;
  s = SideState{.count = s.count};
  for (const auto& [id, client] : clients_) {
    for (const auto& [session, sender] : client->senders) tell_receivers(*client, session);
  }
}

void Broker::unsubscribe(Receiver& receiver) {
  window_.leave(receiver.reading.place());
  receiver.reading.unread.clear();
}

void Broker::tell_receivers(Client& client, SessionId session) {
  const SideState& s = side(Side::receiver);
  Receivers frame{.session = session, .any = !s.is_closed};
  if (s.is_closed) {
    frame.kind = s.kind;
    frame.reason = s.reason.value_or("no receivers");
  }
  push(client, make_frame(std::move(frame)));
}

// Nobody will hear what waits in line.
void Broker::refuse_unheard() {
  for (auto& [order, offer] : std::exchange(offers_, {})) {
    answer(*offer.sender, offer.seq, Answer::Outcome::refused);
    decide(*offer.sender, offer.seq);
  }
}

// --- sending ---

// `nowait`: now or not at all. (After a restart the first receiver to come back has room for it.)
void Broker::offer_to_all(broker_state::Offer&& offer, bool nowait, std::uint64_t bytes) {
  Sender& sender = *offer.sender;
  if (side(Side::receiver).is_closed) {
    answer(sender, offer.seq, Answer::Outcome::refused);
  } else if (offers_.empty() && can_publish()) {
    publish(std::move(offer));
  } else if (nowait) {
    answer(sender, offer.seq, Answer::Outcome::full);
  } else {
    wait_in_line(std::move(offer), nowait, bytes);
  }
}

bool Broker::can_publish() const noexcept {
  return window_.readers() > 0 && (!settings_.waits_for_slowest || has_room(1));
}

void Broker::publish(broker_state::Offer&& offer) {
  Sender& sender = *offer.sender;
  if (!has_room(1)) window_.drop_oldest();
  traffic_.sent_bytes += offer.message.bytes().size();
  window_.push({.message = std::move(offer.message),
                .client = sender.client_id,
                .session = sender.id,
                .seq = offer.seq,
                .stored_at = now_});
  ++total_sent_;
  high_watermark_ = std::max(high_watermark_, window_.size());
  sender.stored = offer.seq;
  push(*sender.client, make_frame(Sent{.session = sender.id, .seq = offer.seq, .receivers = window_.readers()}));
  wake_readers();
}

// --- receiving ---

// There is something for those who had seen all: a message, or the end.
void Broker::wake_readers() {
  while (!caught_up_.empty()) {
    Receiver& receiver = caught_up_.front();
    leave_line(receiver);
    join_line(receiver);
  }
}

// Stores what waits in line as far as there is room, and serves those whose receives wait.
void Broker::match_readers() {
  while (!offers_.empty() && can_publish()) {
    auto node = offers_.extract(offers_.begin());
    const std::shared_ptr<Sender> sender = node.mapped().sender;
    const Seq seq = node.mapped().seq;
    publish(std::move(node.mapped()));
    decide(*sender, seq);
  }
  const bool is_at_end = side(Side::sender).is_closed;  // and so nothing is offered
  if (is_at_end) wake_readers();
  while (!waiting_.empty()) {
    Receiver& receiver = waiting_.front();
    leave_line(receiver);
    read(receiver);
    if (receiver.waiting == 0 || receiver.reading.next != window_.tail()) {
      join_line(receiver);  // if it only prefetches; not if so much is out to it that it gets no more
    } else if (is_at_end) {
      send_end(receiver, *ending());
    } else {
      receiver.line = Receiver::Line::caught_up;
      caught_up_.push_back(receiver);
    }
  }
}

// Gives it what is there, as far as its receives wait for it.
void Broker::read(Receiver& receiver) {
  Reading& reading = receiver.reading;
  while (receiver.waiting > 0 && reading.next != window_.tail() && receiver.unsettled() < kOutstandingMax) {
    if (reading.next < window_.base()) {
      send_deliveries(receiver);
      ++receiver.delivered;
      --receiver.waiting;
      const std::uint64_t skipped = window_.base() - std::exchange(reading.next, window_.base());
      push(*receiver.client, make_frame(Missed{.session = receiver.id, .skipped = skipped}));
      continue;
    }
    const Bytes& message = window_.at(reading.next).message.bytes();
    add_delivery(receiver, {.attempt = first_attempt() + reading.next, .message = message});
    reading.unread.push_back({.position = reading.next++, .bytes = message.size()});
  }
}

// Of those it names, what it was sent and has not taken; stale ones are passed over.
void Broker::take(Receiver& receiver, const std::vector<Attempt>& attempts) {
  Reading& reading = receiver.reading;
  const Position before = reading.place();
  for (const Attempt attempt : attempts) {
    const Position position = attempt - first_attempt();
    if (position >= reading.next) continue;
    while (!reading.unread.empty() && reading.unread.front().position <= position) {
      ++receiver.total_received;
      ++total_received_;
      traffic_.received_bytes += reading.unread.front().bytes;
      reading.unread.pop_front();
    }
  }
  window_.move(before, reading.place());
  join_line(receiver);
  match();
}

// --- what it can tell ---

std::size_t Broker::count_unread() const {
  std::size_t unread = 0;
  for (const auto& [id, client] : clients_) {
    for (const auto& [session, receiver] : client->receivers) unread += receiver->reading.unread.size();
  }
  return unread;
}

void Broker::check_window() const {
  std::map<Position, std::size_t> standing;
  const auto stands = [&](Position place) { ++standing[std::max(place, window_.base())]; };
  for (const auto& [token, held] : holds_) {
    if (held.side == Side::receiver) stands(held.place);
  }
  for (const auto& [id, client] : clients_) {
    for (const auto& [session, receiver] : client->receivers) {
      const Reading& reading = receiver->reading;
      stands(reading.place());
      check(reading.next <= window_.tail(), "W1 nobody has read what was not sent");
      check(std::ranges::is_sorted(reading.unread, {}, &Reading::Unread::position), "W1 messages are read in order");
      check(receiver->line != Receiver::Line::caught_up || reading.next == window_.tail(),
            "B3 nobody waits beside a message that it has not read");
    }
  }
  std::size_t readers = 0;
  for (Position position = window_.base(); position <= window_.tail(); ++position) {
    check(window_.readers_at(position) == standing[position], "W1 those who stand at a message are counted");
    readers += standing[position];
  }
  check(readers == window_.readers() && readers == side(Side::receiver).count, "W1 all readers are counted");
  check(window_.size() == 0 || standing[window_.base()] > 0, "W2 somebody stands at the oldest message");
  check(window_.size() <= settings_.capacity, "B1 no more is kept than the capacity");
  check(is_removed_ || offers_.empty() || !can_publish(), "B2 nobody waits for room that is there");
  check(is_removed_ || waiting_.empty(), "B3 who waits is served, or has read all");
}

}  // namespace klaw::dataplane
