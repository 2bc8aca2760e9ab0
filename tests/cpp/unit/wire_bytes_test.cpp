#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <dataplane/wire/bytes.hpp>
#include <gtest/gtest.h>

namespace {

using klaw::dataplane::Bytes;

TEST(Bytes, hold_what_they_were_made_of) {
  const std::string content("with a \0 inside", 15);
  EXPECT_EQ(Bytes(content).view(), content);
}

TEST(Bytes, of_nothing_are_empty) {
  for (const Bytes& bytes : {Bytes(), Bytes("")}) {
    EXPECT_TRUE(bytes.empty());
    EXPECT_EQ(bytes.size(), 0U);
    EXPECT_EQ(bytes.view(), "");
  }
}

TEST(Bytes, are_written_in_place_by_filled) {
  const Bytes bytes = Bytes::filled(3, [](std::byte* begin) { std::memcpy(begin, "abc", 3); });
  EXPECT_EQ(bytes.view(), "abc");
  EXPECT_TRUE(Bytes::filled(0, [](std::byte* /*begin*/) { FAIL() << "there is nothing to fill"; }).empty());
}

TEST(Bytes, are_shared_by_copies) {
  const Bytes one("content");
  const Bytes other = one;  // NOLINT(performance-unnecessary-copy-initialization): the copy is what is tested
  EXPECT_EQ(other.data(), one.data());
}

TEST(Bytes, outlive_the_one_they_were_copied_from) {
  Bytes copy;
  {
    const Bytes original("content");
    copy = original;
  }
  EXPECT_EQ(copy.view(), "content");
}

TEST(Bytes, go_with_a_move) {
  Bytes from("content");
  const char* const data = from.data();
  const Bytes to = std::move(from);
  EXPECT_EQ(to.data(), data);
  EXPECT_TRUE(from.empty());  // NOLINT(bugprone-use-after-move): Bytes promise it
}

TEST(Bytes, survive_their_assignment_to_themselves) {
  Bytes bytes("content");
  const Bytes& same = bytes;
  bytes = same;
  EXPECT_EQ(bytes.view(), "content");
}

TEST(Bytes, are_equal_by_content) {
  EXPECT_EQ(Bytes("a"), Bytes("a"));
  EXPECT_NE(Bytes("a"), Bytes("b"));
  EXPECT_NE(Bytes("a"), Bytes());
  EXPECT_EQ(Bytes(), Bytes(""));
}

TEST(Bytes, may_be_copied_and_dropped_by_many_threads) {
  const Bytes bytes("content");
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([bytes] {
      for (int n = 0; n < 10'000; ++n) {
        const Bytes copy = bytes;  // NOLINT(performance-unnecessary-copy-initialization): the copy is what is tested
        ASSERT_EQ(copy.size(), 7U);
      }
    });
  }
  std::ranges::for_each(threads, &std::thread::join);
  EXPECT_EQ(bytes.view(), "content");
}

}  // namespace
