// A process's timer: of the times it was set to, the earliest goes off.
#pragma once

#include <utility>

#include "simulation/scheduler.hpp"

namespace klaw::dataplane::simulation {

class Alarm {
 public:
  explicit Alarm(Scheduler& scheduler) noexcept : scheduler_(scheduler) {}

  // ring() is called at `when`, unless it is set to an earlier time before.
  template <class Ring>
  void set(Micros when, Ring ring) {
    if (when >= at_) return;
    at_ = when;
    scheduler_.at(when, [this, when, ring] {
      if (at_ != when) return;  // an earlier one was set, and has gone off
      at_ = kEndOfTime;
      ring();
    });
  }

 private:
  Scheduler& scheduler_;
  Micros at_ = kEndOfTime;
};

}  // namespace klaw::dataplane::simulation
