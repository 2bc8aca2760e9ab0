#include <algorithm>
#include <cerrno>
#include <stdexcept>
#include <system_error>
#include <utility>

#include <asio/post.hpp>
#include <dataplane/io/descriptors.hpp>
#include <dataplane/server/server.hpp>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace klaw::dataplane {

namespace {

constexpr auto kAcceptPause = std::chrono::milliseconds(100);

}  // namespace

using asio::ip::tcp;
using Local = asio::local::stream_protocol;

std::shared_ptr<Server> Server::start(ServerSettings settings) {
  std::shared_ptr<Server> server(new Server(std::move(settings)));
  const std::lock_guard lock(server->mutex_);
  server->listen();
  server->set_timer();
  return server;
}

Server::Server(ServerSettings settings)
    : settings_(std::move(settings)),
      io_(IoThread::of_process()),
      broker_(settings_.broker, steady_now()),
      plain_(broker_, random_id<ClientId>, steady_now()),
      timer_(io_->context()) {}

Server::~Server() { stop(); }

void Server::stop() {
  const std::lock_guard lock(mutex_);
  if (std::exchange(is_stopped_, true)) return;
  asio::error_code ignored;
  if (unix_acceptor_) {
    descriptors::closed(unix_acceptor_->native_handle());
    unix_acceptor_->close(ignored);
    ::unlink(settings_.unix_path.c_str());
  }
  for (tcp::acceptor& acceptor : acceptors_) {
    descriptors::closed(acceptor.native_handle());
    acceptor.close(ignored);
  }
  timer_.cancel();
  by_id_.clear();
  for (const auto& [connection, peer] : peers_) peer->connection->close();
  peers_.clear();
  processes_.clear();
}

// --- listening ---

void Server::listen() {
  if (!settings_.unix_path.empty()) listen_at_unix_path();
  for (const std::string& host : settings_.hosts) listen_at(host);
  if (unix_acceptor_) accept_unix();
  for (std::size_t i = 0; i < acceptors_.size(); ++i) accept_tcp(i);
}

void Server::listen_at_unix_path() {
  try {
    ::unlink(settings_.unix_path.c_str());  // of a broker that was killed
    unix_acceptor_.emplace(io_->context());
    unix_acceptor_->open();
    unix_acceptor_->bind(Local::endpoint(settings_.unix_path));
    // Before it listens: until then nobody can connect.
    if (::chmod(settings_.unix_path.c_str(), S_IRUSR | S_IWUSR) != 0) {
      throw std::system_error(errno, std::generic_category(), "chmod");
    }
    unix_acceptor_->listen();
    descriptors::opened(unix_acceptor_->native_handle());
  } catch (const std::system_error& error) {
    throw std::runtime_error("can't listen at " + settings_.unix_path + ": " + error.what());
  }
}

void Server::listen_at(const std::string& host) {
  asio::error_code error;
  const asio::ip::address address = asio::ip::make_address(host, error);
  if (error) throw std::runtime_error("can't listen at '" + host + "': not an address");
  for (unsigned port = settings_.port_min; port <= settings_.port_max; ++port) {
    tcp::acceptor acceptor(io_->context());
    const tcp::endpoint endpoint(address, static_cast<std::uint16_t>(port));
    acceptor.open(endpoint.protocol(), error);
    if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor.bind(endpoint, error);
    if (!error) acceptor.listen(tcp::acceptor::max_listen_connections, error);
    if (error) continue;
    const std::string bound = std::to_string(acceptor.local_endpoint().port());
    descriptors::opened(acceptor.native_handle());
    std::string& shown = addresses_.emplace_back(address.is_v6() ? '[' + host + ']' : host);
    shown += ':';
    shown += bound;
    acceptors_.push_back(std::move(acceptor));
    return;
  }
  throw std::runtime_error("can't listen at " + host + ", ports " + std::to_string(settings_.port_min) + " to " +
                           std::to_string(settings_.port_max) + ": " + error.message());
}

void Server::accept_unix() {
  unix_acceptor_->async_accept([weak = weak_from_this()](const asio::error_code& error, Local::socket socket) {
    const auto self = weak.lock();
    if (self == nullptr || error == asio::error::operation_aborted) return;
    const std::lock_guard lock(self->mutex_);
    if (self->is_stopped_) return;
    const pid_t pid = error ? 0 : self->pid_if_of_this_user(socket.native_handle());
    if (pid != 0) self->accepted(std::move(socket), "process " + std::to_string(pid), nullptr, pid);
    if (!error) return self->accept_unix();
    self->accept_later(error, [](Server& server) { server.accept_unix(); });
  });
}

