// A link's connection, and its handles as the broker hears of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/dataplane.hpp"

namespace klaw::dataplane::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(LinkAttaching, ALinkConnectsWhenItsFirstHandleOpensAndAttachesBeforeAnythingElse) {
  LinkByHand l;
  l.pass(seconds(20));
  EXPECT_THAT(l.process.said(), IsEmpty());
  (void)l.process.open(Side::sender);
  EXPECT_THAT(l.process.said(), ElementsAre("connect"));
  l.process.connected();
  EXPECT_THAT(l.process.said(), ElementsAre("ATTACH epoch=0 received=0"));
  l.process.hear(LinkByHand::attached());
  EXPECT_THAT(l.process.said(), ElementsAre("OPEN 1 sender"));
  EXPECT_TRUE(l.process.link.is_attached());
  EXPECT_EQ(l.process.link.epoch(), 1);
}

TEST(LinkAttaching, ACloneIsOpenedBeforeItsOriginalIsClosed) {
  LinkByHand l;
  Registration tx = l.ready(Side::sender);
  (void)l.process.link.clone(l.now, Side::sender, tx);
  l.process.close(Side::sender, tx);
  EXPECT_THAT(l.process.said(), ElementsAre("OPEN 2 sender", "CLOSE 1"));
  EXPECT_TRUE(l.process.link.clone(l.now, Side::sender, tx).closed);
}

TEST(LinkAttaching, AHoldIsAnnouncedBeforeALaterClose) {
  LinkByHand l;
  Registration tx = l.ready(Side::sender);
  l.process.link.hold(l.now, Side::sender, tx, id_of<Token>(7));
  l.process.close(Side::sender, tx);
  EXPECT_THAT(l.process.said(), ElementsAre("HOLD sender", "CLOSE 1"));
}

TEST(LinkAttaching, AnUnpickledHandleClaimsWithoutWaiting) {
  LinkByHand l;
  (void)l.process.open(Side::receiver, id_of<Token>(7));
  l.process.connected();
  l.process.hear(LinkByHand::attached());
  EXPECT_THAT(l.process.said(), ElementsAre("connect", "ATTACH epoch=0 received=0", "OPEN 1 receiver claim"));
}

TEST(LinkAttaching, AnOpenedHandleCountsAndARefusedOneIsAClosedOne) {
  LinkByHand l;
  const Registration tx = l.process.open(Side::sender);
  Wait& opened = l.process.wait(Wait::For::opened, Side::sender, tx);
  l.process.connected();
  l.process.hear(LinkByHand::attached());
  EXPECT_EQ(opened.result(), "pending");
  l.process.hear(Opened{.session = 1});
  EXPECT_EQ(opened.result(), "done");

  const Registration late = l.process.open(Side::sender);
  Wait& refused = l.process.wait(Wait::For::opened, Side::sender, late);
  Send& sent = l.process.send(late, {"a"});
  l.process.hear(Opened{.session = 2, .accepted = false, .kind = CloseKind::peer_died, .reason = "it broke"});
  EXPECT_EQ(refused.result(), "closed peer_died: it broke");
  EXPECT_EQ(sent.result(), "closed peer_died: it broke");
  EXPECT_TRUE(l.process.link.is_closed(Side::sender, late));
  EXPECT_EQ(l.process.send(late, {"b"}).result(), "closed peer_died: it broke");
}

TEST(LinkAttaching, WhatTheBrokerLacksIsSentAgainInOrderBeforeAnythingElse) {
  LinkByHand l;
  const Registration tx = l.ready(Side::sender);
  (void)l.process.send(tx, {"a"});
  (void)l.process.send(tx, {"b"});
  EXPECT_THAT(l.process.said(), ElementsAre("OFFER 1:1 a", "OFFER 1:2 b"));
  l.process.disconnected();
  (void)l.process.send(tx, {"c"});
  l.resume(2);  // OPEN and the first OFFER
  EXPECT_THAT(l.process.said(),
              ElementsAre("connect", "ATTACH epoch=1 resume received=1", "OFFER 1:2 b", "OFFER 1:3 c"));
}

TEST(LinkAttaching, ABrokerOfAnotherKindIsLeftAndWhyIsTold) {
  LinkByHand l;
  const Registration handle = l.process.open(Side::sender);
  Send& send = l.process.send(handle, {"a"});
  l.process.connected();
  (void)l.process.said();
  Attached broker = LinkByHand::attached();
  broker.kind = ChannelKind::oneshot;
  l.process.hear(broker);
  EXPECT_THAT(l.process.said(), ElementsAre(HasSubstr("kind 'oneshot'")));
  EXPECT_THAT(send.result(), HasSubstr("the channel is of kind 'oneshot', and this handle is one of kind 'mpmc'"));
}

