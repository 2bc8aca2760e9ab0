// select(): the first ready branch, and the others never held anything.
#include <chrono>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "support/setups.hpp"
#include "support/threads.hpp"

namespace {

using namespace klaw_test;
using namespace std::chrono_literals;
using klaw::channels::biased;
using klaw::channels::blocking_select;
using klaw::channels::sending;
using klaw::channels::try_select;

class Select : public Conformance {};
INSTANTIATE_TEST_SUITE_P(, Select, all_setups(), setup_name);

class SelectCancelled : public Conformance {};
INSTANTIATE_TEST_SUITE_P(, SelectCancelled, coroutine_setups(), setup_name);

TEST_P(Select, receives_from_the_branch_that_is_ready) {
  for_each_capacity({1, 3, 100, std::nullopt}, [](Capacity capacity) {
    auto [tx1, rx1] = open<int>(capacity);
    auto [tx2, rx2] = open<std::string>(capacity);
    EXPECT_TRUE(tx2.try_send("b"));
    auto second = select(rx1, rx2).get();
    ASSERT_EQ(second.index(), 1U);
    EXPECT_EQ(second.get<1>(), "b");
    EXPECT_THROW((void)second.get<0>(), std::bad_variant_access);
    EXPECT_TRUE(tx1.try_send(1));
    auto first = select(rx1, rx2).get();
    ASSERT_EQ(first.index(), 0U);
    EXPECT_EQ(first.get<0>(), 1);
  });
}

TEST_P(Select, waits_for_the_first_message_on_any_branch) {
  for_each_capacity([](Capacity capacity) {
    for (int which : {0, 1, 2}) {
      auto [tx0, rx0] = open<int>(capacity);
      auto [tx1, rx1] = open<int>(capacity);
      auto [tx2, rx2] = open<int>(capacity);
      auto selected = select(rx0, rx1, rx2);
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

TEST_P(Select, losers_hold_nothing) {
  for_each_capacity([](Capacity capacity) {
    auto [tx1, rx1] = open<int>(capacity);
    auto [tx2, rx2] = open<int>(capacity);
    auto selected = select(rx1, rx2);
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
    EXPECT_EQ(got.get<0>(), 1);
    if (capacity != Capacity(0)) {
      EXPECT_EQ(rx2.try_recv(), 2);
    }
    EXPECT_TRUE(is_empty(rx1.try_recv()));
    EXPECT_TRUE(is_empty(rx2.try_recv()));
  });
}

TEST_P(Select, a_message_that_a_loser_was_offered_goes_to_the_next_that_waits) {
  for_each_capacity([](Capacity capacity) {
    auto [tx1, rx1] = open<int>(capacity);
    auto [tx2, rx2] = open<int>(capacity);
    auto selected = select(rx1, rx2);
    until_receivers_wait(rx1, 1);
    until_receivers_wait(rx2, 1);
    auto behind = recv(rx2);
    until_receivers_wait(rx2, 2);
    EXPECT_TRUE(tx1.try_send(1));
    EXPECT_TRUE(tx2.try_send(2));
    EXPECT_EQ(selected.get().index(), 0U);
    EXPECT_EQ(behind.get(), 2);
  });
}

TEST_P(Select, a_closed_branch_is_ready_and_says_so) {
  for_each_capacity([](Capacity capacity) {
    auto [tx1, rx1] = open<int>(capacity);
    auto [tx2, rx2] = open<int>(capacity);
    tx2.close("died");
    auto got = select(rx1, rx2).get();
    ASSERT_EQ(got.index(), 1U);
    ASSERT_TRUE(is_closed(got.get<1>(), CloseKind::peer_died));
    EXPECT_EQ(got.get<1>().error().reason, "died");
    rx1.close();
    auto own = select(biased, rx1, rx2).get();
    ASSERT_EQ(own.index(), 0U);
    EXPECT_TRUE(is_closed(own.get<0>(), CloseKind::handle_closed));
  });
}

TEST_P(Select, a_branch_that_closes_during_the_wait_ends_it) {
  for_each_capacity([](Capacity capacity) {
    auto [tx1, rx1] = open<int>(capacity);
    auto [tx2, rx2] = open<int>(capacity);
    auto by_sender = select(rx1, rx2);
    until_receivers_wait(rx1, 1);
    until_receivers_wait(rx2, 1);
    tx2.close();
    auto ended = by_sender.get();
    ASSERT_EQ(ended.index(), 1U);
    EXPECT_TRUE(is_closed(ended.get<1>(), CloseKind::ended));

    auto [tx3, rx3] = open<int>(capacity);
    auto by_handle = select(rx1, rx3);
    until_receivers_wait(rx1, 1);
    until_receivers_wait(rx3, 1);
    rx1.close();
    auto closed = by_handle.get();
    ASSERT_EQ(closed.index(), 0U);
    EXPECT_TRUE(is_closed(closed.get<0>(), CloseKind::handle_closed));
    EXPECT_EQ(rx3.stats().waiting_receivers, 0U);
  });
}

TEST_P(Select, a_moved_from_receiver_is_a_closed_branch) {
  auto [tx1, rx1] = open<int>(1);
  auto [tx2, rx2] = open<int>(1);
  const auto moved = std::move(rx2);
  for (int i = 0; i < 20; ++i) {        // at a random start, so before and after the other branch
    auto got = select(rx1, rx2).get();  // NOLINT(bugprone-use-after-move)
    ASSERT_EQ(got.index(), 1U);
    EXPECT_TRUE(is_closed(got.get<1>(), CloseKind::handle_closed));
  }
  EXPECT_EQ(rx1.stats().waiting_receivers, 0U);
}

TEST_P(Select, the_same_receiver_may_be_given_twice) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    auto rx2 = rx.clone();
    for (int i = 0; i < 20; ++i) {
      auto selected = select(rx, rx, rx2);
      until_receivers_wait(rx, 3);
      EXPECT_TRUE(tx.try_send(i));
      auto got = selected.get();
      EXPECT_EQ(got.index() == 0 ? *got.get<0>() : got.index() == 1 ? *got.get<1>() : *got.get<2>(), i);
      EXPECT_TRUE(is_empty(rx.try_recv()));
      EXPECT_EQ(rx.stats().waiting_receivers, 0U);
    }
    auto waiting = select(rx, rx, rx2);
    until_receivers_wait(rx, 3);
    tx.close();
    EXPECT_LT(waiting.get().index(), 3U);
  });
}

TEST_P(Select, one_branch_is_a_plain_receive) {
  auto [tx, rx] = open<int>(1);
  auto selected = select(rx);
  until_receivers_wait(rx, 1);
  EXPECT_TRUE(tx.try_send(1));
  EXPECT_EQ(selected.get().get<0>(), 1);
}

TEST_P(Select, meets_a_sender_that_waits_at_a_rendezvous) {
  auto [tx1, rx1] = open<int>(0);
  auto [tx2, rx2] = open<int>(0);
  auto sent = send(tx2, 5);
  until_senders_wait(tx2, 1);
  auto got = select(rx1, rx2).get();
  ASSERT_EQ(got.index(), 1U);
  EXPECT_EQ(got.get<1>(), 5);
  EXPECT_TRUE(sent.get());
  EXPECT_EQ(rx1.stats().waiting_receivers, 0U);
}

TEST_P(Select, at_a_rendezvous_of_two_sends_takes_one_and_leaves_the_other_waiting) {
  auto [tx1, rx1] = open<int>(0);
  auto [tx2, rx2] = open<int>(0);
  auto sent1 = send(tx1, 1);
  auto sent2 = send(tx2, 2);
  until_senders_wait(tx1, 1);
  until_senders_wait(tx2, 1);
  auto first = select(biased, rx1, rx2).get();
  ASSERT_EQ(first.index(), 0U);
  EXPECT_TRUE(sent1.get());
  EXPECT_FALSE(sent2.is_done());
  EXPECT_EQ(tx2.stats().waiting_senders, 1U);
  auto second = select(biased, rx1, rx2).get();
  ASSERT_EQ(second.index(), 1U);
  EXPECT_TRUE(sent2.get());
}

TEST_P(Select, lets_a_waiting_sender_in_when_it_takes) {
  auto [tx1, rx1] = open<int>(1);
  auto [tx2, rx2] = open<int>(1);
  EXPECT_TRUE(tx1.try_send(1));
  auto sent = send(tx1, 2);
  until_senders_wait(tx1, 1);
  EXPECT_EQ(select(rx1, rx2).get().get<0>(), 1);
  EXPECT_TRUE(sent.get());
  EXPECT_EQ(rx1.try_recv(), 2);
}

TEST_P(Select, starts_at_random_so_that_every_ready_branch_has_its_turn) {
  auto [tx0, rx0] = open<int>(1);
  auto [tx1, rx1] = open<int>(1);
  auto [tx2, rx2] = open<int>(1);
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

// Each thread's first select, where the threads' variables are at the same address.
TEST_P(Select, starts_at_random_in_threads_that_select_once) {
  auto [tx0, rx0] = open<int>(200);
  auto [tx1, rx1] = open<int>(200);
  for (int i = 0; i < 200; ++i) {
    EXPECT_TRUE(tx0.try_send(i));
    EXPECT_TRUE(tx1.try_send(i));
  }
  for (int i = 0; i < 200; ++i) std::jthread([&] { (void)blocking_select(rx0, rx1); }).join();
  // 100 left of each on average; 50 is 7 standard deviations away.
  EXPECT_GT(rx0.size(), 50U);
  EXPECT_GT(rx1.size(), 50U);
}

TEST_P(Select, biased_prefers_the_first_that_is_ready) {
  auto [tx0, rx0] = open<int>(100);
  auto [tx1, rx1] = open<int>(100);
  auto [tx2, rx2] = open<int>(100);
  for (int i = 0; i < 50; ++i) {
    EXPECT_TRUE(tx1.try_send(i));
    EXPECT_TRUE(tx2.try_send(i));
  }
  for (int i = 0; i < 50; ++i) {
    auto got = select(biased, rx0, rx1, rx2).get();
    ASSERT_EQ(got.index(), 1U);
    EXPECT_EQ(got.get<1>(), i);
  }
  EXPECT_EQ(select(biased, rx0, rx1, rx2).get().index(), 2U);
}

TEST_P(Select, try_select_never_waits) {
  for_each_capacity([](Capacity capacity) {
    auto [tx1, rx1] = open<int>(capacity);
    auto [tx2, rx2] = open<std::string>(capacity);
    EXPECT_FALSE(try_select(rx1, rx2).has_value());
    EXPECT_EQ(rx1.stats().waiting_receivers, 0U);
    auto sent = send(tx2, "x");
    if (capacity == Capacity(0)) until_senders_wait(tx2, 1);
    spin_until([&] { return capacity == Capacity(0) || rx2.size() == 1; });
    auto got = try_select(rx1, rx2);
    ASSERT_TRUE(got.has_value());
    EXPECT_EQ(got->get<1>(), "x");
    EXPECT_TRUE(sent.get());
    tx1.close();
    auto closed = try_select(rx1, rx2);
    ASSERT_TRUE(closed.has_value());
    EXPECT_EQ(closed->index(), 0U);
  });
}

TEST_P(Select, with_a_limit_that_passes_gives_nothing_and_leaves_nothing) {
  for_each_capacity([](Capacity capacity) {
    auto [tx1, rx1] = open<int>(capacity);
    auto [tx2, rx2] = open<int>(capacity);
    EXPECT_FALSE(select_for(1ms, rx1, rx2).get().has_value());
    EXPECT_FALSE(select_for(0ms, rx1, rx2).get().has_value());
    EXPECT_EQ(rx1.stats().waiting_receivers, 0U);
    EXPECT_EQ(rx2.stats().waiting_receivers, 0U);
    auto waiting = recv(rx1);
    until_receivers_wait(rx1, 1);
    EXPECT_TRUE(tx1.try_send(1));
    EXPECT_EQ(waiting.get(), 1);
  });
}

TEST_P(Select, with_a_limit_that_does_not_pass_receives) {
  for_each_capacity([](Capacity capacity) {
    auto [tx1, rx1] = open<int>(capacity);
    auto [tx2, rx2] = open<int>(capacity);
    auto selected = select_for(kLong, rx1, rx2);
    until_receivers_wait(rx1, 1);
    until_receivers_wait(rx2, 1);
    EXPECT_TRUE(tx2.try_send(2));
    auto got = selected.get();
    ASSERT_TRUE(got.has_value());
    EXPECT_EQ(got->get<1>(), 2);
  });
}

TEST_P(Select, receives_what_can_only_be_moved) {
  auto [tx1, rx1] = open<std::unique_ptr<int>>(1);
  auto [tx2, rx2] = open<int>(1);
  EXPECT_TRUE(tx1.try_send(std::make_unique<int>(3)));
  auto got = blocking_select(rx1, rx2);
  EXPECT_EQ(**std::move(got).get<0>(), 3);
}

TEST_P(Select, is_served_in_its_turn_among_receivers_that_wait) {
  auto [tx, rx] = open<int>(3);
  auto [tx2, rx2] = open<int>(3);
  auto first = recv(rx);
  until_receivers_wait(rx, 1);
  auto selected = select(rx, rx2);
  until_receivers_wait(rx, 2);
  until_receivers_wait(rx2, 1);
  auto last = recv(rx);
  until_receivers_wait(rx, 3);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(tx.try_send(i));
    if (i == 0) {
      EXPECT_EQ(first.get(), 0);
    } else if (i == 1) {
      EXPECT_EQ(selected.get().get<0>(), 1);
    } else {
      EXPECT_EQ(last.get(), 2);
    }
  }
}

// --- branches that send ---

TEST_P(Select, sends_into_the_branch_that_has_room) {
  for_each_capacity({1, 3, 100, std::nullopt}, [](Capacity capacity) {
    auto [tx1, rx1] = open<int>(capacity);
    auto [tx2, rx2] = open<std::string>(capacity);
    std::string value = "moved into the channel, since it was sent";
    auto got = select(rx1, giving(tx2, value)).get();
    ASSERT_EQ(got.index(), 1U);
    EXPECT_TRUE(got.get<1>());
    EXPECT_TRUE(value.empty());
    EXPECT_EQ(rx2.try_recv(), "moved into the channel, since it was sent");
    EXPECT_EQ(rx1.stats().waiting_receivers, 0U);
  });
}

TEST_P(Select, waits_for_room_and_for_messages_at_once) {
  for_each_capacity({1, 3}, [](Capacity capacity) {
    for (const bool makes_room : {true, false}) {
      auto [tx1, rx1] = open<int>(capacity);
      auto [tx2, rx2] = open<int>(capacity);
      fill(tx2);
      int value = 77;
      auto selected = select(rx1, giving(tx2, value));
      until_receivers_wait(rx1, 1);
      until_senders_wait(tx2, 1);
      if (makes_room) {
        EXPECT_EQ(rx2.try_recv(), 0);
        auto got = selected.get();
        ASSERT_EQ(got.index(), 1U);
        EXPECT_TRUE(got.get<1>());
        EXPECT_EQ(rx1.stats().waiting_receivers, 0U);
      } else {
        EXPECT_TRUE(tx1.try_send(5));
        EXPECT_EQ(selected.get().get<0>(), 5);
        EXPECT_EQ(tx2.stats().waiting_senders, 0U);
        EXPECT_EQ(rx2.try_recv(), 0);
      }
    }
  });
}

TEST_P(Select, a_send_that_did_not_happen_leaves_its_value_untouched) {
  for_each_capacity({0, 1}, [](Capacity capacity) {
    auto [tx1, rx1] = open<int>(1);
    auto [tx2, rx2] = open<std::unique_ptr<int>>(capacity);
    auto [tx3, rx3] = open<std::unique_ptr<int>>(1);
    if (capacity == Capacity(1)) {
      EXPECT_TRUE(tx2.try_send(nullptr));
    }
    EXPECT_TRUE(tx3.try_send(nullptr));
    auto lost = std::make_unique<int>(2);
    auto closed = std::make_unique<int>(3);
    auto selected = select(rx1, giving(tx2, lost), giving(tx3, closed));
    until_receivers_wait(rx1, 1);
    until_senders_wait(tx2, 1);
    until_senders_wait(tx3, 1);
    rx3.close("no longer");
    auto got = selected.get();
    ASSERT_EQ(got.index(), 2U);
    ASSERT_TRUE(is_closed(got.get<2>(), CloseKind::peer_gone));
    EXPECT_EQ(got.get<2>().error().reason, "no longer");
    EXPECT_FALSE(select_for(1ms, rx1, giving(tx2, lost)).get().has_value());
    EXPECT_FALSE(try_select(rx1, sending(tx2, std::move(lost))).has_value());
    ASSERT_TRUE(lost && closed);
    EXPECT_EQ(*lost + *closed, 5);
    EXPECT_EQ(tx2.stats().waiting_senders, 0U);
  });
}

TEST_P(Select, a_send_of_a_closed_or_moved_from_handle_is_a_ready_branch) {
  auto [tx1, rx1] = open<int>(0);
  auto [tx2, rx2] = open<int>(0);
  int value = 1;
  tx2.close();
  auto got = select(rx1, giving(tx2, value)).get();
  ASSERT_EQ(got.index(), 1U);
  EXPECT_TRUE(is_closed(got.get<1>(), CloseKind::handle_closed));
  auto [tx3, rx3] = open<int>(0);
  const auto moved = std::move(tx3);
  for (int i = 0; i < 20; ++i) {
    auto closed = select(rx1, giving(tx3, value)).get();
    ASSERT_EQ(closed.index(), 1U);
    EXPECT_TRUE(is_closed(closed.get<1>(), CloseKind::handle_closed));
  }
  EXPECT_EQ(rx1.stats().waiting_receivers, 0U);
}

TEST_P(Select, closing_the_handle_of_a_send_that_waits_ends_the_select) {
  for_each_capacity({0, 1}, [](Capacity capacity) {
    auto [tx1, rx1] = open<int>(capacity);
    auto [tx2, rx2] = open<int>(capacity);
    fill(tx2);
    int value = 1;
    auto selected = select(rx1, giving(tx2, value));
    until_receivers_wait(rx1, 1);
    until_senders_wait(tx2, 1);
    tx2.close();
    auto got = selected.get();
    ASSERT_EQ(got.index(), 1U);
    EXPECT_TRUE(is_closed(got.get<1>(), CloseKind::handle_closed));
  });
}

TEST_P(Select, a_send_keeps_its_place_in_the_line_and_gives_it_up_when_it_loses) {
  auto [tx1, rx1] = open<int>(1);
  auto [tx2, rx2] = open<int>(1);
  EXPECT_TRUE(tx2.try_send(0));
  int value = 1;
  auto selected = select(rx1, giving(tx2, value));
  until_receivers_wait(rx1, 1);
  until_senders_wait(tx2, 1);
  auto behind = send(tx2, 2);
  until_senders_wait(tx2, 2);
  EXPECT_EQ(rx2.try_recv(), 0);
  EXPECT_EQ(selected.get().index(), 1U);
  EXPECT_FALSE(behind.is_done());
  EXPECT_EQ(rx2.try_recv(), 1);
  EXPECT_TRUE(behind.get());

  auto loser = select(rx1, giving(tx2, value));
  until_receivers_wait(rx1, 1);
  until_senders_wait(tx2, 1);
  auto next = send(tx2, 3);
  until_senders_wait(tx2, 2);
  EXPECT_TRUE(tx1.try_send(9));
  EXPECT_EQ(loser.get().index(), 0U);
  EXPECT_EQ(rx2.try_recv(), 2);
  EXPECT_TRUE(next.get());
  EXPECT_EQ(rx2.try_recv(), 3);
}

// What blocks and what does not, branch by branch: the state of a channel, and what a select of one branch does there.
TEST_P(Select, of_one_branch_does_what_the_plain_operation_does) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    int value = 1;
    // NOLINTNEXTLINE(performance-move-const-arg): it is given up
    const auto try_send = [&] { return try_select(sending(tx, std::move(value))); };
    const auto try_recv = [&] { return try_select(rx); };
    EXPECT_FALSE(try_recv().has_value());  // empty
    if (capacity == Capacity(0)) {
      EXPECT_FALSE(try_send().has_value());  // nobody is there
    } else {
      EXPECT_TRUE(try_send().has_value());
      EXPECT_EQ(try_recv()->get<0>(), 1);
      if (capacity) {
        fill(tx);
        EXPECT_FALSE(try_send().has_value());  // full
      } else {
        EXPECT_TRUE(tx.try_send(0));
      }
      tx.close();
      while (rx.size() > 0) EXPECT_TRUE(try_recv()->get<0>());  // closed, with messages
    }
    tx.close();
    EXPECT_TRUE(is_closed(try_recv()->get<0>(), CloseKind::ended));
    EXPECT_TRUE(is_closed(try_send()->get<0>(), CloseKind::handle_closed));
  });
}

