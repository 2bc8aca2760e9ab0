#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string_view>
#include <variant>

#include <dataplane/auth/handshake.hpp>
#include <dataplane/wire/codec.hpp>
#include <dataplane/wire/limits.hpp>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

namespace klaw::dataplane {

namespace auth_detail {

void fill_randomly(std::uint8_t* bytes, std::size_t count) {
  if (RAND_bytes(bytes, static_cast<int>(count)) != 1) {
    throw std::runtime_error("klaw: the system's random numbers can't be read");
  }
}

}  // namespace auth_detail

Secret random_secret() {
  Secret secret;
  auth_detail::fill_randomly(secret.data(), secret.size());
  return secret;
}

namespace {

constexpr std::string_view kProofLabel = "klaw proof";
constexpr std::string_view kWelcomeLabel = "klaw welcome";
constexpr std::string_view kTicketLabel = "klaw ticket";

// Labels have fixed lengths and frames carry theirs, so no two texts run together into one.
Mac mac_of(const Secret& secret, std::string_view label, std::string_view transcript) {
  const std::string text = std::string(label) + std::string(transcript);
  Mac mac;
  unsigned int size = 0;
  const auto* const bytes = reinterpret_cast<const unsigned char*>(text.data());
  if (HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()), bytes, text.size(), mac.data(), &size) ==
          nullptr ||
      size != mac.size()) {
    throw std::runtime_error("klaw: OpenSSL has no HMAC-SHA256");
  }
  return mac;
}

// In a time that does not depend on how much of it is right.
bool is_equal(const Mac& a, const Mac& b) { return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0; }

HandshakeStep unexpected_frame(const Frame& frame) {
  return std::unexpected("it sent " + std::string(name(type_of(frame))) + " in the middle of the handshake");
}

std::string transcript_of(const Frame& hello, const Frame& challenge) {
  std::string bytes;
  encode(hello, bytes);
  encode(challenge, bytes);
  return bytes;
}

}  // namespace

Secret ticket_key(const Secret& issuer, const Token& token) {
  return mac_of(issuer, kTicketLabel, {reinterpret_cast<const char*>(token.bytes.data()), token.bytes.size()});
}

// --- the broker's half ---

BrokerHandshake::BrokerHandshake(const Secret& secret, const ChannelId& channel, const Nonce& nonce, TicketPath path_of)
    : secret_(secret), channel_(channel), nonce_(nonce), path_of_(std::move(path_of)) {}

HandshakeStep BrokerHandshake::received(const Frame& frame) {
  if (is_done_) return unexpected_frame(frame);
  if (const auto* const hello = std::get_if<Hello>(&frame); hello != nullptr && transcript_.empty()) {
    return challenge(*hello);
  }
  if (const auto* const proof = std::get_if<Proof>(&frame); proof != nullptr && !transcript_.empty()) {
    return check(*proof);
  }
  return unexpected_frame(frame);
}

HandshakeStep BrokerHandshake::challenge(const Hello& hello) {
  if (hello.magic != kMagic) return std::unexpected("it does not speak klaw's protocol");
  if (hello.version_min > kVersion || hello.version_max < kVersion) {
    return std::unexpected("it speaks versions " + std::to_string(hello.version_min) + " to " +
                           std::to_string(hello.version_max) + " of the protocol, this broker version " +
                           std::to_string(kVersion));
  }
  if (hello.channel != channel_) {
    ticket_ = Token{hello.channel.bytes};
    for (const Token& token : path_of_ ? path_of_(*ticket_) : std::vector{*ticket_})
      secret_ = ticket_key(secret_, token);
  }
  const Frame answer = Challenge{.version = kVersion, .features = hello.features & kFeatures, .nonce = nonce_};
  transcript_ = transcript_of(Frame(hello), answer);
  return std::optional(answer);
}

HandshakeStep BrokerHandshake::check(const Proof& proof) {
  if (!is_equal(proof.mac, mac_of(secret_, kProofLabel, transcript_))) {
    if (ticket_) return std::unexpected("it wants another channel, or has a ticket of one: its endpoint is stale");
    return std::unexpected("it does not know the channel's secret");
  }
  is_done_ = true;
  return std::optional<Frame>(Welcome{.mac = mac_of(secret_, kWelcomeLabel, transcript_)});
}

// --- the client's half ---

ClientHandshake::ClientHandshake(const Secret& secret, const ChannelId& channel, const Nonce& nonce)
    : secret_(secret),
      hello_(Hello{.magic = kMagic,
                   .version_min = kVersion,
                   .version_max = kVersion,
                   .features = kFeatures,
                   .channel = channel,
                   .nonce = nonce}) {}

HandshakeStep ClientHandshake::received(const Frame& frame) {
  if (is_done_) return unexpected_frame(frame);
  if (const auto* const answer = std::get_if<Challenge>(&frame); answer != nullptr && transcript_.empty()) {
    return prove(*answer);
  }
  if (const auto* const welcome = std::get_if<Welcome>(&frame); welcome != nullptr && !transcript_.empty()) {
    return check(*welcome);
  }
  return unexpected_frame(frame);
}

HandshakeStep ClientHandshake::prove(const Challenge& challenge) {
  if (challenge.version != kVersion) {
    return std::unexpected("the broker speaks version " + std::to_string(challenge.version) +
                           " of the protocol, this klaw version " + std::to_string(kVersion));
  }
  transcript_ = transcript_of(hello_, Frame(challenge));
  return std::optional<Frame>(Proof{.mac = mac_of(secret_, kProofLabel, transcript_)});
}

HandshakeStep ClientHandshake::check(const Welcome& welcome) {
  if (!is_equal(welcome.mac, mac_of(secret_, kWelcomeLabel, transcript_))) {
    return std::unexpected("who answers there does not know the channel's secret");
  }
  is_done_ = true;
  return std::optional<Frame>();
}

}  // namespace klaw::dataplane
