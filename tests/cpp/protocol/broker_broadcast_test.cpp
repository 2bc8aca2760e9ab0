// A broadcast at its broker: every receiver gets every message that was sent after it subscribed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/dataplane.hpp"

namespace klaw::dataplane::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

BrokerSettings broadcast(std::uint64_t capacity = 4, bool waits_for_slowest = false) {
  return {.kind = ChannelKind::broadcast, .capacity = capacity, .waits_for_slowest = waits_for_slowest};
}

TEST(Broadcasting, EveryReceiverGetsEveryMessageThatIsSentAfterItSubscribed) {
  BrokerByHand broker(broadcast());
  Peer& one = broker.receiver(1);
  Peer& tx = broker.sender(2);
  tx.offer(1, 1, {"a"});
  Peer& two = broker.receiver(3);
  tx.offer(1, 2, {"b"});
  EXPECT_THAT(tx.heard(), ElementsAre("SENT 1:1 to=1", "SENT 1:2 to=2"));
  one.demand(1, 2, 2);
  two.demand(1, 2, 2);
  EXPECT_THAT(one.heard(), ElementsAre("DELIVER 1 a#1 b#2"));
  EXPECT_THAT(two.heard(), ElementsAre("DELIVER 1 b#2"));
  tx.offer(1, 3, {"c"});
  EXPECT_THAT(one.heard(), IsEmpty());
  EXPECT_THAT(two.heard(), ElementsAre("DELIVER 1 c#3"));
}

TEST(Broadcasting, NothingTravelsAheadOfTheReceivesThatWait) {
  BrokerByHand broker(broadcast());
  Peer& rx = broker.receiver(1);
  Peer& tx = broker.sender(2);
  rx.demand(1, 10, 1);
  tx.offer(1, 1, {"a"});
  tx.offer(1, 2, {"b"});
  EXPECT_THAT(rx.heard(), ElementsAre("DELIVER 1 a#1"));
  rx.demand(1, 10, 1);
  EXPECT_THAT(rx.heard(), ElementsAre("DELIVER 1 b#2"));
}

TEST(Broadcasting, WhoFallsBehindIsToldOnceHowFarAndGoesOnAtTheOldestKept) {
  BrokerByHand broker(broadcast(2));
  Peer& rx = broker.receiver(1);
  Peer& tx = broker.sender(2);
  for (Seq seq = 1; seq <= 5; ++seq) tx.offer(1, seq, {"m"});
  EXPECT_EQ(broker.stats().queue_size, 2);
  rx.demand(1, 2, 2);
  EXPECT_THAT(rx.heard(), ElementsAre("MISSED 1 skipped=3", "DELIVER 1 m#4"));
  rx.demand(1, 4, 2);
  EXPECT_THAT(rx.heard(), ElementsAre("DELIVER 1 m#5"));
}

TEST(Broadcasting, WhatWasDeliveredIsNotMissedThoughItIsDropped) {
  BrokerByHand broker(broadcast(1));
  Peer& rx = broker.receiver(1);
  Peer& tx = broker.sender(2);
  rx.demand(1, 1, 1);
  tx.offer(1, 1, {"a"});
  tx.offer(1, 2, {"b"});
  rx.consume(1, {attempt(1)});
  rx.demand(1, 2, 1);
  EXPECT_THAT(rx.heard(), ElementsAre("DELIVER 1 a#1", "DELIVER 1 b#2"));
}

TEST(Broadcasting, AMessageIsKeptUntilTheSlowestHasTakenIt) {
  BrokerByHand broker(broadcast());
  Peer& one = broker.receiver(1);
  Peer& two = broker.receiver(2);
  Peer& tx = broker.sender(3);
  tx.offer(1, 1, {"a"});
  one.demand(1, 1, 1);
  two.demand(1, 1, 1);
  one.consume(1, {attempt(1)});
  EXPECT_EQ(broker.stats().queue_size, 1);
  EXPECT_EQ(broker.stats().in_flight, 1);
  two.consume(1, {attempt(1)});
  EXPECT_EQ(broker.stats().queue_size, 0);
  EXPECT_EQ(broker.stats().total_sent, 1);
  EXPECT_EQ(broker.stats().total_received, 2);
}

