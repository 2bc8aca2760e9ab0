#include <algorithm>
#include <charconv>
#include <limits>

#include <asio/connect.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/local/stream_protocol.hpp>
#include <asio/post.hpp>
#include <dataplane/dialer/dialer.hpp>
#include <unistd.h>

namespace klaw::dataplane {

using asio::ip::tcp;
using Local = asio::local::stream_protocol;
using GenericEndpoint = asio::generic::stream_protocol::endpoint;

// From the question where the broker is until it has proved itself, or all addresses have failed.
struct Dialer::Attempt {
  explicit Attempt(asio::io_context& context, std::uint64_t number_)
      : number(number_), timer(context), socket(context) {}

  const std::uint64_t number;
  Endpoint endpoint = {};
  std::deque<std::string> addresses = {};  // still to be tried; the unix path begins with '/'
  std::string address = {};                // that is being tried
  std::uint64_t tried = 0;
  std::string failures = {};
  Time deadline = kNever;    // of all
  asio::steady_timer timer;  // of this address
  Connection::Socket socket;
  std::shared_ptr<Connection> connection = {};  // once the socket is connected
  std::optional<ClientHandshake> handshake = {};
};

std::shared_ptr<Dialer> Dialer::start(DialerSettings settings) {
  return std::shared_ptr<Dialer>(new Dialer(std::move(settings)));
}

Dialer::Dialer(DialerSettings settings)
    : settings_(std::move(settings)),
      io_(IoThread::of_process()),
      pid_(::getpid()),
      link_(settings_.link, steady_now()),
      timer_(io_->context()) {}

Dialer::~Dialer() {
  if (connection_) connection_->close();
}

bool Dialer::is_inherited() const noexcept { return pid_ != ::getpid(); }

void Dialer::stop(const std::string& why) {
  with_link([&](Link& link, Time now) { link.broker_died(now, std::numeric_limits<std::uint64_t>::max(), why, true); });
}

void Dialer::retire(Duration limit, std::function<void()> done) {
  with_link([&](Link& link, Time now) {
    link.close_all(now);
    link.drain(now);
    retirement_ = Retirement{.self = shared_from_this(), .deadline = after(now, limit), .done = std::move(done)};
  });
}

std::optional<Endpoint> Dialer::endpoint() {
  const std::lock_guard lock(mutex_);
  return endpoint_;
}

// Not here and now: we may be the last to hold ourselves.
void Dialer::end_retirement() {
  asio::post(io_->context(), [over = std::move(*retirement_)] {
    if (over.done) over.done();
  });
  retirement_.reset();
}

// --- the link ---

void Dialer::carry_out(std::unique_lock<std::mutex>& lock) {
  link_.flush(steady_now());
  for (LinkAction& action : link_.take_actions()) perform(action);
  if (connection_) connection_->flush();
  if (retirement_ && (link_.is_drained() || steady_now() >= retirement_->deadline)) end_retirement();
  set_timer();
  detail::Wakeups woken = link_.take_wakeups();
  lock.unlock();
  woken.fire();
}

void Dialer::perform(LinkAction& action) {
  if (const auto* const send = std::get_if<link_action::Send>(&action)) {
    if (connection_) connection_->append(*send->frame);
  } else if (std::holds_alternative<link_action::Disconnect>(action)) {
    if (connection_) std::exchange(connection_, nullptr)->close();
    give_up_attempt();
  } else {
    asio::post(io_->context(), [weak = weak_from_this()] {
      const auto self = weak.lock();
      if (self == nullptr) return;
      std::unique_lock lock(self->mutex_);
      self->look_up();
    });
  }
}

void Dialer::set_timer() {
  const Time next = std::min(link_.next_deadline(), retirement_ ? retirement_->deadline : kNever);
  // A deadline that moved away is looked at again when its old time has come: that is cheaper than a timer per operation.
  if (next >= timer_at_) return;
  timer_at_ = next;
  timer_.expires_at(to_steady(next));
  timer_.async_wait([weak = weak_from_this()](const asio::error_code& error) {
    const auto self = weak.lock();
    if (self == nullptr || error) return;
    self->with_link([&self](Link& link, Time now) {
      self->timer_at_ = kNever;
      link.tick(now);
    });
  });
}

// --- connecting ---

void Dialer::look_up() {
  give_up_attempt();
  attempt_ = std::make_unique<Attempt>(io_->context(), ++last_attempt_);
  // Outside of the lock: what answers at once may come back here.
  asio::post(io_->context(), [weak = weak_from_this(), number = last_attempt_] {
    const auto self = weak.lock();
    if (self == nullptr) return;
    self->settings_.look_up(
        [weak, number, &context = self->io_->context(), io = self->io_](std::expected<Endpoint, std::string> answer) {
          asio::post(context, [weak, number, answer = std::move(answer)]() mutable {
            if (const auto dialer = weak.lock()) dialer->looked_up(number, std::move(answer));
          });
        });
  });
}

void Dialer::looked_up(std::uint64_t number, std::expected<Endpoint, std::string> answer) {
  std::unique_lock lock(mutex_);
  if (attempt_ == nullptr || attempt_->number != number) return;
  if (!answer) {
    give_up_attempt();
    link_.disconnected(steady_now(), answer.error());
    return carry_out(lock);
  }
  attempt_->endpoint = *std::move(answer);
  attempt_->deadline = after(steady_now(), settings_.limit);
  if (const std::string& path = attempt_->endpoint.unix_path; !path.empty()) attempt_->addresses.push_back(path);
  for (const std::string& address : attempt_->endpoint.addresses) attempt_->addresses.push_back(address);
  try_next();
  carry_out(lock);
}

namespace {

std::expected<GenericEndpoint, std::string> parsed(const std::string& address) {
  if (address.starts_with('/')) {
    constexpr std::size_t kPathMax = 107;
    if (address.size() > kPathMax) return std::unexpected("the path is too long for a socket");
    return GenericEndpoint(Local::endpoint(address));
  }
  const std::size_t colon = address.rfind(':');
  std::string host = address.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  std::uint16_t port = 0;
  const char* const end = address.data() + address.size();
  asio::error_code error;
  const asio::ip::address ip = asio::ip::make_address(host, error);
  if (colon == std::string::npos || error || std::from_chars(address.data() + colon + 1, end, port).ptr != end) {
    return std::unexpected("not an address");
  }
  return GenericEndpoint(tcp::endpoint(ip, port));
}

}  // namespace

void Dialer::try_next() {
  Attempt& attempt = *attempt_;
  const Time now = steady_now();
  if (attempt.addresses.empty() || now >= attempt.deadline) {
    const std::string why = attempt.failures.empty() ? "it has no address" : attempt.failures;
    give_up_attempt();
    return link_.disconnected(now, why);
  }
  attempt.address = std::move(attempt.addresses.front());
  attempt.addresses.pop_front();
  ++attempt.tried;
  const auto endpoint = parsed(attempt.address);
  if (!endpoint) return address_failed(endpoint.error());
  const auto still_wanted = [weak = weak_from_this(), number = attempt.number, tried = attempt.tried](auto f) {
    const auto self = weak.lock();
    if (self == nullptr) return;
    std::unique_lock lock(self->mutex_);
    if (self->attempt_ == nullptr || self->attempt_->number != number || self->attempt_->tried != tried) return;
    f(*self);
    self->carry_out(lock);
  };
  attempt.socket = Connection::Socket(io_->context());
  attempt.timer.expires_at(to_steady(std::min(attempt.deadline, after(now, settings_.address_limit))));
  attempt.timer.async_wait([still_wanted](const asio::error_code& error) {
    if (!error) still_wanted([](Dialer& self) { self.address_failed("no answer in time"); });
  });
  attempt.socket.async_connect(*endpoint, [still_wanted](const asio::error_code& error) {
    still_wanted([&error](Dialer& self) { self.connected(error); });
  });
}

void Dialer::connected(const asio::error_code& error) {
  if (error) return address_failed(error.message());
  Attempt& attempt = *attempt_;
  const bool is_local = attempt.address.starts_with('/');
  if (!is_local) {
    asio::error_code ignored;
    attempt.socket.set_option(tcp::no_delay(true), ignored);
  }
  const std::shared_ptr<Connection::Owner> owner(shared_from_this(), this);
  attempt.connection = std::make_shared<Connection>(std::move(attempt.socket), owner,
                                                    is_local ? nullptr : settings_.tls, Connection::Role::client);
  attempt.handshake.emplace(attempt.endpoint.secret, attempt.endpoint.channel, random_id<Nonce>());
  attempt.connection->append(attempt.handshake->hello());
  attempt.connection->flush();
  attempt.connection->start();
}

void Dialer::address_failed(const std::string& why) {
  Attempt& attempt = *attempt_;
  if (!attempt.failures.empty()) attempt.failures += "; ";
  attempt.failures += attempt.address + ": " + why;
  if (attempt.connection) std::exchange(attempt.connection, nullptr)->close();
  asio::error_code ignored;
  attempt.socket.close(ignored);
  attempt.timer.cancel();
  try_next();
}

void Dialer::give_up_attempt() {
  if (attempt_ == nullptr) return;
  if (attempt_->connection) attempt_->connection->close();
  attempt_.reset();
}

void Dialer::shake_hands(const Frame& frame) {
  Attempt& attempt = *attempt_;
  const HandshakeStep step = attempt.handshake->received(frame);
  if (!step) return address_failed(step.error());
  if (*step) {
    attempt.connection->append(**step);
    attempt.connection->flush();
  }
  if (!attempt.handshake->is_done()) return;
  connection_ = std::exchange(attempt.connection, nullptr);
  endpoint_ = attempt.endpoint;
  connection_->authenticated();
  give_up_attempt();
  link_.connected(steady_now());
}

// --- the connection ---

void Dialer::frame_arrived(Connection& connection, Frame&& frame) {
  std::unique_lock lock(mutex_);
  if (&connection == connection_.get()) {
    link_.received(steady_now(), std::move(frame));
  } else if (attempt_ != nullptr && &connection == attempt_->connection.get()) {
    shake_hands(frame);
    carry_out(lock);
  }
}

void Dialer::batch_arrived(Connection& connection) {
  std::unique_lock lock(mutex_);
  if (&connection == connection_.get()) carry_out(lock);
}

void Dialer::connection_ended(Connection& connection, const std::string& why) {
  std::unique_lock lock(mutex_);
  if (&connection == connection_.get()) {
    connection_.reset();
    link_.disconnected(steady_now(), why);
  } else if (attempt_ != nullptr && &connection == attempt_->connection.get()) {
    attempt_->connection.reset();
    address_failed(why);
  } else {
    return;
  }
  carry_out(lock);
}

}  // namespace klaw::dataplane
