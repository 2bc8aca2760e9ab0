// Weak handles: they don't count, and become strong ones while their side is open.
//
// For whoever must not keep a channel open: a cache, a registry, a task that now and then has something to send.
//
//   WeakSender<Job> weak = tx.downgrade();
//   if (std::optional<LocalSender<Job>> tx = weak.upgrade()) (void)tx->try_send(job);
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include <klaw/channels/detail/core.hpp>

namespace klaw::channels::detail {

// Copyable; any thread may use any. It keeps the channel's memory, and nothing that is queued.
template <class Strong, class Core, Side kSide>
class BasicWeak {
 public:
  // A handle as if cloned from an open one; nullopt once the last one of this side has closed.
  [[nodiscard]] std::optional<Strong> upgrade() const {
    if (core_ == nullptr) return std::nullopt;
    const Registration registration = core_->upgrade_handle(kSide);
    if (registration.closed) return std::nullopt;
    return Strong(core_, registration);
  }

 private:
  friend Strong;
  explicit BasicWeak(std::shared_ptr<Core> core) noexcept : core_(std::move(core)) {}

  std::shared_ptr<Core> core_;  // null: of a handle that was moved from
};

}  // namespace klaw::channels::detail
