// Who connects and has not proved itself: refused, the log says who and why, and the others go on undisturbed.
#include <cstring>
#include <string>
#include <string_view>
#include <thread>

#include <arpa/inet.h>
#include <dataplane/wire/codec.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/network.hpp"

namespace klaw::dataplane::test {
namespace {

using testing::HasSubstr;

// A TCP connection that says whatever its test wants.
class Stranger {
 public:
  explicit Stranger(const std::string& address) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in where = {};
    where.sin_family = AF_INET;
    where.sin_port = htons(static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
    ::inet_pton(AF_INET, "127.0.0.1", &where.sin_addr);
    is_connected_ = ::connect(socket_, reinterpret_cast<const sockaddr*>(&where), sizeof where) == 0;
  }
  Stranger(Stranger&& other) noexcept : socket_(std::exchange(other.socket_, -1)), is_connected_(other.is_connected_) {}
  ~Stranger() {
    if (socket_ >= 0) ::close(socket_);
  }

  void say(std::string_view bytes) const { std::ignore = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL); }
  void say(const Frame& frame) const {
    std::string bytes;
    encode(frame, bytes);
    say(bytes);
  }
  // The next frame; none: the server has closed.
  [[nodiscard]] std::optional<Frame> hear() {
    char buffer[4096];
    for (;;) {
      auto next = decoder_.next();
      if (next && *next) return *next;
      const ssize_t count = ::recv(socket_, buffer, sizeof buffer, 0);
      if (count <= 0) return std::nullopt;
      decoder_.push({buffer, static_cast<std::size_t>(count)});
    }
  }
  [[nodiscard]] bool is_connected() const noexcept { return is_connected_; }

 private:
  int socket_;
  bool is_connected_;
  Decoder decoder_;
};

class Strangers : public Network {
 protected:
  // Somebody who has nothing to do with them.
  void expect_that_others_go_on() {
    Client client(endpoint(true, true));
    const Registration tx = client.open(Side::sender);
    const Registration rx = client.open(Side::receiver);
    ASSERT_EQ(client.send(tx, "a"), "done");
    EXPECT_EQ(client.recv(rx), "a");
  }
};

TEST_F(Strangers, WithAWrongSecretAreTurnedAwayAndToldSo) {
  start();
  Endpoint wrong = endpoint(false, true);
  wrong.secret = random_secret();
  Client client(wrong, milliseconds(500));
  const std::string error = client.send(client.open(Side::sender), "a");
  EXPECT_THAT(error, HasSubstr(server->addresses()[0]));
  EXPECT_TRUE(log.has("127.0.0.1:"));
  EXPECT_TRUE(log.has("was turned away: it does not know the channel's secret"));
  expect_that_others_go_on();
}

TEST_F(Strangers, WithAnotherChannelsEndpointAreTurnedAway) {
  start();
  Endpoint stale = endpoint(true, false);
  stale.channel = random_id<ChannelId>();
  Client client(stale, milliseconds(500));
  EXPECT_THAT(client.send(client.open(Side::sender), "a"), HasSubstr("can't be reached"));
  EXPECT_TRUE(log.has("it wants another channel, or has a ticket of one: its endpoint is stale"));
}

TEST_F(Strangers, WhoReplayAHandshakeAreTurnedAway) {
  start();
  // Heard on the wire: an honest client's frames.
  ClientHandshake honest(settings_.secret, settings_.channel, random_id<Nonce>());
  Stranger first(server->addresses()[0]);
  first.say(honest.hello());
  const Frame proof = honest.received(first.hear().value()).value().value();
  first.say(proof);
  ASSERT_TRUE(std::holds_alternative<Welcome>(first.hear().value()));
  // The same bytes, in a connection of the attacker's.
  Stranger second(server->addresses()[0]);
  second.say(honest.hello());
  ASSERT_TRUE(second.hear().has_value());
  second.say(proof);
  EXPECT_FALSE(second.hear().has_value());
  EXPECT_TRUE(log.has("it does not know the channel's secret"));
}

TEST_F(Strangers, WhoSendGarbageAreDisconnected) {
  start();
  Stranger stranger(server->addresses()[0]);
  stranger.say("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_FALSE(stranger.hear().has_value());
  EXPECT_TRUE(log.has("went before it had proved itself"));
  expect_that_others_go_on();
}

TEST_F(Strangers, WhoClaimALargeFrameAreDisconnectedBeforeItIsThere) {
  start();
  Stranger stranger(server->addresses()[0]);
  stranger.say(std::string_view("\xff\xff\x03\x00\x00\x00\x00\x00\x08", 9));  // 256 KiB, says its header
  EXPECT_FALSE(stranger.hear().has_value());
}

TEST_F(Strangers, WhoGoPastTheHandshakeAreDisconnected) {
  start();
  Stranger stranger(server->addresses()[0]);
  stranger.say(Attach{.client = random_id<ClientId>()});
  EXPECT_FALSE(stranger.hear().has_value());
  EXPECT_TRUE(log.has("it sent ATTACH in the middle of the handshake"));
}

TEST_F(Strangers, WhoSayNothingHaveUntilTheLimit) {
  settings_.handshake_limit = milliseconds(100);
  start();
  Stranger stranger(server->addresses()[0]);
  EXPECT_FALSE(stranger.hear().has_value());
  EXPECT_TRUE(log.has("it has not proved itself in time"));
}

TEST_F(Strangers, AThousandOfThemKeepNobodyOutForLong) {
  settings_.handshake_limit = milliseconds(300);
  settings_.strangers_max = 64;
  start();
  Client before(endpoint(false, true));
  const Registration tx = before.open(Side::sender);
  const Registration rx = before.open(Side::receiver);
  ASSERT_EQ(before.opened(Side::receiver, rx), "done");
  std::vector<Stranger> strangers;
  for (int i = 0; i < 1000; ++i) {
    strangers.emplace_back(server->addresses()[0]);
    ASSERT_TRUE(strangers.back().is_connected());
    if (i % 100 == 0) {
      ASSERT_EQ(before.send(tx, "a"), "done");
    }
  }
  expect_that_others_go_on();
  EXPECT_TRUE(log.has("was refused: 64 others have not proved themselves"));
  EXPECT_EQ(before.recv(rx), "a");
}

}  // namespace
}  // namespace klaw::dataplane::test
