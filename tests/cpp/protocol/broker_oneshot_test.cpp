// A oneshot's broker: one value, ever, from whichever sender, for whichever receiver.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/dataplane.hpp"

namespace klaw::dataplane::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

BrokerSettings oneshot(std::uint64_t epoch = 1) {
  return {.kind = ChannelKind::oneshot, .capacity = 1, .epoch = epoch};
}

TEST(OneshotBroker, StoresTheFirstValueAndAnswersEachOther) {
  BrokerByHand broker(oneshot());
  Peer& tx = broker.sender(1);
  Peer& other = broker.sender(2);
  (void)broker.receiver(3);
  tx.offer(1, 1, {"a"});
  EXPECT_THAT(tx.heard(), ElementsAre("STORED 1:1"));
  tx.offer(1, 2, {"b"});
  other.try_offer(1, 1, "c");
  EXPECT_THAT(tx.heard(), ElementsAre("ANSWER 1:2 already_sent"));
  EXPECT_THAT(other.heard(), ElementsAre("ANSWER 1:1 already_sent"));
  EXPECT_THAT(broker.places(), ElementsAre("a ready"));
}

TEST(OneshotBroker, AnswersTheFirstBeforeTheSecondOfOneBatchOfEvents) {
  BrokerByHand broker(oneshot());
  Peer& tx = broker.sender(1);
  (void)broker.receiver(2);
  broker.batch([&] {
    tx.offer(1, 1, {"a"});
    tx.offer(1, 2, {"b"});
  });
  EXPECT_THAT(tx.heard(), ElementsAre("ANSWER 1:2 already_sent", "STORED 1:2"));
}

TEST(OneshotBroker, EndsItsReceiversOnceTheValueIsConsumedThoughASenderIsOpen) {
  BrokerByHand broker(oneshot());
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  Peer& other = broker.receiver(3);
  other.demand(1, 1, 1);
  rx.demand(1, 2, 2);
  tx.offer(1, 1, {"a"});
  EXPECT_THAT(other.heard(), ElementsAre("DELIVER 1 a#1"));
  EXPECT_THAT(rx.heard(), IsEmpty());  // it may come back
  other.consume(1, {attempt(1)});
  EXPECT_THAT(rx.heard(), ElementsAre("END 1 ended: already consumed"));
  other.demand(1, 2, 1);
  EXPECT_THAT(other.heard(), ElementsAre("END 1 ended: already consumed"));
}

TEST(OneshotBroker, TheReasonOfASenderThatHadSentIsNobodysEnd) {
  BrokerByHand broker(oneshot());
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.offer(1, 1, {"a"});
  tx.close(1, "broken");
  rx.demand(1, 2, 2);
  EXPECT_THAT(rx.heard(), ElementsAre("CLOSED 1 peer_died: broken", "DELIVER 1 a#1", "END 1 ended: already consumed"));
}

TEST(OneshotBroker, ASenderThatClosesUnsentEndsItsReceivers) {
  BrokerByHand broker(oneshot());
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  rx.demand(1, 1, 1);
  tx.close(1, "broken");
  EXPECT_THAT(rx.heard(), ElementsAre("CLOSED 1 peer_died: broken", "END 1 peer_died: broken"));
}

TEST(OneshotBroker, WhatAReceiverHadThatDiedGoesToAnotherOneMarked) {
  BrokerByHand broker(oneshot());
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  Peer& other = broker.receiver(3);
  rx.demand(1, 1, 1);
  tx.offer(1, 1, {"a"});
  other.demand(1, 1, 1);
  broker.died(rx);
  EXPECT_THAT(other.heard(), ElementsAre("DELIVER 1 a#2+1"));
}

TEST(OneshotBroker, RefusesWhenTheReceiversAreGoneButSaysWhatWasAlreadySent) {
  {
    BrokerByHand broker(oneshot());
    Peer& tx = broker.sender(1);
    broker.receiver(2).close(1);
    EXPECT_THAT(tx.heard(), ElementsAre("CLOSED 1 peer_gone"));
    tx.offer(1, 1, {"a"});
    tx.offer(1, 2, {"b"});
    EXPECT_THAT(tx.heard(), ElementsAre("ANSWER 1:1 refused", "ANSWER 1:2 refused"));
  }
  BrokerByHand broker(oneshot());
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.offer(1, 1, {"a"});
  rx.close(1);
  EXPECT_THAT(broker.places(), IsEmpty());
  tx.offer(1, 2, {"b"});
  EXPECT_THAT(tx.heard(), ElementsAre("STORED 1:1", "CLOSED 1 peer_gone", "ANSWER 1:2 already_sent"));
}

