// shutdown: no more sends from anywhere; what is offered is answered, what is stored is drained, or dropped.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/dataplane.hpp"

namespace klaw::dataplane::test {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(ShuttingDown, IsToldToEverybodyWithItsReason) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  rx.shut_down(false, "enough");
  EXPECT_THAT(tx.heard(), ElementsAre("IS_SHUT_DOWN: enough"));
  EXPECT_THAT(rx.heard(), ElementsAre("IS_SHUT_DOWN: enough"));
  EXPECT_TRUE(broker.stats().senders_closed);
  EXPECT_EQ(broker.stats().sender_count, 1);
}

TEST(ShuttingDown, IsToldToThoseWhoComeLaterBeforeTheyOpenAHandle) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  tx.shut_down(false, "enough");
  Peer& late = broker.unattached(2);
  late.attach();
  late.open_sender(1);
  EXPECT_THAT(late.heard(), ElementsAre("ATTACHED epoch=1 received=0", "IS_SHUT_DOWN: enough", "OPENED 1"));
}

TEST(ShuttingDown, RefusesWhatIsOfferedAndWhatWaitsInLine) {
  BrokerByHand broker({.capacity = 1});
  Peer& tx = broker.sender(1);
  Peer& other = broker.sender(2);
  tx.offer(1, 1, {"a"});
  tx.offer(1, 2, {"b"});
  other.offer(1, 1, {"c"});
  (void)tx.heard();
  tx.shut_down();
  EXPECT_THAT(tx.heard(), ElementsAre("IS_SHUT_DOWN", "ANSWER 1:2 refused"));
  EXPECT_THAT(other.heard(), ElementsAre("IS_SHUT_DOWN", "ANSWER 1:1 refused"));
  tx.offer(1, 3, {"d"});
  tx.try_offer(1, 4, "e");
  EXPECT_THAT(tx.heard(), ElementsAre("ANSWER 1:3 refused", "ANSWER 1:4 refused"));
  tx.withdraw(1, 2);  // crossed the answer
  EXPECT_EQ(tx.closed_because, "");
  EXPECT_THAT(broker.places(), ElementsAre("a ready"));
}

TEST(ShuttingDown, WhatIsStoredIsDrainedAndThenItsReceiversEnd) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.offer(1, 1, {"a"});
  tx.shut_down(false, "enough");
  (void)rx.heard();
  rx.demand(1, 2, 2);
  EXPECT_THAT(rx.heard(), ElementsAre("DELIVER 1 a#1", "END 1 shutdown: enough"));
}

TEST(ShuttingDown, WhatIsOutAtOthersHoldsTheEndBack) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  Peer& one = broker.receiver(2);
  Peer& two = broker.receiver(3);
  tx.offer(1, 1, {"a"});
  one.demand(1, 1, 1);
  tx.shut_down();
  two.demand(1, 1, 1);
  EXPECT_THAT(two.heard(), ElementsAre("IS_SHUT_DOWN"));
  one.release(1, {attempt(1)});
  EXPECT_THAT(two.heard(), ElementsAre("DELIVER 1 a#2"));
}

TEST(ShuttingDown, AtOnceDropsWhatIsStoredAndWhatComesBack) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  Peer& one = broker.receiver(2);
  Peer& two = broker.receiver(3);
  for (Seq seq = 1; seq <= 4; ++seq) tx.offer(1, seq, {"a"});
  one.demand(1, 3, 3);
  one.consume(1, {attempt(1), attempt(2)}, false);
  two.demand(1, 1, 1);
  (void)two.heard();
  one.requeue(1, {attempt(2)}, 1000);
  tx.shut_down(true);
  EXPECT_THAT(broker.places(), ElementsAre("a unsettled", "a unread", "a unread"));
  EXPECT_THAT(two.heard(), ElementsAre("IS_SHUT_DOWN at once"));
  one.release(1, {attempt(3)});
  one.requeue(1, {attempt(1)}, 1000);
  two.release(1, {attempt(4)});
  EXPECT_THAT(broker.places(), IsEmpty());
  EXPECT_THAT(broker.log, Contains(HasSubstr("the channel is shut down")));
}

