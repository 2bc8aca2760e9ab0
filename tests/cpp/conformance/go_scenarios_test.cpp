// What Go's channel and select tests check (runtime/chan_test.go, test/chan, test/closedchan.go), rewritten for threads
// and coroutines.
//
// Left out: what a compiler or a goroutine's stack is about (perm, select2, sendstmt, shrinking stacks), nil channels
// (select, select4: a closed handle is no nil, it is ready), and that a second close panics, since here it is harmless.
// The sieve that runs dry is in basics_test.cpp, many producers and consumers in order_test.cpp and in stress/.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
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

class GoChannels : public Conformance {};
INSTANTIATE_TEST_SUITE_P(, GoChannels, all_setups(), setup_name);

class GoSelects : public Conformance {};
INSTANTIATE_TEST_SUITE_P(, GoSelects, all_setups(), setup_name);

// --- pipelines ---

TEST_P(GoChannels, a_turn_goes_down_a_line_of_threads_that_were_started_backwards) {
  for_each_capacity({0, 1, 3}, [](Capacity capacity) {
    constexpr int kThreads = 10;
    std::vector<std::jthread> threads;
    Collected<int> done;
    auto [last_tx, last_rx] = open<int>(capacity);
    auto right = std::move(last_tx);
    for (int n = kThreads - 1; n >= 0; --n) {
      auto [tx, rx] = open<int>(capacity);
      threads.emplace_back([&done, n, left = std::move(rx), right = std::move(right)]() mutable {
        EXPECT_EQ(recv(left).get(), n);
        done.add(n);
        EXPECT_TRUE(send(right, n + 1).get());
      });
      right = std::move(tx);
    }
    EXPECT_TRUE(send(right, 0).get());
    EXPECT_EQ(recv(last_rx).get(), kThreads);
    EXPECT_TRUE(is_closed(recv(last_rx).get(), CloseKind::ended));
    EXPECT_TRUE(std::ranges::is_sorted(done.values()));
  });
}

TEST(GoCoroutines, ten_thousand_of_them_pass_a_number_along_and_add_one_each) {
  constexpr int kCoroutines = 10'000;
  using Tx = klaw::channels::LocalSender<int>;
  using Rx = klaw::channels::LocalReceiver<int>;
  const auto add_one = [](Rx left, Tx right) -> Detached {
    const auto got = co_await left.recv();
    EXPECT_TRUE(got);
    if (got) {
      EXPECT_TRUE(co_await right.send(*got + 1));
    }
  };
  auto [tx, rx] = klaw::channels::channel<int>(0);
  auto left = std::move(tx);
  for (int i = 0; i < kCoroutines; ++i) {
    auto [link_tx, link_rx] = klaw::channels::channel<int>(0);
    add_one(std::move(link_rx), std::move(left));
    left = std::move(link_tx);
  }
  auto total = Suspended::recv(rx);
  EXPECT_TRUE(left.blocking_send(0));
  EXPECT_EQ(total.get(), kCoroutines);
}

TEST_P(GoChannels, a_sieve_over_all_numbers_ends_filter_by_filter_when_its_reader_has_enough) {
  for_each_capacity({0, 1, 3}, [](Capacity capacity) {
    std::vector<std::jthread> threads;
    auto [tx, rx] = open<int>(capacity);
    threads.emplace_back([tx = std::move(tx)]() mutable {
      int n = 2;
      while (send(tx, n).get()) ++n;
      EXPECT_TRUE(is_closed(tx.blocking_send(n), CloseKind::peer_gone));
    });
    std::vector<int> primes;
    auto numbers = std::move(rx);
    while (primes.size() < 8) {
      const int prime = *recv(numbers).get();
      primes.push_back(prime);
      auto [sifted_tx, sifted_rx] = open<int>(capacity);
      threads.emplace_back([prime, rx = std::move(numbers), tx = std::move(sifted_tx)]() mutable {
        for (const int n : rx) {
          if (n % prime != 0 && !tx.blocking_send(n)) return;
        }
      });
      numbers = std::move(sifted_rx);
    }
    EXPECT_EQ(primes, (std::vector<int>{2, 3, 5, 7, 11, 13, 17, 19}));
    numbers.close();
    threads.clear();  // joins them
  });
}

// --- what waits, what does not ---

