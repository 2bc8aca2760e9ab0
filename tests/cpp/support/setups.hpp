// The setups that the conformance suite runs in, flavours x ways of waiting, chosen at run time: each test is compiled once,
// and reads like a program over one channel.
//
//   class Closing : public Conformance {};
//   INSTANTIATE_TEST_SUITE_P(, Closing, all_setups(), setup_name);
//
//   TEST_P(Closing, the_end_comes_when_the_last_sender_goes) {
//     auto [tx, rx] = open<int>(1);           // of the setup's flavour
//     auto received = recv(rx);               // waits in the setup's way
//     tx.close();
//     EXPECT_TRUE(is_closed(received.get(), CloseKind::ended));
//   }
//
// How it is erased: a handle is a variant of the flavours' handles, what a verb starts is a Pending, and a branch of a select
// is a variant of the flavours' ops. Underneath run the real ones: a verb calls blocking_recv() of the real handle in a thread,
// or awaits its recv() in a coroutine (ways.hpp); nothing of it is simulated, so the sanitizers see what they always saw.
// Why: as typed tests, one copy of every test for each setup, the suite took most of the time that all tests take to compile.
//
// The members are defined in setups_definitions.hpp, outside of their classes: so a test compiles those that it calls, and none
// of those for int, which are compiled in setups.cpp.
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <gtest/gtest.h>
#include <klaw/channels.hpp>

#include "support/flavours.hpp"
#include "support/payload.hpp"
#include "support/ways.hpp"

namespace klaw_test {

namespace ops = klaw::channels::detail;

enum class FlavourKind : std::uint8_t { local, any };
enum class WayKind : std::uint8_t { parked, suspended };

struct Setup {
  FlavourKind flavour;
  WayKind way;
};

[[nodiscard]] inline std::string name_of(const Setup& setup) {
  return std::string(setup.flavour == FlavourKind::local ? Local::name : Any::name) +
         (setup.way == WayKind::parked ? Parked::name : Suspended::name);
}
inline void PrintTo(const Setup& setup, std::ostream* out) { *out << name_of(setup); }
[[nodiscard]] inline std::string setup_name(const ::testing::TestParamInfo<Setup>& info) { return name_of(info.param); }

[[nodiscard]] inline auto all_setups() {
  return ::testing::Values(Setup{FlavourKind::local, WayKind::parked}, Setup{FlavourKind::local, WayKind::suspended},
                           Setup{FlavourKind::any, WayKind::parked}, Setup{FlavourKind::any, WayKind::suspended});
}
// For what only a coroutine can do: be destroyed where it waits.
[[nodiscard]] inline auto coroutine_setups() {
  return ::testing::Values(Setup{FlavourKind::local, WayKind::suspended}, Setup{FlavourKind::any, WayKind::suspended});
}

// body(Local{}) or body(Any{}); body(Parked{}) or body(Suspended{}): for what a test does with the real types.
template <class Body>
auto with_flavour(FlavourKind flavour, Body body) {
  return flavour == FlavourKind::local ? body(Local{}) : body(Any{});
}
template <class Body>
auto with_way(WayKind way, Body body) {
  return way == WayKind::parked ? body(Parked{}) : body(Suspended{});
}

// An operation that was started: a ThreadTask or a Task.
template <class R>
class [[nodiscard]] Pending {
 public:
  Pending() = default;
  explicit Pending(Task<R> task) : running_(std::make_unique<Running<Task<R>>>(std::move(task))) {}
  explicit Pending(ThreadTask<R> task) : running_(std::make_unique<Running<ThreadTask<R>>>(std::move(task))) {}

  [[nodiscard]] bool is_done() const { return running_->is_done(); }
  // The result, waited for; once.
  [[nodiscard]] R get() { return running_->get(); }
  // Destroys the coroutine where it waits. Nothing can do that to a parked thread.
  void cancel() noexcept { running_->cancel(); }

