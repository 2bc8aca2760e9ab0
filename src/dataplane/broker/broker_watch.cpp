// A watch: the latest value, and its version.
//
// What it has in common with the other kinds: clients, sessions, counts; with a broadcast, that the receivers' side opens again.
// Its own:
//   - Nothing is queued. An offer replaces the value at once, and is answered CHANGED, or `refused` if nobody is there to see it.
//   - Each client is told the value (LATEST), for all its handles: when it opens one, before it is told that the senders are gone,
//     when it asks, and whenever there is a newer one. But of these one at a time is on its way: while it is not acknowledged,
//     changes collapse. Who has sent a value is not told it again.
//   - What a receiver has seen its client knows; it reports the changes that its waits have found, for statistics.
//   - Nothing comes back, whoever dies. After a restart the value is the initial one again, or a checkpoint's; the epoch in the
//     versions makes it a change for everybody. (Which of the values that clients still have is the latest, a restarted broker
//     could not tell before the last of them has come back, and some never do.)
#include <algorithm>
#include <cstdint>
#include <utility>

#include <dataplane/broker/broker.hpp>
#include <dataplane/wire/check.hpp>

namespace klaw::dataplane {

void Broker::replace(broker_state::Offer&& offer) {
  Sender& sender = *offer.sender;
  if (side(Side::receiver).is_closed) return answer(sender, offer.seq, Answer::Outcome::refused);
  value_ = offer.message.bytes();
  ++version_;
  ++total_sent_;
  traffic_.sent_bytes += value_.size();
  sender.stored = offer.seq;
  sender.client->latest = version_;
  push(*sender.client,
       make_frame(Changed{
           .session = sender.id, .seq = offer.seq, .version = version_, .receivers = side(Side::receiver).count}));
  is_news_ = true;
}

void Broker::tell_latest(Client& client) {
  if (client.latest == version_) return;
  push(client, make_frame(Latest{.version = version_, .message = value_}));
  client.latest = version_;
  client.latest_at = client.stream.sent();
}

void Broker::tell_news() {
  if (!std::exchange(is_news_, false)) return;
  for (const auto& [id, client] : clients_) {
    const bool has_handles = !client->senders.empty() || !client->receivers.empty();
    if (has_handles && client->stream.has_acknowledged(client->latest_at)) tell_latest(*client);
  }
}

// It has acknowledged something.
void Broker::may_be_behind(const Client& client) { is_news_ |= is_watch() && client.latest != version_; }

void Broker::note_changes(Receiver& receiver, std::size_t count) {
  receiver.total_received += count;
  total_received_ += count;
  traffic_.received_bytes += count * value_.size();
}

bool Broker::restore_value(const Checkpoint& checkpoint) {
  if (checkpoint.messages.size() > 1) return false;
  if (!checkpoint.messages.empty()) value_ = checkpoint.messages.front().message;
  return true;
}

std::size_t Broker::count_waiting() const {
  std::size_t waiting = 0;
  for (const auto& [id, client] : clients_) {
    for (const auto& [session, receiver] : client->receivers) waiting += receiver->waiting > 0 ? 1 : 0;
  }
  return waiting;
}

void Broker::check_watch() const {
  check(offers_.empty() && ready_.empty() && lane_.empty() && delayed_.empty() && outstanding_ == 0,
        "V1 a watch queues nothing");
  for (const auto& [id, client] : clients_) {
    check(client->latest <= version_, "V2 nobody was told what is yet to come");
    check(client->latest != 0 || (client->senders.empty() && client->receivers.empty()),
          "V3 who has a handle was told the value");
    const bool may_wait = is_news_ || !client->stream.has_acknowledged(client->latest_at);
    const bool has_handles = !client->senders.empty() || !client->receivers.empty();
    check(client->latest == version_ || !has_handles || may_wait, "V4 who is behind will be told");
  }
}

}  // namespace klaw::dataplane
