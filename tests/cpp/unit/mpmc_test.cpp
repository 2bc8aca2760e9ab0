// The verbs that a way of waiting drives, without one: what start() leaves of the operation it was given.
#include <memory>
#include <optional>
#include <vector>

#include <gtest/gtest.h>
#include <klaw/channels/detail/mpmc.hpp>
#include <klaw/channels/detail/ops.hpp>

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

}  // namespace
