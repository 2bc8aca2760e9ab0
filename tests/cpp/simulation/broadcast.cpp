#include "simulation/broadcast.hpp"

#include <algorithm>

namespace klaw::dataplane::simulation {

// --- what its witness hears and sees ---

void Broadcast::offered(ConnectionId connection, const ClientId& client, const Offer& frame) {
  const MessageId id = oracle_.identify(frame.message);
  const std::size_t index = arrivals_.size();
  arrivals_.push_back({.id = id, .connection = connection, .heard_at = ++clock_});
  by_name_.emplace(std::tuple(client, frame.session, frame.seq), index);
  if (id < oracle_.message_count()) by_id_.emplace(id, index);
}

void Broadcast::held(Time now, const Token& token) {
  holds_.try_emplace(token, Hold{.from = ++clock_, .until = now + settings_.hold_limit});
}

// The first that claims a hold begins where that began; but if it has lapsed.
void Broadcast::opened(Time now, const Reader& reader, const std::optional<Token>& claim) {
  ++clock_;
  Reading reading{.from = clock_, .earliest = clock_};
  if (const auto held = claim ? holds_.find(*claim) : holds_.end(); held != holds_.end()) {
    reading.earliest = held->second.from;
    if (now < held->second.until) reading.from = held->second.from;
    holds_.erase(held);
  }
  readers_.try_emplace(reader, reading);
}

void Broadcast::died(const ClientId& client) {
  for (auto& [reader, reading] : readers_) reading.is_gone |= reader.first == client;
}

void Broadcast::sent(ConnectionId connection, const ClientId& client, const Sent& frame,
                     std::pair<std::size_t, std::size_t> counted) {
  Arrival* const arrival = find(client, frame.session, frame.seq);
  if (arrival == nullptr || arrival->fate != Arrival::Fate::unknown) return;  // sent again on a new connection
  arrival->fate = Arrival::Fate::stored;
  arrival->stored_at = ++clock_;
  arrival->receivers = frame.receivers;
  if (arrival->connection != connection) return;  // it was sent before, to a connection that was lost
  if (frame.receivers < std::max<std::size_t>(counted.first, 1) || frame.receivers > counted.second) {
    oracle_.fail("R6", "sent to " + std::to_string(frame.receivers) + " receivers, and there are " +
                           std::to_string(counted.first) + " to " + std::to_string(counted.second));
  }
}

void Broadcast::answered(ConnectionId connection, const ClientId& client, const Answer& frame,
                         std::pair<std::size_t, std::size_t> counted) {
  Arrival* const arrival = find(client, frame.session, frame.seq);
  if (arrival == nullptr || arrival->fate != Arrival::Fate::unknown) return;
  arrival->fate = Arrival::Fate::void_;
  ++clock_;
  if (frame.outcome == Answer::Outcome::refused && arrival->connection == connection && counted.first > 0) {
    oracle_.fail("R6", "refused, and there are " + std::to_string(counted.first) + " receivers");
  }
}

// --- what the clients' code sees ---

void Broadcast::send_done(MessageId id, std::uint64_t receivers) {
  const auto found = by_id_.find(id);
  if (found == by_id_.end()) oracle_.fail("R2", "done, but never offered: " + oracle_.describe(id));
  Arrival& arrival = arrivals_[found->second];
  if (arrival.fate != Arrival::Fate::stored) oracle_.fail("R2", "done, but never stored: " + describe(found->second));
  if (arrival.receivers != receivers) {
    oracle_.fail("R6", "told " + std::to_string(receivers) + " receivers instead of " +
                           std::to_string(arrival.receivers) + ": " + describe(found->second));
  }
  arrival.done_at = oracle_.now();
  if (!settings_.waits_for_slowest) return;
  for (const auto& [reader, reading] : readers_) {
    if (reading.is_gone) continue;
    const std::size_t left = left_for(reading, [](const Arrival&) { return true; });
    if (left > settings_.capacity) {
      oracle_.fail("R7", std::to_string(left) + " messages are sent that a receiver has yet to take");
    }
  }
}

void Broadcast::got(const Reader& reader, MessageId id, const Message& message) {
  Reading& reading = reading_of(reader);
  const std::uint64_t position = message.attempt - (settings_.epoch << static_cast<unsigned>(kAttemptEpochShift)) - 1;
  if (message.redeliveries != 0) oracle_.fail("R3", "redelivered: " + oracle_.describe(id));
  if (reading.next && position != *reading.next + reading.missed) {
    oracle_.fail("R3", "position " + std::to_string(position) + " after position " + std::to_string(*reading.next - 1) +
                           " and " + std::to_string(reading.missed) + " missed ones: " + oracle_.describe(id));
  }
  const bool is_first = !reading.next;
  if (is_first && position < reading.missed) oracle_.fail("R3", "more were missed than there were");
  const std::uint64_t first = position - std::exchange(reading.missed, 0);
  reading.next = position + 1;
  if (id >= oracle_.message_count()) {  // a hostile client's, the last of them at most
    for (std::size_t i = reading.last; i < arrivals_.size(); ++i) {
      if (arrivals_[i].id >= oracle_.message_count()) reading.last = i;
    }
    return;
  }
  const auto found = by_id_.find(id);
  if (found == by_id_.end()) oracle_.fail("R1", "received, but never offered: " + oracle_.describe(id));
  Arrival& arrival = arrivals_[found->second];
  if (arrival.fate == Arrival::Fate::void_) oracle_.fail("R2", "received, but not stored: " + describe(found->second));
  place(found->second, position);
  reading.last = std::max(reading.last, found->second);
  // R4: what was told to be stored before it subscribed is not for it, and what came after that is, as far as we know its place.
  if (arrival.fate == Arrival::Fate::stored && arrival.stored_at < reading.earliest) {
    oracle_.fail("R4", "stored before its receiver subscribed: " + describe(found->second));
  }
  if (!is_first) return;
  for (const auto& [place, index] : by_position_) {
    if (place < first && arrivals_[index].heard_at > reading.from) {
      oracle_.fail("R4", "sent after a receiver subscribed, which begins later: " + describe(index));
    }
  }
  const auto is_before = [&](const Arrival& a) {
    return a.fate == Arrival::Fate::stored && a.heard_at > reading.from && &a < &arrival;
  };
  const auto before = static_cast<std::uint64_t>(std::ranges::count_if(arrivals_, is_before));
  if (before > position - first) {
    oracle_.fail("R4", std::to_string(before) + " messages were stored since it subscribed, and it was told of " +
                           std::to_string(position - first) + " before: " + describe(found->second));
  }
}

// A lag is only told if the message after it is the oldest of a full window. (It may be followed by another, if that is missed
// as well.)
void Broadcast::missed(const Reader& reader, std::uint64_t skipped) {
  Reading& reading = reading_of(reader);
  if (settings_.waits_for_slowest) oracle_.fail("R3", "a lag, with overflow 'wait'");
  if (skipped == 0) oracle_.fail("R3", "a lag of nothing");
  reading.missed += skipped;
  const auto stored = static_cast<std::uint64_t>(
      std::ranges::count_if(arrivals_, [](const Arrival& a) { return a.fate != Arrival::Fate::void_; }));
  if (reading.next.value_or(0) + reading.missed + settings_.capacity > stored) {
    oracle_.fail("R3", "a lag of " + std::to_string(reading.missed) + " from position " +
                           std::to_string(reading.next.value_or(0)) + " on, with " + std::to_string(stored) +
                           " messages in all");
  }
}

void Broadcast::ended(const Reader& reader) const {
  const auto found = readers_.find(reader);
  if (found == readers_.end()) return;  // of a broker that had never heard of it
  if (found->second.missed > 0) oracle_.fail("R5", "an end after a lag, without the message that was kept");
  const std::size_t left = left_for(found->second, [](const Arrival&) { return true; });
  if (left > 0) oracle_.fail("R5", "an end, and " + std::to_string(left) + " messages were left");
}

void Broadcast::found_nothing(const Reader& reader, Micros since) const {
  const auto found = readers_.find(reader);
  if (found == readers_.end() || found->second.is_gone) return;
  const std::size_t left =
      left_for(found->second, [&](const Arrival& arrival) { return arrival.done_at && *arrival.done_at < since; });
  if (left > 0) oracle_.fail("R5", std::to_string(left) + " messages are there, and a receive has not found them");
}

// --- what must agree ---

Broadcast::Arrival* Broadcast::find(const ClientId& client, SessionId session, Seq seq) {
  const auto found = by_name_.find({client, session, seq});
  return found == by_name_.end() ? nullptr : &arrivals_[found->second];
}

Broadcast::Reading& Broadcast::reading_of(const Reader& reader) {
  const auto found = readers_.find(reader);
  if (found == readers_.end()) oracle_.fail("R4", "something was received that nobody has subscribed to");
  return found->second;
}

void Broadcast::place(std::size_t index, std::uint64_t position) {
  Arrival& arrival = arrivals_[index];
  if (arrival.position.value_or(position) != position) {
    oracle_.fail("R1", "at position " + std::to_string(position) + ", too: " + describe(index));
  }
  arrival.position = position;
  const auto [here, is_new] = by_position_.try_emplace(position, index);
  if (here->second != index) oracle_.fail("R1", describe(index) + " has the same as " + describe(here->second));
  if (!is_new) return;
  if (here != by_position_.begin()) check_between(*std::prev(here), *here);
  if (std::next(here) != by_position_.end()) check_between(*here, *std::next(here));
}

void Broadcast::check_between(std::pair<std::uint64_t, std::size_t> before,
                              std::pair<std::uint64_t, std::size_t> after) const {
  if (before.second >= after.second) {
    oracle_.fail("R1", describe(before.second) + " arrived after " + describe(after.second));
  }
  std::uint64_t least = 0;
  std::uint64_t most = 0;
  for (std::size_t i = before.second + 1; i < after.second; ++i) {
    if (arrivals_[i].fate == Arrival::Fate::stored) ++least;
    if (arrivals_[i].fate != Arrival::Fate::void_) ++most;
  }
  const std::uint64_t between = after.first - before.first - 1;
  if (between < least || between > most) {
    oracle_.fail("R2", "between " + describe(before.second) + " and " + describe(after.second) + " there are " +
                           std::to_string(least) + " to " + std::to_string(most) + " messages");
  }
}

template <class Which>
std::size_t Broadcast::left_for(const Reading& reading, Which which) const {
  std::size_t left = 0;
  for (std::size_t i = reading.next ? reading.last + 1 : 0; i < arrivals_.size(); ++i) {
    const Arrival& arrival = arrivals_[i];
    if (arrival.id >= oracle_.message_count()) continue;  // (which of a hostile client's it has got, nobody can tell)
    if (arrival.fate != Arrival::Fate::stored || arrival.heard_at < reading.from || !which(arrival)) continue;
    ++left;
  }
  return left - std::min<std::size_t>(left, reading.missed);
}

std::string Broadcast::describe(std::size_t index) const {
  const Arrival& arrival = arrivals_[index];
  const std::string place = arrival.position ? " at position " + std::to_string(*arrival.position) : "";
  const std::string what =
      arrival.id < oracle_.message_count() ? oracle_.describe(arrival.id) : std::string("a hostile client's message");
  return what + ", the " + std::to_string(index) + "th to arrive" + place;
}

}  // namespace klaw::dataplane::simulation
