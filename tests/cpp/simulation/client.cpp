#include "simulation/client.hpp"

#include <algorithm>
#include <utility>

#include "simulation/broadcast.hpp"
#include "simulation/watched.hpp"
#include "simulation/world.hpp"

namespace klaw::dataplane::simulation {

Task::Task(Client& owner, std::uint32_t number_, Kind kind_) noexcept
    : Operation([](Operation& self) noexcept {
        auto& task = static_cast<Task&>(self);
        task.client.woken(task);
      }),
      client(owner),
      number(number_),
      kind(kind_) {}

Client::Client(World& world, std::size_t index) : world_(world), index_(index), clock_(world.new_clock()) {
  for (std::int64_t channel = 0; channel < world.config.channels; ++channel) {
    ports_.push_back(std::make_unique<Port>(world, *this, static_cast<std::uint8_t>(channel)));
  }
}

Time Client::now() const { return clock_.local(world_.scheduler.now()); }
bool Client::is_running() const { return is_alive_ && stopped_until_ <= world_.scheduler.now(); }
ClientId Client::new_id() { return world_.new_id<ClientId>(); }

// --- handles ---

Handle* Client::adopt(std::uint8_t channel, Side side, const Registration& registration) {
  handles_.push_back(std::make_unique<Handle>(Handle{.id = world_.next_handle++,
                                                     .channel = channel,
                                                     .side = side,
                                                     .registration = registration,
                                                     .epoch_made = world_.oracle.channel(channel).epoch}));
  Handle* const handle = handles_.back().get();
  world_.trace.note(world_.scheduler.now(), "client", index_, "channel", channel, "new handle", handle->id,
                    side == Side::sender ? "sender" : "receiver", "session", registration.id);
  return handle;
}

Handle* Client::open(std::uint8_t channel, Side side, std::optional<Token> claim, bool passes_by) {
  Handle* const handle = adopt(channel, side, ports_[channel]->link().open(now(), side, claim, "reader", !passes_by));
  handle->passes_by = passes_by;
  ports_[channel]->after_event();
  return handle;
}

Handle* Client::clone(Handle& handle) {
  Port& port = *ports_[handle.channel];
  Handle* const copy = adopt(handle.channel, handle.side, port.link().clone(now(), handle.side, handle.registration));
  copy->is_open = handle.is_open;
  copy->counts_in = handle.counts_in;
  copy->counts_as = handle.counts_as;
  if (copy->registration.closed != handle.registration.closed)
    world_.oracle.fail("S12", "a clone is as closed as its original");
  port.after_event();
  return copy;
}

void Client::close(Handle& handle, std::optional<std::string> reason) {
  world_.trace.note(world_.scheduler.now(), "client", index_, "closes handle", handle.id);
  Port& port = *ports_[handle.channel];
  for (const Decoding& decoding : decoding_) {
    if (decoding.handle != &handle) continue;
    for (const Message& message : decoding.messages) world_.oracle.left_slot(message.payload);
  }
  if (std::exchange(handle.is_open, false)) handle.closed_in = port.link().epoch();
  if (port.link().close(now(), handle.side, handle.registration, std::move(reason))) ++handle.errors;
  if (!handle.registration.closed) world_.oracle.fail("S12", "a closed handle is closed");
  port.after_event();
}

Token Client::hold(Handle& handle) {
  const Token token = world_.new_id<Token>();
  Port& port = *ports_[handle.channel];
  port.link().hold(now(), handle.side, handle.registration, token);
  world_.trace.note(world_.scheduler.now(), "client", index_, "pickles handle", handle.id);
  port.after_event();
  return token;
}

bool Client::counts(const Handle& handle) const {
  const Link& link = ports_[handle.channel]->link();
  return handle.is_open && handle.counts_in == link.epoch() && handle.counts_in != 0 &&
         handle.counts_as == link.client_id();
}

bool Client::is_refused(Handle& handle) {
  Link& link = ports_[handle.channel]->link();
  for (;;) {
    HandleOperation opened;
    const Status status = link.start_opened(now(), handle.side, handle.registration, opened, nullptr);
    if (status != Status::closed || opened.error.kind != CloseKind::backend) return status == Status::closed;
    ++handle.errors;  // it was told so
  }
}

void Client::confirm(Handle& handle) {
  const Link& link = ports_[handle.channel]->link();
  handle.counts_in = link.epoch();
  handle.counts_as = link.client_id();
}

// --- starting operations ---

Task& Client::make(Task::Kind kind, Handle& handle, Patience patience) {
  const std::uint32_t number = next_task_++;
  auto task = std::make_unique<Task>(*this, number, kind);
  task->handles.push_back(&handle);
  task->started_at = world_.scheduler.now();
  task->epoch = ports_[handle.channel]->link().epoch();
  task->can_wait = patience != Patience::never_waits;
  if (patience == Patience::tries) task->deadline = now();
  if (patience == Patience::limited) task->deadline = now() + Duration(1 + world_.random.skewed(4 * kSecond));
  return *tasks_.emplace(number, std::move(task)).first->second;
}

void Client::send(Handle& handle, const std::vector<std::uint32_t>& sizes, Patience patience) {
  Task& task = make(Task::Kind::send, handle, patience);
  task.values = world_.oracle.compose(handle.id, handle.channel, sizes, task.ids);
  task.send.values = task.values.data();
  task.send.count = task.values.size();
  task.send.deadline = task.deadline;
  world_.trace.note(world_.scheduler.now(), "client", index_, "task", task.number, "sends by handle", handle.id,
                    "message", task.ids.front(), "count", task.ids.size(), "patience", static_cast<int>(patience));
  Operation* const op = task.can_wait ? &task : nullptr;
  started(task, ports_[handle.channel]->link().start_send(now(), handle.registration, task.send, op));
}

void Client::reserve(Handle& handle, Patience patience) {
  Task& task = make(Task::Kind::reserve, handle, patience);
  task.send.reserves = true;
  task.send.deadline = task.deadline;
  world_.trace.note(world_.scheduler.now(), "client", index_, "task", task.number, "reserves by handle", handle.id,
                    "patience", static_cast<int>(patience));
  Operation* const op = task.can_wait ? &task : nullptr;
  started(task, ports_[handle.channel]->link().start_send(now(), handle.registration, task.send, op));
}

// In no order with what waits in line: a message of its own sender, as the oracle sees it.
void Client::send_reserved(std::size_t index, std::uint32_t size) {
  const HeldSlot slot = permits_[index];
  permits_.erase(permits_.begin() + static_cast<std::ptrdiff_t>(index));
  std::vector<MessageId> ids;
  const std::vector<Message> message = world_.oracle.compose(world_.next_handle++, slot.handle->channel, {size}, ids);
  Port& port = *ports_[slot.handle->channel];
  world_.trace.note(world_.scheduler.now(), "client", index_, "sends message", ids.front(), "by permit",
                    slot.permit.seq, "of handle", slot.handle->id);
  const auto error = port.link().send_reserved(now(), slot.permit, message.front().payload);
  if (error) {
    // (Who passes by loses them with its side.)
    const bool may_lose = world_.may_fail() || slot.handle->passes_by || size > world_.config.message_max;
    if (error->kind == CloseKind::backend && !may_lose) world_.oracle.fail("S12", "a slot is lost in a peaceful world");
    world_.oracle.send_voided(ids, "that its slot is lost");
    port.link().release_reserved(now(), slot.permit);
  } else {
    world_.oracle.filled(ids.front());
  }
  port.after_event();
}

void Client::release_reserved(std::size_t index) {
  const HeldSlot slot = permits_[index];
  permits_.erase(permits_.begin() + static_cast<std::ptrdiff_t>(index));
  world_.trace.note(world_.scheduler.now(), "client", index_, "releases permit", slot.permit.seq, "of handle",
                    slot.handle->id);
  Port& port = *ports_[slot.handle->channel];
  port.link().release_reserved(now(), slot.permit);
  port.after_event();
}

void Client::recv(Handle& handle, std::size_t max_items, bool acknowledges, Patience patience) {
  Task& task = make(Task::Kind::recv, handle, patience);
  RecvOperation& recv = task.recv[0];
  recv.max_items = max_items;
  recv.many = max_items > 1 ? &task.many : nullptr;
  recv.acknowledges = acknowledges && !decodes(handle);
  recv.confirms = decodes(handle);
  recv.deadline = task.deadline;
  world_.trace.note(world_.scheduler.now(), "client", index_, "task", task.number, "receives by handle", handle.id,
                    "at most", max_items, "patience", static_cast<int>(patience));
  Operation* const op = task.can_wait ? &task : nullptr;
  started(task, ports_[handle.channel]->link().start_recv(now(), handle.registration, recv, op));
}

void Client::select(Handle& first, Handle& second, Patience patience) {
  Task& task = make(Task::Kind::select, first, patience);
  task.handles.push_back(&second);
  world_.trace.note(world_.scheduler.now(), "client", index_, "task", task.number, "selects from handles", first.id,
                    second.id);
  Operation* const op = task.can_wait ? &task : nullptr;
  for (std::uint32_t branch = 0; branch < Task::kBranches; ++branch) {
    RecvOperation& recv = task.recv[branch];
    recv.index = branch;
    recv.deadline = task.deadline;
    const Handle& handle = *task.handles[branch];
    recv.confirms = decodes(handle);
    Link& link = ports_[handle.channel]->link();
    const Status status = link.start_recv(now(), handle.registration, recv, op);
    link.wakeups().fire();
    if (status != Status::pending) return started(task, status, branch);
  }
  started(task, Status::pending);
}

void Client::wait(Task::Kind kind, Handle& handle) {
  Task& task = make(kind, handle, Patience::endless);
  world_.trace.note(world_.scheduler.now(), "client", index_, "task", task.number, "waits for", static_cast<int>(kind),
                    "of handle", handle.id);
  Link& link = ports_[handle.channel]->link();
  switch (kind) {
    case Task::Kind::opened:
      return started(task, link.start_opened(now(), handle.side, handle.registration, task.wait, &task));
    case Task::Kind::closed:
      return started(task, link.start_closed(now(), handle.side, handle.registration, task.wait, &task));
    default: return started(task, link.start_flush(now(), handle.registration, task.wait, &task));
  }
}

void Client::shut_down(Handle& handle, bool immediate, std::optional<std::string> reason) {
  Task& task = make(Task::Kind::shutdown, handle, Patience::endless);
  world_.trace.note(world_.scheduler.now(), "client", index_, "task", task.number, "shuts down by handle", handle.id,
                    immediate ? "at once" : "");
  Link& link = ports_[handle.channel]->link();
  started(task, link.start_shutdown(now(), handle.registration, immediate, std::move(reason), task.wait, &task));
}

void Client::started(Task& task, Status status, std::size_t branch) {
  const std::uint8_t channel = task.handles[branch]->channel;
  const std::uint32_t number = task.number;
  const bool waits = status == Status::pending && task.can_wait;
  if (waits) {
    if (!task.arm()) woken(task);
  } else {
    if (task.kind == Task::Kind::select) abandon(task, status == Status::pending ? Task::kBranches : branch);
    came_to(task, status, branch);
    tasks_.erase(number);
  }
  if (is_alive_) ports_[channel]->after_event();
  if (is_alive_ && waits && ports_.size() > 1) ports_[1 - channel]->after_event();
}

// --- ending operations ---

// A woken task runs soon; sometimes much later.
void Client::woken(Task& task) {
  if (std::exchange(task.is_due, true)) world_.oracle.fail("S12", "woken twice: " + describe(task));
  const Micros delay =
      world_.random.chance(world_.config.lazy) && !world_.is_healed() ? world_.random.skewed(kSecond) : 1;
  world_.scheduler.in(delay, [this, number = task.number] { resume(number); });
}

void Client::resume(std::uint32_t number) {
  const auto found = tasks_.find(number);
  if (!is_alive_ || found == tasks_.end()) return;
  if (!is_running()) return world_.scheduler.at(stopped_until_, [this, number] { resume(number); });
  finish(*found->second);
  tasks_.erase(number);
  for (auto& port : ports_) {
    if (is_alive_) port->after_event();
  }
}

void Client::finish(Task& task) {
  const std::size_t branch = task.kind == Task::Kind::select ? task.claimed_index() : 0;
  Link& link = ports_[task.handles[branch]->channel]->link();
  Status status;
  switch (task.kind) {
    case Task::Kind::send:
    case Task::Kind::reserve: status = link.finish_send(now(), task.send); break;
    case Task::Kind::recv:
    case Task::Kind::select: status = link.finish_recv(now(), task.recv[branch]); break;
    default: status = link.finish_wait(task.wait); break;
  }
  if (status == Status::pending) world_.oracle.fail("S12", "woken for nothing: " + describe(task));
  if (task.kind == Task::Kind::select) abandon(task, branch);
  came_to(task, status, branch);
}

void Client::cancel(Task& task) {
  // Also after it was woken, before it was resumed.
  if (!task.cancel() && !task.is_fired()) world_.oracle.fail("S12", "claimed and never fired: " + describe(task));
  world_.trace.note(world_.scheduler.now(), "client", index_, "cancels task", task.number,
                    task.is_due ? "after its wake-up" : "");
  world_.statistics.count("operation: cancelled");
  abandon(task, Task::kBranches);
  if (task.kind == Task::Kind::send) world_.oracle.send_unknown(task.ids);
  tasks_.erase(task.number);
  for (auto& port : ports_) port->after_event();
}

void Client::abandon(Task& task, std::size_t but_branch) {
  Link& link = ports_[task.handles[0]->channel]->link();
  switch (task.kind) {
    case Task::Kind::send:
    case Task::Kind::reserve: return link.abandon_send(now(), task.send);
    case Task::Kind::recv:
      task.handles[0]->gave_up_at = world_.scheduler.now();
      return link.abandon_recv(now(), task.recv[0]);
    case Task::Kind::select:
      for (std::size_t branch = 0; branch < Task::kBranches; ++branch) {
        if (branch == but_branch) continue;
        task.handles[branch]->gave_up_at = world_.scheduler.now();
        ports_[task.handles[branch]->channel]->link().abandon_recv(now(), task.recv[branch]);
      }
      return;
    default: return link.abandon_wait(task.wait);
  }
}

void Client::came_to(Task& task, Status status, std::size_t branch) {
  static constexpr const char* kKinds[] = {"send",   "recv",  "select",   "opened",
                                           "closed", "flush", "shutdown", "reserve"};
  static constexpr const char* kStatuses[] = {"done", "not now", "closed", "too large", "timed out"};
  const char* const kind = kKinds[static_cast<std::size_t>(task.kind)];
  const char* const how = kStatuses[static_cast<std::size_t>(status)];
  world_.trace.note(world_.scheduler.now(), "client", index_, "task", task.number, kind, how);
  world_.statistics.count(std::string("operation: ") + kind + ' ' + how);
  check_time(task, status);
  switch (task.kind) {
    case Task::Kind::send: return sent(task, status);
    case Task::Kind::reserve: return reserved(task, status);
    case Task::Kind::recv:
    case Task::Kind::select: return received(task, status, branch);
    default: return waited(task, status);
  }
}

void Client::check_time(const Task& task, Status status) const {
  if (status == Status::timed_out && now() < task.deadline) {
    world_.oracle.fail("S11", "timed out before its time: " + describe(task));
  }
}

void Client::sent(Task& task, Status status) {
  Handle& handle = *task.handles[0];
  switch (status) {
    case Status::done:
      confirm(handle);
      if (world_.config.is_broadcast()) world_.oracle.broadcast_to(task.ids, task.send.receivers);
      if (world_.config.is_watch()) world_.oracle.changed_for(task.ids, task.send.receivers);
      return world_.oracle.send_done(task.ids);
    case Status::closed:
      if (task.send.is_already_sent) return world_.oracle.send_voided(task.ids, "already sent");
      if (is_too_large(task)) return world_.oracle.send_voided(task.ids, "too large for a message");
      failed(handle, task, task.send.error);
      if (task.send.error.kind == CloseKind::backend || task.send.error.kind == CloseKind::deleted) {
        return world_.oracle.send_unknown(task.ids);
      }
      return world_.oracle.send_voided(task.ids, "closed");
    case Status::too_large:
      if (world_.config.capacity < 0 ||
          task.ids.size() <= static_cast<std::size_t>(std::max<std::int64_t>(world_.config.capacity, 1))) {
        world_.oracle.fail("S12", "too large, though it fits: " + describe(task));
      }
      return world_.oracle.send_voided(task.ids, "too large");
    case Status::pending: return world_.oracle.send_voided(task.ids, "not now");
    case Status::timed_out: return world_.oracle.send_voided(task.ids, "timed out");
  }
}

void Client::reserved(Task& task, Status status) {
  Handle& handle = *task.handles[0];
  if (status == Status::closed) return failed(handle, task, task.send.error);
  if (status == Status::too_large) world_.oracle.fail("S12", "a slot is never too large: " + describe(task));
  if (status != Status::done) return;
  confirm(handle);
  permits_.push_back(HeldSlot{&handle, Link::permit_of(task.send)});
}

// The error says so.
bool Client::is_too_large(const Task& task) const {
  return task.send.error.kind == CloseKind::backend &&
         message(task.send.error).find("a message is larger than") != std::string::npos;
}

void Client::received(Task& task, Status status, std::size_t branch) {
  Handle& handle = *task.handles[branch];
  RecvOperation& recv = task.recv[branch];
  if (status == Status::closed) {
    handle.gave_up_at = world_.scheduler.now();
    if (world_.config.is_broadcast() && (recv.why == CloseKind::ended || recv.why == CloseKind::peer_died)) {
      broadcast_of(handle).ended({ports_[handle.channel]->link().client_id(), handle.session()});
    }
    if (world_.config.is_watch() && (recv.why == CloseKind::ended || recv.why == CloseKind::peer_died)) {
      const Link& link = ports_[handle.channel]->link();
      const Version seen = link.seen(handle.registration);
      if (seen != 0 && task.epoch == link.epoch()) world_.oracle.watched(handle.channel, link.epoch()).ended(seen);
    }
    return failed(handle, task, recv.error);
  }
  if (status == Status::too_large) world_.oracle.fail("S12", "a receive is never too large");
  if (status == Status::timed_out && task.kind == Task::Kind::recv) {
    if (world_.config.reopens()) {
      if (task.epoch == ports_[handle.channel]->link().epoch()) found_nothing(task, task.started_at);
    } else {
      world_.oracle.received_nothing(handle.channel, task.started_at, task.epoch);
    }
  }
  if (status != Status::done) return;
  if (world_.config.is_broadcast()) return read(handle, recv);
  if (world_.config.is_watch())
    return see(handle, {.version = recv.value->attempt, .message = recv.value->payload}, true);
  if (recv.many == nullptr) {
    if (!recv.value) world_.oracle.fail("S12", "received nothing: " + describe(task));
    task.many.push_back(*recv.value);
  }
  if (task.many.empty() || task.many.size() > recv.max_items) {
    world_.oracle.fail("S12", "received " + std::to_string(task.many.size()) + " messages: " + describe(task));
  }
  if (recv.confirms) return decode(handle, std::move(task.many));
  for (const Message& message : task.many) hand_out(handle, message, recv.acknowledges);
}

void Client::hand_out(Handle& handle, const Message& message, bool acknowledges) {
  const MessageId id = world_.oracle.handed_out(handle.id, handle.channel, message, acknowledges);
  world_.trace.note(world_.scheduler.now(), "client", index_, "handle", handle.id, "got message", id, "attempt",
                    message.attempt, "redeliveries", message.redeliveries);
  world_.statistics.count(message.redeliveries > 0 ? "message: received again" : "message: received");
  if (acknowledges) held_.push_back(Held{&handle, message.attempt, id});
}

// Half of the handles: what the others take is handed out at once.
bool Client::decodes(const Handle& handle) const noexcept { return world_.config.decodes != 0 && handle.id % 2 == 0; }

// Mostly soon; sometimes it takes longer than a process may stand still.
void Client::decode(Handle& handle, std::vector<Message> messages) {
  world_.trace.note(world_.scheduler.now(), "client", index_, "handle", handle.id, "decodes", messages.size(),
                    "from attempt", messages.front().attempt);
  if (handle.registration.closed) {
    for (const Message& message : messages) world_.oracle.left_slot(message.payload);
  }
  const std::uint64_t epoch = ports_[handle.channel]->link().epoch();
  decoding_.push_back(Decoding{.handle = &handle, .messages = std::move(messages), .epoch = epoch});
  const bool takes_time = !world_.is_healed() && world_.random.chance(world_.config.decodes);
  const Micros delay = takes_time ? world_.random.skewed(10 * kSecond) : 1;
  world_.scheduler.in(delay, [this, &handle] { decoded(handle); });
}

// The oldest that this handle has taken: so the order in which they are handed out is that in which they came.
void Client::decoded(Handle& handle) {
  if (!is_alive_) return;
  if (!is_running()) return world_.scheduler.at(stopped_until_, [this, &handle] { decoded(handle); });
  const auto oldest = std::ranges::find(decoding_, &handle, &Decoding::handle);
  std::vector<Message> messages = std::move(oldest->messages);
  const std::uint64_t epoch = oldest->epoch;
  decoding_.erase(oldest);
  std::vector<Attempt> attempts;
  for (const Message& message : messages) attempts.push_back(message.attempt);
  Port& port = *ports_[handle.channel];
  if (const auto lost = port.link().confirm(now(), handle.registration, attempts)) {
    world_.trace.note(world_.scheduler.now(), "client", index_, "handle", handle.id, "decoded in vain", message(*lost));
    world_.statistics.count("message: decoded in vain", messages.size());
    for (const Message& message : messages) world_.oracle.left_slot(message.payload);
    if (!world_.may_fail()) world_.oracle.fail("S12", "what was decoded is lost in a peaceful world");
  } else {
    for (Message& message : messages) {
      // As unread ones are marked then: its broker may have given it to others before it died.
      if (port.link().epoch() != epoch) ++message.redeliveries;
      hand_out(handle, message, false);
    }
  }
  port.after_event();
}

// No older value comes after a newer one; one change may end several receives.
void Client::see(Handle& handle, const Latest& latest, bool is_change) {
  const MessageId id = world_.oracle.identify(latest.message);
  world_.trace.note(world_.scheduler.now(), "client", index_, "handle", handle.id, "sees message", id, "version",
                    latest.version);
  world_.statistics.count(is_change ? "message: change" : "message: looked at");
  world_.oracle.watched(handle.channel, latest.version >> kAttemptEpochShift).seen(id, latest.version);
  if (latest.version < handle.version) {
    world_.oracle.fail("V7", "handle " + std::to_string(handle.id) + " sees an older value than before");
  }
  handle.version = latest.version;
}

void Client::look(Handle& handle, bool updates) {
  Link& link = ports_[handle.channel]->link();
  const bool is_receiver = handle.side == Side::receiver;
  const bool has_changed = is_receiver && link.has_changed(handle.registration);
  const Version seen = link.seen(handle.registration);
  const auto latest =
      updates && is_receiver ? link.borrow_and_update(handle.registration) : link.borrow(handle.registration);
  if (!latest) return;
  if (has_changed != (is_receiver && seen != 0 && seen < latest->version)) {
    world_.oracle.fail("V7", "handle " + std::to_string(handle.id) + " is wrong about a change");
  }
  const Version before = handle.version;
  see(handle, *latest, false);
  // Only looked at: a receive may still find it.
  if (!updates || !is_receiver) handle.version = before;
}

Broadcast& Client::broadcast_of(const Handle& handle) const {
  return world_.oracle.broadcast(handle.channel, ports_[handle.channel]->link().epoch());
}

// What came is of the broker that the link knows now: all else was dropped with its predecessor.
void Client::read(const Handle& handle, const RecvOperation& recv) {
  const Broadcast::Reader reader{ports_[handle.channel]->link().client_id(), handle.session()};
  if (recv.skipped > 0) {
    world_.trace.note(world_.scheduler.now(), "client", index_, "handle", handle.id, "missed", recv.skipped);
    world_.statistics.count("message: missed", recv.skipped);
    return broadcast_of(handle).missed(reader, recv.skipped);
  }
  if (!recv.value) world_.oracle.fail("S12", "received nothing");
  const MessageId id = world_.oracle.identify(recv.value->payload);
  world_.trace.note(world_.scheduler.now(), "client", index_, "handle", handle.id, "got message", id);
  world_.statistics.count("message: broadcast");
  broadcast_of(handle).got(reader, id, *recv.value);
  if (id < world_.oracle.message_count()) {
    MessageRecord& record = world_.oracle.record(id);
    if (record.fate == MessageRecord::Fate::voided)
      world_.oracle.fail("S11",
                         "received, though its send was told that nothing has happened: " + world_.oracle.describe(id));
    if (record.channel != handle.channel)
      world_.oracle.fail("S6", "from another channel: " + world_.oracle.describe(id));
    record.handouts.emplace_back(record.home_epoch, recv.value->attempt);
  }
}

// Others that receive by the same handle may have been granted what was there, and may have given it back too late, or have
// lost it with its broker.
void Client::found_nothing(const Task& task, Micros since) const {
  if (world_.config.is_watch()) {
    const Handle& watching = *task.handles[0];
    const Link& link = ports_[watching.channel]->link();
    const Version seen = link.seen(watching.registration);
    // Of one that was closed since its time was over nobody knows what it had seen.
    if (seen != 0) world_.oracle.watched(watching.channel, link.epoch()).found_nothing(seen, since);
    return;
  }
  const Handle& handle = *task.handles[0];
  const auto is_beside = [&](const auto& entry) {
    const Task& other = *entry.second;
    return &other != &task && other.kind <= Task::Kind::select &&
           std::ranges::find(other.handles, &handle) != other.handles.end();
  };
  if (!is_alive_ || handle.gave_up_at >= since || std::ranges::any_of(tasks_, is_beside)) return;
  broadcast_of(handle).found_nothing({ports_[handle.channel]->link().client_id(), handle.session()}, since);
}

void Client::waited(Task& task, Status status) {
  Handle& handle = *task.handles[0];
  if (status == Status::closed) return failed(handle, task, task.wait.error);
  if (status != Status::done) world_.oracle.fail("S12", "waited for " + describe(task) + " in vain");
  if (task.kind == Task::Kind::opened) confirm(handle);
  if (task.kind == Task::Kind::flush) handle.is_flushed = true;
  // (What is known at once may be what an earlier epoch's broker said.)
  if (task.kind == Task::Kind::shutdown && task.is_due && task.epoch != 0) {
    world_.oracle.shut_down(handle.channel, task.epoch);
  }
}

// Why it may fail.
void Client::failed(Handle& handle, const Task& task, const ChannelClosed& error) {
  world_.trace.note(world_.scheduler.now(), "client", index_, "task", task.number, to_string(error.kind),
                    message(error));
  world_.statistics.count("closed: " + std::string(to_string(error.kind)));
  const ChannelRecord& channel = world_.oracle.channel(handle.channel);
  handle.has_ended |= error.kind != CloseKind::backend || world_.channels[handle.channel]->is_gone();
  switch (error.kind) {
    case CloseKind::backend:
      ++handle.errors;
      handle.counts_in = 0;
      if (!world_.may_fail() && !channel.is_deleted)
        world_.oracle.fail("S12", "a backend error in a peaceful world: " + describe(task));
      return;
    case CloseKind::handle_closed:
      if (handle.is_open) world_.oracle.fail("S12", "handle_closed, but nobody closed it: " + describe(task));
      return;
    case CloseKind::deleted:
      if (!channel.is_deleted) world_.oracle.fail("S12", "deleted, but nobody deleted it: " + describe(task));
      return;
    case CloseKind::shutdown:
      if (!channel.is_shut_down) world_.oracle.fail("S12", "shut down, but nobody did it: " + describe(task));
      return;
    default: return;
  }
}

void Client::settle(std::size_t index, bool requeue, Duration delay) {
  const Held held = held_[index];
  held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(index));
  world_.trace.note(world_.scheduler.now(), "client", index_, requeue ? "requeues" : "settles", "message", held.id,
                    "attempt", held.attempt);
  world_.oracle.settled(held.id, held.attempt, requeue);
  Port& port = *ports_[held.handle->channel];
  port.link().settle(now(), held.handle->registration, {held.attempt}, requeue, delay);
  port.after_event();
}

