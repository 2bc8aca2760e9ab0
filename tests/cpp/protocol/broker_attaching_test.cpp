// Clients and handles come and go: who is attached, who counts, and when a side closes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/dataplane.hpp"

namespace klaw::dataplane::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Attaching, TheFirstFrameOfAConnectionIsAttach) {
  BrokerByHand broker;
  Peer& stranger = broker.unattached(1);
  stranger.connect();
  stranger.ping();
  EXPECT_EQ(stranger.closed_because, "it sent frames without having attached");
}

TEST(Attaching, TheAnswerHasTheKindTheEpochAndTheLimits) {
  BrokerByHand broker(
      {.kind = ChannelKind::watch, .capacity = 7, .epoch = 3, .offered_max = 5, .message_bytes_max = 99});
  Peer& c = broker.unattached(1);
  c.attach();
  ASSERT_EQ(c.inbox.size(), 1);
  const auto& attached = std::get<Attached>(*c.inbox[0]);
  EXPECT_EQ(attached.epoch, 3);
  EXPECT_FALSE(attached.resumed);
  EXPECT_EQ(attached.kind, ChannelKind::watch);
  EXPECT_EQ(attached.capacity, 7);
  EXPECT_EQ(attached.heartbeat_ms, 1000);
  EXPECT_EQ(attached.reconnect_grace_ms, 3000);
  EXPECT_EQ(attached.offered_max, 5);
  EXPECT_EQ(attached.message_bytes_max, 99);
}

TEST(Attaching, AClientThatMissedTheAnswerMayAttachAgainFromTheStart) {
  BrokerByHand broker;
  Peer& c = broker.client(1);
  c.cut();
  c.attach();
  EXPECT_THAT(c.heard(), ElementsAre("ATTACHED epoch=1 received=0"));
}

TEST(Attaching, OpenIsAnsweredAndCounts) {
  BrokerByHand broker;
  Peer& c = broker.client(1);
  c.open_sender(1);
  c.open_receiver(2);
  EXPECT_THAT(c.heard(), ElementsAre("OPENED 1", "OPENED 2"));
  EXPECT_EQ(broker.stats().sender_count, 1);
  EXPECT_EQ(broker.stats().receiver_count, 1);
}

TEST(Attaching, ACloneCountsBeforeTheCloseOfItsOriginal) {
  BrokerByHand broker;
  Peer& c = broker.sender(1);
  broker.batch([&] {
    c.open_sender(2);
    c.close(1);
  });
  EXPECT_EQ(broker.stats().sender_count, 1);
  EXPECT_FALSE(broker.stats().senders_closed);
}

TEST(Attaching, ACountFallsOnlyWhenCloseWasAppliedAndTheLastOfferIsStored) {
  BrokerByHand broker({.capacity = 1});
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.offer(1, 1, {"a"});
  tx.offer(1, 2, {"b"});
  tx.close(1);
  EXPECT_EQ(broker.stats().sender_count, 1);
  rx.demand(1, 1, 1);
  rx.consume(1, {attempt(1)});
  EXPECT_EQ(broker.stats().sender_count, 0);
  EXPECT_THAT(broker.places(), ElementsAre("b ready"));
  EXPECT_THAT(tx.heard(), ElementsAre("STORED 1:1", "STORED 1:2"));
}

TEST(Attaching, ASideThatWasNeverOpenedAcceptsTheOtherSidesOperations) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  tx.offer(1, 1, {"a"});
  EXPECT_THAT(tx.heard(), ElementsAre("STORED 1:1"));

  BrokerByHand other;
  Peer& rx = other.receiver(1);
  rx.demand(1, 1, 1);
  EXPECT_THAT(rx.heard(), IsEmpty());
  other.pass(minutes(1), {&rx});
  EXPECT_THAT(rx.heard(), IsEmpty());
}

TEST(Attaching, ASideThatHasClosedTakesNobodyIn) {
  BrokerByHand broker;
  Peer& rx = broker.receiver(1);
  rx.close(1, "enough");
  EXPECT_TRUE(broker.stats().receivers_closed);
  Peer& late = broker.client(2);
  late.open_receiver(1);
  EXPECT_THAT(late.heard(), ElementsAre("OPENED 1 refused peer_gone: enough"));
  EXPECT_EQ(broker.stats().receiver_count, 0);
}

