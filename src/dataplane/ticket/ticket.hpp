// A ticket: a short text that stands for one more handle of a channel. Whoever has it makes the handle, in any process that
// reaches the broker, without Ray.
//
//   klaw1-<base64url of: protocol version, side, kind, ..., key, addresses, checksum>
//
// The text carries what a client needs to connect, and a key of its own. The channel's secret is not in it: the key is made of
// the secret and the token (ticket_key, auth/handshake.hpp), and the broker takes it for one client, while it holds the token.
// So a ticket is a secret while nobody has used it (docs/threat-model.md).
//
// Decoding trusts nothing: a text of any content is a ticket or an error that says what is wrong with it.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include <dataplane/auth/handshake.hpp>
#include <dataplane/wire/frame.hpp>
#include <dataplane/wire/limits.hpp>

namespace klaw::dataplane {

struct Ticket {
  std::uint16_t protocol = kVersion;  // of who made it
  Side side = Side::sender;
  ChannelKind kind = ChannelKind::mpmc;
  std::uint64_t capacity = 0;  // kUnbounded: none
  bool uses_tls = false;       // at the addresses
  Token token = {};            // what the broker holds; HELLO names it in place of the channel
  Secret key = {};
  std::string channel = {};                 // the same for all handles of the channel
  std::string name = {};                    // for errors; empty: it has none
  std::string ns = {};                      // its namespace
  std::string unix_path = {};               // empty: unknown, as on another machine than the broker's
  std::vector<std::string> addresses = {};  // "host:port"
  static constexpr auto fields(auto& f) {
    return std::tie(f.protocol, f.side, f.kind, f.capacity, f.uses_tls, f.token, f.key, f.channel, f.name, f.ns,
                    f.unix_path, f.addresses);
  }
};

// Letters, digits, '-' and '_' only: some 250 of them.
[[nodiscard]] std::string to_text(const Ticket& ticket);

// The ticket; or why the text is none, for a user to read. White space around it is ignored.
[[nodiscard]] std::expected<Ticket, std::string> ticket_of(std::string_view text);

namespace ticket_detail {
// A text around these bytes, whatever they are, with a right checksum. For tests.
[[nodiscard]] std::string armored(std::string bytes);
}  // namespace ticket_detail

}  // namespace klaw::dataplane