TEST_P(Select, two_of_them_meet_at_a_rendezvous) {
  auto [tx1, rx1] = open<int>(0);
  auto [tx2, rx2] = open<int>(0);
  int value = 4;
  auto sender = select(rx1, giving(tx2, value));
  until_receivers_wait(rx1, 1);
  until_senders_wait(tx2, 1);
  auto received = select(rx2).get();
  EXPECT_EQ(received.get<0>(), 4);
  ASSERT_EQ(sender.get().index(), 1U);
  EXPECT_EQ(rx1.stats().waiting_receivers, 0U);

  auto receiver = select(rx1, rx2);
  until_receivers_wait(rx1, 1);
  until_receivers_wait(rx2, 1);
  EXPECT_EQ(select(giving(tx1, value)).get().index(), 0U);
  EXPECT_EQ(receiver.get().get<0>(), 4);
  EXPECT_EQ(rx2.stats().waiting_receivers, 0U);
}

TEST_P(Select, two_that_could_meet_at_two_places_meet_at_one) {
  for (int round = 0; round < 20; ++round) {
    auto [tx1, rx1] = open<int>(0);
    auto [tx2, rx2] = open<int>(0);
    int one = 1;
    int two = 2;
    auto a = select(giving(tx1, one), rx2);
    auto b = select(rx1, giving(tx2, two));
    auto at_a = a.get();
    auto at_b = b.get();
    ASSERT_EQ(at_a.index(), at_b.index());
    if (at_a.index() == 0) {
      EXPECT_TRUE(at_a.get<0>());
      EXPECT_EQ(at_b.get<0>(), 1);
    } else {
      EXPECT_EQ(at_a.get<1>(), 2);
      EXPECT_TRUE(at_b.get<1>());
    }
    for (auto* rx : {&rx1, &rx2}) {
      EXPECT_EQ(rx->stats().waiting_receivers, 0U);
      EXPECT_EQ(rx->stats().waiting_senders, 0U);
      EXPECT_TRUE(is_empty(rx->try_recv()));
    }
  }
}