// Tries of one message type on either kind of channel: nobody there, somebody waiting, then stored.
template <class T, class Make, class Same>
void try_everything(Make make, Same same) {
  auto [tx, rx] = Conformance::open<T>(0);
  EXPECT_TRUE(is_empty(rx.try_recv()));
  EXPECT_TRUE(is_full(tx.try_send(make())));
  auto received = Conformance::recv(rx);
  until_receivers_wait(rx, 1);
  EXPECT_TRUE(tx.try_send(make()));
  EXPECT_TRUE(same(*received.get()));
  auto sent = Conformance::send(tx, make());
  until_senders_wait(tx, 1);
  EXPECT_TRUE(same(*rx.try_recv()));
  EXPECT_TRUE(sent.get());

  auto [stored_tx, stored_rx] = Conformance::open<T>(1);
  EXPECT_TRUE(is_empty(stored_rx.try_recv()));
  EXPECT_TRUE(stored_tx.try_send(make()));
  EXPECT_TRUE(is_full(stored_tx.try_send(make())));
  EXPECT_TRUE(same(*stored_rx.try_recv()));
  EXPECT_TRUE(is_empty(stored_rx.try_recv()));
}

TEST_P(GoChannels, tries_of_messages_of_every_shape_meet_those_who_wait) {
  struct Nothing {};
  struct Large {
    std::array<std::uint64_t, 40> words{};
  };
  try_everything<bool>([] { return true; }, [](bool value) { return value; });
  try_everything<std::string>([] { return std::string(100, 'x'); },
                              [](const std::string& value) { return value.size() == 100; });
  try_everything<std::unique_ptr<int>>([] { return std::make_unique<int>(7); },
                                       [](const auto& value) { return *value == 7; });
  try_everything<Nothing>([] { return Nothing{}; }, [](Nothing) { return true; });
  try_everything<Large>(
      [] {
        Large large;
        large.words.fill(7);
        return large;
      },
      [](const Large& large) { return std::ranges::count(large.words, 7U) == 40; });
}

TEST_P(GoChannels, at_an_empty_channel_receives_wait_and_tries_do_not) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    auto first = recv(rx);
    until_receivers_wait(rx, 1);
    auto second = recv_for(rx, kLong);
    until_receivers_wait(rx, 2);
    EXPECT_TRUE(is_empty(rx.try_recv()));
    EXPECT_FALSE(try_select(rx, rx).has_value());
    EXPECT_FALSE(first.is_done());
    EXPECT_FALSE(second.is_done());
    EXPECT_TRUE(tx.try_send(1));
    EXPECT_EQ(first.get(), 1);
    EXPECT_TRUE(tx.try_send(2));
    EXPECT_EQ(second.get(), 2);
  });
}

TEST_P(GoChannels, at_a_full_channel_sends_wait_and_tries_do_not) {
  for_each_capacity({0, 1, 3, 100}, [](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    const int filled = static_cast<int>(fill(tx));
    auto sent = send(tx, filled);
    until_senders_wait(tx, 1);
    EXPECT_TRUE(is_full(tx.try_send(-1)));
    EXPECT_FALSE(try_select(sending(tx, -1)).has_value());
    EXPECT_FALSE(sent.is_done());
    for (int i = 0; i <= filled; ++i) EXPECT_EQ(rx.try_recv(), i);
    EXPECT_TRUE(sent.get());
  });
}

// --- closing ---

TEST_P(GoChannels, after_the_end_every_way_to_receive_says_so_time_after_time) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    auto [open_tx, open_rx] = open<int>(capacity);
    tx.close();
    for (int i = 0; i < 3; ++i) {
      EXPECT_TRUE(is_closed(recv(rx).get(), CloseKind::ended));
      EXPECT_TRUE(is_closed(recv_for(rx, 0ms).get(), CloseKind::ended));
      EXPECT_TRUE(is_closed(recv_batch(rx, 2).get(), CloseKind::ended));
      EXPECT_TRUE(is_closed(rx.try_recv(), CloseKind::ended));
      EXPECT_TRUE(is_closed(select(rx).get().get<0>(), CloseKind::ended));
      EXPECT_TRUE(is_closed(select(open_rx, rx).get().get<1>(), CloseKind::ended));
      EXPECT_TRUE(is_closed(try_select(rx, open_rx)->get<0>(), CloseKind::ended));
      tx.close();
    }
    EXPECT_FALSE(tx.try_send(1));
    EXPECT_FALSE(send(tx, 2).get());
    EXPECT_TRUE(is_closed(rx.try_recv(), CloseKind::ended));  // nothing of them came through
  });
}

