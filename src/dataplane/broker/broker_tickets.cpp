// Tickets: who comes by one may do what its one handle may, and nothing else.
//
// A ticket is a hold (HOLD announces it, as for a pickled handle) whose token names the client's key, too. From the first client
// that comes by it until that client is dead, only that client may: whoever finds the text later finds it used.
#include <chrono>
#include <cstdint>
#include <utility>

#include <dataplane/broker/broker.hpp>

namespace klaw::dataplane {

std::vector<Token> Broker::path_of(const Token& ticket) const {
  std::vector<Token> path;
  if (const auto held = holds_.find(ticket); held != holds_.end()) {
    path = held->second.issuers;
  } else if (const auto admitted = admitted_.find(ticket); admitted != admitted_.end()) {
    path = admitted->second->admission->issuers;
  }
  path.push_back(ticket);
  return path;
}

// Why nobody new may come by it, for its user to read.
std::optional<std::string> Broker::why_not(const Token& ticket) const {
  const auto held = holds_.find(ticket);
  if (held != holds_.end() && !held->second.is_taken) return std::nullopt;
  const auto ended = ended_tickets_.find(ticket);
  if (ended == ended_tickets_.end()) return "the channel does not know this ticket: it was used or has lapsed long ago";
  if (ended->second == broker_state::TicketEnd::lapsed) return lapsed_text();
  return "this ticket was used before: each is for one handle";
}

void Broker::admit(Client& client, const Token& ticket) {
  broker_state::HeldHandle& held = holds_.at(ticket);
  held.is_taken = true;
  client.admission = broker_state::Admission{.ticket = ticket, .side = held.side, .issuers = held.issuers};
  admitted_.emplace(ticket, &client);
  note_end(ticket, broker_state::TicketEnd::used);
}

// Why the client may not open this handle. The first is that which the ticket stands for; the others are its clones.
std::optional<std::string> Broker::why_not(Client& client, const Open& frame) {
  if (!client.admission) return std::nullopt;
  broker_state::Admission& admission = *client.admission;
  if (frame.side != admission.side) {
    return "a ticket for a " + std::string(broker_state::name_of(admission.side)) + " gives no " +
           broker_state::name_of(frame.side);
  }
  if (admission.has_opened) return std::nullopt;
  if (!holds_.contains(admission.ticket)) return lapsed_text();
  if (frame.claim != admission.ticket) return "its ticket comes first";
  admission.has_opened = true;
  return std::nullopt;
}

void Broker::note_end(const Token& ticket, broker_state::TicketEnd end) {
  if (!ended_tickets_.insert_or_assign(ticket, end).second) return;
  ended_tickets_order_.push_back(ticket);
  if (ended_tickets_order_.size() <= kEndedTicketsMax) return;
  ended_tickets_.erase(ended_tickets_order_.front());
  ended_tickets_order_.pop_front();
}

std::string Broker::lapsed_text() const {
  const auto minutes = std::chrono::duration_cast<std::chrono::minutes>(settings_.hold_limit).count();
  return "this ticket has lapsed: it had to be used within " + std::to_string(minutes) + " minutes";
}

}  // namespace klaw::dataplane