TEST_P(Select, does_not_meet_itself) {
  auto [tx, rx] = open<int>(0);
  int value = 1;
  // NOLINTNEXTLINE(performance-move-const-arg): it is given up
  EXPECT_FALSE(try_select(rx, sending(tx, std::move(value))).has_value());
  EXPECT_FALSE(select_for(1ms, rx, giving(tx, value)).get().has_value());
  EXPECT_EQ(tx.stats().waiting_senders, 0U);
  EXPECT_EQ(tx.stats().waiting_receivers, 0U);
}

TEST_P(Select, that_sends_and_receives_on_one_rendezvous_meets_whoever_comes) {
  for (int round = 0; round < 20; ++round) {  // at a random start, so each of the branches comes first
    auto [tx, rx] = open<int>(0);
    int value = 1;
    const auto both = [&] { return select(giving(tx, value), rx); };
    auto meets_a_receiver = both();
    until_receivers_wait(rx, 1);
    until_senders_wait(tx, 1);
    EXPECT_EQ(rx.try_recv(), 1);
    EXPECT_EQ(meets_a_receiver.get().index(), 0U);

    auto meets_a_sender = both();
    until_receivers_wait(rx, 1);
    until_senders_wait(tx, 1);
    EXPECT_TRUE(tx.try_send(2));  // past the offer that waits: it can't meet its own select
    EXPECT_EQ(meets_a_sender.get().get<1>(), 2);

    auto meets_its_like = both();
    until_receivers_wait(rx, 1);
    until_senders_wait(tx, 1);
    int other = 3;
    auto like = select(rx, giving(tx, other));
    const auto first = meets_its_like.get().index();
    EXPECT_EQ(like.get().index(), first);  // one of them sends, the other receives
    EXPECT_EQ(tx.stats().waiting_senders, 0U);
    EXPECT_EQ(tx.stats().waiting_receivers, 0U);
  }
}

