// Small worlds, exhaustively: two senders and two receivers, each a process of its own with a script of a few events, on a
// channel of capacity 0, 1 or 2, and every order in which the events of the four can happen.
//
// A script's events, one letter each:
//
//   S  start a send            R  start a receive           C  cancel the newest operation that has not been finished
//   T  try, without waiting    B  start a receive of many   L  start a send or a receive with a time limit
//   K  close the handle        P  let that limit pass       X  finish what was woken, then exchange all frames with the broker
//
// After each event both sides' invariants hold. In the end, once everybody has exchanged what there is: what was sent was
// received, once and in order; what failed was not; nobody waits for something that is there; and all receivers get the end.
//
// What an actor does between two of its X is seen by nobody else (each has a link and a clock of its own), and so two orders
// with the same order of the X give the same world: a partial-order reduction. One of each such class of up to 10 events is
// run. That the classes are what they claim to be is shown by running every single order of up to 8 events: all of a class
// end alike. With KLAW_SMALL_WORLDS=all it is up to 12, and every single order of up to 10, which takes half an hour.

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <dataplane/broker/broker.hpp>
#include <dataplane/link/link.hpp>
#include <dataplane/wire/check.hpp>
#include <gtest/gtest.h>

namespace klaw::dataplane {
namespace {

constexpr std::size_t kActors = 4;  // 0 and 1 send, 2 and 3 receive
constexpr Duration kLimit = std::chrono::milliseconds(1);
using Scripts = std::array<std::string_view, kActors>;
using Order = std::vector<std::size_t>;  // which actor does the next event of its script

// One operation of one actor.
struct Op : Operation {
  explicit Op(bool is_send) : Operation(&Op::wake), sends(is_send) {}
  static void wake(Operation& op) noexcept { static_cast<Op&>(op).is_fired_now = true; }

  const bool sends;
  bool is_fired_now = false;
  bool is_over = false;
  Status status = Status::pending;
  bool is_cancelled = false;
  Message message;  // sent
  std::vector<Message> many;
  SendOperation send;
  RecvOperation recv;
};

struct Actor {
  bool sends = false;
  Time now{std::chrono::seconds(1)};  // a process has a clock of its own
  std::unique_ptr<Link> link;
  Registration handle;
  ConnectionId connection = 0;
  std::string_view script;
  std::size_t position = 0;
  std::vector<std::unique_ptr<Op>> ops;
  int sent = 0;
  std::vector<std::string> received;
  std::vector<FramePtr> inbox;  // sent to it since its last exchange
};

class World {
 public:
  World(std::uint64_t capacity, const Scripts& scripts) : broker_(BrokerSettings{.capacity = capacity}, now_) {
    for (std::size_t i = 0; i < kActors; ++i) {
      Actor& a = actors_[i];
      a.sends = i < 2;
      a.script = scripts[i];
      a.link = std::make_unique<Link>(LinkSettings{.new_client_id =
                                                       [i] {
                                                         ClientId id;
                                                         id.bytes[0] = static_cast<std::uint8_t>(i + 1);
                                                         return id;
                                                       }},
                                      a.now);
      a.handle = a.link->open(a.now, a.sends ? Side::sender : Side::receiver);
    }
    settle();
  }
  ~World() {
    for (Actor& a : actors_) {
      for (const auto& op : a.ops) {
        if (!op->is_over) cancel(a, *op);
      }
      a.link->wakeups().fire();
    }
  }

  // Throws what does not hold; else tells what each operation came to.
  std::string run(const Order& order) {
    for (const std::size_t who : order) {
      Actor& a = actors_[who];
      event(a, a.script[a.position++]);
      check_invariants();
    }
    settle();
    check_nobody_waits_in_vain();
    drain();
    check_ledger();
    return outcome();
  }

 private:
  void event(Actor& a, char what) {
    switch (what) {
      case 'S':
      case 'R': return start(a, kNever);
      case 'B': return start(a, kNever, 3);
      case 'T': return start(a, a.now);
      case 'L': return start(a, after(a.now, kLimit));
      case 'P': return pass_limit(a);
      case 'K': return close(a);
      case 'C': return cancel_newest(a);
      default: exchange(a);
    }
  }

  void close(Actor& a) {
    const auto untold = a.link->close(a.now, a.sends ? Side::sender : Side::receiver, a.handle, std::nullopt);
    check(!untold, "S13 nothing is lost here");
  }

