// What a broadcast keeps for its readers: the newest messages, as far back as somebody has yet to take them.
//
//        base()                       tail()
//          │ m0 │ m1 │ m2 │ ... │ mk    │
//          ▲         ▲                  ▲
//          └─────────┴── readers ───────┘  each stands at the first message that it has not taken
//
// A message has a position in the stream, counted from 0 by 64 bits, which do not wrap. Invariants:
//   W1  item i is the message at position base() + i, and counts those who stand there; the oldest one also those who fell
//       behind it, and at_tail_ those who have taken all
//   W2  somebody stands at the oldest: a message goes with the last reader that passes it, so that a window without readers
//       is empty, and its size is the lag of the slowest
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <utility>

#include <dataplane/broker/state.hpp>
#include <dataplane/wire/frame.hpp>
#include <dataplane/wire/time.hpp>

namespace klaw::dataplane::broker_state {

class Window {
 public:
  struct Kept {
    Held message;
    ClientId client;  // its sender's
    SessionId session;
    Seq seq;
    Time stored_at;
    std::size_t readers = 0;  // the window's count
  };

  [[nodiscard]] Position base() const noexcept { return base_; }
  [[nodiscard]] Position tail() const noexcept { return base_ + items_.size(); }
  [[nodiscard]] std::size_t size() const noexcept { return items_.size(); }
  [[nodiscard]] const std::deque<Kept>& items() const noexcept { return items_; }
  [[nodiscard]] const Kept& at(Position position) const { return items_[position - base_]; }
  // All that stand somewhere.
  [[nodiscard]] std::size_t readers() const noexcept { return readers_; }
  [[nodiscard]] std::size_t readers_at(Position position) const {
    return position == tail() ? at_tail_ : at(position).readers;
  }

  // Somebody stands there from now on; at tail(): it gets what comes from now on.
  void enter(Position position) {
    ++readers_;
    ++count_at(position);
  }
  void leave(Position position) {
    --readers_;
    --count_at(position);
    drop_what_all_have_taken();
  }
  void move(Position from, Position to) {
    --count_at(from);
    ++count_at(to);
    drop_what_all_have_taken();
  }

  void push(Kept&& kept) {
    kept.readers = std::exchange(at_tail_, 0);
    items_.push_back(std::move(kept));
  }
  // Those who stand at it have fallen behind.
  void drop_oldest() {
    const std::size_t behind = items_.front().readers;
    items_.pop_front();
    ++base_;
    count_at(base_) += behind;
  }

 private:
  // Who fell behind stands at the oldest.
  [[nodiscard]] std::size_t& count_at(Position position) {
    position = std::max(position, base_);
    return position == tail() ? at_tail_ : items_[position - base_].readers;
  }
  void drop_what_all_have_taken() {
    while (!items_.empty() && items_.front().readers == 0) {
      items_.pop_front();
      ++base_;
    }
  }

  std::deque<Kept> items_;
  Position base_ = 0;
  std::size_t at_tail_ = 0;
  std::size_t readers_ = 0;
};

}  // namespace klaw::dataplane::broker_state
