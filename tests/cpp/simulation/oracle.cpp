#include "simulation/oracle.hpp"

#include <algorithm>
#include <cstring>

#include "simulation/broadcast.hpp"
#include "simulation/watched.hpp"
#include "simulation/witness.hpp"

namespace klaw::dataplane::simulation {
namespace {

constexpr std::size_t kIdentityBytes = sizeof(MessageId);
// Clocks go differently, and a lease is a matter of time: this much overlap is not a violation of the fencing.
constexpr Micros kFencingSlack = 20 * kMillisecond;

Bytes payload_of(MessageId id, std::size_t size) {
  if (size < kIdentityBytes) return Bytes(std::string(size, 'a'));
  return Bytes::filled(size, [&](std::byte* out) {
    std::memcpy(out, &id, kIdentityBytes);
    std::uint64_t state = mix(id + 1) + size;
    for (std::size_t i = kIdentityBytes; i < size; i += sizeof state) {
      state = state * 0x9e3779b97f4a7c15 + 1;
      std::memcpy(out + i, &state, std::min(sizeof state, size - i));
    }
  });
}

}  // namespace

Oracle::Oracle(const Config& config, Scheduler& scheduler)
    : config_(config),
      scheduler_(scheduler),
      channels_(static_cast<std::size_t>(config.channels)),
      witnesses_(channels_.size()) {
  records_.reserve(256);
}

std::vector<Message> Oracle::compose(HandleId sender, std::uint8_t channel, const std::vector<std::uint32_t>& sizes,
                                     std::vector<MessageId>& ids) {
  std::vector<Message> messages;
  messages.reserve(sizes.size());
  const auto first = static_cast<MessageId>(records_.size());
  for (const std::uint32_t size : sizes) {
    const auto id = static_cast<MessageId>(records_.size());
    records_.push_back(MessageRecord{.sender = sender,
                                     .index = ++last_index_[sender],
                                     .size = size,
                                     .channel = channel,
                                     .composed_at = scheduler_.now(),
                                     .batch_first = first,
                                     .batch_count = static_cast<std::uint32_t>(sizes.size())});
    if (size < kIdentityBytes) ++channels_[channel].anonymous_sent;
    ids.push_back(id);
    messages.push_back(Message{.payload = payload_of(id, size)});
  }
  return messages;
}

MessageId Oracle::identify(const Bytes& bytes) const {
  if (bytes.size() < kIdentityBytes) return kAnonymous;
  MessageId id;
  std::memcpy(&id, bytes.data(), kIdentityBytes);
  if (id == kHostile) return id;
  if (id >= records_.size()) fail("S6", "a message that nobody has sent");
  if (records_[id].size != bytes.size() || bytes != payload_of(id, bytes.size())) {
    fail("S6", "damaged bytes of " + describe(id));
  }
  return id;
}

Bytes Oracle::hostile_message(Random& random) {
  std::string text(kIdentityBytes + random.below(40), 'h');
  std::memcpy(text.data(), &kHostile, kIdentityBytes);
  return Bytes(text);
}

void Oracle::send_done(const std::vector<MessageId>& ids) {
  for (const MessageId id : ids) {
    MessageRecord& record = records_[id];
    if (record.fate != MessageRecord::Fate::pending) fail("S12", "a second outcome of the send of " + describe(id));
    const ChannelRecord& its_channel = channels_[record.channel];
    if (record.home_epoch != 0 && record.home_epoch == its_channel.shut_down_epoch &&
        record.composed_at > its_channel.shut_down_at) {
      fail("S15", "sent after the channel was shut down: " + describe(id));
    }
    record.fate = MessageRecord::Fate::stored;
    if (record.size > static_cast<std::uint64_t>(config_.message_max))
      fail("S14", "too large, and sent: " + describe(id));
    if (!record.was_offered && record.size >= kIdentityBytes) fail("S4", "done, but never offered: " + describe(id));
    if (config_.reopens()) continue;
    ChannelRecord& channel = channels_[record.channel];
    if (config_.channel_kind() == ChannelKind::oneshot) {
      const bool is_first = channel.sent_in.insert(record.home_epoch).second;
      if (!channel.sent_by.insert(record.sender).second || !is_first)
        fail("O1", "a second value is sent: " + describe(id));
    }
    if (!record.handouts.empty() || record.is_stolen || record.has_left_slot || record.size < kIdentityBytes) continue;
    if (record.home_epoch != channel.epoch || channel.dropping_epoch == channel.epoch) continue;
    record.is_waiting = true;
    ++channel.stored_waiting;
    const bool is_exact = !channel.was_restored && config_.hostile == 0 && !record.reached_a_dead_one;
    if (is_exact && config_.capacity >= 0 && channel.stored_waiting > static_cast<std::uint64_t>(config_.capacity)) {
      fail("S1", std::to_string(channel.stored_waiting) +
                     " messages are sent and not received, more than the capacity; the last is " + describe(id));
    }
  }
}

void Oracle::left_slot(const Bytes& bytes) {
  const MessageId id = identify(bytes);
  if (id == kAnonymous || id == kHostile) return;
  MessageRecord& record = records_[id];
  record.has_left_slot = true;
  if (std::exchange(record.is_waiting, false)) --channels_[record.channel].stored_waiting;
}

Broadcast& Oracle::broadcast(std::uint8_t channel, std::uint64_t epoch) const {
  const auto its = std::ranges::find(witnesses_[channel], epoch, [](const Witness* w) { return w->epoch(); });
  if (its == witnesses_[channel].end()) fail("S6", "something came of epoch " + std::to_string(epoch));
  return *(*its)->broadcast();
}

void Oracle::broadcast_to(const std::vector<MessageId>& ids, std::uint64_t receivers) {
  for (const MessageId id : ids) {
    const MessageRecord& record = records_[id];
    broadcast(record.channel, record.home_epoch).send_done(id, receivers);
  }
}

Watched& Oracle::watched(std::uint8_t channel, std::uint64_t epoch) const {
  const auto its = std::ranges::find(witnesses_[channel], epoch, [](const Witness* w) { return w->epoch(); });
  if (its == witnesses_[channel].end()) fail("S6", "something came of epoch " + std::to_string(epoch));
  return *(*its)->watched();
}

void Oracle::changed_for(const std::vector<MessageId>& ids, std::uint64_t receivers) {
  // Who sent it may go on much later, when another broker is there: one of them has said so.
  const MessageId id = ids.front();
  const auto& witnesses = witnesses_[records_[id].channel];
  if (std::ranges::none_of(witnesses, [&](Witness* w) { return w->watched()->send_done(id, receivers); })) {
    fail("V6", "a send is done otherwise than a broker has said: " + describe(id));
  }
}

void Oracle::send_voided(const std::vector<MessageId>& ids, const char* how) {
  for (const MessageId id : ids) {
    MessageRecord& record = records_[id];
    if (record.fate != MessageRecord::Fate::pending) fail("S12", "a second outcome of the send of " + describe(id));
    record.fate = MessageRecord::Fate::voided;
    const bool may_have = config_.capacity == 0 && record.may_be_void_and_read();
    if (!record.handouts.empty() && !may_have)
      fail("S11", std::string("received, though its send was told ") + how + ": " + describe(id));
  }
}

void Oracle::send_unknown(const std::vector<MessageId>& ids) {
  for (const MessageId id : ids) {
    if (records_[id].fate != MessageRecord::Fate::pending)
      fail("S12", "a second outcome of the send of " + describe(id));
    records_[id].fate = MessageRecord::Fate::unknown;
  }
}

void Oracle::filled(MessageId id) { records_[id].fate = MessageRecord::Fate::unknown; }

void Oracle::fill_stored(MessageId id, std::uint64_t epoch) {
  MessageRecord& record = records_[id];
  record.was_offered = true;
  record.home_epoch = std::max(record.home_epoch, epoch);
  if (record.fate == MessageRecord::Fate::unknown) record.fate = MessageRecord::Fate::stored;
}

MessageId Oracle::handed_out(HandleId receiver, std::uint8_t channel, const Message& message, bool acknowledges) {
  const MessageId id = identify(message.payload);
  ChannelRecord& its_channel = channels_[channel];
  if (id == kAnonymous) {
    if (message.redeliveries == 0 && ++its_channel.anonymous_received > its_channel.anonymous_sent) {
      fail("S5", "more anonymous messages received than sent");
    }
    return id;
  }
  if (id == kHostile) return id;
  MessageRecord& record = records_[id];
  if (record.channel != channel) fail("S6", "from another channel: " + describe(id));
  if (record.fate == MessageRecord::Fate::voided && !(config_.capacity == 0 && record.may_be_void_and_read())) {
    fail("S11", "received, though its send was told that nothing has happened: " + describe(id));
  }
  const auto is_earlier = [&](const auto& handout) { return handout.second < message.attempt; };
  if (message.redeliveries == 0 && std::ranges::any_of(record.handouts, is_earlier)) {
    fail("S9", "handed out before, but not marked as redelivered: " + describe(id));
  }
  check_order(receiver, record, id, message);
  const std::uint64_t epoch = epoch_of(record, id, message.attempt);
  check_fencing(record, id, epoch, message);
  record.handouts.emplace_back(epoch, message.attempt);
  if (record.newest_handout == message.attempt) record.is_satisfied = !acknowledges;
  if (std::exchange(record.is_waiting, false)) --its_channel.stored_waiting;
  return id;
}

// What became of an earlier attempt does not matter: it was declared over when the next was made.
void Oracle::settled(MessageId id, Attempt attempt, bool requeue) {
  if (id < records_.size() && records_[id].newest_handout == attempt) records_[id].is_satisfied = !requeue;
}

void Oracle::queue_is(std::uint8_t index, bool is_empty) {
  ChannelRecord& channel = channels_[index];
  if (is_empty) {
    channel.filled_since.reset();
  } else if (!channel.filled_since) {
    channel.filled_since = scheduler_.now();
  }
}

void Oracle::received_nothing(std::uint8_t index, Micros since, std::uint64_t epoch) const {
  const ChannelRecord& channel = channels_[index];
  if (channel.epoch != epoch || channel.has_delays || !channel.filled_since || *channel.filled_since >= since) return;
  fail("S11", "a receive timed out, though messages were queued all the time");
}

// In which epoch this message was delivered under this attempt.
std::uint64_t Oracle::epoch_of(const MessageRecord& record, MessageId id, Attempt attempt) const {
  const auto& witnesses = witnesses_[record.channel];
  for (auto it = witnesses.rbegin(); it != witnesses.rend(); ++it) {
    if ((*it)->has_delivered(id, attempt)) return (*it)->epoch();
  }
  fail("S6", "attempt " + std::to_string(attempt) + " was never made of " + describe(id));
}

// S7: first deliveries of one sender come in order to one receiver, but for what was given back unread before.
void Oracle::check_order(HandleId receiver, const MessageRecord& record, MessageId id, const Message& message) {
  if (message.redeliveries > 0 || record.was_released || channels_[record.channel].was_restored) return;
  std::uint32_t& last = first_seen_up_to_[std::uint64_t{receiver} << 32 | record.sender];
  if (record.index <= last) {
    fail("S7",
         "receiver " + std::to_string(receiver) + " got it after number " + std::to_string(last) + ": " + describe(id));
  }
  last = record.index;
}

// S10: who was declared dead hands out nothing that others got meanwhile (but if the broker, too, has died since, it may have
// been the only one that had it: then it is marked); and nothing is handed out twice as one.
void Oracle::check_fencing(MessageRecord& record, MessageId id, std::uint64_t epoch, const Message& message) {
  const Attempt attempt = message.attempt;
  const bool is_marked = epoch < channels_[record.channel].epoch && message.redeliveries > 0;
  const bool may_overlap = is_marked || record.is_doubled;
  if (std::ranges::find(record.handouts, std::pair(epoch, attempt)) != record.handouts.end()) {
    fail("S5", "attempt " + std::to_string(attempt) + " handed out twice: " + describe(id));
  }
  if (record.newest_epoch == epoch && record.newest_handout > attempt && !may_overlap &&
      scheduler_.now() - record.newest_at > kFencingSlack) {
    fail("S10", "attempt " + std::to_string(attempt) + " handed out after the later attempt " +
                    std::to_string(record.newest_handout) + ": " + describe(id));
  }
  if (std::pair(epoch, attempt) > std::pair(record.newest_epoch, record.newest_handout)) {
    record.newest_epoch = epoch;
    record.newest_handout = attempt;
    record.newest_at = scheduler_.now();
  }
}

void Oracle::epoch_began(std::uint8_t index, std::uint64_t epoch, const Checkpoint* restored) {
  ChannelRecord& channel = channels_[index];
  channel.epoch = epoch;
  channel.filled_since.reset();
  if (restored != nullptr && restored->has_messages) {
    channel.was_restored = true;
    for (const Checkpoint::Message& message : restored->messages) {
      const MessageId id = identify(message.message);
      if (id < records_.size()) records_[id].home_epoch = epoch;
    }
  }
  for (MessageRecord& record : records_) {
    if (record.channel == index && record.home_epoch != epoch && std::exchange(record.is_waiting, false)) {
      --channel.stored_waiting;
    }
  }
}

void Oracle::receivers_gone(std::uint8_t channel, std::uint64_t epoch) {
  channels_[channel].dropping_epoch = std::max(channels_[channel].dropping_epoch, epoch);
}

void Oracle::shut_down(std::uint8_t index, std::uint64_t epoch) {
  ChannelRecord& channel = channels_[index];
  if (epoch <= channel.shut_down_epoch) return;
  channel.shut_down_epoch = epoch;
  channel.shut_down_at = scheduler_.now();
}

// S4, at the level that this version promises: what was stored by the broker that lives, or came with its checkpoint.
// (The receiver of a oneshot takes one value, and none of a later broker, which does not know that there was one.)
bool Oracle::is_owed(const MessageRecord& record) const {
  const ChannelRecord& channel = channels_[record.channel];
  const auto was_taken_before = [&](const MessageRecord& other) {
    return other.channel == record.channel && other.home_epoch < record.home_epoch && !other.handouts.empty();
  };
  if (config_.channel_kind() == ChannelKind::oneshot && std::ranges::any_of(records_, was_taken_before)) return false;
  return record.size >= kIdentityBytes && record.fate == MessageRecord::Fate::stored && !record.is_stolen &&
         !channel.is_deleted && !channel.is_gone && record.home_epoch == channel.epoch &&
         channel.dropping_epoch != channel.epoch;
}

void Oracle::check_all_received(std::uint8_t index) {
  for (MessageId id = 0; id < records_.size(); ++id) {
    const MessageRecord& record = records_[id];
    if (record.channel != index) continue;
    if (is_owed(record) && record.handouts.empty()) fail("S4", "lost: " + describe(id));
    if (is_owed(record) && !record.is_satisfied) fail("S4", "not settled, and not handed out again: " + describe(id));
    const MessageRecord& first = records_[record.batch_first];
    const bool is_torn = record.handouts.empty() != first.handouts.empty();
    const ChannelRecord& channel = channels_[record.channel];
    if (is_torn && channel.epoch == 1 && channel.dropping_epoch == 0 && !channel.is_deleted && !channel.is_gone &&
        !record.is_stolen && !first.is_stolen && record.size >= kIdentityBytes && first.size >= kIdentityBytes) {
      fail("S5", "torn batch: of " + describe(record.batch_first) + " and " + describe(id) + " only one was received");
    }
  }
}

bool Oracle::has_losses(HandleId sender, std::uint64_t epoch) const {
  return std::ranges::any_of(records_, [&](const MessageRecord& record) {
    return record.sender == sender && record.fate == MessageRecord::Fate::stored && record.handouts.empty() &&
           record.home_epoch < epoch && record.size >= kIdentityBytes;
  });
}

std::string Oracle::describe(MessageId id) const {
  const MessageRecord& record = records_[id];
  static constexpr const char* kFates[] = {"pending", "stored", "voided", "unknown"};
  return "message " + std::to_string(id) + " (number " + std::to_string(record.index) + " of handle " +
         std::to_string(record.sender) + ", channel " + std::to_string(record.channel) + ", " +
         std::to_string(record.size) + " bytes, " + kFates[static_cast<std::size_t>(record.fate)] + ", epoch " +
         std::to_string(record.home_epoch) + ", handed out " + std::to_string(record.handouts.size()) + " times)";
}

void Oracle::fail(const char* invariant, const std::string& what) const { throw Violation(invariant, what); }

}  // namespace klaw::dataplane::simulation
