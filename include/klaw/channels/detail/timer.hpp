// Time limits of awaited operations: one thread for the process, started by the first limit, that cancels what is late.
//
// Parked threads don't need it (they sleep with a deadline), nor does Python (its event loop has timers).
#pragma once

#include <functional>
#include <list>
#include <set>
#include <utility>

#include <klaw/channels/detail/operation.hpp>

namespace klaw::channels::detail {

class Timers {
 public:
  static Timers& of_this_process() {
    static Timers timers;
    return timers;
  }

  // From `when` on, `op` is cancelled and fired, unless it was claimed. Call before arming it; then always remove() it.
  void add(Clock::time_point when, Operation& op) {
    const LockGuard<Mutex> guard(mutex_);
    if (!thread_.joinable()) thread_ = Thread([this](const StopToken& stop) { run(stop); });
    const auto entry = due_.emplace(when, &op).first;
    if (entry == due_.begin()) earlier_.notify_one();
  }

  // After this the timer does not touch the operation any more (but to fire it, if it is what cancelled it).
  void remove(Clock::time_point when, Operation& op) noexcept {
    const LockGuard<Mutex> guard(mutex_);
    due_.erase({when, &op});
  }

  // Calls `f` at `when`, in the timers' thread. Nobody can stop it: what it is about may be gone by then. One that is not
  // due when the process ends is dropped.
  void call_at(Clock::time_point when, std::move_only_function<void()> f) {
    Alarm* alarm = nullptr;
    {
      const LockGuard<Mutex> guard(mutex_);
      alarm = &alarms_.emplace_back(std::move(f));
      alarm->self = std::prev(alarms_.end());
    }
    (void)alarm->arm();  // nobody can have fired it yet
    add(when, *alarm);
  }

 private:
  class Alarm final : public Operation {
   public:
    explicit Alarm(std::move_only_function<void()> f) noexcept
        : Operation(&Alarm::wake, &Alarm::run), f_(std::move(f)) {}
    std::list<Alarm>::iterator self;

   private:
    static void wake(Operation& op) noexcept { RunQueue::of_this_thread().push(op); }
    static void run(Operation& op) noexcept {
      Alarm& alarm = static_cast<Alarm&>(op);
      alarm.f_();
      std::list<Alarm> over;
      const LockGuard<Mutex> guard(of_this_process().mutex_);
      over.splice(over.begin(), of_this_process().alarms_, alarm.self);
    }
    std::move_only_function<void()> f_;
  };

  Timers() = default;
  ~Timers() {
    const LockGuard<Mutex> guard(mutex_);
    thread_.request_stop();
    earlier_.notify_one();
  }

  void run(const StopToken& stop) {
    Lock lock(mutex_);
    while (!stop.stop_requested()) {
      if (due_.empty()) {
        earlier_.wait(lock);
        continue;
      }
      const auto first = due_.begin()->first;
      if (Clock::now() < first) {
        earlier_.wait_until(lock, first);
        continue;
      }
      Wakeups wakeups;
      cancel_late(wakeups);
      lock.unlock();
      wakeups.fire();  // resumes coroutines: outside of the lock
      lock.lock();
    }
  }

  void cancel_late(Wakeups& wakeups) noexcept {
    const auto now = Clock::now();
    while (!due_.empty() && due_.begin()->first <= now) {
      // An operation that is in the set is alive: its owner removes it, under our lock, before it goes.
      Operation& op = *due_.begin()->second;
      due_.erase(due_.begin());
      if (op.cancel()) wakeups.add(op);
    }
  }

  Mutex mutex_;  // protects all below
  ConditionVariable earlier_;
  std::set<std::pair<Clock::time_point, Operation*>> due_;
  std::list<Alarm> alarms_;
  Thread thread_;  // last: joined before the rest is destroyed
};

}  // namespace klaw::channels::detail