TEST(ShuttingDown, AtOnceIsTheEndOfThoseWhoWaitWhateverIsOutAtOthers) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  Peer& one = broker.receiver(2);
  Peer& two = broker.receiver(3);
  tx.offer(1, 1, {"a"});
  one.demand(1, 1, 1);
  two.demand(1, 1, 1);
  tx.shut_down(true, "enough");
  EXPECT_THAT(two.heard(), ElementsAre("IS_SHUT_DOWN at once: enough", "END 1 shutdown: enough"));
}

TEST(ShuttingDown, ADeliveryThatWasDecidedComesBeforeIt) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  rx.demand(1, 1, 1);
  broker.batch([&] {
    tx.offer(1, 1, {"a"});
    tx.shut_down(true);
  });
  EXPECT_THAT(rx.heard(), ElementsAre("DELIVER 1 a#1", "IS_SHUT_DOWN at once"));
  EXPECT_THAT(tx.heard(), ElementsAre("IS_SHUT_DOWN at once", "STORED 1:1"));
}

TEST(ShuttingDown, TheFirstReasonIsKeptAndItCanBeHastenedOnce) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.shut_down(false, "first");
  rx.shut_down(false, "second");
  EXPECT_THAT(rx.heard(), ElementsAre("IS_SHUT_DOWN: first"));
  rx.shut_down(true, "third");
  tx.shut_down(true, "fourth");
  tx.shut_down();
  EXPECT_THAT(rx.heard(), ElementsAre("IS_SHUT_DOWN at once: first"));
}

TEST(ShuttingDown, OnARendezvousTheReceiverOfAnOfferDecides) {
  BrokerByHand broker({.capacity = 0});
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.offer(1, 1, {"a"});
  tx.offer(1, 2, {"b"});
  tx.offer(1, 3, {"c"});
  rx.demand(1, 2, 2);
  tx.shut_down();
  EXPECT_THAT(tx.heard(), ElementsAre("IS_SHUT_DOWN", "ANSWER 1:3 refused"));
  rx.consume(1, {attempt(1)});
  rx.release(1, {attempt(2)});
  EXPECT_THAT(tx.heard(), ElementsAre("ANSWER 1:1 taken", "ANSWER 1:2 refused"));
  rx.demand(1, 3, 1);
  EXPECT_THAT(rx.heard(), Contains("END 1 shutdown"));
}

TEST(ShuttingDown, AfterwardsAClosedSideTellsNoOtherKindOfEnd) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.shut_down();
  tx.close(1, "broken");
  rx.demand(1, 1, 1);
  EXPECT_THAT(rx.heard(), ElementsAre("IS_SHUT_DOWN", "CLOSED 1 peer_died: broken", "END 1 shutdown"));
}

TEST(ShuttingDown, WithoutReceiversAndDrainedTheChannelIsClosed) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.shut_down();
  EXPECT_FALSE(broker.state().is_closed());
  rx.close(1);
  EXPECT_TRUE(broker.state().is_closed());
}

TEST(ShuttingDown, IsInACheckpoint) {
  BrokerByHand before;
  Peer& tx = before.sender(1);
  tx.offer(1, 1, {"a"});
  tx.shut_down(false, "enough");
  BrokerByHand after({.epoch = 2});
  ASSERT_TRUE(after.restore(before.state().checkpoint(true)));
  EXPECT_TRUE(after.stats().senders_closed);
  Peer& rx = after.unattached(2);
  rx.attach();
  rx.open_receiver(1);
  rx.demand(1, 2, 2);
  EXPECT_THAT(rx.heard(), ElementsAre("ATTACHED epoch=2 restored received=0", "IS_SHUT_DOWN: enough", "OPENED 1",
                                      "DELIVER 1 a#1@2+1", "END 1 shutdown: enough"));
  tx.shut_down(true);
  BrokerByHand dropped({.epoch = 2});
  Checkpoint checkpoint = before.state().checkpoint(true);
  checkpoint.messages = after.state().checkpoint(true).messages;  // one that was out when it was written
  ASSERT_TRUE(dropped.restore(checkpoint));
  EXPECT_THAT(dropped.places(), IsEmpty());
}

}  // namespace
}  // namespace klaw::dataplane::test
