// The handshake: who proves what to whom, without a socket.
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <dataplane/auth/handshake.hpp>
#include <dataplane/wire/limits.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace klaw::dataplane {
namespace {

using testing::HasSubstr;

const ChannelId kChannel = random_id<ChannelId>();

struct Pair {
  explicit Pair(const Secret& broker_secret = {1}, const Secret& client_secret = {1},
                const ChannelId& wanted = kChannel)
      : broker(broker_secret, kChannel, random_id<Nonce>()), client(client_secret, wanted, random_id<Nonce>()) {}
  BrokerHandshake broker;
  ClientHandshake client;
};

Frame answer(const HandshakeStep& step) { return step.value().value(); }

TEST(Handshake, BothSidesAreDoneWhenBothKnowTheSecret) {
  Pair p;
  const Frame proof = answer(p.client.received(answer(p.broker.received(p.client.hello()))));
  EXPECT_FALSE(p.broker.is_done());
  const Frame welcome = answer(p.broker.received(proof));
  EXPECT_TRUE(p.broker.is_done());
  EXPECT_FALSE(p.client.is_done());
  EXPECT_EQ(p.client.received(welcome).value(), std::nullopt);
  EXPECT_TRUE(p.client.is_done());
}

TEST(Handshake, AClientThatDoesNotKnowTheSecretIsTurnedAway) {
  Pair p({1}, {2});
  const Frame proof = answer(p.client.received(answer(p.broker.received(p.client.hello()))));
  EXPECT_EQ(p.broker.received(proof).error(), "it does not know the channel's secret");
  EXPECT_FALSE(p.broker.is_done());
}

TEST(Handshake, ABrokerThatDoesNotKnowTheSecretIsLeft) {
  Pair p;
  std::ignore = p.client.received(answer(p.broker.received(p.client.hello())));
  EXPECT_THAT(p.client.received(Welcome{}).error(), HasSubstr("does not know the channel's secret"));
  EXPECT_FALSE(p.client.is_done());
}

TEST(Handshake, AProofIsOfNoUseInAnotherConnection) {
  Pair heard;
  const Frame proof = answer(heard.client.received(answer(heard.broker.received(heard.client.hello()))));
  BrokerHandshake other({1}, kChannel, random_id<Nonce>());
  std::ignore = other.received(heard.client.hello());
  EXPECT_FALSE(other.received(proof).has_value());
}

// An attacker who has nothing but what the peer itself says.
TEST(Handshake, AProofIsNoWelcomeAndAWelcomeNoProof) {
  Pair p;
  const Frame proof = answer(p.client.received(answer(p.broker.received(p.client.hello()))));
  EXPECT_FALSE(p.client.received(Welcome{.mac = std::get<Proof>(proof).mac}).has_value());
}

TEST(Handshake, NobodyInBetweenChangesWhatIsAgreed) {
  Pair p;
  Challenge changed = std::get<Challenge>(answer(p.broker.received(p.client.hello())));
  changed.features = 1;
  const Frame proof = answer(p.client.received(changed));
  EXPECT_FALSE(p.broker.received(proof).has_value());
}

TEST(Handshake, AnotherChannelsClientHasAStaleEndpoint) {
  Pair p({1}, {1}, random_id<ChannelId>());
  const Frame proof = answer(p.client.received(answer(p.broker.received(p.client.hello()))));
  EXPECT_THAT(p.broker.received(proof).error(), HasSubstr("its endpoint is stale"));
}

// --- tickets ---

// What both of them think of a client that names this token, with this key.
std::pair<bool, std::optional<Token>> shake_hands(const Token& token, const Secret& key, TicketPath path_of = {}) {
  BrokerHandshake broker({1}, kChannel, random_id<Nonce>(), std::move(path_of));
  ClientHandshake client(key, ChannelId{token.bytes}, random_id<Nonce>());
  const Frame proof = answer(client.received(answer(broker.received(client.hello()))));
  const HandshakeStep welcome = broker.received(proof);
  const bool is_welcome = welcome.has_value() && client.received(**welcome).has_value() && client.is_done();
  return {is_welcome, broker.ticket()};
}

TEST(Handshake, AClientWithATicketProvesItsKeyAndTheBrokerKnowsWhich) {
  const auto token = random_id<Token>();
  EXPECT_EQ(shake_hands(token, ticket_key({1}, token)), std::pair(true, std::optional(token)));
}

TEST(Handshake, ATicketsKeyIsOfNoUseForAnotherTicketNorAsTheSecret) {
  const auto token = random_id<Token>();
  const Secret key = ticket_key({1}, token);
  EXPECT_FALSE(shake_hands(random_id<Token>(), key).first);
  EXPECT_FALSE(shake_hands(token, ticket_key({2}, token)).first);
  EXPECT_FALSE(shake_hands(token, {1}).first);
  Pair p({1}, key);
  const Frame proof = answer(p.client.received(answer(p.broker.received(p.client.hello()))));
  EXPECT_FALSE(p.broker.received(proof).has_value());
}

TEST(Handshake, AClientThatKnowsTheSecretHasNoTicket) {
  Pair p;
  std::ignore = p.client.received(answer(p.broker.received(p.client.hello())));
  EXPECT_EQ(p.broker.ticket(), std::nullopt);
}

TEST(Handshake, ATicketThatATicketsHolderMadeHasAKeyMadeOfItsKey) {
  const auto first = random_id<Token>();
  const auto second = random_id<Token>();
  const Secret key = ticket_key(ticket_key({1}, first), second);
  EXPECT_TRUE(shake_hands(second, key, [&](const Token& token) { return std::vector{first, token}; }).first);
  EXPECT_FALSE(shake_hands(second, key).first);
}

TEST(Handshake, WithoutACommonVersionBothAreNamed) {
  Pair p;
  Hello hello = std::get<Hello>(p.client.hello());
  hello.version_min = hello.version_max = kVersion + 1;
  EXPECT_EQ(p.broker.received(hello).error(), "it speaks versions 2 to 2 of the protocol, this broker version 1");
  hello.magic = 1;
  EXPECT_THAT(Pair().broker.received(hello).error(), HasSubstr("does not speak klaw's protocol"));
  EXPECT_THAT(p.client.received(Challenge{.version = 9}).error(), HasSubstr("the broker speaks version 9"));
}

TEST(Handshake, FramesOutOfTurnEndIt) {
  EXPECT_THAT(Pair().broker.received(Proof{}).error(), HasSubstr("PROOF in the middle of the handshake"));
  EXPECT_THAT(Pair().broker.received(Attach{}).error(), HasSubstr("ATTACH"));
  EXPECT_THAT(Pair().client.received(Welcome{}).error(), HasSubstr("WELCOME"));
  Pair p;
  std::ignore = p.broker.received(p.client.hello());
  EXPECT_THAT(p.broker.received(p.client.hello()).error(), HasSubstr("HELLO"));
}

TEST(Handshake, SecretsAndIdsAreRandom) {
  EXPECT_NE(random_secret(), random_secret());
  EXPECT_NE(random_id<Nonce>(), random_id<Nonce>());
}

}  // namespace
}  // namespace klaw::dataplane
