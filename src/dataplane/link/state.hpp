// What a link remembers of its handles. Plain data: the rules are the link's (link.hpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <dataplane/link/operations.hpp>
#include <dataplane/wire/frame.hpp>
#include <dataplane/wire/time.hpp>
#include <klaw/channels/detail/intrusive_list.hpp>

namespace klaw::dataplane::link_state {

// Sent, and not answered yet.
struct Offered {
  Seq seq;
  std::uint32_t count;
  std::uint64_t bytes;
  bool nowait;
  bool reserves;
  bool is_withdrawn = false;
  SendOperation* operation;  // null: abandoned
  Bytes value = {};          // of a watch
};

// What has come for a receiver.
struct Arrived : Delivery {
  std::uint64_t skipped = 0;  // of a broadcast: no message, so many were missed
};

// One handle.
struct Session {
  SessionId id = 0;
  Side side = Side::sender;
  std::optional<Token> claim = std::nullopt;
  bool counts = true;
  std::string name = {};
  std::optional<std::string> reason = std::nullopt;  // it was closed with

  bool is_closed = false;                               // by its owner
  bool is_registered = false;                           // OPEN was sent to the present broker, and CLOSE was not
  bool is_opened = false;                               // the broker has confirmed it
  std::optional<ChannelClosed> refused = std::nullopt;  // its own side had closed before it came
  std::optional<ChannelClosed> peer_gone = std::nullopt;
  std::optional<ChannelClosed> ended =
      std::nullopt;  // receivers: nothing more will come, unless it gives something back
  std::optional<ChannelClosed> failure = std::nullopt;  // not told yet: the next operation raises it
  Version seen = 0;                                     // of a watch; 0: that of the first value that comes
  bool is_spent = false;                                // of a oneshot: it has sent the value, or has received it
  detail::IntrusiveList<HandleOperation> opening = {};
  detail::IntrusiveList<HandleOperation> watching = {};  // for the other side's end
  detail::IntrusiveList<HandleOperation> flushing = {};
  detail::IntrusiveList<HandleOperation> shutting_down = {};

  // --- senders ---
  Seq next = 1;
  Seq stored = 0;                    // the last that we know to be stored
  std::deque<Offered> offered = {};  // by seq
  std::uint64_t offered_count = 0;   // messages in offered
  std::uint64_t offered_bytes = 0;
  detail::IntrusiveList<SendOperation> backlog = {};  // not offered yet: the window is full, or there was no broker yet
  std::uint64_t backlog_count = 0;                    // messages in backlog

  std::set<Seq> permits = {};  // slots that are held
  std::uint64_t fills = 0;     // FILLs sent
  std::uint64_t fills_answered = 0;

  // --- receivers ---
  std::deque<Arrived> unread = {};                    // in order of delivery
  std::size_t granted = 0;                            // of unread, how many woken receives are about to take
  detail::IntrusiveList<RecvOperation> waiting = {};  // in order of arrival
  std::uint64_t wanted = 0;                           // messages that those of them want that may still wait
  std::uint64_t received = 0;                         // deliveries, since OPEN
  std::uint64_t limit = 0;                            // so many were demanded, since OPEN
  std::uint64_t gave_back_at = 0;                     // the number of the last frame that gave something back
  std::uint64_t questions = 0;                        // DEMAND_SHRINKs sent
  std::uint64_t answers = 0;                          // DEMAND_IS received
  std::vector<RecvOperation*> asking = {};            // out of time; flush() asks for them
  std::vector<RecvOperation*> asked = {};             // wait for an answer
  std::vector<Attempt> taken = {};                    // returned to callers; flush() says so
  std::vector<Attempt> unconfirmed = {};              // taken by operations whose owners decode them now
  std::vector<Attempt> outlived = {};                 // likewise, and their broker has died since
  std::vector<Attempt> taken_unsettled = {};          // likewise, to be settled by the application
  std::size_t reported_spare = 0;
  bool is_short_of_spare = false;      // a RECALL wanted more than there was: the broker hears of it once there is more
  std::uint32_t reported_waiting = 0;  // less what has been delivered since
  Time received_at = {};               // when the last receive was started
  bool is_prefetching = false;
  bool is_dirty = false;  // in the link's list of sessions that flush() looks at

  // They are handed out as they are. If that broker had declared this process dead before, or a checkpoint has them, others get
  // them, too.
  void outlive_broker() {
    outlived.insert(outlived.end(), unconfirmed.begin(), unconfirmed.end());
    unconfirmed.clear();
  }
  void forget_taken() noexcept {
    taken.clear();
    taken_unsettled.clear();
  }
  [[nodiscard]] std::size_t spare() const noexcept { return unread.size() - std::min(granted, unread.size()); }
  // Of those, what no receive waits for: one may have to wait for the lease.
  [[nodiscard]] std::size_t idle() const noexcept { return spare() - std::min(waiting.size(), spare()); }
};

}  // namespace klaw::dataplane::link_state