TEST(LinkAttaching, ConnectionsAreNumberedUpwards) {
  LinkByHand l;
  (void)l.ready(Side::sender);
  std::uint64_t last = 1;
  for (int i = 0; i < 3; ++i) {
    l.process.disconnected();
    l.process.connected();
    for (const LinkAction& action : l.process.outbox) {
      const auto* const send = std::get_if<link_action::Send>(&action);
      if (send == nullptr || !std::holds_alternative<Attach>(*send->frame)) continue;
      EXPECT_EQ(std::get<Attach>(*send->frame).connection, ++last);
    }
    (void)l.process.said();
    Attached answer = LinkByHand::attached();
    answer.resumed = true;
    l.process.hear(answer);
  }
  EXPECT_EQ(last, 4);
}

TEST(LinkAttaching, AConnectionThatWorkedIsReplacedAtOnceAndOneThatCannotBeMadeLessAndLessOften) {
  LinkByHand l;
  (void)l.ready(Side::sender);
  l.process.disconnected();
  EXPECT_THAT(l.process.said(), ElementsAre("connect"));
  for (const int wait_ms : {50, 100, 200, 400, 800, 1000, 1000}) {
    l.process.disconnected("connection refused");
    l.pass(milliseconds(wait_ms) - microseconds(1));
    EXPECT_THAT(l.process.said(), IsEmpty());
    l.pass(microseconds(1));
    EXPECT_THAT(l.process.said(), ElementsAre("connect"));
  }
}

TEST(LinkAttaching, HeartbeatsAcknowledgeWhatWasReceived) {
  LinkByHand l;
  (void)l.ready(Side::sender);
  l.pass(milliseconds(999));
  EXPECT_THAT(l.process.said(), IsEmpty());
  l.pass(milliseconds(1));
  ASSERT_EQ(l.process.outbox.size(), 1);
  const auto& ping = std::get<Ping>(*std::get<link_action::Send>(l.process.outbox[0]).frame);
  EXPECT_EQ(ping.received, 1);
  EXPECT_EQ(ping.sent_us, l.now.time_since_epoch().count());
}

TEST(LinkAttaching, AfterSixtyFourFramesTheBrokerIsToldThatTheyArrived) {
  LinkByHand l;
  (void)l.ready(Side::sender);
  for (Seq seq = 1; seq < kAckEveryFrames - 1; ++seq) l.stored(1);
  EXPECT_THAT(l.process.said(), IsEmpty());
  l.stored(1);
  EXPECT_THAT(l.process.said(), ElementsAre("ACK 64"));
}

TEST(LinkAttaching, ABrokerThatIsSilentForFourHeartbeatsIsLeft) {
  LinkByHand l;
  (void)l.ready(Side::sender);
  l.pass(milliseconds(3999));
  EXPECT_THAT(l.process.said(), ElementsAre("PING", "PING", "PING"));
  l.pass(milliseconds(1));
  EXPECT_THAT(l.process.said(), ElementsAre("disconnect: the broker was silent for 4 heartbeats", "connect"));
}

TEST(LinkAttaching, ABrokerThatDoesNotAnswerAttachIsLeft) {
  LinkByHand l;
  (void)l.process.open(Side::sender);
  l.process.connected();
  (void)l.process.said();
  l.pass(seconds(4));
  EXPECT_THAT(l.process.said(), ElementsAre("disconnect: the broker was silent for 4 heartbeats"));
}

TEST(LinkAttaching, WhatABrokerCannotMeanEndsTheConnection) {
  const auto said_after = [](Frame frame) {
    LinkByHand l;
    (void)l.ready(Side::sender);
    l.process.hear(std::move(frame));
    const Texts said = l.process.said();
    return said.empty() ? "" : said[0];
  };
  EXPECT_EQ(said_after(LinkByHand::attached()), "disconnect: the broker sent ATTACHED twice");
  EXPECT_EQ(said_after(Expired{}), "disconnect: the broker sent EXPIRED to one that it had attached");
  EXPECT_EQ(said_after(Refused{}), "disconnect: the broker refused one that it had attached");
  EXPECT_EQ(said_after(Ack{.received = 9}), "disconnect: the broker acknowledged what was never sent");
  EXPECT_EQ(said_after(Ping{.received = 9}), "disconnect: the broker acknowledged what was never sent");
  for (const Frame& frame : {Frame(Open{}), Frame(Offer{}), Frame(Credit{}), Frame(Revoke{}), Frame(Hello{})}) {
    EXPECT_EQ(said_after(frame), "disconnect: the broker sent a frame that brokers don't send") << text(frame);
  }
}

