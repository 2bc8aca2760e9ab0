// Who is at the other end of a connection: both sides prove that they know the channel's secret, and tell nobody what it is.
//
//   client                                   broker
//     HELLO      versions, channel, nonce ─>
//                <─ CHALLENGE   version, nonce
//     PROOF      HMAC("klaw proof",   HELLO, CHALLENGE) ─>
//                <─ WELCOME     HMAC("klaw welcome", HELLO, CHALLENGE)
//
// The secret comes over Ray's own calls (SPEC section 6): access to the cluster is access to the channel. Each MAC covers all
// that both have said, with a fresh nonce of each: so it is of no use in another connection, for another channel, or in the
// other direction, and nobody in between can talk the two down to an older version. What follows is not encrypted: that is
// TLS's work (docs/threat-model.md).
//
// A ticket's holder does not know the secret. HELLO names the ticket's token in place of the channel, and both sides use a key
// that is made of the secret and the token. What that key is good for, the broker decides (Broker::attach).
//
// State machines like the broker and the link: no socket, no clock, and the nonces come from outside.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <dataplane/wire/frame.hpp>

namespace klaw::dataplane {

using Secret = std::array<std::uint8_t, 32>;

// From the operating system. Throws std::runtime_error if it has none to give.
[[nodiscard]] Secret random_secret();
template <class Id>
[[nodiscard]] Id random_id();

// The key of a ticket that somebody with this secret, or with this key of a ticket of its own, has made.
[[nodiscard]] Secret ticket_key(const Secret& issuer, const Token& token);

// The tokens of the tickets from the one that the secret has made down to this one.
using TicketPath = std::function<std::vector<Token>(const Token&)>;

// The frame to be answered with, if any; or why the connection has to end, for the log.
using HandshakeStep = std::expected<std::optional<Frame>, std::string>;

class BrokerHandshake {
 public:
  BrokerHandshake(const Secret& secret, const ChannelId& channel, const Nonce& nonce, TicketPath path_of = {});
  [[nodiscard]] HandshakeStep received(const Frame& frame);
  // The client has proved itself; it is told so by the last answer.
  [[nodiscard]] bool is_done() const noexcept { return is_done_; }
  // By which it came; none: it knows the channel's secret.
  [[nodiscard]] const std::optional<Token>& ticket() const noexcept { return ticket_; }

 private:
  [[nodiscard]] HandshakeStep challenge(const Hello& hello);
  [[nodiscard]] HandshakeStep check(const Proof& proof);

  Secret secret_;  // or the ticket's key
  const ChannelId channel_;
  const Nonce nonce_;
  const TicketPath path_of_;
  std::optional<Token> ticket_ = std::nullopt;
  std::string transcript_;  // HELLO and CHALLENGE, as bytes; empty: HELLO has not come
  bool is_done_ = false;
};

class ClientHandshake {
 public:
  ClientHandshake(const Secret& secret, const ChannelId& channel, const Nonce& nonce);
  [[nodiscard]] const Frame& hello() const noexcept { return hello_; }
  [[nodiscard]] HandshakeStep received(const Frame& frame);
  [[nodiscard]] bool is_done() const noexcept { return is_done_; }

 private:
  [[nodiscard]] HandshakeStep prove(const Challenge& challenge);
  [[nodiscard]] HandshakeStep check(const Welcome& welcome);

  const Secret secret_;
  const Frame hello_;
  std::string transcript_;
  bool is_done_ = false;
};

namespace auth_detail {
void fill_randomly(std::uint8_t* bytes, std::size_t count);
}  // namespace auth_detail

template <class Id>
Id random_id() {
  Id id;
  auth_detail::fill_randomly(id.bytes.data(), id.bytes.size());
  return id;
}

}  // namespace klaw::dataplane