TEST(Attaching, WhoComesAfterTheOtherSideClosedIsTold) {
  BrokerByHand broker;
  Peer& rx = broker.receiver(1);
  rx.close(1, "enough");
  Peer& tx = broker.client(2);
  tx.open_sender(1);
  EXPECT_THAT(tx.heard(), ElementsAre("OPENED 1", "CLOSED 1 peer_gone: enough"));
}

TEST(Attaching, TheFirstReasonAHandleClosedWithIsToldToTheOtherSide) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  tx.open_sender(2);
  Peer& rx = broker.receiver(2);
  tx.close(1, "first");
  EXPECT_THAT(rx.heard(), IsEmpty());
  tx.close(2, "second");
  EXPECT_THAT(rx.heard(), ElementsAre("CLOSED 1 peer_died: first"));
}

TEST(Attaching, APasserByKeepsNoSideOpen) {
  BrokerByHand broker;
  Peer& passing = broker.client(1);
  passing.say(Open{.session = 1, .side = Side::sender, .counts = false});
  passing.offer(1, 1, {"a"});
  EXPECT_EQ(broker.stats().sender_count, 0);
  Peer& tx = broker.sender(2);
  (void)passing.heard();
  tx.close(1);
  EXPECT_TRUE(broker.stats().senders_closed);
  EXPECT_THAT(passing.heard(), ElementsAre("OPENED 1 refused ended"));
  EXPECT_THAT(broker.places(), ElementsAre("a ready"));
}

TEST(Attaching, APasserByIsToldWhatIsStoredBeforeItIsRefused) {
  BrokerByHand broker({.capacity = 1});
  Peer& passing = broker.client(1);
  passing.say(Open{.session = 1, .side = Side::sender, .counts = false});
  Peer& tx = broker.sender(2);
  (void)passing.heard();
  broker.batch([&] {
    passing.offer(1, 1, {"a"});
    passing.offer(1, 2, {"b"});  // waits, and is void
    tx.close(1);
  });
  EXPECT_THAT(passing.heard(), ElementsAre("STORED 1:1", "OPENED 1 refused ended"));
  EXPECT_THAT(broker.places(), ElementsAre("a ready"));
}

TEST(Attaching, APasserByOnARendezvousIsRefusedOnceItsReceiverHasDecided) {
  BrokerByHand broker({.capacity = 0});
  Peer& passing = broker.client(1);
  passing.say(Open{.session = 1, .side = Side::sender, .counts = false});
  Peer& tx = broker.sender(2);
  Peer& rx = broker.receiver(3);
  passing.offer(1, 1, {"a"});
  passing.offer(1, 2, {"b"});
  rx.demand(1, 1, 1);
  (void)passing.heard();
  tx.close(1);
  EXPECT_THAT(passing.heard(), IsEmpty());
  EXPECT_THAT(broker.places(), ElementsAre("a unread"));  // nobody waits for b any more
  rx.consume(1, {attempt(1)});
  EXPECT_THAT(passing.heard(), ElementsAre("ANSWER 1:1 taken", "OPENED 1 refused ended"));
}

TEST(Attaching, AReceivingPasserByGivesBackWhatItHeldWhenItsSideCloses) {
  BrokerByHand broker;
  Peer& tx = broker.sender(1);
  Peer& passing = broker.client(2);
  passing.say(Open{.session = 1, .side = Side::receiver, .counts = false});
  Peer& rx = broker.receiver(3);
  tx.offer(1, 1, {"a"});
  passing.demand(1, 1, 1);
  (void)passing.heard();
  rx.close(1);
  EXPECT_THAT(passing.heard(), ElementsAre("OPENED 1 refused peer_gone"));
  EXPECT_THAT(broker.places(), IsEmpty());
  EXPECT_THAT(broker.log, ElementsAre("a message that came back is dropped: no receiver is left"));
}

TEST(Attaching, APersistentChannelClosesNoSideByItself) {
  BrokerByHand broker({.persistent = true});
  Peer& tx = broker.sender(1);
  Peer& rx = broker.receiver(2);
  tx.close(1);
  rx.demand(1, 1, 1);
  broker.died(tx);
  broker.pass(minutes(1), {&rx});
  EXPECT_FALSE(broker.stats().senders_closed);
  EXPECT_THAT(rx.heard(), IsEmpty());
  rx.close(1);
  EXPECT_FALSE(broker.stats().receivers_closed);
}

}  // namespace
}  // namespace klaw::dataplane::test
