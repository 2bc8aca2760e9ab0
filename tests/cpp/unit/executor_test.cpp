// co_await operation.on(executor): where a coroutine goes on, and what becomes of it when it is destroyed on the way there.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <klaw/channels.hpp>

#include "support/coroutine.hpp"
#include "support/scale.hpp"
#include "support/tally.hpp"
#include "support/threads.hpp"
#include "support/ways.hpp"

namespace {

using namespace klaw_test;
using namespace std::chrono_literals;
using klaw::channels::channel;
using klaw::channels::LocalReceiver;
using klaw::channels::LocalSender;

// A queue of functions, which a test runs when it likes.
class Queue {
 public:
  void post(std::function<void()> function) {
    const std::lock_guard lock(mutex_);
    functions_.push_back(std::move(function));
    ++posted_;
  }

  bool run_one() {
    std::function<void()> function;
    {
      const std::lock_guard lock(mutex_);
      if (functions_.empty()) return false;
      function = std::move(functions_.front());
      functions_.pop_front();
    }
    function();
    return true;
  }
  void run_all() {
    while (run_one()) {
    }
  }
  void drop_all() { functions_.clear(); }
  [[nodiscard]] std::size_t posted() const {
    const std::lock_guard lock(mutex_);
    return posted_;
  }

 private:
  mutable std::mutex mutex_;
  std::deque<std::function<void()>> functions_;
  std::size_t posted_ = 0;
};

class Pool {
 public:
  explicit Pool(std::size_t size) {
    for (std::size_t i = 0; i < size; ++i) {
      threads_.emplace_back([this](const std::stop_token& stop) { run(stop); });
    }
  }
  void post(std::function<void()> function) {
    const std::lock_guard lock(mutex_);
    functions_.push_back(std::move(function));
    more_.notify_one();
  }