TEST(Broadcasting, WithoutReceiversASendIsRefusedUntilSomebodySubscribes) {
  BrokerByHand broker(broadcast());
  Peer& tx = broker.client(1);
  tx.open_sender(1);
  EXPECT_THAT(tx.heard(), ElementsAre("OPENED 1", "RECEIVERS 1 none peer_gone: no receivers"));
  tx.offer(1, 1, {"a"});
  EXPECT_THAT(tx.heard(), ElementsAre("ANSWER 1:1 refused"));
  Peer& rx = broker.receiver(2);
  tx.offer(1, 2, {"b"});
  EXPECT_THAT(tx.heard(), ElementsAre("RECEIVERS 1 some", "SENT 1:2 to=1"));
  rx.close(1, "had enough");
  tx.offer(1, 3, {"c"});
  EXPECT_THAT(tx.heard(), ElementsAre("RECEIVERS 1 none peer_gone: had enough", "ANSWER 1:3 refused"));
  broker.receiver(3).close(1);
  EXPECT_THAT(tx.heard(), ElementsAre("RECEIVERS 1 some", "RECEIVERS 1 none peer_gone: no receivers"));
  EXPECT_EQ(broker.stats().queue_size, 0);
}

TEST(Broadcasting, WhoDiesIsOneReceiverLessAtOnceAndNothingIsRedelivered) {
  BrokerByHand broker(broadcast());
  Peer& one = broker.receiver(1);
  Peer& two = broker.receiver(2);
  Peer& tx = broker.sender(3);
  one.demand(1, 1, 1);
  tx.offer(1, 1, {"a"});
  broker.died(one);
  tx.offer(1, 2, {"b"});
  two.demand(1, 3, 3);
  EXPECT_THAT(two.heard(), ElementsAre("DELIVER 1 a#1 b#2"));
  broker.died(two);
  tx.offer(1, 3, {"c"});
  EXPECT_THAT(tx.heard(), ElementsAre("SENT 1:1 to=2", "SENT 1:2 to=1",
                                      HasSubstr("RECEIVERS 1 none peer_died: the process of"), "ANSWER 1:3 refused"));
}

TEST(Broadcasting, WhatIsSentWhileAReceiverIsOnItsWayReachesTheOneThatClaimsIt) {
  BrokerByHand broker(broadcast());
  Peer& rx = broker.receiver(1);
  Peer& tx = broker.sender(2);
  tx.offer(1, 1, {"before"});
  rx.hold(7, Side::receiver);
  rx.close(1);
  tx.offer(1, 2, {"a"});
  EXPECT_THAT(tx.heard(), ElementsAre("SENT 1:1 to=1", "SENT 1:2 to=1"));
  Peer& other = broker.client(3);
  other.claim(1, 7, Side::receiver);
  other.claim(2, 7, Side::receiver);  // a second one begins here
  tx.offer(1, 3, {"b"});
  other.demand(1, 9, 9);
  other.demand(2, 9, 9);
  EXPECT_THAT(other.heard(), ElementsAre("OPENED 1", "OPENED 2", "DELIVER 1 a#2 b#3", "DELIVER 2 b#3"));
  EXPECT_THAT(tx.heard(), ElementsAre("SENT 1:3 to=2"));
}

TEST(Broadcasting, AHoldThatLapsesIsOneReceiverLess) {
  BrokerByHand broker(broadcast(1, true));
  Peer& rx = broker.receiver(1);
  Peer& tx = broker.sender(2);
  rx.hold(7, Side::receiver);
  rx.close(1);
  tx.offer(1, 1, {"a"});
  tx.offer(1, 2, {"b"});
  (void)tx.heard();
  broker.pass(minutes(11), {&tx, &rx});
  EXPECT_THAT(tx.heard(), ElementsAre("RECEIVERS 1 none peer_gone: no receivers", "ANSWER 1:2 refused"));
}

