// Every transition of Operation's packed word, the queue of resumptions, and the bundle of wake-ups.
#include <atomic>
#include <cstddef>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <klaw/channels/detail/operation.hpp>

#include "support/scale.hpp"
#include "support/threads.hpp"

namespace {

using klaw::channels::detail::Operation;
using klaw::channels::detail::RunQueue;
using klaw::channels::detail::Wakeups;

class Noted final : public Operation {
 public:
  Noted() noexcept : Operation([](Operation& self) noexcept { ++static_cast<Noted&>(self).wakes; }) {}
  std::atomic<int> wakes{0};
};

TEST(Operation, a_new_one_can_be_claimed_once) {
  Noted op;
  EXPECT_TRUE(op.try_claim(3));
  EXPECT_EQ(op.claimed_index(), 3U);
  EXPECT_FALSE(op.try_claim(4));
  EXPECT_EQ(op.claimed_index(), 3U);
}

TEST(Operation, branch_zero_is_a_claim_too) {
  Noted op;
  EXPECT_TRUE(op.try_claim(0));
  EXPECT_EQ(op.claimed_index(), 0U);
  EXPECT_FALSE(op.try_claim(0));
}

TEST(Operation, fired_after_it_was_armed_it_is_woken_once) {
  Noted op;
  EXPECT_TRUE(op.arm());
  ASSERT_TRUE(op.try_claim(0));
  EXPECT_EQ(op.wakes, 0);
  op.fire();
  EXPECT_EQ(op.wakes, 1);
  EXPECT_TRUE(op.is_fired());
}

TEST(Operation, fired_before_it_was_armed_it_need_not_sleep_and_is_not_woken) {
  Noted op;
  ASSERT_TRUE(op.try_claim(0));
  EXPECT_FALSE(op.is_fired());
  op.fire();
  EXPECT_TRUE(op.is_fired());
  EXPECT_FALSE(op.arm());
  EXPECT_EQ(op.wakes, 0);
}

TEST(Operation, armed_between_claim_and_fire_it_is_woken) {
  Noted op;
  ASSERT_TRUE(op.try_claim(1));
  EXPECT_TRUE(op.arm());
  op.fire();
  EXPECT_EQ(op.wakes, 1);
  EXPECT_EQ(op.claimed_index(), 1U);
}

TEST(Operation, an_armed_one_can_be_claimed_and_keeps_its_index) {
  Noted op;
  EXPECT_TRUE(op.arm());
  EXPECT_TRUE(op.try_claim(9));
  EXPECT_EQ(op.claimed_index(), 9U);
}

TEST(Operation, cancelled_it_can_not_be_claimed) {
  Noted op;
  EXPECT_TRUE(op.cancel());
  EXPECT_EQ(op.claimed_index(), Operation::kCancelled);
  EXPECT_FALSE(op.try_claim(0));
  EXPECT_FALSE(op.cancel());
}

TEST(Operation, claimed_it_can_not_be_cancelled) {
  Noted op;
  ASSERT_TRUE(op.try_claim(2));
  EXPECT_FALSE(op.cancel());
  EXPECT_EQ(op.claimed_index(), 2U);
}

TEST(Operation, cancelled_by_a_timer_it_is_fired_as_any_other) {
  Noted op;
  ASSERT_TRUE(op.arm());
  ASSERT_TRUE(op.cancel());
  op.fire();
  EXPECT_EQ(op.wakes, 1);
  EXPECT_EQ(op.claimed_index(), Operation::kCancelled);
}

TEST(Operation, locked_and_unlocked_it_can_be_claimed_again) {
  Noted op;
  EXPECT_TRUE(op.lock());
  op.unlock();
  EXPECT_TRUE(op.lock());
  op.unlock();
  EXPECT_TRUE(op.try_claim(5));
  EXPECT_EQ(op.claimed_index(), 5U);
}

TEST(Operation, claimed_by_another_it_can_not_be_locked) {
  Noted op;
  ASSERT_TRUE(op.try_claim(5));
  EXPECT_FALSE(op.lock());
}

TEST(Operation, committed_by_its_owner_it_is_claimed) {
  Noted op;
  ASSERT_TRUE(op.lock());
  op.commit(6);
  EXPECT_EQ(op.claimed_index(), 6U);
  EXPECT_FALSE(op.try_claim(0));
  EXPECT_FALSE(op.lock());
  EXPECT_FALSE(op.is_fired());
}

TEST(Operation, a_claim_waits_while_the_owner_looks_at_a_channel) {
  for (const bool owner_commits : {true, false}) {
    Noted op;
    ASSERT_TRUE(op.lock());
    std::atomic<bool> started = false;
    bool claimed = false;
    std::jthread rival([&] {
      started = true;
      claimed = op.try_claim(1);
    });
    klaw_test::spin_until([&] { return started.load(); });
    if (owner_commits) {
      op.commit(0);
    } else {
      op.unlock();
    }
    rival.join();
    EXPECT_EQ(claimed, !owner_commits);
    EXPECT_EQ(op.claimed_index(), owner_commits ? 0U : 1U);
  }
}

// Two operations in the order of their addresses.
struct Pair {
  Noted both[2];
  Noted& lower = both[0];
  Noted& higher = both[1];
};
using Claim = Operation::Claim;

TEST(Operation, a_busy_owner_claims_one_that_is_not_and_stays_busy) {
  Pair one;
  Pair another;
  for (auto [self, other] : {std::pair(&one.lower, &one.higher), std::pair(&another.higher, &another.lower)}) {
    ASSERT_TRUE(self->lock());
    EXPECT_EQ(other->try_claim_from(*self, 4), Claim::won);
    EXPECT_EQ(other->claimed_index(), 4U);
    EXPECT_EQ(self->claimed_index(), Operation::kUnclaimed);
    EXPECT_EQ(other->try_claim_from(*self, 5), Claim::lost);
    self->commit(2);
    EXPECT_EQ(self->claimed_index(), 2U);
  }
}

TEST(Operation, the_lower_of_two_busy_ones_waits_for_the_higher_and_stays_busy) {
  Pair pair;
  ASSERT_TRUE(pair.lower.lock());
  ASSERT_TRUE(pair.higher.lock());
  std::atomic<bool> asked = false;
  std::jthread claimer([&] {
    asked = true;
    EXPECT_EQ(pair.higher.try_claim_from(pair.lower, 1), Claim::won);
  });
  klaw_test::spin_until([&] { return asked.load(); });
  EXPECT_EQ(pair.higher.claimed_index(), Operation::kUnclaimed);
  pair.higher.unlock();
  claimer.join();
  EXPECT_EQ(pair.higher.claimed_index(), 1U);
  EXPECT_EQ(pair.lower.claimed_index(), Operation::kUnclaimed);
}

TEST(Operation, the_higher_of_two_busy_ones_lets_others_claim_it_while_it_waits) {
  Pair pair;
  ASSERT_TRUE(pair.lower.lock());
  ASSERT_TRUE(pair.higher.lock());
  std::jthread claimer([&] { EXPECT_EQ(pair.lower.try_claim_from(pair.higher, 1), Claim::preempted); });
  EXPECT_TRUE(pair.higher.try_claim(7));  // would wait for ever if it stayed busy
  pair.lower.unlock();
  claimer.join();
  EXPECT_EQ(pair.higher.claimed_index(), 7U);
  EXPECT_EQ(pair.lower.claimed_index(), Operation::kUnclaimed);
  EXPECT_TRUE(pair.lower.cancel());
}

TEST(Operation, the_higher_of_two_busy_ones_goes_on_when_the_lower_has_moved_on) {
  Pair pair;
  ASSERT_TRUE(pair.lower.lock());
  ASSERT_TRUE(pair.higher.lock());
  std::jthread claimer([&] { EXPECT_EQ(pair.lower.try_claim_from(pair.higher, 1), Claim::won); });
  pair.lower.unlock();
  claimer.join();
  EXPECT_EQ(pair.lower.claimed_index(), 1U);
  pair.higher.commit(0);
}

TEST(Operation, of_busy_owners_in_a_ring_that_claim_their_neighbours_none_waits_for_ever) {
  constexpr std::size_t kRing = 4;
  const std::size_t rounds = klaw_test::scaled(20'000);
  for (std::size_t round = 0; round < rounds / 20; ++round) {
    Noted ring[kRing];
    std::atomic<int> won = 0;
    klaw_test::run_together(kRing, [&](std::size_t i) {
      Noted& self = ring[i];
      Noted& next = ring[(i + 1) % kRing];
      if (!self.lock()) return;
      switch (next.try_claim_from(self, 1)) {
        case Claim::won:
          ++won;
          self.commit(2);
          break;
        case Claim::lost: self.unlock(); break;
        case Claim::preempted: break;
      }
    });
    int claimed = 0;
    int committed = 0;
    for (Noted& op : ring) {
      if (op.claimed_index() == 1) ++claimed;
      if (op.claimed_index() == 2) ++committed;
    }
    ASSERT_EQ(claimed, won);  // pairs, which no third is part of
    ASSERT_EQ(committed, won);
    ASSERT_GT(won, 0);
  }
}

TEST(Operation, one_that_sleeps_can_be_held_busy_in_its_owners_place) {
  Noted op;
  ASSERT_TRUE(op.arm());
  ASSERT_TRUE(op.lock());
  op.unlock();
  ASSERT_TRUE(op.lock());
  op.commit(6);
  EXPECT_EQ(op.claimed_index(), 6U);
  EXPECT_EQ(op.wakes, 0);
  op.fire();
  EXPECT_EQ(op.wakes, 1);
}

TEST(Operation, only_one_can_hold_it_busy) {
  Noted op;
  std::atomic<int> holders = 0;
  std::atomic<bool> two = false;
  klaw_test::run_together(4, [&](std::size_t) {
    for (int i = 0; i < 2'000; ++i) {
      ASSERT_TRUE(op.lock());
      if (++holders != 1) two = true;
      --holders;
      op.unlock();
    }
  });
  EXPECT_FALSE(two);
  EXPECT_TRUE(op.cancel());
}

TEST(Operation, of_many_rivals_one_claims) {
  for (int round = 0; round < 500; ++round) {
    Noted op;
    std::atomic<int> winners = 0;
    std::atomic<std::size_t> winner = 0;
    klaw_test::run_together(4, [&](std::size_t i) {
      const bool won = i == 3 ? op.cancel() : op.try_claim(static_cast<std::uint32_t>(i));
      if (won) {
        ++winners;
        winner = i == 3 ? Operation::kCancelled : i;
      }
    });
    ASSERT_EQ(winners, 1);
    ASSERT_EQ(op.claimed_index(), winner);
  }
}

TEST(Operation, either_the_owner_sees_the_fire_or_it_is_woken_never_both_never_neither) {
  for (int round = 0; round < 500; ++round) {
    Noted op;
    ASSERT_TRUE(op.try_claim(0));
    bool must_sleep = false;
    klaw_test::run_together(2, [&](std::size_t i) {
      if (i == 0) {
        must_sleep = op.arm();
      } else {
        op.fire();
      }
    });
    ASSERT_EQ(op.wakes, must_sleep ? 1 : 0);
  }
}

// --- RunQueue and Wakeups ---

std::vector<int> ran;

class Queued final : public Operation {
 public:
  explicit Queued(int id)
      : Operation([](Operation& self) noexcept { RunQueue::of_this_thread().push(self); },
                  [](Operation& self) noexcept { static_cast<Queued&>(self).run(); }),
        id_(id) {}
  Queued* fires_next = nullptr;
  Queued* removes = nullptr;

 private:
  void run() {
    ran.push_back(id_);
    if (removes != nullptr) RunQueue::of_this_thread().remove(*removes);
    if (fires_next != nullptr) {
      Wakeups wakeups;
      ASSERT_TRUE(fires_next->try_claim(0));
      wakeups.add(*fires_next);
      wakeups.fire();
      ran.push_back(-id_);  // the next one must not have run inside of us
    }
  }
  int id_;
};

TEST(Wakeups, run_what_they_woke_in_order_after_all_were_told) {
  ran.clear();
  Queued a(1), b(2), c(3);
  Wakeups wakeups;
  for (Queued* op : {&a, &b, &c}) {
    ASSERT_TRUE(op->arm());
    ASSERT_TRUE(op->try_claim(0));
    wakeups.add(*op);
  }
  wakeups.fire();
  EXPECT_EQ(ran, (std::vector{1, 2, 3}));
}

TEST(RunQueue, what_is_woken_by_running_code_runs_after_it_not_inside) {
  ran.clear();
  Queued a(1), b(2), c(3);
  a.fires_next = &b;
  b.fires_next = &c;
  for (Queued* op : {&a, &b, &c}) ASSERT_TRUE(op->arm());
  ASSERT_TRUE(a.try_claim(0));
  Wakeups wakeups;
  wakeups.add(a);
  wakeups.fire();
  EXPECT_EQ(ran, (std::vector{1, -1, 2, -2, 3}));
}

TEST(RunQueue, what_was_removed_does_not_run) {
  ran.clear();
  Queued a(1), b(2), c(3);
  a.removes = &b;
  Wakeups wakeups;
  for (Queued* op : {&a, &b, &c}) {
    ASSERT_TRUE(op->arm());
    ASSERT_TRUE(op->try_claim(0));
    wakeups.add(*op);
  }
  wakeups.fire();
  EXPECT_EQ(ran, (std::vector{1, 3}));
}

TEST(RunQueue, each_thread_has_its_own) {
  RunQueue* other = nullptr;
  std::jthread([&] { other = &RunQueue::of_this_thread(); }).join();
  EXPECT_NE(other, nullptr);
  EXPECT_NE(other, &RunQueue::of_this_thread());
}

}  // namespace
