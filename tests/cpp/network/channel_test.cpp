// A channel over real sockets: what goes through it, lost connections, restarts, processes that die.
#include <csignal>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/network.hpp"

namespace klaw::dataplane::test {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class Channel : public Network {
 protected:
  void pass_many(const Endpoint& where) {
    Client sending(where);
    Client receiving(where);
    Registration tx = sending.open(Side::sender);
    const Registration rx = receiving.open(Side::receiver);
    constexpr int kCount = 2000;
    std::thread sender([&] {
      for (int i = 0; i < kCount; ++i) ASSERT_EQ(sending.send(tx, std::to_string(i)), "done");
      sending.close(Side::sender, tx);
    });
    for (int i = 0; i < kCount; ++i) ASSERT_EQ(receiving.recv(rx), std::to_string(i));
    EXPECT_EQ(receiving.recv(rx), "Channel closed");
    sender.join();
  }
};

TEST_F(Channel, MessagesPassInOrderOverTheUnixSocket) {
  start();
  pass_many(endpoint(true, false));
}

TEST_F(Channel, MessagesPassInOrderOverTcp) {
  start();
  pass_many(endpoint(false, true));
}

TEST_F(Channel, LargeMessagesPassInPieces) {
  start();
  Client client(endpoint(false, true));
  const Registration tx = client.open(Side::sender);
  const Registration rx = client.open(Side::receiver);
  const std::string large(8 * 1024 * 1024 + 5, 'x');
  ASSERT_EQ(client.send(tx, large), "done");
  EXPECT_EQ(client.recv(rx), large);
}

TEST_F(Channel, TheUnixSocketIsForItsUserOnly) {
  start();
  using std::filesystem::perms;
  EXPECT_EQ(std::filesystem::status(settings_.unix_path).permissions(), perms::owner_read | perms::owner_write);
}

TEST_F(Channel, AnAddressThatDoesNotAnswerIsPassedOver) {
  start();
  Endpoint where = endpoint(false, true);
  where.unix_path = folder_ / "nobody";
  where.addresses.insert(where.addresses.begin(), "127.0.0.1:1");
  Client client(where);
  EXPECT_EQ(client.opened(Side::sender, client.open(Side::sender)), "done");
}

TEST_F(Channel, IfNoAddressAnswersTheErrorNamesEach) {
  Client client(Endpoint{.unix_path = folder_ / "nobody", .addresses = {"127.0.0.1:1", "nonsense"}}, milliseconds(300));
  const std::string error = client.send(client.open(Side::sender), "a");
  EXPECT_THAT(error, HasSubstr("can't be reached"));
  EXPECT_THAT(error, HasSubstr((folder_ / "nobody").string() + ": No such file or directory"));
  EXPECT_THAT(error, HasSubstr("127.0.0.1:1: Connection refused"));
  EXPECT_THAT(error, HasSubstr("nonsense: not an address"));
}

TEST_F(Channel, WhatTheControlPlaneSaysIsTold) {
  Client client([](const EndpointAnswer& answer) { answer(std::unexpected("the actor is being restarted")); },
                milliseconds(300));
  EXPECT_THAT(client.send(client.open(Side::sender), "a"), HasSubstr("the actor is being restarted"));
}

TEST_F(Channel, AnswersOfTheControlPlaneMayComeLateAndFromAnyThread) {
  start();
  std::thread answering;
  Client client([&](const EndpointAnswer& answer) {
    answering = std::thread([answer, where = endpoint(true, true)] {
      std::this_thread::sleep_for(milliseconds(50));
      answer(where);
    });
  });
  EXPECT_EQ(client.opened(Side::sender, client.open(Side::sender)), "done");
  answering.join();
}

TEST_F(Channel, AfterARestartHandlesRaiseOnceAndGoOn) {
  settings_.broker.rejoin_grace = settings_.broker.orphan_grace = milliseconds(200);
  start();
  Client client(EndpointLookup([this](const EndpointAnswer& answer) { answer(endpoint(true, true)); }));
  const Registration tx = client.open(Side::sender);
  const Registration rx = client.open(Side::receiver);
  ASSERT_EQ(client.send(tx, "a"), "done");
  restart();
  EXPECT_THAT(client.recv(rx), HasSubstr("the channel's actor was restarted, and what it held is lost"));
  EXPECT_THAT(client.send(tx, "b"), HasSubstr("the channel's actor was restarted"));
  EXPECT_EQ(client.send(tx, "c"), "done");
  EXPECT_EQ(client.recv(rx), "c");
}

TEST_F(Channel, DeletingEndsWhatWaits) {
  bool has_ended = false;
  std::binary_semaphore ended(0);
  settings_.ended = [&] {
    has_ended = true;
    ended.release();
  };
  start();
  Client client(endpoint(true, false));
  const Registration rx = client.open(Side::receiver);
  ASSERT_EQ(client.opened(Side::receiver, rx), "done");
  std::thread deleting([this] {
    EXPECT_TRUE(comes_true([this] { return stats().waiting_receivers == 1; }));
    server->with_broker([](Broker& broker, Time now) { broker.remove(now); });
  });
  EXPECT_THAT(client.recv(rx), StartsWith("Channel closed"));
  deleting.join();
  ended.acquire();
  EXPECT_TRUE(has_ended);
}

// --- processes ---

// A child of this process, with a handle of its own; it lives until it is killed.
class Child {
 public:
  Child(const Endpoint& where, Side side) {
    pid_ = ::fork();
    if (pid_ != 0) return;
    Client& client = *new Client(where);
    const Registration handle = client.open(side);
    if (client.opened(side, handle) != "done") ::_exit(1);
    if (side == Side::receiver) std::ignore = client.recv(handle);
    for (;;) ::pause();
  }
  Child(const Child&) = delete;
  ~Child() { kill(); }
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  void signal(int number) const { ::kill(pid_, number); }

