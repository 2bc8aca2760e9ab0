// Small random histories of a oneshot, whose two handles four threads share, each of which some order of its calls must
// explain.
#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <utility>

#include <gtest/gtest.h>
#include <klaw/channels/oneshot.hpp>

#include "support/calls.hpp"
#include "support/scale.hpp"

namespace {

using namespace klaw_test;
using klaw::channels::oneshot;
using klaw::channels::OneshotPair;
using klaw::channels::detail::HandleAccess;

constexpr std::size_t kThreads = 4;

enum class Verb : std::uint8_t { send, recv, is_sender_closed, is_receiver_closed, close_sender, close_receiver };
using OneshotCall = Call<Verb>;

class Model : public Waiting<Model, Verb, kThreads> {
 public:
  friend auto operator<=>(const Model&, const Model&) = default;

 private:
  friend class Waiting<Model, Verb, kThreads>;

  Answer attempt(const OneshotCall& call) {
    switch (call.verb) {
      case Verb::send: return send(call.value);
      case Verb::recv: return recv();
      case Verb::is_sender_closed: return number(!sends_ || (!is_sent_ && !receives_));
      case Verb::is_receiver_closed: return number(!receives_ || is_over());
      case Verb::close_sender: sends_ = false; break;
      case Verb::close_receiver:
        receives_ = false;
        value_.reset();
        close_own(receivers(), 0);
        break;
    }
    settle();
    return {};
  }

  Answer send(std::uint64_t value) {
    if (is_sent_) return {.what = What::already_sent};
    if (!sends_) return {.what = What::own_handle};
    if (!receives_) return {.what = What::no_receivers};
    value_ = value;
    is_sent_ = true;
    settle();
    return {};
  }

  Answer recv() {
    if (!receives_) return {.what = What::own_handle};
    if (is_over()) return {.what = end()};
    if (!value_ || is_promised_) return {.what = What::empty};
    return take_value();
  }

  Answer take(const OneshotCall& /*call*/) {
    is_promised_ = false;
    return value_ ? take_value() : Answer{.what = What::own_handle};  // it was dropped
  }
  void hand_on() {
    is_promised_ = false;
    settle();
  }

  Answer take_value() {
    Answer taken = number(*std::exchange(value_, std::nullopt));
    settle();
    return taken;
  }

  // What happens for those who wait when something has changed.
  void settle() {
    if (value_ && !is_promised_ && !receivers().empty()) {
      serve(receivers(), What::granted);
      is_promised_ = true;
    }
    if (is_over()) serve_all(receivers(), end());
  }

  [[nodiscard]] bool is_over() const { return !value_ && (is_sent_ || !sends_); }
  [[nodiscard]] What end() const { return is_sent_ ? What::consumed : What::ended; }

  std::optional<std::uint64_t> value_;
  bool is_sent_ = false;
  bool is_promised_ = false;  // to a receive that was taken out of the line and has not gone yet
  bool sends_ = true;
  bool receives_ = true;
};

class Round {
 public:
  explicit Round(std::size_t seed) : seed_(seed) {}

  void act(std::size_t me) {
    constexpr std::size_t kEach = 4;
    std::mt19937 random(static_cast<std::mt19937::result_type>(seed_ * kThreads + me));
    for (std::size_t k = 0; k < kEach; ++k) call_any(me, random);
    // Nobody waits for ever.
    record(Verb::close_sender, me, [&] { return channel_.tx.close(), Answer(); });
    record_wait(me, [&] { return of(channel_.rx.blocking_recv()); });
  }

  [[nodiscard]] testing::AssertionResult verdict() const { return has_an_order(Model(), history_); }

 private:
  void call_any(std::size_t me, std::mt19937& random) {
    const std::chrono::nanoseconds limit = any_limit(random);
    switch (random() % 16) {
      case 0: record(Verb::close_sender, me, [&] { return channel_.tx.close(), Answer(); }); break;
      case 1: record(Verb::close_receiver, me, [&] { return channel_.rx.close(), Answer(); }); break;
      case 2: record(Verb::is_sender_closed, me, [&] { return number(channel_.tx.is_closed()); }); break;
      case 3: record(Verb::is_receiver_closed, me, [&] { return number(channel_.rx.is_closed()); }); break;
      case 4:
      case 5:
      case 6: record(Verb::send, me, [&] { return of(channel_.tx.send(me)); }); break;
      case 7:
      case 8: record(Verb::recv, me, [&] { return of(channel_.rx.try_recv()); }); break;
      case 9:
      case 10:
      case 11: record_wait(me, [&] { return Fickle(HandleAccess::recv_op(channel_.rx)).wait(limit); }); break;
      default: record_wait(me, [&] { return of(channel_.rx.blocking_recv_for(limit)); });
    }
  }

  template <class Run>
  void record(Verb verb, std::size_t me, Run run) {
    history_.record({.verb = verb, .thread = me, .value = me}, run);
  }
  template <class Run>
  void record_wait(std::size_t me, Run run) {
    history_.record_wait({.verb = Verb::recv, .thread = me}, run);
  }

  std::size_t seed_;
  OneshotPair<std::uint64_t> channel_ = oneshot<std::uint64_t>();
  History<Verb> history_{kThreads};
};

TEST(OneshotHistory, has_an_order) {
  run_histories(kThreads, scaled(5'000), [](std::size_t seed) { return std::make_unique<Round>(seed); });
}

// That the search can tell.

TEST(OneshotHistory, of_a_value_before_its_send_has_no_order) {
  for (const bool overlap : {false, true}) {
    History<Verb> history(kThreads);
    history.put({.verb = Verb::recv, .thread = 0, .answer = number(7)}, 0, overlap ? 2 : 1);
    history.put({.verb = Verb::send, .thread = 1, .value = 7}, overlap ? 1 : 2, 3);
    EXPECT_EQ(has_an_order(Model(), history), overlap);
  }
}

TEST(OneshotHistory, of_two_who_get_it_has_no_order) {
  for (const bool once : {false, true}) {
    History<Verb> history(kThreads);
    history.put({.verb = Verb::send, .thread = 0, .value = 7}, 0, 1);
    history.put_wait({.verb = Verb::recv, .thread = 1, .answer = number(7)}, 2, 9);
    history.put_wait({.verb = Verb::recv, .thread = 2, .answer = once ? Answer{.what = What::consumed} : number(7)}, 2,
                     9);
    EXPECT_EQ(has_an_order(Model(), history), once);
  }
}

// What the first, which was granted it, hands on goes to the second, and is not lost.
TEST(OneshotHistory, of_a_change_of_mind_that_loses_it_has_no_order) {
  for (const bool handed_on : {false, true}) {
    History<Verb> history(kThreads);
    history.put_wait({.verb = Verb::recv, .thread = 0, .answer = {.what = What::changed_mind}}, 0, 7);
    history.put({.verb = Verb::send, .thread = 1, .value = 7}, 1, 2);
    history.put({.verb = Verb::close_sender, .thread = 1}, 3, 4);
    history.put({.verb = Verb::recv, .thread = 1, .answer = {.what = What::empty}}, 5, 6);
    history.put_wait({.verb = Verb::recv, .thread = 2, .answer = handed_on ? number(7) : Answer{.what = What::ended}},
                     5, 9);
    EXPECT_EQ(has_an_order(Model(), history), handed_on);
  }
}

}  // namespace