TEST_P(GoChannels, what_was_sent_before_the_end_comes_first_whichever_way_it_is_received) {
  const auto check = [](auto receive) {
    auto [tx, rx] = open<int>(2);
    auto [open_tx, open_rx] = open<int>(2);
    EXPECT_TRUE(tx.try_send(1));
    tx.close();
    EXPECT_EQ(receive(rx, open_rx), 1);
    EXPECT_TRUE(is_closed(recv(rx).get(), CloseKind::ended));
  };
  check([](auto& rx, auto&) { return *recv(rx).get(); });
  check([](auto& rx, auto&) { return *recv_for(rx, kLong).get(); });
  check([](auto& rx, auto&) { return recv_batch(rx, 2).get()->at(0); });
  check([](auto& rx, auto&) { return *rx.try_recv(); });
  check([](auto& rx, auto&) { return *select(rx).get().template get<0>(); });
  check([](auto& rx, auto& other) { return *select(other, rx).get().template get<1>(); });
  check([](auto& rx, auto& other) { return *try_select(rx, other)->template get<0>(); });
}

TEST_P(GoChannels, a_try_beside_close_gets_the_message_or_the_end_and_never_finds_it_empty) {
  const std::size_t rounds = scaled(2000);
  for (std::size_t i = 0; i < rounds; ++i) {
    auto [tx, rx] = open<int>(1);
    EXPECT_TRUE(tx.try_send(1));
    std::optional<decltype(rx.try_recv())> tried;
    {
      const std::jthread trying([&tried, rx = rx.clone()]() mutable { tried = rx.try_recv(); });
      tx.close();
      const auto mine = rx.try_recv();
      EXPECT_TRUE(mine == 1 || is_closed(mine, CloseKind::ended));
    }
    EXPECT_TRUE(*tried == 1 || is_closed(*tried, CloseKind::ended));
  }
}

// --- select: the places in which it waits ---

TEST_P(GoSelects, with_one_receiver_twice_leaves_those_behind_it_in_line) {
  for_each_capacity([](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    auto [tx2, rx2] = open<int>(capacity);
    auto selected = select(rx, rx, rx2);
    until_receivers_wait(rx2, 1);
    until_receivers_wait(rx, 2);
    auto behind = recv(rx);
    until_receivers_wait(rx, 3);
    EXPECT_TRUE(tx2.try_send(7));
    EXPECT_EQ(selected.get().get<2>(), 7);
    EXPECT_EQ(rx.stats().waiting_receivers, 1U);
    EXPECT_TRUE(tx.try_send(8));
    EXPECT_EQ(behind.get(), 8);
  });
}

TEST_P(GoSelects, served_elsewhere_it_leaves_the_front_the_middle_and_the_back_of_a_line) {
  for_each_capacity([](Capacity capacity) {
    for (const std::size_t place : {0U, 1U, 2U}) {
      auto [tx, rx] = open<int>(capacity);
      auto [tx2, rx2] = open<int>(capacity);
      std::vector<decltype(recv(rx))> plain;
      std::optional<decltype(select(rx, rx2))> selected;
      for (std::size_t i = 0; i < 3; ++i) {
        if (i == place) {
          selected.emplace(select(rx, rx2));
        } else {
          plain.push_back(recv(rx));
        }
        until_receivers_wait(rx, i + 1);
      }
      until_receivers_wait(rx2, 1);
      EXPECT_TRUE(tx2.try_send(9));
      EXPECT_EQ(selected->get().get<1>(), 9);
      for (int i = 0; i < 2; ++i) {
        EXPECT_TRUE(tx.try_send(i));
        EXPECT_EQ(plain[static_cast<std::size_t>(i)].get(), i);
      }
      EXPECT_EQ(rx.stats().waiting_receivers, 0U);
    }
  });
}

// --- select: what is ready ---