TEST_P(Select, that_sends_and_receives_on_one_buffered_channel_does_one_of_them) {
  auto [tx, rx] = open<int>(1);
  int value = 1;
  EXPECT_EQ(select(biased, giving(tx, value), rx).get().index(), 0U);
  EXPECT_EQ(rx.size(), 1U);
  auto got = select(biased, giving(tx, value), rx).get();
  ASSERT_EQ(got.index(), 1U);
  EXPECT_EQ(got.get<1>(), 1);
  EXPECT_EQ(rx.size(), 0U);
  EXPECT_EQ(tx.stats().waiting_senders, 0U);
}

TEST_P(Select, the_same_sender_may_be_given_twice) {
  for_each_capacity({0, 1}, [](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    fill(tx);
    int one = 11;
    int two = 12;
    auto selected = select(biased, giving(tx, one), giving(tx, two));
    until_senders_wait(tx, 2);
    if (capacity != Capacity(0)) {
      EXPECT_EQ(rx.try_recv(), 0);
    }
    EXPECT_EQ(rx.blocking_recv(), 11);
    EXPECT_EQ(selected.get().index(), 0U);
    EXPECT_TRUE(is_empty(rx.try_recv()));
    EXPECT_EQ(tx.stats().waiting_senders, 0U);
  });
}

