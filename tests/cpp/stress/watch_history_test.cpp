// Small random histories of a watch, in three threads, each of which some order of its calls must explain.
#include <algorithm>
#include <array>
#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <klaw/channels/watch.hpp>

#include "support/calls.hpp"
#include "support/scale.hpp"

namespace {

using namespace klaw_test;
using klaw::channels::watch;
using klaw::channels::WatchReceiver;
using klaw::channels::WatchSender;
using klaw::channels::detail::block_on;
using klaw::channels::detail::deadline_after;
using klaw::channels::detail::HandleAccess;

constexpr std::size_t kThreads = 3;
// Each thread has a sender and a receiver, which any thread may close, and behind them is room for one more of each.
constexpr std::size_t kHandles = 2 * kThreads;

enum class Verb : std::uint8_t {
  send,
  recv,     // a change and its value, as a branch of a select gets it
  changed,  // without the value
  borrow,
  borrow_sender,
  borrow_and_update,
  has_changed,
  is_sender_closed,
  is_receiver_closed,
  clone,
  subscribe,
  resubscribe,
  close_sender,
  close_receiver,
};
using WatchCall = Call<Verb>;

// A value, and of each receiver the version that it has seen.
class Model : public Waiting<Model, Verb, kThreads> {
 public:
  Model() {
    std::fill_n(sends_.begin(), kThreads, true);
    std::fill_n(receives_.begin(), kThreads, true);
  }

  friend auto operator<=>(const Model&, const Model&) = default;

 private:
  friend class Waiting<Model, Verb, kThreads>;

  Answer attempt(const WatchCall& call) {
    const std::size_t at = call.handle;
    const std::size_t fresh = kThreads + call.thread;
    switch (call.verb) {
      case Verb::send: return send(call);
      case Verb::recv:
      case Verb::changed: return recv(call);
      case Verb::borrow: return value_for(receives_[at]);
      case Verb::borrow_sender: return value_for(sends_[at]);
      case Verb::borrow_and_update: seen_[at] = version_; return value_for(receives_[at]);
      case Verb::has_changed: return number(is_unseen(at));
      case Verb::is_sender_closed: return number(!sends_[at] || !is_any(receives_));
      case Verb::is_receiver_closed: return number(!receives_[at] || (!is_any(sends_) && !is_unseen(at)));
      case Verb::clone: sends_[fresh] = sends_[at]; return {};
      case Verb::subscribe: return subscribe(fresh, sends_[at]);
      case Verb::resubscribe: return subscribe(fresh, receives_[at]);
      case Verb::close_sender:
        sends_[at] = false;
        if (!is_any(sends_)) serve_all(receivers(), What::ended);
        return {};
      case Verb::close_receiver:
        receives_[at] = false;
        close_own(receivers(), at);
        return {};
    }
    return {};
  }

  Answer send(const WatchCall& call) {
    if (!sends_[call.handle]) return {.what = What::own_handle};
    if (!is_any(receives_)) return {.what = What::no_receivers};
    value_ = call.value;
    ++version_;
    serve_all(receivers(), What::granted);
    return number(static_cast<std::uint64_t>(std::ranges::count(receives_, true)));
  }

  Answer recv(const WatchCall& call) {
    if (is_unseen(call.handle)) return see(call);
    if (!receives_[call.handle]) return {.what = What::own_handle};
    return {.what = is_any(sends_) ? What::empty : What::ended};
  }

  // The value is kept while there is any handle.
  Answer take(const WatchCall& call) {
    return is_any(sends_) || is_any(receives_) ? see(call) : Answer{.what = What::own_handle};
  }
  void hand_on() {}  // nothing was seen

  Answer see(const WatchCall& call) {
    seen_[call.handle] = version_;
    return call.verb == Verb::recv ? number(value_) : Answer();
  }

  Answer subscribe(std::size_t receiver, bool from_open) {
    receives_[receiver] = from_open;
    seen_[receiver] = version_;
    return {};
  }

