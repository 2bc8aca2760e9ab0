// select(): the first ready receiver, and the others never held anything.
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "support/threads.hpp"
#include "support/ways.hpp"

namespace {

using namespace klaw_test;
using namespace std::chrono_literals;
using klaw::channels::biased;
using klaw::channels::blocking_select;
using klaw::channels::try_select;

template <class S>
class Select : public ::testing::Test {};
TYPED_TEST_SUITE(Select, Setups, SetupNames);

template <class S>
class SelectCancelled : public ::testing::Test {};
TYPED_TEST_SUITE(SelectCancelled, CoroutineSetups, SetupNames);

TYPED_TEST(Select, receives_from_the_branch_that_is_ready) {
  for_each_capacity({1, 3, 100, std::nullopt}, [](Capacity capacity) {
    auto [tx1, rx1] = open<TypeParam, int>(capacity);
    auto [tx2, rx2] = open<TypeParam, std::string>(capacity);
    EXPECT_TRUE(tx2.try_send("b"));
    auto second = TypeParam::select(rx1, rx2).get();
    ASSERT_EQ(second.index(), 1U);
    EXPECT_EQ(second.template get<1>(), "b");
    EXPECT_THROW((void)second.template get<0>(), std::bad_variant_access);
    EXPECT_TRUE(tx1.try_send(1));
    auto first = TypeParam::select(rx1, rx2).get();
    ASSERT_EQ(first.index(), 0U);
    EXPECT_EQ(first.template get<0>(), 1);
  });
}

TYPED_TEST(Select, waits_for_the_first_message_on_any_branch) {
  for_each_capacity([](Capacity capacity) {
    for (int which : {0, 1, 2}) {
      auto [tx0, rx0] = open<TypeParam, int>(capacity);
      auto [tx1, rx1] = open<TypeParam, int>(capacity);
      auto [tx2, rx2] = open<TypeParam, int>(capacity);
      auto selected = TypeParam::select(rx0, rx1, rx2);
      until_receivers_wait(rx0, 1);
      until_receivers_wait(rx1, 1);
      until_receivers_wait(rx2, 1);
      auto& tx = which == 0 ? tx0 : which == 1 ? tx1 : tx2;
      EXPECT_TRUE(tx.try_send(7));
      auto got = selected.get();
      EXPECT_EQ(got.index(), static_cast<std::size_t>(which));
      for (auto* rx : {&rx0, &rx1, &rx2}) EXPECT_EQ(rx->stats().waiting_receivers, 0U);
    }
  });
}

TYPED_TEST(Select, losers_hold_nothing) {
  for_each_capacity([](Capacity capacity) {
    auto [tx1, rx1] = open<TypeParam, int>(capacity);
    auto [tx2, rx2] = open<TypeParam, int>(capacity);
    auto selected = TypeParam::select(rx1, rx2);
    until_receivers_wait(rx1, 1);
    until_receivers_wait(rx2, 1);
    EXPECT_TRUE(tx1.try_send(1));
    if (capacity == Capacity(0)) {
      EXPECT_TRUE(is_full(tx2.try_send(2)));  // its waiter belongs to the other branch: nobody is there
    } else {
      EXPECT_TRUE(tx2.try_send(2));
    }
    auto got = selected.get();
    ASSERT_EQ(got.index(), 0U);
    EXPECT_EQ(got.template get<0>(), 1);
    if (capacity != Capacity(0)) {
      EXPECT_EQ(rx2.try_recv(), 2);
    }
    EXPECT_TRUE(is_empty(rx1.try_recv()));
    EXPECT_TRUE(is_empty(rx2.try_recv()));
  });
}

TYPED_TEST(Select, a_message_that_a_loser_was_offered_goes_to_the_next_that_waits) {
  for_each_capacity([](Capacity capacity) {
    auto [tx1, rx1] = open<TypeParam, int>(capacity);
    auto [tx2, rx2] = open<TypeParam, int>(capacity);
    auto selected = TypeParam::select(rx1, rx2);
    until_receivers_wait(rx1, 1);
    until_receivers_wait(rx2, 1);
    auto behind = TypeParam::recv(rx2);
    until_receivers_wait(rx2, 2);
    EXPECT_TRUE(tx1.try_send(1));
    EXPECT_TRUE(tx2.try_send(2));
    EXPECT_EQ(selected.get().index(), 0U);
    EXPECT_EQ(behind.get(), 2);
  });
}

TYPED_TEST(Select, a_closed_branch_is_ready_and_says_so) {
  for_each_capacity([](Capacity capacity) {
    auto [tx1, rx1] = open<TypeParam, int>(capacity);
    auto [tx2, rx2] = open<TypeParam, int>(capacity);
    tx2.close("died");
    auto got = TypeParam::select(rx1, rx2).get();
    ASSERT_EQ(got.index(), 1U);
    ASSERT_TRUE(is_closed(got.template get<1>(), CloseKind::peer_died));
    EXPECT_EQ(got.template get<1>().error().reason, "died");
    rx1.close();
    auto own = TypeParam::select(biased, rx1, rx2).get();
    ASSERT_EQ(own.index(), 0U);
    EXPECT_TRUE(is_closed(own.template get<0>(), CloseKind::handle_closed));
  });
}

TYPED_TEST(Select, a_branch_that_closes_during_the_wait_ends_it) {
  for_each_capacity([](Capacity capacity) {
    auto [tx1, rx1] = open<TypeParam, int>(capacity);
    auto [tx2, rx2] = open<TypeParam, int>(capacity);
    auto by_sender = TypeParam::select(rx1, rx2);
    until_receivers_wait(rx1, 1);
    until_receivers_wait(rx2, 1);
    tx2.close();
    auto ended = by_sender.get();
    ASSERT_EQ(ended.index(), 1U);
    EXPECT_TRUE(is_closed(ended.template get<1>(), CloseKind::ended));

    auto [tx3, rx3] = open<TypeParam, int>(capacity);
    auto by_handle = TypeParam::select(rx1, rx3);
    until_receivers_wait(rx1, 1);
    until_receivers_wait(rx3, 1);
    rx1.close();
    auto closed = by_handle.get();
    ASSERT_EQ(closed.index(), 0U);
    EXPECT_TRUE(is_closed(closed.template get<0>(), CloseKind::handle_closed));
    EXPECT_EQ(rx3.stats().waiting_receivers, 0U);
  });
}

TYPED_TEST(Select, a_moved_from_receiver_is_a_closed_branch) {
  auto [tx1, rx1] = open<TypeParam, int>(1);
  auto [tx2, rx2] = open<TypeParam, int>(1);
  const auto moved = std::move(rx2);
  for (int i = 0; i < 20; ++i) {                   // at a random start, so before and after the other branch
    auto got = TypeParam::select(rx1, rx2).get();  // NOLINT(bugprone-use-after-move)
    ASSERT_EQ(got.index(), 1U);
    EXPECT_TRUE(is_closed(got.template get<1>(), CloseKind::handle_closed));
  }
  EXPECT_EQ(rx1.stats().waiting_receivers, 0U);
}

TYPED_TEST(Select, the_same_receiver_may_be_given_twice) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<TypeParam, int>(capacity);
    auto rx2 = rx.clone();
    for (int i = 0; i < 20; ++i) {
      auto selected = TypeParam::select(rx, rx, rx2);
      until_receivers_wait(rx, 3);
      EXPECT_TRUE(tx.try_send(i));
      auto got = selected.get();
      EXPECT_EQ(got.index() == 0   ? *got.template get<0>()
                : got.index() == 1 ? *got.template get<1>()
                                   : *got.template get<2>(),
                i);
      EXPECT_TRUE(is_empty(rx.try_recv()));
      EXPECT_EQ(rx.stats().waiting_receivers, 0U);
    }
    auto waiting = TypeParam::select(rx, rx, rx2);
    until_receivers_wait(rx, 3);
    tx.close();
    EXPECT_LT(waiting.get().index(), 3U);
  });
}

