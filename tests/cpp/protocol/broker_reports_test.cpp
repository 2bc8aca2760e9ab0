// What a broker can tell of itself: checkpoints, and statistics.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/dataplane.hpp"

namespace klaw::dataplane::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Texts payloads(const Checkpoint& checkpoint) {
  Texts texts;
  for (const Checkpoint::Message& message : checkpoint.messages) texts.emplace_back(message.message.view());
  return texts;
}

// --- checkpoints ---

TEST(Checkpoints, HaveWhatIsStoredInTheOrderOfReceivingWhereverItIs) {
  BrokerByHand broker({.capacity = 5});
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.offer(1, 1, {"consumed", "unread", "settled", "requeued", "delayed"});
  rx.demand(1, 5, 5);
  rx.consume(1, {attempt(3)});
  rx.consume(1, {attempt(1), attempt(4), attempt(5)}, false);
  rx.requeue(1, {attempt(4)});
  rx.requeue(1, {attempt(5)}, 1000);
  tx.offer(1, 6, {"ready", "w", "x", "y"});
  tx.offer(1, 10, {"offered"});
  EXPECT_THAT(payloads(broker.state().checkpoint(true)),
              ElementsAre("consumed", "unread", "requeued", "delayed", "ready", "w", "x", "y"));
}

TEST(Checkpoints, OfARendezvousHaveOnlyWhatWasConsumed) {
  BrokerByHand broker({.capacity = 0});
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  rx.demand(1, 2, 2);
  for (Seq seq = 1; const char* const message : {"consumed", "unread", "offered"}) tx.offer(1, seq++, {message});
  rx.consume(1, {attempt(1)}, false);
  EXPECT_THAT(payloads(broker.state().checkpoint(true)), ElementsAre("consumed"));
}

TEST(Checkpoints, ComeBackInOrderAndMarked) {
  BrokerByHand before;
  Peer& tx = before.sender(1);
  tx.offer(1, 1, {"a", "b"});
  BrokerByHand after({.epoch = 2});
  ASSERT_TRUE(after.restore(before.state().checkpoint(true)));
  EXPECT_THAT(after.places(), ElementsAre("a ready", "b ready"));
  Peer& rx = after.client(2);
  rx.open_receiver(1);
  after.batch([&] { rx.demand(1, 2, 2); });
  EXPECT_THAT(rx.heard(), ElementsAre("OPENED 1", "DELIVER 1 a#1@2+1 b#2@2+1"));
}

TEST(Checkpoints, WithMoreMessagesThanTheCapacityFillTheLaneFirst) {
  BrokerByHand before({.capacity = 2});
  Peer& tx = before.sender(1);
  Peer& rx = before.receiver(2);
  tx.offer(1, 1, {"a", "b"});
  rx.demand(1, 1, 1);
  rx.consume(1, {attempt(1)}, false);
  tx.offer(1, 3, {"c"});
  BrokerByHand after({.capacity = 2, .epoch = 2});
  ASSERT_TRUE(after.restore(before.state().checkpoint(true)));
  EXPECT_THAT(after.places(), ElementsAre("a lane", "b ready", "c ready"));
}

TEST(Checkpoints, KeepTheCountersAndTheClosedSides) {
  BrokerByHand before({.created_at = 12.5});
  Peer& tx = before.sender(1);
  Peer& rx = before.receiver(2);
  tx.offer(1, 1, {"a", "b", "c"});
  rx.demand(1, 1, 1);
  rx.consume(1, {attempt(1)});
  tx.close(1);
  BrokerByHand after({.epoch = 2});
  ASSERT_TRUE(after.restore(before.state().checkpoint(true)));
  const auto stats = after.stats();
  EXPECT_EQ(stats.created_at, 12.5);
  EXPECT_EQ(stats.total_sent, 3);
  EXPECT_EQ(stats.total_received, 1);
  EXPECT_EQ(stats.high_watermark, 3);
  EXPECT_TRUE(stats.senders_closed);
  EXPECT_FALSE(stats.receivers_closed);
  Peer& again = after.client(2);
  again.open_receiver(1);
  EXPECT_THAT(again.heard(), ElementsAre("OPENED 1", "CLOSED 1 ended"));
}

TEST(Checkpoints, KeepHowTheClosedSidesWereClosed) {
  BrokerByHand before;
  Peer& tx = before.sender(1);
  Peer& rx = before.receiver(2);
  tx.close(1, "it broke");
  rx.close(1, "enough");
  BrokerByHand after({.epoch = 2});
  ASSERT_TRUE(after.restore(before.state().checkpoint(true)));
  Peer& late = after.client(3);
  late.open_receiver(1);
  late.open_sender(2);
  EXPECT_THAT(late.heard(), ElementsAre("OPENED 1 refused peer_gone: enough", "OPENED 2 refused peer_died: it broke"));
}

