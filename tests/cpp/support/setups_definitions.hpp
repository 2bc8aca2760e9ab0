// What setups.hpp declares. (It includes this.)
#pragma once

#include <iterator>
#include <utility>
#include <variant>

namespace klaw_test {

// --- branches of a select ---

template <class LocalOp, class AnyOp>
SomeOp<LocalOp, AnyOp>::SomeOp(LocalOp op) : op_(std::move(op)) {}
template <class LocalOp, class AnyOp>
SomeOp<LocalOp, AnyOp>::SomeOp(AnyOp op) : op_(std::move(op)) {}

template <class LocalOp, class AnyOp>
auto SomeOp<LocalOp, AnyOp>::start(Operation* operation, std::uint32_t branch) -> Status {
  return std::visit([&](auto& op) { return op.start(operation, branch); }, op_);
}
template <class LocalOp, class AnyOp>
auto SomeOp<LocalOp, AnyOp>::finish() -> Status {
  return std::visit([](auto& op) { return op.finish(); }, op_);
}
template <class LocalOp, class AnyOp>
void SomeOp<LocalOp, AnyOp>::abandon() noexcept {
  std::visit([](auto& op) { op.abandon(); }, op_);
}
template <class LocalOp, class AnyOp>
void SomeOp<LocalOp, AnyOp>::take_late() noexcept
  requires ops::TakesLate<LocalOp>
{
  std::visit([](auto& op) { op.take_late(); }, op_);
}
template <class LocalOp, class AnyOp>
auto SomeOp<LocalOp, AnyOp>::result(Status status) -> decltype(std::declval<LocalOp&>().result(status)) {
  return std::visit([&](auto& op) { return op.result(status); }, op_);
}

// --- both sides ---

template <class Strong, class LocalHandle, class AnyHandle>
SomeHandle<Strong, LocalHandle, AnyHandle>::SomeHandle(Real real) : real_(std::move(real)) {}
template <class Strong, class LocalHandle, class AnyHandle>
SomeHandle<Strong, LocalHandle, AnyHandle>::SomeHandle(SomeHandle&& other) noexcept = default;
template <class Strong, class LocalHandle, class AnyHandle>
auto SomeHandle<Strong, LocalHandle, AnyHandle>::operator=(SomeHandle&& other) noexcept -> SomeHandle& = default;
template <class Strong, class LocalHandle, class AnyHandle>
SomeHandle<Strong, LocalHandle, AnyHandle>::~SomeHandle() = default;

template <class Strong, class LocalHandle, class AnyHandle>
SomeHandle<Strong, LocalHandle, AnyHandle>::Weak::Weak(Real real) : real_(std::move(real)) {}
template <class Strong, class LocalHandle, class AnyHandle>
std::optional<Strong> SomeHandle<Strong, LocalHandle, AnyHandle>::Weak::upgrade() const {
  return std::visit(
      [](const auto& weak) {
        auto strong = weak.upgrade();
        return strong ? std::optional<Strong>(std::in_place, *std::move(strong)) : std::nullopt;
      },
      real_);
}

template <class Strong, class LocalHandle, class AnyHandle>
Strong SomeHandle<Strong, LocalHandle, AnyHandle>::clone() const {
  return std::visit([](const auto& real) { return Strong(real.clone()); }, real_);
}
template <class Strong, class LocalHandle, class AnyHandle>
auto SomeHandle<Strong, LocalHandle, AnyHandle>::downgrade() const -> Weak {
  return std::visit([](const auto& real) { return Weak(real.downgrade()); }, real_);
}
template <class Strong, class LocalHandle, class AnyHandle>
bool SomeHandle<Strong, LocalHandle, AnyHandle>::same_channel(const Strong& other) const noexcept {
  return std::visit([](const auto& one, const auto& another) { return one.same_channel(another); }, real_, other.real_);
}
template <class Strong, class LocalHandle, class AnyHandle>
void SomeHandle<Strong, LocalHandle, AnyHandle>::close(std::optional<std::string> reason) noexcept {
  std::visit([&](auto& real) { real.close(std::move(reason)); }, real_);
}
template <class Strong, class LocalHandle, class AnyHandle>
Result<void, ChannelClosed> SomeHandle<Strong, LocalHandle, AnyHandle>::shutdown(bool immediate,
                                                                                 std::optional<std::string> reason) {
  return std::visit([&](auto& real) { return real.shutdown(immediate, std::move(reason)); }, real_);
}
template <class Strong, class LocalHandle, class AnyHandle>
bool SomeHandle<Strong, LocalHandle, AnyHandle>::is_closed() const {
  return std::visit([](const auto& real) { return real.is_closed(); }, real_);
}
template <class Strong, class LocalHandle, class AnyHandle>
std::optional<std::size_t> SomeHandle<Strong, LocalHandle, AnyHandle>::capacity() const noexcept {
  return std::visit([](const auto& real) { return real.capacity(); }, real_);
}
template <class Strong, class LocalHandle, class AnyHandle>
klaw::channels::ChannelStats SomeHandle<Strong, LocalHandle, AnyHandle>::stats() const {
  return std::visit([](const auto& real) { return real.stats(); }, real_);
}

template <class Strong, class LocalHandle, class AnyHandle>
Pending<Result<void, ChannelClosed>> SomeHandle<Strong, LocalHandle, AnyHandle>::closed_in(WayKind way) {
  return start_in(way, *this, [](auto ways, auto& real) { return ways.closed(real); });
}

// --- senders ---

template <class T>
Result<void, SendError> SomeSender<T>::try_send(T&& value) {
  return std::visit([&](auto& real) { return real.try_send(std::move(value)); }, this->real_);
}
template <class T>
Result<void, SendError> SomeSender<T>::try_send(const T& value)
  requires std::copy_constructible<T>
{
  return std::visit([&](auto& real) { return real.try_send(value); }, this->real_);
}
template <class T>
Result<void, ChannelClosed> SomeSender<T>::blocking_send(T&& value) {
  return std::visit([&](auto& real) { return real.blocking_send(std::move(value)); }, this->real_);
}
template <class T>
Result<void, ChannelClosed> SomeSender<T>::blocking_send(const T& value)
  requires std::copy_constructible<T>
{
  return std::visit([&](auto& real) { return real.blocking_send(value); }, this->real_);
}
template <class T>
Result<void, SendError> SomeSender<T>::blocking_send_for(T&& value, Limit limit) {
  return std::visit([&](auto& real) { return real.blocking_send_for(std::move(value), limit); }, this->real_);
}
template <class T>
Result<void, SendError> SomeSender<T>::blocking_send_for(const T& value, Limit limit)
  requires std::copy_constructible<T>
{
  return std::visit([&](auto& real) { return real.blocking_send_for(value, limit); }, this->real_);
}
template <class T>
Result<void, SendError> SomeSender<T>::try_send_batch(std::vector<T>&& values) {
  return std::visit([&](auto& real) { return real.try_send_batch(std::move(values)); }, this->real_);
}
template <class T>
Result<void, SendError> SomeSender<T>::try_send_batch(const std::vector<T>& values)
  requires std::copy_constructible<T>
{
  return std::visit([&](auto& real) { return real.try_send_batch(values); }, this->real_);
}
template <class T>
Result<Permit<T>, SendError> SomeSender<T>::try_reserve() {
  return std::visit([](auto& real) { return real.try_reserve(); }, this->real_);
}

template <class T>
Pending<Result<void, ChannelClosed>> SomeSender<T>::send_in(WayKind way, T value) {
  return start_in(way, *this, [&](auto ways, auto& real) { return ways.send(real, std::move(value)); });
}
template <class T>
Pending<Result<void, ChannelClosed>> SomeSender<T>::give_in(WayKind way, T& value) {
  return start_in(way, *this, [&](auto ways, auto& real) { return ways.give(real, value); });
}
template <class T>
Pending<Result<void, SendError>> SomeSender<T>::give_for_in(WayKind way, T& value, Limit limit) {
  return start_in(way, *this, [&](auto ways, auto& real) { return ways.give_for(real, value, limit); });
}
template <class T>
Pending<Result<void, SendError>> SomeSender<T>::send_batch_in(WayKind way, std::vector<T> values) {
  return start_in(way, *this, [&](auto ways, auto& real) { return ways.send_batch(real, std::move(values)); });
}
template <class T>
Pending<Result<void, SendError>> SomeSender<T>::give_batch_in(WayKind way, std::vector<T>& values) {
  return start_in(way, *this, [&](auto ways, auto& real) { return ways.give_batch(real, values); });
}
template <class T>
Pending<Result<Permit<T>, ChannelClosed>> SomeSender<T>::reserve_in(WayKind way) {
  return start_in(way, *this, [](auto ways, auto& real) { return ways.reserve(real); });
}
template <class T>
Pending<Result<Permit<T>, SendError>> SomeSender<T>::reserve_for_in(WayKind way, Limit limit) {
  return start_in(way, *this, [&](auto ways, auto& real) { return ways.reserve_for(real, limit); });
}
template <class T>
SomeSendOp<T> SomeSender<T>::op(ops::OneValue<T> value) const {
  return std::visit([&](auto& real) { return SomeSendOp<T>(ops::HandleAccess::send_op(real, std::move(value))); },
                    this->real_);
}

// --- receivers ---

template <class T>
std::size_t SomeReceiver<T>::size() const {
  return std::visit([](const auto& real) { return real.size(); }, this->real_);
}
template <class T>
Result<T, RecvError> SomeReceiver<T>::try_recv() {
  return std::visit([](auto& real) { return real.try_recv(); }, this->real_);
}
template <class T>
Result<T, ChannelClosed> SomeReceiver<T>::blocking_recv() {
  return std::visit([](auto& real) { return real.blocking_recv(); }, this->real_);
}
template <class T>
Result<std::vector<T>, RecvError> SomeReceiver<T>::try_recv_batch(std::size_t max_items) {
  return std::visit([&](auto& real) { return real.try_recv_batch(max_items); }, this->real_);
}
template <class T>
Result<std::vector<T>, ChannelClosed> SomeReceiver<T>::blocking_recv_batch(std::size_t max_items) {
  return std::visit([&](auto& real) { return real.blocking_recv_batch(max_items); }, this->real_);
}
template <class T>
Result<Delivery<T>, RecvError> SomeReceiver<T>::try_recv_acked() {
  return std::visit([](auto& real) { return real.try_recv_acked(); }, this->real_);
}

template <class T>
SomeReceiver<T>::Iterator::Iterator(SomeReceiver& receiver)
    : real_(receiver.with_real([](auto& real) { return decltype(real_)(real.begin()); })) {}
template <class T>
T&& SomeReceiver<T>::Iterator::operator*() const noexcept {
  return std::visit([](const auto& real) -> T&& { return *real; }, real_);
}
template <class T>
auto SomeReceiver<T>::Iterator::operator++() -> Iterator& {
  std::visit([](auto& real) { ++real; }, real_);
  return *this;
}
template <class T>
bool SomeReceiver<T>::Iterator::is_at_end() const noexcept {
  return std::visit([](const auto& real) { return real == std::default_sentinel; }, real_);
}

template <class T>
Pending<Result<T, ChannelClosed>> SomeReceiver<T>::recv_in(WayKind way) {
  return start_in(way, *this, [](auto ways, auto& real) { return ways.recv(real); });
}
template <class T>
Pending<Result<T, RecvError>> SomeReceiver<T>::recv_for_in(WayKind way, Limit limit) {
  return start_in(way, *this, [&](auto ways, auto& real) { return ways.recv_for(real, limit); });
}
template <class T>
Pending<Result<std::vector<T>, ChannelClosed>> SomeReceiver<T>::recv_batch_in(WayKind way, std::size_t max_items) {
  return start_in(way, *this, [&](auto ways, auto& real) { return ways.recv_batch(real, max_items); });
}
template <class T>
Pending<Result<Delivery<T>, ChannelClosed>> SomeReceiver<T>::recv_acked_in(WayKind way) {
  return start_in(way, *this, [](auto ways, auto& real) { return ways.recv_acked(real); });
}
template <class T>
Pending<Result<Delivery<T>, RecvError>> SomeReceiver<T>::recv_acked_for_in(WayKind way, Limit limit) {
  return start_in(way, *this, [&](auto ways, auto& real) { return ways.recv_acked_for(real, limit); });
}
template <class T>
SomeRecvOp<T> SomeReceiver<T>::op() const {
  return std::visit([](const auto& real) { return SomeRecvOp<T>(ops::HandleAccess::recv_op(real)); }, this->real_);
}

// --- making one ---

template <class T>
SomePair<T> open_in(FlavourKind flavour, Capacity capacity) {
  return with_flavour(flavour, [&](auto of) {
    auto [tx, rx] = of.template open<T>(capacity);
    return SomePair<T>{.tx = SomeSender<T>(std::move(tx)), .rx = SomeReceiver<T>(std::move(rx))};
  });
}

}  // namespace klaw_test
