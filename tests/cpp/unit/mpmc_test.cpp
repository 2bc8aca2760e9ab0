// The verbs that a way of waiting drives, without one: what start() leaves of the operation it was given.
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <klaw/channels/detail/mpmc.hpp>
#include <klaw/channels/detail/ops.hpp>

#include "support/threads.hpp"

namespace {

namespace detail = klaw::channels::detail;
using detail::Operation;
using detail::Registration;
using detail::Status;

using Core = detail::Mpmc<int>;
using Recv = detail::RecvOp<int, Core>;
using SendOne = detail::SendOp<int, Core, detail::OneValue<int>>;

class Noted final : public Operation {
 public:
  Noted() noexcept : Operation([](Operation& self) noexcept { ++static_cast<Noted&>(self).wakes; }) {}
  int wakes = 0;
};

class Mpmc : public ::testing::TestWithParam<std::size_t> {
 protected:
  std::shared_ptr<Core> core = std::make_shared<Core>(GetParam());
  Registration sender = Core::kFirstSender;
  Registration receiver = Core::kFirstReceiver;

  Recv recv() { return Recv(core, receiver); }
  SendOne send(const int& value) { return SendOne(core, sender, detail::OneValue<int>(value)); }
};

INSTANTIATE_TEST_SUITE_P(Capacity, Mpmc, ::testing::Values(0U, 1U, 3U));

TEST_P(Mpmc, a_ready_receive_claims_its_operation_so_that_no_other_branch_can) {
  auto sending = send(7);
  Noted sleeper;
  if (sending.start(nullptr) == Status::pending) {
    ASSERT_EQ(sending.start(&sleeper), Status::pending);
  }
  Noted op;
  auto receiving = recv();
  ASSERT_EQ(receiving.start(&op, 5), Status::done);
  EXPECT_FALSE(op.try_claim(0));
  EXPECT_EQ(op.claimed_index(), 5U);
  EXPECT_FALSE(op.is_fired());
  EXPECT_EQ(receiving.take(), 7);
  sending.abandon();
}

TEST_P(Mpmc, a_receive_at_the_end_claims_its_operation) {
  core->close_handle(detail::Side::sender, sender, std::nullopt);
  Noted op;
  auto receiving = recv();
  ASSERT_EQ(receiving.start(&op, 2), Status::closed);
  EXPECT_FALSE(op.try_claim(0));
  EXPECT_EQ(op.claimed_index(), 2U);
  EXPECT_EQ(receiving.closed().kind, klaw::CloseKind::ended);
}

TEST_P(Mpmc, a_receive_on_a_closed_handle_claims_its_operation) {
  core->close_handle(detail::Side::receiver, receiver, std::nullopt);
  Noted op;
  auto receiving = recv();
  ASSERT_EQ(receiving.start(&op, 2), Status::closed);
  EXPECT_EQ(op.claimed_index(), 2U);
  EXPECT_EQ(receiving.closed().kind, klaw::CloseKind::handle_closed);
}

TEST_P(Mpmc, a_receive_without_a_core_claims_its_operation) {
  const std::shared_ptr<Core> none;
  Noted op;
  Recv receiving(none, receiver);
  ASSERT_EQ(receiving.start(&op, 2), Status::closed);
  EXPECT_EQ(op.claimed_index(), 2U);
  receiving.abandon();
}

TEST_P(Mpmc, a_receive_that_must_wait_leaves_its_operation_to_be_claimed) {
  Noted op;
  auto receiving = recv();
  ASSERT_EQ(receiving.start(&op, 4), Status::pending);
  EXPECT_EQ(core->stats().waiting_receivers, 1U);
  EXPECT_TRUE(op.arm());
  EXPECT_EQ(op.wakes, 0);
  auto sending = send(7);
  ASSERT_EQ(sending.start(nullptr), Status::done);
  EXPECT_EQ(op.wakes, 1);
  EXPECT_EQ(op.claimed_index(), 4U);
  ASSERT_EQ(receiving.finish(), Status::done);
  EXPECT_EQ(receiving.take(), 7);
}

TEST_P(Mpmc, a_receive_whose_operation_was_claimed_elsewhere_is_not_linked_and_takes_nothing) {
  auto sending = send(7);
  Noted sleeper;
  if (sending.start(nullptr) == Status::pending) {
    ASSERT_EQ(sending.start(&sleeper), Status::pending);
  }
  Noted op;
  ASSERT_TRUE(op.try_claim(0));
  auto receiving = recv();
  EXPECT_EQ(receiving.start(&op, 1), Status::pending);
  EXPECT_EQ(core->stats().waiting_receivers, 0U);
  receiving.abandon();
  auto other = recv();
  ASSERT_EQ(other.start(nullptr), Status::done);
  EXPECT_EQ(other.take(), 7);
}

TEST_P(Mpmc, a_try_links_nothing) {
  auto receiving = recv();
  EXPECT_EQ(receiving.start(nullptr), Status::pending);
  for (int i = 0; i < 5; ++i) (void)send(i).start(nullptr);
  EXPECT_EQ(core->stats().waiting_receivers, 0U);
  EXPECT_EQ(core->stats().waiting_senders, 0U);
}

TEST_P(Mpmc, an_offer_whose_operation_was_cancelled_is_passed_over) {
  for (std::size_t i = 0; i < GetParam(); ++i) ASSERT_EQ(send(0).start(nullptr), Status::done);
  Noted gone;
  Noted next;
  auto cancelled = send(1);
  auto waiting = send(2);
  ASSERT_EQ(cancelled.start(&gone), Status::pending);
  ASSERT_EQ(waiting.start(&next), Status::pending);
  ASSERT_TRUE(gone.cancel());  // and its owner has not come round to unlink it
  std::vector<int> got;
  for (std::size_t i = 0; i <= GetParam(); ++i) {
    auto receiving = recv();
    ASSERT_EQ(receiving.start(nullptr), Status::done);
    got.push_back(receiving.take());
  }
  EXPECT_EQ(got.back(), 2);
  EXPECT_FALSE(next.arm());
  EXPECT_EQ(waiting.finish(), Status::done);
  cancelled.abandon();
  EXPECT_EQ(core->stats().total_sent, GetParam() + 1);
}

TEST_P(Mpmc, a_receive_whose_operation_was_cancelled_is_passed_over) {
  Noted gone;
  Noted next;
  auto cancelled = recv();
  auto waiting = recv();
  ASSERT_EQ(cancelled.start(&gone), Status::pending);
  ASSERT_EQ(waiting.start(&next), Status::pending);
  ASSERT_TRUE(gone.cancel());
  ASSERT_EQ(send(7).start(nullptr), Status::done);
  EXPECT_FALSE(next.arm());
  ASSERT_EQ(waiting.finish(), Status::done);
  EXPECT_EQ(waiting.take(), 7);
  cancelled.abandon();
}

TEST_P(Mpmc, a_send_claims_its_operation_when_it_is_done_or_closed_and_leaves_it_while_it_waits) {
  Noted receiver_waits;
  auto receiving = recv();
  ASSERT_EQ(receiving.start(&receiver_waits), Status::pending);
  Noted op;
  auto sending = send(7);
  ASSERT_EQ(sending.start(&op, 5), Status::done);
  EXPECT_EQ(op.claimed_index(), 5U);
  EXPECT_FALSE(op.is_fired());
  ASSERT_EQ(receiving.finish(), Status::done);

  while (send(1).start(nullptr) == Status::done) {
  }
  Noted waits;
  auto waiting = send(8);
  ASSERT_EQ(waiting.start(&waits, 3), Status::pending);
  EXPECT_TRUE(waits.try_claim(9));
  waiting.abandon();

  core->close_handle(detail::Side::receiver, receiver, std::nullopt);
  Noted closed;
  ASSERT_EQ(send(1).start(&closed, 2), Status::closed);
  EXPECT_EQ(closed.claimed_index(), 2U);
}

TEST_P(Mpmc, a_send_whose_operation_was_claimed_elsewhere_sends_nothing) {
  Noted op;
  ASSERT_TRUE(op.try_claim(1));
  auto sending = send(7);
  EXPECT_EQ(sending.start(&op, 0), Status::pending);
  EXPECT_EQ(core->stats().total_sent, 0U);
  EXPECT_EQ(core->stats().waiting_senders, 0U);
}

TEST_P(Mpmc, a_send_without_a_core_claims_its_operation) {
  Noted op;
  const std::shared_ptr<Core> none;
  const int value = 1;
  SendOne sending(none, sender, detail::OneValue<int>(value));
  EXPECT_EQ(sending.start(&op, 4), Status::closed);
  EXPECT_EQ(op.claimed_index(), 4U);
  Noted claimed;
  ASSERT_TRUE(claimed.try_claim(1));
  EXPECT_EQ(sending.start(&claimed, 4), Status::pending);
}

// A permit that counts on a receiver keeps it from an offer, until it is released: then they meet, and a select that waits
// on both sides meets anybody but itself.
class MpmcPermit : public ::testing::Test {
 protected:
  // Holds a slot, for which there must be a receiver.
  void hold_slot() {
    permit.reserves = true;
    Noted op;
    ASSERT_EQ(core->start_send(Core::kFirstSender, permit, &op), Status::done);
  }
  void release_slot() { core->release_reserved(permit.handle); }
  SendOne send(const int& value) { return SendOne(core, Core::kFirstSender, detail::OneValue<int>(value)); }
  Recv recv() { return Recv(core, Core::kFirstReceiver); }