TEST_P(GoSelects, what_is_ready_and_what_is_not) {
  auto [tx, rx] = open<int>(1);
  auto [meet_tx, meet_rx] = open<int>(0);
  int value = 1;
  // Room, then a message, then neither of what it was.
  EXPECT_FALSE(try_select(rx).has_value());
  EXPECT_TRUE(try_select(sending(tx, 1))->get<0>());
  EXPECT_FALSE(try_select(sending(tx, 2)).has_value());
  EXPECT_EQ(try_select(rx)->get<0>(), 1);
  // A rendezvous with nobody there, also when the select itself could be both sides of it.
  EXPECT_FALSE(try_select(meet_rx).has_value());
  EXPECT_FALSE(try_select(sending(meet_tx, 1)).has_value());
  EXPECT_FALSE(try_select(sending(meet_tx, 1), meet_rx).has_value());
  EXPECT_FALSE(select_for(1ms, giving(meet_tx, value), meet_rx).get().has_value());
  EXPECT_FALSE(select_for(1ms, meet_rx, giving(meet_tx, value)).get().has_value());
  EXPECT_EQ(meet_rx.stats().waiting_receivers, 0U);
  EXPECT_EQ(meet_tx.stats().waiting_senders, 0U);
  // The end of either side.
  tx.close();
  EXPECT_TRUE(is_closed(try_select(rx)->get<0>(), CloseKind::ended));
  EXPECT_TRUE(is_closed(try_select(sending(tx, 1))->get<0>(), CloseKind::handle_closed));
  meet_rx.close();
  EXPECT_TRUE(is_closed(select(giving(meet_tx, value)).get().get<0>(), CloseKind::peer_gone));
}

TEST_P(GoSelects, finds_the_only_ready_receiver_wherever_it_stands) {
  constexpr std::size_t kCount = 5;
  std::vector<SomeSender<int>> senders;
  std::vector<SomeReceiver<int>> receivers;
  for (std::size_t i = 0; i < kCount; ++i) {
    auto [tx, rx] = open<int>(1);
    senders.push_back(std::move(tx));
    receivers.push_back(std::move(rx));
  }
  const std::span all(receivers);
  int n = 0;
  const auto expect = [&](const auto& got, std::size_t place) {
    EXPECT_EQ(got.index, place);
    EXPECT_EQ(got.result, n);
  };
  for (std::size_t place = 0; place < kCount; ++place) {
    EXPECT_FALSE(try_select(all).has_value());
    EXPECT_TRUE(senders[place].try_send(++n));
    expect(*try_select(all), place);
    EXPECT_TRUE(senders[place].try_send(++n));
    expect(*try_select(biased, all), place);
    EXPECT_TRUE(senders[place].try_send(++n));
    expect(select(all).get(), place);
    EXPECT_TRUE(senders[place].try_send(++n));
    expect(*select_for(kLong, all).get(), place);
    auto waiting = select(all);
    for (const auto& rx : receivers) until_receivers_wait(rx, 1);
    EXPECT_TRUE(senders[place].try_send(++n));
    expect(waiting.get(), place);
  }
}

TEST_P(GoSelects, finds_the_only_ready_send_wherever_it_stands_and_moves_no_other_value) {
  auto [tx, rx] = open<std::unique_ptr<int>>(1);
  auto [full_tx, full_rx] = open<std::unique_ptr<int>>(0);
  auto [idle_tx, idle_rx] = open<int>(1);
  auto kept = std::make_unique<int>(-1);
  int n = 0;
  const auto check = [&](auto select) {
    auto value = std::make_unique<int>(++n);
    EXPECT_TRUE(select(value));
    EXPECT_EQ(value, nullptr);
    EXPECT_EQ(*kept, -1);
    EXPECT_EQ(**rx.try_recv(), n);
    EXPECT_TRUE(is_empty(full_rx.try_recv()));
  };
  for (int i = 0; i < 10; ++i) {  // at a random start
    check([&](std::unique_ptr<int>& value) {
      return select(giving(tx, value), giving(full_tx, kept), idle_rx).get().get<0>().has_value();
    });
    check([&](std::unique_ptr<int>& value) {
      return select(idle_rx, giving(tx, value), giving(full_tx, kept)).get().get<1>().has_value();
    });
    check([&](std::unique_ptr<int>& value) {
      return select(giving(full_tx, kept), idle_rx, giving(tx, value)).get().get<2>().has_value();
    });
    check([&](std::unique_ptr<int>& value) {
      return try_select(sending(full_tx, std::move(kept)), sending(tx, std::move(value)), idle_rx)
          ->get<1>()
          .has_value();
    });
  }
}

