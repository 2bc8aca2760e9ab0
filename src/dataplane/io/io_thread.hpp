// The one thread of a process that reads and writes sockets. It never runs Python code while it holds a lock, and needs no
// GIL for a heartbeat: a long computation is no death.
#pragma once

#include <chrono>
#include <memory>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <dataplane/wire/time.hpp>

namespace klaw::dataplane {

class IoThread {
 public:
  // Begins with its first user, and ends with its last. A fork's child gets one of its own.
  [[nodiscard]] static std::shared_ptr<IoThread> of_process();
  // Is it the calling thread?
  [[nodiscard]] static bool is_current() noexcept;

  explicit IoThread(std::shared_ptr<asio::io_context> context);
  IoThread(const IoThread&) = delete;
  IoThread& operator=(const IoThread&) = delete;
  ~IoThread();

  [[nodiscard]] asio::io_context& context() noexcept { return *context_; }

 private:
  // The thread's too: the last user may go in one of its own callbacks.
  const std::shared_ptr<asio::io_context> context_;
  asio::executor_work_guard<asio::io_context::executor_type> work_;
};

// The time that brokers and links are given.
[[nodiscard]] inline Time steady_now() noexcept {
  const auto since_boot = std::chrono::steady_clock::now().time_since_epoch();
  return Time(std::chrono::duration_cast<Duration>(since_boot));
}
[[nodiscard]] inline std::chrono::steady_clock::time_point to_steady(Time time) noexcept {
  return std::chrono::steady_clock::time_point(time.time_since_epoch());
}

}  // namespace klaw::dataplane
