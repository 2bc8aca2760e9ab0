// A watch's broker: the latest value, told to each client, one at a time.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/dataplane.hpp"

namespace klaw::dataplane::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

BrokerSettings watch(std::uint64_t epoch = 1) {
  return {.kind = ChannelKind::watch, .capacity = 1, .epoch = epoch, .initial = Bytes("i")};
}

TEST(WatchBroker, WhoOpensAHandleIsToldTheValueBefore) {
  BrokerByHand broker(watch());
  Peer& c = broker.client(1);
  c.open_receiver(1);
  c.open_sender(2);
  EXPECT_THAT(c.heard(), ElementsAre("LATEST #0 i", "OPENED 1", "OPENED 2"));
}

TEST(WatchBroker, ASendReplacesTheValueAndIsToldHowManyReceiversThereAre) {
  BrokerByHand broker(watch());
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  rx.open_receiver(2);
  (void)rx.heard();
  rx.ack();
  tx.offer(1, 1, {"a"});
  EXPECT_THAT(tx.heard(), ElementsAre("RECEIVERS 1 some", "CHANGED 1:1 #1 to=2"));
  EXPECT_THAT(rx.heard(), ElementsAre("LATEST #1 a"));
  EXPECT_EQ(broker.stats().total_sent, 1);
  EXPECT_EQ(broker.stats().queue_size, 1);
}

TEST(WatchBroker, ChangesCollapseUntilTheLastOneHasArrived) {
  BrokerByHand broker(watch());
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  rx.ack();
  tx.offer(1, 1, {"a"});
  EXPECT_THAT(rx.heard(), ElementsAre("LATEST #1 a"));
  tx.offer(1, 2, {"b"});
  tx.offer(1, 3, {"c"});
  EXPECT_THAT(rx.heard(), IsEmpty());
  rx.ack();
  EXPECT_THAT(rx.heard(), ElementsAre("LATEST #3 c"));
  broker.batch([&] {
    rx.ack();
    tx.offer(1, 4, {"d"});
    tx.offer(1, 5, {"e"});
  });
  EXPECT_THAT(rx.heard(), ElementsAre("LATEST #5 e"));
}

TEST(WatchBroker, AHeartbeatAcknowledgesAndSoDoesAReconnection) {
  BrokerByHand broker(watch());
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.offer(1, 1, {"a"});
  EXPECT_THAT(rx.heard(), IsEmpty());  // the initial value is on its way
  rx.ping();
  EXPECT_THAT(rx.heard(), ElementsAre("PING", "LATEST #1 a"));
  tx.offer(1, 2, {"b"});
  rx.cut();
  rx.attach(true, 1);
  EXPECT_THAT(rx.heard(), ElementsAre("ATTACHED epoch=1 resumed received=1", "LATEST #2 b"));
}

TEST(WatchBroker, WhoSentItIsNotToldAgain) {
  BrokerByHand broker(watch());
  Peer& c = broker.sender(1);
  c.open_receiver(2);
  (void)c.heard();
  c.offer(1, 1, {"a"});
  c.ack();
  EXPECT_THAT(c.heard(), ElementsAre("CHANGED 1:1 #1 to=1"));
}

TEST(WatchBroker, WithoutReceiversASendIsRefusedAndTheValueStays) {
  BrokerByHand broker(watch());
  Peer& tx = broker.sender(1);
  tx.offer(1, 1, {"a"});
  EXPECT_THAT(tx.heard(), ElementsAre("ANSWER 1:1 refused"));
  Peer& rx = broker.client(2);
  rx.open_receiver(1);
  EXPECT_THAT(rx.heard(), ElementsAre("LATEST #0 i", "OPENED 1"));
  EXPECT_THAT(tx.heard(), ElementsAre("RECEIVERS 1 some"));
  tx.offer(1, 2, {"b"});
  EXPECT_THAT(tx.heard(), ElementsAre("CHANGED 1:2 #1 to=1"));
  rx.close(1);
  EXPECT_THAT(tx.heard(), ElementsAre("RECEIVERS 1 none peer_gone: no receivers"));
}

TEST(WatchBroker, AnUnseenValueComesBeforeTheEnd) {
  BrokerByHand broker(watch());
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.offer(1, 1, {"a"});
  tx.close(1, "broken");
  EXPECT_THAT(rx.heard(), ElementsAre("LATEST #1 a", "CLOSED 1 peer_died: broken"));
  rx.open_receiver(2);
  EXPECT_THAT(rx.heard(), ElementsAre("OPENED 2", "CLOSED 2 peer_died: broken"));
}

TEST(WatchBroker, WhoAsksIsToldBeforeTheAnswer) {
  BrokerByHand broker(watch());
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.offer(1, 1, {"a"});
  rx.shrink(1, 0);
  EXPECT_THAT(rx.heard(), ElementsAre("LATEST #1 a", "DEMAND_IS 1 to=0"));
}

TEST(WatchBroker, CountsTheReceiversThatWaitAndTheChangesThatTheyFound) {
  BrokerByHand broker(watch());
  (void)broker.sender(1);
  Peer& rx = broker.receiver(2);
  rx.demand(1, 0, 2);
  EXPECT_EQ(broker.stats().waiting_receivers, 1);
  rx.demand(1, 0, 0);
  EXPECT_EQ(broker.stats().waiting_receivers, 0);
  rx.consume(1, {attempt(1), attempt(3)});
  EXPECT_EQ(broker.stats().total_received, 2);
}

TEST(WatchBroker, AReceiverThatDiesIsGoneAtOnceAndNothingComesBack) {
  BrokerByHand broker(watch());
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  (void)tx.heard();
  broker.died(rx);
  EXPECT_THAT(tx.heard(), ElementsAre(HasSubstr("RECEIVERS 1 none peer_died")));
}

TEST(WatchBroker, AfterARestartTheInitialValueIsAChangeForEverybody) {
  BrokerByHand broker(watch(2));
  Peer& rx = broker.client(1);
  rx.open_receiver(1);
  EXPECT_THAT(rx.heard(), ElementsAre("LATEST #0@2 i", "OPENED 1"));
  Peer& tx = broker.client(2);
  tx.open_sender(1, 7);
  (void)tx.heard();
  tx.offer(1, 7, {"a"});
  EXPECT_THAT(tx.heard(), ElementsAre("CHANGED 1:7 #1@2 to=1"));
}

TEST(WatchBroker, ACheckpointHasTheValue) {
  Checkpoint written;
  {
    BrokerByHand broker(watch());
    Peer& tx = broker.sender(1);
    (void)broker.receiver(2);
    tx.offer(1, 1, {"a"});
    written = broker.state().checkpoint(true);
  }
  BrokerByHand broker(watch(2));
  ASSERT_TRUE(broker.restore(written));
  Peer& rx = broker.client(2);
  rx.open_receiver(1);
  EXPECT_THAT(rx.heard(), ElementsAre("LATEST #0@2 a", "OPENED 1"));
  written.messages.resize(2);  // a queue's
  BrokerByHand other(watch());
  EXPECT_FALSE(other.restore(written));
}

TEST(WatchBroker, WhatIsAQueuesAloneIsAProtocolError) {
  for (const int what : {0, 1, 2}) {
    BrokerByHand broker(watch());
    Peer& c = broker.receiver(1);
    if (what == 0) c.release(1, {});
    if (what == 1) c.settle(1, {});
    if (what == 2) c.shut_down();
    EXPECT_THAT(c.closed_because, HasSubstr("on a channel of kind watch"));
  }
}

}  // namespace
}  // namespace klaw::dataplane::test