  [[nodiscard]] static bool is_any(const std::array<bool, kHandles>& handles) {
    return std::ranges::find(handles, true) != handles.end();
  }
  [[nodiscard]] bool is_unseen(std::size_t receiver) const {
    return receives_[receiver] && seen_[receiver] != version_;
  }
  [[nodiscard]] Answer value_for(bool is_open) const {
    return is_open ? number(value_) : Answer{.what = What::no_value};
  }

  std::uint64_t value_ = 0;
  std::uint64_t version_ = 0;
  std::array<std::uint64_t, kHandles> seen_ = {};
  std::array<bool, kHandles> sends_ = {};
  std::array<bool, kHandles> receives_ = {};
};

class Round {
 public:
  explicit Round(std::size_t seed) : seed_(seed) {
    auto [tx, rx] = watch<std::uint64_t>(0);
    for (std::size_t i = 0; i < kHandles; ++i) {
      tx_.push_back(tx.clone());
      rx_.push_back(rx.resubscribe());
      if (i < kThreads) continue;
      tx_.back().close();
      rx_.back().close();
    }
  }

  void act(std::size_t me);
  [[nodiscard]] testing::AssertionResult verdict() const { return has_an_order(Model(), history_); }

 private:
  friend class Actor;

  std::size_t seed_;
  std::vector<WatchSender<std::uint64_t>> tx_;
  std::vector<WatchReceiver<std::uint64_t>> rx_;
  History<Verb> history_{kThreads};
};

// What one thread does in a round.
class Actor {
 public:
  Actor(Round& round, std::size_t me)
      : round_(&round), me_(me), random_(static_cast<std::mt19937::result_type>(round.seed_ * kThreads + me)) {}

  void act() {
    const std::size_t at = any_handle();
    auto& tx = round_->tx_[at];
    auto& rx = round_->rx_[at];
    const std::chrono::nanoseconds limit = any_limit(random_);
    switch (random_() % 32) {
      case 0: return more_handles();
      case 1: return close_sender(random_() % kThreads);
      case 2: return close_receiver(random_() % kThreads);
      case 3: return close_receiver(kThreads + me_);
      case 4: return record(Verb::is_sender_closed, at, [&] { return number(tx.is_closed()); });
      case 5: return record(Verb::is_receiver_closed, at, [&] { return number(rx.is_closed()); });
      case 6: return record(Verb::borrow_sender, at, [&] { return of(tx.borrow()); });
      case 7: return record(Verb::borrow, at, [&] { return of(rx.borrow()); });
      case 8: return record(Verb::borrow_and_update, at, [&] { return of(rx.borrow_and_update()); });
      case 9: return record(Verb::has_changed, at, [&] { return number(rx.has_changed()); });
      case 10:
      case 11:
      case 12: return record(Verb::changed, at, [&] { return of(rx.try_changed()); });
      case 13:
      case 14:
      case 15: return record_wait(Verb::changed, at, [&] { return of(rx.blocking_changed_for(limit)); });
      case 16:
      case 17:
      case 18: return record_wait(Verb::recv, at, [&] { return Fickle(HandleAccess::recv_op(rx)).wait(limit); });
      case 19:
      case 20:
      case 21:
      case 22: return record_wait(Verb::recv, at, [&] { return recv_for(rx, limit); });
      default: {
        const std::uint64_t value = ++next_ * kThreads + me_;
        round_->history_.record({.verb = Verb::send, .thread = me_, .handle = at, .value = value},
                                [&] { return of(tx.send(value)); });
      }
    }
  }

  // Nobody waits for ever: who has done sends no more, and waits for what others send.
  void finish() {
    close_sender(me_);
    close_sender(kThreads + me_);
    Answer answer;
    while (answer.what == What::done) {
      record_wait(Verb::changed, me_, [&] { return answer = of(round_->rx_[me_].blocking_changed()); });
    }
  }

 private:
  std::size_t any_handle() { return random_() % 4 == 0 ? kThreads + me_ : me_; }

