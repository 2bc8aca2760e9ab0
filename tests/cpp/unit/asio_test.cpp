// Channels in Asio: every kind of token, on the right executor, cancelled at every moment.
#include <atomic>
#include <chrono>
#include <cstddef>
#include <future>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <asio/awaitable.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/bind_executor.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/experimental/awaitable_operators.hpp>
#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <asio/strand.hpp>
#include <asio/thread_pool.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/use_future.hpp>
#include <asio/version.hpp>
#if ASIO_VERSION < 102400  // Debian 12's
#include <asio/experimental/as_tuple.hpp>
namespace asio {
using experimental::as_tuple;
}
#else
#include <asio/as_tuple.hpp>
#endif
#include <gtest/gtest.h>
#include <klaw/channels.hpp>
#include <klaw/channels/asio.hpp>  // first: it includes what it needs

#include "support/scale.hpp"
#include "support/tally.hpp"
#include "support/threads.hpp"
#include "support/ways.hpp"

namespace {

using namespace klaw_test;
using asio::use_awaitable;
using klaw::channels::async_changed;
using klaw::channels::async_recv;
using klaw::channels::async_select;
using klaw::channels::async_send;
using klaw::channels::biased;
using klaw::channels::channel;
using klaw::channels::LocalReceiver;
using klaw::channels::LocalSender;
using klaw::channels::sending;

// A callback's arguments, once it was called.
template <class R>
struct Called {
  std::optional<std::error_code> error;
  std::optional<R> result;
  auto on(asio::io_context& context) {
    return asio::bind_executor(context, [this](std::error_code e, R r) {
      error = e;
      result.emplace(std::move(r));
    });
  }
  [[nodiscard]] bool is_aborted() const { return error == std::error_code(asio::error::operation_aborted); }
};
using CalledRecv = Called<Result<int, ChannelClosed>>;
using CalledSend = Called<Result<void, ChannelClosed>>;

// Runs what is ready. (An io_context without work has stopped.)
void run_ready(asio::io_context& context) {
  context.restart();
  context.poll();
}

TEST(Asio, a_callback_is_posted_also_if_the_operation_is_ready) {
  asio::io_context context;
  auto [tx, rx] = channel<int>(1);
  CalledSend sent;
  async_send(tx, 5, sent.on(context));
  EXPECT_FALSE(sent.error);
  run_ready(context);
  ASSERT_TRUE(sent.error);
  EXPECT_FALSE(*sent.error);
  EXPECT_TRUE(*sent.result);
  CalledRecv received;
  async_recv(rx, received.on(context));
  EXPECT_FALSE(received.error);
  run_ready(context);
  EXPECT_EQ(*received.result, 5);
}

TEST(Asio, an_operation_that_waits_completes_on_its_executor_not_in_the_waker) {
  asio::io_context context;
  auto [tx, rx] = channel<int>(1);
  CalledRecv received;
  async_recv(rx, received.on(context));
  EXPECT_EQ(rx.stats().waiting_receivers, 1U);
  EXPECT_TRUE(tx.try_send(5));
  EXPECT_FALSE(received.error);
  run_ready(context);
  EXPECT_FALSE(*received.error);
  EXPECT_EQ(*received.result, 5);
}

TEST(Asio, a_waiting_operation_is_work_until_its_handler_was_called) {
  asio::io_context context;
  auto [tx, rx] = channel<int>(1);
  CalledRecv received;
  async_recv(rx, received.on(context));
  std::jthread sender([&tx] {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    (void)tx.try_send(1);
  });
  EXPECT_EQ(context.run(), 1U);  // would return at once without work
  EXPECT_EQ(*received.result, 1);
  EXPECT_TRUE(context.stopped());
}

TEST(Asio, a_closed_channel_is_a_result_not_an_error_code) {
  asio::io_context context;
  auto [tx, rx] = channel<int>(1);
  CalledRecv received;
  async_recv(rx, received.on(context));
  tx.close("gone");
  run_ready(context);
  EXPECT_FALSE(*received.error);
  EXPECT_TRUE(is_closed(*received.result, CloseKind::peer_died));
  CalledSend sent;
  async_send(tx, 1, sent.on(context));
  run_ready(context);
  EXPECT_TRUE(is_closed(*sent.result, CloseKind::handle_closed));
}

TEST(Asio, a_handler_that_is_an_lvalue_is_copied) {
  asio::io_context context;
  auto [tx, rx] = channel<int>(2);
  const auto sum = std::make_shared<int>(0);
  auto handler = asio::bind_executor(
      context, [sum](std::error_code, const Result<int, ChannelClosed>& got) { *sum += got.value_or(0); });
  async_recv(rx, handler);
  async_recv(rx, handler);
  EXPECT_TRUE(tx.try_send(1));
  EXPECT_TRUE(tx.try_send(2));
  run_ready(context);
  EXPECT_EQ(*sum, 3);
}

TEST(Asio, use_future_waits_in_another_thread) {
  auto [tx, rx] = channel<std::unique_ptr<int>>(0);
  std::future<Result<std::unique_ptr<int>, ChannelClosed>> received = async_recv(rx, asio::use_future);
  std::future<Result<void, ChannelClosed>> sent = async_send(tx, std::make_unique<int>(3), asio::use_future);
  EXPECT_TRUE(sent.get());
  EXPECT_EQ(**received.get(), 3);
}

TEST(Asio, receives_of_every_flavour_have_their_own_results) {
  asio::io_context context;
  auto [tx1, rx1] = klaw::channels::oneshot<int>();
  Called<Result<int, ChannelClosed>> one;
  async_recv(rx1, one.on(context));
  EXPECT_TRUE(tx1.send(1));

  auto [tx2, rx2] = klaw::channels::broadcast<int>(2);
  Called<Result<std::size_t, ChannelClosed>> sent;
  for (int i = 0; i < 3; ++i) {
    async_send(tx2, i, sent.on(context));
    run_ready(context);
    EXPECT_EQ(*sent.result, 1U);
  }
  Called<Result<int, klaw::LaggingRecvError>> heard;
  async_recv(rx2, heard.on(context));
  run_ready(context);
  EXPECT_EQ(std::get<klaw::Lagged>(heard.result->error()).skipped, 1U);

  auto [tx3, rx3] = klaw::channels::watch<int>(0);
  Called<Result<void, ChannelClosed>> changed;
  Called<Result<std::shared_ptr<const int>, ChannelClosed>> value;
  async_changed(rx3, changed.on(context));
  run_ready(context);
  EXPECT_FALSE(changed.error);
  EXPECT_TRUE(tx3.send(7));
  run_ready(context);
  EXPECT_TRUE(*changed.result);
  EXPECT_TRUE(tx3.send(8));
  async_recv(rx3, value.on(context));
  run_ready(context);
  EXPECT_EQ(*value.result->value(), 8);
  EXPECT_EQ(*one.result, 1);

  auto [tx4, rx4] = Any::open<int>(1);
  Called<Result<int, ChannelClosed>> any;
  async_recv(rx4, any.on(context));
  EXPECT_TRUE(tx4.try_send(4));
  run_ready(context);
  EXPECT_EQ(*any.result, 4);
}

TEST(Asio, selects_among_receivers_and_sends) {
  asio::io_context context;
  auto [tx1, rx1] = channel<int>(1);
  auto [tx2, rx2] = channel<std::unique_ptr<int>>(0);
  using Both = klaw::channels::SelectResult<Result<int, ChannelClosed>, Result<void, ChannelClosed>>;
  auto value = std::make_unique<int>(5);
  Called<Both> lost;
  async_select(lost.on(context), rx1, sending(tx2, std::move(value)));
  EXPECT_TRUE(tx1.try_send(1));
  run_ready(context);
  EXPECT_EQ(lost.result->get<0>(), 1);
  ASSERT_TRUE(value);
  Called<Both> sent;
  async_select(sent.on(context), biased, rx1, sending(tx2, std::move(value)));
  EXPECT_EQ(**rx2.try_recv(), 5);
  run_ready(context);
  EXPECT_TRUE(sent.result->get<1>());
  EXPECT_FALSE(value);

  std::vector<LocalReceiver<int>> receivers;
  receivers.push_back(rx1.clone());
  receivers.push_back(rx1.clone());
  Called<klaw::channels::IndexedResult<Result<int, ChannelClosed>>> listed;
  async_select(listed.on(context), biased, std::span(receivers));
  receivers[1].close();
  run_ready(context);
  EXPECT_EQ(listed.result->index, 1U);
  EXPECT_TRUE(is_closed(listed.result->result, CloseKind::handle_closed));
  EXPECT_EQ(rx1.stats().waiting_receivers, 0U);
}

// --- coroutines ---

using Strand = asio::strand<asio::thread_pool::executor_type>;

asio::awaitable<void> ping(LocalSender<int> tx, LocalReceiver<int> rx, int rounds, Strand strand, int& sum) {
  for (int i = 0; i < rounds; ++i) {
    const auto sent = co_await async_send(tx, i, use_awaitable);
    const auto got = co_await async_recv(rx, use_awaitable);
    EXPECT_TRUE(sent && got);
    EXPECT_TRUE(strand.running_in_this_thread());
    sum += got.value_or(-1);  // not atomic: the strand protects it
  }
}

asio::awaitable<void> echo(LocalReceiver<int> rx, LocalSender<int> tx) {
  while (auto got = co_await async_recv(rx, use_awaitable)) {
    if (!co_await async_send(tx, *got, use_awaitable)) break;
  }
}

TEST(Asio, coroutines_on_a_strand_stay_on_it) {
  const int rounds = static_cast<int>(scaled(2'000));
  asio::thread_pool pool(3);
  const Strand strand(pool.get_executor());
  int sum = 0;
  for (int i = 0; i < 4; ++i) {
    const auto capacity = static_cast<std::size_t>(i % 2);
    auto [there_tx, there_rx] = channel<int>(capacity);
    auto [back_tx, back_rx] = channel<int>(capacity);
    co_spawn(strand, ping(std::move(there_tx), std::move(back_rx), rounds, strand, sum), asio::detached);
    co_spawn(pool, echo(std::move(there_rx), std::move(back_tx)), asio::detached);
  }
  pool.join();
  EXPECT_EQ(sum, 4 * (rounds * (rounds - 1) / 2));
}

TEST(Asio, an_operation_without_its_executors_turn_waits_for_it) {
  asio::io_context context;
  auto [tx, rx] = channel<int>(1);
  int got = 0;
  co_spawn(
      context,
      [&]() -> asio::awaitable<void> {
        const auto first = co_await async_recv(rx, use_awaitable);
        auto second = co_await async_select(use_awaitable, rx, sending(tx, 3));
        got = first.value_or(0) * 10 + static_cast<int>(second.index());
      },
      asio::detached);
  run_ready(context);
  EXPECT_TRUE(tx.try_send(2));
  EXPECT_EQ(got, 0);
  run_ready(context);
  EXPECT_GE(got, 20);
  EXPECT_EQ(rx.size(), got == 21 ? 1U : 0U);
}

// --- cancelled ---

TEST(Asio, any_kind_of_cancellation_leaves_the_channel_at_once_and_says_so) {
  for (const auto type : {asio::cancellation_type::terminal, asio::cancellation_type::partial,
                          asio::cancellation_type::total, asio::cancellation_type::all}) {
    asio::io_context context;
    asio::cancellation_signal signal;
    auto [tx, rx] = channel<int>(1);
    CalledRecv received;
    async_recv(rx, asio::bind_cancellation_slot(signal.slot(), received.on(context)));
    signal.emit(asio::cancellation_type::none);
    EXPECT_EQ(rx.stats().waiting_receivers, 1U);
    signal.emit(type);
    EXPECT_EQ(rx.stats().waiting_receivers, 0U);
    EXPECT_FALSE(received.error);
    EXPECT_TRUE(tx.try_send(1));
    run_ready(context);
    EXPECT_TRUE(received.is_aborted());
    EXPECT_EQ(rx.try_recv(), 1);
  }
}

TEST(Asio, cancelled_after_its_wake_up_it_hands_its_message_on) {
  asio::io_context context;
  asio::cancellation_signal signal;
  for (const bool is_ready : {false, true}) {
    for (const std::size_t capacity : {0U, 1U}) {
      auto [tx, rx] = channel<int>(capacity);
      CalledRecv received;
      const auto begin = [&] { async_recv(rx, asio::bind_cancellation_slot(signal.slot(), received.on(context))); };
      if (!is_ready) begin();
      auto sent = Suspended::send(tx, 1);
      if (is_ready) begin();
      auto next = Suspended::recv(rx);
      EXPECT_TRUE(sent.get());
      EXPECT_FALSE(next.is_done());
      signal.emit(asio::cancellation_type::all);
      run_ready(context);
      EXPECT_TRUE(received.is_aborted());
      EXPECT_EQ(next.get(), 1);
      signal.emit(asio::cancellation_type::all);  // too late for anything
    }
  }
}

TEST(Asio, of_every_flavour_a_cancelled_receive_leaves_what_it_was_granted) {
  asio::io_context context;
  asio::cancellation_signal signal;
  const auto cancelled = [&](auto& rx) {
    using Got = decltype(klaw::channels::blocking_select(rx).template get<0>());
    Called<std::remove_cvref_t<Got>> received;
    async_recv(rx, asio::bind_cancellation_slot(signal.slot(), received.on(context)));
    signal.emit(asio::cancellation_type::total);
    run_ready(context);
    EXPECT_TRUE(received.is_aborted());
  };
  auto [tx1, rx1] = klaw::channels::oneshot<int>();
  EXPECT_TRUE(tx1.send(1));
  cancelled(rx1);
  EXPECT_EQ(rx1.try_recv(), 1);
  auto [tx2, rx2] = klaw::channels::broadcast<int>(2);
  EXPECT_TRUE(tx2.try_send(2));
  cancelled(rx2);
  EXPECT_EQ(rx2.try_recv(), 2);
  auto [tx3, rx3] = klaw::channels::watch<int>(0);
  EXPECT_TRUE(tx3.send(3));
  cancelled(rx3);
  EXPECT_TRUE(rx3.has_changed());
}

TEST(Asio, cancelled_after_its_send_was_taken_it_has_happened) {
  asio::io_context context;
  asio::cancellation_signal signal;
  auto [tx, rx] = channel<int>(0);
  auto [other_tx, other_rx] = channel<int>(0);
  CalledSend sent;
  async_send(tx, 1, asio::bind_cancellation_slot(signal.slot(), sent.on(context)));
  EXPECT_EQ(rx.try_recv(), 1);
  signal.emit(asio::cancellation_type::all);
  run_ready(context);
  EXPECT_FALSE(*sent.error);
  EXPECT_TRUE(*sent.result);

  Called<klaw::channels::SelectResult<Result<int, ChannelClosed>, Result<void, ChannelClosed>>> selected;
  const int value = 2;
  async_select(asio::bind_cancellation_slot(signal.slot(), selected.on(context)), other_rx, sending(tx, value));
  EXPECT_EQ(rx.try_recv(), 2);
  signal.emit(asio::cancellation_type::all);
  run_ready(context);
  EXPECT_FALSE(*selected.error);
  EXPECT_TRUE(selected.result->get<1>());
}

TEST(Asio, a_cancelled_send_has_sent_nothing) {
  asio::io_context context;
  asio::cancellation_signal signal;
  auto [tx, rx] = channel<std::shared_ptr<int>>(0);
  const auto value = std::make_shared<int>(1);
  CalledSend sent;
  async_send(tx, value, asio::bind_cancellation_slot(signal.slot(), sent.on(context)));
  EXPECT_EQ(tx.stats().waiting_senders, 1U);
  signal.emit(asio::cancellation_type::total);
  EXPECT_EQ(tx.stats().waiting_senders, 0U);
  run_ready(context);
  EXPECT_TRUE(sent.is_aborted());
  EXPECT_EQ(value.use_count(), 1);
}

TEST(Asio, a_cancelled_select_has_sent_nothing_and_received_nothing) {
  asio::io_context context;
  asio::cancellation_signal signal;
  auto [tx1, rx1] = channel<int>(1);
  auto [tx2, rx2] = channel<std::unique_ptr<int>>(0);
  auto value = std::make_unique<int>(1);
  Called<klaw::channels::SelectResult<Result<int, ChannelClosed>, Result<void, ChannelClosed>>> selected;
  async_select(asio::bind_cancellation_slot(signal.slot(), selected.on(context)), rx1, sending(tx2, std::move(value)));
  signal.emit(asio::cancellation_type::total);
  EXPECT_EQ(rx1.stats().waiting_receivers + tx2.stats().waiting_senders, 0U);
  run_ready(context);
  EXPECT_TRUE(selected.is_aborted());
  EXPECT_TRUE(value);
}

TEST(Asio, a_coroutine_hears_of_its_cancellation_by_an_exception) {
  asio::io_context context;
  asio::cancellation_signal signal;
  auto [tx, rx] = channel<int>(1);
  std::error_code error;
  co_spawn(
      context,
      [&]() -> asio::awaitable<void> {
        try {
          (void)co_await async_recv(rx, use_awaitable);
        } catch (const std::system_error& e) {
          error = e.code();
        }
      },
      asio::bind_cancellation_slot(signal.slot(), asio::detached));
  run_ready(context);
  EXPECT_EQ(rx.stats().waiting_receivers, 1U);
  signal.emit(asio::cancellation_type::terminal);
  EXPECT_EQ(rx.stats().waiting_receivers, 0U);
  run_ready(context);
  EXPECT_EQ(error, asio::error::operation_aborted);
}

TEST(Asio, works_with_awaitable_operators) {
  using namespace asio::experimental::awaitable_operators;
  asio::io_context context;
  auto [tx1, rx1] = channel<int>(1);
  auto [tx2, rx2] = channel<int>(1);
  std::size_t first = 99;
  co_spawn(
      context,
      [&]() -> asio::awaitable<void> {
        auto got = co_await (async_recv(rx1, use_awaitable) || async_recv(rx2, use_awaitable));
        first = got.index();
      },
      asio::detached);
  run_ready(context);
  EXPECT_TRUE(tx2.try_send(1));
  run_ready(context);
  EXPECT_EQ(first, 1U);
  EXPECT_EQ(rx1.stats().waiting_receivers, 0U);
  EXPECT_TRUE(tx1.try_send(2));
  EXPECT_EQ(rx1.try_recv(), 2);
}

TEST(Asio, of_two_receives_that_are_ready_one_takes_and_the_other_leaves_its_message) {
  using namespace asio::experimental::awaitable_operators;
  asio::io_context context;
  auto [tx1, rx1] = channel<int>(1);
  auto [tx2, rx2] = channel<int>(1);
  EXPECT_TRUE(tx1.try_send(1));
  EXPECT_TRUE(tx2.try_send(2));
  int first = 0;
  co_spawn(
      context,
      [&]() -> asio::awaitable<void> {
        auto got = co_await (async_recv(rx1, use_awaitable) || async_select(use_awaitable, rx2));
        first = got.index() == 0 ? std::get<0>(got).value_or(0) : std::get<1>(got).get<0>().value_or(0);
      },
      asio::detached);
  run_ready(context);
  const int left = rx1.try_recv().value_or(0) + rx2.try_recv().value_or(0);
  EXPECT_EQ(first + left, 3);
  EXPECT_NE(left, 0);
}

// --- the end of a context ---

TEST(Asio, a_context_that_ends_destroys_what_waits_and_the_channel_lives_on) {
  auto [tx, rx] = channel<int>(1);
  const auto held = std::make_shared<int>(0);
  {
    asio::io_context context;
    for (int i = 0; i < 3; ++i) {
      async_recv(rx, asio::bind_executor(
                         context, [held](std::error_code, const Result<int, ChannelClosed>&) { FAIL() << "called"; }));
    }
    EXPECT_EQ(held.use_count(), 4);
  }
  EXPECT_EQ(held.use_count(), 1);
  EXPECT_EQ(rx.stats().waiting_receivers, 0U);
  EXPECT_TRUE(tx.try_send(1));
  EXPECT_EQ(rx.try_recv(), 1);
}

TEST(Asio, what_was_granted_and_not_yet_handed_over_goes_to_the_next_when_its_context_ends) {
  auto [tx, rx] = channel<int>(1);
  auto context = std::make_unique<asio::io_context>();
  CalledRecv received;
  async_recv(rx, received.on(*context));
  auto next = Suspended::recv(rx);
  EXPECT_TRUE(tx.try_send(1));
  EXPECT_FALSE(next.is_done());
  context.reset();
  EXPECT_FALSE(received.error);
  EXPECT_EQ(next.get(), 1);
}

TEST(Asio, coroutines_that_own_their_handles_go_with_their_context) {
  auto [tx, rx] = channel<int>(1);
  auto [late_tx, late_rx] = channel<int>(1);
  {
    asio::io_context context;
    // Each holds what the other waits on: as one is destroyed, it closes the other's channel.
    auto [a_tx, a_rx] = channel<int>(1);
    auto [b_tx, b_rx] = channel<int>(1);
    co_spawn(context, echo(std::move(a_rx), std::move(b_tx)), asio::detached);
    co_spawn(context, echo(std::move(b_rx), std::move(a_tx)), asio::detached);
    co_spawn(context, echo(std::move(rx), std::move(late_tx)), asio::detached);
    run_ready(context);
  }
  EXPECT_TRUE(is_closed(tx.try_send(1), CloseKind::peer_gone));
  EXPECT_TRUE(is_closed(late_rx.try_recv(), CloseKind::ended));
}

// --- in threads ---

// Cancels at random moments, while other threads send: what it receives, and what is left, is everything, once.
asio::awaitable<void> receive_and_cancel(LocalReceiver<Message> rx, Tally& tally, std::size_t who) {
  using namespace asio::experimental::awaitable_operators;
  Tally::Receiver mine(tally);
  asio::steady_timer timer(co_await asio::this_coro::executor);
  for (std::size_t round = who;; ++round) {
    timer.expires_after(std::chrono::microseconds(round * 37 % 50));
    auto got =
        co_await (async_recv(rx, asio::as_tuple(use_awaitable)) || timer.async_wait(asio::as_tuple(use_awaitable)));
    if (got.index() == 1) continue;
    auto& [error, message] = std::get<0>(got);
    EXPECT_FALSE(error);
    if (!message) break;
    mine.note(*message);
  }
}

TEST(Asio, on_a_strand_of_a_pool_a_receive_or_a_timer_loses_nothing) {
  for (const std::size_t capacity : {0U, 1U}) {
    const std::size_t each = scaled(2'000);
    Tally tally(2, each);
    auto [tx, rx] = channel<Message>(capacity);
    asio::thread_pool pool(2);
    for (std::size_t i = 0; i < 3; ++i) {
      co_spawn(make_strand(pool), receive_and_cancel(rx.clone(), tally, i), asio::detached);
    }
    std::vector<std::jthread> senders;
    for (std::uint32_t who = 0; who < 2; ++who) {
      senders.emplace_back([tx = tx.clone(), who]() mutable {
        for (std::uint32_t seq = 0; seq < each; ++seq) ASSERT_TRUE(tx.blocking_send(Message{who, seq}));
      });
    }
    tx.close();
    senders.clear();
    pool.join();
    tally.expect_each_once_and_in_order();
  }
}

// Of two receives, whichever comes first; the other one leaves its message where it is.
asio::awaitable<void> receive_from_either(LocalReceiver<Message> a, LocalReceiver<Message> b, Tally& tally) {
  using namespace asio::experimental::awaitable_operators;
  Tally::Receiver mine(tally);
  for (;;) {
    auto got = co_await (async_recv(a, use_awaitable) || async_recv(b, use_awaitable));
    auto& message = got.index() == 0 ? std::get<0>(got) : std::get<1>(got);
    if (!message) break;
    mine.note(*message);
  }
  for (LocalReceiver<Message>* rx : {&a, &b}) {
    while (auto message = co_await async_recv(*rx, use_awaitable)) mine.note(*message);
  }
}

TEST(Asio, on_a_strand_of_a_pool_the_loser_of_two_receives_loses_nothing) {
  for (const std::size_t capacity : {0U, 1U}) {
    const std::size_t each = scaled(5'000);
    Tally tally(2, each);
    auto [tx_a, rx_a] = channel<Message>(capacity);
    auto [tx_b, rx_b] = channel<Message>(capacity);
    asio::thread_pool pool(4);
    for (int i = 0; i < 3; ++i) {
      co_spawn(make_strand(pool), receive_from_either(rx_a.clone(), rx_b.clone(), tally), asio::detached);
    }
    rx_a.close();
    rx_b.close();
    {
      const auto send = [each](LocalSender<Message> tx, std::uint32_t who) {
        for (std::uint32_t seq = 0; seq < each; ++seq) ASSERT_TRUE(tx.blocking_send(Message{who, seq}));
      };
      const std::jthread sender_a(send, std::move(tx_a), 0);
      const std::jthread sender_b(send, std::move(tx_b), 1);
    }
    pool.join();
    tally.expect_each_once_and_in_order();
  }
}

// Contexts that end while other threads wake those who wait in them.
TEST(Asio, a_context_that_ends_while_other_threads_send_loses_nothing) {
  const std::size_t messages = scaled(2'000);
  Tally tally(1, messages);
  Tally::Receiver mine(tally);
  auto [tx, rx] = channel<Message>(1);
  std::jthread sender([tx = std::move(tx)]() mutable {
    for (std::uint32_t seq = 0; seq < messages; ++seq) ASSERT_TRUE(tx.blocking_send(Message{0, seq}));
  });
  bool ended = false;
  while (!ended) {
    asio::io_context context;
    for (int i = 0; i < 3; ++i) {
      async_recv(rx, asio::bind_executor(context, [&](std::error_code, const Result<Message, ChannelClosed>& got) {
                   if (got) mine.note(*got);
                   ended = ended || !got;
                 }));
    }
    std::this_thread::yield();
    context.poll();
  }
  tally.expect_each_once_and_in_order();
}

}  // namespace