TEST_P(Select, copies_a_value_that_is_not_given_up) {
  auto [tx, rx] = open<std::string>(1);
  const std::string value = "a value that is kept and sent";
  EXPECT_TRUE(blocking_select(sending(tx, value)).get<0>());
  EXPECT_EQ(value, "a value that is kept and sent");
  EXPECT_EQ(rx.try_recv(), value);
}

// --- over a span ---

TEST_P(Select, over_a_span_says_which_receiver_it_was) {
  for_each_capacity([](Capacity capacity) {
    using Channel = decltype(open<int>(capacity));
    using Rx = decltype(Channel::rx);
    std::vector<decltype(Channel::tx)> senders;
    std::vector<Rx> receivers;
    for (int i = 0; i < 100; ++i) {
      auto [tx, rx] = open<int>(capacity);
      senders.push_back(std::move(tx));
      receivers.push_back(std::move(rx));
    }
    const std::span<Rx> all(receivers);
    for (const std::size_t i : {0U, 57U, 99U}) {
      auto selected = select(all);
      for (Rx& rx : receivers) until_receivers_wait(rx, 1);
      EXPECT_TRUE(senders[i].try_send(static_cast<int>(i)));
      auto [index, message] = selected.get();
      EXPECT_EQ(index, i);
      EXPECT_EQ(message, static_cast<int>(i));
      for (Rx& rx : receivers) EXPECT_EQ(rx.stats().waiting_receivers, 0U);
    }
    EXPECT_FALSE(try_select(all).has_value());
    EXPECT_FALSE(select_for(1ms, all).get().has_value());
    senders[3].close();
    auto ended = select(biased, all).get();
    EXPECT_EQ(ended.index, 3U);
    EXPECT_TRUE(is_closed(ended.result, CloseKind::ended));
    EXPECT_EQ(select_for(kLong, std::span<Rx, 4>(all.first(4))).get()->index, 3U);
  });
}