TEST(LinkAttaching, NothingIsBelievedBeforeTheBrokerHasAttached) {
  LinkByHand l;
  (void)l.process.open(Side::sender);
  l.process.connected();
  (void)l.process.said();
  l.process.hear(Opened{.session = 1});
  EXPECT_THAT(l.process.said(), ElementsAre("disconnect: the broker sent frames before ATTACHED"));
}

TEST(LinkAttaching, ABrokerThatResumesAnotherStreamIsLeft) {
  LinkByHand l;
  (void)l.ready(Side::sender);
  l.process.disconnected();
  l.process.connected();
  (void)l.process.said();
  l.process.hear(LinkByHand::attached());  // not resumed
  EXPECT_THAT(l.process.said(), ElementsAre("disconnect: the broker resumed another stream than ours"));
  l.pass(milliseconds(50));
  (void)l.process.said();
  l.resume(99);
  EXPECT_EQ(l.process.said().back(), "disconnect: the broker resumed another stream than ours");
}

TEST(LinkAttaching, ABrokerOfAnEarlierEpochIsLeft) {
  LinkByHand l;
  (void)l.ready(Side::sender, LinkByHand::attached(2));
  l.process.disconnected();
  (void)l.process.said();
  l.resume(0, 1);
  EXPECT_THAT(l.process.said(),
              ElementsAre("ATTACH epoch=2 resume received=1", "disconnect: a broker of an earlier epoch answered"));
}

TEST(LinkAttaching, AStaleOrCrowdedBrokerIsAskedAgainLater) {
  for (const auto why : {Refused::Why::stale, Refused::Why::limit}) {
    LinkByHand l;
    const Registration tx = l.process.open(Side::sender);
    Send& sent = l.process.send(tx, {"a"});
    l.process.connected();
    (void)l.process.said();
    l.process.hear(Refused{.why = why, .text = "not now"});
    EXPECT_THAT(l.process.said(), ElementsAre("disconnect: not now"));
    EXPECT_EQ(sent.result(), "pending");
    l.pass(milliseconds(50));
    EXPECT_THAT(l.process.said(), ElementsAre("connect"));
  }
}

TEST(LinkAttaching, ADeletedChannelIsNotAskedAgain) {
  LinkByHand l;
  const Registration tx = l.process.open(Side::sender);
  Send& sent = l.process.send(tx, {"a"});
  l.process.connected();
  (void)l.process.said();
  l.process.hear(Refused{.why = Refused::Why::deleted});
  EXPECT_EQ(sent.result(), "closed deleted");
  (void)l.process.said();
  l.pass(minutes(1));
  EXPECT_THAT(l.process.said(), IsEmpty());
}

TEST(LinkAttaching, ATicketThatIsRefusedIsNotTriedAgain) {
  LinkByHand l;
  const Registration tx = l.process.open(Side::sender, id_of<Token>(7));
  Send& sent = l.process.send(tx, {"a"});
  l.process.connected();
  l.process.hear(Refused{.why = Refused::Why::ticket, .text = "this ticket was used before"});
  EXPECT_EQ(sent.result(), "closed backend: this ticket was used before");
  (void)l.process.said();
  l.pass(minutes(1));
  EXPECT_THAT(l.process.said(), IsEmpty());
}

TEST(LinkAttaching, AHandleThatItsTicketDoesNotGrantSaysWhy) {
  LinkByHand l;
  (void)l.ready(Side::sender);
  const Registration rx = l.process.open(Side::receiver);
  Recv& received = l.process.recv(rx);
  l.process.hear(
      Opened{.session = 2, .accepted = false, .kind = CloseKind::backend, .reason = "a ticket gives no receiver"});
  EXPECT_EQ(received.result(), "closed backend: a ticket gives no receiver");
}

