#include <csignal>
#include <mutex>

#include <dataplane/io/io_thread.hpp>
#include <pthread.h>
#include <unistd.h>

namespace klaw::dataplane {

namespace {

// Signals are for the process's own threads: Python's handlers run in the main one.
void block_signals() noexcept {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
}

thread_local bool is_io_thread = false;

struct OfProcess {
  std::mutex mutex;
  std::weak_ptr<IoThread> thread;  // under the mutex
  pid_t pid = 0;                   // whose; under the mutex
};

// Never destroyed: a handle may be used, and closed, by what runs at exit after static destructors have begun.
OfProcess& of_this_process() {
  static OfProcess& the_one = *new OfProcess;
  return the_one;
}

}  // namespace

std::shared_ptr<IoThread> IoThread::of_process() {
  OfProcess& mine = of_this_process();
  const std::lock_guard lock(mine.mutex);
  std::shared_ptr<IoThread> thread = mine.thread.lock();
  if (thread == nullptr || mine.pid != ::getpid()) {
    thread = std::make_shared<IoThread>();
    mine.thread = thread;
    mine.pid = ::getpid();
  }
  return thread;
}

bool IoThread::is_current() noexcept { return is_io_thread; }

IoThread::IoThread() : context_(std::make_shared<asio::io_context>(1)), work_(context_->get_executor()) {
  // The new thread begins with its creator's mask: so no signal reaches it before it has blocked them.
  sigset_t before;
  pthread_sigmask(SIG_SETMASK, nullptr, &before);
  block_signals();
  try {
    thread_ = std::thread([context = context_] {
      is_io_thread = true;
      context->run();
    });
  } catch (...) {
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    throw;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

IoThread::~IoThread() {
  work_.reset();
  context_->stop();
  if (thread_.get_id() == std::this_thread::get_id()) {
    thread_.detach();
  } else {
    thread_.join();
  }
}

}  // namespace klaw::dataplane
