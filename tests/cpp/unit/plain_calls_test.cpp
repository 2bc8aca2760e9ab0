// put and get for plain Ray code: sends and receives of a client that lives beside the broker.
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <dataplane/broker/broker.hpp>
#include <dataplane/plain/plain_calls.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace klaw::dataplane {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::IsEmpty;

class Plain : public testing::Test {
 protected:
  void make(std::uint64_t capacity) {
    plain_.reset();
    broker_ = std::make_unique<Broker>(BrokerSettings{.capacity = capacity}, now_);
    plain_ = std::make_unique<PlainCalls>(
        *broker_,
        [this] {
          ClientId id;
          id.bytes[0] = ++last_client_;
          return id;
        },
        now_);
  }

  static std::vector<Bytes> messages(std::initializer_list<const char*> texts) {
    std::vector<Bytes> all;
    for (const char* const text : texts) all.emplace_back(text);
    return all;
  }

  PlainCall put(std::initializer_list<const char*> texts, Time deadline = kNever, const PlainOp& op = {},
                const std::string& name = "") {
    plain_->put(now_, ++last_call_, name, messages(texts), deadline, op);
    turn();
    return last_call_;
  }
  PlainCall get(std::size_t max_items = 1, Time deadline = kNever, const PlainOp& op = {},
                const std::string& name = "") {
    plain_->get(now_, ++last_call_, name, max_items, deadline, op);
    turn();
    return last_call_;
  }
  void wait(Duration d) {
    now_ += d;
    broker_->tick(now_);
    plain_->tick(now_);
    turn();
  }
  void turn() {
    EXPECT_THAT(plain_->exchange(now_), IsEmpty());
    broker_->check_invariants();
    for (PlainReply& reply : plain_->take_replies()) replies_.push_back(std::move(reply));
  }

  // "3 ok a b": the call, its status, what it got. Clears the list.
  std::vector<std::string> replies() {
    static constexpr const char* kNames[] = {"ok", "full", "empty", "closed"};
    std::vector<std::string> texts;
    for (const PlainReply& reply : std::exchange(replies_, {})) {
      std::string text = std::to_string(reply.call) + " " + kNames[static_cast<int>(reply.status)];
      for (const Bytes& message : reply.messages) text += " " + std::string(message.view());
      texts.push_back(text);
    }
    return texts;
  }

  Time now_{milliseconds(1000)};
  std::unique_ptr<Broker> broker_;
  std::unique_ptr<PlainCalls> plain_;
  PlainCall last_call_ = 0;
  std::uint8_t last_client_ = 0;
  std::vector<PlainReply> replies_;
};

TEST_F(Plain, WhatIsPutIsGotInOrder) {
  make(4);
  put({"a"});
  put({"b", "c"});
  EXPECT_THAT(replies(), ElementsAre("1 ok", "2 ok"));
  get();
  get(10);
  EXPECT_THAT(replies(), ElementsAre("3 ok a", "4 ok b c"));
}

TEST_F(Plain, AGetWaitsForAPut) {
  make(1);
  get();
  EXPECT_THAT(replies(), IsEmpty());
  put({"a"});
  EXPECT_THAT(replies(), testing::UnorderedElementsAre("1 ok a", "2 ok"));
}

TEST_F(Plain, APutWaitsForRoomAndABatchForRoomForAllOfIt) {
  make(2);
  put({"a"});
  put({"b", "c"});
  EXPECT_THAT(replies(), ElementsAre("1 ok"));
  get();
  EXPECT_THAT(replies(), testing::UnorderedElementsAre("3 ok a", "2 ok"));
}

TEST_F(Plain, WithoutWaitingTheyAreFullAndEmpty) {
  make(1);
  get(1, now_);
  put({"a"}, now_);
  put({"b"}, now_);
  put({"too", "many"}, now_);
  EXPECT_THAT(replies(), ElementsAre("1 empty", "2 ok", "3 full", "4 full"));
}

TEST_F(Plain, ALimitRunsOutAndNothingHasHappened) {
  make(1);
  put({"a"});
  put({"b"}, now_ + milliseconds(100));
  wait(milliseconds(100));
  EXPECT_THAT(replies(), ElementsAre("1 ok", "2 full"));
  get(5);
  get(5, now_ + milliseconds(100));
  wait(milliseconds(100));
  EXPECT_THAT(replies(), ElementsAre("3 ok a", "4 empty"));
}

