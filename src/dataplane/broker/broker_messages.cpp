// Messages: the line of offers, the queue, deliveries and how they end.
#include <algorithm>
#include <cstdint>
#include <utility>

#include <dataplane/broker/broker.hpp>

namespace klaw::dataplane {

// --- sending ---

// Null: there is none.
const std::shared_ptr<broker_state::Sender>& Broker::find_sender(Client& client, SessionId session) {
  static constinit const std::shared_ptr<Sender> kNone;
  const auto found = client.senders.find(session);
  return found == client.senders.end() ? kNone : found->second;
}

Broker::Fault Broker::apply(Client& client, Offer&& frame) {
  const std::shared_ptr<Sender>& sender = find_sender(client, frame.session);
  if (sender == nullptr) return std::nullopt;
  if (sender->is_closing) return "OFFER after CLOSE";
  const std::size_t count = frame.count();
  const Seq last = frame.seq + (count - 1);
  if (last <= sender->received) {  // the checkpoint had it
    owe_stored(sender);
    return std::nullopt;
  }
  if (frame.seq != sender->received + 1) return "OFFER with a gap in its sequence numbers";
  if (count > std::max<std::uint64_t>(settings_.capacity, 1)) return "OFFER of more messages than the channel can hold";
  if (count > 1 && is_broadcast()) return "OFFER of several messages on a broadcast";
  std::uint64_t bytes = frame.message.size();
  if (bytes > settings_.message_bytes_max) return "a message is too large";
  for (const Bytes& message : frame.more) {
    if (message.size() > settings_.message_bytes_max) return "a message is too large";
    bytes += message.size();
  }
  // One offer may be as large as it likes: it could never be sent else.
  if (sender->offered > 0 && (sender->offered + count > settings_.offered_max ||
                              sender->offered_bytes + bytes > settings_.offered_bytes_max)) {
    return "OFFER beyond what may be unanswered";
  }
  sender->received = last;
  broker_state::Offer offer{.sender = sender, .seq = frame.seq, .message = hold(std::move(frame.message)), .more = {}};
  for (Bytes& message : frame.more) offer.more.push_back(hold(std::move(message)));
  if (is_oneshot()) {
    offer_once(std::move(offer));
    return std::nullopt;
  }
  if (is_watch()) {
    replace(std::move(offer));
    return std::nullopt;
  }
  if (is_broadcast()) {
    offer_to_all(std::move(offer), frame.nowait, bytes);
    match();
    return std::nullopt;
  }
  if (refuses(*sender, frame.seq)) return std::nullopt;

  const bool is_rendezvous = settings_.capacity == 0;
  if (!is_rendezvous && offers_.empty() && has_room(count)) {
    store(std::move(offer));
  } else if (!frame.nowait || (is_rendezvous && offers_.empty() && has_free_receiver())) {
    wait_in_line(std::move(offer), frame.nowait, bytes);
  } else {
    answer(*sender, frame.seq, Answer::Outcome::full);
  }
  match();
  return std::nullopt;
}

// Nothing that is offered now is ever stored; its sender hears so.
bool Broker::refuses(Sender& sender, Seq seq) {
  if (side(Side::receiver).is_closed) return true;  // it was told, or is being told
  if (!is_shut_down()) return false;
  answer(sender, seq, Answer::Outcome::refused);
  return true;
}

bool Broker::has_room(std::size_t count) const noexcept {
  if (settings_.capacity == kUnbounded) return true;
  const std::uint64_t taken = ready_.size() + unread_slots_ + reserved_ + window_.size();
  return taken <= settings_.capacity && count <= settings_.capacity - taken;
}

Broker::Held Broker::hold(Bytes message) {
  const bool tells_end = settings_.tells_end_of != nullptr && settings_.tells_end_of(message);
  return {std::move(message), tells_end ? &ended_messages_ : nullptr};
}

void Broker::store(broker_state::Offer&& offer) {
  const std::shared_ptr<Sender>& sender = offer.sender;
  Seq seq = offer.seq;
  store_message(std::move(offer.message), sender, seq++, false);
  for (Held& message : offer.more) store_message(std::move(message), sender, seq++, false);
  sender->stored = seq - 1;
  owe_stored(sender);
}

void Broker::store_message(Held&& message, const std::shared_ptr<Sender>& sender, Seq seq, bool by_permit) {
  traffic_.sent_bytes += message.bytes().size();
  ready_.push_back(Item{.message = std::move(message),
                        .sender = sender,
                        .seq = seq,
                        .order = next_order_++,
                        .stored_at = now_,
                        .by_permit = by_permit});
  ++total_sent_;
  high_watermark_ = std::max(high_watermark_, ready_.size() + unread_slots_);
}

void Broker::owe_stored(const std::shared_ptr<Sender>& sender) {
  if (sender->owes_stored) return;
  sender->owes_stored = true;
  owing_stored_.push_back(sender);
}

void Broker::wait_in_line(broker_state::Offer&& offer, bool nowait, std::uint64_t bytes) {
  const std::uint64_t order = next_order_++;
  const std::size_t count = offer.count();
  Sender& sender = *offer.sender;
  sender.undecided.push_back(
      {.seq = offer.seq, .order = order, .count = static_cast<std::uint32_t>(count), .bytes = bytes, .nowait = nowait});
  sender.offered += count;
  sender.offered_bytes += bytes;
  offers_.emplace_hint(offers_.end(), order, std::move(offer));
}

namespace {

auto find_undecided(broker_state::Sender& sender, Seq seq) {
  const auto it = std::ranges::lower_bound(sender.undecided, seq, {}, &broker_state::Sender::Undecided::seq);
  return it != sender.undecided.end() && it->seq == seq ? it : sender.undecided.end();
}

}  // namespace

// The offer at `seq` is stored, or void: it is undecided no more.
void Broker::decide(Sender& sender, Seq seq) {
  const auto offer = find_undecided(sender, seq);
  sender.offered -= offer->count;
  sender.offered_bytes -= offer->bytes;
  sender.undecided.erase(offer);
  finish_closing(sender);
}

void Broker::answer(Sender& sender, Seq seq, Answer::Outcome outcome) {
  push(*sender.client, make_frame(Answer{.session = sender.id, .seq = seq, .outcome = outcome}));
}

Broker::Fault Broker::apply(Client& client, Withdraw&& frame) {
  const std::shared_ptr<Sender> sender = find_sender(client, frame.session);
  if (sender == nullptr) return std::nullopt;
  const auto offer = find_undecided(*sender, frame.seq);
  if (offer == sender->undecided.end()) {
    return frame.seq <= sender->received ? Fault() : "WITHDRAW of what was never offered";
  }
  if (offer->is_out) {
    offer->is_withdrawn = true;  // its receiver decides
    return std::nullopt;
  }
  offers_.erase(offer->order);
  answer(*sender, frame.seq, Answer::Outcome::withdrawn);
  decide(*sender, frame.seq);
  match();  // a large batch at the head of the line may have held others up
  return std::nullopt;
}

// --- permits ---

// It takes its place in the line and in the window as an offer does.
Broker::Fault Broker::apply(Client& client, Reserve&& frame) {
  const std::shared_ptr<Sender>& sender = find_sender(client, frame.session);
  if (sender == nullptr) return std::nullopt;
  if (sender->is_closing) return "RESERVE after CLOSE";
  if (frame.seq != sender->received + 1) return "RESERVE with a gap in its sequence numbers";
  if (sender->offered + 1 > settings_.offered_max) return "RESERVE beyond what may be unanswered";
  if (sender->permits.size() >= kPermitsMax) return "RESERVE of more slots than a session may hold";
  sender->received = frame.seq;
  if (refuses(*sender, frame.seq)) return std::nullopt;
  if (offers_.empty() && (settings_.capacity == 0 ? has_free_receiver() : has_room(1))) {
    grant(*sender, frame.seq);
  } else if (frame.nowait) {
    answer(*sender, frame.seq, Answer::Outcome::full);
  } else {
    wait_in_line({.sender = sender, .seq = frame.seq, .message = {}, .more = {}, .reserves = true}, false, 0);
  }
  match();
  return std::nullopt;
}

// Capacity 0: a receive waits that no permit counts on.
bool Broker::has_free_receiver() const noexcept {
  if (reserved_ == 0) return !waiting_.empty();
  std::uint64_t waiting = 0;
  waiting_.for_each([&](const Receiver& receiver) { waiting += receiver.waiting; });
  return waiting > reserved_;
}

void Broker::grant(Sender& sender, Seq seq) {
  sender.permits.insert(seq);
  ++reserved_;
  answer(sender, seq, Answer::Outcome::reserved);
}

// The message stands where it is sent, not where its slot was reserved. On a rendezvous, if the receive that was counted on
// waits no more, it is kept for the next.
Broker::Fault Broker::apply(Client& client, Fill&& frame) {
  const std::shared_ptr<Sender> sender = find_sender(client, frame.session);
  if (sender == nullptr) return std::nullopt;
  if (frame.message.size() > settings_.message_bytes_max) return "a message is too large";
  if (sender->permits.erase(frame.seq) == 0) return "FILL of a slot that is not held";
  Held message = hold(std::move(frame.message));
  if (!drops_messages()) store_message(std::move(message), sender, frame.seq, true);
  answer(*sender, frame.seq, Answer::Outcome::filled);
  end_permit(*sender);
  return std::nullopt;
}

Broker::Fault Broker::apply(Client& client, Unreserve&& frame) {
  const std::shared_ptr<Sender> sender = find_sender(client, frame.session);
  if (sender == nullptr) return std::nullopt;
  if (sender->permits.erase(frame.seq) == 0) return "UNRESERVE of a slot that is not held";
  end_permit(*sender);
  return std::nullopt;
}

// Its slot is free, or its message has it.
void Broker::end_permit(Sender& sender) {
  --reserved_;
  finish_closing(sender);
  match();
}

void Broker::drop_permits(Sender& sender) {
  reserved_ -= sender.permits.size();
  sender.permits.clear();
}

// --- receiving ---

broker_state::Receiver* Broker::find_receiver(Client& client, SessionId session) {
  const auto found = client.receivers.find(session);
  return found == client.receivers.end() ? nullptr : found->second.get();
}

Broker::Fault Broker::apply(Client& client, Demand&& frame) {
  Receiver* const found = find_receiver(client, frame.session);
  if (found == nullptr) return std::nullopt;
  Receiver& receiver = *found;
  if (receiver.is_closed) return "DEMAND after CLOSE";
  if (frame.limit > receiver.delivered + kDemandMax) return "DEMAND of too much";
  if (is_watch()) {
    receiver.waiting = frame.waiting;
    return std::nullopt;
  }
  update_demand(receiver, std::max(frame.limit, receiver.limit), frame.waiting, frame.spare);
  return std::nullopt;
}

Broker::Fault Broker::apply(Client& client, DemandShrink&& frame) {
  Receiver* const found = find_receiver(client, frame.session);
  if (found == nullptr) return std::nullopt;
  Receiver& receiver = *found;
  if (receiver.is_closed) return "DEMAND_SHRINK after CLOSE";
  if (frame.limit > receiver.delivered + kDemandMax) return "DEMAND_SHRINK of too much";
  if (is_watch()) {
    receiver.waiting = frame.waiting;
    tell_latest(client);
  } else {
    update_demand(receiver, std::max(frame.limit, receiver.delivered), frame.waiting, frame.spare);
    send_deliveries(receiver);  // they come before the answer
  }
  push(client, make_frame(DemandIs{.session = receiver.id, .limit = receiver.limit}));
  return std::nullopt;
}

// `waiting` was right when it was sent; what has been delivered since serves some of those receives.
void Broker::update_demand(Receiver& receiver, std::uint64_t limit, std::uint32_t waiting, std::uint32_t spare) {
  receiver.limit = limit;
  receiver.has_none_to_spare = false;
  receiver.waiting = static_cast<std::uint32_t>(std::min<std::uint64_t>(waiting, limit - receiver.delivered));
  const bool keeps_its_place = receiver.line == Receiver::Line::waiting && receiver.waiting > 0;
  if (!keeps_its_place) {
    leave_line(receiver);
    join_line(receiver);
  }
  set_spare(receiver, spare);
  match();
}

void Broker::join_line(Receiver& receiver) {
  if (receiver.line != Receiver::Line::none || receiver.is_closed || !receiver.demands()) return;
  if (!receiver.client->connection || receiver.unsettled() >= kOutstandingMax) return;
  receiver.line = receiver.waiting > 0 ? Receiver::Line::waiting : Receiver::Line::prefetching;
  line_of(receiver).push_back(receiver);
}

void Broker::leave_line(Receiver& receiver) {
  if (receiver.line == Receiver::Line::none) return;
  line_of(receiver).remove(receiver);
  receiver.line = Receiver::Line::none;
}

Broker::Line<broker_state::Receiver>& Broker::line_of(const Receiver& receiver) noexcept {
  switch (receiver.line) {
    case Receiver::Line::waiting: return waiting_;
    case Receiver::Line::caught_up: return caught_up_;
    default: return prefetching_;
  }
}

void Broker::set_spare(Receiver& receiver, std::uint32_t spare) {
  receiver.spare = spare;
  if (spare > 0 && !receiver.is_recalled && !receiver.is_closed && receiver.client->connection) {
    spare_.emplace(receiver.serial, &receiver);
  } else {
    spare_.erase(receiver.serial);
  }
}

// Restores B2 and B3, and tells those of the end for whom nothing can come. Called after each change that could concern
// somebody who waits; mostly there is nothing to do.
void Broker::match() {
  if (is_removed_) return;
  if (is_watch()) return;
  if (is_broadcast()) return match_readers();
  store_offers();
  serve();
  if (!prefetching_.empty()) serve_prefetch();
  if (!waiting_.empty()) {
    if (!spare_.empty()) recall_spare();
    tell_end();
  }
}

void Broker::store_offers() {
  if (settings_.capacity == 0) return;
  while (!offers_.empty() && has_room(offers_.begin()->second.count())) {
    auto node = offers_.extract(offers_.begin());
    broker_state::Offer& offer = node.mapped();
    const std::shared_ptr<Sender> sender = offer.sender;
    const Seq seq = offer.seq;
    if (offer.reserves) {
      grant(*sender, seq);
    } else {
      store(std::move(offer));
    }
    decide(*sender, seq);
  }
}

// One message each, in turn: a session that wants many does not keep the others waiting.
void Broker::serve() {
  while (!waiting_.empty()) {
    std::optional<Item> item = next_item();
    if (!item) return;
    Receiver& receiver = waiting_.front();
    leave_line(receiver);
    deliver(receiver, *std::move(item));
    join_line(receiver);
  }
}

// Nobody waits: what is there may travel ahead, in fair shares.
void Broker::serve_prefetch() {
  if (settings_.capacity == 0) return;
  const std::size_t share =
      std::max<std::size_t>(1, ready_.size() / std::max<std::size_t>(1, side(Side::receiver).count));
  for (std::size_t left = prefetching_.size(); left > 0; --left) {
    Receiver& receiver = prefetching_.front();
    leave_line(receiver);
    const std::size_t unread_before = receiver.unread;
    while (receiver.demands() && receiver.unread < share && receiver.live < kOutstandingMax) {
      std::optional<Item> item = next_item();
      if (!item) break;
      deliver(receiver, *std::move(item));
    }
    if (receiver.unread > unread_before) receiver.has_none_to_spare = false;
    // Else a woken receive of its is about to take what is there: it reports if that comes to nothing.
    if (!receiver.has_none_to_spare) set_spare(receiver, static_cast<std::uint32_t>(receiver.unread));
    join_line(receiver);
  }
}

// What comes next: what was consumed before and came back, then the queue; on a rendezvous, the first offer.
std::optional<broker_state::Item> Broker::next_item() {
  for (auto* const queue : {&lane_, &ready_}) {
    if (queue->empty()) continue;
    std::optional<Item> item(std::move(queue->front()));
    queue->pop_front();
    return item;
  }
  if (settings_.capacity != 0) return std::nullopt;
  while (!offers_.empty() && offers_.begin()->second.reserves && has_free_receiver()) {
    const auto node = offers_.extract(offers_.begin());
    const broker_state::Offer& first = node.mapped();
    grant(*first.sender, first.seq);
    decide(*first.sender, first.seq);
  }
  if (offers_.empty() || !has_free_receiver()) return std::nullopt;
  auto node = offers_.extract(offers_.begin());
  broker_state::Offer& offer = node.mapped();
  find_undecided(*offer.sender, offer.seq)->is_out = true;
  return Item{.message = std::move(offer.message),
              .sender = std::move(offer.sender),
              .seq = offer.seq,
              .order = node.key(),
              .stored_at = now_,
              .redeliveries = offer.redeliveries};
}

void Broker::deliver(Receiver& receiver, Item&& item) {
  const Attempt attempt = next_attempt_++;
  Delivery delivery{.attempt = attempt, .redeliveries = item.redeliveries, .message = item.message.bytes()};
  if (item.redeliveries > 0) ++redelivered_;
  if (item.has_slot) ++unread_slots_;
  ++outstanding_;
  ++receiver.live;
  ++receiver.unread;
  receiver.outstanding.push_back({.attempt = attempt, .state = Outstanding::State::unread, .item = std::move(item)});
  add_delivery(receiver, std::move(delivery));
}

// It travels with the others of this batch of events.
void Broker::add_delivery(Receiver& receiver, Delivery&& delivery) {
  ++receiver.delivered;
  if (receiver.waiting > 0) --receiver.waiting;
  receiver.deliver_bytes += delivery.message.size();
  if (!receiver.deliver) {
    receiver.deliver.emplace(Deliver{.session = receiver.id, .delivery = std::move(delivery)});
    delivering_.push_back(&receiver);
  } else {
    receiver.deliver->more.push_back(std::move(delivery));
  }
  if (receiver.deliver_bytes >= kDeliverBytesMax || receiver.deliver->count() >= kBatchMessagesMax) {
    send_deliveries(receiver);
  }
}

void Broker::send_deliveries(Receiver& receiver) {
  receiver.deliver_bytes = 0;
  if (receiver.deliver) push(*receiver.client, make_frame(*std::exchange(receiver.deliver, std::nullopt)));
}

// Receives wait, and others have messages that none of theirs waits for.
void Broker::recall_spare() {
  std::size_t wanted = waiting_.size();
  for (auto it = spare_.begin(); it != spare_.end() && wanted > 0;) {
    Receiver& receiver = *it->second;
    if (receiver.line == Receiver::Line::waiting) {  // it has them for its own receives, once its lease is confirmed
      ++it;
      continue;
    }
    const auto count = static_cast<std::uint32_t>(std::min<std::size_t>(wanted, receiver.spare));
    wanted -= count;
    receiver.is_recalled = true;
    it = spare_.erase(it);
    send_deliveries(receiver);
    push(*receiver.client, make_frame(Recall{.session = receiver.id, .count = count}));
  }
}

// None: something may still be stored.
std::optional<broker_state::Ending> Broker::ending() const {
  const SideState& senders = side(Side::sender);
  if (is_shut_down()) return broker_state::Ending{.kind = CloseKind::shutdown, .reason = shutdown_reason_};
  if (is_oneshot() && was_sent()) return ending_once_sent();
  if (senders.is_closed) return broker_state::Ending{.kind = senders.kind, .reason = senders.reason};
  return std::nullopt;
}

// A receiver's own attempts do not hold its end back; those of others do, since they may come back.
void Broker::tell_end() {
  const std::optional<broker_state::Ending> ending = this->ending();
  if (!ending) return;
  if (reserved_ > 0 && !drops_messages()) return;
  if (!ready_.empty() || !lane_.empty() || !delayed_.empty() || !offers_.empty()) return;
  std::size_t left = waiting_.size();
  for (; left > 0; --left) {
    Receiver& receiver = waiting_.front();
    leave_line(receiver);
    if (receiver.live != outstanding_ && !drops_messages()) {
      join_line(receiver);
      continue;
    }
    send_end(receiver, *ending);
  }
}

void Broker::send_end(Receiver& receiver, const broker_state::Ending& ending) {
  receiver.limit = receiver.delivered;
  receiver.waiting = 0;
  send_deliveries(receiver);
  push(*receiver.client, make_frame(End{.session = receiver.id,
                                        .received = receiver.client->stream.received(),
                                        .kind = ending.kind,
                                        .reason = ending.reason}));
}

// --- how a delivery ends ---

Broker::Fault Broker::apply(Client& client, Consumed&& frame) {
  Receiver* const found = find_receiver(client, frame.session);
  if (found == nullptr) return std::nullopt;
  Receiver& receiver = *found;
  if (is_watch()) {
    note_changes(receiver, frame.attempts.size());
    return std::nullopt;
  }
  if (is_broadcast()) {
    take(receiver, frame.attempts);
    return std::nullopt;
  }
  for (const Attempt attempt : frame.attempts) {
    Outstanding* const out = find(receiver, attempt);
    if (out == nullptr || out->state != Outstanding::State::unread) continue;  // stale
    consume(receiver, *out);
    if (frame.settled) take_back(receiver, *out);
  }
  set_spare(receiver, std::min(receiver.spare, static_cast<std::uint32_t>(receiver.unread)));
  after_attempts_ended(receiver);
  return std::nullopt;
}

// It was returned to the application: it gives its slot away.
void Broker::consume(Receiver& receiver, Outstanding& out) {
  --receiver.unread;
  out.state = Outstanding::State::unsettled;
  Item& item = out.item;
  if (!item.has_slot) return;
  item.has_slot = false;
  --unread_slots_;
  ++receiver.total_received;
  ++total_received_;
  traffic_.received_bytes += item.message.bytes().size();
  if (settings_.capacity != 0 || item.by_permit) return;
  ++total_sent_;
  traffic_.sent_bytes += item.message.bytes().size();
  if (Sender& sender = *item.sender;
      sender.client != nullptr && find_undecided(sender, item.seq) != sender.undecided.end()) {
    answer(sender, item.seq, Answer::Outcome::taken);
    decide(sender, item.seq);
  }
}

Broker::Fault Broker::apply(Client& client, Settle&& frame) {
  Receiver* const found = find_receiver(client, frame.session);
  if (found == nullptr) return std::nullopt;
  Receiver& receiver = *found;
  for (const Attempt attempt : frame.attempts) {
    Outstanding* const out = find(receiver, attempt);
    if (out == nullptr || out->state != Outstanding::State::unsettled) continue;  // stale
    Item item = take_back(receiver, *out);
    if (frame.requeue) requeue(std::move(item), std::chrono::milliseconds(frame.delay_ms));
  }
  after_attempts_ended(receiver);
  return std::nullopt;
}

Broker::Fault Broker::apply(Client& client, Release&& frame) {
  Receiver* const found = find_receiver(client, frame.session);
  if (found == nullptr) return std::nullopt;
  Receiver& receiver = *found;
  if (receiver.is_closed) return "RELEASE after CLOSE";
  std::uint32_t released = 0;
  for (const Attempt attempt : frame.attempts) {
    Outstanding* const out = find(receiver, attempt);
    if (out == nullptr || out->state != Outstanding::State::unread) continue;  // stale
    put_back(take_back(receiver, *out));
    ++released;
  }
  if (frame.answer) receiver.is_recalled = false;
  // If there was nothing to release, there is nothing to recall until we hear otherwise.
  receiver.has_none_to_spare = frame.answer && released == 0;
  const std::uint32_t spare = receiver.spare - std::min(receiver.spare, released);
  set_spare(receiver, receiver.has_none_to_spare ? 0 : spare);
  after_attempts_ended(receiver);
  return std::nullopt;
}

broker_state::Outstanding* Broker::find(Receiver& receiver, Attempt attempt) {
  const auto it = std::ranges::lower_bound(receiver.outstanding, attempt, {}, &Outstanding::attempt);
  return it != receiver.outstanding.end() && it->attempt == attempt ? &*it : nullptr;
}

// Ends the attempt; its message is the caller's.
broker_state::Item Broker::take_back(Receiver& receiver, Outstanding& out) {
  if (out.state == Outstanding::State::unread) {
    --receiver.unread;
    if (out.item.has_slot) --unread_slots_;
  }
  Item item = std::move(out.item);
  out.state = Outstanding::State::gone;
  --receiver.live;
  --outstanding_;
  return item;
}

// Room, or messages, may have become free; and a closed session may have nothing left to settle.
void Broker::after_attempts_ended(Receiver& receiver) {
  auto& outstanding = receiver.outstanding;
  const auto is_gone = [](const Outstanding& out) { return out.state == Outstanding::State::gone; };
  while (!outstanding.empty() && is_gone(outstanding.front())) outstanding.pop_front();
  // Attempts end in any order. What is gone in the middle is swept out once it is most of the queue.
  if (outstanding.size() > 2 * receiver.live + 16) std::erase_if(outstanding, is_gone);
  if (receiver.is_closed && receiver.live == 0) {
    erase_receiver(receiver);
  } else {
    join_line(receiver);
  }
  match();
}

// In its old place: what was never handed out is not marked, and comes before what is newer.
void Broker::put_back(Item&& item) {
  if (settings_.capacity == 0 && item.has_slot && !item.by_permit) return put_back_offer(std::move(item));
  if (drops_messages()) {
    log(side(Side::receiver).is_closed ? "a message that came back is dropped: no receiver is left"
                                       : "a message that came back is dropped: the channel is shut down");
    return;
  }
  std::deque<Item>& queue = item.has_slot ? ready_ : lane_;
  const auto place = std::ranges::upper_bound(queue, item.order, {}, &Item::order);
  queue.insert(place, std::move(item));
}

// Capacity 0: it was never stored. Its sender waits on, or it is void.
void Broker::put_back_offer(Item&& item) {
  Sender& sender = *item.sender;
  const auto offer = find_undecided(sender, item.seq);
  if (sender.client == nullptr || offer == sender.undecided.end()) return;  // it died with its sender
  if (offer->is_withdrawn || offer->nowait || is_shut_down()) {
    const auto why = is_shut_down() ? Answer::Outcome::refused : Answer::Outcome::full;
    answer(sender, item.seq, offer->is_withdrawn ? Answer::Outcome::withdrawn : why);
    decide(sender, item.seq);
    return;
  }
  offer->is_out = false;
  const std::uint64_t order = item.order;
  offers_.emplace(order, broker_state::Offer{.sender = std::move(item.sender),
                                             .seq = item.seq,
                                             .redeliveries = item.redeliveries,
                                             .message = std::move(item.message),
                                             .more = {}});
}

void Broker::requeue(Item&& item, Duration delay) {
  ++item.redeliveries;
  if (delay > Duration::zero() && !drops_messages()) {
    delayed_.emplace(after(now_, delay), std::move(item));
  } else {
    put_back(std::move(item));
  }
}

}  // namespace klaw::dataplane
