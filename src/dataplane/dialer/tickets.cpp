#include <dataplane/dialer/tickets.hpp>

namespace klaw::dataplane {

Endpoint endpoint_of(const Ticket& ticket) {
  return {.channel = ChannelId{ticket.token.bytes},
          .secret = ticket.key,
          .unix_path = ticket.unix_path,
          .addresses = ticket.addresses};
}

Ticket ticket_at(const Endpoint& endpoint, const Token& token) {
  Ticket ticket;
  ticket.token = token;
  ticket.key = ticket_key(endpoint.secret, token);
  ticket.unix_path = endpoint.unix_path;
  ticket.addresses = endpoint.addresses;
  return ticket;
}

}  // namespace klaw::dataplane
