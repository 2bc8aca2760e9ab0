// Small random histories of an MPMC channel, in three threads, each of which some order of its calls must explain. All end
// when the senders are gone and all is drained, so that what was sent and not received has no explanation either.
#include <algorithm>
#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <klaw/channels/local.hpp>

#include "support/calls.hpp"
#include "support/scale.hpp"

namespace {

using namespace klaw_test;
using klaw::channels::LocalReceiver;
using klaw::channels::LocalSender;
using klaw::channels::detail::HandleAccess;
using klaw::channels::detail::kUnbounded;
using klaw::channels::detail::make_local;

constexpr std::size_t kThreads = 3;
// Each thread has a sender and a receiver, which any thread may close, and behind them is room for their clones.
constexpr std::size_t kHandles = 2 * kThreads;

enum class Verb : std::uint8_t {
  send,
  recv,
  size,
  clone_sender,
  clone_receiver,
  close_sender,
  close_receiver,
  shutdown,
  shutdown_now,
};
using MpmcCall = Call<Verb>;

// A queue, from whose front receivers take, and two lines. A rendezvous is one, too: the message goes by way of the queue,
// and what a receiver takes need not be what it was chosen for, if two are being woken. (So pairs of a send and a receive
// that take effect as one would not explain it.)
class Model : public Waiting<Model, Verb, kThreads> {
 public:
  explicit Model(std::size_t capacity) : capacity_(capacity) {
    std::fill_n(sends_.begin(), kThreads, true);
    std::fill_n(receives_.begin(), kThreads, true);
  }

  friend auto operator<=>(const Model&, const Model&) = default;

 private:
  friend class Waiting<Model, Verb, kThreads>;

  Answer attempt(const MpmcCall& call) {
    const std::size_t clone = kThreads + call.thread;
    switch (call.verb) {
      case Verb::send: return send(call);
      case Verb::recv: return recv(call);
      case Verb::size: return number(items_.size());
      case Verb::clone_sender: sends_[clone] = sends_[call.handle]; return {};
      case Verb::clone_receiver: receives_[clone] = receives_[call.handle]; return {};
      case Verb::close_sender: return close_sender(call.handle);
      case Verb::close_receiver: return close_receiver(call.handle);
      case Verb::shutdown: return shut_down(call.handle, false);
      case Verb::shutdown_now: return shut_down(call.handle, true);
    }
    return {};
  }

  Answer send(const MpmcCall& call) {
    if (call.count > std::max<std::size_t>(capacity_, 1)) return {.what = What::full};  // at once
    if (!sends_[call.handle]) return {.what = What::own_handle};
    if (is_shut_down_) return {.what = What::shutdown};
    if (!is_any(receives_)) return {.what = What::no_receivers};
    if (capacity_ > 0 ? capacity_ - items_.size() < call.count : receivers().empty()) return {.what = What::full};
    for (std::uint64_t i = 0; i < call.count; ++i) items_.push_back(call.value + i);
    settle();
    return {};
  }

  Answer recv(const MpmcCall& call) {
    if (!receives_[call.handle]) return {.what = What::own_handle};
    if (is_over()) return {.what = end()};
    if (unpromised() == 0 && capacity_ == 0 && !senders().empty()) {
      items_.push_back(serve(senders(), What::done).value);
    }
    if (unpromised() == 0) return {.what = What::empty};
    return take_unpromised(call.count);
  }

  Answer take(const MpmcCall& call) {
    --promised_;
    if (items_.empty()) return {.what = is_shut_down_ ? What::shutdown : What::own_handle};  // they were dropped
    return take_unpromised(call.count);
  }
  void hand_on() {
    --promised_;
    settle();
  }

  Answer take_unpromised(std::size_t max) {
    const auto end = items_.begin() + static_cast<std::ptrdiff_t>(std::min(max, unpromised()));
    Answer taken = {.numbers = {items_.begin(), end}};
    items_.erase(items_.begin(), end);
    settle();
    return taken;
  }

  Answer close_sender(std::size_t handle) {
    sends_[handle] = false;
    close_own(senders(), handle);
    settle();
    return {};
  }
  Answer close_receiver(std::size_t handle) {
    receives_[handle] = false;
    close_own(receivers(), handle);
    if (!is_any(receives_)) {
      items_.clear();
      serve_all(senders(), What::no_receivers);
    }
    settle();
    return {};
  }
  Answer shut_down(std::size_t handle, bool now) {
    if (!sends_[handle]) return {.what = What::own_handle};
    is_shut_down_ = true;
    serve_all(senders(), What::shutdown);
    if (now) items_.clear();
    settle();
    return {};
  }

  // What happens for those who wait when something has changed.
  void settle() {
    while (!senders().empty() && items_.size() < capacity_) items_.push_back(serve(senders(), What::done).value);
    while (!receivers().empty() && unpromised() > 0) {
      serve(receivers(), What::granted);
      ++promised_;
    }
    if (is_over()) serve_all(receivers(), end());
  }