TEST_P(Select, over_no_receivers_throws) {
  auto [tx, rx] = open<int>(1);
  const std::span<decltype(rx)> none;
  EXPECT_THROW((void)blocking_select(none), klaw::NoReceiversError);
  EXPECT_THROW((void)klaw::channels::select(none), klaw::NoReceiversError);
  EXPECT_THROW((void)try_select(biased, none), klaw::NoReceiversError);
}

// What is no branch does not compile, where a concept can ask.
template <class... Arguments>
concept Selectable = requires(Arguments&&... arguments) { try_select(std::forward<Arguments>(arguments)...); };
using IntRx = klaw::channels::LocalReceiver<int>;
using IntTx = klaw::channels::LocalSender<int>;
static_assert(Selectable<IntRx&, IntRx&>);
static_assert(!Selectable<>);
static_assert(!Selectable<IntTx&>);
static_assert(!Selectable<IntRx>);  // a receiver that is about to go
static_assert(!Selectable<int&>);
static_assert(!Selectable<std::span<int>>);

TEST(SelectMixed, takes_receivers_of_different_flavours) {
  auto [tx1, rx1] = klaw::channels::channel<int>(1);
  auto [tx2, rx2] = Any::open<std::string>(1);
  EXPECT_TRUE(tx2.try_send("any"));
  auto got = blocking_select(rx1, rx2);
  ASSERT_EQ(got.index(), 1U);
  EXPECT_EQ(got.get<1>(), "any");
}

