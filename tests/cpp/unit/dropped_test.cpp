// Channels in each other: a queued message holds the handles of the next channel, and so on. Their destructors use a bounded stack.
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <klaw/channels.hpp>
#include <klaw/channels/detail/dropped.hpp>

#include "support/scale.hpp"

namespace {

namespace channels = klaw::channels;

// Far more than what overflowed the stack; under a sanitizer, whose frames are larger, that was a tenth.
constexpr std::size_t kNested = klaw_test::scaled(200'000);

// A message, with the handles of a channel that holds the next one. `witness`: shared by all of them that live.
template <template <class> class Tx, template <class> class Rx>
struct Nested {
  std::shared_ptr<int> witness;
  std::shared_ptr<Tx<Nested>> tx = nullptr;
  std::shared_ptr<Rx<Nested>> rx = nullptr;

  template <class Pair>
  static Nested of(const std::shared_ptr<int>& witness, Pair pair) {
    return {witness, std::make_shared<Tx<Nested>>(std::move(pair.tx)),
            std::make_shared<Rx<Nested>>(std::move(pair.rx))};
  }
  // `inner`, sent into a new channel.
  template <class Pair>
  static Nested around(Nested inner, Pair pair) {
    const auto witness = inner.witness;
    EXPECT_TRUE(pair.tx.try_send(std::move(inner)));
    return of(witness, std::move(pair));
  }
};

struct InMpmc {
  using Message = Nested<channels::LocalSender, channels::LocalReceiver>;
  static Message around(Message inner) { return Message::around(std::move(inner), channels::channel<Message>(1)); }
};

struct InOneshot {
  using Message = Nested<channels::OneshotSender, channels::OneshotReceiver>;
  static Message around(Message inner) { return Message::around(std::move(inner), channels::oneshot<Message>()); }
};

struct InBroadcast {
  using Message = Nested<channels::BroadcastSender, channels::BroadcastReceiver>;
  static Message around(Message inner) { return Message::around(std::move(inner), channels::broadcast<Message>(1)); }
};

struct InWatch {
  using Message = Nested<channels::WatchSender, channels::WatchReceiver>;
  static Message around(Message inner) {
    const auto witness = inner.witness;
    return Message::of(witness, channels::watch<Message>(std::move(inner)));
  }
};

template <class Flavour>
class NestedChannels : public ::testing::Test {
 protected:
  using Message = typename Flavour::Message;

  Message nested() const {
    Message message{witness};
    for (std::size_t i = 0; i < kNested; ++i) message = Flavour::around(std::move(message));
    return message;
  }
  [[nodiscard]] bool all_are_gone() const { return witness.use_count() == 1; }

  std::shared_ptr<int> witness = std::make_shared<int>(0);
};
using Flavours = ::testing::Types<InMpmc, InOneshot, InBroadcast, InWatch>;
TYPED_TEST_SUITE(NestedChannels, Flavours);

TYPED_TEST(NestedChannels, are_destroyed_without_a_deep_stack) {
  {
    const auto outermost = this->nested();
  }
  EXPECT_TRUE(this->all_are_gone());
}

TYPED_TEST(NestedChannels, are_gone_when_the_close_of_the_outermost_returns) {
  auto outermost = this->nested();
  outermost.witness.reset();
  outermost.rx->close();
  outermost.tx->close();
  EXPECT_TRUE(this->all_are_gone());
}

using NestedMpmc = NestedChannels<InMpmc>;

TEST_F(NestedMpmc, are_gone_when_a_shutdown_of_the_outermost_drops_what_is_stored) {
  auto outermost = nested();
  outermost.witness.reset();
  EXPECT_TRUE(outermost.tx->shutdown(true));
  EXPECT_TRUE(all_are_gone());
}

// --- through permits and deliveries ---

struct WithPermit {
  std::shared_ptr<int> witness;
  std::shared_ptr<channels::LocalReceiver<WithPermit>> rx = nullptr;
  std::shared_ptr<channels::Permit<WithPermit>> permit = nullptr;
};

TEST(NestedThroughPermits, are_destroyed_without_a_deep_stack) {
  const auto witness = std::make_shared<int>(0);
  {
    WithPermit message{witness};
    for (std::size_t i = 0; i < kNested; ++i) {
      auto [tx, rx] = channels::channel<WithPermit>(2);
      ASSERT_TRUE(tx.try_send(std::move(message)));
      auto permit = std::make_shared<channels::Permit<WithPermit>>(*tx.try_reserve());
      message = {witness, std::make_shared<channels::LocalReceiver<WithPermit>>(std::move(rx)), std::move(permit)};
    }
  }
  EXPECT_EQ(witness.use_count(), 1);
}

struct WithDelivery {
  std::shared_ptr<int> witness;
  std::shared_ptr<channels::LocalReceiver<WithDelivery>> rx = nullptr;  // closes after its message has come back
  std::shared_ptr<channels::Delivery<WithDelivery>> delivery = nullptr;
};

class NestedThroughDeliveries : public ::testing::Test {
 protected:
  using Rx = channels::LocalReceiver<WithDelivery>;
  using Delivery = channels::Delivery<WithDelivery>;

  // Calls settle(message, rx, delivery) for each.
  template <class Settle>
  void nest(Settle settle) const {
    WithDelivery message{witness};
    for (std::size_t i = 0; i < kNested; ++i) {
      auto [tx, rx] = channels::channel<WithDelivery>(1);
      ASSERT_TRUE(tx.try_send(std::move(message)));
      message = {.witness = witness};
      message.delivery = std::make_shared<Delivery>(*rx.try_recv_acked());
      settle(message, rx);
    }
  }

  std::shared_ptr<int> witness = std::make_shared<int>(0);
};

TEST_F(NestedThroughDeliveries, are_destroyed_without_a_deep_stack_when_they_were_settled) {
  nest([](WithDelivery& message, Rx& /*rx*/) { message.delivery->ack(); });
  EXPECT_EQ(witness.use_count(), 1);
}

TEST_F(NestedThroughDeliveries, are_destroyed_without_a_deep_stack_when_they_can_not_come_back) {
  nest([](WithDelivery& /*message*/, Rx& /*rx*/) {});
  EXPECT_EQ(witness.use_count(), 1);
}

TEST_F(NestedThroughDeliveries, are_destroyed_without_a_deep_stack_when_they_come_back) {
  nest([](WithDelivery& message, Rx& rx) { message.rx = std::make_shared<Rx>(std::move(rx)); });
  EXPECT_EQ(witness.use_count(), 1);
}

// --- how it is done ---

using channels::detail::Dropped;
using channels::detail::Drops;

// Drops what is in it, then says that it is destroyed.
struct Noted {
  std::vector<int>& destroyed;
  int name;
  std::unique_ptr<Noted> inner;

  Noted(std::vector<int>& where, int number, std::unique_ptr<Noted> holds)
      : destroyed(where), name(number), inner(std::move(holds)) {}
  Noted(const Noted&) = delete;
  Noted& operator=(const Noted&) = delete;
  ~Noted() {
    {
      Dropped<std::unique_ptr<Noted>> dropped;
      *dropped = std::move(inner);
    }
    destroyed.push_back(name);
  }
};

// The names of a chain, 1 the outermost, in the order in which they are destroyed.
std::vector<int> destroyed_of_chain(int length) {
  std::vector<int> destroyed;
  std::unique_ptr<Noted> chain;
  for (int name = length; name > 0; --name) {
    chain = std::make_unique<Noted>(destroyed, name, std::move(chain));
  }
  chain.reset();
  return destroyed;
}

TEST(Dropped, is_destroyed_at_once_while_it_is_not_deep) {
  EXPECT_THAT(destroyed_of_chain(4), ::testing::ElementsAre(4, 3, 2, 1));
}

TEST(Dropped, is_put_off_when_it_is_too_deep_and_gone_when_the_outermost_drop_returns) {
  const int deepest = Drops::kDepthMax + 1;  // the outermost is not dropped by a channel
  std::vector<int> expected;
  for (int name = deepest; name > 1; --name) expected.push_back(name);
  expected.insert(expected.end(), {deepest + 2, deepest + 1, 1});
  EXPECT_EQ(destroyed_of_chain(deepest + 2), expected);
}

}  // namespace