TEST(Broadcasting, EachReceiverDrainsAndThenSeesTheEnd) {
  BrokerByHand broker(broadcast(2));
  Peer& slow = broker.receiver(1);
  Peer& idle = broker.receiver(2);
  Peer& tx = broker.sender(3);
  idle.demand(1, 9, 9);
  for (Seq seq = 1; seq <= 3; ++seq) tx.offer(1, seq, {"m"});
  tx.close(1);
  EXPECT_THAT(idle.heard(),
              ElementsAre("DELIVER 1 m#1", "DELIVER 1 m#2", "DELIVER 1 m#3", "CLOSED 1 ended", "END 1 ended"));
  slow.demand(1, 2, 2);
  slow.demand(1, 4, 2);
  EXPECT_THAT(slow.heard(),
              ElementsAre("CLOSED 1 ended", "MISSED 1 skipped=1", "DELIVER 1 m#2", "DELIVER 1 m#3", "END 1 ended"));
  Peer& late = broker.receiver(4);
  late.demand(1, 1, 1);
  EXPECT_THAT(late.heard(), ElementsAre("END 1 ended"));
}

TEST(Broadcasting, WhenTheLastSenderDiesThoseWhoWaitAreTold) {
  BrokerSettings settings = broadcast();
  settings.orphan_grace = Duration::zero();
  BrokerByHand broker(settings);
  Peer& rx = broker.receiver(1);
  Peer& tx = broker.sender(2);
  rx.demand(1, 1, 1);
  broker.died(tx);
  EXPECT_THAT(rx.heard(), ElementsAre(HasSubstr("CLOSED 1 peer_died"), HasSubstr("END 1 peer_died")));
}

TEST(Broadcasting, ATryAsksAndIsAnswered) {
  BrokerByHand broker(broadcast());
  Peer& rx = broker.receiver(1);
  Peer& tx = broker.sender(2);
  rx.demand(1, 1, 1);
  rx.shrink(1, 0);
  EXPECT_THAT(rx.heard(), ElementsAre("DEMAND_IS 1 to=0"));
  tx.offer(1, 1, {"a"});
  rx.demand(1, 1, 1);
  rx.shrink(1, 0);
  EXPECT_THAT(rx.heard(), ElementsAre("DELIVER 1 a#1", "DEMAND_IS 1 to=1"));
}

TEST(Broadcasting, AReceiverWhoseConnectionIsLostGoesOnWhereItWas) {
  BrokerByHand broker(broadcast());
  Peer& rx = broker.receiver(1);
  Peer& tx = broker.sender(2);
  rx.demand(1, 3, 3);
  tx.offer(1, 1, {"a"});
  rx.cut();
  tx.offer(1, 2, {"b"});
  rx.attach(true, 1);
  EXPECT_THAT(rx.heard(), ElementsAre("DELIVER 1 a#1", HasSubstr("ATTACHED"), "DELIVER 1 b#2"));
}

TEST(Broadcasting, AStaleOrForgedConsumptionMovesNobodyElse) {
  BrokerByHand broker(broadcast());
  Peer& one = broker.receiver(1);
  Peer& two = broker.receiver(2);
  Peer& tx = broker.sender(3);
  tx.offer(1, 1, {"a"});
  one.consume(1, {attempt(1), attempt(2), attempt(7), attempt(1, 2)});  // nothing was delivered to it
  EXPECT_EQ(broker.stats().queue_size, 1);
  one.demand(1, 1, 1);
  one.consume(1, {attempt(1)});
  one.consume(1, {attempt(1)});
  EXPECT_EQ(broker.stats().total_received, 1);
  two.demand(1, 1, 1);
  EXPECT_THAT(two.heard(), ElementsAre("DELIVER 1 a#1"));
}

