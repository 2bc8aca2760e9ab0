// Oneshot channels: one value, by every way of waiting; close, cancel and time limits; what becomes of the value.
#include <chrono>
#include <concepts>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <gtest/gtest.h>
#include <klaw/channels/oneshot.hpp>

#include "support/payload.hpp"
#include "support/threads.hpp"
#include "support/ways.hpp"

namespace {

using namespace klaw_test;
using namespace std::chrono_literals;
using klaw::AlreadySent;
using klaw::OneshotSendError;
using klaw::channels::oneshot;
using klaw::channels::OneshotReceiver;
using klaw::channels::OneshotSender;

template <class T>
constexpr bool can_be_cloned = requires(const T& handle) { handle.clone(); };
static_assert(!can_be_cloned<OneshotSender<int>> && !can_be_cloned<OneshotReceiver<int>>);
static_assert(std::movable<OneshotSender<int>> && !std::copyable<OneshotSender<int>>);
static_assert(std::movable<OneshotReceiver<int>> && !std::copyable<OneshotReceiver<int>>);

bool is_already_sent(const Result<void, OneshotSendError>& result) {
  return !result && std::holds_alternative<AlreadySent>(result.error());
}
template <class R>
ChannelClosed closed_of(const R& result) {
  if constexpr (std::is_same_v<typename R::error_type, ChannelClosed>) {
    return result.error();
  } else {
    return std::get<ChannelClosed>(result.error());
  }
}

template <class Way>
class Oneshot : public ::testing::Test {};
TYPED_TEST_SUITE(Oneshot, Ways, WayNames);

TYPED_TEST(Oneshot, gives_its_value_to_a_receive_that_comes_later) {
  auto [tx, rx] = oneshot<std::string>();
  EXPECT_TRUE(tx.send("value"));
  EXPECT_EQ(TypeParam::recv(rx).get(), "value");
}

TYPED_TEST(Oneshot, gives_its_value_to_a_receive_that_waits) {
  auto [tx, rx] = oneshot<std::string>();
  auto waiting = TypeParam::recv(rx);
  until_receivers_wait(rx, 1);
  EXPECT_TRUE(tx.send("value"));
  EXPECT_EQ(waiting.get(), "value");
}

TYPED_TEST(Oneshot, gives_its_value_to_a_limited_receive) {
  auto [tx, rx] = oneshot<int>();
  auto waiting = TypeParam::recv_for(rx, kLong);
  until_receivers_wait(rx, 1);
  EXPECT_TRUE(tx.send(1));
  EXPECT_EQ(waiting.get(), 1);
}

TYPED_TEST(Oneshot, a_limited_receive_runs_out_of_time_and_leaves_the_value_to_the_next) {
  auto [tx, rx] = oneshot<int>();
  EXPECT_TRUE(is_empty(TypeParam::recv_for(rx, 1ms).get()));
  EXPECT_TRUE(is_empty(TypeParam::recv_for(rx, 0ms).get()));
  EXPECT_EQ(rx.stats().waiting_receivers, 0U);
  EXPECT_TRUE(tx.send(1));
  EXPECT_EQ(TypeParam::recv_for(rx, 0ms).get(), 1);
}

TYPED_TEST(Oneshot, a_second_receive_finds_it_already_consumed) {
  auto [tx, rx] = oneshot<int>();
  EXPECT_TRUE(tx.send(1));
  EXPECT_EQ(TypeParam::recv(rx).get(), 1);
  const auto again = TypeParam::recv(rx).get();
  ASSERT_TRUE(is_closed(again, CloseKind::ended));
  EXPECT_EQ(again.error().reason, "already consumed");
  const auto limited = TypeParam::recv_for(rx, kLong).get();
  ASSERT_TRUE(is_closed(limited, CloseKind::ended));
  EXPECT_EQ(closed_of(limited).reason, "already consumed");
  EXPECT_EQ(closed_of(rx.try_recv()).reason, "already consumed");
}

TYPED_TEST(Oneshot, of_two_receives_that_wait_the_second_finds_it_already_consumed) {
  auto [tx, rx] = oneshot<int>();
  auto first = TypeParam::recv(rx);
  until_receivers_wait(rx, 1);
  auto second = TypeParam::recv(rx);
  until_receivers_wait(rx, 2);
  EXPECT_TRUE(tx.send(1));
  EXPECT_EQ(first.get(), 1);
  const auto late = second.get();
  ASSERT_TRUE(is_closed(late, CloseKind::ended));
  EXPECT_EQ(late.error().reason, "already consumed");
}

TYPED_TEST(Oneshot, a_sender_that_closes_unsent_ends_a_receive_that_waits) {
  auto [tx, rx] = oneshot<int>();
  auto waiting = TypeParam::recv(rx);
  until_receivers_wait(rx, 1);
  tx.close();
  const auto got = waiting.get();
  ASSERT_TRUE(is_closed(got, CloseKind::ended));
  EXPECT_EQ(got.error().reason, std::nullopt);
  EXPECT_TRUE(is_closed(TypeParam::recv(rx).get(), CloseKind::ended));
}

TYPED_TEST(Oneshot, the_reason_of_a_sender_that_closes_unsent_is_told) {
  auto [tx, rx] = oneshot<int>();
  tx.close("no answer");
  const auto got = TypeParam::recv(rx).get();
  ASSERT_TRUE(is_closed(got, CloseKind::peer_died));
  EXPECT_EQ(got.error().reason, "no answer");
}

TYPED_TEST(Oneshot, a_value_that_was_sent_is_received_after_the_sender_has_closed) {
  auto [tx, rx] = oneshot<int>();
  EXPECT_TRUE(tx.send(1));
  tx.close("too late to matter");
  EXPECT_EQ(TypeParam::recv(rx).get(), 1);
  EXPECT_TRUE(is_closed(TypeParam::recv(rx).get(), CloseKind::ended));
}

TYPED_TEST(Oneshot, closing_the_receiver_ends_its_own_receive) {
  auto [tx, rx] = oneshot<int>();
  auto waiting = TypeParam::recv(rx);
  until_receivers_wait(rx, 1);
  rx.close();
  EXPECT_TRUE(is_closed(waiting.get(), CloseKind::handle_closed));
  EXPECT_TRUE(is_closed(TypeParam::recv(rx).get(), CloseKind::handle_closed));
}

TYPED_TEST(Oneshot, a_sender_hears_that_nobody_wants_the_value_any_more) {
  auto [tx, rx] = oneshot<int>();
  auto waiting = TypeParam::closed(tx);
  EXPECT_FALSE(waiting.is_done());
  rx.close();
  EXPECT_TRUE(waiting.get());
  EXPECT_TRUE(TypeParam::closed(tx).get());
}

TYPED_TEST(Oneshot, closing_a_sender_ends_its_own_wait_for_the_receiver) {
  auto [tx, rx] = oneshot<int>();
  auto waiting = TypeParam::closed(tx);
  tx.close();
  EXPECT_TRUE(is_closed(waiting.get(), CloseKind::handle_closed));
  EXPECT_TRUE(TypeParam::closed(rx).get());
}

TYPED_TEST(Oneshot, a_handle_that_was_moved_from_is_a_closed_one) {
  auto [tx, rx] = oneshot<int>();
  const OneshotSender<int> other_tx = std::move(tx);
  const OneshotReceiver<int> other_rx = std::move(rx);
  // NOLINTBEGIN(bugprone-use-after-move,clang-analyzer-cplusplus.Move): what this is about
  EXPECT_EQ(closed_of(tx.send(1)).kind, CloseKind::handle_closed);
  EXPECT_TRUE(is_closed(TypeParam::recv(rx).get(), CloseKind::handle_closed));
  EXPECT_TRUE(tx.is_closed() && rx.is_closed());
  // NOLINTEND(bugprone-use-after-move,clang-analyzer-cplusplus.Move)
  EXPECT_FALSE(other_tx.is_closed() || other_rx.is_closed());
}

TEST(OneshotSend, happens_once) {
  auto [tx, rx] = oneshot<int>();
  EXPECT_TRUE(tx.try_send(1));
  EXPECT_TRUE(is_already_sent(tx.send(2)));
  EXPECT_TRUE(is_already_sent(tx.try_send(3)));
  EXPECT_EQ(rx.try_recv(), 1);
  EXPECT_TRUE(is_already_sent(tx.send(4)));
  tx.close();
  EXPECT_TRUE(is_already_sent(tx.send(5)));
}

TEST(OneshotSend, finds_no_receiver) {
  auto [tx, rx] = oneshot<int>();
  rx.close("not interested");
  const auto sent = tx.send(1);
  ASSERT_FALSE(sent);
  EXPECT_EQ(closed_of(sent).kind, CloseKind::peer_gone);
  EXPECT_EQ(closed_of(sent).reason, "not interested");
  EXPECT_TRUE(tx.is_closed());
}

TEST(OneshotSend, on_a_closed_handle_gives_closed) {
  auto [tx, rx] = oneshot<int>();
  tx.close();
  tx.close();
  EXPECT_EQ(closed_of(tx.send(1)).kind, CloseKind::handle_closed);
}

TEST(OneshotSend, that_fails_leaves_its_argument_alone) {
  auto [tx, rx] = oneshot<std::unique_ptr<int>>();
  auto first = std::make_unique<int>(1);
  auto second = std::make_unique<int>(2);
  EXPECT_TRUE(tx.send(std::move(first)));
  EXPECT_FALSE(tx.send(std::move(second)));
  EXPECT_EQ(*second, 2);  // NOLINT(bugprone-use-after-move,clang-analyzer-cplusplus.Move): it was not moved
  auto [other_tx, other_rx] = oneshot<std::unique_ptr<int>>();
  other_rx.close();
  EXPECT_FALSE(other_tx.send(std::move(second)));
  EXPECT_EQ(*second, 2);  // NOLINT(bugprone-use-after-move,clang-analyzer-cplusplus.Move)
}

TEST(OneshotSend, copies_what_it_is_not_given) {
  auto [tx, rx] = oneshot<std::string>();
  const std::string mine = "mine";
  EXPECT_TRUE(tx.send(mine));
  EXPECT_EQ(mine, "mine");
  EXPECT_EQ(rx.try_recv(), "mine");
}

TEST(OneshotValue, is_destroyed_once_whoever_has_it_last) {
  Ledger ledger(4);
  {
    auto [tx, rx] = oneshot<Tracked>();
    EXPECT_TRUE(tx.send(Tracked(ledger, 0)));
    EXPECT_EQ(rx.try_recv()->id(), 0U);
    EXPECT_EQ(ledger.destroyed(0), 1);
  }
  {
    auto [tx, rx] = oneshot<Tracked>();
    EXPECT_TRUE(tx.send(Tracked(ledger, 1)));
    rx.close();
    EXPECT_EQ(ledger.destroyed(1), 1);
  }
  {
    auto [tx, rx] = oneshot<Tracked>();
    EXPECT_TRUE(tx.send(Tracked(ledger, 2)));
  }
  {
    auto [tx, rx] = oneshot<Tracked>();
    rx.close();
    EXPECT_FALSE(tx.send(Tracked(ledger, 3)));
  }
  EXPECT_TRUE(ledger.each_destroyed_once());
}

// Its destructor uses the channel, which must not be locked.
struct Meddler {
  explicit Meddler(OneshotReceiver<std::unique_ptr<Meddler>>& r) : rx(&r) {}
  Meddler(const Meddler&) = delete;
  Meddler& operator=(const Meddler&) = delete;
  ~Meddler() { EXPECT_EQ(rx->stats().receiver_count, 0U); }
  OneshotReceiver<std::unique_ptr<Meddler>>* rx;
};

TEST(OneshotValue, that_is_dropped_is_destroyed_outside_of_the_lock) {
  auto [tx, rx] = oneshot<std::unique_ptr<Meddler>>();
  EXPECT_TRUE(tx.send(std::make_unique<Meddler>(rx)));
  rx.close();
}

TEST(OneshotIteration, gives_the_value_and_ends) {
  auto [tx, rx] = oneshot<int>();
  EXPECT_TRUE(tx.send(7));
  int sum = 0;
  for (const int value : rx) sum += value;
  EXPECT_EQ(sum, 7);
}

TEST(OneshotIteration, tells_of_an_end_that_is_not_orderly) {
  auto [tx, rx] = oneshot<int>();
  tx.close("no answer");
  EXPECT_THROW((void)rx.begin(), klaw::ChannelClosedError);
}

TEST(OneshotStats, follow_the_value) {
  auto [tx, rx] = oneshot<int>();
  auto s = tx.stats();
  EXPECT_EQ(s.sender_count, 1U);
  EXPECT_EQ(s.receiver_count, 1U);
  EXPECT_EQ(s.capacity, 1U);
  EXPECT_EQ(s.queue_size, 0U);
  EXPECT_GT(s.created_at, 0);
  EXPECT_TRUE(tx.send(1));
  s = rx.stats();
  EXPECT_EQ(s.queue_size, 1U);
  EXPECT_EQ(s.total_sent, 1U);
  EXPECT_EQ(s.high_watermark, 1U);
  EXPECT_EQ(s.total_received, 0U);
  EXPECT_TRUE(rx.try_recv());
  tx.close();
  s = rx.stats();
  EXPECT_EQ(s.queue_size, 0U);
  EXPECT_EQ(s.total_received, 1U);
  EXPECT_TRUE(s.senders_closed);
  EXPECT_FALSE(s.receivers_closed);
}

TEST(OneshotHandles, know_whether_they_are_closed_and_of_one_channel) {
  auto [tx, rx] = oneshot<int>();
  auto [other_tx, other_rx] = oneshot<int>();
  EXPECT_TRUE(tx.same_channel(rx));
  EXPECT_TRUE(rx.same_channel(tx));
  EXPECT_FALSE(tx.same_channel(other_rx));
  EXPECT_FALSE(tx.is_closed() || rx.is_closed());
  EXPECT_TRUE(tx.send(1));
  tx.close();
  EXPECT_TRUE(tx.is_closed());
  EXPECT_FALSE(rx.is_closed());
  EXPECT_TRUE(rx.try_recv());
  EXPECT_TRUE(rx.is_closed());
}

// --- coroutines that are destroyed where they wait ---

TEST(OneshotCancelled, receive_takes_nothing) {
  auto [tx, rx] = oneshot<int>();
  auto gone = Suspended::recv(rx);
  auto next = Suspended::recv(rx);
  gone.cancel();
  EXPECT_EQ(rx.stats().waiting_receivers, 1U);
  EXPECT_TRUE(tx.send(1));
  EXPECT_EQ(next.get(), 1);
}

TEST(OneshotCancelled, receive_hands_on_what_it_was_promised) {
  auto [tx, rx] = oneshot<int>();
  auto gone = Suspended::recv(rx);
  auto next = Suspended::recv(rx);
  while_resuming([&, &t = tx, &r = rx] {
    EXPECT_TRUE(t.send(1));
    EXPECT_EQ(r.stats().in_flight, 1U);
    EXPECT_TRUE(is_empty(r.try_recv()));
    gone.cancel();
  });
  EXPECT_EQ(next.get(), 1);
}

TEST(OneshotCancelled, receive_that_was_alone_leaves_the_value_to_a_later_one) {
  auto [tx, rx] = oneshot<int>();
  auto gone = Suspended::recv(rx);
  while_resuming([&, &t = tx] {
    EXPECT_TRUE(t.send(1));
    gone.cancel();
  });
  EXPECT_EQ(rx.try_recv(), 1);
}

TEST(OneshotCancelled, receive_whose_receiver_closed_after_its_wake_up_finds_it_closed) {
  Ledger ledger(1);
  auto [tx, rx] = oneshot<Tracked>();
  auto woken = Suspended::recv(rx);
  while_resuming([&, &t = tx, &r = rx] {
    EXPECT_TRUE(t.send(Tracked(ledger, 0)));
    r.close();
    EXPECT_EQ(ledger.destroyed(0), 1);
  });
  EXPECT_TRUE(is_closed(woken.get(), CloseKind::handle_closed));
}

TEST(OneshotCancelled, wait_for_the_receiver_leaves_nothing_behind) {
  auto [tx, rx] = oneshot<int>();
  auto gone = Suspended::closed(tx);
  gone.cancel();
  rx.close();
}

}  // namespace