// One of the two is taken only after the other has become ready. Whoever just looks at one after the other may come to
// each at the wrong time; a select with a limit waits at both before it gives up.
template <class MakeReady>
void always_one_of_two_is_ready(MakeReady make_ready) {
  const std::size_t rounds = scaled(1000);
  for (std::size_t i = 0; i < rounds; ++i) {
    auto [tx1, rx1] = Conformance::open<int>(1);
    auto [tx2, rx2] = Conformance::open<int>(1);
    EXPECT_TRUE(tx1.try_send(1));
    bool found = false;
    run_together(2, [&, &tx2 = tx2, &rx1 = rx1, &rx2 = rx2](std::size_t who) {
      if (who == 0) {
        found = Conformance::select_for(0ms, rx1, rx2).get().has_value();
      } else {
        make_ready(tx2);
        (void)rx1.try_recv();
      }
    });
    ASSERT_TRUE(found) << "round " << i;
  }
}

TEST_P(GoSelects, without_time_finds_one_of_two_while_one_is_always_ready_by_a_message) {
  always_one_of_two_is_ready([](auto& tx) { EXPECT_TRUE(tx.try_send(1)); });
}

TEST_P(GoSelects, without_time_finds_one_of_two_while_one_is_always_ready_by_its_end) {
  always_one_of_two_is_ready([](auto& tx) { tx.close(); });
}

// --- select: who meets whom ---

TEST_P(GoSelects, every_kind_of_send_meets_every_kind_of_receive) {
  auto [tx, rx] = open<int>(0);
  auto [silent_tx, silent_rx] = open<int>(0);
  auto [deaf_tx, deaf_rx] = open<int>(0);
  int value = 0;
  int unsent = -1;
  const auto plain_send = [&] { return send(tx, value).get().has_value(); };
  const auto select_send = [&] { return select(giving(tx, value)).get().get<0>().has_value(); };
  const auto select_of_two_sends = [&] {
    return select(giving(deaf_tx, unsent), giving(tx, value)).get().get<1>().has_value();
  };
  const auto meet = [&](auto receive, auto result) {
    const auto meets = [&](auto send) {
      ++value;
      auto received = receive();
      until_receivers_wait(rx, 1);
      EXPECT_TRUE(send());
      EXPECT_EQ(result(received.get()), value);
    };
    meets(plain_send);
    meets(select_send);
    meets(select_of_two_sends);
  };
  meet([&] { return recv(rx); }, [](const auto& got) { return *got; });
  meet([&] { return select(rx); }, [](auto got) { return *got.template get<0>(); });
  meet([&] { return select(silent_rx, rx); }, [](auto got) { return *got.template get<1>(); });
  EXPECT_TRUE(is_empty(rx.try_recv()));
  EXPECT_TRUE(is_empty(deaf_rx.try_recv()));
  EXPECT_EQ(unsent, -1);
}

TEST_P(GoSelects, two_that_send_and_receive_on_one_channel_neither_meet_themselves_nor_stop) {
  for_each_capacity({0, 10}, [](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    const std::size_t rounds = scaled(500);
    run_together(2, [&, &tx = tx, &rx = rx](std::size_t p) {
      const int me = static_cast<int>(p);
      for (std::size_t i = 0; i < rounds; ++i) {
        int value = me;
        std::optional<int> received;
        if (p == 0 || i % 2 == 0) {
          auto got = select(giving(tx, value), rx).get();
          if (got.index() == 1) received = *got.get<1>();
        } else {
          auto got = select(rx, giving(tx, value)).get();
          if (got.index() == 0) received = *got.get<0>();
        }
        if (capacity == Capacity(0) && received) {
          EXPECT_NE(*received, me);
        }
      }
    });
    EXPECT_EQ(rx.stats().waiting_receivers, 0U);
    EXPECT_EQ(tx.stats().waiting_senders, 0U);
  });
}

// --- select: each value once ---