void Server::accept_tcp(std::size_t acceptor) {
  acceptors_[acceptor].async_accept(
      [weak = weak_from_this(), acceptor](const asio::error_code& error, tcp::socket socket) {
        const auto self = weak.lock();
        if (self == nullptr || error == asio::error::operation_aborted) return;
        const std::lock_guard lock(self->mutex_);
        if (self->is_stopped_) return;
        if (!error) {
          asio::error_code ignored;
          socket.set_option(tcp::no_delay(true), ignored);
          const tcp::endpoint remote = socket.remote_endpoint(ignored);
          self->accepted(std::move(socket), remote.address().to_string() + ':' + std::to_string(remote.port()),
                         self->settings_.tls, 0);
        }
        if (!error) return self->accept_tcp(acceptor);
        self->accept_later(error, [acceptor](Server& server) { server.accept_tcp(acceptor); });
      });
}

// No descriptor was left, mostly: who asks again at once asks for ever.
void Server::accept_later(const asio::error_code& error, std::function<void(Server&)> accept) {
  log("a connection can't be accepted: " + error.message());
  const auto pause = std::make_shared<asio::steady_timer>(io_->context(), kAcceptPause);
  pause->async_wait([weak = weak_from_this(), pause, accept = std::move(accept)](const asio::error_code& /*never*/) {
    const auto self = weak.lock();
    if (self == nullptr) return;
    const std::lock_guard lock(self->mutex_);
    if (!self->is_stopped_) accept(*self);
  });
}