TYPED_TEST(Select, one_branch_is_a_plain_receive) {
  auto [tx, rx] = open<TypeParam, int>(1);
  auto selected = TypeParam::select(rx);
  until_receivers_wait(rx, 1);
  EXPECT_TRUE(tx.try_send(1));
  EXPECT_EQ(selected.get().template get<0>(), 1);
}

TYPED_TEST(Select, meets_a_sender_that_waits_at_a_rendezvous) {
  auto [tx1, rx1] = open<TypeParam, int>(0);
  auto [tx2, rx2] = open<TypeParam, int>(0);
  auto sent = TypeParam::send(tx2, 5);
  until_senders_wait(tx2, 1);
  auto got = TypeParam::select(rx1, rx2).get();
  ASSERT_EQ(got.index(), 1U);
  EXPECT_EQ(got.template get<1>(), 5);
  EXPECT_TRUE(sent.get());
  EXPECT_EQ(rx1.stats().waiting_receivers, 0U);
}

TYPED_TEST(Select, at_a_rendezvous_of_two_sends_takes_one_and_leaves_the_other_waiting) {
  auto [tx1, rx1] = open<TypeParam, int>(0);
  auto [tx2, rx2] = open<TypeParam, int>(0);
  auto sent1 = TypeParam::send(tx1, 1);
  auto sent2 = TypeParam::send(tx2, 2);
  until_senders_wait(tx1, 1);
  until_senders_wait(tx2, 1);
  auto first = TypeParam::select(biased, rx1, rx2).get();
  ASSERT_EQ(first.index(), 0U);
  EXPECT_TRUE(sent1.get());
  EXPECT_FALSE(sent2.is_done());
  EXPECT_EQ(tx2.stats().waiting_senders, 1U);
  auto second = TypeParam::select(biased, rx1, rx2).get();
  ASSERT_EQ(second.index(), 1U);
  EXPECT_TRUE(sent2.get());
}