 private:
  struct AnyRunning {
    AnyRunning() = default;
    AnyRunning(const AnyRunning&) = delete;
    AnyRunning& operator=(const AnyRunning&) = delete;
    virtual ~AnyRunning() = default;
    [[nodiscard]] virtual bool is_done() const = 0;
    [[nodiscard]] virtual R get() = 0;
    virtual void cancel() noexcept = 0;
  };
  template <class Started>
  struct Running final : AnyRunning {
    explicit Running(Started s) : started(std::move(s)) {}
    [[nodiscard]] bool is_done() const override { return started.is_done(); }
    [[nodiscard]] R get() override { return started.get(); }
    void cancel() noexcept override {
      if constexpr (requires { started.cancel(); }) {
        started.cancel();
      } else {
        hung("the cancellation of a parked thread");
      }
    }
    Started started;
  };

  std::unique_ptr<AnyRunning> running_;
};
template <class R>
Pending(Task<R>) -> Pending<R>;
template <class R>
Pending(ThreadTask<R>) -> Pending<R>;

// verb(the real way, the real handle), started in that way.
template <class Handle, class Verb>
auto start_in(WayKind way, Handle& handle, Verb verb) {
  return with_way(way,
                  [&](auto ways) { return handle.with_real([&](auto& real) { return Pending(verb(ways, real)); }); });
}

// A branch of a select: the op of whichever flavour it is (detail/ops.hpp).
template <class LocalOp, class AnyOp>
class SomeOp {
  using Operation = ops::Operation;
  using Status = ops::Status;

 public:
  explicit SomeOp(LocalOp op);
  explicit SomeOp(AnyOp op);

  Status start(Operation* operation, std::uint32_t branch = 0);
  Status finish();
  void abandon() noexcept;
  void take_late() noexcept
    requires ops::TakesLate<LocalOp>;
  [[nodiscard]] auto result(Status status) -> decltype(std::declval<LocalOp&>().result(status));

 private:
  std::variant<LocalOp, AnyOp> op_;
};

template <class T>
using SomeSendOp =
    SomeOp<ops::SendOp<T, ops::Mpmc<T>, ops::OneValue<T>>, ops::SendOp<T, ops::MpmcCore<T>, ops::OneValue<T>>>;
template <class T>
using SomeRecvOp = SomeOp<ops::RecvOp<T, ops::Mpmc<T>>, ops::RecvOp<T, ops::MpmcCore<T>>>;

// What the handles of both sides have in common. Strong: SomeSender<T> or SomeReceiver<T>.
template <class Strong, class LocalHandle, class AnyHandle>
class SomeHandle {
 public:
  using value_type = typename LocalHandle::value_type;

  class Weak {
   public:
    [[nodiscard]] std::optional<Strong> upgrade() const;

   private:
    friend SomeHandle;
    using Real = std::variant<typename LocalHandle::Weak, typename AnyHandle::Weak>;
    explicit Weak(Real real);
    Real real_;
  };

  [[nodiscard]] Strong clone() const;
  [[nodiscard]] Weak downgrade() const;
  [[nodiscard]] bool same_channel(const Strong& other) const noexcept;
  void close(std::optional<std::string> reason = std::nullopt) noexcept;
  [[nodiscard]] Result<void, ChannelClosed> shutdown(bool immediate = false,
                                                     std::optional<std::string> reason = std::nullopt);
  [[nodiscard]] bool is_closed() const;
  [[nodiscard]] std::optional<std::size_t> capacity() const noexcept;
  [[nodiscard]] klaw::channels::ChannelStats stats() const;

  [[nodiscard]] Pending<Result<void, ChannelClosed>> closed_in(WayKind way);

  // body(the real handle).
  template <class Body>
  auto with_real(Body body) {
    return std::visit(body, real_);
  }

 private:
  friend Strong;
  using Real = std::variant<LocalHandle, AnyHandle>;
  explicit SomeHandle(Real real);
  SomeHandle(SomeHandle&& other) noexcept;
  SomeHandle& operator=(SomeHandle&& other) noexcept;
  ~SomeHandle();

  Real real_;
};

// From nothing to kLong.
using Limit = std::chrono::nanoseconds;

template <class T>
class SomeSender : public SomeHandle<SomeSender<T>, Local::Sender<T>, Any::Sender<T>> {
  using Base = SomeHandle<SomeSender<T>, Local::Sender<T>, Any::Sender<T>>;

