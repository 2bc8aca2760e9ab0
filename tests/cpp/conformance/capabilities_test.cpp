// The concepts, and the table of what each flavour offers: it says no more and no less than the handles have.
#include <chrono>
#include <iterator>
#include <memory>
#include <ranges>
#include <string>
#include <type_traits>
#include <vector>

#include <gtest/gtest.h>
#include <klaw/channels.hpp>

#include "support/flavours.hpp"
#include "support/payload.hpp"
#include "support/ways.hpp"

namespace {

using namespace klaw_test;
namespace channels = klaw::channels;
using std::chrono_literals::operator""ms;

template <class F>
using Tx = typename F::template Sender<int>;
template <class F>
using Rx = typename F::template Receiver<int>;

template <class H>
concept Clones = requires(const H& h) {
  { h.clone() } -> std::same_as<H>;
};
template <class Tx, class Rx>
concept Timed = requires(Tx tx, Rx rx, int v) {
  tx.send_for(v, 1ms);
  tx.blocking_send_for(v, 1ms);
  rx.recv_for(1ms);
  rx.blocking_recv_for(1ms);
};
template <class Tx, class Rx>
concept Blocking = requires(Tx tx, Rx rx, int v) {
  { tx.blocking_send(v) } -> std::same_as<Result<void, ChannelClosed>>;
  { rx.blocking_recv() } -> std::same_as<Result<int, ChannelClosed>>;
};
template <class Tx, class Rx>
concept Batches = channels::ReferenceSender<Tx> && channels::ReferenceReceiver<Rx> &&
                  requires(Tx tx, Rx rx, std::vector<int> values) {
                    { tx.blocking_send_batch(values) } -> std::same_as<Result<void, SendError>>;
                    { tx.try_send_batch(values) } -> std::same_as<Result<void, SendError>>;
                    { rx.blocking_recv_batch(1) } -> std::same_as<Result<std::vector<int>, ChannelClosed>>;
                    { rx.try_recv_batch(1) } -> std::same_as<Result<std::vector<int>, RecvError>>;
                  };
template <class H>
concept WaitsForClose = requires(H h) {
  h.closed().operator co_await();
  { h.blocking_closed() } -> std::same_as<Result<void, ChannelClosed>>;
};
template <class Tx, class Rx>
concept Observes = requires(const Tx& tx, const Rx& rx) {
  { tx.stats() } -> std::same_as<channels::ChannelStats>;
  { rx.stats() } -> std::same_as<channels::ChannelStats>;
  { tx.capacity() } -> std::same_as<std::optional<std::size_t>>;
  { rx.size() } -> std::same_as<std::size_t>;
};
template <class Rx>
concept Iterates = requires(Rx rx) {
  { *rx.begin() } -> std::same_as<int&&>;
  rx.begin() == rx.end();
};
template <class Rx>
concept Selects = requires(Rx rx) { channels::select(rx, rx).operator co_await(); };
template <class Tx>
concept Permits = requires(Tx tx) {
  tx.reserve().operator co_await();
  tx.reserve_for(1ms).operator co_await();
  { tx.blocking_reserve() } -> std::same_as<Result<channels::Permit<int>, ChannelClosed>>;
  { tx.blocking_reserve_for(1ms) } -> std::same_as<Result<channels::Permit<int>, SendError>>;
  { tx.try_reserve() } -> std::same_as<Result<channels::Permit<int>, SendError>>;
};
template <class Rx>
concept Acknowledges = requires(Rx rx) {
  rx.recv_acked().operator co_await();
  rx.recv_acked_for(1ms).operator co_await();
  { rx.blocking_recv_acked() } -> std::same_as<Result<channels::Delivery<int>, ChannelClosed>>;
  { rx.blocking_recv_acked_for(1ms) } -> std::same_as<Result<channels::Delivery<int>, RecvError>>;
  { rx.try_recv_acked() } -> std::same_as<Result<channels::Delivery<int>, RecvError>>;
};
template <class H>
concept Weak = requires(const H& h, typename H::Weak weak) {
  { h.downgrade() } -> std::same_as<typename H::Weak>;
  { weak.upgrade() } -> std::same_as<std::optional<H>>;
};
template <class H>
concept ShutsDown = requires(H h) {
  { h.shutdown() } -> std::same_as<Result<void, ChannelClosed>>;
  { h.shutdown(true, "reason") } -> std::same_as<Result<void, ChannelClosed>>;
};

template <class F>
class Flavour : public ::testing::Test {};
struct FlavourNames {
  template <class F>
  static std::string GetName(int) {
    return F::name;
  }
};
using Flavours = ::testing::Types<Local, Any>;
TYPED_TEST_SUITE(Flavour, Flavours, FlavourNames);

TYPED_TEST(Flavour, models_the_concepts) {
  static_assert(channels::Sender<Tx<TypeParam>>);
  static_assert(channels::Receiver<Rx<TypeParam>>);
  static_assert(channels::ReferenceSender<Tx<TypeParam>>);
  static_assert(channels::ReferenceReceiver<Rx<TypeParam>>);
  static_assert(!channels::Sender<Rx<TypeParam>>);
  static_assert(!channels::Receiver<Tx<TypeParam>>);
}

TYPED_TEST(Flavour, models_the_concepts_for_values_that_can_only_be_moved) {
  static_assert(channels::Sender<typename TypeParam::template Sender<Tracked>>);
  static_assert(channels::Receiver<typename TypeParam::template Receiver<Tracked>>);
  static_assert(channels::ReferenceSender<typename TypeParam::template Sender<std::unique_ptr<int>>>);
  static_assert(channels::ReferenceReceiver<typename TypeParam::template Receiver<std::unique_ptr<int>>>);
}

TYPED_TEST(Flavour, offers_what_its_table_says_and_nothing_else) {
  constexpr Capabilities table = TypeParam::capabilities;
  using S = Tx<TypeParam>;
  using R = Rx<TypeParam>;
  static_assert(table.clones_senders == Clones<S>);
  static_assert(table.clones_receivers == Clones<R>);
  static_assert(table.timed == Timed<S, R>);
  static_assert(table.blocking == Blocking<S, R>);
  static_assert(table.batches == Batches<S, R>);
  static_assert(table.waits_for_close == (WaitsForClose<S> && WaitsForClose<R>));
  static_assert(table.observes == Observes<S, R>);
  static_assert(table.iterates == Iterates<R>);
  static_assert(table.selects == Selects<R>);
  static_assert(table.permits == Permits<S>);
  static_assert(table.acknowledges == Acknowledges<R>);
  static_assert(table.weak_handles == (Weak<S> && Weak<R>));
  static_assert(table.shuts_down == (ShutsDown<S> && ShutsDown<R>));
}

TYPED_TEST(Flavour, handles_move_and_do_not_copy) {
  static_assert(std::is_nothrow_move_constructible_v<Tx<TypeParam>>);
  static_assert(std::is_nothrow_move_assignable_v<Tx<TypeParam>>);
  static_assert(!std::is_copy_constructible_v<Tx<TypeParam>>);
  static_assert(!std::is_copy_assignable_v<Rx<TypeParam>>);
  static_assert(!std::is_default_constructible_v<Tx<TypeParam>>);
}

template <class Awaited>
concept AwaitableAsLvalue = requires(Awaited& awaited) { awaited.operator co_await(); };

TYPED_TEST(Flavour, an_awaitable_is_awaited_in_the_expression_that_makes_it) {
  static_assert(!AwaitableAsLvalue<decltype(std::declval<Rx<TypeParam>&>().recv())>);
  static_assert(!AwaitableAsLvalue<decltype(std::declval<Tx<TypeParam>&>().send(1))>);
}

TYPED_TEST(Flavour, any_range_of_values_is_a_batch) {
  auto [tx, rx] = TypeParam::template open<int>(100);
  const int array[] = {1, 2};
  EXPECT_TRUE(tx.try_send_batch(array));
  EXPECT_TRUE(tx.try_send_batch(std::views::iota(3, 5)));
  auto odd = std::views::iota(0, 8) | std::views::filter([](int i) { return i % 2 == 1; });
  EXPECT_TRUE(tx.try_send_batch(odd));
  EXPECT_TRUE(tx.try_send_batch(std::views::iota(8) | std::views::take(1)));
  const std::vector<int> vector{9};
  EXPECT_TRUE(tx.try_send_batch(vector));
  EXPECT_EQ(rx.try_recv_batch(100), (std::vector{1, 2, 3, 4, 1, 3, 5, 7, 8, 9}));
}

TYPED_TEST(Flavour, carries_bools_singly_and_in_batches) {
  auto [tx, rx] = TypeParam::template open<bool>(10);
  EXPECT_TRUE(tx.try_send(true));
  EXPECT_TRUE(tx.try_send_batch(std::vector<bool>{false, true}));
  EXPECT_EQ(rx.try_recv(), true);
  EXPECT_EQ(rx.try_recv_batch(5), (std::vector<bool>{false, true}));
}

// --- the factory ---

TEST(Factory, capacity_defaults_to_ten_thousand) {
  auto [tx, rx] = channels::channel<int>();
  EXPECT_EQ(tx.capacity(), 10'000U);
  auto made = channels::channel<int>(channels::ChannelOptions{});
  ASSERT_TRUE(made);
  EXPECT_EQ(made->rx.capacity(), 10'000U);
}

TEST(Factory, braces_mean_options) {
  static_assert(
      std::is_same_v<decltype(channels::channel<int>({})), Result<channels::ChannelPair<int>, klaw::ChannelError>>);
  EXPECT_EQ(channels::channel<int>({.capacity = 3})->tx.capacity(), 3U);
}

TEST(Factory, a_negative_capacity_is_rejected) {
  EXPECT_THROW((void)channels::channel<int>(-1), std::invalid_argument);
  EXPECT_THROW((void)channels::channel<int>(-1LL), std::invalid_argument);
  const auto made = channels::channel<int>({.capacity = -1});
  ASSERT_FALSE(made);
  ASSERT_TRUE(std::holds_alternative<klaw::InvalidArgument>(made.error()));
  EXPECT_NE(message(made.error()).find("capacity"), std::string::npos);
}

TEST(Factory, unbounded_ignores_the_capacity) {
  const auto made = channels::channel<int>({.capacity = -1, .unbounded = true});
  ASSERT_TRUE(made);
  EXPECT_EQ(made->tx.capacity(), std::nullopt);
  EXPECT_EQ(channels::unbounded_channel<int>().tx.capacity(), std::nullopt);
}

TEST(Factory, a_backend_that_is_not_there_is_a_clear_error) {
  const auto made = channels::channel<int>({.backend = channels::Backend::ray});
  ASSERT_FALSE(made);
  ASSERT_TRUE(std::holds_alternative<klaw::ChannelBackendError>(made.error()));
  EXPECT_EQ(std::get<klaw::ChannelBackendError>(made.error()).backend, "ray");
}

TEST(Factory, named_channels_are_refused_by_the_local_backend) {
  const channels::ChannelPlace local{.backend = channels::Backend::local};
  const auto expect_refused = [](const auto& result, const std::string& call) {
    ASSERT_FALSE(result);
    ASSERT_TRUE(std::holds_alternative<klaw::InvalidArgument>(result.error()));
    EXPECT_EQ(message(result.error()), call + "() only implemented for backend='ray'");
  };
  expect_refused(channels::get_channel<int>("x", local), "get_channel");
  expect_refused(channels::delete_channel("x", local), "delete_channel");
  expect_refused(channels::list_channels(local), "list_channels");
}

TEST(SameChannel, is_told_across_flavours_and_sides) {
  auto [tx, rx] = channels::channel<int>(1);
  auto [other_tx, other_rx] = channels::channel<int>(1);
  EXPECT_TRUE(tx.same_channel(rx));
  EXPECT_TRUE(tx.same_channel(tx.clone()));
  EXPECT_FALSE(tx.same_channel(other_rx));
  auto moved = std::move(tx);
  EXPECT_FALSE(tx.same_channel(moved));  // NOLINT(bugprone-use-after-move): what is tested
  EXPECT_FALSE(tx.same_channel(tx));
}

}  // namespace
