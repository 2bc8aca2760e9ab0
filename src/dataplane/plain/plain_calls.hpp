// The channel's own calls (put, get, ...), for those that talk to its actor and not to its broker: plain Ray code.
//
// They are sends and receives of a client that lives in the broker's process: a link whose connection can't be lost. So they
// stand in the same lines as everybody else's, and the broker knows nothing of them.
//
// Who has registered (under a name) counts on its side; a call without a name passes through a session that does not.
// A caller may number its calls (`op`): the newest one's reply is kept, so that a call which the control plane repeats,
// because its reply was lost, happens once.
//
// The driver serialises the calls, and after each batch of events takes the replies:
//
//   plain.put(now, call, ...);                     any number of calls and broker events
//   broker.flush(now); plain.exchange(now);        frames go to and fro until both have said all
//   for (auto& reply : plain.take_replies()) ...   and the actions that exchange() leaves are the driver's
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <dataplane/broker/broker.hpp>
#include <dataplane/link/link.hpp>

namespace klaw::dataplane {

enum class PlainStatus : std::uint8_t { ok, full, empty, closed };

// The driver's own connections have smaller names.
inline constexpr ConnectionId kPlainConnections = ConnectionId{1} << 63;

using PlainCall = std::uint64_t;  // the driver's name for a call; never used twice

struct PlainReply {
  PlainCall call;
  PlainStatus status;
  std::vector<Bytes> messages = {};  // of a get
};

// Who calls, and which of its calls this is. No caller: the call is not numbered.
struct PlainOp {
  std::string caller = {};
  std::uint64_t number = 0;
};

class PlainCalls {
 public:
  // `broker` must outlive it.
  PlainCalls(Broker& broker, std::function<ClientId()> new_client_id, Time now);
  PlainCalls(const PlainCalls&) = delete;
  PlainCalls& operator=(const PlainCalls&) = delete;
  ~PlainCalls();

  // Idempotent. Closed: that side of the channel has closed.
  [[nodiscard]] PlainStatus register_handle(Time now, Side side, const std::string& name);
  // Unknown names are no error.
  void deregister_handle(Time now, Side side, const std::string& name);

  // All of `messages` or none. `name`: a registered sender, or empty. Replies ok, full or closed.
  void put(Time now, PlainCall call, const std::string& name, std::vector<Bytes> messages, Time deadline,
           const PlainOp& op = {});
  // Waits for the first and takes what is there. Replies ok, empty or closed.
  void get(Time now, PlainCall call, const std::string& name, std::size_t max_items, Time deadline,
           const PlainOp& op = {});
  // There will be no reply; what was not taken stays.
  void cancel(Time now, PlainCall call);

  void tick(Time now) { link_.tick(now); }
  [[nodiscard]] Time next_deadline() const { return link_.next_deadline(); }
  // Carries frames between the broker and its calls until neither has more to say. Gives what else the broker wants.
  [[nodiscard]] std::vector<BrokerAction> exchange(Time now);
  [[nodiscard]] std::vector<PlainReply> take_replies() { return std::exchange(replies_, {}); }

 private:
  struct Pending;
  struct Remembered {
    std::uint64_t number = 0;
    std::optional<PlainReply> reply = std::nullopt;  // none: the call is pending
    PlainCall pending = 0;
    std::vector<PlainCall> waiting = {};  // repetitions of it that came meanwhile
  };

  [[nodiscard]] Registration& handle(Time now, Side side, const std::string& name);
  [[nodiscard]] bool can_receive() const noexcept;
  [[nodiscard]] bool is_repeated(PlainCall call, const PlainOp& op);
  void settle_start(Pending& p, Status status);
  void conclude(Pending& p, Status status);
  bool carry_to_broker(Time now);
  bool carry_to_link(Time now, std::vector<BrokerAction>& others);

  Broker& broker_;
  ConnectionId connection_ = kPlainConnections;  // the present one; only a driver that stood still makes it a new one
  Link link_;
  std::map<std::string, Registration> handles_[2];  // [Side], by name; the nameless one does not count
  std::map<PlainCall, std::unique_ptr<Pending>> pending_;
  std::vector<PlainCall> fired_;                  // of pending_, those that the link has woken
  std::map<std::string, Remembered> remembered_;  // by caller
  std::list<std::string> callers_;                // of remembered_, the oldest first
  std::vector<PlainReply> replies_;
  std::vector<BrokerAction> left_over_;  // the driver's, of an exchange that it did not ask for
};

}  // namespace klaw::dataplane
