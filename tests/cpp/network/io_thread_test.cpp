// The thread of the process that reads and writes sockets: how it ends.
#include <cstdlib>
#include <memory>
#include <semaphore>
#include <thread>

#include <asio/post.hpp>
#include <dataplane/auth/handshake.hpp>
#include <dataplane/io/io_thread.hpp>
#include <gtest/gtest.h>

namespace klaw::dataplane::test {
namespace {

// Gives the last share in the I/O thread to one of its own callbacks, which goes on to use OpenSSL.
std::weak_ptr<IoThread> leave_the_last_share_to_its_own_callback() {
  std::shared_ptr<IoThread> thread = IoThread::of_process();
  std::weak_ptr<IoThread> watched = thread;
  const auto alone = std::make_shared<std::binary_semaphore>(0);
  asio::post(thread->context(), [alone, last = thread]() mutable {
    alone->acquire();
    static_cast<void>(random_secret());
    last.reset();
    static_cast<void>(random_secret());
  });
  thread.reset();
  alone->release();
  return watched;
}

void wait_until_gone(const std::weak_ptr<IoThread>& watched) {
  while (!watched.expired()) std::this_thread::yield();
}

[[noreturn]] void leave() { std::exit(0); }  // NOLINT(concurrency-mt-unsafe): what this is about

// OpenSSL frees at exit what the thread may still be using: here, and in the next test.
TEST(IoThread, ThatItsOwnCallbackEndedIsWaitedForAtExit) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  const auto end = [] {
    wait_until_gone(leave_the_last_share_to_its_own_callback());
    leave();
  };
  for (int i = 0; i < 20; ++i) EXPECT_EXIT(end(), testing::ExitedWithCode(0), "");
}

TEST(IoThread, ThatItsOwnCallbackIsAboutToEndIsWaitedForAtExit) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  const auto end = [] {
    leave_the_last_share_to_its_own_callback();
    leave();
  };
  for (int i = 0; i < 20; ++i) EXPECT_EXIT(end(), testing::ExitedWithCode(0), "");
}

TEST(IoThread, AfterOneThatItsOwnCallbackEndedThereIsANewOne) {
  for (int i = 0; i < 200; ++i) {
    wait_until_gone(leave_the_last_share_to_its_own_callback());
    EXPECT_FALSE(IoThread::is_current());
  }
}

}  // namespace
}  // namespace klaw::dataplane::test
