// Calls on channels for a history: what came of each, how threads record them, and what models of calls that wait have in
// common.
//
// A call that never waits takes effect at one point between its start and its end. One that waits can't be told so: while a
// receive waits on a rendezvous, a try_send succeeds that would fail before and after; and while it is being woken, the
// message that it was granted can't be taken by another, and still takes up room. So it takes effect at two points: it comes
// (finds what it is for, or takes its place in the line), and it goes (with what was done for it in between, or empty-handed).
// Both are between its start and its end. What a critical section does for those who wait belongs to the point of the call
// that did it. (Scherer and Scott, "Nonblocking Concurrent Data Structures with Condition Synchronization", 2004, call the two
// a reservation and its follow-up.)
//
// That a line is served in order of arrival can't be seen in a history: nobody sees another take his place.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <barrier>
#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <ostream>
#include <random>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <gtest/gtest.h>
#include <klaw/channels/detail/thread_wait.hpp>
#include <klaw/errors.hpp>

#include "support/history.hpp"
#include "support/threads.hpp"

namespace klaw_test {

enum class What : std::uint8_t {
  done,
  empty,
  full,
  lagged,
  own_handle,
  no_receivers,
  ended,
  shutdown,
  already_sent,
  consumed,
  no_value,      // of a closed handle
  changed_mind,  // cancelled, whether or not it was granted something by then
  granted,       // of a model: something will be there for it when it goes
};

[[nodiscard]] constexpr std::string_view to_string(What what) noexcept {
  constexpr std::string_view kNames[] = {"done",         "empty",        "full",     "lagged",       "own_handle",
                                         "no_receivers", "ended",        "shutdown", "already_sent", "consumed",
                                         "no_value",     "changed_mind", "granted"};
  return kNames[static_cast<std::size_t>(what)];
}

struct Answer {
  What what = What::done;
  std::vector<std::uint64_t> numbers = {};  // received, missed, of receivers, of messages
  friend auto operator<=>(const Answer&, const Answer&) = default;
};
[[nodiscard]] inline Answer number(std::uint64_t n) { return {.what = What::done, .numbers = {n}}; }

[[nodiscard]] inline Answer of(const klaw::ChannelClosed& closed) {
  switch (closed.kind) {
    case klaw::CloseKind::handle_closed: return {.what = What::own_handle};
    case klaw::CloseKind::peer_gone: return {.what = What::no_receivers};
    case klaw::CloseKind::shutdown: return {.what = What::shutdown};
    default: return {.what = closed.reason == "already consumed" ? What::consumed : What::ended};
  }
}
[[nodiscard]] inline Answer of(const klaw::ChannelFull& /*full*/) { return {.what = What::full}; }
[[nodiscard]] inline Answer of(const klaw::ChannelEmpty& /*empty*/) { return {.what = What::empty}; }
[[nodiscard]] inline Answer of(const klaw::AlreadySent& /*sent*/) { return {.what = What::already_sent}; }
[[nodiscard]] inline Answer of(const klaw::Lagged& lagged) {
  return {.what = What::lagged, .numbers = {lagged.skipped}};
}
[[nodiscard]] inline Answer of(std::uint64_t value) { return number(value); }
[[nodiscard]] inline Answer of(const std::vector<std::uint64_t>& values) { return {.numbers = values}; }
[[nodiscard]] inline Answer of(const std::shared_ptr<const std::uint64_t>& value) {
  return value == nullptr ? Answer{.what = What::no_value} : number(*value);
}
template <class... Errors>
[[nodiscard]] Answer of(const std::variant<Errors...>& error) {
  return std::visit([](const auto& one) { return of(one); }, error);
}
template <class T, class E>
[[nodiscard]] Answer of(const klaw::Result<T, E>& result) {
  if (!result) return of(result.error());
  if constexpr (std::is_void_v<T>) {
    return {};
  } else {
    return of(*result);
  }
}

// How long a call may wait: from the time that it takes itself to that in which many others happen.
[[nodiscard]] inline std::chrono::nanoseconds any_limit(std::mt19937& random) {
  return std::chrono::nanoseconds(500 << random() % 10);
}

// Receives, or waits for a change, for `limit` at most, and changes its mind if it had to wait: what it was granted when it
// was woken, it hands on.
template <class Op>
class [[nodiscard]] Fickle {
 public:
  explicit Fickle(Op op) : op_(std::move(op)) {}