TYPED_TEST(Select, lets_a_waiting_sender_in_when_it_takes) {
  auto [tx1, rx1] = open<TypeParam, int>(1);
  auto [tx2, rx2] = open<TypeParam, int>(1);
  EXPECT_TRUE(tx1.try_send(1));
  auto sent = TypeParam::send(tx1, 2);
  until_senders_wait(tx1, 1);
  EXPECT_EQ(TypeParam::select(rx1, rx2).get().template get<0>(), 1);
  EXPECT_TRUE(sent.get());
  EXPECT_EQ(rx1.try_recv(), 2);
}

TYPED_TEST(Select, starts_at_random_so_that_every_ready_branch_has_its_turn) {
  auto [tx0, rx0] = open<TypeParam, int>(1);
  auto [tx1, rx1] = open<TypeParam, int>(1);
  auto [tx2, rx2] = open<TypeParam, int>(1);
  std::map<std::size_t, int> chosen;
  for (int i = 0; i < 600; ++i) {
    (void)tx0.try_send(i);
    (void)tx1.try_send(i);
    (void)tx2.try_send(i);
    ++chosen[blocking_select(rx0, rx1, rx2).index()];
  }
  // 200 each on average; 100 is 9 standard deviations away.
  EXPECT_GT(chosen[0], 100);
  EXPECT_GT(chosen[1], 100);
  EXPECT_GT(chosen[2], 100);
}

TYPED_TEST(Select, biased_prefers_the_first_that_is_ready) {
  auto [tx0, rx0] = open<TypeParam, int>(100);
  auto [tx1, rx1] = open<TypeParam, int>(100);
  auto [tx2, rx2] = open<TypeParam, int>(100);
  for (int i = 0; i < 50; ++i) {
    EXPECT_TRUE(tx1.try_send(i));
    EXPECT_TRUE(tx2.try_send(i));
  }
  for (int i = 0; i < 50; ++i) {
    auto got = TypeParam::select(biased, rx0, rx1, rx2).get();
    ASSERT_EQ(got.index(), 1U);
    EXPECT_EQ(got.template get<1>(), i);
  }
  EXPECT_EQ(TypeParam::select(biased, rx0, rx1, rx2).get().index(), 2U);
}

TYPED_TEST(Select, try_select_never_waits) {
  for_each_capacity([](Capacity capacity) {
    auto [tx1, rx1] = open<TypeParam, int>(capacity);
    auto [tx2, rx2] = open<TypeParam, std::string>(capacity);
    EXPECT_FALSE(try_select(rx1, rx2).has_value());
    EXPECT_EQ(rx1.stats().waiting_receivers, 0U);
    auto sent = TypeParam::send(tx2, "x");
    if (capacity == Capacity(0)) until_senders_wait(tx2, 1);
    spin_until([&] { return capacity == Capacity(0) || rx2.size() == 1; });
    auto got = try_select(rx1, rx2);
    ASSERT_TRUE(got.has_value());
    EXPECT_EQ(got->template get<1>(), "x");
    EXPECT_TRUE(sent.get());
    tx1.close();
    auto closed = try_select(rx1, rx2);
    ASSERT_TRUE(closed.has_value());
    EXPECT_EQ(closed->index(), 0U);
  });
}

TYPED_TEST(Select, with_a_limit_that_passes_gives_nothing_and_leaves_nothing) {
  for_each_capacity([](Capacity capacity) {
    auto [tx1, rx1] = open<TypeParam, int>(capacity);
    auto [tx2, rx2] = open<TypeParam, int>(capacity);
    EXPECT_FALSE(TypeParam::select_for(1ms, rx1, rx2).get().has_value());
    EXPECT_FALSE(TypeParam::select_for(0ms, rx1, rx2).get().has_value());
    EXPECT_EQ(rx1.stats().waiting_receivers, 0U);
    EXPECT_EQ(rx2.stats().waiting_receivers, 0U);
    auto waiting = TypeParam::recv(rx1);
    until_receivers_wait(rx1, 1);
    EXPECT_TRUE(tx1.try_send(1));
    EXPECT_EQ(waiting.get(), 1);
  });
}