TEST(Checkpoints, WithoutMessagesHaveTheCountersOnly) {
  BrokerByHand before;
  before.sender(1).offer(1, 1, {"a"});
  const Checkpoint checkpoint = before.state().checkpoint(false);
  EXPECT_THAT(checkpoint.messages, IsEmpty());
  BrokerByHand after({.epoch = 2});
  ASSERT_TRUE(after.restore(checkpoint));
  EXPECT_EQ(after.stats().total_sent, 1);
  Peer& tx = after.unattached(1);
  tx.attach(true, 1);
  tx.open_sender(1, 2);
  EXPECT_THAT(tx.heard(),
              ElementsAre("ATTACHED epoch=2 received=0", "OPENED 1"));  // no loss is told: none was promised
}

TEST(Checkpoints, OfARestoredBrokerStillKnowSendersThatHaveNotComeBack) {
  BrokerByHand first;
  first.sender(1).offer(1, 1, {"a"});
  BrokerByHand second({.epoch = 2});
  ASSERT_TRUE(second.restore(first.state().checkpoint(true)));
  BrokerByHand third({.epoch = 3});
  ASSERT_TRUE(third.restore(second.state().checkpoint(true)));
  Peer& tx = third.client(1);
  tx.open_sender(1);
  tx.offer(1, 1, {"a"});
  EXPECT_THAT(tx.heard(), ElementsAre("OPENED 1", "STORED 1:1"));
  EXPECT_EQ(third.stats().queue_size, 1);
}

// It was written while somebody still had to settle a message; after a restart nobody can, nor receive it again.
TEST(Checkpoints, OfAChannelWithoutReceiversHaveNoMessagesWhenTheyComeBack) {
  BrokerByHand first;
  Peer& rx = first.receiver(1);
  first.sender(2).offer(1, 1, {"a"});
  rx.demand(1, 1, 1);
  rx.consume(1, {attempt(1)}, false);
  rx.close(1);
  ASSERT_THAT(first.places(), ElementsAre(testing::StartsWith("a ")));
  BrokerByHand second({.epoch = 2});
  ASSERT_TRUE(second.restore(first.state().checkpoint(true)));
  EXPECT_TRUE(second.stats().receivers_closed);
  EXPECT_THAT(second.places(), testing::IsEmpty());
}

TEST(Checkpoints, WithMessagesAreTakenOverByABrokerThatHasNotBegunOnly) {
  BrokerByHand broker;
  (void)broker.client(1);
  EXPECT_FALSE(broker.restore(Checkpoint{.total_sent = 7, .has_messages = true}));
  EXPECT_EQ(broker.stats().total_sent, 0);
}

TEST(Checkpoints, WithoutMessagesAreCountersForAChannelInUseWhoseHandlesAndMessagesStay) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.offer(1, 1, {"a"});
  (void)tx.heard();
  Checkpoint counters{.created_at = 12.5, .total_sent = 7, .total_received = 6};
  counters.sending.is_closed = counters.receiving.is_closed = true;
  ASSERT_TRUE(broker.restore(counters));
  EXPECT_EQ(broker.stats().created_at, 12.5);
  EXPECT_EQ(broker.stats().total_sent, 7);
  EXPECT_EQ(broker.stats().total_received, 6);
  EXPECT_FALSE(broker.stats().senders_closed);
  EXPECT_FALSE(broker.stats().receivers_closed);
  tx.offer(1, 2, {"b"});
  EXPECT_THAT(tx.heard(), ElementsAre("STORED 1:2"));
  EXPECT_EQ(broker.stats().total_sent, 8);
  broker.batch([&] { rx.demand(1, 2, 2); });
  EXPECT_THAT(rx.heard(), ElementsAre("DELIVER 1 a#1 b#2"));
}

TEST(Checkpoints, AreNotTakenOverByAChannelThatWasDeleted) {
  BrokerByHand removed;
  removed.remove();
  EXPECT_FALSE(removed.restore(Checkpoint{}));
}

// --- statistics ---

