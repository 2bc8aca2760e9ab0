#include <algorithm>
#include <cstdint>
#include <utility>

#include <dataplane/plain/plain_calls.hpp>

namespace klaw::dataplane {

namespace {

constexpr std::size_t kCallersMax = 10'000;  // whose newest reply is kept

}  // namespace

// A call that has not been replied to: the operation that waits, and what it waits with.
struct PlainCalls::Pending : Operation {
  Pending(PlainCalls& o, PlainCall c, std::string who)
      : Operation(&Pending::wake), owner(&o), call(c), caller(std::move(who)) {}

  static void wake(Operation& op) noexcept {
    auto& self = static_cast<Pending&>(op);
    self.owner->fired_.push_back(self.call);
  }

  PlainCalls* owner;
  PlainCall call;
  std::string caller;
  Side side = Side::sender;
  std::vector<Message> messages;  // sent, or received
  SendOperation send;
  RecvOperation recv;
};

PlainCalls::PlainCalls(Broker& broker, std::function<ClientId()> new_client_id, Time now)
    : broker_(broker), link_({.new_client_id = std::move(new_client_id), .kind = broker.kind()}, now) {}

PlainCalls::~PlainCalls() {
  const Time now{};
  while (!pending_.empty()) cancel(now, pending_.begin()->first);
  link_.wakeups().fire();
}

Registration& PlainCalls::handle(Time now, Side side, const std::string& name) {
  auto& handles = handles_[index(side)];
  const auto found = handles.find(name);
  if (found != handles.end()) return found->second;
  return handles.emplace(name, link_.open(now, side, std::nullopt, name, !name.empty())).first->second;
}

// A broadcast's receivers have a place in its stream, and a watch's have seen a value: they need handles.
bool PlainCalls::can_receive() const noexcept {
  return broker_.kind() == ChannelKind::mpmc || broker_.kind() == ChannelKind::oneshot;
}

PlainStatus PlainCalls::register_handle(Time now, Side side, const std::string& name) {
  if (side == Side::receiver && !can_receive()) return PlainStatus::closed;
  const Registration& registered = handle(now, side, name);
  std::vector<BrokerAction> others = exchange(now);
  left_over_.insert(left_over_.end(), std::make_move_iterator(others.begin()), std::make_move_iterator(others.end()));
  HandleOperation opened;
  if (link_.start_opened(now, side, registered, opened, nullptr) == Status::done) return PlainStatus::ok;
  handles_[index(side)].erase(name);
  return PlainStatus::closed;
}

void PlainCalls::deregister_handle(Time now, Side side, const std::string& name) {
  const auto found = handles_[index(side)].find(name);
  if (found == handles_[index(side)].end()) return;
  std::ignore = link_.close(now, side, found->second, std::nullopt);  // the broker is in this process: nothing is lost
  handles_[index(side)].erase(found);
}

void PlainCalls::put(Time now, PlainCall call, const std::string& name, std::vector<Bytes> messages, Time deadline,
                     const PlainOp& op) {
  if (is_repeated(call, op)) return;
  auto pending = std::make_unique<Pending>(*this, call, op.caller);
  for (Bytes& message : messages) pending->messages.push_back({.payload = std::move(message)});
  pending->send.values = pending->messages.data();
  pending->send.count = pending->messages.size();
  pending->send.deadline = deadline;
  Pending& p = *pending_.emplace(call, std::move(pending)).first->second;
  settle_start(p, link_.start_send(now, handle(now, Side::sender, name), p.send, &p));
}

void PlainCalls::get(Time now, PlainCall call, const std::string& name, std::size_t max_items, Time deadline,
                     const PlainOp& op) {
  if (!can_receive()) return replies_.push_back({.call = call, .status = PlainStatus::closed});
  if (is_repeated(call, op)) return;
  auto pending = std::make_unique<Pending>(*this, call, op.caller);
  pending->side = Side::receiver;
  pending->recv.max_items = max_items;
  pending->recv.many = &pending->messages;
  pending->recv.deadline = deadline;
  Pending& p = *pending_.emplace(call, std::move(pending)).first->second;
  settle_start(p, link_.start_recv(now, handle(now, Side::receiver, name), p.recv, &p));
}

// Is it one that the control plane repeats? Then it gets the reply of the first.
bool PlainCalls::is_repeated(PlainCall call, const PlainOp& op) {
  if (op.caller.empty()) return false;
  const auto [found, is_new] = remembered_.try_emplace(op.caller);
  Remembered& last = found->second;
  if (is_new) {
    callers_.push_back(op.caller);
    if (callers_.size() > kCallersMax) {
      remembered_.erase(callers_.front());
      callers_.pop_front();
    }
  } else if (last.number == op.number) {
    if (last.reply) {
      replies_.push_back({.call = call, .status = last.reply->status, .messages = last.reply->messages});
    } else {
      last.waiting.push_back(call);
    }
    return true;
  }
  // Who repeats an older call has given it up by now: the caller has gone on.
  for (const PlainCall again : last.waiting) replies_.push_back({.call = again, .status = PlainStatus::closed});
  last = Remembered{.number = op.number, .pending = call};
  return false;
}

// Done, or refused, at once; or to be woken.
void PlainCalls::settle_start(Pending& p, Status status) {
  if (status == Status::pending) {
    if (!p.arm()) fired_.push_back(p.call);
    return;
  }
  conclude(p, status);
}

void PlainCalls::conclude(Pending& p, Status status) {
  PlainReply reply{.call = p.call, .status = PlainStatus::ok};
  const bool is_get = p.side == Side::receiver;
  switch (status) {
    case Status::done: break;
    case Status::closed: reply.status = PlainStatus::closed; break;
    default: reply.status = is_get ? PlainStatus::empty : PlainStatus::full;
  }
  if (is_get) {
    for (Message& message : p.messages) reply.messages.push_back(std::move(message.payload));
  }
  const std::string caller = p.caller;
  pending_.erase(p.call);
  if (const auto found = remembered_.find(caller); found != remembered_.end() && found->second.pending == reply.call) {
    for (const PlainCall again : found->second.waiting) {
      replies_.push_back({.call = again, .status = reply.status, .messages = reply.messages});
    }
    found->second.waiting.clear();
    found->second.reply = reply;
  }
  replies_.push_back(std::move(reply));
}

void PlainCalls::cancel(Time now, PlainCall call) {
  const auto found = pending_.find(call);
  if (found == pending_.end()) return;
  Pending& p = *found->second;
  const auto known = remembered_.find(p.caller);
  // A repetition of it waits for its reply, too: for that it lives on.
  if (known != remembered_.end() && known->second.pending == call && !known->second.waiting.empty()) return;
  // Whoever has claimed it has fired it: all happens in this thread.
  (void)p.Operation::cancel();
  if (p.side == Side::sender) {
    link_.abandon_send(now, p.send);
  } else {
    link_.abandon_recv(now, p.recv);
  }
  std::erase(fired_, call);
  if (const auto last = remembered_.find(p.caller); last != remembered_.end() && last->second.pending == call) {
    remembered_.erase(last);
    callers_.remove(p.caller);
  }
  pending_.erase(found);
}

std::vector<BrokerAction> PlainCalls::exchange(Time now) {
  std::vector<BrokerAction> others = std::exchange(left_over_, {});
  bool is_talking = true;
  while (is_talking) {
    is_talking = carry_to_broker(now);
    broker_.flush(now);
    is_talking |= carry_to_link(now, others);
    link_.wakeups().fire();
    for (const PlainCall call : std::exchange(fired_, {})) {
      Pending& p = *pending_.at(call);
      conclude(p, p.side == Side::sender ? link_.finish_send(now, p.send) : link_.finish_recv(now, p.recv));
      is_talking = true;
    }
  }
  return others;
}

bool PlainCalls::carry_to_broker(Time now) {
  link_.flush(now);
  std::vector<LinkAction> actions = link_.take_actions();
  for (LinkAction& action : actions) {
    if (std::holds_alternative<link_action::Connect>(action)) {
      ++connection_;
      link_.connected(now);
    } else if (const auto* const send = std::get_if<link_action::Send>(&action)) {
      broker_.received(now, connection_, Frame(*send->frame));
    }
  }
  return !actions.empty();
}

bool PlainCalls::carry_to_link(Time now, std::vector<BrokerAction>& others) {
  bool any = false;
  for (BrokerAction& action : broker_.take_actions()) {
    const auto* const send = std::get_if<broker_action::Send>(&action);
    const auto* const disconnect = std::get_if<broker_action::Disconnect>(&action);
    if (send != nullptr && send->connection >= kPlainConnections) {
      any = true;
      if (send->connection == connection_) link_.received(now, Frame(*send->frame));
    } else if (disconnect != nullptr && disconnect->connection >= kPlainConnections) {
      any = true;
      if (disconnect->connection == connection_) link_.disconnected(now, disconnect->why);
    } else {
      others.push_back(std::move(action));
    }
  }
  return any;
}

}  // namespace klaw::dataplane