TEST_F(Plain, ARegisteredSenderHoldsItsSideOpenAndANamelessOneDoesNot) {
  make(1);
  put({"a"});
  EXPECT_EQ(broker_->stats(now_).sender_count, 0U);
  EXPECT_EQ(plain_->register_handle(now_, Side::sender, "s"), PlainStatus::ok);
  EXPECT_EQ(plain_->register_handle(now_, Side::sender, "s"), PlainStatus::ok);
  EXPECT_EQ(broker_->stats(now_).sender_count, 1U);
  plain_->deregister_handle(now_, Side::sender, "s");
  plain_->deregister_handle(now_, Side::sender, "s");
  turn();
  EXPECT_EQ(broker_->stats(now_).sender_count, 0U);
  EXPECT_EQ(plain_->register_handle(now_, Side::sender, "s"), PlainStatus::closed);
  get();
  get();
  put({"b"});
  EXPECT_THAT(replies(), ElementsAre("1 ok", "2 ok a", "3 closed", "4 closed"));
}

TEST_F(Plain, ReadersAreNamedInTheStatistics) {
  make(1);
  EXPECT_EQ(plain_->register_handle(now_, Side::receiver, "reader"), PlainStatus::ok);
  put({"a"});
  get(1, kNever, {}, "reader");
  const std::vector<ReaderStats> readers = broker_->reader_stats();
  ASSERT_EQ(readers.size(), 1U);
  EXPECT_EQ(readers[0].name, "reader");
  EXPECT_EQ(readers[0].total_received, 1U);
}

TEST_F(Plain, ARepeatedCallHappensOnceAndGetsTheSameReply) {
  make(2);
  put({"a"}, kNever, {.caller = "c", .number = 1});
  put({"a"}, kNever, {.caller = "c", .number = 1});
  put({"b"}, kNever, {.caller = "c", .number = 2});
  EXPECT_EQ(broker_->stats(now_).queue_size, 2U);
  get(1, kNever, {.caller = "d", .number = 1});
  get(1, kNever, {.caller = "d", .number = 1});
  EXPECT_THAT(replies(), ElementsAre("1 ok", "2 ok", "3 ok", "4 ok a", "5 ok a"));
}

TEST_F(Plain, ACallThatIsRepeatedWhileItWaitsGetsItsReplyTwice) {
  make(2);
  get(1, kNever, {.caller = "d", .number = 7});
  get(1, kNever, {.caller = "d", .number = 7});
  put({"a"});
  EXPECT_THAT(replies(), testing::UnorderedElementsAre("1 ok a", "2 ok a", "3 ok"));
  EXPECT_EQ(broker_->stats(now_).queue_size, 0U);
}

TEST_F(Plain, ACancelledGetTakesNothing) {
  make(1);
  plain_->cancel(now_, get());
  turn();
  put({"a"});
  EXPECT_EQ(broker_->stats(now_).queue_size, 1U);
  get();
  EXPECT_THAT(replies(), ElementsAre("2 ok", "3 ok a"));
}

TEST_F(Plain, ARendezvousMeets) {
  make(0);
  put({"nobody waits"}, now_);
  put({"a"});
  get();
  EXPECT_THAT(replies(), testing::UnorderedElementsAre("1 full", "2 ok", "3 ok a"));
}

TEST_F(Plain, ADeletedChannelIsClosedToAll) {
  make(1);
  get();
  broker_->remove(now_);
  for (const BrokerAction& action : plain_->exchange(now_)) {
    EXPECT_TRUE(std::holds_alternative<broker_action::Ended>(action));
  }
  for (PlainReply& reply : plain_->take_replies()) replies_.push_back(std::move(reply));
  plain_->put(now_, ++last_call_, "", messages({"a"}), kNever);
  for (PlainReply& reply : plain_->take_replies()) replies_.push_back(std::move(reply));
  EXPECT_THAT(replies(), ElementsAre("1 closed", "2 closed"));
}

// A driver that stood still for minutes: the broker takes the calls' client for dead, and they go on under another name.
TEST_F(Plain, AStandstillIsSurvived) {
  make(1);
  put({"a"});
  now_ += std::chrono::minutes(5);
  broker_->tick(now_);
  turn();
  broker_->tick(now_ + std::chrono::seconds(4));
  wait(std::chrono::seconds(4));
  for (int i = 0; i < 20; ++i) wait(milliseconds(500));
  get();
  EXPECT_THAT(replies(), ElementsAre("1 ok", "2 ok a"));
}

}  // namespace
}  // namespace klaw::dataplane