  void start(Actor& a, Time deadline, std::size_t max_items = 0) {
    Op& op = *a.ops.emplace_back(std::make_unique<Op>(a.sends));
    Status status = Status::pending;
    if (a.sends) {
      op.message.payload =
          Bytes(std::string(1, static_cast<char>('a' + (&a - actors_.data()))) + std::to_string(++a.sent));
      op.send.values = &op.message;
      op.send.deadline = deadline;
      status = a.link->start_send(a.now, a.handle, op.send, &op);
    } else {
      op.recv.deadline = deadline;
      if (max_items > 0) op.recv.many = &op.many;
      op.recv.max_items = std::max<std::size_t>(max_items, 1);
      status = a.link->start_recv(a.now, a.handle, op.recv, &op);
    }
    if (status != Status::pending) return conclude(a, op, status);
    if (!op.arm()) op.is_fired_now = true;
  }

  static Op* newest(Actor& a) {
    for (auto it = a.ops.rbegin(); it != a.ops.rend(); ++it) {
      if (!(*it)->is_over) return it->get();
    }
    return nullptr;
  }

  void cancel_newest(Actor& a) {
    if (Op* const op = newest(a)) cancel(a, *op);
  }
  void cancel(Actor& a, Op& op) {
    (void)op.cancel();  // if it was claimed already, it was fired: all happens in this thread
    if (a.sends) {
      a.link->abandon_send(a.now, op.send);
    } else {
      a.link->abandon_recv(a.now, op.recv);
    }
    op.is_over = op.is_cancelled = true;
    // A send that was woken before it was cancelled has its outcome.
    if (!a.sends || !op.is_fired_now) return;
    op.is_cancelled = false;
    op.status = a.link->finish_send(a.now, op.send);
  }

  void pass_limit(Actor& a) {
    a.now += kLimit;
    a.link->tick(a.now);
    a.link->wakeups().fire();
  }

  void conclude(Actor& a, Op& op, Status status) {
    op.is_over = true;
    op.status = status;
    if (a.sends || status != Status::done) return;
    if (op.recv.value) a.received.emplace_back(op.recv.value->payload.view());
    for (const Message& message : op.many) a.received.emplace_back(message.payload.view());
    const auto is_marked = [](const Message& message) { return message.redeliveries > 0; };
    check(!(op.recv.value && is_marked(*op.recv.value)) && std::ranges::none_of(op.many, is_marked),
          "S9 nobody died: nothing is marked as redelivered");
  }

  void finish_woken(Actor& a) {
    a.link->wakeups().fire();
    for (const auto& op : a.ops) {
      if (op->is_over || !op->is_fired_now) continue;
      conclude(a, *op, a.sends ? a.link->finish_send(a.now, op->send) : a.link->finish_recv(a.now, op->recv));
    }
  }

  // All that it has to say reaches the broker, and all that the broker has for it reaches it.
  bool exchange(Actor& a) {
    bool any = false;
    finish_woken(a);
    a.link->flush(a.now);
    for (LinkAction& action : a.link->take_actions()) {
      any = true;
      if (std::holds_alternative<link_action::Connect>(action)) {
        a.connection = ++last_connection_;
        a.link->connected(a.now);
      } else if (const auto* const send = std::get_if<link_action::Send>(&action)) {
        broker_.received(now_, a.connection, Frame(*send->frame));
        broker_.check_invariants();
      } else {
        throw std::logic_error("nobody is disconnected");
      }
    }
    broker_.flush(now_);
    for (BrokerAction& action : broker_.take_actions()) {
      if (auto* const send = std::get_if<broker_action::Send>(&action)) {
        const auto to = std::ranges::find(actors_, send->connection, &Actor::connection);
        check(to != actors_.end(), "S10 it sends to connections that are there");
        to->inbox.push_back(std::move(send->frame));
      } else {
        check(std::holds_alternative<broker_action::Log>(action), "nobody is disconnected by the broker");
      }
    }
    for (const FramePtr& frame : std::exchange(a.inbox, {})) {
      any = true;
      a.link->received(a.now, Frame(*frame));
    }
    a.link->wakeups().fire();
    return any;
  }

  void settle() {
    int turns = 0;
    for (bool any = true; any; check(++turns < 100, "L5 no steps without progress")) {
      any = false;
      for (Actor& a : actors_) any |= exchange(a);
      check_invariants();
    }
    for (Actor& a : actors_) finish_woken(a);
  }

  void check_invariants() {
    broker_.check_invariants();
    for (Actor& a : actors_) a.link->check_invariants(a.now);
  }

  [[nodiscard]] bool receives_wait() const {
    return std::ranges::any_of(actors_, [](const Actor& a) {
      return !a.sends && std::ranges::any_of(a.ops, [](const auto& op) { return !op->is_over; });
    });
  }
  [[nodiscard]] bool sends_wait() const {
    return std::ranges::any_of(actors_, [](const Actor& a) {
      return a.sends && std::ranges::any_of(a.ops, [](const auto& op) { return !op->is_over; });
    });
  }