// --- faults ---

void Client::die(bool silently) {
  if (!is_alive_) return;
  is_alive_ = false;
  world_.trace.note(world_.scheduler.now(), "client", index_, "dies");
  for (auto& [number, task] : tasks_) {
    (void)task->cancel();
    abandon(*task, Task::kBranches);
    if (task->kind == Task::Kind::send) world_.oracle.send_unknown(task->ids);
  }
  for (auto& port : ports_) {
    const ClientId id = port->link().client_id();
    world_.statistics.count("fault: client killed");
    if (!world_.random.chance(300)) {  // the control plane notices, at once or late
      Channel& channel = *world_.channels[port->channel()];
      world_.scheduler.in(world_.random.skewed(3 * kSecond), [&channel, id] {
        for (auto& server : channel.incarnations()) server->client_died(id, "its process ended");
      });
    }
    port->die(silently);
  }
  tasks_.clear();
  held_.clear();
  permits_.clear();
  decoding_.clear();
}

void Client::die_after(std::uint64_t actions, bool silently) {
  actions_left_ = actions;
  dies_silently_ = silently;
}

bool Client::is_dying_now() {
  if (!actions_left_ || (*actions_left_)-- > 0) return false;
  actions_left_.reset();
  // Not in the middle of a link's call: the rest of what it wanted is lost.
  die(dies_silently_);
  return true;
}

