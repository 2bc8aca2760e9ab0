#include "simulation/witness.hpp"

#include <algorithm>

namespace klaw::dataplane::simulation {

void Witness::received(Time now, ConnectionId connection, const Frame& frame, const Broker& broker) {
  if (const auto found = attached_.find(connection); found != attached_.end()) {
    hear(now, found->second, frame, broker);
    if (broadcast_ && !is_removed_) hear_broadcast(now, connection, found->second, frame);
    if (const auto* const offer = std::get_if<Offer>(&frame); watched_ && offer != nullptr) {
      watched_->offered(found->second, *offer);
    }
  } else if (const auto* const attach = std::get_if<Attach>(&frame)) {
    asked_[connection] = {attach->client, attach->connection};
    if (!attach->resume && attendance_.contains(attach->client)) attendance_[attach->client].has_left = true;
  }
}

void Witness::hear(Time now, const ClientId& client, const Frame& frame, const Broker& broker) {
  if (is_removed_) return;
  if (const auto* const open = std::get_if<Open>(&frame)) {
    hear_open(client, *open);
  } else if (const auto* const close = std::get_if<Close>(&frame)) {
    hear_close(now, {client, close->session}, broker);
  } else if (const auto* const hold = std::get_if<Hold>(&frame)) {
    hear_hold(now, *hold, broker);
  } else if (const auto* const offer = std::get_if<Offer>(&frame)) {
    hear_offer(*offer);
  } else if (const auto* const shutdown = std::get_if<Shutdown>(&frame)) {
    hear_shutdown(*shutdown);
  } else if (const auto* const fill = std::get_if<Fill>(&frame)) {
    hear_fill(now, client, *fill, broker);
  } else if (const auto* const unreserve = std::get_if<Unreserve>(&frame)) {
    permits_[{client, unreserve->session}][unreserve->seq] = false;
  } else if (const auto* const release = std::get_if<Release>(&frame)) {
    hear_settlements({client, release->session}, release->attempts, [this](Delivered& d) {
      d.is_released = true;
      if (d.id < oracle_.message_count()) oracle_.record(d.id).was_released = true;
    });
  } else if (const auto* const consumed = std::get_if<Consumed>(&frame)) {
    const bool is_over = is_closed({client, consumed->session});  // CLOSE has released what was not consumed
    hear_settlements({client, consumed->session}, consumed->attempts, [&](Delivered& d) {
      if (d.is_consumed || d.is_released || is_over) return;
      d.is_consumed = once_.is_consumed = true;
      d.is_settled = consumed->settled;
    });
  } else if (const auto* const settle = std::get_if<Settle>(&frame)) {
    hear_settlements({client, settle->session}, settle->attempts, [&](Delivered& d) {
      if (!d.is_consumed || d.is_settled || d.is_requeued) return;
      (settle->requeue ? d.is_requeued : d.is_settled) = true;
      d.not_before = now + std::chrono::milliseconds(settle->delay_ms);
      if (settle->requeue && settle->delay_ms > 0) oracle_.channel(channel_).has_delays = true;
    });
  }
}

void Witness::hear_broadcast(Time now, ConnectionId connection, const ClientId& client, const Frame& frame) {
  if (const auto* const open = std::get_if<Open>(&frame); open != nullptr && open->side == Side::receiver) {
    broadcast_->opened(now, {client, open->session}, open->claim);
    if (hostile_.contains(client)) broadcast_->closed({client, open->session});  // what it gets, nobody sees
  } else if (const auto* const hold = std::get_if<Hold>(&frame); hold != nullptr && hold->side == Side::receiver) {
    broadcast_->held(now, hold->token);
  } else if (const auto* const close = std::get_if<Close>(&frame)) {
    broadcast_->closed({client, close->session});
  } else if (const auto* const offer = std::get_if<Offer>(&frame)) {
    broadcast_->offered(connection, client, *offer);
  }
}

void Witness::see_watched(Time now, const ClientId& client, const Frame& frame) {
  if (const auto* const latest = std::get_if<Latest>(&frame)) {
    watched_->told(*latest);
  } else if (const auto* const changed = std::get_if<Changed>(&frame)) {
    watched_->changed(client, *changed, count(now, Side::receiver));
  } else if (const auto* const answer = std::get_if<Answer>(&frame)) {
    watched_->refused(client, *answer, count(now, Side::receiver));
  }
}

void Witness::see_broadcast(Time now, ConnectionId connection, const ClientId& client, const Frame& frame) {
  if (const auto* const sent = std::get_if<Sent>(&frame)) {
    broadcast_->sent(connection, client, *sent, count(now, Side::receiver));
  } else if (const auto* const answer = std::get_if<Answer>(&frame)) {
    broadcast_->answered(connection, client, *answer, count(now, Side::receiver));
  }
}

void Witness::hear_open(const ClientId& client, const Open& frame) {
  sessions_.try_emplace({client, frame.session}, Session{.side = frame.side, .counts = frame.counts});
  claims_[{client, frame.session}] = frame.claim;
  once_.was_sent_before |= frame.side == Side::sender && frame.next > 1;
}

// Messages whose DELIVER was not even sent go back, too.
void Witness::hear_close(Time now, const SessionName& session, const Broker& broker) {
  sessions_[session].is_closed = true;
  sessions_[session].closed_at = now;
  for (const MessageView& view : broker.messages()) {
    if (view.place != MessageView::Place::unread || view.receiver != session.first) continue;
    if (view.receiver_session != session.second) continue;
    const MessageId id = oracle_.identify(*view.message);
    if (id < oracle_.message_count()) oracle_.record(id).was_released = true;
  }
}

// (A hold of a side that has closed counts nowhere.)
void Witness::hear_hold(Time now, const Hold& frame, const Broker& broker) {
  const Checkpoint now_is = broker.checkpoint(false);
  const bool is_closed = frame.side == Side::sender ? now_is.sending.is_closed : now_is.receiving.is_closed;
  if (is_closed && !((broadcast_ || watched_) && frame.side == Side::receiver)) return;
  holds_.try_emplace(frame.token, frame.side, now + settings_.hold_limit);
}

void Witness::hear_offer(const Offer& frame) {
  ++once_.offers;
  const auto offered = [this](const Bytes& message) {
    const MessageId id = oracle_.identify(message);
    if (id >= oracle_.message_count()) return;
    MessageRecord& record = oracle_.record(id);
    record.was_offered = true;
    record.home_epoch = std::max(record.home_epoch, epoch());
  };
  offered(frame.message);
  for (const Bytes& message : frame.more) offered(message);
}

void Witness::hear_shutdown(const Shutdown& frame) {
  if (!std::exchange(shutdown_.is_shut_down, true)) shutdown_.reason = frame.reason;
  shutdown_.immediate |= frame.immediate;
  oracle_.channel(channel_).is_shut_down = true;
  if (shutdown_.immediate) oracle_.receivers_gone(channel_, epoch());
}

// S4: what is sent into a slot that is held is stored.
void Witness::hear_fill(Time now, const ClientId& client, const Fill& frame, const Broker& broker) {
  const bool is_held = std::exchange(permits_[{client, frame.session}][frame.seq], false);
  const MessageId id = oracle_.identify(frame.message);
  if (!is_held || id >= oracle_.message_count()) return;
  if (!shutdown_.immediate && !broker.stats(now).receivers_closed) oracle_.fill_stored(id, epoch());
}

void Witness::see_answer(Time now, const ClientId& client, const Answer& frame, const Broker& broker) {
  if (settings_.kind == ChannelKind::oneshot) return see_answer_of_oneshot(now, frame, broker);
  if (frame.outcome == Answer::Outcome::refused && !broadcast_ && !watched_ && !told_shut_down_.contains(client)) {
    oracle_.fail("S15", "an offer is refused before its client was told why");
  }
  // (It may be sent again on a new connection.)
  if (frame.outcome == Answer::Outcome::reserved) permits_[{client, frame.session}].try_emplace(frame.seq, true);
}

// O2: nobody is told that the value was sent before, if nobody else can have; nor is refused while there are receivers.
void Witness::see_answer_of_oneshot(Time now, const Answer& frame, const Broker& broker) {
  if (frame.outcome == Answer::Outcome::already_sent) {
    if (once_.offers < 2 && !once_.was_sent_before) oracle_.fail("O2", "already sent, though there was one offer only");
  } else if (frame.outcome != Answer::Outcome::refused || !broker.stats(now).receivers_closed) {
    oracle_.fail("O2", "an offer of a oneshot is answered " + std::to_string(static_cast<int>(frame.outcome)));
  }
}

// S15: only what was asked for is said, with the first reason that was given.
void Witness::see_shut_down(const ClientId& client, const IsShutDown& frame) {
  if (!shutdown_.is_shut_down) oracle_.fail("S15", "shut down, though nobody has asked for it");
  if (frame.immediate && !shutdown_.immediate) oracle_.fail("S15", "shut down at once, though nobody has asked for it");
  if (frame.reason != shutdown_.reason) oracle_.fail("S15", "shut down for another reason than the first");
  told_shut_down_.insert(client);
}

// Only those that were really made to this session: a hostile client names others.
void Witness::hear_settlements(const SessionName& session, const std::vector<Attempt>& attempts, auto apply) {
  for (const Attempt attempt : attempts) {
    const auto found = delivered_.find(attempt);
    if (found != delivered_.end() && found->second.to == session) apply(found->second);
  }
}

void Witness::sent(Time now, ConnectionId connection, const Frame& frame, const Broker& broker) {
  if (std::holds_alternative<Attached>(frame)) return attached(connection);
  const auto found = attached_.find(connection);
  if (found == attached_.end()) {
    if (const auto asked = asked_.find(connection); asked != asked_.end()) {
      // (One that the broker never knew is told the same, and is not dead.)
      const ClientId& who = asked->second.first;
      if (std::holds_alternative<Expired>(frame) && attendance_.contains(who)) died(who);
      asked_.erase(asked);
    }
    return;
  }
  const ClientId client = found->second;
  if (broadcast_) see_broadcast(now, connection, client, frame);
  if (watched_) see_watched(now, client, frame);
  if (const auto* const deliver = std::get_if<Deliver>(&frame)) {
    if (!broadcast_) see_deliver(now, client, *deliver);
  } else if (const auto* const opened = std::get_if<Opened>(&frame)) {
    const SessionName name{client, opened->session};
    sessions_[name].is_open = opened->accepted;
    if (!opened->accepted) permits_.erase(name);
    if (const auto claim = claims_.find(name); claim != claims_.end()) {
      if (claim->second) holds_.erase(*claim->second);
      claims_.erase(claim);
    }
  } else if (const auto* const end = std::get_if<End>(&frame)) {
    check_end(now, client, *end, broker);
  } else if (const auto* const shut_down = std::get_if<IsShutDown>(&frame)) {
    see_shut_down(client, *shut_down);
  } else if (const auto* const answer = std::get_if<Answer>(&frame)) {
    see_answer(now, client, *answer, broker);
  } else if (const auto* const closed = std::get_if<Closed>(&frame); closed && closed->session != kAllSessions) {
    check_closed(now, {client, closed->session}, *closed);
  }
}

void Witness::attached(ConnectionId connection) {
  const auto asked = asked_.find(connection);
  if (asked == asked_.end()) return;
  const auto [client, number] = asked->second;
  asked_.erase(asked);
  Attendance& attendance = attendance_[client];
  if (number <= attendance.connection_number) oracle_.fail("S10", "an older connection of a client fenced a newer one");
  attendance.connection_number = number;
  if (attendance.is_dead) oracle_.fail("S10", "a client that was declared dead was attached again");
  if (attendance.connection) attached_.erase(*attendance.connection);
  attendance.connection = connection;
  attached_[connection] = client;
}

void Witness::disconnected(Time now, ConnectionId connection) {
  asked_.erase(connection);
  const auto found = attached_.find(connection);
  if (found == attached_.end()) return;
  Attendance& attendance = attendance_[found->second];
  attendance.connection.reset();
  attendance.detached_at = now;
  attached_.erase(found);
}

// The broker logs each death, before anything that follows of it: "client <hex> died: why".
void Witness::logged(Time now, const std::string& text) {
  constexpr std::string_view kClient = "client ";
  ClientId id;
  const std::size_t digits = 2 * id.bytes.size();
  if (!text.starts_with(kClient) || text.compare(kClient.size() + digits, 6, " died:") != 0) return;
  for (std::size_t i = 0; i < id.bytes.size(); ++i) {
    id.bytes[i] = static_cast<std::uint8_t>(std::stoi(text.substr(kClient.size() + 2 * i, 2), nullptr, 16));
  }
  check_death(now, id, text);
  died(id);
}

// S10: nobody is declared dead who keeps the protocol, and is attached or was a moment ago.
void Witness::check_death(Time now, const ClientId& client, std::string_view text) const {
  const auto found = attendance_.find(client);
  const bool has_left = found != attendance_.end() && found->second.has_left;
  if (hostile_.contains(client) || has_left || may_be_dead(now, client)) return;
  oracle_.fail("S10", "declared dead without a reason: " + std::string(text));
}

void Witness::reported_dead(const ClientId& client, bool is_true) {
  if (!is_true) {
    // The broker believes it, and the client goes on under its lease.
    for (const auto& [attempt, delivered] : delivered_) {
      if (delivered.to.first == client && delivered.id < oracle_.message_count()) {
        oracle_.record(delivered.id).is_doubled = true;
      }
    }
  }
  died(client);
}

void Witness::died(const ClientId& client) {
  attendance_[client].is_dead = true;
  if (broadcast_) broadcast_->died(client);
  std::erase_if(permits_, [&](const auto& entry) { return entry.first.first == client; });
  for (const auto& [attempt, delivered] : delivered_) {
    if (delivered.to.first == client && delivered.id < oracle_.message_count()) {
      oracle_.record(delivered.id).reached_a_dead_one = true;
    }
  }
}

bool Witness::may_be_dead(Time now, const ClientId& client) const {
  const auto found = attendance_.find(client);
  if (found == attendance_.end()) return false;
  const Attendance& attendance = found->second;
  return attendance.is_dead || (!attendance.connection && now >= attendance.detached_at + settings_.reconnect_grace);
}

bool Witness::is_closed(const SessionName& session) const {
  const auto found = sessions_.find(session);
  return found != sessions_.end() && found->second.is_closed;
}

bool Witness::has_delivered(MessageId id, Attempt attempt) const {
  const auto found = delivered_.find(attempt);
  return found != delivered_.end() && found->second.id == id;
}

void Witness::see_deliver(Time now, const ClientId& client, const Deliver& frame) {
  const SessionName to{client, frame.session};
  see_delivery(now, to, frame.delivery);
  for (const Delivery& delivery : frame.more) see_delivery(now, to, delivery);
}

void Witness::see_delivery(Time now, const SessionName& to, const Delivery& delivery) {
  const MessageId id = oracle_.identify(delivery.message);
  const auto [found, is_new] =
      delivered_.try_emplace(delivery.attempt, Delivered{.id = id, .to = to, .redeliveries = delivery.redeliveries});
  if (!is_new) {  // sent again on a new connection
    if (found->second.to != to || found->second.id != id) {
      oracle_.fail("S8", "attempt " + std::to_string(delivery.attempt) + " was used twice");
    }
    return;
  }
  if (id >= oracle_.message_count()) return;
  MessageRecord& record = oracle_.record(id);
  if (record.fate == MessageRecord::Fate::voided && !(settings_.capacity == 0 && record.may_be_void_and_read())) {
    oracle_.fail("S11", "delivered, though its send was told that nothing has happened: " + oracle_.describe(id));
  }
  if (settings_.kind == ChannelKind::oneshot && once_.delivered.value_or(id) != id) {
    oracle_.fail("O1", "a second value is delivered: " + oracle_.describe(id));
  }
  once_.delivered = id;
  if (hostile_.contains(to.first)) record.is_stolen = true;
  if (const auto session = sessions_.find(to); session != sessions_.end() && !session->second.counts) {
    record.reached_a_passer_by = true;
  }
  const auto [last, is_first] = last_attempt_.try_emplace(id, delivery.attempt);
  if (is_first) return;
  check_cause(now, delivered_.at(last->second), delivery);
  last->second = delivery.attempt;
}

// A message is delivered again only if its last delivery has ended otherwise than by being settled.
void Witness::check_cause(Time now, const Delivered& previous, const Delivery& delivery) {
  const std::string which = oracle_.describe(previous.id);
  const bool is_dead = may_be_dead(now, previous.to.first);
  const bool came_back_clean = previous.is_released || (is_closed(previous.to) && !previous.is_consumed);
  if (previous.is_settled) oracle_.fail("S3", "delivered again after it was settled: " + which);
  if (is_dead) oracle_.record(previous.id).reached_a_dead_one = true;
  if (came_back_clean) {
    oracle_.record(previous.id).was_released = true;
    return;
  }
  if (!previous.is_requeued && !is_dead) oracle_.fail("S8", "delivered again while an attempt is alive: " + which);
  if (delivery.redeliveries <= previous.redeliveries) oracle_.fail("S9", "delivered again unmarked: " + which);
  if (previous.is_requeued && !is_dead && now < previous.not_before)
    oracle_.fail("S3", "delivered before its delay was over: " + which);
}

std::pair<std::size_t, std::size_t> Witness::count(Time now, Side side, bool with_holds) const {
  std::size_t sure = 0;
  std::size_t most = 0;
  for (const auto& [name, session] : sessions_) {
    if (session.side != side || !session.is_open || !session.counts) continue;
    const auto attendance = attendance_.find(name.first);
    if (attendance != attendance_.end() && attendance->second.is_dead) continue;
    ++most;
    if (!session.is_closed && !may_be_dead(now, name.first)) ++sure;
  }
  for (const auto& [token, hold] : holds_) {
    if (hold.first != side || !with_holds) continue;
    ++most;
    if (now < hold.second) ++sure;
  }
  return {sure, most};
}

// S12: no END while a sender is open, or a message is left for anybody but this receiver itself.
void Witness::check_end(Time now, const ClientId& client, const End& frame, const Broker& broker) {
  const SessionName to{client, frame.session};
  auto& ended_at = sessions_[to].ended_at;
  if (ended_at && frame.received <= *ended_at) return;  // sent again on a new connection
  ended_at = frame.received;
  const bool is_once = settings_.kind == ChannelKind::oneshot && (once_.was_sent_before || once_.offers > 0);
  if (is_once) {
    check_end_of_oneshot(to, frame);
  } else if (shutdown_.is_shut_down) {
    if (frame.kind != CloseKind::shutdown || frame.reason != shutdown_.reason)
      oracle_.fail("S15", "END of another kind, or for another reason, than the shutdown");
    if (shutdown_.immediate) return;
    if (held_slots() > 0) oracle_.fail("S12", "END while a slot is held");
  } else {
    if (settings_.persistent) oracle_.fail("S12", "END on a persistent channel");
    if (count(now, Side::sender).first > 0) oracle_.fail("S12", "END while a sender or a hold counts");
  }
  if (epoch() > 1 && !is_once && now < began_ + settings_.rejoin_grace && !began_without_senders_ &&
      !shutdown_.is_shut_down) {
    oracle_.fail("S12", "END before rejoin_grace is over");
  }
  if (broadcast_) return;  // what is there is others' to receive; of its own, its reader knows
  for (const MessageView& view : broker.messages()) {
    const bool is_its_own = view.receiver == to.first && view.receiver_session == to.second;
    if (!is_its_own) {
      const MessageId id = oracle_.identify(*view.message);
      oracle_.fail("S12", "END while there is " + (id < oracle_.message_count() ? oracle_.describe(id) : "a message"));
    }
  }
}

// O3: a receiver is told that the value was consumed, if somebody has consumed it, or has it in hand; or that it is lost, if
// some sender says that it was sent, and there is no sign of it here.
void Witness::check_end_of_oneshot(const SessionName& to, const End& frame) const {
  const bool is_in_hand = std::ranges::any_of(delivered_, [&](const auto& entry) { return entry.second.to == to; });
  const bool is_consumed = once_.is_consumed || once_.was_received_before || is_in_hand;
  if (frame.reason == "already consumed") {
    if (!is_consumed) oracle_.fail("O3", "END: already consumed, though nobody has the value");
  } else if (once_.was_sent_before && frame.kind == CloseKind::peer_died) {
    if (once_.is_consumed) oracle_.fail("O3", "END: lost, though the value was consumed");
  } else if (once_.delivered) {
    oracle_.fail("O3", "END of another kind, though the value was there");
  }
}

// S12: a side is closed only when nobody of it is left.
void Witness::check_closed(Time now, const SessionName& to, const Closed& frame) const {
  const auto session = sessions_.find(to);
  if (session == sessions_.end()) return;
  const Side gone = other(session->second.side);
  if (count(now, gone).first > 0) {
    oracle_.fail("S12", gone == Side::sender ? "CLOSED while a sender or a hold counts"
                                             : "CLOSED while a receiver or a hold counts");
  }
  const bool is_death = frame.kind == CloseKind::peer_died && frame.reason && frame.reason->contains(" died ");
  const bool reopens = gone == Side::receiver && (broadcast_ || watched_);
  if (is_death && !reopens && epoch() == 1) check_last_word(gone);
}

// S12: a side has ended by a death, so none of its handles was closed after the last of its dead were there.
void Witness::check_last_word(Side gone) const {
  Time there_until = Time::min();
  Time closed_at = Time::min();
  for (const auto& [name, session] : sessions_) {
    if (session.side != gone || !session.is_open || !session.counts) continue;
    if (const auto found = attendance_.find(name.first); found != attendance_.end() && found->second.is_dead) {
      there_until = std::max(there_until, found->second.connection ? kNever : found->second.detached_at);
    } else if (session.is_closed) {
      closed_at = std::max(closed_at, session.closed_at);
    }
  }
  if (there_until < closed_at) oracle_.fail("S12", "a side ended by a death, though a handle was closed after it");
}

std::size_t Witness::held_slots() const {
  std::size_t held = 0;
  for (const auto& [name, permits] : permits_) {
    held += static_cast<std::size_t>(std::ranges::count(permits, true, [](const auto& entry) { return entry.second; }));
  }
  return held;
}

void Witness::check_messages(const Broker& broker) const {
  std::size_t slots = 0;
  std::map<SessionName, std::size_t> offered;
  std::set<MessageId> seen;
  for (const MessageView& view : broker.messages()) {
    const MessageId id = oracle_.identify(*view.message);
    if (view.has_slot && view.place != MessageView::Place::offered) ++slots;
    if (view.place == MessageView::Place::offered) ++offered[{view.client, view.session}];
    if (id >= oracle_.message_count()) continue;
    if (!seen.insert(id).second) oracle_.fail("S3", "in two places at once: " + oracle_.describe(id));
    const auto last = last_attempt_.find(id);
    const bool is_out = view.place == MessageView::Place::unread || view.place == MessageView::Place::unsettled;
    if (last == last_attempt_.end() || is_out) continue;
    if (delivered_.at(last->second).is_settled)
      oracle_.fail("S3", "still there after it was settled: " + oracle_.describe(id));
  }
  // S2: the slots that permits hold are counted in the capacity, and given back.
  // (What is granted to one without a connection, it has not been told of.)
  const bool all_are_told = std::ranges::all_of(
      attendance_, [](const auto& entry) { return entry.second.is_dead || entry.second.connection; });
  if (broker.reserved() < held_slots() || (all_are_told && broker.reserved() > held_slots())) {
    oracle_.fail("S2", std::to_string(broker.reserved()) + " slots are reserved, and " + std::to_string(held_slots()) +
                           " permits are held");
  }
  if (settings_.capacity != 0) slots += broker.reserved();
  if (settings_.capacity != kUnbounded &&
      slots > std::max<std::uint64_t>(settings_.capacity, settings_.capacity == 0 ? 1'000'000 : 0)) {
    oracle_.fail("S1", std::to_string(slots) + " slots are taken");
  }
  for (const auto& [name, count] : offered) {
    const std::size_t most =
        std::max<std::size_t>(settings_.offered_max, std::min<std::uint64_t>(settings_.capacity, kBatchMessagesMax));
    if (count > most) oracle_.fail("S14", std::to_string(count) + " messages of one sender are offered");
  }
}

}  // namespace klaw::dataplane::simulation
