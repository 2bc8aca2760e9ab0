// Between tickets and endpoints: where a ticket's holder connects, and what ticket a client of that endpoint gives.
#pragma once

#include <dataplane/dialer/dialer.hpp>
#include <dataplane/ticket/ticket.hpp>

namespace klaw::dataplane {

[[nodiscard]] Endpoint endpoint_of(const Ticket& ticket);

// A ticket under this token, which the broker there holds. What the endpoint does not tell, the caller fills in.
[[nodiscard]] Ticket ticket_at(const Endpoint& endpoint, const Token& token);

}  // namespace klaw::dataplane
