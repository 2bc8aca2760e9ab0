// A channel's broker at its sockets: the half of the data plane that lives in the channel's actor.
//
// Listens at a unix socket, for clients of the same machine and user, and at TCP addresses for the others. Who connects has
// five seconds to prove that it knows the secret, over small frames, and there is only room for so many who have not done
// so yet. After that the broker's rules hold.
//
// The actor's own put and get, for those that talk to it and not to its sockets, come from its threads: a client beside the
// broker (plain/plain_calls.hpp), whose callers wait as on any channel.
//
// One mutex protects the broker and the plain calls: the I/O thread brings frames and time, the actor's methods come from
// theirs. Whom it wakes is woken outside of it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <type_traits>
#include <vector>

#include <asio/generic/stream_protocol.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/local/stream_protocol.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>
#include <dataplane/auth/handshake.hpp>
#include <dataplane/broker/broker.hpp>
#include <dataplane/io/connection.hpp>
#include <dataplane/io/io_thread.hpp>
#include <dataplane/plain/plain_calls.hpp>
#include <sys/types.h>

namespace klaw::dataplane {

struct ServerSettings {
  BrokerSettings broker = {};
  ChannelId channel = {};
  Secret secret = {};
  // Empty: none. Its folder must exist; shorter than 108 bytes, as the operating system wants it. Mode 0600.
  std::string unix_path = {};
  // Addresses of this machine to listen at; empty: TCP is not offered.
  std::vector<std::string> hosts = {};
  // The first free port of these is taken; 0 and 0: any.
  std::uint16_t port_min = 0;
  std::uint16_t port_max = 0;
  TlsContext tls = {};  // for TCP; null: none
  Duration handshake_limit = std::chrono::seconds(5);
  std::size_t strangers_max = 256;  // connections that have not proved themselves
  std::function<void(const std::string&)> log = {};
  // The channel was deleted, and its clients know or had their time. On the I/O thread.
  std::function<void()> ended = {};
  // The last handle has gone (0), or the first has come. On the I/O thread, in order.
  std::function<void(std::size_t handles)> handles_changed = {};
  // A message of which BrokerSettings::tells_end_of says so has left the broker. Under the server's lock.
  std::function<void(const Bytes& message)> message_ended = {};
};

// What waits for the reply of a plain call.
struct PlainOperation : detail::Waiter {
  PlainReply reply = {};  // once it is done

  // The server's.
  PlainCall call = 0;  // 0: it was not started, or has been replied to
};

class Server final : public std::enable_shared_from_this<Server>, private Connection::Owner {
 public:
  // Throws std::runtime_error that names the address and the system's reason, if it can't listen there.
  [[nodiscard]] static std::shared_ptr<Server> start(ServerSettings settings);
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server();

  // "host:port" of each host.
  [[nodiscard]] const std::vector<std::string>& addresses() const noexcept { return addresses_; }
  // Closes all sockets. What the broker holds is lost.
  void stop();

  // Calls f(broker, now) under the lock, and then does what the broker wants done.
  template <class F>
  auto with_broker(const F& f) {
    std::unique_lock lock(mutex_);
    return finishing(lock, [&] { return f(broker_, steady_now()); });
  }
  // Likewise f(plain, now): for who registers.
  template <class F>
  auto with_plain(const F& f) {
    std::unique_lock lock(mutex_);
    return finishing(lock, [&] { return f(plain_, steady_now()); });
  }

  // --- plain calls that wait: `begin(plain, now, call)` makes the call that it is told the number of ---

  // Always pending: the reply wakes `op`, at once if there is one at once.
  template <class F>
  [[nodiscard]] Status start_plain(PlainOperation& w, detail::Operation& op, const F& begin) {
    std::unique_lock lock(mutex_);
    w.operation = &op;
    w.call = ++last_call_;
    plain_waiting_.emplace(w.call, &w);
    finishing(lock, [&] { begin(plain_, steady_now(), w.call); });
    return Status::pending;
  }
  // What was not taken stays. A reply that crosses with this is lost, as one that its caller does not live to get.
  void abandon_plain(PlainOperation& w) noexcept;

 private:
  // A connection, from its first byte on.
  struct Peer {
    std::shared_ptr<Connection> connection;
    std::string name;  // for the log
    ConnectionId id = 0;
    std::optional<BrokerHandshake> handshake;  // until it has proved itself
    Time deadline = kNever;                    // of the handshake
    pid_t pid = 0;                             // if it is on this machine
    std::optional<Token> ticket = {};          // by which it came
  };
  // A process of this machine that has clients here. Outlives their connections: it is its end that counts.
  struct Process {
    asio::posix::stream_descriptor descriptor;  // a pidfd
    std::set<ClientId> clients = {};
  };

  explicit Server(ServerSettings settings);
  template <class F>
  auto finishing(std::unique_lock<std::mutex>& lock, const F& f) {
    if constexpr (std::is_void_v<decltype(f())>) {
      f();
      carry_out(lock);
    } else {
      auto result = f();
      carry_out(lock);
      return result;
    }
  }
  void listen();
  void listen_at_unix_path();
  void listen_at(const std::string& host);
  void accept_unix();
  void accept_tcp(std::size_t acceptor);
  void accept_later(const asio::error_code& error, std::function<void(Server&)> accept);
  void accepted(Connection::Socket socket, std::string name, const TlsContext& tls, pid_t pid);
  // 0: it is not.
  [[nodiscard]] pid_t pid_if_of_this_user(int descriptor) const;
  void watch(pid_t pid, const ClientId& client);
  void process_ended(pid_t pid, std::unique_lock<std::mutex>& lock);

  void frame_arrived(Connection& connection, Frame&& frame) override;
  void batch_arrived(Connection& connection) override;
  void connection_ended(Connection& connection, const std::string& why) override;
  void shake_hands(Peer& peer, const Frame& frame);
  void turn_away(Peer& peer, const std::string& why);
  void forget(const Connection& connection);

  // All under the mutex; carry_out() releases it, and wakes.
  void carry_out(std::unique_lock<std::mutex>& lock);
  void reply(PlainReply&& reply, detail::Wakeups& woken);
  void tell_handles();
  void perform(BrokerAction& action);
  void set_timer();
  void tick(std::unique_lock<std::mutex>& lock);
  void log(const std::string& text) const;

  const ServerSettings settings_;
  const std::shared_ptr<IoThread> io_;
  std::vector<std::string> addresses_;

  std::mutex mutex_;  // protects what follows
  Broker broker_;
  PlainCalls plain_;
  std::map<PlainCall, PlainOperation*> plain_waiting_;
  PlainCall last_call_ = 0;
  std::size_t told_handles_ = 0;
  std::map<const Connection*, std::unique_ptr<Peer>> peers_;
  std::map<ConnectionId, Peer*> by_id_;  // those that have proved themselves
  ConnectionId last_id_ = 0;
  std::size_t strangers_ = 0;
  std::map<pid_t, Process> processes_;
  std::vector<std::shared_ptr<Connection>> to_flush_;
  std::optional<asio::local::stream_protocol::acceptor> unix_acceptor_;
  std::vector<asio::ip::tcp::acceptor> acceptors_;
  asio::steady_timer timer_;
  Time timer_at_ = kNever;
  bool is_stopped_ = false;
};

}  // namespace klaw::dataplane
