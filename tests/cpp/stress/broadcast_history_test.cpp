// Small random histories of a broadcast, in three threads, each of which some order of its calls must explain. All end when
// the senders are gone and all is received, so that what is lost has no explanation either.
#include <algorithm>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <klaw/channels/broadcast.hpp>

#include "support/calls.hpp"
#include "support/scale.hpp"

namespace {

using namespace klaw_test;
using klaw::channels::broadcast;
using klaw::channels::BroadcastReceiver;
using klaw::channels::BroadcastSender;
using klaw::channels::Overflow;
using klaw::channels::detail::HandleAccess;

constexpr std::size_t kThreads = 3;

// A receiver that takes the place of another takes two calls: for a moment both are there.
enum class Verb : std::uint8_t { send, recv, backlog, resubscribe, subscribe, move_over, close_receiver, close_sender };
using BroadcastCall = Call<Verb>;

// One endless log, and positions in it. A call that waits changes nothing before it goes, and nobody else sees what it was
// granted: one point is enough for it.
class Model {
 public:
  Model(std::size_t capacity, Overflow overflow) : capacity_(capacity), overflow_(overflow) {
    for (std::size_t i = 0; i < kThreads; ++i) readers_[i].is_open = true;
  }

  bool apply(const BroadcastCall& call) {
    return call.answer.what == What::changed_mind || answer(call) == call.answer;  // nothing was received then
  }

  friend auto operator<=>(const Model&, const Model&) = default;

 private:
  struct Reader {
    bool is_open = false;
    std::uint64_t next = 0;
    friend auto operator<=>(const Reader&, const Reader&) = default;
  };

  [[nodiscard]] std::uint64_t receivers() const {
    return static_cast<std::uint64_t>(std::ranges::count(readers_, true, &Reader::is_open));
  }
  [[nodiscard]] std::uint64_t oldest() const {
    return overflow_ == Overflow::lag && log_.size() > capacity_ ? log_.size() - capacity_ : 0;
  }
  [[nodiscard]] bool is_full() const {
    return overflow_ == Overflow::wait && std::ranges::any_of(readers_, [&](const Reader& reader) {
             return reader.is_open && log_.size() - reader.next == capacity_;
           });
  }

  Answer answer(const BroadcastCall& call) {
    Reader& reader = readers_[call.thread];
    Reader& fresh = readers_[kThreads + call.thread];
    bool& sends = is_sending_[call.thread];
    switch (call.verb) {
      case Verb::send:
        if (!sends) return {.what = What::own_handle};
        if (receivers() == 0) return {.what = What::no_receivers};
        if (is_full()) return {.what = What::full};
        log_.push_back(call.value);
        return number(receivers());
      case Verb::recv:
        if (!reader.is_open) return {.what = What::own_handle};
        if (reader.next < oldest()) {
          return {.what = What::lagged, .numbers = {oldest() - std::exchange(reader.next, oldest())}};
        }
        if (reader.next < log_.size()) return number(log_[reader.next++]);
        return {.what = std::ranges::find(is_sending_, true) == std::end(is_sending_) ? What::ended : What::empty};
      case Verb::resubscribe: fresh = {.is_open = reader.is_open, .next = log_.size()}; return {};
      case Verb::subscribe: fresh = {.is_open = sends, .next = log_.size()}; return {};
      case Verb::move_over: reader = std::exchange(fresh, {}); return {};
      case Verb::close_receiver: reader.is_open = false; return {};
      case Verb::close_sender: sends = false; return {};
      case Verb::backlog: return number(reader.is_open ? log_.size() - reader.next : 0);
    }
    return {};
  }

  std::size_t capacity_;
  Overflow overflow_;
  std::vector<std::uint64_t> log_;
  Reader readers_[2 * kThreads] = {};  // and, behind them, those that are about to take their places
  bool is_sending_[kThreads] = {true, true, true};
};

class Actor {
 public:
  Actor(History<Verb>& history, std::size_t who, BroadcastSender<std::uint64_t> tx, BroadcastReceiver<std::uint64_t> rx,
        std::size_t seed)
      : history_(&history),
        who_(who),
        tx_(std::move(tx)),
        rx_(std::move(rx)),
        random_(static_cast<std::mt19937::result_type>(seed)) {}