TEST(SelectMixed, gives_what_a_receive_of_each_flavour_gives) {
  auto [tx1, rx1] = klaw::channels::oneshot<int>();
  auto [tx2, rx2] = klaw::channels::broadcast<std::string>(2);
  auto [tx3, rx3] = klaw::channels::watch<double>(0.5);
  EXPECT_FALSE(try_select(rx1, rx2, rx3).has_value());
  EXPECT_TRUE(tx3.send(1.5));
  auto changed = blocking_select(rx1, rx2, rx3);
  ASSERT_EQ(changed.index(), 2U);
  EXPECT_EQ(**changed.get<2>(), 1.5);
  for (const char* message : {"a", "b", "c"}) EXPECT_TRUE(tx2.try_send(message));
  auto lagged = blocking_select(biased, rx1, rx2, rx3);
  ASSERT_EQ(lagged.index(), 1U);
  ASSERT_FALSE(lagged.get<1>());
  EXPECT_EQ(std::get<klaw::Lagged>(lagged.get<1>().error()).skipped, 1U);
  EXPECT_EQ(blocking_select(biased, rx1, rx2, rx3).get<1>(), "b");
  EXPECT_TRUE(tx1.send(7));
  EXPECT_EQ(blocking_select(biased, rx1, rx2, rx3).get<0>(), 7);
}