 private:
  void run(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    while (more_.wait(lock, stop, [&] { return !functions_.empty(); })) {
      std::function<void()> function = std::move(functions_.front());
      functions_.pop_front();
      lock.unlock();
      function();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable_any more_;
  std::deque<std::function<void()>> functions_;
  std::vector<std::jthread> threads_;
};

// Runs what it is given at once, in the waker.
struct AtOnce {
  template <class F>
  void post(F&& function) const {
    std::forward<F>(function)();
  }
};

static_assert(klaw::channels::Executor<Queue>);
static_assert(klaw::channels::Executor<const AtOnce>);
static_assert(!klaw::channels::Executor<int>);

template <class Rx, class Executor>
Task<Result<ValueOf<Rx>, ChannelClosed>> recv_on(Rx& rx, Executor& executor) {
  co_return co_await rx.recv().on(executor);
}

TEST(Executor, an_operation_that_is_ready_is_not_posted) {
  auto [tx, rx] = channel<int>(1);
  Queue queue;
  EXPECT_TRUE(tx.try_send(1));
  auto received = recv_on(rx, queue);
  EXPECT_EQ(received.get(), 1);
  EXPECT_EQ(queue.posted(), 0U);
}

TEST(Executor, one_that_waits_goes_on_when_the_executor_says) {
  auto [tx, rx] = channel<int>(1);
  Queue queue;
  auto received = recv_on(rx, queue);
  EXPECT_TRUE(tx.try_send(1));
  EXPECT_FALSE(received.is_done());
  EXPECT_EQ(queue.posted(), 1U);
  EXPECT_TRUE(is_empty(rx.try_recv()));  // the message is promised
  EXPECT_TRUE(queue.run_one());
  EXPECT_EQ(received.get(), 1);
  EXPECT_FALSE(queue.run_one());
}

TEST(Executor, every_awaited_verb_takes_one) {
  auto [tx, rx] = channel<int>(1);
  Queue queue;
  int done = 0;
  const auto all = [](auto& sender, auto& receiver, Queue& on, int& count) -> Task<> {
    const auto sent = co_await sender.send(2).on(on);
    ++count;
    const auto sent_in_time = co_await sender.send_for(3, kLong).on(on);
    ++count;
    const auto batch_sent = co_await sender.send_batch(std::vector<int>(1, 4)).on(on);
    ++count;
    auto permit = co_await sender.reserve().on(on);
    ++count;
    permit->send(5);
    auto send_selected = co_await klaw::channels::select(klaw::channels::sending(sender, 6)).on(on);
    ++count;
    EXPECT_TRUE(sent && sent_in_time && batch_sent && send_selected.template get<0>());
    const auto ready = co_await receiver.recv().on(on);
    const auto got = co_await receiver.recv().on(on);
    const auto got_in_time = co_await receiver.recv_for(kLong).on(on);
    const auto batch = co_await receiver.recv_batch(3).on(on);
    auto selected = co_await klaw::channels::select(receiver).on(on);
    auto selected_in_time = co_await klaw::channels::select_for(kLong, receiver).on(on);
    EXPECT_EQ(ready, 6);
    EXPECT_EQ(got, 7);
    EXPECT_EQ(got_in_time, 8);
    EXPECT_EQ(batch, std::vector<int>(1, 9));
    EXPECT_EQ(selected.template get<0>(), 10);
    EXPECT_EQ(selected_in_time->template get<0>(), 11);
    count = 100;
    const auto closed = co_await receiver.closed().on(on);
    EXPECT_TRUE(closed);
    co_return std::monostate{};
  };
  EXPECT_TRUE(tx.try_send(1));
  auto other = tx.clone();
  auto task = all(other, rx, queue, done);
  for (int i = 1; i <= 5; ++i) {
    ASSERT_EQ(done, i - 1);
    EXPECT_EQ(rx.try_recv(), i);
    EXPECT_EQ(queue.posted(), static_cast<std::size_t>(i));
    queue.run_all();
  }
  for (int i = 7; i <= 11; ++i) {
    EXPECT_TRUE(tx.try_send(i));
    EXPECT_TRUE(queue.run_one());
  }
  ASSERT_EQ(done, 100);
  tx.close();
  other.close();
  EXPECT_TRUE(queue.run_one());
  (void)task.get();
}

TEST(Executor, a_limit_that_passes_is_told_through_it) {
  auto [tx, rx] = channel<int>(1);
  Queue queue;
  auto received = [](auto& receiver, Queue& on) -> Task<Result<int, RecvError>> {
    co_return co_await receiver.recv_for(1ms).on(on);
  }(rx, queue);
  // (On a machine that is very late it is over before it waits.)
  spin_until([&] { return queue.posted() == 1 || received.is_done(); });
  queue.run_all();
  EXPECT_TRUE(is_empty(received.get()));
  EXPECT_EQ(rx.stats().waiting_receivers, 0U);
}

TEST(Executor, one_that_runs_at_once_resumes_in_the_waker) {
  auto [tx, rx] = channel<int>(1);
  const AtOnce at_once;
  auto received = recv_on(rx, at_once);
  EXPECT_TRUE(tx.try_send(1));
  EXPECT_TRUE(received.is_done());
  EXPECT_EQ(received.get(), 1);
}

TEST(Executor, a_predicate_that_waits_runs_there_too_and_waits_again) {
  auto [tx, rx] = klaw::channels::watch<int>(0);
  Queue queue;
  std::vector<int> asked;
  auto waited = [](auto& receiver, Queue& on, std::vector<int>& seen) -> Task<std::shared_ptr<const int>> {
    auto got = co_await receiver
                   .wait_for([&seen](const int& value) {
                     seen.push_back(value);
                     return value == 2;
                   })
                   .on(on);
    co_return got.value_or(nullptr);
  }(rx, queue, asked);
  EXPECT_TRUE(tx.send(1));
  EXPECT_EQ(asked, (std::vector{0}));
  queue.run_all();
  EXPECT_EQ(asked, (std::vector{0, 1}));
  EXPECT_FALSE(waited.is_done());
  EXPECT_TRUE(tx.send(2));
  queue.run_all();
  EXPECT_EQ(*waited.get(), 2);
  EXPECT_EQ(asked, (std::vector{0, 1, 2}));
}

// --- destroyed ---

TEST(Executor, destroyed_before_the_wake_up_it_leaves_and_nothing_is_posted) {
  auto [tx, rx] = channel<int>(1);
  auto queue = std::make_unique<Queue>();
  auto received = recv_on(rx, *queue);
  EXPECT_EQ(rx.stats().waiting_receivers, 1U);
  received.cancel();
  queue.reset();  // nobody needs it any more
  EXPECT_EQ(rx.stats().waiting_receivers, 0U);
  EXPECT_TRUE(tx.try_send(1));
  EXPECT_EQ(rx.try_recv(), 1);
}

TEST(Executor, destroyed_between_wake_up_and_post_it_hands_its_message_on_and_nothing_is_posted) {
  auto [tx, rx] = channel<int>(1);
  auto queue = std::make_unique<Queue>();
  auto received = recv_on(rx, *queue);
  auto next = Suspended::recv(rx);
  while_resuming([&] {
    EXPECT_TRUE(tx.try_send(1));  // claimed and fired; what it wakes is queued behind us
    EXPECT_EQ(queue->posted(), 0U);
    received.cancel();
    queue.reset();
  });
  EXPECT_EQ(next.get(), 1);
}

TEST(Executor, destroyed_after_the_post_it_hands_its_message_on_and_what_was_posted_does_nothing) {
  auto [tx, rx] = channel<int>(1);
  Queue queue;
  auto received = recv_on(rx, queue);
  auto next = Suspended::recv(rx);
  EXPECT_TRUE(tx.try_send(1));
  EXPECT_EQ(queue.posted(), 1U);
  received.cancel();
  EXPECT_EQ(next.get(), 1);
  queue.run_all();
}

TEST(Executor, a_send_destroyed_after_the_post_has_been_sent) {
  auto [tx, rx] = channel<int>(1);
  Queue queue;
  fill(tx);
  auto sent = [](auto& sender, Queue& on) -> Task<Result<void, ChannelClosed>> {
    co_return co_await sender.send(7).on(on);
  }(tx, queue);
  EXPECT_EQ(rx.try_recv(), 0);
  sent.cancel();
  queue.run_all();
  EXPECT_EQ(rx.try_recv(), 7);
  EXPECT_TRUE(is_empty(rx.try_recv()));
}

TEST(Executor, a_select_destroyed_after_the_post_leaves_every_branch) {
  auto [tx1, rx1] = channel<int>(1);
  auto [tx2, rx2] = channel<int>(1);
  Queue queue;
  auto selected = [](auto& a, auto& b, Queue& on) -> Task<std::size_t> {
    auto got = co_await klaw::channels::select(a, b).on(on);
    co_return got.index();
  }(rx1, rx2, queue);
  EXPECT_TRUE(tx2.try_send(1));
  selected.cancel();
  EXPECT_EQ(rx1.stats().waiting_receivers, 0U);
  EXPECT_EQ(rx2.try_recv(), 1);
  queue.run_all();
}

TEST(Executor, with_a_limit_it_may_be_destroyed_as_well) {
  auto [tx, rx] = channel<int>(1);
  for (const auto limit : {std::chrono::nanoseconds(1ms), std::chrono::nanoseconds(kLong)}) {
    Queue queue;
    auto received = [](auto& receiver, Queue& on, auto time) -> Task<Result<int, RecvError>> {
      co_return co_await receiver.recv_for(time).on(on);
    }(rx, queue, limit);
    if (limit == 1ms) spin_until([&] { return queue.posted() == 1 || received.is_done(); });
    received.cancel();
    EXPECT_EQ(rx.stats().waiting_receivers, 0U);
    queue.run_all();
  }
}

TEST(Executor, a_posted_function_that_is_dropped_leaves_the_coroutine_waiting_until_it_is_destroyed) {
  auto [tx, rx] = channel<int>(1);
  Queue queue;
  auto received = recv_on(rx, queue);
  EXPECT_TRUE(tx.try_send(1));
  queue.drop_all();
  EXPECT_FALSE(received.is_done());
  EXPECT_TRUE(is_empty(rx.try_recv()));
  received.cancel();
  EXPECT_EQ(rx.try_recv(), 1);
}

// --- in threads ---

// In threads that wake coroutines, and that must not run them.
thread_local bool only_wakes = false;

Task<> forward_on(LocalReceiver<Message> from, LocalSender<Message> to, Pool& pool, std::atomic<bool>& elsewhere) {
  while (auto got = co_await from.recv().on(pool)) {
    if (only_wakes) elsewhere = true;
    if (!co_await to.send(*got).on(pool)) break;
    if (only_wakes) elsewhere = true;
  }
  to.close();
  co_return std::monostate{};
}

TEST(Executor, a_chain_of_coroutines_in_a_pool_passes_every_message_on) {
  const std::size_t messages = scaled(20'000);
  Tally tally(1, messages);
  std::atomic<bool> elsewhere = false;
  Pool pool(3);
  std::vector<Task<>> tasks;
  auto [tx, rx] = channel<Message>(4);
  auto last = std::move(rx);
  for (int i = 0; i < 4; ++i) {
    auto [next_tx, next_rx] = channel<Message>(static_cast<std::size_t>(i % 2));  // every other one is a rendezvous
    tasks.push_back(forward_on(std::move(last), std::move(next_tx), pool, elsewhere));
    last = std::move(next_rx);
  }
  Tally::Receiver mine(tally);
  std::jthread sender([tx = std::move(tx)]() mutable {
    only_wakes = true;
    for (std::uint32_t seq = 0; seq < messages; ++seq) ASSERT_TRUE(tx.blocking_send(Message{0, seq}));
  });
  only_wakes = true;
  while (auto got = last.blocking_recv()) mine.note(*got);
  for (auto& task : tasks) (void)task.get();
  tally.expect_each_once_and_in_order();
  EXPECT_FALSE(elsewhere);
}

// The executor's own thread destroys coroutines at any moment, while other threads wake them.
TEST(Executor, destroyed_by_its_executors_thread_while_another_wakes_it_loses_nothing) {
  const std::size_t messages = scaled(20'000);
  Tally tally(1, messages);
  Tally::Receiver mine(tally);
  auto [tx, rx] = channel<Message>(1);
  std::jthread sender([tx = std::move(tx)]() mutable {
    for (std::uint32_t seq = 0; seq < messages; ++seq) ASSERT_TRUE(tx.blocking_send(Message{0, seq}));
  });
  Queue queue;
  bool ended = false;
  for (std::size_t round = 0; !ended; ++round) {
    auto received = [](auto& receiver, Queue& on) -> Task<Result<Message, ChannelClosed>> {
      co_return co_await receiver.recv().on(on);
    }(rx, queue);
    for (std::size_t turn = 0; turn < round % 4 && !received.is_done(); ++turn) {
      std::this_thread::yield();
      queue.run_all();
    }
    if (received.is_done()) {
      auto got = received.get();
      if (got) mine.note(*got);
      ended = !got;
    }
    received.cancel();
    if (round % 4 == 0) {
      if (auto got = rx.try_recv()) mine.note(*got);
    }
  }
  tally.expect_each_once_and_in_order();
}

}  // namespace