 private:
  pid_t pid_;
};

TEST_F(Channel, AKilledProcessOnThisMachineIsNoticedAtOnce) {
  settings_.broker.orphan_grace = {};
  settings_.broker.reconnect_grace = seconds(1000);  // nobody waits for it to come back
  start();
  Client client(endpoint(true, false));
  const Registration tx = client.open(Side::sender);
  ASSERT_EQ(client.opened(Side::sender, tx), "done");
  Child child(endpoint(true, false), Side::receiver);
  ASSERT_TRUE(comes_true([this] { return stats().waiting_receivers == 1; }));
  child.kill();
  EXPECT_TRUE(comes_true([this] { return stats().receivers_closed; }));
  EXPECT_THAT(client.send(tx, "a"), HasSubstr("ended"));
  EXPECT_TRUE(log.has("its process"));
}

TEST_F(Channel, AKilledProcessOnAnotherMachineIsNoticedByItsSilence) {
  settings_.broker.orphan_grace = {};
  settings_.broker.reconnect_grace = milliseconds(200);
  start();
  Child child(endpoint(false, true), Side::receiver);
  ASSERT_TRUE(comes_true([this] { return stats().waiting_receivers == 1; }));
  child.kill();
  EXPECT_TRUE(comes_true([this] { return stats().receivers_closed; }));
}

TEST_F(Channel, AStoppedProcessIsDeadAndItsMessagesGoToOthersMarked) {
  settings_.broker.heartbeat = milliseconds(50);
  settings_.broker.reconnect_grace = milliseconds(100);
  start();
  Child child(endpoint(true, false), Side::receiver);
  ASSERT_TRUE(comes_true([this] { return stats().waiting_receivers == 1; }));
  child.signal(SIGSTOP);
  Client client(endpoint(true, false));
  const Registration tx = client.open(Side::sender);
  const Registration rx = client.open(Side::receiver);
  ASSERT_EQ(client.send(tx, "a"), "done");  // for the one that stands still
  EXPECT_EQ(client.recv(rx), "a");
  EXPECT_EQ(stats().redelivered, 1);
  child.signal(SIGCONT);
}

// Else the broker would take the parent's connection for alive as long as the child is.
TEST_F(Channel, AForksChildHoldsNoneOfItsParentsSockets) {
  start();
  Client client(endpoint(true, false));
  ASSERT_EQ(client.opened(Side::sender, client.open(Side::sender)), "done");
  const pid_t child = ::fork();
  if (child == 0) {
    int sockets = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
      std::error_code ignored;
      if (std::filesystem::read_symlink(entry, ignored).string().starts_with("socket:")) ++sockets;
    }
    ::_exit(sockets);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 0) << "sockets are open in the child";
}

}  // namespace
}  // namespace klaw::dataplane::test