TEST(SelectMixed, sends_and_receives_on_different_flavours) {
  auto [tx1, rx1] = klaw::channels::channel<int>(0);
  auto [tx2, rx2] = Any::open<std::string>(0);
  auto received = Parked::recv(rx2);
  until_receivers_wait(rx2, 1);
  EXPECT_EQ(blocking_select(rx1, sending(tx2, "any")).index(), 1U);
  EXPECT_EQ(received.get(), "any");
}

// --- cancelled ---

TEST_P(SelectCancelled, a_send_that_waits_leaves_its_place_and_its_value) {
  for_each_capacity({0, 1}, [](Capacity capacity) {
    auto [tx1, rx1] = open<int>(capacity);
    auto [tx2, rx2] = open<std::unique_ptr<int>>(capacity);
    if (capacity == Capacity(1)) {
      EXPECT_TRUE(tx2.try_send(nullptr));
    }
    auto value = std::make_unique<int>(1);
    auto selected = select(rx1, giving(tx2, value));
    auto behind = send(tx2, std::make_unique<int>(2));
    EXPECT_EQ(tx2.stats().waiting_senders, 2U);
    selected.cancel();
    ASSERT_TRUE(value);
    EXPECT_EQ(tx2.stats().waiting_senders, 1U);
    EXPECT_EQ(rx1.stats().waiting_receivers, 0U);
    if (capacity == Capacity(1)) {
      EXPECT_EQ(rx2.try_recv(), nullptr);
    }
    EXPECT_EQ(**rx2.try_recv(), 2);
    EXPECT_TRUE(behind.get());
  });
}

TEST_P(SelectCancelled, after_its_send_was_taken_the_message_is_there) {
  auto [tx1, rx1] = open<int>(1);
  auto [tx2, rx2] = open<int>(0);
  int value = 5;
  auto selected = select(rx1, giving(tx2, value));
  while_resuming([&] {
    EXPECT_EQ(rx2.try_recv(), 5);
    EXPECT_FALSE(selected.is_done());
    selected.cancel();
  });
  EXPECT_EQ(rx1.stats().waiting_receivers, 0U);
}

TEST_P(SelectCancelled, before_the_wake_up_it_leaves_every_branch) {
  for_each_capacity([](Capacity capacity) {
    auto [tx1, rx1] = open<int>(capacity);
    auto [tx2, rx2] = open<int>(capacity);
    auto selected = select(rx1, rx2);
    EXPECT_EQ(rx1.stats().waiting_receivers, 1U);
    selected.cancel();
    EXPECT_EQ(rx1.stats().waiting_receivers, 0U);
    EXPECT_EQ(rx2.stats().waiting_receivers, 0U);
    auto next = recv(rx1);
    EXPECT_TRUE(tx1.try_send(1));
    EXPECT_EQ(next.get(), 1);
  });
}

TEST_P(SelectCancelled, after_the_wake_up_it_hands_its_message_on) {
  for_each_capacity([](Capacity capacity) {
    auto [tx1, rx1] = open<int>(capacity);
    auto [tx2, rx2] = open<int>(capacity);
    auto selected = select(rx1, rx2);
    auto next = recv(rx2);
    while_resuming([&] {
      EXPECT_TRUE(tx2.try_send(2));
      EXPECT_FALSE(selected.is_done());
      selected.cancel();
      EXPECT_EQ(rx1.stats().waiting_receivers, 0U);
    });
    EXPECT_EQ(next.get(), 2);
  });
}

TEST_P(SelectCancelled, with_a_limit_it_is_forgotten_by_the_timer) {
  auto [tx1, rx1] = open<int>(1);
  auto [tx2, rx2] = open<int>(1);
  select_for(kLong, rx1, rx2).cancel();
  EXPECT_EQ(rx1.stats().waiting_receivers, 0U);
  EXPECT_TRUE(tx1.try_send(1));
  EXPECT_EQ(rx1.try_recv(), 1);
}

TEST_P(SelectCancelled, a_woken_select_takes_nothing_from_the_losers) {
  auto [tx1, rx1] = open<int>(3);
  auto [tx2, rx2] = open<int>(3);
  auto selected = select(rx1, rx2);
  while_resuming([&] {
    EXPECT_TRUE(tx1.try_send(1));
    EXPECT_TRUE(tx2.try_send(2));
    EXPECT_EQ(rx2.stats().in_flight, 0U);
    EXPECT_EQ(rx2.try_recv(), 2);
  });
  EXPECT_EQ(selected.get().get<0>(), 1);
}

}  // namespace
