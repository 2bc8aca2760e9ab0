// Clients: attaching, losing and fencing connections, heartbeats, death.
#include <algorithm>
#include <cstdint>
#include <iterator>
#include <utility>

#include <dataplane/broker/broker.hpp>
#include <dataplane/wire/codec.hpp>

namespace klaw::dataplane {

namespace {

std::string hex(const ClientId& id) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : id.bytes) text += {kDigits[byte >> 4], kDigits[byte & 15]};
  return text;
}

}  // namespace

void Broker::received(Time now, ConnectionId connection, Frame&& frame, const std::optional<Token>& ticket) {
  now_ = now;
  const auto found = connections_.find(connection);
  if (found == connections_.end()) {
    const auto* const request = std::get_if<Attach>(&frame);
    if (request == nullptr) return disconnect(connection, "it sent frames without having attached");
    return attach(connection, *request, ticket);
  }
  Client& client = *found->second;
  client.heard_at = now;
  const std::size_t bytes = payload_bytes(frame);
  const Fault fault = std::visit(
      [&]<class F>(F&& f) -> Fault {
        using Kind = std::remove_cvref_t<F>;
        if constexpr (std::is_same_v<Kind, Ping>) {
          if (!client.stream.acknowledged(f.received)) return "PING acknowledges frames that were never sent";
          may_be_behind(client);
          const auto now_us = static_cast<std::uint64_t>(now.time_since_epoch().count());
          send(client, make_frame(Ping{.sent_us = now_us, .echo_us = f.sent_us, .received = client.stream.report()}));
          return std::nullopt;
        } else if constexpr (std::is_same_v<Kind, Ack>) {
          if (!client.stream.acknowledged(f.received)) return "ACK acknowledges frames that were never sent";
          may_be_behind(client);
          return std::nullopt;
        } else if constexpr (requires { apply(client, std::forward<F>(f)); }) {
          client.stream.count_received(bytes);
          touch(client);
          if (is_removed_) return std::nullopt;
          if (!takes(Kind::kType)) {
            return std::string(name(Kind::kType)) + " on a channel of kind " + std::string(name(settings_.kind));
          }
          // (What is settled may have been received in an earlier life of the client's.)
          if constexpr (!std::is_same_v<Kind, Open> && !std::is_same_v<Kind, Settle> && requires { f.session; }) {
            // One that is over, or was refused before its client knew, is no error.
            if (f.session > client.last_session)
              return std::string(name(Kind::kType)) + " of a session that was never opened";
          }
          return apply(client, std::forward<F>(f));
        } else {
          return "a frame that clients don't send";
        }
      },
      std::move(frame));
  if (fault) fail(client, *fault);
  finish_removal(now);
}

// Do clients of such a channel ever say that? What is a queue's alone is an error elsewhere.
bool Broker::takes(FrameType type) const noexcept {
  switch (type) {
    case FrameType::reserve:
    case FrameType::fill:
    case FrameType::unreserve:
    case FrameType::shutdown: return settings_.kind == ChannelKind::mpmc;
    case FrameType::settle:
    case FrameType::release: return !reopens();
    default: return true;
  }
}

void Broker::disconnected(Time now, ConnectionId connection) {
  now_ = now;
  const auto found = connections_.find(connection);
  if (found == connections_.end()) return;
  detach(*found->second);
  finish_removal(now);
}

void Broker::client_died(Time now, const ClientId& client, const std::string& why) {
  now_ = now;
  bury(client, why);
  finish_removal(now);
}

void Broker::tick(Time now) {
  now_ = now;
  check_clients(now);
  drop_orphans(now);
  while (!delayed_.empty() && delayed_.begin()->first <= now) {
    put_back(std::move(delayed_.extract(delayed_.begin()).mapped()));
  }
  match();
  finish_removal(now);
}

// What is coalesced: deliveries, STORED, ACK. One of each per client or session, however many events there were.
void Broker::flush(Time now) {
  now_ = now;
  for (Client* const client : std::vector<Client*>(touched_)) {
    if (client->stream.is_overrun()) fail(*client, "it does not acknowledge what it is sent");
  }
  for (std::size_t i = 0; i < owing_stored_.size(); ++i) {
    Sender& sender = *owing_stored_[i];
    if (sender.owes_stored && sender.client != nullptr) tell_stored(sender);
    sender.owes_stored = false;
  }
  owing_stored_.clear();
  tell_news();
  for (std::size_t i = 0; i < delivering_.size(); ++i) send_deliveries(*delivering_[i]);
  delivering_.clear();
  for (Client* const client : touched_) {
    client->is_touched = false;
    if (client->stream.is_ack_due()) send(*client, make_frame(Ack{.received = client->stream.report()}));
  }
  touched_.clear();
}

void Broker::tell_stored(Sender& sender) {
  sender.owes_stored = false;
  const Seq decided = sender.undecided.empty() ? sender.received : sender.undecided.front().seq - 1;
  push(*sender.client, make_frame(Stored{.session = sender.id, .seq = decided}));
}