TEST(LinkAttaching, AHoldIsDoneOnceTheBrokerHasIt) {
  LinkByHand l;
  const Registration tx = l.ready(Side::sender);
  Wait& held = l.process.hold(Side::sender, tx, 7);
  EXPECT_THAT(l.process.said(), ElementsAre("HOLD sender", "PING"));
  l.process.hear(Ping{.sent_us = 1, .received = 1});  // the OPEN
  EXPECT_EQ(held.result(), "pending");
  l.process.hear(Ping{.sent_us = 2, .received = 2});
  EXPECT_EQ(held.result(), "done");
}

TEST(LinkAttaching, AHoldThatALostConnectionSwallowedIsSaidAgain) {
  LinkByHand l;
  const Registration tx = l.ready(Side::sender);
  Wait& held = l.process.hold(Side::sender, tx, 7);
  (void)l.process.said();
  l.process.disconnected();
  l.process.connected();
  (void)l.process.said();
  Attached attached = LinkByHand::attached();
  attached.resumed = true;
  attached.received = 1;
  l.process.hear(attached);
  EXPECT_THAT(l.process.said(), ElementsAre("HOLD sender", "PING"));
  l.process.hear(Ack{.received = 2});
  EXPECT_EQ(held.result(), "done");
}

TEST(LinkAttaching, AHoldEndsWithItsBroker) {
  LinkByHand l;
  const Registration tx = l.ready(Side::sender);
  Wait& held = l.process.hold(Side::sender, tx, 7);
  l.process.broker_died(1, false);
  EXPECT_EQ(held.result(), "closed backend: the channel's actor died, and what it held with it: killed");
}

TEST(LinkAttaching, AHoldForABrokerThatCanNotBeReachedHasALimit) {
  LinkByHand l;
  const Registration tx = l.ready(Side::sender);
  l.process.disconnected("connection refused");
  Wait& held = l.process.hold(Side::sender, tx, 7);
  l.pass(seconds(9));
  EXPECT_EQ(held.result(), "pending");
  l.pass(seconds(2));
  EXPECT_EQ(held.result(), "closed backend: the channel's actor can't be reached: connection refused");
}

TEST(LinkAttaching, AHoldThatNobodyWaitsForAnyMoreIsThereAllTheSame) {
  LinkByHand l;
  const Registration tx = l.ready(Side::sender);
  Wait& held = l.process.hold(Side::sender, tx, 7);
  held.give_up();
  EXPECT_EQ(held.result(), "cancelled");
  EXPECT_THAT(l.process.said(), ElementsAre("HOLD sender", "PING"));
  l.process.hear(Ack{.received = 2});
}

TEST(LinkAttaching, ClosingAHandleEndsItsOperations) {
  LinkByHand l;
  Registration rx = l.ready(Side::receiver);
  Recv& received = l.process.recv(rx);
  Wait& closed = l.process.wait(Wait::For::closed, Side::receiver, rx);
  (void)l.process.said();
  l.process.close(Side::receiver, rx, "enough");
  EXPECT_EQ(received.result(), "closed handle_closed");
  EXPECT_EQ(closed.result(), "closed handle_closed");
  EXPECT_THAT(l.process.said(), ElementsAre("CLOSE 1: enough"));
  EXPECT_EQ(l.process.recv(rx).result(), "closed handle_closed");
  EXPECT_EQ(l.process.wait(Wait::For::closed, Side::receiver, rx).result(), "closed handle_closed");
  l.process.close(Side::receiver, rx);
  EXPECT_THAT(l.process.said(), IsEmpty());
}

TEST(LinkAttaching, TextsThatAreTooLongForAFrameAreCutBetweenTwoCharacters) {
  LinkByHand l;
  Registration rx = l.ready(Side::receiver);
  std::string reason(kTextBytesMax - 1, 'x');
  (void)l.process.close(Side::receiver, rx, reason + "\u00e9");
  const Texts said = l.process.said();
  EXPECT_EQ(said.back(), "CLOSE 1: " + reason);
}

TEST(LinkAttaching, WhoWaitsForTheOtherSideIsToldWhenItIsGone) {
  LinkByHand l;
  const Registration tx = l.ready(Side::sender);
  Wait& closed = l.process.wait(Wait::For::closed, Side::sender, tx);
  EXPECT_EQ(closed.result(), "pending");
  l.process.hear(Closed{.session = 1, .kind = CloseKind::peer_gone});
  EXPECT_EQ(closed.result(), "done");
  EXPECT_EQ(l.process.wait(Wait::For::closed, Side::sender, tx).result(), "done");
}

}  // namespace
}  // namespace klaw::dataplane::test
