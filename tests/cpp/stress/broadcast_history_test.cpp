// Small random histories of a broadcast, in three threads, each of which some order of its calls must explain.
#include <algorithm>
#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <ostream>
#include <random>
#include <sstream>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <gtest/gtest.h>
#include <klaw/channels/broadcast.hpp>

#include "support/history.hpp"
#include "support/scale.hpp"
#include "support/threads.hpp"

namespace {

using namespace klaw_test;
using klaw::channels::broadcast;
using klaw::channels::BroadcastReceiver;
using klaw::channels::BroadcastSender;
using klaw::channels::Overflow;

constexpr std::size_t kThreads = 3;

// A receiver that takes the place of another takes two calls: for a moment both are there.
enum class Verb : std::uint8_t { send, recv, backlog, resubscribe, subscribe, move_over, close_receiver, close_sender };
enum class What : std::uint8_t { nothing, number, lagged, empty, full, no_receivers, ended, own_handle };

struct Outcome {
  What what = What::nothing;
  std::uint64_t number = 0;  // received, missed, of receivers, of messages
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

struct Call {
  Verb verb;
  std::size_t who;  // the thread, whose sender and receiver it used
  std::uint64_t value;
  Outcome outcome;
};

std::ostream& operator<<(std::ostream& out, const Timed<Call>& it) {
  return out << '[' << it.started << ' ' << it.ended << "] thread " << it.call.who << " verb "
             << static_cast<int>(it.call.verb) << " value " << it.call.value << " -> "
             << static_cast<int>(it.call.outcome.what) << ' ' << it.call.outcome.number;
}

// One endless log, and positions in it.
class Model {
 public:
  Model(std::size_t capacity, Overflow overflow) : capacity_(capacity), overflow_(overflow) {
    for (std::size_t i = 0; i < kThreads; ++i) readers_[i].is_open = true;
  }

  bool apply(const Call& call) { return outcome(call) == call.outcome; }

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

  Outcome outcome(const Call& call) {
    Reader& reader = readers_[call.who];
    Reader& fresh = readers_[kThreads + call.who];
    bool& sends = is_sending_[call.who];
    switch (call.verb) {
      case Verb::send:
        if (!sends) return {.what = What::own_handle};
        if (receivers() == 0) return {.what = What::no_receivers};
        if (is_full()) return {.what = What::full};
        log_.push_back(call.value);
        return {.what = What::number, .number = receivers()};
      case Verb::recv:
        if (!reader.is_open) return {.what = What::own_handle};
        if (reader.next < oldest()) {
          return {.what = What::lagged, .number = oldest() - std::exchange(reader.next, oldest())};
        }
        if (reader.next < log_.size()) return {.what = What::number, .number = log_[reader.next++]};
        return {.what = std::ranges::find(is_sending_, true) == std::end(is_sending_) ? What::ended : What::empty};
      case Verb::resubscribe: fresh = {.is_open = reader.is_open, .next = log_.size()}; return {};
      case Verb::subscribe: fresh = {.is_open = sends, .next = log_.size()}; return {};
      case Verb::move_over: reader = std::exchange(fresh, {}); return {};
      case Verb::close_receiver: reader.is_open = false; return {};
      case Verb::close_sender: sends = false; return {};
      case Verb::backlog: return {.what = What::number, .number = reader.is_open ? log_.size() - reader.next : 0};
    }
    return {};
  }

  std::size_t capacity_;
  Overflow overflow_;
  std::vector<std::uint64_t> log_;
  Reader readers_[2 * kThreads] = {};  // and, behind them, those that are about to take their places
  bool is_sending_[kThreads] = {true, true, true};
};

Outcome of(const klaw::ChannelClosed& closed) {
  switch (closed.kind) {
    case klaw::CloseKind::handle_closed: return {.what = What::own_handle};
    case klaw::CloseKind::peer_gone: return {.what = What::no_receivers};
    default: return {.what = What::ended};
  }
}
Outcome of(const klaw::ChannelFull& /*full*/) { return {.what = What::full}; }
Outcome of(const klaw::ChannelEmpty& /*empty*/) { return {.what = What::empty}; }
Outcome of(const klaw::Lagged& lagged) { return {.what = What::lagged, .number = lagged.skipped}; }
template <class T, class... Errors>
Outcome of(const klaw::Result<T, std::variant<Errors...>>& result) {
  if (result) return {.what = What::number, .number = *result};
  return std::visit([](const auto& error) { return of(error); }, result.error());
}

class Actor {
 public:
  Actor(std::size_t who, BroadcastSender<std::uint64_t> tx, BroadcastReceiver<std::uint64_t> rx, unsigned seed)
      : who_(who), tx_(std::move(tx)), rx_(std::move(rx)), random_(seed) {}

