// The flavours of channel that the conformance suite runs against, and the table of what each offers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include <klaw/channels.hpp>

namespace klaw_test {

// nullopt: unbounded.
using Capacity = std::optional<std::size_t>;

// What a flavour offers beyond the concepts Sender and Receiver. conformance/capabilities_test.cpp compares it with what
// the handles really have, in both directions: a new call must be entered here, and tested.
struct Capabilities {
  bool clones_senders;
  bool clones_receivers;  // MPMC: each message goes to one of them
  bool timed;             // send_for, recv_for
  bool blocking;          // blocking_send, blocking_recv
  bool batches;
  bool waits_for_close;  // closed()
  bool observes;         // stats(), capacity(), size()
  bool iterates;         // range-for
  bool selects;
  bool permits;       // reserve()
  bool acknowledges;  // recv_acked()
  bool weak_handles;  // downgrade()
  bool shuts_down;    // shutdown()
  bool creation_can_fail;
};

struct Local {
  static constexpr const char* name = "Local";
  template <class T>
  using Sender = klaw::channels::LocalSender<T>;
  template <class T>
  using Receiver = klaw::channels::LocalReceiver<T>;

  static constexpr Capabilities capabilities{.clones_senders = true,
                                             .clones_receivers = true,
                                             .timed = true,
                                             .blocking = true,
                                             .batches = true,
                                             .waits_for_close = true,
                                             .observes = true,
                                             .iterates = true,
                                             .selects = true,
                                             .permits = true,
                                             .acknowledges = true,
                                             .weak_handles = true,
                                             .shuts_down = true,
                                             .creation_can_fail = false};

  template <class T>
  static klaw::channels::LocalPair<T> open(Capacity capacity) {
    return capacity ? klaw::channels::channel<T>(*capacity) : klaw::channels::unbounded_channel<T>();
  }
};

// The same core behind handles whose backend is chosen at run time.
struct Any {
  static constexpr const char* name = "Any";
  template <class T>
  using Sender = klaw::channels::AnySender<T>;
  template <class T>
  using Receiver = klaw::channels::AnyReceiver<T>;

  static constexpr Capabilities capabilities{.clones_senders = true,
                                             .clones_receivers = true,
                                             .timed = true,
                                             .blocking = true,
                                             .batches = true,
                                             .waits_for_close = true,
                                             .observes = true,
                                             .iterates = true,
                                             .selects = true,
                                             .permits = true,
                                             .acknowledges = true,
                                             .weak_handles = true,
                                             .shuts_down = true,
                                             .creation_can_fail = true};

  template <class T>
  static klaw::channels::ChannelPair<T> open(Capacity capacity) {
    klaw::channels::ChannelOptions options;
    options.unbounded = !capacity.has_value();
    if (capacity) options.capacity = static_cast<std::int64_t>(*capacity);
    return klaw::value_or_throw(klaw::channels::channel<T>(options));
  }
};

}  // namespace klaw_test