TEST_P(GoSelects, a_value_that_is_offered_to_four_channels_goes_into_one) {
  for_each_capacity({0, 1}, [](Capacity capacity) {
    const int count = static_cast<int>(scaled(1000));
    std::vector<SomeReceiver<int>> rxs;
    std::vector<SomeSender<int>> txs;
    for (int i = 0; i < 4; ++i) {
      auto [tx, rx] = open<int>(capacity);
      txs.push_back(std::move(tx));
      rxs.push_back(std::move(rx));
    }
    auto [out_tx, out_rx] = open<int>(0);
    std::vector<std::jthread> forwarders;
    for (auto& rx : rxs) {
      forwarders.emplace_back([rx = std::move(rx), out = out_tx.clone()]() mutable {
        for (const int n : rx) EXPECT_TRUE(out.blocking_send(n));
      });
    }
    out_tx.close();
    const std::jthread sender([txs = std::move(txs)]() mutable {
      for (int n = 0; n < count; ++n) {
        std::array<int, 4> value{n, n, n, n};
        auto got = select(giving(txs[0], value[0]), giving(txs[1], value[1]), giving(txs[2], value[2]),
                          giving(txs[3], value[3]))
                       .get();
        EXPECT_LT(got.index(), 4U);
      }
    });
    std::vector<int> received;
    for (const int n : out_rx) received.push_back(n);
    std::ranges::sort(received);
    ASSERT_EQ(received.size(), static_cast<std::size_t>(count));
    for (int n = 0; n < count; ++n) EXPECT_EQ(received[static_cast<std::size_t>(n)], n);
  });
}

TEST_P(GoSelects, four_channels_serve_plain_operations_and_selects_side_by_side) {
  const std::size_t each = scaled(500);
  std::vector<SomeSender<int>> txs;
  std::vector<SomeReceiver<int>> rxs;
  for (const std::size_t capacity : {0U, 0U, 2U, 3U}) {
    auto [tx, rx] = open<int>(capacity);
    txs.push_back(std::move(tx));
    rxs.push_back(std::move(rx));
  }
  std::atomic<std::size_t> received = 0;
  std::vector<std::jthread> receivers;
  for (const auto& rx : rxs) {
    receivers.emplace_back([&received, rx = rx.clone()]() mutable {
      for ([[maybe_unused]] const int n : rx) ++received;
    });
  }
  receivers.emplace_back([&received, rxs = std::move(rxs)]() mutable {
    while (!rxs.empty()) {  // one whose end has come is no longer looked at
      auto got = select(std::span(rxs)).get();
      if (got.result) {
        ++received;
      } else {
        rxs.erase(rxs.begin() + static_cast<std::ptrdiff_t>(got.index));
      }
    }
  });
  Crew senders(5);
  for (const auto& tx : txs) {
    senders.add([tx = tx.clone()]() mutable {
      for (std::size_t i = 0; i < each; ++i) EXPECT_TRUE(tx.blocking_send(0));
    });
  }
  senders.add([txs = std::move(txs)]() mutable {
    for (std::size_t i = 0; i < 4 * each; ++i) {
      std::array<int, 4> value{};
      (void)select(giving(txs[3], value[3]), giving(txs[2], value[2]), giving(txs[0], value[0]),
                   giving(txs[1], value[1]))
          .get();
    }
  });
  senders.join();
  receivers.clear();
  EXPECT_EQ(received.load(), 8 * each);
}

// --- select: fairness ---

// In one thread that selects again and again: the ways of waiting would have a thread of its own for each select.
TEST_P(GoSelects, of_two_that_are_always_ready_beside_two_that_never_are_both_are_received_from) {
  constexpr std::size_t kTrials = 200;
  auto [idle_tx1, idle_rx1] = open<int>(0);
  auto [idle_tx2, idle_rx2] = open<int>(0);
  auto [tx1, rx1] = open<int>(kTrials);
  auto [tx2, rx2] = open<int>(kTrials);
  (void)fill(tx1);
  (void)fill(tx2);
  std::array<std::size_t, 4> served{};
  for (std::size_t i = 0; i < kTrials; ++i) ++served[blocking_select(idle_rx1, idle_rx2, rx1, rx2).index()];
  EXPECT_EQ(served[0] + served[1], 0U);
  // From a random start the first of the two is found three times in four: these are six standard deviations off.
  EXPECT_GE(served[2], 113U);
  EXPECT_GE(served[3], 13U);
}

