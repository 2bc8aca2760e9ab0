// Who sent what: checks that many senders' messages arrived once each, and in order at every receiver.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

namespace klaw_test {

struct Message {
  std::uint32_t sender = 0;
  std::uint32_t seq = 0;
};

class Tally {
 public:
  Tally(std::size_t senders, std::size_t each) : senders_(senders), each_(each), seen_(senders * each) {}

  // One receiver's view: first in, first out, per sender.
  class Receiver {
   public:
    explicit Receiver(Tally& tally) : tally_(&tally), next_(tally.senders_) {}
    void note(const Message& message) {
      if (message.seq < next_[message.sender]) tally_->out_of_order_.store(true, std::memory_order_relaxed);
      next_[message.sender] = message.seq + 1;
      tally_->seen_[message.sender * tally_->each_ + message.seq].fetch_add(1, std::memory_order_relaxed);
    }

   private:
    Tally* tally_;
    std::vector<std::uint32_t> next_;
  };

  void expect_each_once_and_in_order() const {
    EXPECT_FALSE(out_of_order_.load());
    std::size_t lost = 0;
    std::size_t doubled = 0;
    for (const auto& times : seen_) {
      lost += times.load(std::memory_order_relaxed) == 0 ? 1 : 0;
      doubled += times.load(std::memory_order_relaxed) > 1 ? 1 : 0;
    }
    EXPECT_EQ(lost, 0U);
    EXPECT_EQ(doubled, 0U);
  }

 private:
  std::size_t senders_;
  std::size_t each_;
  std::vector<std::atomic<std::uint8_t>> seen_;
  std::atomic<bool> out_of_order_ = false;
};

}  // namespace klaw_test
