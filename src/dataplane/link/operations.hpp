// What waits on a link: the waiters of the local core, with a deadline and an error of their own.
//
// A link keeps time itself: whether a send whose time is over has happened, only the broker knows, so the operation
// ends when the answer has come. Hence a finished wait is exact: a value, closed, timed out and nothing has happened.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include <dataplane/wire/frame.hpp>
#include <dataplane/wire/time.hpp>
#include <klaw/channels/detail/core.hpp>
#include <klaw/channels/detail/sync.hpp>
#include <klaw/errors.hpp>

namespace klaw::dataplane {

namespace detail = channels::detail;
using detail::Operation;
using detail::Registration;
using detail::Status;

// What a handle sends (only the payload counts) and receives.
struct Message {
  Bytes payload = {};
  Attempt attempt = 0;             // what settles it
  std::uint32_t redeliveries = 0;  // how often it may have been handed out before
};

// A slot that the broker holds for one message that is to come.
struct Permit {
  std::uint64_t handle = 0;
  Seq seq = 0;
  // The link's, in which it was granted: it ends with the broker, or when that declares us dead.
  std::uint64_t life = 0;
};

// A send, of `count` messages at `values`, all or none. The link shares their bytes; `values` is left as it was. One that
// `reserves` has no values: it waits for a slot.
struct SendOperation : detail::SendWaiter<Message> {
  Time deadline = kNever;        // not after the present: try
  ChannelClosed error = {};      // set with Status::closed
  bool is_already_sent = false;  // of a oneshot, with Status::closed: that is why

  // The link's.
  Time started_at = {};
  std::uint64_t timer = 0;  // its entry in the link's timers; 0: none
  Seq seq = 0;              // 0 while it is in the backlog
  bool is_too_large = false;
  std::uint64_t life = 0;       // in which a slot was granted
  std::uint64_t receivers = 0;  // of a broadcast, set with Status::done: how many it was sent to
};

struct RecvOperation : detail::RecvWaiter<Message> {
  std::uint64_t skipped = 0;  // of a broadcast, set with Status::done: no message, so many were missed
  Time deadline = kNever;     // not after the present: try
  ChannelClosed error = {};   // set with Status::closed
  // Its owner may die while it decodes what this has taken, and says when that is over: Link::confirm().
  bool confirms = false;
  // Of a select that only tries: how many of its branches may still find something. The last one that does not ends it.
  std::shared_ptr<detail::Atomic<std::size_t>> tries_left = {};

  // The link's.
  Time started_at = {};
  std::uint64_t timer = 0;
  std::uint64_t question = 0;  // which DEMAND_IS decides that there is nothing for it; 0: its time is not over
  std::uint64_t demanded = 0;  // the session's limit when that was asked
  bool is_asking = false;      // its time is over, and the question is not sent
};

// Waits for something about its handle: that the broker has opened it, or has its HOLD, that the other side is gone, that all it
// has sent is stored, or that the channel is shut down.
struct HandleOperation : detail::ClosedWaiter {
  ChannelClosed error = {};  // set with Status::closed

  // The link's.
  Time started_at = {};
  std::uint64_t through = 0;  // of a flush: the last message's number; of a hold: how many frames the broker has then
  std::uint64_t fills_through = 0;
  bool immediate = false;  // of a shutdown
  detail::IntrusiveList<HandleOperation>* line = nullptr;
};

}  // namespace klaw::dataplane
