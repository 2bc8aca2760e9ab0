#include <memory>
#include <string>
#include <type_traits>

#include <gtest/gtest.h>
#include <klaw/errors.hpp>

namespace {

using namespace klaw;

TEST(Errors, messages_are_those_of_the_contract) {
  EXPECT_EQ(message(ChannelClosed{}), "Channel closed");
  EXPECT_EQ(message(ChannelClosed{.kind = CloseKind::peer_died, .reason = "disk full"}), "disk full");
  EXPECT_EQ(message(ChannelFull{7}), "Channel full (capacity=7)");
  EXPECT_EQ(message(ChannelEmpty{}), "Channel empty");
  EXPECT_NE(message(Lagged{12}).find("12"), std::string::npos);
  EXPECT_NE(message(AlreadySent{}).find("already sent"), std::string::npos);
  EXPECT_FALSE(message(NoReceivers{}).empty());
  EXPECT_EQ(message(InvalidArgument{"capacity must not be negative"}), "capacity must not be negative");
}

TEST(Errors, a_backend_error_names_backend_actor_and_namespace) {
  const ChannelBackendError error{"connection lost", "ray", "channel_x", "klaw"};
  EXPECT_EQ(message(error), "[ray] actor='channel_x' ns='klaw' connection lost");
  EXPECT_EQ(message(ChannelBackendError{"no cluster", "ray", std::nullopt, std::nullopt}), "[ray] no cluster");
  EXPECT_EQ(message(ChannelClosed{CloseKind::backend, "ignored", error}), message(error));
}

TEST(Errors, a_variant_speaks_for_what_it_holds) {
  EXPECT_EQ(message(SendError(ChannelFull{1})), "Channel full (capacity=1)");
  EXPECT_EQ(message(RecvError(ChannelEmpty{})), "Channel empty");
  EXPECT_EQ(message(ChannelError(InvalidArgument{"no"})), "no");
}

TEST(Errors, equality_compares_fields_but_not_the_kind_of_closing) {
  EXPECT_EQ((ChannelClosed{.kind = CloseKind::ended}), (ChannelClosed{.kind = CloseKind::handle_closed}));
  EXPECT_NE((ChannelClosed{.reason = "a"}), (ChannelClosed{.reason = "b"}));
  EXPECT_EQ(ChannelFull{3}, ChannelFull{3});
  EXPECT_NE(ChannelFull{3}, ChannelFull{4});
  EXPECT_EQ(ChannelEmpty{}, ChannelEmpty{});
  EXPECT_NE(Lagged{1}, Lagged{2});
}

TEST(Errors, only_an_orderly_kind_ends_an_iteration_quietly) {
  EXPECT_TRUE(is_orderly(CloseKind::ended));
  EXPECT_TRUE(is_orderly(CloseKind::shutdown));
  EXPECT_TRUE(is_orderly(CloseKind::handle_closed));
  EXPECT_FALSE(is_orderly(CloseKind::peer_gone));
  EXPECT_FALSE(is_orderly(CloseKind::peer_died));
  EXPECT_FALSE(is_orderly(CloseKind::deleted));
  EXPECT_FALSE(is_orderly(CloseKind::backend));
}

TEST(Errors, each_kind_has_its_name) {
  EXPECT_EQ(to_string(CloseKind::ended), "ended");
  EXPECT_EQ(to_string(CloseKind::handle_closed), "handle_closed");
  EXPECT_EQ(to_string(CloseKind::peer_gone), "peer_gone");
  EXPECT_EQ(to_string(CloseKind::peer_died), "peer_died");
  EXPECT_EQ(to_string(CloseKind::shutdown), "shutdown");
  EXPECT_EQ(to_string(CloseKind::deleted), "deleted");
  EXPECT_EQ(to_string(CloseKind::backend), "backend");
}

// The value that the matching exception carries, caught as `Exception`.
template <class Exception, class Value>
void expect_thrown_as(const Value& value) {
  try {
    throw_error(value);
    FAIL() << "nothing thrown";
  } catch (const Exception& e) {
    EXPECT_EQ(e.error(), value);
    EXPECT_EQ(e.what(), message(value));
  }
}

TEST(Errors, each_value_has_its_exception_which_carries_it) {
  expect_thrown_as<ChannelClosedError>(ChannelClosed{.kind = CloseKind::peer_died, .reason = "gone"});
  expect_thrown_as<ChannelFullError>(ChannelFull{5});
  expect_thrown_as<ChannelEmptyError>(ChannelEmpty{});
  expect_thrown_as<LaggedError>(Lagged{5});
  expect_thrown_as<AlreadySentError>(AlreadySent{});
  expect_thrown_as<NoReceiversError>(NoReceivers{});
  expect_thrown_as<InvalidArgumentError>(InvalidArgument{"bad"});
}

TEST(Errors, every_exception_is_a_channel_exception) {
  static_assert(std::is_base_of_v<std::runtime_error, ChannelException>);
  static_assert(std::is_base_of_v<ChannelException, ChannelClosedError>);
  static_assert(std::is_base_of_v<ChannelException, ChannelFullError>);
  static_assert(std::is_base_of_v<ChannelException, ChannelEmptyError>);
  static_assert(std::is_base_of_v<ChannelException, LaggedError>);
  static_assert(std::is_base_of_v<ChannelException, AlreadySentError>);
  static_assert(std::is_base_of_v<ChannelException, NoReceiversError>);
  static_assert(std::is_base_of_v<ChannelException, InvalidArgumentError>);
  static_assert(std::is_base_of_v<ChannelClosedError, ChannelBackendErrorException>);
}

TEST(Errors, a_backend_error_is_thrown_as_a_kind_of_closed) {
  const ChannelBackendError error{"lost", "ray", "a", "n"};
  const auto expect_backend_error = [&](const auto& thrown) {
    try {
      throw_error(thrown);
      FAIL() << "nothing thrown";
    } catch (const ChannelClosedError& e) {
      EXPECT_NE(dynamic_cast<const ChannelBackendErrorException*>(&e), nullptr);
      EXPECT_EQ(e.error().kind, CloseKind::backend);
      EXPECT_EQ(e.error().backend_error, error);
    }
  };
  expect_backend_error(error);
  expect_backend_error(ChannelClosed{CloseKind::backend, std::nullopt, error});
  expect_backend_error(ChannelError(error));
}

TEST(ValueOrThrow, gives_the_value) {
  EXPECT_EQ(value_or_throw(Result<int, ChannelClosed>(3)), 3);
  EXPECT_NO_THROW(value_or_throw(Result<void, SendError>()));
}

TEST(ValueOrThrow, gives_a_move_only_value) {
  auto value = value_or_throw(Result<std::unique_ptr<int>, RecvError>(std::make_unique<int>(3)));
  EXPECT_EQ(*value, 3);
}

TEST(ValueOrThrow, throws_the_exception_of_the_error_also_out_of_a_variant) {
  EXPECT_THROW(value_or_throw(Result<int, ChannelClosed>(std::unexpected(ChannelClosed{}))), ChannelClosedError);
  EXPECT_THROW(value_or_throw(Result<void, SendError>(std::unexpected(SendError(ChannelFull{1})))), ChannelFullError);
  EXPECT_THROW(value_or_throw(Result<int, RecvError>(std::unexpected(RecvError(ChannelEmpty{})))), ChannelEmptyError);
  EXPECT_THROW(value_or_throw(Result<int, ChannelError>(std::unexpected(ChannelError(InvalidArgument{"x"})))),
               InvalidArgumentError);
}

}  // namespace
