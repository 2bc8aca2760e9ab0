// Offers: how they wait for room, what answers them, and a channel of capacity 0.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/dataplane.hpp"

namespace klaw::dataplane::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Sending, AnOfferThatFitsIsStoredAndAnswered) {
  BrokerByHand broker({.capacity = 1});
  Peer& tx = broker.sender(1);
  tx.offer(1, 1, {"a"});
  EXPECT_THAT(tx.heard(), ElementsAre("STORED 1:1"));
  EXPECT_THAT(broker.places(), ElementsAre("a ready"));
}

TEST(Sending, StoredIsCumulativeAndSentOncePerBatchOfEvents) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  broker.batch([&] {
    tx.offer(1, 1, {"a"});
    tx.offer(1, 2, {"b"});
    tx.offer(1, 3, {"c"});
  });
  EXPECT_THAT(tx.heard(), ElementsAre("STORED 1:3"));
}

TEST(Sending, AnOfferParksInOrderOfArrivalUntilThereIsRoom) {
  BrokerByHand broker({.capacity = 1});
  Peer& one = broker.sender(1);
  Peer& two = broker.sender(2);
  Peer& rx = broker.receiver(3);
  two.offer(1, 1, {"a"});
  one.offer(1, 1, {"b"});
  two.offer(1, 2, {"c"});
  EXPECT_THAT(one.heard(), IsEmpty());
  EXPECT_THAT(broker.places(), ElementsAre("a ready", "b offered", "c offered"));
  EXPECT_EQ(broker.stats().waiting_senders, 2);
  rx.demand(1, 1, 1);
  rx.consume(1, {attempt(1)});
  EXPECT_THAT(one.heard(), ElementsAre("STORED 1:1"));
  EXPECT_THAT(broker.places(), ElementsAre("b ready", "c offered"));
}

TEST(Sending, OffersCountInNoCapacity) {
  BrokerByHand broker({.capacity = 1});
  Peer& tx = broker.sender(1);
  for (Seq seq = 1; seq <= 10; ++seq) tx.offer(1, seq, {"a"});
  EXPECT_EQ(broker.stats().queue_size, 1);
  EXPECT_EQ(broker.stats().high_watermark, 1);
  EXPECT_EQ(broker.stats().waiting_senders, 9);
}

TEST(Sending, OneOfferMayBeLargerThanTheWindowInBytes) {
  BrokerByHand broker({.capacity = 1, .offered_bytes_max = 2});
  Peer& tx = broker.sender(1);
  tx.offer(1, 1, {"a"});
  tx.offer(1, 2, {"much more than two"});
  EXPECT_EQ(tx.closed_because, "");
  EXPECT_THAT(broker.places(), ElementsAre("a ready", "much more than two offered"));
}

TEST(Sending, AWithdrawnOfferIsVoidAndLeavesNoGap) {
  BrokerByHand broker({.capacity = 1});
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.offer(1, 1, {"a"});
  tx.offer(1, 2, {"b"});
  (void)tx.heard();
  tx.withdraw(1, 2);
  tx.offer(1, 3, {"c"});
  EXPECT_THAT(tx.heard(), ElementsAre("ANSWER 1:2 withdrawn"));
  rx.demand(1, 1, 1);
  rx.consume(1, {attempt(1)});
  EXPECT_THAT(tx.heard(), ElementsAre("STORED 1:3"));
  EXPECT_THAT(broker.places(), ElementsAre("c ready"));
}

TEST(Sending, AWithdrawalThatComesTooLateIsAnsweredByTheNormalCompletion) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  broker.batch([&] {
    tx.offer(1, 1, {"a"});
    tx.withdraw(1, 1);
  });
  EXPECT_THAT(tx.heard(), ElementsAre("STORED 1:1"));
  EXPECT_THAT(broker.places(), ElementsAre("a ready"));
}

TEST(Sending, ATryIsAnsweredForTheTrueStateAndWaitsForNobody) {
  BrokerByHand broker({.capacity = 1});
  Peer& tx = broker.sender(1);
  tx.try_offer(1, 1, "a");
  tx.try_offer(1, 2, "b");
  EXPECT_THAT(tx.heard(), ElementsAre("STORED 1:1", "ANSWER 1:2 full"));
  EXPECT_THAT(broker.places(), ElementsAre("a ready"));
}

TEST(Sending, ATryDoesNotPassThoseWhoWait) {
  BrokerByHand broker({.capacity = 2});
  Peer& one = broker.sender(1);
  Peer& two = broker.sender(2);
  one.offer(1, 1, {"a"});
  one.offer(1, 2, {"b", "c"});
  two.try_offer(1, 1, "d");
  EXPECT_THAT(two.heard(), ElementsAre("ANSWER 1:1 full"));
}

