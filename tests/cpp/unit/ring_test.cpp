#include <deque>
#include <memory>
#include <random>

#include <gtest/gtest.h>
#include <klaw/channels/detail/ring.hpp>

#include "support/payload.hpp"

namespace {

using klaw::channels::detail::Ring;
using klaw_test::Ledger;
using klaw_test::Tracked;

template <class T>
void push(Ring<T>& ring, T value) {
  ring.reserve(ring.size() + 1);
  ring.push_back(std::move(value));
}

TEST(Ring, a_new_one_is_empty) {
  const Ring<int> ring;
  EXPECT_TRUE(ring.empty());
  EXPECT_EQ(ring.size(), 0U);
}

TEST(Ring, gives_values_back_in_the_order_they_came) {
  Ring<int> ring;
  for (int i = 0; i < 100; ++i) push(ring, i);
  EXPECT_EQ(ring.size(), 100U);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(ring.pop_front(), i);
  EXPECT_TRUE(ring.empty());
}

TEST(Ring, keeps_the_order_when_it_grows_while_it_wraps_around) {
  for (int offset = 0; offset < 9; ++offset) {
    Ring<int> ring;
    for (int i = 0; i < offset; ++i) push(ring, -1);
    for (int i = 0; i < offset; ++i) EXPECT_EQ(ring.pop_front(), -1);
    for (int i = 0; i < 40; ++i) push(ring, i);
    for (std::size_t i = 0; i < 40; ++i) EXPECT_EQ(ring[i], static_cast<int>(i));
    for (int i = 0; i < 40; ++i) EXPECT_EQ(ring.pop_front(), i);
  }
}

TEST(Ring, behaves_as_a_deque_over_random_steps) {
  std::mt19937 random(7);
  Ring<int> ring;
  std::deque<int> model;
  for (int step = 0; step < 100'000; ++step) {
    if (random() % 5 < (step / 10'000 % 2 == 0 ? 3U : 2U)) {
      push(ring, step);
      model.push_back(step);
    } else if (!model.empty()) {
      ASSERT_EQ(ring.pop_front(), model.front());
      model.pop_front();
      if (random() % 8 == 0) ring.shrink_if_empty();
    }
    ASSERT_EQ(ring.size(), model.size());
  }
}

TEST(Ring, holds_what_can_only_be_moved) {
  Ring<std::unique_ptr<int>> ring;
  for (int i = 0; i < 20; ++i) push(ring, std::make_unique<int>(i));
  EXPECT_EQ(*ring.pop_front(), 0);
}

TEST(Ring, destroys_each_value_once) {
  Ledger ledger(30);
  {
    Ring<Tracked> ring;
    for (std::size_t i = 0; i < 30; ++i) push(ring, Tracked(ledger, i));
    for (std::size_t i = 0; i < 10; ++i) EXPECT_EQ(ring.pop_front().id(), i);
    EXPECT_EQ(ledger.destroyed(9), 1);
    EXPECT_EQ(ledger.destroyed(10), 0);
  }
  EXPECT_TRUE(ledger.each_destroyed_once());
}

TEST(Ring, swaps_all_of_its_state) {
  Ring<int> a;
  Ring<int> b;
  push(a, 1);
  push(b, 2);
  push(b, 3);
  a.swap(b);
  EXPECT_EQ(a.size(), 2U);
  EXPECT_EQ(a.pop_front(), 2);
  EXPECT_EQ(b.pop_front(), 1);
  EXPECT_TRUE(b.empty());
}

TEST(Ring, works_on_after_it_gave_a_large_buffer_back) {
  Ring<int> ring;
  for (int i = 0; i < 50'000; ++i) push(ring, i);
  for (int i = 0; i < 50'000; ++i) EXPECT_EQ(ring.pop_front(), i);
  ring.shrink_if_empty();
  push(ring, 1);
  EXPECT_EQ(ring.pop_front(), 1);
}

TEST(Ring, keeps_over_aligned_values_aligned) {
  struct alignas(128) Wide {
    int value = 0;
  };
  Ring<Wide> ring;
  for (int i = 0; i < 9; ++i) push(ring, Wide{i});
  for (std::size_t i = 0; i < 9; ++i) EXPECT_EQ(reinterpret_cast<std::uintptr_t>(&ring[i]) % 128, 0U);
}

}  // namespace
