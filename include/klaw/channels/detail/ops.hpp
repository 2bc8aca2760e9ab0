// The operations on an MPMC handle, each as an object that any way of waiting can drive:
//
//   Status start(Operation*)   with nullptr: try. Else: link, if it can't be done at once. A second argument says which
//                              branch of a select it is.
//   Status finish()            after it was fired
//   void abandon()             after it was cancelled, or when its owner goes away
//   result(status)             what an unlimited wait returns
//   limited_result(status)     what a try or a wait with a limit returns: Status::pending is ChannelFull or ChannelEmpty
//
// An op may move until it is started. It refers to its handle only within start(), and to its core from then on, so a
// handle may be closed, moved or destroyed while operations on it wait.
#pragma once

#include <algorithm>
#include <cassert>
#include <memory>
#include <optional>
#include <ranges>
#include <type_traits>
#include <utility>
#include <vector>

#include <klaw/channels/detail/core.hpp>

namespace klaw::channels::detail {

// The part common to all: which core, and how it stays alive while we wait.
template <class Core>
class OpBase {
 public:
  OpBase(const std::shared_ptr<Core>& core, const Registration& handle) noexcept : core_(&core), handle_(&handle) {}
  // An op moves only before it is started: then it keeps nothing alive yet.
  OpBase(OpBase&& other) noexcept : core_(other.core_), handle_(other.handle_) {}

 protected:
  // A moved-from handle has no core: its operations find it closed.
  [[nodiscard]] bool has_core() const noexcept { return kept_ != nullptr || *core_ != nullptr; }
  [[nodiscard]] Core& core() const noexcept { return kept_ ? *kept_ : **core_; }
  [[nodiscard]] const Registration& handle() const noexcept { return *handle_; }
  void keep_core() { kept_ = *core_; }
  [[nodiscard]] const std::shared_ptr<Core>& share() const noexcept { return kept_ ? kept_ : *core_; }
  [[nodiscard]] bool is_started() const noexcept { return kept_ != nullptr; }

  [[nodiscard]] ChannelClosed closed(Side side, CloseKind why) const {
    return has_core() ? core().closed_error(side, why) : ChannelClosed{CloseKind::handle_closed};
  }

 private:
  const std::shared_ptr<Core>* core_;
  const Registration* handle_;
  std::shared_ptr<Core> kept_;
};

// --- what is sent: data() and size() of the values ---

// One value: the caller's own, if it gave it up (and it is still untouched if the send fails), else a copy.
template <class T>
class OneValue {
 public:
  explicit OneValue(T&& value) noexcept : given_(&value) {}
  explicit OneValue(const T& value) : given_(nullptr), copy_(value) {}
  // One that goes with the operation, also if the send fails.
  [[nodiscard]] static OneValue owned(T&& value) noexcept { return OneValue(std::in_place, std::move(value)); }
  [[nodiscard]] T* data() noexcept { return given_ != nullptr ? given_ : &*copy_; }
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 1; }

 private:
  OneValue(std::in_place_t own, T&& value) noexcept : given_(nullptr), copy_(own, std::move(value)) {}

  T* given_;
  std::optional<T> copy_;
};

// A batch: the caller's vector, if it gave it up (untouched if the send fails), else copies.
template <class T>
class ManyValues {
 public:
  explicit ManyValues(std::vector<T>&& values) noexcept : given_(&values) {}
  template <std::ranges::input_range Range>
  explicit ManyValues(Range& values) : given_(nullptr) {
    if constexpr (std::ranges::sized_range<Range>) copies_.reserve(static_cast<std::size_t>(std::ranges::size(values)));
    for (auto&& value : values) copies_.emplace_back(std::forward<decltype(value)>(value));
  }
  [[nodiscard]] T* data() noexcept { return values().data(); }
  [[nodiscard]] std::size_t size() noexcept { return values().size(); }

 private:
  std::vector<T>& values() noexcept { return given_ != nullptr ? *given_ : copies_; }
  std::vector<T>* given_;
  std::vector<T> copies_;
};

// A std::vector<bool> holds no bools that could be pointed at: always copies.
template <>
class ManyValues<bool> {
 public:
  template <std::ranges::input_range Range>
  explicit ManyValues(Range&& values) {
    std::vector<bool> gathered;
    for (const bool value : values) gathered.push_back(value);
    size_ = gathered.size();
    copies_ = std::make_unique<bool[]>(size_);
    std::ranges::copy(gathered, copies_.get());
  }
  [[nodiscard]] bool* data() noexcept { return copies_.get(); }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  std::unique_ptr<bool[]> copies_;
  std::size_t size_ = 0;
};

template <class T, class Core, class Values>
class SendOp : OpBase<Core> {
 public:
  SendOp(const std::shared_ptr<Core>& core, const Registration& handle, Values values)
      : OpBase<Core>(core, handle), values_(std::move(values)) {}

  Status start(Operation* op, std::uint32_t branch = 0) {
    if (!this->has_core()) {
      waiter_.why = CloseKind::handle_closed;
      if (op != nullptr && !op->try_claim(branch)) return Status::pending;
      return Status::closed;
    }
    waiter_.index = branch;
    waiter_.values = values_.data();
    waiter_.count = values_.size();
    if (waiter_.count > 1 && waiter_.count > this->core().capacity()) return Status::too_large;
    if (op != nullptr) this->keep_core();
    return this->core().start_send(this->handle(), waiter_, op);
  }
  Status finish() { return this->core().finish_send(waiter_); }
  void abandon() noexcept {
    if (this->is_started()) this->core().abandon_send(waiter_);
  }