TEST(Broadcasting, IsNotForThoseThatSettleReserveShutDownOrSendBatches) {
  const auto says = [](const std::function<void(Peer&)>& what) {
    BrokerByHand broker(broadcast());
    Peer& peer = broker.client(1);
    peer.open_sender(1);
    peer.open_receiver(2);
    what(peer);
    return peer.closed_because;
  };
  EXPECT_THAT(says([](Peer& p) { p.settle(2, {attempt(1)}); }), HasSubstr("SETTLE on a channel of kind broadcast"));
  EXPECT_THAT(says([](Peer& p) { p.release(2, {attempt(1)}); }), HasSubstr("RELEASE on a channel of kind broadcast"));
  EXPECT_THAT(says([](Peer& p) { p.reserve(1, 1); }), HasSubstr("RESERVE on a channel of kind broadcast"));
  EXPECT_THAT(says([](Peer& p) { p.fill(1, 1, "a"); }), HasSubstr("FILL on a channel of kind broadcast"));
  EXPECT_THAT(says([](Peer& p) { p.unreserve(1, 1); }), HasSubstr("UNRESERVE on a channel of kind broadcast"));
  EXPECT_THAT(says([](Peer& p) { p.shut_down(); }), HasSubstr("SHUTDOWN on a channel of kind broadcast"));
  EXPECT_THAT(says([](Peer& p) { p.offer(1, 1, {"a", "b"}); }), HasSubstr("OFFER of several messages on a broadcast"));
  EXPECT_THAT(says([](Peer& p) { p.say(Open{.session = 3, .side = Side::receiver, .counts = false}); }),
              HasSubstr("OPEN of a receiver that does not want to count"));
}

// --- overflow 'wait' ---

TEST(BroadcastThatWaits, ASendWaitsForTheSlowestReceiver) {
  BrokerByHand broker(broadcast(1, true));
  Peer& one = broker.receiver(1);
  Peer& two = broker.receiver(2);
  Peer& tx = broker.sender(3);
  one.demand(1, 1, 1);
  two.demand(1, 1, 1);
  tx.offer(1, 1, {"a"});
  tx.offer(1, 2, {"b"});
  tx.try_offer(1, 3, "c");
  one.consume(1, {attempt(1)});
  EXPECT_THAT(tx.heard(), ElementsAre("SENT 1:1 to=2", "ANSWER 1:3 full"));
  EXPECT_EQ(broker.stats().waiting_senders, 1);
  two.consume(1, {attempt(1)});
  EXPECT_THAT(tx.heard(), ElementsAre("SENT 1:2 to=2"));
}

TEST(BroadcastThatWaits, WhoIsDeadOrClosedHoldsNobodyUp) {
  BrokerByHand broker(broadcast(1, true));
  Peer& dies = broker.receiver(1);
  Peer& closes = broker.receiver(2);
  Peer& takes = broker.receiver(3);
  Peer& tx = broker.sender(4);
  for (Seq seq = 1; seq <= 3; ++seq) tx.offer(1, seq, {"m"});
  takes.demand(1, 3, 3);
  takes.consume(1, {attempt(1)});
  broker.died(dies);
  EXPECT_THAT(tx.heard(), ElementsAre("SENT 1:1 to=3"));
  closes.close(1);
  EXPECT_THAT(tx.heard(), ElementsAre("SENT 1:2 to=1"));
  takes.consume(1, {attempt(2)});
  EXPECT_THAT(tx.heard(), ElementsAre("SENT 1:3 to=1"));
}

TEST(BroadcastThatWaits, WhatWaitsIsForThoseWhoAreThereWhenItGoesIn) {
  BrokerByHand broker(broadcast(1, true));
  Peer& one = broker.receiver(1);
  Peer& tx = broker.sender(2);
  tx.offer(1, 1, {"a"});
  tx.offer(1, 2, {"b"});
  Peer& two = broker.receiver(3);
  one.demand(1, 1, 1);
  one.consume(1, {attempt(1)});
  two.demand(1, 2, 2);
  EXPECT_THAT(tx.heard(), ElementsAre("SENT 1:1 to=1", "SENT 1:2 to=2"));
  EXPECT_THAT(two.heard(), ElementsAre("DELIVER 1 b#2"));
}