 public:
  explicit SomeSender(typename Base::Real real) : Base(std::move(real)) {}

  [[nodiscard]] Result<void, SendError> try_send(T&& value);
  [[nodiscard]] Result<void, SendError> try_send(const T& value)
    requires std::copy_constructible<T>;
  [[nodiscard]] Result<void, ChannelClosed> blocking_send(T&& value);
  [[nodiscard]] Result<void, ChannelClosed> blocking_send(const T& value)
    requires std::copy_constructible<T>;
  [[nodiscard]] Result<void, SendError> blocking_send_for(T&& value, Limit limit);
  [[nodiscard]] Result<void, SendError> blocking_send_for(const T& value, Limit limit)
    requires std::copy_constructible<T>;
  [[nodiscard]] Result<void, SendError> try_send_batch(std::vector<T>&& values);
  [[nodiscard]] Result<void, SendError> try_send_batch(const std::vector<T>& values)
    requires std::copy_constructible<T>;
  [[nodiscard]] Result<Permit<T>, SendError> try_reserve();

  // The verbs of ways.hpp.
  [[nodiscard]] Pending<Result<void, ChannelClosed>> send_in(WayKind way, T value);
  [[nodiscard]] Pending<Result<void, ChannelClosed>> give_in(WayKind way, T& value);
  [[nodiscard]] Pending<Result<void, SendError>> give_for_in(WayKind way, T& value, Limit limit);
  [[nodiscard]] Pending<Result<void, SendError>> send_batch_in(WayKind way, std::vector<T> values);
  [[nodiscard]] Pending<Result<void, SendError>> give_batch_in(WayKind way, std::vector<T>& values);
  [[nodiscard]] Pending<Result<Permit<T>, ChannelClosed>> reserve_in(WayKind way);
  [[nodiscard]] Pending<Result<Permit<T>, SendError>> reserve_for_in(WayKind way, Limit limit);

 private:
  friend ops::HandleAccess;
  [[nodiscard]] SomeSendOp<T> op(ops::OneValue<T> value) const;
};

template <class T>
class SomeReceiver : public SomeHandle<SomeReceiver<T>, Local::Receiver<T>, Any::Receiver<T>> {
  using Base = SomeHandle<SomeReceiver<T>, Local::Receiver<T>, Any::Receiver<T>>;

 public:
  explicit SomeReceiver(typename Base::Real real) : Base(std::move(real)) {}

  [[nodiscard]] std::size_t size() const;
  [[nodiscard]] Result<T, RecvError> try_recv();
  [[nodiscard]] Result<T, ChannelClosed> blocking_recv();
  [[nodiscard]] Result<std::vector<T>, RecvError> try_recv_batch(std::size_t max_items);
  [[nodiscard]] Result<std::vector<T>, ChannelClosed> blocking_recv_batch(std::size_t max_items);
  [[nodiscard]] Result<Delivery<T>, RecvError> try_recv_acked();

  class Iterator {
   public:
    explicit Iterator(SomeReceiver& receiver);
    [[nodiscard]] T&& operator*() const noexcept;
    Iterator& operator++();
    friend bool operator==(const Iterator& it, std::default_sentinel_t /*end*/) noexcept { return it.is_at_end(); }

   private:
    [[nodiscard]] bool is_at_end() const noexcept;
    std::variant<typename Local::Receiver<T>::Iterator, typename Any::Receiver<T>::Iterator> real_;
  };
  [[nodiscard]] Iterator begin() { return Iterator(*this); }
  [[nodiscard]] static std::default_sentinel_t end() noexcept { return {}; }

  // The verbs of ways.hpp.
  [[nodiscard]] Pending<Result<T, ChannelClosed>> recv_in(WayKind way);
  [[nodiscard]] Pending<Result<T, RecvError>> recv_for_in(WayKind way, Limit limit);
  [[nodiscard]] Pending<Result<std::vector<T>, ChannelClosed>> recv_batch_in(WayKind way, std::size_t max_items);
  [[nodiscard]] Pending<Result<Delivery<T>, ChannelClosed>> recv_acked_in(WayKind way);
  [[nodiscard]] Pending<Result<Delivery<T>, RecvError>> recv_acked_for_in(WayKind way, Limit limit);

