// The verbs that a way of waiting drives, without one: what start() leaves of the operation it was given, and whom a send
// claims.
#include <cstddef>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <klaw/channels/detail/broadcast_ops.hpp>

namespace {

namespace detail = klaw::channels::detail;
using detail::Operation;
using detail::Registration;
using detail::Status;
using klaw::channels::Overflow;

using Core = detail::Broadcast<int>;
using Reader = detail::Subscription<int>;
using Recv = detail::BroadcastRecvOp<int, Reader>;
using Send = detail::BroadcastSendOp<int, Core>;

class Noted final : public Operation {
 public:
  Noted() noexcept : Operation([](Operation& self) noexcept { ++static_cast<Noted&>(self).wakes; }) {}
  int wakes = 0;
};

class Broadcast : public ::testing::TestWithParam<Overflow> {
 protected:
  std::shared_ptr<Core> core = std::make_shared<Core>(2, GetParam());
  Registration sender = Core::kFirstSender;
  Registration unused;
  std::shared_ptr<Reader> a = Reader::first(core);
  std::shared_ptr<Reader> b = Reader::open(core, sender);

  void TearDown() override {
    core->close_handle(detail::Side::sender, sender, std::nullopt);
    close(*a);
    close(*b);
  }

  Recv recv(const std::shared_ptr<Reader>& reader) { return Recv(reader, unused); }
  Send send(const int& value) { return Send(core, sender, detail::OneValue<int>(value)); }
  void close(Reader& reader) { reader.close_handle(detail::Side::receiver, unused, std::nullopt); }
  int taken(const std::shared_ptr<Reader>& reader) {
    auto receiving = recv(reader);
    return receiving.limited_result(receiving.start(nullptr)).value_or(-1);
  }
};

INSTANTIATE_TEST_SUITE_P(Overflow, Broadcast, ::testing::Values(Overflow::lag, Overflow::wait),
                         [](const auto& it) { return it.param == Overflow::lag ? "Lag" : "Wait"; });

TEST_P(Broadcast, a_ready_receive_claims_its_operation_so_that_no_other_branch_can) {
  ASSERT_EQ(send(7).start(nullptr), Status::done);
  Noted op;
  auto receiving = recv(a);
  ASSERT_EQ(receiving.start(&op, 5), Status::done);
  EXPECT_FALSE(op.try_claim(0));
  EXPECT_EQ(op.claimed_index(), 5U);
  EXPECT_FALSE(op.is_fired());
  EXPECT_EQ(receiving.result(Status::done), 7);
}

TEST_P(Broadcast, a_receive_at_the_end_claims_its_operation) {
  core->close_handle(detail::Side::sender, sender, std::nullopt);
  Noted op;
  auto receiving = recv(a);
  ASSERT_EQ(receiving.start(&op, 2), Status::closed);
  EXPECT_EQ(op.claimed_index(), 2U);
  EXPECT_EQ(receiving.closed().kind, klaw::CloseKind::ended);
}

TEST_P(Broadcast, a_receive_on_a_closed_handle_claims_its_operation) {
  close(*a);
  Noted op;
  auto receiving = recv(a);
  ASSERT_EQ(receiving.start(&op, 2), Status::closed);
  EXPECT_EQ(op.claimed_index(), 2U);
  EXPECT_EQ(receiving.closed().kind, klaw::CloseKind::handle_closed);
}

TEST_P(Broadcast, operations_without_a_core_claim_theirs) {
  const std::shared_ptr<Reader> none;
  const std::shared_ptr<Core> no_core;
  Noted op;
  auto receiving = recv(none);
  ASSERT_EQ(receiving.start(&op, 2), Status::closed);
  EXPECT_EQ(op.claimed_index(), 2U);
  receiving.abandon();
  Noted op2;
  Send sending(no_core, sender, detail::OneValue<int>(std::as_const(op.wakes)));
  ASSERT_EQ(sending.start(&op2, 3), Status::closed);
  EXPECT_EQ(op2.claimed_index(), 3U);
  sending.abandon();
}

TEST_P(Broadcast, a_receive_that_must_wait_leaves_its_operation_to_be_claimed) {
  Noted op;
  auto receiving = recv(a);
  ASSERT_EQ(receiving.start(&op, 4), Status::pending);
  EXPECT_EQ(core->stats().waiting_receivers, 1U);
  EXPECT_TRUE(op.arm());
  ASSERT_EQ(send(7).start(nullptr), Status::done);
  EXPECT_EQ(op.wakes, 1);
  EXPECT_EQ(op.claimed_index(), 4U);
  EXPECT_EQ(core->stats().in_flight, 1U);
  ASSERT_EQ(receiving.finish(), Status::done);
  EXPECT_EQ(receiving.result(Status::done), 7);
  EXPECT_EQ(core->stats().in_flight, 0U);
}

TEST_P(Broadcast, a_receive_whose_operation_was_claimed_elsewhere_is_not_linked_and_takes_nothing) {
  ASSERT_EQ(send(7).start(nullptr), Status::done);
  Noted op;
  ASSERT_TRUE(op.try_claim(0));
  auto receiving = recv(a);
  EXPECT_EQ(receiving.start(&op, 1), Status::pending);
  EXPECT_EQ(core->stats().waiting_receivers, 0U);
  receiving.abandon();
  EXPECT_EQ(taken(a), 7);
}

TEST_P(Broadcast, a_send_claims_one_receive_of_each_receiver) {
  Noted ops[4];
  std::vector<Recv> receiving;
  for (const auto* reader : {&a, &a, &b, &b}) receiving.push_back(recv(*reader));
  for (std::size_t i = 0; i < 4; ++i) ASSERT_EQ(receiving[i].start(&ops[i]), Status::pending);
  for (auto& op : ops) EXPECT_TRUE(op.arm());
  ASSERT_EQ(send(1).start(nullptr), Status::done);
  EXPECT_EQ(ops[0].wakes + ops[2].wakes, 2);
  EXPECT_EQ(ops[1].wakes + ops[3].wakes, 0);
  ASSERT_EQ(send(2).start(nullptr), Status::done);
  EXPECT_EQ(ops[1].wakes + ops[3].wakes, 2);
  for (auto& one : receiving) ASSERT_EQ(one.finish(), Status::done);
  EXPECT_EQ(receiving[0].result(Status::done), 1);
  EXPECT_EQ(receiving[1].result(Status::done), 2);
  EXPECT_EQ(receiving[2].result(Status::done), 1);
  EXPECT_EQ(receiving[3].result(Status::done), 2);
}

TEST_P(Broadcast, a_receive_whose_operation_was_cancelled_is_passed_over) {
  Noted gone;
  Noted next;
  auto cancelled = recv(a);
  auto waiting = recv(a);
  ASSERT_EQ(cancelled.start(&gone), Status::pending);
  ASSERT_EQ(waiting.start(&next), Status::pending);
  ASSERT_TRUE(gone.cancel());  // and its owner has not come round to unlink it
  ASSERT_EQ(send(7).start(nullptr), Status::done);
  EXPECT_FALSE(next.arm());
  ASSERT_EQ(waiting.finish(), Status::done);
  EXPECT_EQ(waiting.result(Status::done), 7);
  cancelled.abandon();
  EXPECT_EQ(core->stats().waiting_receivers, 0U);
}

TEST_P(Broadcast, a_receiver_all_of_whose_receives_were_cancelled_keeps_its_message) {
  Noted gone;
  auto cancelled = recv(a);
  ASSERT_EQ(cancelled.start(&gone), Status::pending);
  ASSERT_TRUE(gone.cancel());
  ASSERT_EQ(send(7).start(nullptr), Status::done);
  cancelled.abandon();
  EXPECT_EQ(taken(a), 7);
  EXPECT_EQ(taken(b), 7);
}

TEST_P(Broadcast, a_woken_receive_that_is_abandoned_hands_its_event_to_the_next_of_its_receiver) {
  Noted ops[3];
  auto gone = recv(a);
  auto next = recv(a);
  auto other = recv(b);
  ASSERT_EQ(gone.start(&ops[0]), Status::pending);
  ASSERT_EQ(next.start(&ops[1]), Status::pending);
  ASSERT_EQ(send(7).start(nullptr), Status::done);
  ASSERT_EQ(taken(b), 7);
  ASSERT_EQ(other.start(&ops[2]), Status::pending);
  EXPECT_TRUE(ops[1].arm());
  EXPECT_TRUE(ops[2].arm());
  gone.abandon();
  EXPECT_EQ(ops[1].wakes, 1);
  EXPECT_EQ(ops[2].wakes, 0);
  ASSERT_EQ(next.finish(), Status::done);
  EXPECT_EQ(next.result(Status::done), 7);
  ASSERT_TRUE(ops[2].cancel());
  other.abandon();
}

TEST_P(Broadcast, a_woken_receive_whose_handle_is_closed_ends_so) {
  Noted op;
  auto receiving = recv(a);
  ASSERT_EQ(receiving.start(&op), Status::pending);
  ASSERT_EQ(send(7).start(nullptr), Status::done);
  close(*a);
  EXPECT_EQ(core->stats().in_flight, 0U);
  ASSERT_EQ(receiving.finish(), Status::closed);
  EXPECT_EQ(receiving.closed().kind, klaw::CloseKind::handle_closed);
}

TEST_P(Broadcast, a_try_links_nothing) {
  auto receiving = recv(a);
  EXPECT_EQ(receiving.start(nullptr), Status::pending);
  for (int i = 0; i < 5; ++i) (void)send(i).start(nullptr);
  EXPECT_EQ(core->stats().waiting_receivers, 0U);
  EXPECT_EQ(core->stats().waiting_senders, 0U);
}

TEST_P(Broadcast, the_end_waits_for_an_event_that_was_promised) {
  Noted ops[2];
  auto woken = recv(a);
  auto waiting = recv(a);
  ASSERT_EQ(woken.start(&ops[0]), Status::pending);
  ASSERT_EQ(waiting.start(&ops[1]), Status::pending);
  ASSERT_EQ(send(7).start(nullptr), Status::done);
  core->close_handle(detail::Side::sender, sender, std::nullopt);
  EXPECT_FALSE(ops[1].is_fired());
  EXPECT_FALSE(a->is_closed(detail::Side::receiver, unused));
  ASSERT_EQ(woken.finish(), Status::done);
  EXPECT_TRUE(ops[1].is_fired());
  EXPECT_EQ(waiting.finish(), Status::closed);
  EXPECT_EQ(waiting.closed().kind, klaw::CloseKind::ended);
}

class BroadcastThatLags : public Broadcast {};
INSTANTIATE_TEST_SUITE_P(Overflow, BroadcastThatLags, ::testing::Values(Overflow::lag));

TEST_P(BroadcastThatLags, a_lag_is_an_event_that_is_promised_like_a_message) {
  Noted ops[4];
  std::vector<Recv> receiving;
  for (std::size_t i = 0; i < 4; ++i) receiving.push_back(recv(a));
  for (std::size_t i = 0; i < 4; ++i) ASSERT_EQ(receiving[i].start(&ops[i]), Status::pending);
  // Two messages are kept: so the woken have a lag and two messages, and never more, to share.
  for (int i = 0; i < 6; ++i) ASSERT_EQ(send(i).start(nullptr), Status::done);
  EXPECT_EQ(core->stats().in_flight, 3U);
  EXPECT_FALSE(ops[3].is_fired());
  for (std::size_t i = 0; i < 3; ++i) ASSERT_EQ(receiving[i].finish(), Status::done);
  EXPECT_EQ(std::get<klaw::Lagged>(receiving[0].result(Status::done).error()).skipped, 4U);
  EXPECT_EQ(receiving[1].result(Status::done), 4);
  EXPECT_EQ(receiving[2].result(Status::done), 5);
  ASSERT_EQ(send(6).start(nullptr), Status::done);
  ASSERT_EQ(receiving[3].finish(), Status::done);
  EXPECT_EQ(receiving[3].result(Status::done), 6);
}

class BroadcastThatWaits : public Broadcast {
 protected:
  void fill() {
    ASSERT_EQ(send(-1).start(nullptr), Status::done);
    ASSERT_EQ(send(-2).start(nullptr), Status::done);
  }
};
INSTANTIATE_TEST_SUITE_P(Overflow, BroadcastThatWaits, ::testing::Values(Overflow::wait));

TEST_P(BroadcastThatWaits, a_ready_send_claims_its_operation) {
  Noted op;
  auto sending = send(7);
  ASSERT_EQ(sending.start(&op, 3), Status::done);
  EXPECT_EQ(op.claimed_index(), 3U);
  EXPECT_EQ(sending.result(Status::done), 2U);
}

TEST_P(BroadcastThatWaits, a_send_whose_operation_was_claimed_elsewhere_sends_nothing) {
  Noted op;
  ASSERT_TRUE(op.try_claim(0));
  auto sending = send(7);
  EXPECT_EQ(sending.start(&op, 3), Status::pending);
  sending.abandon();
  EXPECT_EQ(core->stats().total_sent, 0U);
}

TEST_P(BroadcastThatWaits, an_offer_whose_operation_was_cancelled_is_passed_over) {
  fill();
  Noted gone;
  Noted next;
  auto cancelled = send(1);
  auto waiting = send(2);
  ASSERT_EQ(cancelled.start(&gone), Status::pending);
  ASSERT_EQ(waiting.start(&next, 6), Status::pending);
  ASSERT_TRUE(gone.cancel());
  EXPECT_EQ(taken(a), -1);
  EXPECT_FALSE(next.is_fired());
  EXPECT_EQ(taken(b), -1);
  EXPECT_FALSE(next.arm());
  EXPECT_EQ(next.claimed_index(), 6U);
  EXPECT_EQ(waiting.finish(), Status::done);
  cancelled.abandon();
  EXPECT_EQ(core->stats().total_sent, 3U);
  EXPECT_EQ(taken(a), -2);
  EXPECT_EQ(taken(a), 2);
}

TEST_P(BroadcastThatWaits, the_last_receive_of_a_message_lets_an_offer_in_and_wakes_those_who_wait_for_it) {
  fill();
  for (int i = 0; i < 2; ++i) EXPECT_LT(taken(a), 0);
  Noted reading;
  Noted sending_op;
  auto receiving = recv(a);
  auto sending = send(7);
  ASSERT_EQ(receiving.start(&reading), Status::pending);
  ASSERT_EQ(sending.start(&sending_op), Status::pending);
  EXPECT_EQ(taken(b), -1);
  EXPECT_TRUE(sending_op.is_fired());
  ASSERT_EQ(receiving.finish(), Status::done);
  EXPECT_EQ(receiving.result(Status::done), 7);
  EXPECT_EQ(sending.finish(), Status::done);
}

TEST_P(BroadcastThatWaits, a_receiver_that_closes_lets_in_as_many_offers_as_it_held_up) {
  fill();
  for (int i = 0; i < 2; ++i) EXPECT_LT(taken(a), 0);
  Noted ops[3];
  std::vector<Send> sending;
  const int values[] = {1, 2, 3};
  for (const int& value : values) sending.push_back(send(value));
  for (std::size_t i = 0; i < 3; ++i) ASSERT_EQ(sending[i].start(&ops[i]), Status::pending);
  close(*b);
  EXPECT_TRUE(ops[0].is_fired());
  EXPECT_TRUE(ops[1].is_fired());
  EXPECT_FALSE(ops[2].is_fired());
  ASSERT_EQ(sending[0].finish(), Status::done);
  EXPECT_EQ(sending[0].result(Status::done), 1U);
  EXPECT_EQ(taken(a), 1);
  EXPECT_TRUE(ops[2].is_fired());
  EXPECT_EQ(taken(a), 2);
  EXPECT_EQ(taken(a), 3);
}

// --- against a model that is too simple to be wrong: one endless log, and positions in it ---

struct Model {
  std::size_t capacity;
  std::vector<int> log = {};