  std::shared_ptr<Core> core = std::make_shared<Core>(0);
  detail::SendWaiter<int> permit;
};

TEST_F(MpmcPermit, whom_a_permit_kept_apart_meet_when_it_is_released) {
  Noted op;
  Noted offers;
  auto receiving = recv();
  auto sending = send(7);
  ASSERT_EQ(receiving.start(&op), Status::pending);
  hold_slot();
  ASSERT_EQ(sending.start(&offers), Status::pending);
  ASSERT_TRUE(offers.arm());
  release_slot();
  EXPECT_EQ(offers.wakes, 1);
  EXPECT_EQ(sending.finish(), Status::done);
  EXPECT_FALSE(op.arm());
  ASSERT_EQ(receiving.finish(), Status::done);
  EXPECT_EQ(receiving.take(), 7);
}

TEST_F(MpmcPermit, a_select_that_waits_on_both_sides_does_not_meet_itself_when_it_is_released) {
  Noted both;
  auto its_recv = recv();
  auto its_send = send(1);
  ASSERT_EQ(its_recv.start(&both, 0), Status::pending);
  hold_slot();
  ASSERT_EQ(its_send.start(&both, 1), Status::pending);
  release_slot();
  EXPECT_EQ(both.claimed_index(), Operation::kUnclaimed);
  EXPECT_EQ(core->stats().total_sent, 0U);

  auto other = send(2);
  ASSERT_EQ(other.start(nullptr), Status::done);
  EXPECT_EQ(both.claimed_index(), 0U);
  ASSERT_EQ(its_recv.finish(), Status::done);
  EXPECT_EQ(its_recv.take(), 2);
  its_send.abandon();
}

TEST_F(MpmcPermit, an_offer_behind_a_select_on_both_sides_meets_it_when_it_is_released) {
  Noted both;
  Noted op;
  auto its_recv = recv();
  auto its_send = send(1);
  auto other = send(2);
  ASSERT_EQ(its_recv.start(&both, 0), Status::pending);
  hold_slot();
  ASSERT_EQ(its_send.start(&both, 1), Status::pending);
  ASSERT_EQ(other.start(&op), Status::pending);
  release_slot();
  EXPECT_FALSE(op.arm());
  EXPECT_EQ(other.finish(), Status::done);
  EXPECT_EQ(both.claimed_index(), 0U);
  ASSERT_EQ(its_recv.finish(), Status::done);
  EXPECT_EQ(its_recv.take(), 2);
  its_send.abandon();
}

TEST_F(MpmcPermit, an_offer_claimed_elsewhere_takes_no_receiver_when_it_is_released) {
  Noted op;
  Noted gone;
  auto receiving = recv();
  auto sending = send(7);
  ASSERT_EQ(receiving.start(&op), Status::pending);
  hold_slot();
  ASSERT_EQ(sending.start(&gone), Status::pending);
  ASSERT_TRUE(gone.cancel());
  release_slot();
  EXPECT_EQ(op.claimed_index(), Operation::kUnclaimed);
  sending.abandon();
  ASSERT_TRUE(op.cancel());
  receiving.abandon();
}

// At a rendezvous both operations may be busy: each a select that looks at one channel and waits at another.
TEST(MpmcRendezvous, a_busy_peer_is_waited_for_from_the_lower_address_and_made_way_for_from_the_higher) {
  for (const bool from_lower : {true, false}) {
    auto core = std::make_shared<Core>(0);
    Noted both[2];
    Noted& self = both[from_lower ? 0 : 1];
    Noted& peer = both[from_lower ? 1 : 0];
    Recv peer_receives(core, Core::kFirstReceiver);
    ASSERT_EQ(peer_receives.start(&peer, 0), Status::pending);
    ASSERT_TRUE(peer.lock());  // it looks at some other channel
    const int value = 7;
    SendOne sending(core, Core::kFirstSender, detail::OneValue<int>(value));
    Status status = Status::pending;
    std::jthread sender([&] { status = sending.start(&self, 1); });
    if (from_lower) {
      peer.unlock();  // nothing was there
      sender.join();
      EXPECT_EQ(status, Status::done);
      EXPECT_EQ(self.claimed_index(), 1U);
      EXPECT_EQ(peer.claimed_index(), 0U);
      ASSERT_EQ(peer_receives.finish(), Status::done);
      EXPECT_EQ(peer_receives.take(), 7);
    } else {
      klaw_test::spin_until([&] { return self.try_claim(9); });  // by a third channel, where `self` waits
      peer.unlock();
      sender.join();
      EXPECT_EQ(status, Status::pending);
      EXPECT_EQ(self.claimed_index(), 9U);
      EXPECT_EQ(peer.claimed_index(), Operation::kUnclaimed);
      EXPECT_EQ(core->stats().waiting_senders, 0U);
      EXPECT_EQ(core->stats().waiting_receivers, 1U);
      ASSERT_TRUE(peer.cancel());
      peer_receives.abandon();
    }
  }
}

}  // namespace