  [[nodiscard]] Result<void, SendError> limited_result(Status status) const {
    switch (status) {
      case Status::done: return {};
      case Status::closed: return std::unexpected(SendError(closed()));
      default: return std::unexpected(SendError(ChannelFull{this->core().capacity()}));
    }
  }
  [[nodiscard]] auto result(Status status) const {
    if constexpr (std::is_same_v<Values, OneValue<T>>) {
      assert(status == Status::done || status == Status::closed);
      return status == Status::done ? Result<void, ChannelClosed>() : std::unexpected(closed());
    } else {
      return limited_result(status);  // a batch may be too large
    }
  }
  [[nodiscard]] ChannelClosed closed() const { return OpBase<Core>::closed(Side::sender, waiter_.why); }

 private:
  Values values_;
  SendWaiter<T> waiter_;
};

template <class T, class Core>
class RecvOp : OpBase<Core> {
 public:
  using value_type = T;

  RecvOp(const std::shared_ptr<Core>& core, const Registration& handle) : OpBase<Core>(core, handle) {}

  Status start(Operation* op, std::uint32_t branch = 0) {
    if (!this->has_core()) {
      waiter_.why = CloseKind::handle_closed;
      if (op != nullptr && !op->try_claim(branch)) return Status::pending;
      return Status::closed;
    }
    if (op != nullptr) this->keep_core();
    waiter_.index = branch;
    return this->core().start_recv(this->handle(), waiter_, op);
  }
  Status finish() { return this->core().finish_recv(waiter_); }
  void abandon() noexcept {
    if (this->is_started()) this->core().abandon_recv(waiter_);
  }
  // See Waiter::takes_late.
  void take_late() noexcept { waiter_.takes_late = true; }

  [[nodiscard]] Result<T, ChannelClosed> result(Status status) {
    assert(status == Status::done || status == Status::closed);
    if (status == Status::done) return take();
    return std::unexpected(closed());
  }
  [[nodiscard]] Result<T, RecvError> limited_result(Status status) {
    if (status == Status::done) return take();
    if (status == Status::closed) return std::unexpected(RecvError(closed()));
    return std::unexpected(RecvError(ChannelEmpty{}));
  }
  // The value of an op that came to Status::done.
  [[nodiscard]] T take() noexcept { return *std::move(waiter_.value); }
  [[nodiscard]] ChannelClosed closed() const { return OpBase<Core>::closed(Side::receiver, waiter_.why); }

 private:
  RecvWaiter<T> waiter_;
};

template <class T, class Core>
class RecvBatchOp : OpBase<Core> {
 public:
  RecvBatchOp(const std::shared_ptr<Core>& core, const Registration& handle, std::size_t max_items)
      : OpBase<Core>(core, handle) {
    waiter_.max_items = max_items;
  }

  Status start(Operation* op) {
    if (!this->has_core()) {
      waiter_.why = CloseKind::handle_closed;
      return Status::closed;
    }
    if (op != nullptr) this->keep_core();
    waiter_.many = &values_;
    return this->core().start_recv(this->handle(), waiter_, op);
  }
  Status finish() { return this->core().finish_recv(waiter_); }
  void abandon() noexcept {
    if (this->is_started()) this->core().abandon_recv(waiter_);
  }

  [[nodiscard]] Result<std::vector<T>, ChannelClosed> result(Status status) {
    assert(status == Status::done || status == Status::closed);
    if (status == Status::done) return std::move(values_);
    return std::unexpected(closed());
  }
  [[nodiscard]] Result<std::vector<T>, RecvError> limited_result(Status status) {
    if (status == Status::done) return std::move(values_);
    if (status == Status::closed) return std::unexpected(RecvError(closed()));
    return std::unexpected(RecvError(ChannelEmpty{}));
  }
  // The values of an op that came to Status::done.
  [[nodiscard]] std::vector<T> take() noexcept { return std::move(values_); }
  [[nodiscard]] ChannelClosed closed() const { return OpBase<Core>::closed(Side::receiver, waiter_.why); }

 private:
  std::vector<T> values_;
  RecvWaiter<T> waiter_;
};

// Waits until the other side is gone.
template <class Core>
class ClosedOp : OpBase<Core> {
 public:
  ClosedOp(Side side, const std::shared_ptr<Core>& core, const Registration& handle)
      : OpBase<Core>(core, handle), side_(side) {}

  Status start(Operation* op) {
    if (!this->has_core()) {
      waiter_.why = CloseKind::handle_closed;
      return Status::closed;
    }
    if (op != nullptr) this->keep_core();
    return this->core().start_closed(side_, this->handle(), waiter_, op);
  }
  Status finish() { return this->core().finish_closed(side_, waiter_); }
  void abandon() noexcept {
    if (this->is_started()) this->core().abandon_closed(side_, waiter_);
  }

  [[nodiscard]] Result<void, ChannelClosed> result(Status status) const {
    return status == Status::done ? Result<void, ChannelClosed>() : std::unexpected(closed());
  }
  [[nodiscard]] ChannelClosed closed() const { return OpBase<Core>::closed(side_, waiter_.why); }

 private:
  Side side_;
  ClosedWaiter waiter_;
};

}  // namespace klaw::channels::detail