  void check_nobody_waits_in_vain() {
    const channels::ChannelStats stats = broker_.stats(now_);
    check(!receives_wait() || (stats.queue_size == 0 && stats.in_flight == 0 && stats.waiting_senders == 0),
          "L2 no receive waits beside a message");
    check(!sends_wait() || !stats.receivers_closed, "no send waits without a receiver");
    check(!sends_wait() || stats.waiting_senders > 0, "L2 a send that waits is in the broker's line");
  }

  // The senders close; whoever still can receives all there is, up to the end.
  void drain() {
    for (int round = 0; round < 30 && sends_wait(); ++round) receive_once();
    check(!sends_wait(), "L1 all sends finish once there are receivers");
    for (Actor& a : actors_) {
      if (a.sends) close(a);
    }
    settle();
    for (int round = 0; round < 30; ++round) receive_once();
    check(!receives_wait(), "L1 all receives finish once there are no senders");
    for (Actor& a : actors_) {
      if (a.sends || a.handle.closed) continue;
      check(a.ops.back()->status == Status::closed && a.ops.back()->recv.error.kind == CloseKind::ended,
            "S12 each receiver sees the end");
    }
  }

  void receive_once() {
    for (Actor& a : actors_) {
      if (!a.sends && !a.handle.closed && newest(a) == nullptr) start(a, kNever);
    }
    settle();
  }

  // By a cancelled, closed or late receive; or by one of many that was content with what came first, when others wait.
  [[nodiscard]] bool may_hand_back() const {
    return std::ranges::any_of(
        actors_, [](const Actor& a) { return !a.sends && a.script.find_first_of("CKPB") != std::string_view::npos; });
  }

  void check_ledger() {
    const bool all_receivers_closed_early = actors_[2].handle.closed && actors_[3].handle.closed;
    std::map<std::string, int> times;
    for (const Actor& a : actors_) {
      std::map<char, int> last;
      for (const std::string& text : a.received) {
        ++times[text];
        const int number = std::stoi(text.substr(1));
        // What a receiver hands back may reach one that has seen later messages.
        check(number > last[text[0]] || may_hand_back(), "S7 a sender's messages ascend at each receiver");
        last[text[0]] = number;
      }
    }
    for (const Actor& a : actors_) {
      if (!a.sends) continue;
      for (const auto& op : a.ops) {
        const int received = times[std::string(op->message.payload.view())];
        check(received <= 1, "S5 nothing is received twice");
        if (op->is_cancelled) continue;
        if (op->status == Status::done) {
          check(received == 1 || all_receivers_closed_early, "S4 what was sent is received");
        } else {
          check(received == 0, "S11 what timed out or failed was not sent");
        }
      }
    }
  }

  [[nodiscard]] std::string outcome() const {
    std::string text;
    for (const Actor& a : actors_) {
      for (const auto& op : a.ops) {
        text += op->is_cancelled ? 'c' : static_cast<char>('0' + static_cast<int>(op->status));
      }
      for (const std::string& message : a.received) text += " " + message;
      text += ';';
    }
    return text;
  }

