#include <vector>

#include <gtest/gtest.h>
#include <klaw/channels/detail/intrusive_list.hpp>

namespace {

using klaw::channels::detail::IntrusiveList;
using klaw::channels::detail::ListHook;

struct Node : ListHook {
  explicit Node(int v) : value(v) {}
  int value;
};

std::vector<int> drain(IntrusiveList<Node>& list) {
  std::vector<int> values;
  while (!list.empty()) values.push_back(list.pop_front().value);
  return values;
}

TEST(IntrusiveList, gives_elements_in_the_order_they_were_linked) {
  Node a{1}, b{2}, c{3};
  IntrusiveList<Node> list;
  list.push_back(a);
  list.push_back(b);
  list.push_back(c);
  EXPECT_EQ(list.size(), 3U);
  EXPECT_EQ(list.front().value, 1);
  EXPECT_EQ(drain(list), (std::vector{1, 2, 3}));
  EXPECT_EQ(list.size(), 0U);
}

TEST(IntrusiveList, unlinks_from_anywhere) {
  for (int gone = 1; gone <= 3; ++gone) {
    Node a{1}, b{2}, c{3};
    Node* const nodes[] = {&a, &b, &c};
    IntrusiveList<Node> list;
    for (Node* node : nodes) list.push_back(*node);
    list.remove(*nodes[gone - 1]);
    EXPECT_FALSE(nodes[gone - 1]->is_linked());
    std::vector<int> expected;
    for (int i = 1; i <= 3; ++i) {
      if (i != gone) expected.push_back(i);
    }
    EXPECT_EQ(drain(list), expected);
  }
}

TEST(IntrusiveList, an_element_knows_whether_it_is_linked) {
  Node a{1};
  IntrusiveList<Node> list;
  EXPECT_FALSE(a.is_linked());
  list.push_back(a);
  EXPECT_TRUE(a.is_linked());
  list.pop_front();
  EXPECT_FALSE(a.is_linked());
}

TEST(IntrusiveList, an_element_can_be_linked_again) {
  Node a{1}, b{2};
  IntrusiveList<Node> list;
  list.push_back(a);
  list.push_back(b);
  list.push_back(list.pop_front());
  EXPECT_EQ(drain(list), (std::vector{2, 1}));
}

TEST(IntrusiveList, a_walk_may_remove_what_it_is_at) {
  Node a{1}, b{2}, c{3}, d{4};
  IntrusiveList<Node> list;
  for (Node* node : {&a, &b, &c, &d}) list.push_back(*node);
  std::vector<int> seen;
  list.for_each([&](Node& node) {
    seen.push_back(node.value);
    if (node.value % 2 == 0) list.remove(node);
  });
  EXPECT_EQ(seen, (std::vector{1, 2, 3, 4}));
  EXPECT_EQ(drain(list), (std::vector{1, 3}));
}

TEST(IntrusiveList, a_search_ends_at_what_it_finds_and_may_remove_what_it_passes) {
  Node a{1}, b{2}, c{3}, d{4};
  IntrusiveList<Node> list;
  for (Node* node : {&a, &b, &c, &d}) list.push_back(*node);
  const auto removing_below = [&](int limit) {
    return list.find_if([&, limit](Node& node) {
      list.remove(node);
      return node.value >= limit;
    });
  };
  EXPECT_EQ(removing_below(3), &c);
  EXPECT_FALSE(c.is_linked());
  EXPECT_EQ(list.find_if([](const Node& node) { return node.value == 3; }), nullptr);
  EXPECT_EQ(drain(list), (std::vector{4}));
}

TEST(IntrusiveList, an_element_moves_as_an_unlinked_one) {
  Node a{1};
  const Node b(std::move(a));
  EXPECT_EQ(b.value, 1);
  EXPECT_FALSE(b.is_linked());
}

}  // namespace