TEST(OneshotBroker, AWithdrawalCrossesTheAnswer) {
  BrokerByHand broker(oneshot());
  Peer& tx = broker.sender(1);
  (void)broker.receiver(2);
  tx.offer(1, 1, {"a"});
  tx.offer(1, 2, {"b"});
  (void)tx.heard();
  tx.withdraw(1, 1);
  tx.withdraw(1, 2);
  EXPECT_THAT(tx.heard(), IsEmpty());
  EXPECT_EQ(tx.closed_because, "");
}

TEST(OneshotBroker, ASenderThatComesBackAfterARestartSaysThatTheValueIsLost) {
  BrokerByHand broker(oneshot(2));
  Peer& rx = broker.receiver(1);
  rx.demand(1, 1, 1);
  Peer& tx = broker.client(2);
  tx.open_sender(1, 2);
  const std::string lost = "END 1 peer_died: the value was sent, and lost when the channel's actor died";
  EXPECT_THAT(rx.heard(), ElementsAre(lost));
  tx.offer(1, 2, {"b"});
  EXPECT_THAT(tx.heard(), ElementsAre("OPENED 1", "ANSWER 1:2 already_sent"));
}

TEST(OneshotBroker, AfterARestartOneThatHadNotSentMaySend) {
  BrokerByHand broker(oneshot(2));
  Peer& rx = broker.receiver(1);
  Peer& tx = broker.sender(2);
  tx.offer(1, 1, {"a"});
  Peer& other = broker.client(3);
  other.open_sender(1, 2);  // its value is lost; this one is not
  rx.demand(1, 1, 1);
  EXPECT_THAT(rx.heard(), ElementsAre("DELIVER 1 a#1@2"));
}

TEST(OneshotBroker, IsRestoredFromACheckpointButNotFromAQueues) {
  Checkpoint written;
  {
    BrokerByHand broker(oneshot());
    Peer& tx = broker.sender(1);
    (void)broker.receiver(2);
    tx.offer(1, 1, {"a"});
    written = broker.state().checkpoint(true);
  }
  BrokerByHand broker(oneshot(2));
  ASSERT_TRUE(broker.restore(written));
  Peer& rx = broker.receiver(2);
  Peer& tx = broker.client(1);
  tx.open_sender(1, 2);
  rx.demand(1, 1, 1);
  EXPECT_THAT(rx.heard(), ElementsAre("DELIVER 1 a#1@2+1"));
  tx.offer(1, 2, {"b"});
  EXPECT_THAT(tx.heard(), ElementsAre("OPENED 1", "ANSWER 1:2 already_sent"));

  written.total_sent = 2;
  BrokerByHand another(oneshot());
  EXPECT_FALSE(another.restore(written));
}

// Its sender was told that the actor died, not that its value was stored: what it sends next is another value.
TEST(OneshotBroker, AValueAfterTheOneInTheCheckpointIsNotTakenForIt) {
  Checkpoint written;
  {
    BrokerByHand broker(oneshot());
    Peer& tx = broker.sender(1);
    Peer& rx = broker.receiver(2);
    tx.offer(1, 1, {"a"});
    rx.demand(1, 1, 1);
    (void)rx.heard();
    rx.consume(1, {attempt(1)});
    written = broker.state().checkpoint(true);
  }
  BrokerByHand broker(oneshot(2));
  ASSERT_TRUE(broker.restore(written));
  Peer& tx = broker.client(1);
  tx.open_sender(1, 1);
  (void)tx.heard();
  tx.offer(1, 1, {"b"});
  EXPECT_THAT(tx.heard(), ElementsAre("ANSWER 1:1 already_sent"));
}

TEST(OneshotBroker, WhatIsAQueuesAloneIsAProtocolError) {
  for (const int what : {0, 1, 2, 3}) {
    BrokerByHand broker(oneshot());
    Peer& tx = broker.sender(1);
    if (what == 0) tx.reserve(1, 1);
    if (what == 1) tx.fill(1, 1, "a");
    if (what == 2) tx.unreserve(1, 1);
    if (what == 3) tx.shut_down();
    EXPECT_THAT(tx.closed_because, testing::HasSubstr("on a channel of kind oneshot"));
  }
}

}  // namespace
}  // namespace klaw::dataplane::test
