#include <mutex>
#include <set>

#include <dataplane/io/descriptors.hpp>
#include <pthread.h>
#include <unistd.h>

namespace klaw::dataplane::descriptors {

namespace {

struct Open {
  std::mutex mutex;  // held over a fork, so that the child finds the set whole
  std::set<int> descriptors;
};

Open& all() {
  static Open& the_one = *new Open;  // never destroyed: sockets may close after static destructors have begun
  return the_one;
}

void before_fork() { all().mutex.lock(); }
void after_fork() { all().mutex.unlock(); }

void in_child() {
  for (const int descriptor : all().descriptors) ::close(descriptor);
  all().descriptors.clear();
  all().mutex.unlock();
}

void watch_forks() {
  static const int watching = ::pthread_atfork(before_fork, after_fork, in_child);
  static_cast<void>(watching);
}

}  // namespace

void opened(int descriptor) {
  watch_forks();
  const std::lock_guard lock(all().mutex);
  all().descriptors.insert(descriptor);
}

void closed(int descriptor) noexcept {
  const std::lock_guard lock(all().mutex);
  all().descriptors.erase(descriptor);
}

}  // namespace klaw::dataplane::descriptors
