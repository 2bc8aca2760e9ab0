// The numbered frames of one client and one broker, each way: delivered once and in order, over any number of connections.
//
// Both sides count the numbered frames they received; the numbers themselves never travel. A frame is kept until the peer
// says that it has it (ACK, PING, or the ATTACH handshake of the next connection). After a reconnection each side sends again
// what the other lacks. So everything above it may rely on "exactly once, in order", and a lost connection is no event at all;
// only a death is (the client's: the broker forgets the stream; the broker's: a new epoch begins with new streams).
//
// Memory is bounded: a frame is only sent within some window of the protocol, and a peer that acknowledges nothing is given
// up at kUnackedFramesMax.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <utility>

#include <dataplane/wire/frame.hpp>
#include <dataplane/wire/limits.hpp>

namespace klaw::dataplane {

class ResumableStream {
 public:
  // --- outgoing ---

  // Numbers the frame and keeps it. The caller sends it, if a connection is there.
  void push(FramePtr frame) { kept_.push_back(std::move(frame)); }
  // The peer has `received` of our frames. False: it can't have.
  [[nodiscard]] bool acknowledged(std::uint64_t received) {
    if (received < acknowledged_ || received - acknowledged_ > kept_.size()) return false;
    for (; acknowledged_ < received; ++acknowledged_) kept_.pop_front();
    return true;
  }
  [[nodiscard]] bool has_acknowledged(std::uint64_t frames) const noexcept { return acknowledged_ >= frames; }
  // How many frames were pushed.
  [[nodiscard]] std::uint64_t sent() const noexcept { return acknowledged_ + kept_.size(); }
  // What the peer has not acknowledged, in order; all of it is sent on a new connection.
  [[nodiscard]] const std::deque<FramePtr>& unacknowledged() const noexcept { return kept_; }
  [[nodiscard]] bool is_overrun() const noexcept { return kept_.size() > kUnackedFramesMax; }

  // --- incoming ---

  void count_received(std::size_t bytes) noexcept {
    ++received_;
    unreported_bytes_ += bytes;
  }
  [[nodiscard]] std::uint64_t received() const noexcept { return received_; }
  // Is it time to tell the peer what we have, so that it can forget it?
  [[nodiscard]] bool is_ack_due() const noexcept {
    return received_ - reported_ >= kAckEveryFrames || unreported_bytes_ >= kAckEveryBytes;
  }
  // received(), about to be told to the peer.
  [[nodiscard]] std::uint64_t report() noexcept {
    unreported_bytes_ = 0;
    return reported_ = received_;
  }

 private:
  std::deque<FramePtr> kept_;
  std::uint64_t acknowledged_ = 0;  // how many frames came before kept_
  std::uint64_t received_ = 0;
  std::uint64_t reported_ = 0;
  std::uint64_t unreported_bytes_ = 0;
};

}  // namespace klaw::dataplane