  void act() {
    switch (random_() % 16) {
      case 0:
        record(Verb::resubscribe, [&] { return fresh_.emplace(rx_.resubscribe()), Answer(); });
        return move_over();
      case 1: record(Verb::subscribe, [&] { return fresh_.emplace(tx_.subscribe()), Answer(); }); return move_over();
      case 2: return record(Verb::close_receiver, [&] { return rx_.close(), Answer(); });
      case 3:
        if (random_() % 4 == 0) record(Verb::close_sender, [&] { return tx_.close(), Answer(); });
        return;
      case 4: return record(Verb::backlog, [&] { return number(rx_.size()); });
      case 5:
      case 6:
      case 7: return send([&](std::uint64_t value) { return of(tx_.try_send(value)); });
      case 8:
      case 9:
      case 10: return send([&](std::uint64_t value) { return of(tx_.blocking_send_for(value, any_limit(random_))); });
      case 11:
      case 12: return record(Verb::recv, [&] { return of(rx_.try_recv()); });
      case 13: return record(Verb::recv, [&] { return Fickle(HandleAccess::recv_op(rx_)).wait(any_limit(random_)); });
      default: return record(Verb::recv, [&] { return of(rx_.blocking_recv_for(any_limit(random_))); });
    }
  }

  // Nobody waits for ever: who has done sends no more, and receives what there is.
  void finish() {
    record(Verb::close_sender, [&] { return tx_.close(), Answer(); });
    Answer got;
    while (got.what == What::done || got.what == What::lagged) {
      record(Verb::recv, [&] { return got = of(rx_.blocking_recv()); });
    }
  }

 private:
  template <class Run>
  void record(Verb verb, Run run) {
    history_->record({.verb = verb, .thread = who_}, run);
  }
  template <class SendOne>
  void send(SendOne send_one) {
    const std::uint64_t value = who_ * 100 + next_++;
    history_->record({.verb = Verb::send, .thread = who_, .value = value}, [&] { return send_one(value); });
  }
  void move_over() {
    record(Verb::move_over, [&] { return rx_ = *std::move(fresh_), Answer(); });
  }

  History<Verb>* history_;
  std::size_t who_;
  BroadcastSender<std::uint64_t> tx_;
  BroadcastReceiver<std::uint64_t> rx_;
  std::optional<BroadcastReceiver<std::uint64_t>> fresh_;
  std::mt19937 random_;
  std::uint64_t next_ = 0;
};

class Round {
 public:
  Round(std::size_t capacity, Overflow overflow, std::size_t seed) : model_(capacity, overflow) {
    auto [tx, rx] = broadcast<std::uint64_t>(capacity, overflow);
    for (std::size_t i = 0; i < kThreads; ++i) {
      actors_.emplace_back(history_, i, tx.clone(), tx.subscribe(), seed * kThreads + i);
    }
  }

  void act(std::size_t me) {
    constexpr std::size_t kEach = 7;
    for (std::size_t k = 0; k < kEach; ++k) actors_[me].act();
    actors_[me].finish();
  }

  [[nodiscard]] testing::AssertionResult verdict() const { return has_an_order(model_, history_); }

 private:
  Model model_;
  History<Verb> history_{kThreads};
  std::vector<Actor> actors_;
};

void run(std::size_t capacity, Overflow overflow) {
  run_histories(kThreads, scaled(3'000),
                [&](std::size_t seed) { return std::make_unique<Round>(capacity, overflow, seed); });
}

TEST(BroadcastHistory, of_one_slot_that_lags_has_an_order) { run(1, Overflow::lag); }
TEST(BroadcastHistory, of_two_slots_that_lag_has_an_order) { run(2, Overflow::lag); }
TEST(BroadcastHistory, of_one_slot_that_waits_has_an_order) { run(1, Overflow::wait); }
TEST(BroadcastHistory, of_two_slots_that_wait_has_an_order) { run(2, Overflow::wait); }

// That the search can tell: one receiver gets what was sent before it subscribed.
TEST(BroadcastHistory, that_breaks_a_rule_has_no_order) {
  for (const bool overlap : {false, true}) {  // the send may have come after the change of receivers: then it is fine
    History<Verb> history(kThreads);
    history.put({.verb = Verb::send, .thread = 0, .value = 7, .answer = number(kThreads)}, 0, overlap ? 8 : 1);
    history.put({.verb = Verb::resubscribe, .thread = 1}, 2, 3);
    history.put({.verb = Verb::move_over, .thread = 1}, 4, 5);
    history.put({.verb = Verb::recv, .thread = 1, .answer = number(7)}, 6, 7);
    EXPECT_EQ(has_an_order(Model(1, Overflow::lag), history), overlap);
  }
}

}  // namespace
