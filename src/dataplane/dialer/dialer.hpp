// A process's link to one channel, at its socket: finds the broker, connects, authenticates, and brings frames and time to the
// link. All handles of the process on that channel share it.
//
// One mutex protects the link: operations come from any thread, frames and time from the I/O thread. What they wake is woken
// outside of it.
#pragma once

#include <cstdint>
#include <deque>
#include <expected>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <asio/steady_timer.hpp>
#include <dataplane/auth/handshake.hpp>
#include <dataplane/io/connection.hpp>
#include <dataplane/io/io_thread.hpp>
#include <dataplane/link/link.hpp>
#include <sys/types.h>

namespace klaw::dataplane {

// Where a broker is, as the control plane tells it.
struct Endpoint {
  ChannelId channel = {};  // of one who has a ticket: its token, and its key
  Secret secret = {};
  std::string unix_path = {};               // tried first; empty: the broker is on another machine
  std::vector<std::string> addresses = {};  // "host:port", in the order in which they are tried
};

// Asks the control plane. It answers once, soon, on any thread: the endpoint, or why there is none.
using EndpointAnswer = std::function<void(std::expected<Endpoint, std::string>)>;
using EndpointLookup = std::function<void(EndpointAnswer)>;

struct DialerSettings {
  LinkSettings link = {};
  EndpointLookup look_up = {};
  TlsContext tls = {};                               // for TCP; null: none
  Duration address_limit = std::chrono::seconds(2);  // for one address: connecting and the handshake
  Duration limit = std::chrono::seconds(5);          // for all of them
};

class Dialer final : public std::enable_shared_from_this<Dialer>, private Connection::Owner {
 public:
  [[nodiscard]] static std::shared_ptr<Dialer> start(DialerSettings settings);
  Dialer(const Dialer&) = delete;
  Dialer& operator=(const Dialer&) = delete;
  ~Dialer();

  // Calls f(link, now) under the lock, does what the link wants done, and wakes whom it woke.
  template <class F>
  auto with_link(const F& f) {
    std::unique_lock lock(mutex_);
    if constexpr (std::is_void_v<decltype(f(link_, Time()))>) {
      f(link_, steady_now());
      carry_out(lock);
    } else {
      auto result = f(link_, steady_now());
      carry_out(lock);
      return result;
    }
  }

  // Ends what waits, and closes the connection. Nothing can be done with it any more.
  void stop(const std::string& why);
  // All handles are closed, or are closed now. Lives on by itself until the broker has heard of it, `limit` at most, and says
  // so (on the I/O thread).
  void retire(Duration limit, std::function<void()> done = {});

  // Of the broker that the link was connected to last; none: it has never been.
  [[nodiscard]] std::optional<Endpoint> endpoint();

  // After a fork, a child must not touch what it inherited: not lock it, not even destroy it.
  [[nodiscard]] bool is_inherited() const noexcept;

 private:
  struct Attempt;
  struct Retirement {
    std::shared_ptr<Dialer> self;
    Time deadline;
    std::function<void()> done;
  };

  explicit Dialer(DialerSettings settings);
  void carry_out(std::unique_lock<std::mutex>& lock);
  void perform(LinkAction& action);
  void set_timer();
  void end_retirement();

  // --- connecting: one attempt at a time; on the I/O thread, under the mutex ---
  void look_up();
  void looked_up(std::uint64_t attempt, std::expected<Endpoint, std::string> answer);
  void try_next();
  void connected(const asio::error_code& error);
  void address_failed(const std::string& why);
  void shake_hands(const Frame& frame);
  void give_up_attempt();

  void frame_arrived(Connection& connection, Frame&& frame) override;
  void batch_arrived(Connection& connection) override;
  void connection_ended(Connection& connection, const std::string& why) override;

  const DialerSettings settings_;
  const std::shared_ptr<IoThread> io_;
  const pid_t pid_;

  std::mutex mutex_;  // protects what follows
  Link link_;
  std::shared_ptr<Connection> connection_;  // that the link was told of
  std::optional<Endpoint> endpoint_;        // its, or the last one's
  std::unique_ptr<Attempt> attempt_;        // to connect
  std::uint64_t last_attempt_ = 0;
  asio::steady_timer timer_;
  Time timer_at_ = kNever;
  std::optional<Retirement> retirement_;
};

}  // namespace klaw::dataplane