TEST(Sending, ABatchIsStoredAsAWholeOrNotAtAll) {
  BrokerByHand broker({.capacity = 3});
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.offer(1, 1, {"a", "b"});
  tx.offer(1, 3, {"c", "d"});
  EXPECT_THAT(broker.places(), ElementsAre("a ready", "b ready", "c offered", "d offered"));
  EXPECT_THAT(tx.heard(), ElementsAre("STORED 1:2"));
  rx.demand(1, 1, 1);
  rx.consume(1, {attempt(1)});
  EXPECT_THAT(broker.places(), ElementsAre("b ready", "c ready", "d ready"));
  EXPECT_THAT(tx.heard(), ElementsAre("STORED 1:4"));
}

TEST(Sending, TheFirstBatchInLineCollectsSlotsAndNobodyBehindItPasses) {
  BrokerByHand broker({.capacity = 2});
  Peer& one = broker.sender(1);
  Peer& two = broker.sender(2);
  Peer& rx = broker.receiver(3);
  one.offer(1, 1, {"a", "b"});
  one.offer(1, 3, {"c", "d"});
  two.offer(1, 1, {"e"});
  rx.demand(1, 2, 2);
  rx.consume(1, {attempt(1)});
  EXPECT_THAT(two.heard(), IsEmpty());
  rx.consume(1, {attempt(2)});
  EXPECT_THAT(broker.places(), ElementsAre("c ready", "d ready", "e offered"));
}

TEST(Sending, WhenTheFirstBatchIsWithdrawnThoseBehindItAreStored) {
  BrokerByHand broker({.capacity = 2});
  Peer& one = broker.sender(1);
  Peer& two = broker.sender(2);
  one.offer(1, 1, {"a"});
  one.offer(1, 2, {"b", "c"});
  two.offer(1, 1, {"d"});
  EXPECT_THAT(two.heard(), IsEmpty());
  one.withdraw(1, 2);
  EXPECT_THAT(two.heard(), ElementsAre("STORED 1:1"));
  EXPECT_THAT(broker.places(), ElementsAre("a ready", "d ready"));
}

TEST(Sending, AnUnboundedChannelKeepsNobodyWaiting) {
  BrokerByHand broker({.capacity = kUnbounded, .offered_max = 1});
  Peer& tx = broker.sender(1);
  broker.batch([&] {
    for (Seq seq = 1; seq <= 50; ++seq) tx.offer(1, seq, {"a"});
  });
  EXPECT_THAT(tx.heard(), ElementsAre("STORED 1:50"));
  EXPECT_EQ(broker.stats().capacity, std::nullopt);
}

TEST(Sending, WhenTheLastReceiverLeavesOffersAreVoidAndWhatIsQueuedIsDropped) {
  BrokerByHand broker({.capacity = 1});
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.offer(1, 1, {"a"});
  tx.offer(1, 2, {"b"});
  (void)tx.heard();
  rx.close(1);
  EXPECT_THAT(tx.heard(), ElementsAre("CLOSED 1 peer_gone"));
  EXPECT_THAT(broker.places(), IsEmpty());
  EXPECT_THAT(broker.log, ElementsAre("1 queued messages are dropped: no receiver is left"));
  tx.offer(1, 3, {"c"});  // it may not have heard yet
  EXPECT_THAT(broker.places(), IsEmpty());
  EXPECT_THAT(tx.heard(), IsEmpty());
  tx.close(1);
  EXPECT_TRUE(broker.state().is_closed());
}

TEST(Sending, WhatWasStoredIsToldBeforeTheEndOfTheReceivers) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  broker.batch([&] {
    tx.offer(1, 1, {"a"});
    rx.close(1);
  });
  const Texts heard = tx.heard();
  ASSERT_GE(heard.size(), 2);
  EXPECT_EQ(heard[0], "STORED 1:1");
  EXPECT_EQ(heard[1], "CLOSED 1 peer_gone");
}

// --- capacity 0 ---

TEST(Rendezvous, AnOfferIsStoredNowhereAndMeetsADemand) {
  BrokerByHand broker({.capacity = 0});
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.offer(1, 1, {"a"});
  EXPECT_THAT(broker.places(), ElementsAre("a offered"));
  EXPECT_EQ(broker.stats().queue_size, 0);
  rx.demand(1, 1, 1);
  EXPECT_THAT(rx.heard(), ElementsAre("DELIVER 1 a#1"));
  EXPECT_THAT(tx.heard(), IsEmpty());
}

TEST(Rendezvous, TheSenderIsDoneWhenTheMessageIsConsumed) {
  BrokerByHand broker({.capacity = 0});
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  rx.demand(1, 1, 1);
  tx.offer(1, 1, {"a"});
  EXPECT_THAT(tx.heard(), IsEmpty());
  rx.consume(1, {attempt(1)});
  EXPECT_THAT(tx.heard(), ElementsAre("ANSWER 1:1 taken"));
  EXPECT_EQ(broker.stats().total_sent, 1);
  EXPECT_EQ(broker.stats().total_received, 1);
}