  Answer wait(std::chrono::nanoseconds limit) {
    const auto status = klaw::channels::detail::sleep_on(*this, klaw::channels::detail::deadline_after(limit));
    if (!status || *status == Status::pending) return {.what = What::changed_mind};
    return of(op_.limited_result(*status));
  }

  using Status = klaw::channels::detail::Status;
  Status start(klaw::channels::detail::Operation* op) { return op_.start(op); }
  Status finish() {
    op_.abandon();
    return Status::pending;
  }
  void abandon() noexcept { op_.abandon(); }

 private:
  Op op_;
};

enum class Part : std::uint8_t { all, comes, goes };

template <class Verb>
struct Call {
  Verb verb;
  std::size_t thread;
  std::size_t handle = 0;
  std::uint64_t value = 0;  // that is sent, and the next ones, if it is a batch
  std::size_t count = 1;    // how many, or how many at most
  Answer answer = {};
  Part part = Part::all;
};

template <class Verb>
std::ostream& operator<<(std::ostream& out, const Timed<Call<Verb>>& it) {
  static constexpr const char* kParts[] = {"", " comes", " goes"};
  out << '[' << it.started << ' ' << it.ended << "] thread " << it.call.thread << " handle " << it.call.handle
      << " verb " << static_cast<int>(it.call.verb) << kParts[static_cast<std::size_t>(it.call.part)] << " value "
      << it.call.value << " x " << it.call.count << " -> " << to_string(it.call.answer.what);
  for (const std::uint64_t number : it.call.answer.numbers) out << ' ' << number;
  return out;
}

template <class Verb>
class History {
 public:
  explicit History(std::size_t threads) : calls_(threads) {}

  // Runs `run`, which gives the answer. In thread call.thread alone.
  template <class Run>
  Answer record(Call<Verb> call, Run run) {
    const std::uint64_t started = clock_.fetch_add(1);
    call.answer = run();
    put(call, started, clock_.fetch_add(1));
    return call.answer;
  }
  // Of a call that may wait.
  template <class Run>
  Answer record_wait(Call<Verb> call, Run run) {
    const std::uint64_t started = clock_.fetch_add(1);
    call.answer = run();
    put_wait(call, started, clock_.fetch_add(1));
    return call.answer;
  }

  // One that is made up.
  void put(const Call<Verb>& call, std::uint64_t started, std::uint64_t ended) {
    calls_[call.thread].push_back({call, started, ended});
  }
  void put_wait(Call<Verb> call, std::uint64_t started, std::uint64_t ended) {
    for (const Part part : {Part::comes, Part::goes}) {
      call.part = part;
      put(call, started, ended);
    }
  }

  [[nodiscard]] const TimedCalls<Call<Verb>>& calls() const { return calls_; }

 private:
  std::atomic<std::uint64_t> clock_ = 0;
  TimedCalls<Call<Verb>> calls_;
};

// What the models of calls that wait have in common: who stands in line, and what those who were taken out of it go with.
// Derived has attempt(call), which does what can be done at once; take(call), which takes what it was granted; hand_on(), for
// one that changes its mind instead.
template <class Derived, class Verb, std::size_t kThreads>
class Waiting {
 public:
  bool apply(const Call<Verb>& call) {
    switch (call.part) {
      case Part::all: return derived().attempt(call) == call.answer;
      case Part::comes: return come(call);
      case Part::goes: return go(call);
    }
    return false;
  }

