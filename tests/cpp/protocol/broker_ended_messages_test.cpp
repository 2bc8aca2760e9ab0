// Of the messages that its driver wants to hear of, a broker tells the end: once each, whichever way they go.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/dataplane.hpp"

namespace klaw::dataplane::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

bool is_capital(const Bytes& message) noexcept { return message.view()[0] >= 'A' && message.view()[0] <= 'Z'; }

BrokerSettings watching(std::uint64_t capacity) { return {.capacity = capacity, .tells_end_of = is_capital}; }

Texts ended(BrokerByHand& broker) {
  Texts texts;
  broker.event([&](Broker& b) {
    for (const Bytes& message : b.take_ended_messages()) texts.emplace_back(message.view());
  });
  return texts;
}

TEST(EndedMessages, AreToldWhenTheyAreSettledAndOnlyThoseThatWereAskedFor) {
  BrokerByHand broker(watching(8));
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.offer(1, 1, {"A", "b", "C"});
  rx.demand(1, 3, 3);
  EXPECT_THAT(ended(broker), IsEmpty());
  rx.consume(1, {attempt(1), attempt(2)});
  rx.consume(1, {attempt(3)}, false);
  EXPECT_THAT(ended(broker), ElementsAre("A"));
  rx.settle(1, {attempt(3)});
  EXPECT_THAT(ended(broker), ElementsAre("C"));
}

TEST(EndedMessages, AreNotThoseThatComeBack) {
  BrokerByHand broker(watching(8));
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  Peer& other = broker.receiver(3);
  tx.offer(1, 1, {"A", "B", "C"});
  rx.demand(1, 3, 3);
  rx.release(1, {attempt(1)});
  rx.consume(1, {attempt(2)}, false);
  rx.requeue(1, {attempt(2)}, 1000);
  broker.died(rx);
  broker.pass(seconds(2), {&tx, &other});
  EXPECT_THAT(ended(broker), IsEmpty());
  EXPECT_THAT(broker.places(), UnorderedElementsAre("A ready", "B lane", "C ready"));
  other.demand(1, 3, 3);
  other.consume(1, {attempt(4), attempt(5), attempt(6)});
  EXPECT_THAT(ended(broker), UnorderedElementsAre("A", "B", "C"));
}

TEST(EndedMessages, AreOffersThatAreRefusedWithdrawnOrWhoseSenderDies) {
  BrokerByHand broker(watching(1));
  Peer& tx = broker.sender(1);
  Peer& other = broker.sender(2);
  tx.offer(1, 1, {"A"});
  tx.try_offer(1, 2, "B");
  EXPECT_THAT(ended(broker), ElementsAre("B"));
  tx.offer(1, 3, {"C"});
  tx.withdraw(1, 3);
  EXPECT_THAT(ended(broker), ElementsAre("C"));
  other.offer(1, 1, {"D"});
  broker.died(other);
  EXPECT_THAT(ended(broker), ElementsAre("D"));
  EXPECT_THAT(broker.places(), ElementsAre("A ready"));
}

TEST(EndedMessages, AreAllOfThemWhenTheLastReceiverCloses) {
  BrokerByHand broker(watching(1));
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.offer(1, 1, {"A"});
  tx.offer(1, 2, {"B"});
  rx.demand(1, 1, 1);
  rx.close(1);
  EXPECT_THAT(ended(broker), UnorderedElementsAre("A", "B"));
  tx.offer(1, 3, {"C"});  // it crosses the news
  EXPECT_THAT(ended(broker), ElementsAre("C"));
}

TEST(EndedMessages, OfARendezvousWaitAgainIfTheirReceiveIsCancelled) {
  BrokerByHand broker(watching(0));
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.offer(1, 1, {"A"});
  rx.demand(1, 1, 1);
  rx.release(1, {attempt(1)});
  EXPECT_THAT(ended(broker), IsEmpty());
  rx.demand(1, 2, 1);
  rx.consume(1, {attempt(2)});
  EXPECT_THAT(ended(broker), ElementsAre("A"));
}

TEST(EndedMessages, AreThoseOfPermitsAndOfAShutdownAtOnce) {
  BrokerByHand broker(watching(2));
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.reserve(1, 1);
  tx.reserve(1, 2);
  tx.fill(1, 1, "A");
  EXPECT_THAT(ended(broker), IsEmpty());
  rx.shut_down(true);
  EXPECT_THAT(ended(broker), ElementsAre("A"));
  tx.fill(1, 2, "B");
  EXPECT_THAT(ended(broker), ElementsAre("B"));
}

TEST(EndedMessages, AreNotThoseOfACheckpointThatAreOfferedAgain) {
  BrokerByHand before(watching(8));
  Peer& tx = before.sender(1);
  tx.offer(1, 1, {"A"});
  BrokerByHand after({.capacity = 8, .epoch = 2, .tells_end_of = is_capital});
  ASSERT_TRUE(after.restore(before.state().checkpoint(true)));
  Peer& again = after.client(1);
  again.open_sender(1, 1);
  again.offer(1, 1, {"A"});
  EXPECT_THAT(ended(after), IsEmpty());
  EXPECT_THAT(after.places(), ElementsAre("A ready"));
}

}  // namespace
}  // namespace klaw::dataplane::test
