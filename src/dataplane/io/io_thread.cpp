#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <future>
#include <iterator>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <asio/post.hpp>
#include <dataplane/io/io_thread.hpp>
#include <openssl/crypto.h>
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

// A thread that nobody has joined yet. Not its IoThread's own: the last user may go in one of the thread's callbacks, where it
// can't be joined.
struct Running {
  std::weak_ptr<IoThread> user;
  std::thread thread;
  std::future<void> over;
};

struct OfProcess {
  std::mutex mutex;
  // Under the mutex, but for its reading at exit: a fork's child must not wait for a lock that a thread of its parent had.
  std::atomic<pid_t> pid = 0;      // whose they are
  std::vector<Running> running;    // at most the last one has a user
  std::vector<Running> inherited;  // of the parent of a fork: they can be neither joined nor destroyed here
};

void join_what_is_ending() noexcept;

// Never destroyed: a handle may be used, and closed, by what runs at exit after static destructors have begun.
OfProcess& of_this_process() {
  static OfProcess& the_one = *[] {
    // What was registered last runs first: OpenSSL frees at exit what an ending thread may still use, so it comes first here.
    OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CRYPTO_STRINGS, nullptr);  // without an option it registers nothing
    std::atexit(join_what_is_ending);
    return new OfProcess;
  }();
  return the_one;
}

// No exit waits for ever for what a thread still runs, perhaps code of the user that waits for something.
constexpr auto kExitLimit = std::chrono::seconds(1);

// The last user goes in one of the thread's callbacks, or has asked for that by one that has not run yet.
void let_callbacks_run(OfProcess& mine) {
  std::unique_lock lock(mine.mutex);
  const std::shared_ptr<IoThread> user = mine.running.empty() ? nullptr : mine.running.back().user.lock();
  lock.unlock();
  if (user == nullptr) return;
  const auto reached = std::make_shared<std::promise<void>>();
  std::future<void> when_reached = reached->get_future();
  asio::post(user->context(), [reached] { reached->set_value(); });
  when_reached.wait_for(kExitLimit);
}

void join_what_is_ending() noexcept {
  OfProcess& mine = of_this_process();
  if (mine.pid != ::getpid()) return;  // a fork has none of its parent's threads
  let_callbacks_run(mine);
  std::unique_lock lock(mine.mutex);
  std::vector<Running> ending;
  std::erase_if(mine.running, [&](Running& one) {
    if (!one.user.expired()) return false;
    ending.push_back(std::move(one));
    return true;
  });
  lock.unlock();
  for (Running& one : ending) {
    const bool is_over = one.over.wait_for(kExitLimit) == std::future_status::ready;
    is_over ? one.thread.join() : one.thread.detach();
  }
}

// Those that have ended keep their stacks until they are joined.
void reap(std::vector<Running>& running) {
  std::erase_if(running, [](Running& one) {
    if (one.over.wait_for(std::chrono::seconds(0)) != std::future_status::ready) return false;
    one.thread.join();
    return true;
  });
}

std::thread start(std::shared_ptr<asio::io_context> context, std::promise<void> over) {
  // The new thread begins with its creator's mask: so no signal reaches it before it has blocked them.
  sigset_t before;
  pthread_sigmask(SIG_SETMASK, nullptr, &before);
  block_signals();
  std::thread thread;
  try {
    thread = std::thread([context = std::move(context), over = std::move(over)]() mutable {
      is_io_thread = true;
      context->run();
      over.set_value();
    });
  } catch (...) {
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    throw;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

}  // namespace

std::shared_ptr<IoThread> IoThread::of_process() {
  OfProcess& mine = of_this_process();
  const std::lock_guard lock(mine.mutex);
  if (mine.pid != ::getpid()) {
    std::ranges::move(mine.running, std::back_inserter(mine.inherited));
    mine.running.clear();
    mine.pid = ::getpid();
  }
  if (!mine.running.empty()) {
    if (std::shared_ptr<IoThread> user = mine.running.back().user.lock()) return user;
  }
  reap(mine.running);
  auto context = std::make_shared<asio::io_context>(1);
  auto made = std::make_shared<IoThread>(context);
  std::promise<void> over;
  std::future<void> when_over = over.get_future();
  std::thread thread = start(std::move(context), std::move(over));
  mine.running.push_back({.user = made, .thread = std::move(thread), .over = std::move(when_over)});
  return made;
}

bool IoThread::is_current() noexcept { return is_io_thread; }

IoThread::IoThread(std::shared_ptr<asio::io_context> context)
    : context_(std::move(context)), work_(context_->get_executor()) {}

// Its thread ends by itself, soon, and is joined when the next one is made, or at exit.
IoThread::~IoThread() {
  work_.reset();
  context_->stop();
}

}  // namespace klaw::dataplane