void Broker::attach(ConnectionId connection, const Attach& frame, const std::optional<Token>& ticket) {
  if (is_removed_) {
    return refuse(connection, Refused{.why = Refused::Why::deleted, .text = "the channel was deleted"}, "deleted");
  }
  if (frame.epoch > settings_.epoch) {
    // Two brokers at once: ours is the older one, and the client has left it for good.
    std::string text = "this broker's epoch is " + std::to_string(settings_.epoch) + ", the client has seen epoch " +
                       std::to_string(frame.epoch);
    return refuse(connection, Refused{.why = Refused::Why::stale, .text = text}, text);
  }
  const bool resumes = frame.resume && frame.epoch == settings_.epoch;
  const auto found = clients_.find(frame.client);
  if (found != clients_.end()) {
    Client& client = *found->second;
    const auto known = client.admission ? std::optional(client.admission->ticket) : std::nullopt;
    if (known != ticket) return disconnect(connection, "it came by another ticket than that client");
    if (frame.connection <= client.connection_number) return disconnect(connection, "a newer connection fenced it");
    // One that does not know of its streams here may have missed our answer; but then it has sent nothing on them.
    const bool fits = resumes || client.stream.received() == 0;
    if (fits && client.stream.acknowledged(resumes ? frame.received : 0)) return join(client, connection, frame);
    // One that left, since it took this broker for dead, comes anew.
    frame.resume ? fail(client, "it resumed a stream that it can't have had") : bury(frame.client, "it began anew");
  }
  const auto dead = expired_.find(frame.client);
  if (dead != expired_.end()) return refuse(connection, dead->second, "its client was declared dead");
  if (resumes) return refuse(connection, Expired{}, "its client is not known here any more");
  if (clients_.size() >= kClientsMax) {
    const std::string text = "the channel has " + std::to_string(kClientsMax) + " clients already";
    return refuse(connection, Refused{.why = Refused::Why::limit, .text = text}, text);
  }
  if (const auto why = ticket ? why_not(*ticket) : std::nullopt) {
    return refuse(connection, Refused{.why = Refused::Why::ticket, .text = *why}, *why);
  }
  auto client = std::make_unique<Client>();
  client->id = frame.client;
  Client& joined = *clients_.emplace(frame.client, std::move(client)).first->second;
  if (ticket) admit(joined, *ticket);
  join(joined, connection, frame);
  if (is_shut_down()) tell_shut_down(joined);
}

// The connection is the client's from now on. What it lacks of our frames is sent again.
void Broker::join(Client& client, ConnectionId connection, const Attach& frame) {
  if (client.connection) {
    disconnect(*client.connection, "a newer connection fenced it");
    connections_.erase(*client.connection);
  }
  client.connection = connection;
  client.connection_number = frame.connection;
  client.heard_at = now_;
  client.detached_at = kNever;
  connections_.emplace(connection, &client);
  clients_deadline_ = std::min(clients_deadline_, after(now_, settings_.heartbeat * settings_.heartbeat_misses));

  const auto milliseconds = [](Duration d) {
    return static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::milliseconds>(d).count());
  };
  send(client, make_frame(Attached{.epoch = settings_.epoch,
                                   .resumed = frame.resume && frame.epoch == settings_.epoch,
                                   .restored = was_restored_,
                                   .received = client.stream.report(),
                                   .kind = settings_.kind,
                                   .capacity = settings_.capacity,
                                   .heartbeat_ms = milliseconds(settings_.heartbeat),
                                   .reconnect_grace_ms = milliseconds(settings_.reconnect_grace),
                                   .offered_max = settings_.offered_max,
                                   .offered_bytes_max = settings_.offered_bytes_max,
                                   .message_bytes_max = settings_.message_bytes_max}));
  may_be_behind(client);
  for (const FramePtr& kept : client.stream.unacknowledged()) send(client, kept);
  for (const auto& [id, receiver] : client.receivers) {
    join_line(*receiver);
    set_spare(*receiver, receiver->spare);
  }
  match();
}

void Broker::refuse(ConnectionId connection, Frame answer, std::string why) {
  actions_.emplace_back(broker_action::Send{connection, make_frame(std::move(answer))});
  disconnect(connection, std::move(why));
}

// Its connection is gone; its counts and what it holds stay as they are until it resumes, or is dead.
void Broker::detach(Client& client) {
  if (!client.connection) return;
  connections_.erase(*client.connection);
  client.connection.reset();
  client.detached_at = now_;
  client.gone_at = std::min(now_, after(client.heard_at, settings_.heartbeat));  // later, it would have said so
  clients_deadline_ = std::min(clients_deadline_, after(now_, settings_.reconnect_grace));
  for (const auto& [id, receiver] : client.receivers) {
    leave_line(*receiver);
    spare_.erase(receiver->serial);
  }
}

