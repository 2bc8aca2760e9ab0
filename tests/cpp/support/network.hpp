// A channel's server and its clients over real sockets: a fixture, and operations that block.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <semaphore>
#include <string>
#include <utility>
#include <vector>

#include <dataplane/dialer/dialer.hpp>
#include <dataplane/server/server.hpp>
#include <gtest/gtest.h>
#include <unistd.h>

namespace klaw::dataplane::test {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Lines that the server logs, from any thread.
class Log {
 public:
  void add(const std::string& line) {
    const std::lock_guard lock(mutex_);
    lines_.push_back(line);
    changed_.notify_all();
  }
  // Waits until some line has the text.
  [[nodiscard]] bool has(const std::string& text) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, seconds(20), [&] { return count(text) > 0; });
  }
  [[nodiscard]] std::size_t count_of(const std::string& text) {
    const std::lock_guard lock(mutex_);
    return count(text);
  }

 private:
  [[nodiscard]] std::size_t count(const std::string& text) const {
    return static_cast<std::size_t>(
        std::ranges::count_if(lines_, [&](const std::string& line) { return line.find(text) != std::string::npos; }));
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> lines_;
};

// Somebody who waits in this thread.
class Blocked final : public Operation {
 public:
  Blocked() : Operation([](Operation& self) noexcept { static_cast<Blocked&>(self).woken_.release(); }) {}
  void wait() {
    if (arm()) woken_.acquire();
  }

 private:
  std::binary_semaphore woken_{0};
};

// One process's end of the channel.
class Client {
 public:
  explicit Client(EndpointLookup look_up, Duration unreachable_limit = seconds(10), TlsContext tls = nullptr)
      : dialer_(Dialer::start({.link = {.new_client_id = random_id<ClientId>,
                                        .about = {.message = {}, .backend = "test", .actor_name = {}, .ns = {}},
                                        .unreachable_limit = unreachable_limit},
                               .look_up = std::move(look_up),
                               .tls = std::move(tls)})) {}
  explicit Client(const Endpoint& endpoint, Duration unreachable_limit = seconds(10), TlsContext tls = nullptr)
      : Client(EndpointLookup([endpoint](const EndpointAnswer& answer) { answer(endpoint); }), unreachable_limit,
               std::move(tls)) {}
  Client(const Client&) = delete;
  ~Client() { dialer_->stop("the test is over"); }

  [[nodiscard]] Registration open(Side side, std::optional<Token> claim = std::nullopt) {
    return dialer_->with_link([&](Link& link, Time now) { return link.open(now, side, claim); });
  }
  void close(Side side, Registration& handle) {
    dialer_->with_link([&](Link& link, Time now) { std::ignore = link.close(now, side, handle, std::nullopt); });
  }
  // "done", or why not.
  std::string send(const Registration& tx, const std::string& text) {
    Message message{.payload = Bytes(text)};
    SendOperation op;
    op.values = &message;
    const auto begin = [&](Operation* blocked) {
      return dialer_->with_link([&](Link& link, Time now) { return link.start_send(now, tx, op, blocked); });
    };
    const Status status = complete(begin, [&](Link& link, Time now) { return link.finish_send(now, op); });
    return status == Status::done ? "done" : klaw::message(op.error);
  }
  // The message, or why there is none.
  std::string recv(const Registration& rx) {
    RecvOperation op;
    const auto begin = [&](Operation* blocked) {
      return dialer_->with_link([&](Link& link, Time now) { return link.start_recv(now, rx, op, blocked); });
    };
    const Status status = complete(begin, [&](Link& link, Time now) { return link.finish_recv(now, op); });
    return status == Status::done ? std::string(op.value->payload.view()) : klaw::message(op.error);
  }
  std::string opened(Side side, const Registration& handle) {
    HandleOperation op;
    const auto begin = [&](Operation* blocked) {
      return dialer_->with_link(
          [&](Link& link, Time now) { return link.start_opened(now, side, handle, op, blocked); });
    };
    const Status status = complete(begin, [&](Link& link, Time) { return link.finish_wait(op); });
    return status == Status::done ? "done" : klaw::message(op.error);
  }
  // "done", or why not.
  std::string held(Side side, const Registration& handle, const Token& token) {
    HandleOperation op;
    const auto begin = [&](Operation* blocked) {
      return dialer_->with_link(
          [&](Link& link, Time now) { return link.start_hold(now, side, handle, token, op, blocked); });
    };
    const Status status = complete(begin, [&](Link& link, Time) { return link.finish_wait(op); });
    return status == Status::done ? "done" : klaw::message(op.error);
  }
  [[nodiscard]] Dialer& dialer() noexcept { return *dialer_; }

 private:
  Status complete(const std::function<Status(Operation*)>& begin, const std::function<Status(Link&, Time)>& finish) {
    Blocked blocked;
    const Status status = begin(&blocked);
    if (status != Status::pending) return status;
    blocked.wait();
    return dialer_->with_link(finish);
  }

  std::shared_ptr<Dialer> dialer_;
};

class Network : public testing::Test {
 protected:
  Network() {
    std::string pattern = std::filesystem::temp_directory_path() / "klaw-XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
    settings_.unix_path = folder_ / "socket";
    settings_.hosts = {"127.0.0.1"};
    settings_.channel = random_id<ChannelId>();
    settings_.secret = random_secret();
    settings_.log = [this](const std::string& line) { log.add(line); };
  }
  ~Network() override {
    if (server) server->stop();
    std::filesystem::remove_all(folder_);
  }

  void start() { server = Server::start(settings_); }
  void restart() {
    server->stop();
    ++settings_.broker.epoch;
    start();
  }
  [[nodiscard]] Endpoint endpoint(bool by_unix, bool by_tcp) const {
    return {.channel = settings_.channel,
            .secret = settings_.secret,
            .unix_path = by_unix ? settings_.unix_path : "",
            .addresses = by_tcp ? server->addresses() : std::vector<std::string>()};
  }
  [[nodiscard]] channels::ChannelStats stats() {
    return server->with_broker([](Broker& broker, Time now) { return broker.stats(now); });
  }
  // Waits until it is so; false if that takes too long.
  [[nodiscard]] bool comes_true(const std::function<bool()>& what) {
    for (int i = 0; i < 2000; ++i) {
      if (what()) return true;
      std::this_thread::sleep_for(milliseconds(10));
    }
    return false;
  }

  std::filesystem::path folder_;
  ServerSettings settings_;
  Log log;
  std::shared_ptr<Server> server;
};

}  // namespace klaw::dataplane::test