TEST_P(GoSelects, of_two_values_that_one_channel_has_room_for_each_is_sent_now_and_then) {
  constexpr std::size_t kTrials = 200;
  for_each_capacity({0, kTrials}, [](Capacity capacity) {
    auto [tx, rx] = open<int>(capacity);
    std::array<std::size_t, 2> received{};
    {
      const std::jthread receiver([&, &rx = rx] {
        for (std::size_t i = 0; i < kTrials; ++i) ++received[static_cast<std::size_t>(*rx.blocking_recv())];
      });
      for (std::size_t i = 0; i < kTrials; ++i) {
        const auto got = blocking_select(sending(tx, 0), sending(tx, 1));
        EXPECT_LT(got.index(), 2U);
      }
    }
    EXPECT_GE(received[0], kTrials / 10);
    EXPECT_GE(received[1], kTrials / 10);
  });
}

// --- streams on demand ---

// Power series whose coefficients are computed when they are asked for: each is a thread behind a rendezvous, which
// ends when nobody asks any more.
class PowerSeries {
 public:
  using Series = SomeReceiver<long>;

  Series ones() {
    return compute([](auto& tx) {
      while (tx.blocking_send(1)) continue;
    });
  }
  // n * the nth coefficient, from the second on.
  Series derivative(Series of) {
    return compute([of = std::move(of)](auto& tx) mutable {
      (void)of.blocking_recv();
      for (long n = 1;; ++n) {
        const auto next = of.blocking_recv();
        if (!next || !tx.blocking_send(n * *next)) return;
      }
    });
  }
  Series product(Series a, Series b) {
    return compute([a = std::move(a), b = std::move(b)](auto& tx) mutable {
      std::vector<long> as;
      std::vector<long> bs;
      for (;;) {
        auto next_a = a.blocking_recv();
        auto next_b = b.blocking_recv();
        if (!next_a || !next_b) return;
        as.push_back(*next_a);
        bs.push_back(*next_b);
        long sum = 0;
        for (std::size_t i = 0; i < as.size(); ++i) sum += as[i] * bs[as.size() - 1 - i];
        if (!tx.blocking_send(sum)) return;
      }
    });
  }
  // The same series for two readers, each at its own pace: whoever asks is served, and one who leaves is forgotten.
  std::pair<Series, Series> split(Series of) {
    auto [tx1, rx1] = Conformance::open<long>(0);
    auto [tx2, rx2] = Conformance::open<long>(0);
    threads_.emplace_back([of = std::move(of), tx1 = std::move(tx1), tx2 = std::move(tx2)]() mutable {
      std::vector<long> known;
      std::size_t at1 = 0;
      std::size_t at2 = 0;
      for (bool is1 = true, is2 = true; is1 || is2;) {
        while (known.size() <= std::max(at1, at2)) {
          const auto next = of.blocking_recv();
          if (!next) return;
          known.push_back(*next);
        }
        if (is1 && is2) {
          auto got = Conformance::select(giving(tx1, known[at1]), giving(tx2, known[at2])).get();
          if (got.index() == 0) {
            is1 = got.get<0>().has_value();
            ++at1;
          } else {
            is2 = got.get<1>().has_value();
            ++at2;
          }
        } else if (is1) {
          is1 = tx1.blocking_send(known[at1++]).has_value();
        } else {
          is2 = tx2.blocking_send(known[at2++]).has_value();
        }
      }
    });
    return {std::move(rx1), std::move(rx2)};
  }

 private:
  template <class Body>
  Series compute(Body body) {
    auto [tx, rx] = Conformance::open<long>(0);
    threads_.emplace_back([tx = std::move(tx), body = std::move(body)]() mutable { body(tx); });
    return std::move(rx);
  }

  std::vector<std::jthread> threads_;
};

template <class Rx>
std::vector<long> first(std::size_t count, Rx& series) {
  std::vector<long> coefficients;
  while (coefficients.size() < count) coefficients.push_back(*series.blocking_recv());
  return coefficients;
}

TEST_P(GoSelects, series_that_are_computed_on_demand_end_when_nobody_demands) {
  PowerSeries power;
  auto [a, b] = power.split(power.ones());
  auto [square1, square2] = power.split(power.product(std::move(a), std::move(b)));  // 1 / (1 - x)^2
  auto derived = power.derivative(std::move(square2));
  EXPECT_EQ(first(4, square1), (std::vector<long>{1, 2, 3, 4}));
  EXPECT_EQ(first(6, derived), (std::vector<long>{2, 6, 12, 20, 30, 42}));
  square1.close();
  EXPECT_EQ(first(1, derived), (std::vector<long>{56}));
}  // closes what is left: every thread ends, and is joined

}  // namespace