// It broke the protocol: a defect or an attack. Nothing it holds is left with it, and it can't come back as it was.
void Broker::fail(Client& client, const std::string& why) { bury(ClientId(client.id), "protocol error: " + why); }

// The client is dead: only now its counts fall, its slots are free and its messages go to others.
void Broker::bury(const ClientId& id, const std::string& why) {
  const auto found = clients_.find(id);
  if (found == clients_.end()) return remember_dead(id, {});  // its ATTACH may still be on its way
  log("client " + hex(id) + " died: " + why);
  if (found->second->connection) disconnect(*found->second->connection, why);
  detach(*found->second);
  const std::unique_ptr<Client> client = std::move(found->second);
  clients_.erase(found);
  std::erase(touched_, client.get());
  if (client->admission) {
    admitted_.erase(client->admission->ticket);
    if (!client->admission->has_opened) abandoned(now_, client->admission->ticket);
  }

  Expired remembered;
  for (const auto& [session, sender] : client->senders) {
    remembered.senders.push_back({.session = session, .stored = sender->stored});
  }
  remember_dead(id, std::move(remembered));

  for (const auto& [session, sender] : client->senders) bury_sender(*sender);
  for (const auto& [session, receiver] : client->receivers) bury_receiver(*receiver);
  match();
  const auto death_of = [&](Side which) {
    return broker_state::Death{
        .who = "the process of the last " + std::string(broker_state::name_of(which)) + " died (" + why + ")",
        .at = client->gone_at};
  };
  // Counts last: a side that closes now drops messages, but only those that have come back.
  for (const auto& [session, receiver] : client->receivers) {
    if (receiver->counts && !receiver->is_closed) release(Side::receiver, death_of(Side::receiver));
  }
  for (const auto& [session, sender] : client->senders) {
    if (sender->counts) release(Side::sender, death_of(Side::sender));
  }
  match();  // it may have been the last sender
}

void Broker::remember_dead(const ClientId& id, Expired&& what) {
  if (!expired_.emplace(id, std::move(what)).second) return;
  expired_order_.push_back(id);
  if (expired_order_.size() <= kExpiredClientsMax) return;
  expired_.erase(expired_order_.front());
  expired_order_.pop_front();
}

// What it offered and was not stored goes with it.
void Broker::bury_sender(Sender& sender) {
  sender.client = nullptr;
  drop_permits(sender);
  for (const Sender::Undecided& offer : sender.undecided) {
    if (!offer.is_out) offers_.erase(offer.order);
  }
  sender.undecided.clear();
}

// We can't tell what of it the process has read: all that is outstanding is marked.
void Broker::bury_receiver(Receiver& receiver) {
  std::erase(delivering_, &receiver);
  if (is_broadcast()) unsubscribe(receiver);
  for (Outstanding& out : receiver.outstanding) {
    if (out.state == Outstanding::State::gone) continue;
    Item item = take_back(receiver, out);
    ++item.redeliveries;
    put_back(std::move(item));
  }
}

void Broker::push(Client& client, FramePtr frame) {
  client.stream.push(frame);
  send(client, std::move(frame));
  touch(client);
}

void Broker::touch(Client& client) {
  if (!client.is_touched) touched_.push_back(&client);
  client.is_touched = true;
}

// On the present connection, if there is one; a frame that is numbered is kept for the next.
void Broker::send(Client& client, FramePtr frame) {
  if (client.connection) actions_.emplace_back(broker_action::Send{*client.connection, std::move(frame)});
}

void Broker::disconnect(ConnectionId connection, std::string why) {
  actions_.emplace_back(broker_action::Disconnect{connection, std::move(why)});
}

// Silent for too long: detached. Detached for too long: dead.
void Broker::check_clients(Time now) {
  if (now < clients_deadline_) return;
  clients_deadline_ = kNever;
  std::vector<ClientId> dead;
  for (const auto& [id, client] : clients_) {
    if (client->connection) {
      const Time silent_until = after(client->heard_at, settings_.heartbeat * settings_.heartbeat_misses);
      if (now < silent_until) {
        clients_deadline_ = std::min(clients_deadline_, silent_until);
        continue;
      }
      disconnect(*client->connection, "no heartbeat");
      detach(*client);
    }
    const Time dead_at = after(client->detached_at, settings_.reconnect_grace);
    if (now >= dead_at) {
      dead.push_back(id);
    } else {
      clients_deadline_ = std::min(clients_deadline_, dead_at);
    }
  }
  for (const ClientId& id : dead) bury(id, "it did not reconnect in time");
}

Time Broker::next_deadline() const {
  // After each event a client's or a hold's deadline may only have moved away: these two are lower bounds.
  Time next = std::min({clients_deadline_, holds_deadline_, remove_deadline_});
  for (const SideState& s : sides_) next = std::min(next, s.orphan_deadline);
  if (!delayed_.empty()) next = std::min(next, delayed_.begin()->first);
  if (now_ < rejoin_until_) next = std::min(next, rejoin_until_);
  return next;
}

}  // namespace klaw::dataplane
