#include "simulation/network.hpp"

#include <algorithm>
#include <utility>

namespace klaw::dataplane::simulation {

ConnectionId Network::connect(Endpoint& client, Endpoint& server, std::size_t client_index) {
  auto connection = std::make_unique<Connection>();
  connection->ends = {&client, &server};
  connection->client_index = client_index;
  connections_.push_back(std::move(connection));
  return connections_.size();
}

void Network::write(ConnectionId id, End from, std::string bytes) {
  ++writes_;
  trace_.add(bytes);
  const bool is_faulty = scheduler_.now() < heal_at_;
  if (is_faulty && random_.chance(config_.flips)) {
    char& byte = bytes[random_.below(bytes.size())];
    byte = static_cast<char>(byte ^ (1 << random_.below(8)));
    trace_.note(scheduler_.now(), "flip", id);
  }
  if (!is_faulty || !random_.chance(config_.short_io)) return enqueue(id, from, std::move(bytes), nullptr);
  std::string_view rest = bytes;
  for (std::int64_t pieces = 0; !rest.empty(); ++pieces) {
    constexpr std::int64_t kPiecesMax = 20;
    const std::size_t size =
        pieces == kPiecesMax ? rest.size() : 1 + random_.below(std::min<std::size_t>(rest.size(), 64));
    enqueue(id, from, std::string(rest.substr(0, size)), nullptr);
    rest.remove_prefix(size);
  }
}

void Network::close(ConnectionId id, End by) {
  at(id).from[index(other(by))].is_reading = false;
  enqueue(id, by, {}, "end of file");
  at(id).from[index(by)].is_broken = true;
}

void Network::vanish(ConnectionId id, End end) {
  at(id).from[index(other(end))].is_reading = false;
  at(id).from[index(end)].is_broken = true;
}

void Network::reset_one(bool half) {
  if (connections_.empty()) return;
  // Old connections are finished with: look at the last few.
  const std::size_t recent = std::min<std::size_t>(connections_.size(), 6);
  const ConnectionId id = connections_.size() - random_.below(recent);
  const std::size_t deaf = half ? random_.below(2) : 2;
  trace_.note(scheduler_.now(), half ? "half-open" : "reset", id);
  for (const End from : {End::client, End::server}) {
    Pipe& pipe = at(id).from[index(from)];
    if (pipe.is_broken) continue;
    truncate(pipe);
    if (index(other(from)) != deaf) enqueue(id, from, {}, "connection reset");
    pipe.is_broken = true;
  }
}

void Network::clog_some(Micros until) {
  for (auto& connection : connections_) {
    for (Pipe& pipe : connection->from) {
      if (random_.chance(500)) pipe.clogged_until = std::min(until, heal_at_);
    }
  }
}

void Network::partition(std::size_t client_index, End from, Micros until) {
  if (blocked_until_.size() <= client_index) blocked_until_.resize(client_index + 1);
  blocked_until_[client_index][index(from)] = std::min(until, heal_at_);
}

Micros Network::blocked_until(std::size_t client_index, End from) const {
  return client_index < blocked_until_.size() ? blocked_until_[client_index][index(from)] : 0;
}

Micros Network::latency() {
  return 1 + config_.latency_us + (scheduler_.now() < heal_at_ ? random_.skewed(config_.jitter_us) : 0);
}

void Network::enqueue(ConnectionId id, End from, std::string bytes, const char* ended) {
  Pipe& pipe = at(id).from[index(from)];
  if (pipe.is_broken || !pipe.is_reading) return;
  pipe.last_arrival = std::max(pipe.last_arrival, scheduler_.now() + latency());
  pipe.chunks.push_back(Chunk{pipe.last_arrival, std::move(bytes), ended});
  pump_at(id, from, pipe.last_arrival);
}

void Network::pump_at(ConnectionId id, End from, Micros when) {
  Pipe& pipe = at(id).from[index(from)];
  if (std::exchange(pipe.is_pumping, true)) return;
  scheduler_.at(when, [this, id, from] { pump(id, from); });
}

void Network::pump(ConnectionId id, End from) {
  Connection& connection = at(id);
  Pipe& pipe = connection.from[index(from)];
  pipe.is_pumping = false;
  if (!pipe.is_reading) pipe.chunks.clear();
  if (pipe.chunks.empty()) return;
  Endpoint& reader = *connection.ends[index(other(from))];
  const Micros ready = std::max({pipe.chunks.front().arrives, pipe.clogged_until, reader.stopped_until(),
                                 blocked_until(connection.client_index, from)});
  if (ready > scheduler_.now()) return pump_at(id, from, ready);
  const Chunk chunk = std::move(pipe.chunks.front());
  pipe.chunks.pop_front();
  if (!pipe.chunks.empty()) pump_at(id, from, pipe.chunks.front().arrives);
  if (chunk.ended == nullptr) return reader.bytes_arrived(id, chunk.bytes);
  pipe.is_reading = false;
  reader.connection_ended(id, chunk.ended);
}

// What is on its way is lost from a random byte on.
void Network::truncate(Pipe& pipe) {
  std::size_t in_flight = 0;
  for (const Chunk& chunk : pipe.chunks) in_flight += chunk.bytes.size();
  std::size_t kept = random_.below(in_flight + 1);
  for (Chunk& chunk : pipe.chunks) {
    if (chunk.bytes.size() > kept) chunk.bytes.resize(kept);
    kept -= chunk.bytes.size();
  }
}

}  // namespace klaw::dataplane::simulation