 private:
  friend ops::HandleAccess;
  [[nodiscard]] SomeRecvOp<T> op() const;
};

template <class T>
struct SomePair {
  SomeSender<T> tx;
  SomeReceiver<T> rx;
};
template <class T>
[[nodiscard]] SomePair<T> open_in(FlavourKind flavour, Capacity capacity);

// A test in each setup. The verbs are static, so that threads and lambdas of a test have them too.
class Conformance : public ::testing::TestWithParam<Setup> {
 public:
  [[nodiscard]] static FlavourKind flavour() { return GetParam().flavour; }
  [[nodiscard]] static WayKind way() { return GetParam().way; }

  template <class T>
  [[nodiscard]] static SomePair<T> open(Capacity capacity) {
    return open_in<T>(flavour(), capacity);
  }

  template <class T>
  static auto send(SomeSender<T>& tx, std::type_identity_t<T> value) {
    return tx.send_in(way(), std::move(value));
  }
  // The caller's own object is given up: it shows what was done to it.
  template <class T>
  static auto give(SomeSender<T>& tx, T& value) {
    return tx.give_in(way(), value);
  }
  template <class T>
  static auto give_for(SomeSender<T>& tx, T& value, Limit limit) {
    return tx.give_for_in(way(), value, limit);
  }
  template <class T>
  static auto send_batch(SomeSender<T>& tx, std::type_identity_t<std::vector<T>> values) {
    return tx.send_batch_in(way(), std::move(values));
  }
  template <class T>
  static auto give_batch(SomeSender<T>& tx, std::vector<T>& values) {
    return tx.give_batch_in(way(), values);
  }
  template <class T>
  static auto reserve(SomeSender<T>& tx) {
    return tx.reserve_in(way());
  }
  template <class T>
  static auto reserve_for(SomeSender<T>& tx, Limit limit) {
    return tx.reserve_for_in(way(), limit);
  }
  template <class T>
  static auto recv(SomeReceiver<T>& rx) {
    return rx.recv_in(way());
  }
  template <class T>
  static auto recv_for(SomeReceiver<T>& rx, Limit limit) {
    return rx.recv_for_in(way(), limit);
  }
  template <class T>
  static auto recv_batch(SomeReceiver<T>& rx, std::size_t max_items) {
    return rx.recv_batch_in(way(), max_items);
  }
  template <class T>
  static auto recv_acked(SomeReceiver<T>& rx) {
    return rx.recv_acked_in(way());
  }
  template <class T>
  static auto recv_acked_for(SomeReceiver<T>& rx, Limit limit) {
    return rx.recv_acked_for_in(way(), limit);
  }
  template <class Handle>
  static auto closed(Handle& handle) {
    return handle.closed_in(way());
  }
  template <class... Arguments>
  static auto select(Arguments&&... arguments) {
    return with_way(way(), [&](auto ways) { return Pending(ways.select(arguments...)); });
  }
  template <class... Arguments>
  static auto select_for(Limit limit, Arguments&&... arguments) {
    return with_way(way(), [&](auto ways) { return Pending(ways.select_for(limit, arguments...)); });
  }
};

// Most tests send ints: their handles are compiled in setups.cpp.
extern template class SomeOp<ops::SendOp<int, ops::Mpmc<int>, ops::OneValue<int>>,
                             ops::SendOp<int, ops::MpmcCore<int>, ops::OneValue<int>>>;
extern template class SomeOp<ops::RecvOp<int, ops::Mpmc<int>>, ops::RecvOp<int, ops::MpmcCore<int>>>;
extern template class SomeHandle<SomeSender<int>, Local::Sender<int>, Any::Sender<int>>;
extern template class SomeHandle<SomeReceiver<int>, Local::Receiver<int>, Any::Receiver<int>>;
extern template class SomeSender<int>;
extern template class SomeReceiver<int>;
extern template SomePair<int> open_in<int>(FlavourKind, Capacity);

}  // namespace klaw_test

#include "support/setups_definitions.hpp"  // last: the definitions of all that
