// Virtual time: what happens next, and what each process takes the time to be.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

#include <dataplane/wire/time.hpp>

namespace klaw::dataplane::simulation {

using Micros = std::int64_t;  // of the world's own clock
inline constexpr Micros kEndOfTime = std::numeric_limits<Micros>::max();
inline constexpr Micros kMillisecond = 1'000;
inline constexpr Micros kSecond = 1'000'000;

// Things that happen at the same instant happen in the order in which they were asked for.
class Scheduler {
 public:
  using Action = std::move_only_function<void()>;

  [[nodiscard]] Micros now() const noexcept { return now_; }
  [[nodiscard]] std::uint64_t steps() const noexcept { return steps_; }

  void at(Micros when, Action action) {
    heap_.push_back(Entry{std::max(when, now_), next_order_++, std::move(action)});
    std::push_heap(heap_.begin(), heap_.end(), is_later);
  }
  void in(Micros delay, Action action) { at(now_ + delay, std::move(action)); }

  // Lets the next thing happen, unless that is after `end`. False: nothing has.
  bool step(Micros end) {
    if (heap_.empty() || heap_.front().when > end) return false;
    std::pop_heap(heap_.begin(), heap_.end(), is_later);
    Entry entry = std::move(heap_.back());
    heap_.pop_back();
    now_ = entry.when;
    ++steps_;
    entry.action();
    return true;
  }

 private:
  struct Entry {
    Micros when;
    std::uint64_t order;
    Action action;
  };
  static bool is_later(const Entry& a, const Entry& b) noexcept {
    return a.when != b.when ? a.when > b.when : a.order > b.order;
  }

  std::vector<Entry> heap_;
  Micros now_ = 0;
  std::uint64_t steps_ = 0;
  std::uint64_t next_order_ = 0;
};

// A process's monotonic clock: it starts anywhere, and goes a little too fast or too slow.
class Clock {
 public:
  Clock(Micros offset, std::int64_t skew_ppm) noexcept : offset_(offset), skew_ppm_(skew_ppm) {}

  [[nodiscard]] Time local(Micros now) const noexcept {
    return Time(Duration(offset_ + now + now * skew_ppm_ / 1'000'000));
  }
  // The first instant at which local() is `time` or later.
  [[nodiscard]] Micros global(Time time) const noexcept {
    if (time == kNever) return kEndOfTime;
    const Micros elapsed = time.time_since_epoch().count() - offset_;
    if (elapsed <= 0) return 0;
    Micros now = elapsed - elapsed * skew_ppm_ / (1'000'000 + skew_ppm_);
    while (now > 0 && local(now - 1) >= time) --now;
    while (local(now) < time) ++now;
    return now;
  }
  void jump(Micros forward) noexcept { offset_ += forward; }

 private:
  Micros offset_;
  std::int64_t skew_ppm_;
};

}  // namespace klaw::dataplane::simulation