pid_t Server::pid_if_of_this_user(int descriptor) const {
  ucred peer = {};
  socklen_t size = sizeof peer;
  if (::getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return 0;
  if (peer.uid == ::geteuid()) return peer.pid;
  log("a connection of user " + std::to_string(peer.uid) + ", process " + std::to_string(peer.pid) + ", was refused");
  return 0;
}

void Server::accepted(Connection::Socket socket, std::string name, const TlsContext& tls, pid_t pid) {
  if (strangers_ >= settings_.strangers_max) {
    log("a connection of " + name + " was refused: " + std::to_string(strangers_) +
        " others have not proved themselves");
    return;
  }
  auto peer = std::make_unique<Peer>();
  const std::shared_ptr<Connection::Owner> owner(shared_from_this(), this);
  peer->connection = std::make_shared<Connection>(std::move(socket), owner, tls, Connection::Role::server);
  peer->name = std::move(name);
  // Called under the lock, as frames arrive.
  const auto path_of = [this](const Token& ticket) { return broker_.path_of(ticket); };
  peer->handshake.emplace(settings_.secret, settings_.channel, random_id<Nonce>(), path_of);
  peer->deadline = after(steady_now(), settings_.handshake_limit);
  peer->pid = pid;
  ++strangers_;
  peer->connection->start();
  peers_.emplace(peer->connection.get(), std::move(peer));
  set_timer();
}

// The end of a process on this machine is known at once, and for certain: nobody has to wait for heartbeats.
void Server::watch(pid_t pid, const ClientId& client) {
  if (const auto found = processes_.find(pid); found != processes_.end()) {
    found->second.clients.insert(client);
    return;
  }
  const auto descriptor = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (descriptor < 0) return;  // an old kernel, or it is gone already: the heartbeats will tell
  Process& process =
      processes_.emplace(pid, Process{asio::posix::stream_descriptor(io_->context(), descriptor)}).first->second;
  process.clients.insert(client);
  process.descriptor.async_wait(asio::posix::stream_descriptor::wait_read,
                                [weak = weak_from_this(), pid](const asio::error_code& error) {
                                  const auto self = weak.lock();
                                  if (self == nullptr || error) return;
                                  std::unique_lock lock(self->mutex_);
                                  self->process_ended(pid, lock);
                                });
}

void Server::process_ended(pid_t pid, std::unique_lock<std::mutex>& lock) {
  const auto ended = processes_.extract(pid);
  if (ended.empty()) return;
  for (const ClientId& client : ended.mapped().clients) {
    broker_.client_died(steady_now(), client, "its process " + std::to_string(pid) + " ended");
  }
  carry_out(lock);
}

// --- connections ---

void Server::frame_arrived(Connection& connection, Frame&& frame) {
  const std::lock_guard lock(mutex_);
  const auto found = peers_.find(&connection);
  if (found == peers_.end()) return;
  Peer& peer = *found->second;
  if (peer.handshake) return shake_hands(peer, frame);
  if (const auto* const attach = std::get_if<Attach>(&frame); attach != nullptr && peer.pid != 0) {
    watch(peer.pid, attach->client);
  }
  broker_.received(steady_now(), peer.id, std::move(frame), peer.ticket);
}

void Server::batch_arrived(Connection& /*connection*/) {
  std::unique_lock lock(mutex_);
  carry_out(lock);
}

void Server::connection_ended(Connection& connection, const std::string& why) {
  std::unique_lock lock(mutex_);
  const auto found = peers_.find(&connection);
  if (found == peers_.end()) return;
  if (found->second->handshake) {
    log(found->second->name + " went before it had proved itself: " + why);
  } else {
    broker_.disconnected(steady_now(), found->second->id);
  }
  forget(connection);
  carry_out(lock);
}

void Server::shake_hands(Peer& peer, const Frame& frame) {
  HandshakeStep step = peer.handshake->received(frame);
  if (!step) return turn_away(peer, step.error());
  if (*step) {
    peer.connection->append(**step);
    peer.connection->flush();
  }
  if (!peer.handshake->is_done()) return;
  peer.ticket = peer.handshake->ticket();
  peer.handshake.reset();
  peer.deadline = kNever;
  --strangers_;
  peer.connection->authenticated();
  peer.id = ++last_id_;
  by_id_.emplace(peer.id, &peer);
}

void Server::turn_away(Peer& peer, const std::string& why) {
  log(peer.name + " was turned away: " + why);
  const std::shared_ptr<Connection> connection = peer.connection;
  forget(*connection);
  connection->close();
}

void Server::forget(const Connection& connection) {
  const auto found = peers_.find(&connection);
  if (found == peers_.end()) return;
  if (found->second->handshake) --strangers_;
  by_id_.erase(found->second->id);
  peers_.erase(found);
}

// --- the broker ---

void Server::carry_out(std::unique_lock<std::mutex>& lock) {
  detail::Wakeups woken;
  for (BrokerAction& action : plain_.exchange(steady_now())) perform(action);
  for (PlainReply& reply : plain_.take_replies()) this->reply(std::move(reply), woken);
  for (const Bytes& message : broker_.take_ended_messages()) {
    if (settings_.message_ended) settings_.message_ended(message);
  }
  for (const auto& connection : std::exchange(to_flush_, {})) connection->flush();
  tell_handles();
  set_timer();
  lock.unlock();
  woken.fire();
}

void Server::reply(PlainReply&& reply, detail::Wakeups& woken) {
  const auto found = plain_waiting_.extract(reply.call);
  if (found.empty()) return;
  PlainOperation& w = *found.mapped();
  w.call = 0;
  if (!w.operation->try_claim(w.index)) return;
  w.reply = std::move(reply);
  woken.add(*w.operation);
}

void Server::abandon_plain(PlainOperation& w) noexcept {
  std::unique_lock lock(mutex_);
  if (w.call == 0) return;
  plain_waiting_.erase(w.call);
  plain_.cancel(steady_now(), w.call);
  carry_out(lock);
}

void Server::tell_handles() {
  if (!settings_.handles_changed) return;
  const std::size_t handles = broker_.handle_count();
  if ((handles == 0) != (told_handles_ == 0)) {
    asio::post(io_->context(), [told = settings_.handles_changed, handles] { told(handles); });
  }
  told_handles_ = handles;
}

void Server::perform(BrokerAction& action) {
  if (const auto* const send = std::get_if<broker_action::Send>(&action)) {
    const auto found = by_id_.find(send->connection);
    if (found == by_id_.end()) return;
    found->second->connection->append(*send->frame);
    const std::shared_ptr<Connection>& connection = found->second->connection;
    if (std::ranges::find(to_flush_, connection) == to_flush_.end()) to_flush_.push_back(connection);
  } else if (const auto* const end = std::get_if<broker_action::Disconnect>(&action)) {
    const auto found = by_id_.find(end->connection);
    if (found == by_id_.end()) return;
    const std::shared_ptr<Connection> connection = found->second->connection;
    log(found->second->name + " is disconnected: " + end->why);
    connection->flush();
    forget(*connection);
    connection->close();
  } else if (const auto* const line = std::get_if<broker_action::Log>(&action)) {
    log(line->text);
  } else if (settings_.ended) {
    asio::post(io_->context(), settings_.ended);
  }
}

void Server::set_timer() {
  if (is_stopped_) return;
  Time next = std::min(broker_.next_deadline(), plain_.next_deadline());
  if (strangers_ > 0) {
    for (const auto& [connection, peer] : peers_) next = std::min(next, peer->deadline);
  }
  // A deadline that moved away is looked at again when its old time has come: that is cheaper than a timer per event.
  if (next >= timer_at_) return;
  timer_at_ = next;
  timer_.expires_at(to_steady(next));
  timer_.async_wait([weak = weak_from_this()](const asio::error_code& error) {
    const auto self = weak.lock();
    if (self == nullptr || error) return;
    std::unique_lock lock(self->mutex_);
    if (!self->is_stopped_) self->tick(lock);
  });
}

void Server::tick(std::unique_lock<std::mutex>& lock) {
  const Time now = steady_now();
  timer_at_ = kNever;
  std::vector<Peer*> late;
  for (const auto& [connection, peer] : peers_) {
    if (peer->deadline <= now) late.push_back(peer.get());
  }
  for (Peer* const peer : late) turn_away(*peer, "it has not proved itself in time");
  broker_.tick(now);
  plain_.tick(now);
  carry_out(lock);
}

void Server::log(const std::string& text) const {
  if (settings_.log) settings_.log(text);
}

}  // namespace klaw::dataplane