TEST(BroadcastThatWaits, WhenTheLastReceiverGoesWhatWaitsIsRefused) {
  BrokerByHand broker(broadcast(1, true));
  Peer& rx = broker.receiver(1);
  Peer& tx = broker.sender(2);
  tx.offer(1, 1, {"a"});
  tx.offer(1, 2, {"b"});
  tx.offer(1, 3, {"c"});
  tx.withdraw(1, 2);
  rx.close(1);
  EXPECT_THAT(tx.heard(), ElementsAre("SENT 1:1 to=1", "ANSWER 1:2 withdrawn",
                                      "RECEIVERS 1 none peer_gone: no receivers", "ANSWER 1:3 refused"));
}

TEST(BroadcastThatWaits, ASenderThatClosesCountsUntilWhatItOfferedWentIn) {
  BrokerByHand broker(broadcast(1, true));
  Peer& rx = broker.receiver(1);
  Peer& tx = broker.sender(2);
  tx.offer(1, 1, {"a"});
  tx.offer(1, 2, {"b"});
  tx.close(1);
  rx.demand(1, 3, 3);
  rx.consume(1, {attempt(1)});
  EXPECT_THAT(rx.heard(), ElementsAre("DELIVER 1 a#1", "CLOSED 1 ended", "DELIVER 1 b#2", "END 1 ended"));
}

// --- another epoch ---

TEST(BroadcastRestarted, OffersWaitForThoseWhoComeBack) {
  BrokerSettings settings = broadcast();
  settings.epoch = 2;
  BrokerByHand broker(settings);
  Peer& tx = broker.sender(1);
  tx.offer(1, 1, {"a"});
  tx.try_offer(1, 2, "b");
  EXPECT_THAT(tx.heard(), ElementsAre("ANSWER 1:2 full"));
  Peer& rx = broker.receiver(2);
  EXPECT_THAT(tx.heard(), ElementsAre("SENT 1:1 to=1"));
  rx.demand(1, 1, 1);
  EXPECT_THAT(rx.heard(), ElementsAre("DELIVER 1 a#1@2"));
}

TEST(BroadcastRestarted, MoreOffersThanItKeepsDoNotWaitForTheSlowest) {
  BrokerSettings settings = broadcast(1);
  settings.epoch = 2;
  BrokerByHand broker(settings);
  Peer& tx = broker.sender(1);
  tx.offer(1, 1, {"a"});
  tx.offer(1, 2, {"b"});
  Peer& rx = broker.receiver(2);
  EXPECT_THAT(tx.heard(), ElementsAre("SENT 1:1 to=1", "SENT 1:2 to=1"));
  rx.demand(1, 2, 2);
  EXPECT_THAT(rx.heard(), ElementsAre("MISSED 1 skipped=1", "DELIVER 1 b#2@2"));
}

TEST(BroadcastRestarted, IfNobodyComesBackTheyAreRefused) {
  BrokerSettings settings = broadcast();
  settings.epoch = 2;
  BrokerByHand broker(settings);
  Peer& tx = broker.sender(1);
  tx.offer(1, 1, {"a"});
  broker.pass(seconds(11), {&tx});
  EXPECT_THAT(tx.heard(), ElementsAre(HasSubstr("RECEIVERS 1 none peer_died"), "ANSWER 1:1 refused"));
}

TEST(BroadcastRestarted, ACheckpointHasItsCountersAndNoMessages) {
  BrokerByHand broker(broadcast());
  (void)broker.receiver(1);
  Peer& tx = broker.sender(2);
  tx.offer(1, 1, {"a"});
  const Checkpoint checkpoint = broker.state().checkpoint(true);
  EXPECT_FALSE(checkpoint.has_messages);
  EXPECT_THAT(checkpoint.messages, IsEmpty());
  BrokerSettings settings = broadcast();
  settings.epoch = 2;
  BrokerByHand next(settings);
  ASSERT_TRUE(next.restore(checkpoint));
  EXPECT_EQ(next.stats().total_sent, 1);
  EXPECT_EQ(next.stats().queue_size, 0);
}

}  // namespace
}  // namespace klaw::dataplane::test