TEST(Statistics, CountEachMessagesBytesOnce) {
  BrokerByHand broker({.capacity = 2});
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.offer(1, 1, {"a", "four"});
  tx.offer(1, 3, {"it waits"});
  EXPECT_EQ(broker.state().traffic().sent_bytes, 5);
  rx.demand(1, 2, 2);
  EXPECT_EQ(broker.state().traffic().received_bytes, 0);
  rx.consume(1, {attempt(1)}, false);
  EXPECT_EQ(broker.state().traffic().received_bytes, 1);
  EXPECT_EQ(broker.state().traffic().sent_bytes, 13);
  rx.requeue(1, {attempt(1)});
  rx.demand(1, 3, 1);
  rx.consume(1, {attempt(2), attempt(3)});
  EXPECT_EQ(broker.state().traffic().received_bytes, 5);
  EXPECT_EQ(broker.state().traffic().sent_bytes, 13);
}

TEST(Statistics, CountTheBytesOfARendezvousWhenItIsTaken) {
  BrokerByHand broker({.capacity = 0});
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.offer(1, 1, {"four"});
  rx.demand(1, 1, 1);
  EXPECT_EQ(broker.state().traffic().sent_bytes, 0);
  rx.consume(1, {attempt(1)});
  EXPECT_EQ(broker.state().traffic().sent_bytes, 4);
  EXPECT_EQ(broker.state().traffic().received_bytes, 4);
}

TEST(Statistics, CountHandlesMessagesAndWhoWaits) {
  BrokerByHand broker({.capacity = 2, .created_at = 3.0});
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.offer(1, 1, {"a"});
  tx.offer(1, 2, {"b"});
  tx.offer(1, 3, {"c", "d"});
  rx.demand(1, 1, 1);
  auto stats = broker.stats();
  EXPECT_EQ(stats.sender_count, 1);
  EXPECT_EQ(stats.receiver_count, 1);
  EXPECT_EQ(stats.capacity, 2);
  EXPECT_EQ(stats.created_at, 3.0);
  EXPECT_EQ(stats.queue_size, 1);
  EXPECT_EQ(stats.in_flight, 1);
  EXPECT_EQ(stats.waiting_senders, 1);  // a batch is one
  EXPECT_EQ(stats.high_watermark, 2);
  EXPECT_EQ(stats.total_sent, 2);
  EXPECT_EQ(stats.total_received, 0);
  rx.consume(1, {attempt(1)});
  rx.demand(1, 5, 4);
  rx.consume(1, {attempt(2)});
  stats = broker.stats();
  EXPECT_EQ(stats.total_sent, 4);
  EXPECT_EQ(stats.total_received, 2);
  EXPECT_EQ(stats.waiting_senders, 0);
  EXPECT_EQ(stats.waiting_receivers, 1);
}

TEST(Statistics, HaveTheAgeOfTheOldestQueuedMessage) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  EXPECT_EQ(broker.stats().oldest_age, 0.0);
  tx.offer(1, 1, {"a"});
  broker.pass(milliseconds(1500), {&tx});
  tx.offer(1, 2, {"b"});
  EXPECT_EQ(broker.stats().oldest_age, 1.5);
}

TEST(Statistics, CountAMessageThatIsReceivedTwiceOnceAndItsRedeliveryOnce) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.offer(1, 1, {"a"});
  rx.demand(1, 1, 1);
  rx.consume(1, {attempt(1)}, false);
  rx.requeue(1, {attempt(1)});
  rx.demand(1, 2, 1);
  rx.consume(1, {attempt(2)});
  EXPECT_EQ(broker.stats().total_received, 1);
  EXPECT_EQ(broker.stats().redelivered, 1);
}

TEST(Statistics, OfReadersHaveNameNodeTimesAndWhatTheyReceived) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  Peer& rx = broker.client(2);
  rx.say(Open{.session = 1, .side = Side::receiver, .name = "reader", .node = "node"});
  const Time registered_at = broker.now;
  tx.offer(1, 1, {"a"});
  rx.demand(1, 1, 1);
  broker.pass(milliseconds(500), {&tx});
  rx.consume(1, {attempt(1)});
  const auto readers = broker.state().reader_stats();
  ASSERT_EQ(readers.size(), 1);
  EXPECT_EQ(readers[0].name, "reader");
  EXPECT_EQ(readers[0].node, "node");
  EXPECT_EQ(readers[0].registered_at, registered_at);
  EXPECT_EQ(readers[0].last_seen_at, registered_at + milliseconds(500));
  EXPECT_EQ(readers[0].total_received, 1);
}

TEST(Statistics, OfReadersLeaveOutWhoHasClosedAndWhoPassesBy) {
  BrokerByHand broker;
  Peer& rx = broker.receiver(1);
  rx.open_receiver(2);
  rx.say(Open{.session = 3, .side = Side::receiver, .counts = false});
  rx.close(1);
  EXPECT_EQ(broker.state().reader_stats().size(), 1);
}

}  // namespace
}  // namespace klaw::dataplane::test