TEST(Rendezvous, WhenItsReceiveIsCancelledTheOfferWaitsAgainInItsPlace) {
  BrokerByHand broker({.capacity = 0});
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.offer(1, 1, {"a"});
  tx.offer(1, 2, {"b"});
  rx.demand(1, 1, 1);
  rx.release(1, {attempt(1)});
  EXPECT_THAT(broker.places(), ElementsAre("a offered", "b offered"));
  rx.demand(1, 3, 2);
  EXPECT_THAT(rx.heard(), ElementsAre("DELIVER 1 a#1", "DELIVER 1 a#2 b#3"));
}

TEST(Rendezvous, ATryIsFullUnlessAReceiveWaits) {
  BrokerByHand broker({.capacity = 0});
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.try_offer(1, 1, "a");
  EXPECT_THAT(tx.heard(), ElementsAre("ANSWER 1:1 full"));
  rx.demand(1, 1, 1);
  tx.try_offer(1, 2, "b");
  EXPECT_THAT(tx.heard(), IsEmpty());
  rx.consume(1, {attempt(1)});
  EXPECT_THAT(tx.heard(), ElementsAre("ANSWER 1:2 taken"));
}

TEST(Rendezvous, ATryWhoseReceiveIsCancelledIsFull) {
  BrokerByHand broker({.capacity = 0});
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  rx.demand(1, 1, 1);
  tx.try_offer(1, 1, "a");
  rx.release(1, {attempt(1)});
  EXPECT_THAT(tx.heard(), ElementsAre("ANSWER 1:1 full"));
  EXPECT_THAT(broker.places(), IsEmpty());
}

TEST(Rendezvous, AWithdrawalOfWhatIsOutIsDecidedByItsReceiver) {
  for (const bool is_consumed : {false, true}) {
    BrokerByHand broker({.capacity = 0});
    Peer& tx = broker.sender(1);
    Peer& rx = broker.receiver(2);
    rx.demand(1, 1, 1);
    tx.offer(1, 1, {"a"});
    tx.withdraw(1, 1);
    EXPECT_THAT(tx.heard(), IsEmpty());
    if (is_consumed) {
      rx.consume(1, {attempt(1)});
      EXPECT_THAT(tx.heard(), ElementsAre("ANSWER 1:1 taken"));
    } else {
      rx.release(1, {attempt(1)});
      EXPECT_THAT(tx.heard(), ElementsAre("ANSWER 1:1 withdrawn"));
      EXPECT_THAT(broker.places(), IsEmpty());
    }
  }
}

TEST(Rendezvous, AClosedSenderCountsUntilItsOfferIsTaken) {
  BrokerByHand broker({.capacity = 0});
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.offer(1, 1, {"a"});
  tx.close(1);
  EXPECT_EQ(broker.stats().sender_count, 1);
  rx.demand(1, 1, 1);
  rx.consume(1, {attempt(1)});
  rx.demand(1, 2, 1);
  EXPECT_THAT(rx.heard(), ElementsAre("DELIVER 1 a#1", "CLOSED 1 ended", "END 1 ended"));
}

TEST(Rendezvous, AnOfferWhoseReceiverDiedWaitsAgainMarked) {
  BrokerByHand broker({.capacity = 0});
  Peer& tx = broker.sender(1);
  Peer& one = broker.receiver(2);
  Peer& two = broker.receiver(3);
  tx.offer(1, 1, {"a"});
  one.demand(1, 1, 1);
  broker.died(one);
  EXPECT_THAT(broker.places(), ElementsAre("a offered"));
  two.demand(1, 1, 1);
  EXPECT_THAT(two.heard(), ElementsAre("DELIVER 1 a#2+1"));
  two.consume(1, {attempt(2)});
  EXPECT_THAT(tx.heard(), ElementsAre("ANSWER 1:1 taken"));
}

TEST(Rendezvous, NothingTravelsAhead) {
  BrokerByHand broker({.capacity = 0});
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.offer(1, 1, {"a"});
  rx.demand(1, 5, 0);
  EXPECT_THAT(rx.heard(), IsEmpty());
}

TEST(Rendezvous, AnOfferGoesWithItsSenderEvenWhileItIsOut) {
  BrokerByHand broker({.capacity = 0});
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.offer(1, 1, {"a"});
  rx.demand(1, 1, 1);
  broker.died(tx);
  rx.release(1, {attempt(1)});
  EXPECT_THAT(broker.places(), IsEmpty());
}

}  // namespace
}  // namespace klaw::dataplane::test