  [[nodiscard]] std::size_t oldest() const { return log.size() > capacity ? log.size() - capacity : 0; }
};

struct ModelReader {
  std::shared_ptr<Reader> reader;
  std::size_t next;
};

class AgainstTheModel {
 public:
  AgainstTheModel(std::size_t capacity, Overflow overflow, unsigned seed)
      : model_{.capacity = capacity},
        overflow_(overflow),
        random_(seed),
        core_(std::make_shared<Core>(capacity, overflow)) {
    readers_.push_back({Reader::first(core_), 0});
  }

  void run(int steps) {
    for (int i = 0; i < steps && !::testing::Test::HasFatalFailure(); ++i) step();
    for (auto& one : readers_) one.reader->close_handle(detail::Side::receiver, unused_, std::nullopt);
    EXPECT_EQ(core_->queue_size(), 0U);
  }

 private:
  void step() {
    // Mostly sends and receives, in bursts of either, so that windows fill up and run empty.
    if (random_() % 16 == 0) sends_more_often_ = !sends_more_often_;
    const auto dice = random_() % 32;
    if (dice == 0 && readers_.size() < 5) {
      readers_.push_back({Reader::open(core_, sender_), model_.log.size()});
    } else if (dice == 1 && !readers_.empty()) {
      auto& one = any_reader();
      one.reader->close_handle(detail::Side::receiver, unused_, std::nullopt);
      std::swap(one, readers_.back());
      readers_.pop_back();
    } else if (dice == 2 && !readers_.empty()) {
      auto fresh = any_reader().reader->reopen();
      readers_.push_back({std::move(fresh), model_.log.size()});
    } else if ((dice < 24) == sends_more_often_) {
      send();
    } else if (!readers_.empty()) {
      receive(any_reader());
    }
    check_what_is_kept();
  }