void Client::is_said_to_be_dead() {
  if (!is_alive_) return;
  for (auto& port : ports_) {
    world_.channels[port->channel()]->newest().client_died(port->link().client_id(), "its node is said to be gone",
                                                           false);
  }
}

void Client::stop(Micros until) {
  stopped_until_ = until;
  world_.trace.note(world_.scheduler.now(), "client", index_, "is stopped until", until);
}

void Client::jump(Micros forward) {
  if (!is_alive_) return;
  clock_.jump(forward);
  for (auto& port : ports_) port->set_alarm();
}

void Client::broker_died(std::uint8_t channel, std::uint64_t epoch, const std::string& why, bool is_final) {
  if (!is_alive_) return;
  if (!is_running()) {
    return world_.scheduler.at(stopped_until_,
                               [this, channel, epoch, why, is_final] { broker_died(channel, epoch, why, is_final); });
  }
  ports_[channel]->broker_died(epoch, why, is_final);
}

std::string Client::describe(const Task& task) const {
  static constexpr const char* kKinds[] = {"send",   "recv",  "select",   "opened",
                                           "closed", "flush", "shutdown", "reserve"};
  std::string text = "client " + std::to_string(index_) + " task " + std::to_string(task.number) + ' ' +
                     kKinds[static_cast<std::size_t>(task.kind)] + " on handle " + std::to_string(task.handles[0]->id) +
                     " since " + std::to_string(task.started_at) + " us";
  if (!task.ids.empty()) text += ", " + world_.oracle.describe(task.ids.front());
  return text;
}

}  // namespace klaw::dataplane::simulation