  void more_handles() {
    if (std::exchange(has_more_, true)) return;
    auto& tx = round_->tx_;
    auto& rx = round_->rx_;
    const std::size_t mine = kThreads + me_;
    record(Verb::clone, me_, [&] { return tx[mine] = tx[me_].clone(), Answer(); });
    if (random_() % 2 == 0) {
      record(Verb::subscribe, me_, [&] { return rx[mine] = tx[me_].subscribe(), Answer(); });
    } else {
      record(Verb::resubscribe, me_, [&] { return rx[mine] = rx[me_].resubscribe(), Answer(); });
    }
  }
  void close_sender(std::size_t at) {
    record(Verb::close_sender, at, [&] { return round_->tx_[at].close(), Answer(); });
  }
  void close_receiver(std::size_t at) {
    record(Verb::close_receiver, at, [&] { return round_->rx_[at].close(), Answer(); });
  }

  static Answer recv_for(const WatchReceiver<std::uint64_t>& rx, std::chrono::nanoseconds limit) {
    auto op = HandleAccess::recv_op(rx);
    return of(op.limited_result(block_on(op, deadline_after(limit))));
  }

  template <class Run>
  void record(Verb verb, std::size_t at, Run run) {
    round_->history_.record({.verb = verb, .thread = me_, .handle = at}, run);
  }
  template <class Run>
  void record_wait(Verb verb, std::size_t at, Run run) {
    round_->history_.record_wait({.verb = verb, .thread = me_, .handle = at}, run);
  }

  Round* round_;
  std::size_t me_;
  std::mt19937 random_;
  std::uint64_t next_ = 0;
  bool has_more_ = false;
};

void Round::act(std::size_t me) {
  constexpr std::size_t kEach = 6;
  Actor actor(*this, me);
  for (std::size_t k = 0; k < kEach; ++k) actor.act();
  actor.finish();
}

TEST(WatchHistory, has_an_order) {
  run_histories(kThreads, scaled(4'000), [](std::size_t seed) { return std::make_unique<Round>(seed); });
}

// That the search can tell.

TEST(WatchHistory, of_an_old_value_has_no_order) {
  for (const bool overlap : {false, true}) {
    History<Verb> history(kThreads);
    history.put({.verb = Verb::send, .thread = 0, .value = 7, .answer = number(kThreads)}, 0, 1);
    history.put({.verb = Verb::send, .thread = 0, .value = 8, .answer = number(kThreads)}, 2, overlap ? 5 : 3);
    history.put({.verb = Verb::borrow, .thread = 1, .handle = 1, .answer = number(7)}, 4, 6);
    EXPECT_EQ(has_an_order(Model(), history), overlap);
  }
}

TEST(WatchHistory, of_one_change_seen_twice_has_no_order) {
  for (const bool two : {false, true}) {
    History<Verb> history(kThreads);
    history.put({.verb = Verb::send, .thread = 0, .value = 7, .answer = number(kThreads)}, 0, 1);
    history.put_wait({.verb = Verb::recv, .thread = 1, .handle = 1, .answer = number(7)}, 2, 3);
    if (two) history.put({.verb = Verb::send, .thread = 0, .value = 7, .answer = number(kThreads)}, 2, 5);
    history.put_wait({.verb = Verb::changed, .thread = 1, .handle = 1}, 4, 6);
    EXPECT_EQ(has_an_order(Model(), history), two);
  }
}

TEST(WatchHistory, of_an_end_before_the_last_value_has_no_order) {
  for (const bool seen : {false, true}) {
    History<Verb> history(1);
    history.put({.verb = Verb::close_sender, .thread = 0, .handle = 1}, 0, 1);
    history.put({.verb = Verb::close_sender, .thread = 0, .handle = 2}, 2, 3);
    history.put({.verb = Verb::send, .thread = 0, .value = 7, .answer = number(kThreads)}, 4, 5);
    history.put({.verb = Verb::close_sender, .thread = 0}, 6, 7);
    if (seen) history.put({.verb = Verb::borrow_and_update, .thread = 0, .answer = number(7)}, 8, 9);
    history.put_wait({.verb = Verb::changed, .thread = 0, .answer = {.what = What::ended}}, 10, 11);
    EXPECT_EQ(has_an_order(Model(), history), seen);
  }
}

}  // namespace