  [[nodiscard]] static bool is_any(const std::array<bool, kHandles>& handles) {
    return std::ranges::find(handles, true) != handles.end();
  }
  [[nodiscard]] std::size_t unpromised() const { return items_.size() > promised_ ? items_.size() - promised_ : 0; }
  [[nodiscard]] bool is_over() const { return items_.empty() && (is_shut_down_ || !is_any(sends_)); }
  [[nodiscard]] What end() const { return is_shut_down_ ? What::shutdown : What::ended; }

  std::size_t capacity_;
  std::vector<std::uint64_t> items_;
  std::size_t promised_ = 0;  // to receivers that were taken out of the line and have not gone yet
  std::array<bool, kHandles> sends_ = {};
  std::array<bool, kHandles> receives_ = {};
  bool is_shut_down_ = false;
};

class Round {
 public:
  Round(std::size_t capacity, std::size_t seed) : capacity_(capacity), seed_(seed) {
    auto [tx, rx] = make_local<std::uint64_t>(capacity);
    for (std::size_t i = 0; i < kHandles; ++i) {
      tx_.push_back(tx.clone());
      rx_.push_back(rx.clone());
      if (i < kThreads) continue;
      tx_.back().close();
      rx_.back().close();
    }
  }

  void act(std::size_t me);
  [[nodiscard]] testing::AssertionResult verdict() const { return has_an_order(Model(capacity_), history_); }

 private:
  friend class Actor;

  std::size_t capacity_;
  std::size_t seed_;
  std::vector<LocalSender<std::uint64_t>> tx_;
  std::vector<LocalReceiver<std::uint64_t>> rx_;
  History<Verb> history_{kThreads};
};

// What one thread does in a round.
class Actor {
 public:
  Actor(Round& round, std::size_t me)
      : round_(&round), me_(me), random_(static_cast<std::mt19937::result_type>(round.seed_ * kThreads + me)) {}

  void act() {
    switch (random_() % 32) {
      case 0: return clone();
      case 1: return close_sender(random_() % kThreads);
      case 2: return close_receiver(random_() % kThreads);
      case 3: return close_receiver(kThreads + me_);
      case 4: return shut_down();
      case 5:
      case 6: return size();
      case 7:
      case 8:
      case 9:
      case 10:
      case 11: return try_send();
      case 12: return try_send_batch();
      case 13:
      case 14:
      case 15:
      case 16:
      case 17:
      case 18: return send_for();
      case 19:
      case 20:
      case 21: return try_recv();
      case 22: return try_recv_batch();
      case 23:
      case 24:
      case 25: return recv_and_change_mind();
      default: return recv_for();
    }
  }

  // Nobody waits for ever: who has done sends no more, and receives what there is.
  void finish() {
    close_sender(me_);
    close_sender(kThreads + me_);
    while ((random_() % 2 == 0 ? recv() : recv_batch()).what == What::done) {
    }
  }

 private:
  MpmcCall call(Verb verb, std::size_t handle) const { return {.verb = verb, .thread = me_, .handle = handle}; }
  std::size_t any_handle() { return random_() % 4 == 0 ? kThreads + me_ : me_; }

  void clone() {
    if (std::exchange(has_clones_, true)) return;
    const std::size_t mine = kThreads + me_;
    history().record(call(Verb::clone_sender, me_),
                     [&] { return round_->tx_[mine] = round_->tx_[me_].clone(), Answer(); });
    history().record(call(Verb::clone_receiver, me_),
                     [&] { return round_->rx_[mine] = round_->rx_[me_].clone(), Answer(); });
  }
  void close_sender(std::size_t handle) {
    history().record(call(Verb::close_sender, handle), [&] { return round_->tx_[handle].close(), Answer(); });
  }
  void close_receiver(std::size_t handle) {
    history().record(call(Verb::close_receiver, handle), [&] { return round_->rx_[handle].close(), Answer(); });
  }
  void shut_down() {
    const bool now = random_() % 2 == 0;
    history().record(call(now ? Verb::shutdown_now : Verb::shutdown, me_),
                     [&] { return of(round_->tx_[me_].shutdown(now)); });
  }
  void size() {
    history().record(call(Verb::size, me_), [&] { return of(round_->rx_[me_].size()); });
  }

  MpmcCall send(std::size_t count = 1) {
    MpmcCall one = call(Verb::send, any_handle());
    one.value = me_ * 100 + next_;
    one.count = count;
    next_ += count;
    return one;
  }
  void try_send() {
    const MpmcCall one = send();
    history().record(one, [&] { return of(round_->tx_[one.handle].try_send(one.value)); });
  }
  void try_send_batch() {
    const MpmcCall two = send(2);
    history().record(two,
                     [&] { return of(round_->tx_[two.handle].try_send_batch(std::array{two.value, two.value + 1})); });
  }
  void send_for() {
    const MpmcCall one = send();
    history().record_wait(one,
                          [&] { return of(round_->tx_[one.handle].blocking_send_for(one.value, any_limit(random_))); });
  }