  ModelReader& any_reader() { return readers_[random_() % readers_.size()]; }

  // Where the slowest reader stands; the end of the log, if there is none.
  std::size_t slowest() const {
    std::size_t at = model_.log.size();
    for (const auto& one : readers_) at = std::min(at, std::max(one.next, oldest()));
    return at;
  }
  std::size_t oldest() const { return overflow_ == Overflow::lag ? model_.oldest() : 0; }

  void send() {
    const int value = static_cast<int>(model_.log.size());
    const bool has_room = model_.log.size() - slowest() < model_.capacity;
    Send sending(core_, sender_, detail::OneValue<int>(value));
    const Status status = sending.start(nullptr);
    if (readers_.empty()) {
      ASSERT_EQ(status, Status::closed);
    } else if (overflow_ == Overflow::wait && !has_room) {
      ASSERT_EQ(status, Status::pending);
    } else {
      ASSERT_EQ(status, Status::done);
      ASSERT_EQ(sending.result(status), readers_.size());
      model_.log.push_back(value);
    }
  }

  void receive(ModelReader& one) {
    ASSERT_EQ(one.reader->lag(), model_.log.size() - one.next);
    Recv receiving(one.reader, unused_);
    const auto got = receiving.limited_result(receiving.start(nullptr));
    if (one.next < oldest()) {
      ASSERT_FALSE(got);
      ASSERT_EQ(std::get<klaw::Lagged>(got.error()).skipped, oldest() - one.next);
      one.next = oldest();
    } else if (one.next < model_.log.size()) {
      ASSERT_EQ(got, model_.log[one.next]);
      ++one.next;
    } else {
      ASSERT_FALSE(got);
      ASSERT_TRUE(std::holds_alternative<klaw::ChannelEmpty>(got.error()));
    }
  }

  void check_what_is_kept() {
    ASSERT_EQ(core_->queue_size(), model_.log.size() - slowest());
    ASSERT_EQ(core_->receiver_count(), readers_.size());
  }

  Model model_;
  Overflow overflow_;
  std::mt19937 random_;
  std::shared_ptr<Core> core_;
  Registration sender_ = Core::kFirstSender;
  Registration unused_;
  std::vector<ModelReader> readers_;
  bool sends_more_often_ = true;
};

TEST(BroadcastModel, random_sends_receives_and_subscriptions_do_as_a_log_with_positions_does) {
  for (unsigned seed = 0; seed < 200; ++seed) {
    for (const Overflow overflow : {Overflow::lag, Overflow::wait}) {
      for (const std::size_t capacity : {1U, 2U, 4U, 16U}) {
        SCOPED_TRACE("seed " + std::to_string(seed) + ", capacity " + std::to_string(capacity));
        AgainstTheModel(capacity, overflow, seed).run(300);
        if (::testing::Test::HasFatalFailure()) return;
      }
    }
  }
}

}  // namespace
