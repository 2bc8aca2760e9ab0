#include "simulation/workload.hpp"

#include <algorithm>

#include "simulation/world.hpp"

namespace klaw::dataplane::simulation {

Workload::Workload(World& world) : world_(world), random_(world.config.seed, 3) {}

// --- the first phase ---

void Workload::begin() {
  for (std::int64_t i = 0; i < world_.config.clients; ++i) add_client();
  // Most worlds have somebody on each side from the beginning.
  for (std::int64_t channel = 0; channel < world_.config.channels; ++channel) {
    for (const Side side : {Side::sender, Side::receiver}) {
      if (random_.chance(900)) random_.pick(world_.clients)->open(static_cast<std::uint8_t>(channel), side);
    }
  }
  for (std::int64_t i = 0; i < world_.config.actions; ++i) {
    world_.scheduler.at(random_.between(0, world_.heal_at - 1), [this] { act(); });
  }
}

void Workload::add_client() {
  Client& client = world_.spawn();
  const std::int64_t count = random_.between(1, world_.config.handles);
  for (std::int64_t i = 0; i < count; ++i) {
    const auto channel = static_cast<std::uint8_t>(random_.below(static_cast<std::uint64_t>(world_.config.channels)));
    const Side side = random_.chance(500) ? Side::sender : Side::receiver;
    // (Nothing is drawn where there are none, so that the seeds of the list mean what they meant.)
    const bool passes_by = world_.config.passers_by != 0 && random_.chance(world_.config.passers_by);
    const bool can_pass_by = side == Side::sender || !world_.config.reopens();
    client.open(channel, side, std::nullopt, passes_by && can_pass_by);
  }
}

// The child has closed its sockets and abandoned the link: what it does is done by handles of its own.
void Workload::fork(Client& parent) {
  Client& child = world_.spawn();
  for (const auto& handle : parent.handles()) {
    if (handle->is_open && random_.chance(500)) child.open(handle->channel, handle->side);
  }
}

Client* Workload::any_client() {
  for (int tries = 0; tries < 4; ++tries) {
    Client& client = *random_.pick(world_.clients);
    if (client.is_running()) return &client;
  }
  return nullptr;
}

void Workload::act() {
  if (Client* const client = any_client(); client != nullptr) act(*client);
}

void Workload::act(Client& client) {
  const Config& c = world_.config;
  std::int64_t drawn = random_.between(0, 999);
  const auto is_drawn = [&](std::int64_t permille) { return (drawn -= permille) < 0; };
  if (is_drawn(c.cancels)) return cancel(client);
  if (is_drawn(c.selects)) return select(client);
  if (is_drawn(c.clones)) return clone(client);
  if (is_drawn(c.closes)) return close(client);
  if (is_drawn(c.holds)) return random_.chance(500) ? hold(client) : claim(client);
  if (is_drawn(c.waits)) return wait(client);
  if (is_drawn(c.shutdowns)) return shut_down(client);
  if (is_drawn(c.reserves)) return reserve(client);
  if (!client.held().empty() && random_.chance(400)) return settle(client);
  if (c.is_watch() && random_.chance(150)) {
    if (Handle* const handle = any_handle(client, std::nullopt)) client.look(*handle, random_.chance(300));
    return;
  }
  constexpr std::size_t kPendingMax = 12;
  if (client.tasks().size() >= kPendingMax) return cancel(client);
  return random_.chance(c.receives) ? recv(client) : send(client);
}

// At times a closed one.
Handle* Workload::any_handle(Client& client, std::optional<Side> side) {
  auto& handles = client.handles();
  for (int tries = 0; tries < 6 && !handles.empty(); ++tries) {
    Handle& handle = *random_.pick(handles);
    if ((!side || handle.side == *side) && (handle.is_open || random_.chance(20))) return &handle;
  }
  return nullptr;
}

Client::Patience Workload::patience() {
  if (random_.chance(world_.config.tries)) {
    return random_.chance(800) ? Client::Patience::tries : Client::Patience::never_waits;
  }
  return random_.chance(world_.config.timeouts) ? Client::Patience::limited : Client::Patience::endless;
}

std::uint32_t Workload::size() {
  const Config& c = world_.config;
  if (random_.chance(c.anonymous)) return static_cast<std::uint32_t>(random_.below(4));
  if (random_.chance(c.big))
    return static_cast<std::uint32_t>(kFrameBytesMax + random_.below(200) - 100 + (random_.below(2) << 18));
  return static_cast<std::uint32_t>(random_.between(4, c.size_max));
}

void Workload::send(Client& client) {
  Handle* const handle = any_handle(client, Side::sender);
  if (handle == nullptr) return;
  std::size_t count = 1;
  if (random_.chance(world_.config.batches)) {
    const std::int64_t most = world_.config.capacity < 0 ? 8 : std::min<std::int64_t>(world_.config.capacity, 8);
    count =
        static_cast<std::size_t>(random_.between(1, std::max<std::int64_t>(most, 1) + (random_.chance(50) ? 2 : 0)));
  }
  std::vector<std::uint32_t> sizes;
  for (std::size_t i = 0; i < std::max<std::size_t>(1, count); ++i) sizes.push_back(size());
  client.send(*handle, sizes, patience());
}

void Workload::recv(Client& client) {
  Handle* const handle = any_handle(client, Side::receiver);
  if (handle == nullptr) return;
  const std::size_t most = random_.chance(world_.config.batches) ? 2 + random_.below(6) : 1;
  client.recv(*handle, most, random_.chance(world_.config.acknowledged), patience());
}

void Workload::select(Client& client) {
  Handle* const first = any_handle(client, Side::receiver);
  Handle* const second = any_handle(client, Side::receiver);
  if (first == nullptr || second == nullptr || first == second) return;
  client.select(*first, *second, patience());
}

void Workload::cancel(Client& client) {
  if (client.tasks().empty()) return;
  auto task = client.tasks().begin();
  std::advance(task, static_cast<std::ptrdiff_t>(random_.below(client.tasks().size())));
  client.cancel(*task->second);
}

void Workload::wait(Client& client) {
  Handle* const handle = any_handle(client, std::nullopt);
  if (handle == nullptr) return;
  switch (random_.below(3)) {
    case 0: return client.wait(Task::Kind::opened, *handle);
    case 1: return client.wait(Task::Kind::closed, *handle);
    default:
      if (handle->side == Side::sender) client.wait(Task::Kind::flush, *handle);
  }
}

void Workload::settle(Client& client) {
  const std::size_t held = random_.below(client.held().size());
  const bool requeue = random_.chance(400);
  client.settle(held, requeue, std::chrono::milliseconds(requeue ? random_.skewed(2000) : 0));
}

void Workload::clone(Client& client) {
  constexpr std::size_t kHandlesMax = 12;
  Handle* const handle = any_handle(client, std::nullopt);
  if (handle != nullptr && client.handles().size() < kHandlesMax) client.clone(*handle);
}

void Workload::close(Client& client) {
  Handle* const handle = any_handle(client, std::nullopt);
  if (handle == nullptr) return;
  client.close(*handle, random_.chance(200) ? std::optional<std::string>("it had enough") : std::nullopt);
}

// Mostly late: what comes after it is all the same.
void Workload::shut_down(Client& client) {
  Handle* const handle = any_handle(client, std::nullopt);
  if (handle == nullptr) return;
  static constexpr const char* kReasons[] = {"it is enough", "that will do"};
  const std::uint64_t reason = random_.below(3);
  client.shut_down(*handle, random_.chance(300),
                   reason < 2 ? std::optional<std::string>(kReasons[reason]) : std::nullopt);
}

void Workload::reserve(Client& client) {
  if (!client.permits().empty() && random_.chance(500)) {
    const std::size_t permit = random_.below(client.permits().size());
    return random_.chance(600) ? client.send_reserved(permit, size()) : client.release_reserved(permit);
  }
  Handle* const handle = any_handle(client, Side::sender);
  if (handle != nullptr) client.reserve(*handle, patience());
}

void Workload::hold(Client& client) {
  Handle* const handle = any_handle(client, std::nullopt);
  if (handle == nullptr || !handle->is_open) return;
  pickled_.push_back(Pickled{client.hold(*handle), handle->channel, handle->side});
}

// Also a second and a third time, also in the process that made it.
void Workload::claim(Client& client) {
  if (pickled_.empty()) return;
  Pickled& pickled = random_.pick(pickled_);
  if (++pickled.claims <= 3) client.open(pickled.channel, pickled.side, pickled.token);
}

// --- the second phase ---

void Workload::drain() {
  if (!std::exchange(is_draining_, true)) {
    claim_the_rest();
    open_what_is_missing();
  }
  for (std::size_t i = 0; i < world_.clients.size(); ++i) {
    if (world_.clients[i]->is_alive()) drain(*world_.clients[i]);
  }
  if (world_.config.persistent != 0) delete_what_is_empty();
  if (!is_drained()) world_.scheduler.in(100 * kMillisecond, [this] { drain(); });
}

// A persistent channel has no end of its own.
void Workload::delete_what_is_empty() {
  for (auto& channel : world_.channels) {
    if (channel->is_gone() || !channel->newest().is_alive()) continue;
    const bool has_senders = std::ranges::any_of(world_.clients, [&](const auto& client) {
      return client->is_alive() && std::ranges::any_of(client->handles(), [&](const auto& handle) {
               return handle->is_open && handle->side == Side::sender && handle->channel == channel->index();
             });
    });
    const channels::ChannelStats stats = channel->newest().broker().stats(channel->newest().now());
    if (has_senders || stats.queue_size > 0 || stats.in_flight > 0) continue;
    if (!world_.oracle.channel(channel->index()).is_deleted) world_.oracle.check_all_received(channel->index());
    channel->newest().remove();
  }
}

// Half of the pickled handles arrive after all; the others lapse.
void Workload::claim_the_rest() {
  for (Pickled& pickled : pickled_) {
    Client* const client = any_client();
    if (client != nullptr && pickled.claims == 0 && random_.chance(500)) {
      client->open(pickled.channel, pickled.side, pickled.token);
    }
  }
}

// A side on which nobody ever was waits for ever; one whose handles are all dead is closed by and by.
void Workload::open_what_is_missing() {
  for (auto& channel : world_.channels) {
    for (const Side side : {Side::receiver, Side::sender}) {
      const bool has_any = std::ranges::any_of(world_.clients, [&](const auto& client) {
        return client->is_alive() && std::ranges::any_of(client->handles(), [&](const auto& handle) {
                 return handle->is_open && !handle->passes_by && handle->side == side &&
                        handle->channel == channel->index();
               });
      });
      if (has_any) continue;
      Client* client = any_client();
      if (client == nullptr) client = &world_.spawn();
      client->open(channel->index(), side);
    }
  }
}

void Workload::drain(Client& client) {
  while (!client.held().empty() && client.is_alive()) client.settle(0, false, {});
  while (!client.permits().empty() && client.is_alive()) client.send_reserved(0, size());
  for (std::size_t i = 0; i < client.handles().size() && client.is_alive(); ++i) {
    Handle& handle = *client.handles()[i];
    if (!handle.is_open) continue;
    handle.side == Side::sender ? drain_sender(client, handle) : drain_receiver(client, handle);
  }
}

void Workload::drain_sender(Client& client, Handle& handle) {
  for (const auto& [number, task] : client.tasks()) {
    if (task->handles[0] == &handle &&
        (task->kind == Task::Kind::send || task->kind == Task::Kind::flush || task->kind == Task::Kind::reserve))
      return;
  }
  const bool is_gone = world_.channels[handle.channel]->is_gone();
  if (handle.is_flushed || is_gone) return client.close(handle, std::nullopt);
  client.wait(Task::Kind::flush, handle);
}

void Workload::drain_receiver(Client& client, Handle& handle) {
  // After an end, something may have come back: a receive that was woken before it was cancelled.
  const Link& link = client.port(handle.channel).link();
  if (handle.has_ended && link.is_closed(Side::receiver, handle.registration))
    return client.close(handle, std::nullopt);
  for (const auto& [number, task] : client.tasks()) {
    if (std::ranges::find(task->handles, &handle) != task->handles.end() && task->kind <= Task::Kind::select) return;
  }
  const bool acknowledges = random_.chance(world_.config.acknowledged);
  client.recv(handle, random_.chance(world_.config.batches) ? 4 : 1, acknowledges, Client::Patience::endless);
}

bool Workload::is_drained() const {
  return std::ranges::all_of(world_.clients, [](const auto& client) {
    return !client->is_alive() || (client->tasks().empty() && client->held().empty() && client->permits().empty() &&
                                   !client->is_decoding() && std::ranges::none_of(client->handles(), &Handle::is_open));
  });
}

std::string Workload::unfinished() const {
  std::string text;
  for (const auto& client : world_.clients) {
    if (!client->is_alive()) continue;
    for (const auto& [number, task] : client->tasks()) text += "\n  " + client->describe(*task);
    for (const auto& handle : client->handles()) {
      if (handle->is_open) {
        text += "\n  client " + std::to_string(client->index()) + " handle " + std::to_string(handle->id) +
                " of channel " + std::to_string(handle->channel) +
                (handle->side == Side::sender ? " (sender)" : " (receiver)") + " is open";
      }
    }
  }
  return text;
}

}  // namespace klaw::dataplane::simulation