  void try_recv() {
    const MpmcCall one = call(Verb::recv, any_handle());
    history().record(one, [&] { return of(receiver(one).try_recv()); });
  }
  void try_recv_batch() {
    MpmcCall two = call(Verb::recv, any_handle());
    two.count = 2;
    history().record(two, [&] { return of(receiver(two).try_recv_batch(2)); });
  }
  void recv_for() {
    const MpmcCall one = call(Verb::recv, any_handle());
    history().record_wait(one, [&] { return of(receiver(one).blocking_recv_for(any_limit(random_))); });
  }
  void recv_and_change_mind() {
    const MpmcCall one = call(Verb::recv, any_handle());
    history().record_wait(one, [&] { return Fickle(HandleAccess::recv_op(receiver(one))).wait(any_limit(random_)); });
  }
  Answer recv() {
    const MpmcCall one = call(Verb::recv, me_);
    return history().record_wait(one, [&] { return of(receiver(one).blocking_recv()); });
  }
  Answer recv_batch() {
    MpmcCall two = call(Verb::recv, me_);
    two.count = 2;
    return history().record_wait(two, [&] { return of(receiver(two).blocking_recv_batch(2)); });
  }

  LocalReceiver<std::uint64_t>& receiver(const MpmcCall& call) { return round_->rx_[call.handle]; }
  History<Verb>& history() { return round_->history_; }

  Round* round_;
  std::size_t me_;
  std::mt19937 random_;
  std::uint64_t next_ = 0;
  bool has_clones_ = false;
};

void Round::act(std::size_t me) {
  constexpr std::size_t kEach = 5;
  Actor actor(*this, me);
  for (std::size_t k = 0; k < kEach; ++k) actor.act();
  actor.finish();
}

void run(std::size_t capacity) {
  run_histories(kThreads, scaled(4'000), [&](std::size_t seed) { return std::make_unique<Round>(capacity, seed); });
}

TEST(MpmcHistory, of_a_rendezvous_has_an_order) { run(0); }
TEST(MpmcHistory, of_one_slot_has_an_order) { run(1); }
TEST(MpmcHistory, of_two_slots_has_an_order) { run(2); }
TEST(MpmcHistory, without_a_bound_has_an_order) { run(kUnbounded); }

// That the search can tell.

TEST(MpmcHistory, out_of_order_has_no_order) {
  for (const bool overlap : {false, true}) {
    History<Verb> history(kThreads);
    history.put({.verb = Verb::send, .thread = 0, .value = 7}, 0, overlap ? 4 : 1);
    history.put({.verb = Verb::send, .thread = 1, .handle = 1, .value = 8}, 2, 3);
    history.put_wait({.verb = Verb::recv, .thread = 2, .handle = 2, .answer = number(8)}, 5, 6);
    EXPECT_EQ(has_an_order(Model(2), history), overlap);
  }
}

TEST(MpmcHistory, with_more_than_the_capacity_has_no_order) {
  for (const std::size_t capacity : {1U, 2U}) {
    History<Verb> history(kThreads);
    history.put({.verb = Verb::send, .thread = 0, .value = 7}, 0, 1);
    history.put_wait({.verb = Verb::send, .thread = 0, .value = 8}, 2, 3);
    EXPECT_EQ(has_an_order(Model(capacity), history), capacity == 2);
  }
}

TEST(MpmcHistory, of_a_rendezvous_with_nobody_has_no_order) {
  for (const bool meet : {false, true}) {
    History<Verb> history(kThreads);
    history.put_wait({.verb = Verb::recv, .thread = 1, .handle = 1, .answer = number(7)}, meet ? 1 : 2, 3);
    history.put({.verb = Verb::send, .thread = 0, .value = 7}, 0, meet ? 2 : 1);
    EXPECT_EQ(has_an_order(Model(0), history), meet);
  }
}

TEST(MpmcHistory, that_loses_a_message_has_no_order) {
  for (const bool drop : {false, true}) {
    History<Verb> history(1);
    history.put({.verb = Verb::send, .thread = 0, .value = 7}, 0, 1);
    history.put({.verb = drop ? Verb::shutdown_now : Verb::shutdown, .thread = 0}, 2, 3);
    history.put_wait({.verb = Verb::recv, .thread = 0, .answer = {.what = What::shutdown}}, 4, 5);
    EXPECT_EQ(has_an_order(Model(kUnbounded), history), drop);
  }
}

// Granted to a receive that is about to take it, a message is nobody else's, and takes up room.
TEST(MpmcHistory, of_a_message_that_nobody_takes_has_no_order) {
  for (const bool granted : {false, true}) {
    History<Verb> history(kThreads);
    history.put({.verb = Verb::send, .thread = 0, .value = 7}, 1, 2);
    history.put({.verb = Verb::recv, .thread = 1, .handle = 1, .answer = {.what = What::empty}}, 3, 4);
    history.put({.verb = Verb::send, .thread = 0, .value = 8, .answer = {.what = What::full}}, 5, 6);
    history.put_wait({.verb = Verb::recv, .thread = 2, .handle = 2, .answer = number(7)}, granted ? 0 : 7, 8);
    EXPECT_EQ(has_an_order(Model(1), history), granted);
  }
}

}  // namespace