TYPED_TEST(Select, with_a_limit_that_does_not_pass_receives) {
  for_each_capacity([](Capacity capacity) {
    auto [tx1, rx1] = open<TypeParam, int>(capacity);
    auto [tx2, rx2] = open<TypeParam, int>(capacity);
    auto selected = TypeParam::select_for(kLong, rx1, rx2);
    until_receivers_wait(rx1, 1);
    until_receivers_wait(rx2, 1);
    EXPECT_TRUE(tx2.try_send(2));
    auto got = selected.get();
    ASSERT_TRUE(got.has_value());
    EXPECT_EQ(got->template get<1>(), 2);
  });
}

TYPED_TEST(Select, receives_what_can_only_be_moved) {
  auto [tx1, rx1] = open<TypeParam, std::unique_ptr<int>>(1);
  auto [tx2, rx2] = open<TypeParam, int>(1);
  EXPECT_TRUE(tx1.try_send(std::make_unique<int>(3)));
  auto got = blocking_select(rx1, rx2);
  EXPECT_EQ(**std::move(got).template get<0>(), 3);
}

TYPED_TEST(Select, is_served_in_its_turn_among_receivers_that_wait) {
  auto [tx, rx] = open<TypeParam, int>(3);
  auto [tx2, rx2] = open<TypeParam, int>(3);
  auto first = TypeParam::recv(rx);
  until_receivers_wait(rx, 1);
  auto selected = TypeParam::select(rx, rx2);
  until_receivers_wait(rx, 2);
  until_receivers_wait(rx2, 1);
  auto last = TypeParam::recv(rx);
  until_receivers_wait(rx, 3);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(tx.try_send(i));
    if (i == 0) {
      EXPECT_EQ(first.get(), 0);
    } else if (i == 1) {
      EXPECT_EQ(selected.get().template get<0>(), 1);
    } else {
      EXPECT_EQ(last.get(), 2);
    }
  }
}

TEST(SelectMixed, takes_receivers_of_different_flavours) {
  auto [tx1, rx1] = klaw::channels::channel<int>(1);
  auto [tx2, rx2] = Any::open<std::string>(1);
  EXPECT_TRUE(tx2.try_send("any"));
  auto got = blocking_select(rx1, rx2);
  ASSERT_EQ(got.index(), 1U);
  EXPECT_EQ(got.get<1>(), "any");
}

// --- cancelled ---

TYPED_TEST(SelectCancelled, before_the_wake_up_it_leaves_every_branch) {
  for_each_capacity([](Capacity capacity) {
    auto [tx1, rx1] = open<TypeParam, int>(capacity);
    auto [tx2, rx2] = open<TypeParam, int>(capacity);
    auto selected = TypeParam::select(rx1, rx2);
    EXPECT_EQ(rx1.stats().waiting_receivers, 1U);
    selected.cancel();
    EXPECT_EQ(rx1.stats().waiting_receivers, 0U);
    EXPECT_EQ(rx2.stats().waiting_receivers, 0U);
    auto next = TypeParam::recv(rx1);
    EXPECT_TRUE(tx1.try_send(1));
    EXPECT_EQ(next.get(), 1);
  });
}

TYPED_TEST(SelectCancelled, after_the_wake_up_it_hands_its_message_on) {
  for_each_capacity([](Capacity capacity) {
    auto [tx1, rx1] = open<TypeParam, int>(capacity);
    auto [tx2, rx2] = open<TypeParam, int>(capacity);
    auto selected = TypeParam::select(rx1, rx2);
    auto next = TypeParam::recv(rx2);
    while_resuming([&] {
      EXPECT_TRUE(tx2.try_send(2));
      EXPECT_FALSE(selected.is_done());
      selected.cancel();
      EXPECT_EQ(rx1.stats().waiting_receivers, 0U);
    });
    EXPECT_EQ(next.get(), 2);
  });
}

TYPED_TEST(SelectCancelled, with_a_limit_it_is_forgotten_by_the_timer) {
  auto [tx1, rx1] = open<TypeParam, int>(1);
  auto [tx2, rx2] = open<TypeParam, int>(1);
  TypeParam::select_for(kLong, rx1, rx2).cancel();
  EXPECT_EQ(rx1.stats().waiting_receivers, 0U);
  EXPECT_TRUE(tx1.try_send(1));
  EXPECT_EQ(rx1.try_recv(), 1);
}

TYPED_TEST(SelectCancelled, a_woken_select_takes_nothing_from_the_losers) {
  auto [tx1, rx1] = open<TypeParam, int>(3);
  auto [tx2, rx2] = open<TypeParam, int>(3);
  auto selected = TypeParam::select(rx1, rx2);
  while_resuming([&] {
    EXPECT_TRUE(tx1.try_send(1));
    EXPECT_TRUE(tx2.try_send(2));
    EXPECT_EQ(rx2.stats().in_flight, 0U);
    EXPECT_EQ(rx2.try_recv(), 2);
  });
  EXPECT_EQ(selected.get().template get<0>(), 1);
}

}  // namespace