  friend auto operator<=>(const Waiting&, const Waiting&) = default;

 protected:
  struct Place {
    std::size_t thread;
    std::size_t handle;
    std::uint64_t value;
    friend auto operator<=>(const Place&, const Place&) = default;
  };
  using Line = std::vector<Place>;

  [[nodiscard]] Line& senders() { return lines_[0]; }
  [[nodiscard]] Line& receivers() { return lines_[1]; }

  // The first in line goes with that.
  Place serve(Line& line, What what) {
    const Place first = line.front();
    line.erase(line.begin());
    fates_[first.thread] = {.what = what};
    return first;
  }
  void serve_all(Line& line, What what) {
    while (!line.empty()) serve(line, what);
  }
  void close_own(Line& line, std::size_t handle) {
    std::erase_if(line, [&](const Place& place) {
      if (place.handle != handle) return false;
      fates_[place.thread] = {.what = What::own_handle};
      return true;
    });
  }

 private:
  friend Derived;
  Waiting() = default;
  Derived& derived() { return static_cast<Derived&>(*this); }

  bool come(const Call<Verb>& call) {
    Answer answer = derived().attempt(call);
    if (answer.what == What::full || answer.what == What::empty) {
      lines_[answer.what == What::empty].push_back({call.thread, call.handle, call.value});
      return true;
    }
    fates_[call.thread] = std::move(answer);
    return fates_[call.thread] == call.answer;
  }

  bool go(const Call<Verb>& call) {
    const bool changed_mind = call.answer.what == What::changed_mind;
    for (Line& line : lines_) {
      if (std::erase_if(line, [&](const Place& place) { return place.thread == call.thread; }) == 0) continue;
      return changed_mind || call.answer.what == (&line == &senders() ? What::full : What::empty);
    }
    const Answer fate = std::exchange(fates_[call.thread], {});
    if (fate.what != What::granted) return changed_mind || fate == call.answer;
    if (!changed_mind) return derived().take(call) == call.answer;
    derived().hand_on();
    return true;
  }

  std::array<Line, 2> lines_;
  std::array<Answer, kThreads> fates_;
};

// One order of the calls, or a report of them.
template <class Model, class Verb>
[[nodiscard]] testing::AssertionResult has_an_order(const Model& model, const History<Verb>& history) {
  const TimedCalls<Call<Verb>>& calls = history.calls();
  if (Linearization<Call<Verb>, Model>(calls).exists(model)) return testing::AssertionSuccess();
  std::vector<Timed<Call<Verb>>> all;
  for (const auto& of_one : calls) all.insert(all.end(), of_one.begin(), of_one.end());
  std::ranges::sort(all, {}, [](const auto& it) { return std::pair(it.started, it.call.part); });
  auto no = testing::AssertionFailure() << "no order explains\n";
  for (const auto& call : all) no << call << '\n';
  return no;
}

// Histories one after the other, in the same threads. Round(seed): a new channel; `act(thread)` runs and records what this
// thread calls, `verdict()` tells whether there is an order.
template <class MakeRound>
void run_histories(std::size_t threads, std::size_t rounds, MakeRound make_round) {
  std::size_t n = 0;
  auto round = make_round(n);
  const auto next = [&]() noexcept {
    const testing::AssertionResult verdict = round->verdict();
    EXPECT_TRUE(verdict) << "round " << n;
    n = verdict ? n + 1 : rounds;
    round = n < rounds ? make_round(n) : nullptr;
  };
  std::barrier all_done(static_cast<std::ptrdiff_t>(threads), next);
  WaitGroup running(threads);
  Crew crew(threads);
  for (std::size_t i = 0; i < threads; ++i) {
    crew.add([&, i] {
      while (round != nullptr) {
        round->act(i);
        all_done.arrive_and_wait();
      }
      running.done();
    });
  }
  running.wait("a history");
}

}  // namespace klaw_test
