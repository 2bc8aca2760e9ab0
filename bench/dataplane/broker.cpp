// The broker's state machine alone: frames in, actions out, no bytes and no I/O.
//
//   through   a queue that holds `queued` messages all the time: one sender offers, one receiver demands and consumes, in
//             batches as a busy connection brings them. `items_per_second` counts messages that were offered, stored,
//             delivered and consumed, per second of CPU time. It must not depend on `queued`.
//   memory    `bytes_per_message`: what a queued message costs beyond the bytes of its payload, of the process's heap; each
//             message has a payload of its own, as if it had come over a wire

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <benchmark/benchmark.h>
#include <dataplane/broker/broker.hpp>
#include <malloc.h>

namespace klaw_bench {
namespace {

using namespace klaw::dataplane;  // NOLINT(google-build-using-namespace): a benchmark's own names are few

constexpr std::size_t kPayloadBytes = 100;
constexpr std::uint64_t kBatch = 64;  // frames per flush, and messages per DELIVER
constexpr ConnectionId kSending = 1;
constexpr ConnectionId kReceiving = 2;
constexpr SessionId kSession = 1;

// A broker with one sender and one receiver, each a client of its own that acknowledges what it is sent.
class World {
 public:
  enum class Payloads : std::uint8_t { shared, own };

  explicit World(Payloads payloads)
      : broker_(BrokerSettings{.capacity = kUnbounded}, Time()),
        payload_(std::string(kPayloadBytes, 'x')),
        payloads_(payloads) {
    for (const ConnectionId connection : {kSending, kReceiving}) {
      Attach attach{.connection = 1};
      attach.client.bytes[0] = static_cast<std::uint8_t>(connection);
      tell(connection, attach);
      tell(connection, Open{.session = kSession, .side = connection == kSending ? Side::sender : Side::receiver});
    }
    turn();
  }

  void offer(std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) {
      tell(kSending, Offer{.session = kSession, .seq = ++seq_, .message = payload()});
    }
    turn();
  }

  // Demands `count` messages and consumes them.
  void receive(std::uint64_t count) {
    limit_ += count;
    tell(kReceiving, Demand{.session = kSession, .limit = limit_, .waiting = static_cast<std::uint32_t>(count)});
    turn();
    tell(kReceiving, Consumed{.session = kSession, .attempts = std::exchange(attempts_, {})});
    turn();
  }

  [[nodiscard]] std::uint64_t delivered() const { return delivered_; }
  [[nodiscard]] std::uint64_t stored() const { return stored_; }

 private:
  template <class F>
  void tell(ConnectionId connection, F frame) {
    broker_.received(Time(), connection, Frame(std::move(frame)));
  }

  [[nodiscard]] Bytes payload() const { return payloads_ == Payloads::shared ? payload_ : Bytes(payload_.view()); }

  // What a driver does after a batch of events; and both clients read what they were sent.
  void turn() {
    broker_.flush(Time());
    for (const BrokerAction& action : broker_.take_actions()) {
      const auto* const send = std::get_if<broker_action::Send>(&action);
      if (send == nullptr) continue;
      const Frame& frame = *send->frame;
      if (is_numbered(type_of(frame))) ++received_[send->connection - 1];
      if (const auto* const stored = std::get_if<Stored>(&frame)) stored_ = stored->seq;
      if (const auto* const deliver = std::get_if<Deliver>(&frame)) read(*deliver);
    }
    tell(kSending, Ack{.received = received_[0]});
    tell(kReceiving, Ack{.received = received_[1]});
  }

  void read(const Deliver& deliver) {
    delivered_ += deliver.count();
    attempts_.reserve(deliver.count());
    attempts_.push_back(deliver.delivery.attempt);
    for (const Delivery& delivery : deliver.more) attempts_.push_back(delivery.attempt);
  }

  Broker broker_;
  const Bytes payload_;
  const Payloads payloads_;
  Seq seq_ = 0;
  Seq stored_ = 0;
  std::uint64_t limit_ = 0;
  std::uint64_t delivered_ = 0;
  std::uint64_t received_[2] = {};
  std::vector<Attempt> attempts_;
};

void through(benchmark::State& state) {
  const auto queued = static_cast<std::uint64_t>(state.range(0));
  World world(World::Payloads::shared);
  for (std::uint64_t left = queued; left > 0; left -= std::min(left, kBatch)) world.offer(std::min(left, kBatch));
  std::uint64_t moved = 0;
  for (auto _ : state) {
    world.offer(kBatch);
    world.receive(kBatch);
    moved += kBatch;
  }
  if (world.delivered() != moved || world.stored() != queued + moved)
    state.SkipWithError("messages were lost or doubled");
  state.SetItemsProcessed(static_cast<std::int64_t>(moved));
}
BENCHMARK(through)->ArgName("queued")->Arg(10)->Arg(1'000)->Arg(100'000)->Arg(1'000'000);

// In use, with what the allocator keeps for itself; also large blocks, which it maps on their own.
std::size_t heap_bytes() {
  const struct mallinfo2 heap = mallinfo2();
  return heap.uordblks + heap.hblkhd;
}

void memory(benchmark::State& state) {
  const auto queued = static_cast<std::uint64_t>(state.range(0));
  for (auto _ : state) {
    const std::size_t before = heap_bytes();
    World world(World::Payloads::own);
    for (std::uint64_t left = queued; left > 0; left -= std::min(left, kBatch)) world.offer(std::min(left, kBatch));
    const std::size_t used = heap_bytes() - before;
    state.counters["bytes_per_message"] = static_cast<double>(used) / static_cast<double>(queued) - kPayloadBytes;
  }
}
BENCHMARK(memory)->ArgName("queued")->Arg(1'000'000)->Iterations(1);

}  // namespace
}  // namespace klaw_bench