  void act(History<Call>& history) {
    switch (random_() % 16) {
      case 0:
        history.record(who_, [&] { return fresh_.emplace(rx_.resubscribe()), call(Verb::resubscribe); });
        move_over(history);
        break;
      case 1:
        history.record(who_, [&] { return fresh_.emplace(tx_.subscribe()), call(Verb::subscribe); });
        move_over(history);
        break;
      case 2: history.record(who_, [&] { return rx_.close(), call(Verb::close_receiver); }); break;
      case 3:
        if (random_() % 4 == 0) history.record(who_, [&] { return tx_.close(), call(Verb::close_sender); });
        break;
      case 4:
        history.record(who_, [&] { return call(Verb::backlog, {.what = What::number, .number = rx_.size()}); });
        break;
      case 5:
      case 6:
      case 7: send(history, [&](std::uint64_t value) { return of(tx_.try_send(value)); }); break;
      case 8:
      case 9:
      case 10: send(history, [&](std::uint64_t value) { return of(tx_.blocking_send_for(value, limit())); }); break;
      case 11:
      case 12: history.record(who_, [&] { return call(Verb::recv, of(rx_.try_recv())); }); break;
      default: history.record(who_, [&] { return call(Verb::recv, of(rx_.blocking_recv_for(limit()))); }); break;
    }
  }

 private:
  Call call(Verb verb, Outcome outcome = {}, std::uint64_t value = 0) const { return {verb, who_, value, outcome}; }
  std::chrono::nanoseconds limit() { return std::chrono::nanoseconds(random_() % 20'000); }

  template <class SendOne>
  void send(History<Call>& history, SendOne send_one) {
    const std::uint64_t value = who_ * 100 + next_++;
    history.record(who_, [&] { return call(Verb::send, send_one(value), value); });
  }
  void move_over(History<Call>& history) {
    history.record(who_, [&] { return rx_ = *std::move(fresh_), call(Verb::move_over); });
  }

  std::size_t who_;
  BroadcastSender<std::uint64_t> tx_;
  BroadcastReceiver<std::uint64_t> rx_;
  std::optional<BroadcastReceiver<std::uint64_t>> fresh_;
  std::mt19937 random_;
  std::uint64_t next_ = 0;
};

void run_histories(int capacity, Overflow overflow, std::size_t rounds) {
  constexpr std::size_t kEach = 7;
  for (unsigned round = 0; round < rounds; ++round) {
    History<Call> history(kThreads);
    {
      auto [tx, rx] = broadcast<std::uint64_t>(capacity, overflow);
      std::vector<Actor> actors;
      for (std::size_t i = 0; i < kThreads; ++i) {
        actors.emplace_back(i, tx.clone(), tx.subscribe(), round * 16 + static_cast<unsigned>(i));
      }
      tx.close();
      rx.close();
      run_together(kThreads, [&](std::size_t i) {
        for (std::size_t k = 0; k < kEach; ++k) actors[i].act(history);
      });
    }
    const auto calls = history.calls();
    if (!Linearization<Call, Model>(calls).exists(Model(static_cast<std::size_t>(capacity), overflow))) {
      std::ostringstream shown;
      for (const auto& call : calls) shown << call << '\n';
      FAIL() << "round " << round << ": no order explains\n" << shown.str();
    }
  }
}

TEST(BroadcastHistory, of_one_slot_that_lags_has_an_order) { run_histories(1, Overflow::lag, scaled(10'000)); }
TEST(BroadcastHistory, of_two_slots_that_lag_has_an_order) { run_histories(2, Overflow::lag, scaled(10'000)); }
TEST(BroadcastHistory, of_one_slot_that_waits_has_an_order) { run_histories(1, Overflow::wait, scaled(10'000)); }
TEST(BroadcastHistory, of_two_slots_that_wait_has_an_order) { run_histories(2, Overflow::wait, scaled(10'000)); }

// That the search can tell: one receiver gets what was sent before it subscribed.
TEST(BroadcastHistory, that_breaks_a_rule_has_no_order) {
  std::vector<Timed<Call>> calls{
      {{Verb::send, 0, 7, {.what = What::number, .number = kThreads}}, 0, 1},
      {{Verb::resubscribe, 1, 0, {}}, 2, 3},
      {{Verb::move_over, 1, 0, {}}, 4, 5},
      {{Verb::recv, 1, 0, {.what = What::number, .number = 7}}, 6, 7},
  };
  EXPECT_FALSE((Linearization<Call, Model>(calls).exists(Model(1, Overflow::lag))));
  calls[0].ended = 8;  // the send may have come after the change of receivers: then it is fine
  EXPECT_TRUE((Linearization<Call, Model>(calls).exists(Model(1, Overflow::lag))));
}

}  // namespace
