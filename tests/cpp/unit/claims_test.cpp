#include <gtest/gtest.h>
#include <klaw/channels/detail/claims.hpp>

namespace {

using klaw::channels::detail::Claims;

TEST(Claims, counts_by_handle) {
  Claims claims;
  claims.add(1);
  claims.add(2);
  claims.add(1);
  EXPECT_EQ(claims.total(), 3U);
  EXPECT_EQ(claims.of(1), 2U);
  EXPECT_EQ(claims.of(2), 1U);
  EXPECT_EQ(claims.of(3), 0U);
  EXPECT_FALSE(claims.end(1));
  EXPECT_FALSE(claims.end(1));
  EXPECT_EQ(claims.of(1), 0U);
  EXPECT_EQ(claims.of(2), 1U);
  EXPECT_EQ(claims.total(), 1U);
}

TEST(Claims, the_last_claim_of_a_closed_handle_ends_it) {
  Claims claims;
  claims.add(1);
  claims.add(1);
  claims.add(2);
  EXPECT_TRUE(claims.outlive(1));
  EXPECT_FALSE(claims.end(1));
  EXPECT_FALSE(claims.end(2));
  EXPECT_TRUE(claims.end(1));
}

TEST(Claims, a_handle_without_claims_ends_when_it_closes) {
  Claims claims;
  EXPECT_FALSE(claims.outlive(1));
  claims.add(1);
  EXPECT_FALSE(claims.end(1));
  EXPECT_FALSE(claims.outlive(1));
  EXPECT_EQ(claims.total(), 0U);
}

}  // namespace