  const Time now_{std::chrono::seconds(1)};  // the broker's
  Broker broker_;
  std::array<Actor, kActors> actors_;
  ConnectionId last_connection_ = 0;
};

std::string describe(std::uint64_t capacity, const Scripts& scripts, const Order& order) {
  std::string text = "capacity " + std::to_string(capacity) + ", scripts";
  for (const std::string_view script : scripts) text += " " + std::string(script);
  text += ", order ";
  std::array<std::size_t, kActors> at{};
  for (const std::size_t who : order) text += std::to_string(who) + scripts[who][at[who]++] + " ";
  return text;
}

// The order of the X in `order`: what names its class.
Order exchanges(const Scripts& scripts, const Order& order) {
  Order found;
  std::array<std::size_t, kActors> at{};
  for (const std::size_t who : order) {
    if (scripts[who][at[who]++] == 'X') found.push_back(who);
  }
  return found;
}

// One order of the class of `exchanges`: each actor does what it does alone just before its next X, or at the end.
Order representative(const Scripts& scripts, const Order& exchanges) {
  Order order;
  std::array<std::size_t, kActors> at{};
  for (const std::size_t who : exchanges) {
    const std::size_t end = scripts[who].find('X', at[who]) + 1;
    order.insert(order.end(), end - at[who], who);
    at[who] = end;
  }
  for (std::size_t who = 0; who < kActors; ++who) order.insert(order.end(), scripts[who].size() - at[who], who);
  return order;
}

// Gives what the world came to; empty if something did not hold.
std::string run(std::uint64_t capacity, const Scripts& scripts, const Order& order) {
  try {
    return World(capacity, scripts).run(order);
  } catch (const std::logic_error& e) {
    ADD_FAILURE() << e.what() << ": " << describe(capacity, scripts, order);
    return {};
  }
}

// A representative of each class; gives how many there were. Stops at the first that fails.
std::uint64_t run_all_classes(std::uint64_t capacity, const Scripts& scripts) {
  Order order;
  for (std::size_t who = 0; who < kActors; ++who) {
    order.insert(order.end(), static_cast<std::size_t>(std::ranges::count(scripts[who], 'X')), who);
  }
  std::uint64_t runs = 0;
  do {
    ++runs;
    if (run(capacity, scripts, representative(scripts, order)).empty()) break;
  } while (std::ranges::next_permutation(order).found);
  return runs;
}

// Every order of the scripts' events: each ends as the representative of its class does.
std::uint64_t run_all_orders(std::uint64_t capacity, const Scripts& scripts) {
  std::map<Order, std::string> outcomes;
  Order order;
  for (std::size_t who = 0; who < kActors; ++who) order.insert(order.end(), scripts[who].size(), who);
  std::uint64_t runs = 0;
  do {
    ++runs;
    const Order name = exchanges(scripts, order);
    std::string& expected = outcomes[name];
    if (expected.empty()) expected = run(capacity, scripts, representative(scripts, name));
    const std::string outcome = run(capacity, scripts, order);
    EXPECT_EQ(outcome, expected) << describe(capacity, scripts, order);
  } while (!testing::Test::HasFailure() && std::ranges::next_permutation(order).found);
  return runs;
}

using Choices = std::vector<std::string_view>;

// Runs all combinations of scripts that have no more than so many events together. Which of two senders, or of two
// receivers, does what makes no difference.
std::uint64_t run_all(const Choices& senders, const Choices& receivers, std::size_t events_max,
                      const std::function<std::uint64_t(const Scripts&)>& run_scripts) {
  std::uint64_t runs = 0;
  for (std::size_t s1 = 0; s1 < senders.size(); ++s1) {
    for (std::size_t s2 = s1; s2 < senders.size(); ++s2) {
      for (std::size_t r1 = 0; r1 < receivers.size(); ++r1) {
        for (std::size_t r2 = r1; r2 < receivers.size(); ++r2) {
          const Scripts scripts = {senders[s1], senders[s2], receivers[r1], receivers[r2]};
          std::size_t events = 0;
          for (const std::string_view script : scripts) events += script.size();
          if (events <= events_max) runs += run_scripts(scripts);
          if (testing::Test::HasFailure()) return runs;
        }
      }
    }
  }
  return runs;
}

class SmallWorlds : public testing::TestWithParam<std::uint64_t> {
 protected:
  static bool runs_all() {
    const char* const which = std::getenv("KLAW_SMALL_WORLDS");  // NOLINT(concurrency-mt-unsafe): no other thread
    return which != nullptr && std::string_view(which) == "all";
  }

  static inline const Choices kSenders = {"SX", "SC", "SXC", "SSX", "SXK", "TX", "LPX", "LXP", "SKX"};
  static inline const Choices kReceivers = {"RX", "RXC", "TX", "BX", "RXK", "LPX", "LXP", "RCX", "RRX"};
};

TEST_P(SmallWorlds, EveryOrderEndsAsItsRepresentativeDoes) {
  const std::size_t events_max = runs_all() ? 10 : 8;
  const auto run_scripts = [&](const Scripts& scripts) { return run_all_orders(GetParam(), scripts); };
  const std::uint64_t runs = run_all(kSenders, kReceivers, events_max, run_scripts);
  std::cout << runs << " orders\n";
  EXPECT_GT(runs, 1000U);
}

TEST_P(SmallWorlds, EveryClassOfOrdersKeepsThePromises) {
  Choices senders = kSenders;
  senders.insert(senders.end(), {"XSX", "SXX", "SXSX", "SXCX", "SXKX", "TXSX", "LXPX", "SSXX"});
  Choices receivers = kReceivers;
  receivers.insert(receivers.end(), {"XRX", "RXX", "RXRX", "RXCX", "RXKX", "BXRX", "LXPX", "RRXX"});
  const auto run_scripts = [&](const Scripts& scripts) { return run_all_classes(GetParam(), scripts); };
  const std::uint64_t runs = run_all(senders, receivers, runs_all() ? 12 : 10, run_scripts);
  std::cout << runs << " classes of orders\n";
  EXPECT_GT(runs, 1000U);
}

INSTANTIATE_TEST_SUITE_P(Capacity, SmallWorlds, testing::Values(0, 1, 2));

}  // namespace
}  // namespace klaw::dataplane
