// Handles and sides: who counts, when a side closes, and who is told.
#include <algorithm>
#include <cstdint>
#include <map>
#include <utility>

#include <dataplane/broker/broker.hpp>

namespace klaw::dataplane {

Broker::Broker(BrokerSettings settings, Time now)
    : settings_(std::move(settings)),
      now_(now),
      rejoin_until_(now),
      value_(settings_.initial),
      version_(settings_.epoch << kAttemptEpochShift),
      next_attempt_((settings_.epoch << kAttemptEpochShift) + 1),
      created_at_(settings_.created_at) {
  if (settings_.epoch == 1) {
    if (reopens()) side(Side::receiver) = SideState{.is_closed = true, .kind = CloseKind::peer_gone};
    return;
  }
  // After a restart nobody is there yet, and that is not an end: all who live will come back.
  rejoin_until_ = after(now, settings_.rejoin_grace);
  for (SideState& s : sides_) {
    s.last_word = now;
    s.died = true;
    s.who_died = "no handle came back after the channel's actor was restarted";
    if (!settings_.persistent) s.orphan_deadline = after(now, std::max(settings_.rejoin_grace, settings_.orphan_grace));
  }
}

Broker::~Broker() {
  for (const auto& [id, client] : clients_) {
    for (const auto& [session, receiver] : client->receivers) leave_line(*receiver);
  }
}

Broker::Fault Broker::apply(Client& client, Open&& frame) {
  if (frame.session <= client.last_session) return "OPEN of a session that was opened before";
  if (client.senders.size() + client.receivers.size() >= kSessionsPerClientMax) return "too many handles";
  if (frame.next == 0) return "OPEN with the sequence number 0";
  if (frame.claim && !frame.counts) return "OPEN claims a count and does not want to count";
  const bool is_reader = reopens() && frame.side == Side::receiver;
  if (is_reader && !frame.counts) return "OPEN of a receiver that does not want to count";
  client.last_session = frame.session;
  if (const auto why = why_not(client, frame)) {
    push(client,
         make_frame(Opened{.session = frame.session, .accepted = false, .kind = CloseKind::backend, .reason = why}));
    return std::nullopt;
  }
  const auto held = frame.claim ? holds_.find(*frame.claim) : holds_.end();
  const bool is_claimed = held != holds_.end() && held->second.side == frame.side;
  SideState& s = side(frame.side);
  if (s.is_closed && !is_reader) {
    refuse_session(client, frame.session, frame.side);
    return std::nullopt;
  }
  const broker_state::Position place = is_claimed ? held->second.place : window_.tail();
  if (is_claimed) {
    holds_.erase(held);  // its count becomes the session's
  } else if (frame.counts) {
    ++s.count;
    if (is_reader) subscribe(place);
  }
  if (frame.counts) s.orphan_deadline = kNever;
  if (is_watch()) tell_latest(client);  // who has a handle can look at the value
  push(client, make_frame(Opened{.session = frame.session}));
  if (side(other(frame.side)).is_closed) tell_closed(client, frame.session, other(frame.side));
  if (frame.side == Side::sender) {
    open_sender(client, frame);
  } else {
    open_receiver(client, std::move(frame), place);
  }
  if (is_reader) match();  // after a restart, offers wait for the first one
  return std::nullopt;
}

void Broker::open_sender(Client& client, const Open& frame) {
  auto sender = std::make_shared<Sender>();
  sender->client_id = client.id;
  sender->id = frame.session;
  sender->client = &client;
  sender->counts = frame.counts;
  sender->received = sender->stored = frame.next - 1;
  if (was_restored_) {
    // What the checkpoint has of this sender is not applied again; what it lacks is lost.
    const auto restored = restored_.find({client.id, frame.session});
    const Seq had = restored == restored_.end() ? 0 : restored->second;
    if (had < sender->stored) {
      push(client, make_frame(DataLoss{.session = frame.session, .first = had + 1, .last = sender->stored}));
    }
    // A oneshot's sender that was never told of its value numbers the next one as the first again: it is another one.
    if (!is_oneshot()) sender->received = sender->stored = std::max(had, sender->stored);
  }
  client.senders.emplace(frame.session, std::move(sender));
  if (is_oneshot() && frame.next > 1) was_sent_in_an_earlier_epoch();
}

void Broker::open_receiver(Client& client, Open&& frame, broker_state::Position place) {
  auto receiver = std::make_unique<Receiver>();
  receiver->id = frame.session;
  receiver->client = &client;
  receiver->serial = next_serial_++;
  receiver->counts = frame.counts;
  receiver->name = std::move(frame.name);
  receiver->node = std::move(frame.node);
  receiver->registered_at = now_;
  receiver->reading.next = place;
  client.receivers.emplace(frame.session, std::move(receiver));
}

Broker::Fault Broker::apply(Client& client, Close&& frame) {
  if (const auto found = client.senders.find(frame.session); found != client.senders.end()) {
    Sender& sender = *found->second;
    if (sender.is_closing) return "CLOSE of a session that was closed before";
    sender.is_closing = true;
    if (auto& reason = side(Side::sender).reason; frame.reason && !reason) reason = std::move(frame.reason);
    finish_closing(sender);
  } else if (Receiver* const receiver = find_receiver(client, frame.session)) {
    if (receiver->is_closed) return "CLOSE of a session that was closed before";
    if (auto& reason = side(Side::receiver).reason; frame.reason && !reason) reason = std::move(frame.reason);
    close_receiver(*receiver);
  }
  match();
  return std::nullopt;
}

// A sender counts until what it offered is stored or void, and its permits are over: else receivers could be told of the end
// before its last message. It closed itself, or passes by and its side has closed.
void Broker::finish_closing(Sender& sender) {
  const bool is_refused = !sender.counts && side(Side::sender).is_closed;
  if (!(sender.is_closing || is_refused) || !sender.undecided.empty() || sender.client == nullptr) return;
  const bool loses_permits = is_refused && !sender.permits.empty();
  if (is_refused) drop_permits(sender);
  if (!sender.permits.empty()) return;
  if (sender.owes_stored) tell_stored(sender);
  Client& client = *std::exchange(sender.client, nullptr);
  if (!sender.is_closing || loses_permits) refuse_session(client, sender.id, Side::sender);
  const bool counts = sender.counts;
  client.senders.erase(sender.id);  // may destroy it
  if (counts) release(Side::sender, std::nullopt);
}

void Broker::close_receiver(Receiver& receiver) {
  leave_line(receiver);
  set_spare(receiver, 0);
  receiver.is_closed = true;
  receiver.deliver.reset();
  if (is_broadcast()) unsubscribe(receiver);
  for (Outstanding& out : receiver.outstanding) {
    if (out.state == Outstanding::State::unread) put_back(take_back(receiver, out));
  }
  const bool counts = receiver.counts;
  if (receiver.live == 0) erase_receiver(receiver);
  if (counts) release(Side::receiver, std::nullopt);
}

void Broker::erase_receiver(Receiver& receiver) {
  std::erase(delivering_, &receiver);
  receiver.client->receivers.erase(receiver.id);
}

Broker::Fault Broker::apply(Client& client, Hold&& frame) {
  // A client that had to begin anew announces again what it can't know to have arrived.
  if (holds_.contains(frame.token)) return std::nullopt;
  if (holds_.size() >= kHoldsMax) return "too many handles that were pickled and not yet unpickled";
  std::vector<Token> issuers;
  if (const auto& admission = client.admission) {
    if (admission->side != frame.side) return "HOLD of the other side than that of the client's ticket";
    if (admission->issuers.size() >= kTicketDepthMax) return "too many tickets of tickets";
    issuers = admission->issuers;
    issuers.push_back(admission->ticket);
  }
  SideState& s = side(frame.side);
  const bool is_reader = reopens() && frame.side == Side::receiver;
  if (s.is_closed && !is_reader) return std::nullopt;  // who claims it will be told
  const Time deadline = after(now_, settings_.hold_limit);
  const broker_state::Position place = window_.tail();
  holds_.emplace(frame.token,
                 broker_state::HeldHandle{
                     .side = frame.side, .deadline = deadline, .place = place, .issuers = std::move(issuers)});
  holds_deadline_ = std::min(holds_deadline_, deadline);
  ++s.count;
  s.orphan_deadline = kNever;
  if (is_reader) {
    subscribe(place);
    match();
  }
  return std::nullopt;
}

void Broker::abandoned(Time now, const Token& token) {
  now_ = now;
  const auto found = holds_.find(token);
  if (found == holds_.end() || found->second.abandoned_at) return;
  broker_state::HeldHandle& held = found->second;
  held.abandoned_at = now;
  held.deadline = std::min(held.deadline, after(now, settings_.reconnect_grace));
  holds_deadline_ = std::min(holds_deadline_, held.deadline);
}

// One handle less. Without a death it was closed in an orderly way, now. Deaths are noticed late: who had the last word decides how
// the side ends, and not of whom we hear last.
void Broker::release(Side which, const std::optional<broker_state::Death>& death) {
  SideState& s = side(which);
  if (const Time at = death ? death->at : now_; at >= s.last_word) {
    s.last_word = at;
    s.died = death.has_value();
    s.who_died = death ? death->who : "";
  }
  if (--s.count > 0 || settings_.persistent) return;
  // (Who comes to a broadcast gets what is sent from then on: what is sent meanwhile would be for nobody.)
  const bool has_grace = s.died && !(reopens() && which == Side::receiver);
  const Time orphaned_until = has_grace ? after(now_, settings_.orphan_grace) : now_;
  if (orphaned_until > now_) s.who_died += ", and no other one came within orphan_grace";
  s.orphan_deadline = std::max(orphaned_until, rejoin_until_);
  if (s.orphan_deadline <= now_) close_side(which);
}

void Broker::drop_orphans(Time now) {
  if (now >= holds_deadline_) {
    holds_deadline_ = kNever;
    for (auto it = holds_.begin(); it != holds_.end();) {
      if (it->second.deadline > now) {
        holds_deadline_ = std::min(holds_deadline_, it->second.deadline);
        ++it;
        continue;
      }
      const broker_state::HeldHandle held = it->second;
      if (!held.abandoned_at) note_end(it->first, broker_state::TicketEnd::lapsed);
      if (is_broadcast() && held.side == Side::receiver) window_.leave(held.place);
      it = holds_.erase(it);
      lapse(held);
    }
  }
  for (const Side which : {Side::sender, Side::receiver}) {
    if (side(which).count == 0 && side(which).orphan_deadline <= now) close_side(which);
  }
}

void Broker::lapse(const broker_state::HeldHandle& held) {
  if (!held.abandoned_at) {
    log("a pickled handle was not unpickled in time, or a ticket not used: it has expired");
    return release(held.side, std::nullopt);
  }
  log("a pickled handle is lost: whoever was to unpickle it is gone");
  release(held.side, broker_state::Death{.who = "the last " + std::string(broker_state::name_of(held.side)) +
                                                " was pickled for a process that died or never started",
                                         .at = *held.abandoned_at});
}

void Broker::close_side(Side which) {
  SideState& s = side(which);
  s.is_closed = true;
  s.orphan_deadline = kNever;
  if (s.died) s.reason = s.who_died;
  if (which == Side::receiver) {
    s.kind = s.died ? CloseKind::peer_died : CloseKind::peer_gone;
  } else {
    s.kind = s.reason ? CloseKind::peer_died : CloseKind::ended;
  }
  for (const auto& [id, client] : clients_) {
    if (which == Side::sender) {
      for (const auto& [session, receiver] : client->receivers) {
        if (!receiver->is_closed) tell_closed(*client, session, which);
      }
    } else {
      for (const auto& [session, sender] : client->senders) tell_closed(*client, session, which);
    }
  }
  if (which == Side::receiver) reopens() ? refuse_unheard() : drop_messages();
  refuse_passers_by(which);
}

// Its own side has closed: there is no such handle.
void Broker::refuse_session(Client& client, SessionId session, Side its) {
  const SideState& s = side(its);
  push(client, make_frame(Opened{.session = session, .accepted = false, .kind = s.kind, .reason = s.reason}));
}

// Sessions of that side that never counted: what they wait for can't be. (An offer that is with a receiver is not void: that
// one decides.)
void Broker::refuse_passers_by(Side which) {
  for (const auto& [id, client] : clients_) {
    if (which == Side::sender) {
      for (const auto& [session, sender] : std::map(client->senders)) {
        if (sender->counts) continue;
        if (sender->owes_stored) tell_stored(*sender);
        std::erase_if(sender->undecided, [&](const Sender::Undecided& offer) {
          if (offer.is_out) return false;
          offers_.erase(offer.order);
          sender->offered -= offer.count;
          sender->offered_bytes -= offer.bytes;
          return true;
        });
        finish_closing(*sender);
      }
    } else {
      std::erase_if(client->receivers, [&](const auto& entry) {
        if (entry.second->counts) return false;
        leave_line(*entry.second);
        spare_.erase(entry.second->serial);
        bury_receiver(*entry.second);
        refuse_session(*client, entry.first, which);
        return true;
      });
    }
  }
}

void Broker::tell_closed(Client& client, SessionId session, Side gone) {
  // What was stored in this very batch of events is not void: its sender hears of that first.
  if (const auto found = client.senders.find(session); found != client.senders.end() && found->second->owes_stored) {
    tell_stored(*found->second);
  }
  if (reopens() && gone == Side::receiver) return tell_receivers(client, session);
  if (is_watch()) tell_latest(client);  // an unseen value comes before the end
  const SideState& s = side(gone);
  push(client, make_frame(Closed{.session = session, .kind = s.kind, .reason = s.reason}));
}

// No more sends, from anywhere. Handles stay open, and count as they did.
Broker::Fault Broker::apply(Client& /*client*/, Shutdown&& frame) {
  using Mode = broker_state::Shutdown;
  const Mode wanted = frame.immediate ? Mode::immediate : Mode::draining;
  if (shutdown_ >= wanted) return std::nullopt;
  if (!is_shut_down()) shutdown_reason_ = std::move(frame.reason);
  shutdown_ = wanted;
  // What has been delivered comes before.
  for (Receiver* const receiver : delivering_) send_deliveries(*receiver);
  for (const auto& [id, client] : clients_) tell_shut_down(*client);
  refuse_offers();
  if (drops_messages()) drop_stored("the channel is shut down");
  match();
  return std::nullopt;
}

void Broker::tell_shut_down(Client& client) {
  push(client,
       make_frame(IsShutDown{.immediate = shutdown_ == broker_state::Shutdown::immediate, .reason = shutdown_reason_}));
}

// (Of an offer that is with a receiver, that one decides.)
void Broker::refuse_offers() {
  for (auto& [order, offer] : std::exchange(offers_, {})) {
    answer(*offer.sender, offer.seq, Answer::Outcome::refused);
    decide(*offer.sender, offer.seq);
  }
}

bool Broker::drops_messages() const noexcept {
  return side(Side::receiver).is_closed || shutdown_ == broker_state::Shutdown::immediate;
}

void Broker::drop_stored(const char* why) {
  for (auto* const queue : {&ready_, &lane_}) {
    if (!queue->empty()) log(std::to_string(queue->size()) + " queued messages are dropped: " + why);
    queue->clear();
  }
  delayed_.clear();
}

// Nobody will ever receive what is queued, nor what is offered.
void Broker::drop_messages() {
  drop_stored("no receiver is left");
  offers_.clear();
  std::vector<std::shared_ptr<Sender>> voided;
  for (const auto& [id, client] : clients_) {
    for (const auto& [session, sender] : client->senders) {
      sender->undecided.clear();
      sender->offered = sender->offered_bytes = 0;
      voided.push_back(sender);
    }
  }
  for (const auto& sender : voided) finish_closing(*sender);
}

void Broker::remove(Time now) {
  now_ = now;
  if (is_removed_) return;
  is_removed_ = true;
  remove_deadline_ = after(now, settings_.delete_grace);
  for (const auto& [id, client] : clients_) {
    push(*client, make_frame(Closed{.session = kAllSessions, .kind = CloseKind::deleted}));
  }
  finish_removal(now);
}

void Broker::finish_removal(Time now) {
  if (!is_removed_ || has_ended_) return;
  const bool all_know =
      std::ranges::all_of(clients_, [](const auto& entry) { return entry.second->stream.unacknowledged().empty(); });
  if (!all_know && now < remove_deadline_) return;
  has_ended_ = true;
  remove_deadline_ = kNever;
  actions_.emplace_back(broker_action::Ended{});
}

bool Broker::is_closed() const {
  const bool takes_no_sends = side(Side::sender).is_closed || is_shut_down();
  return takes_no_sends && side(Side::receiver).is_closed && ready_.empty() && lane_.empty() && delayed_.empty() &&
         outstanding_ == 0;
}

}  // namespace klaw::dataplane
