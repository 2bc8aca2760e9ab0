// What a broker can tell of itself: statistics, checkpoints, and whether its invariants hold.
#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include <dataplane/broker/broker.hpp>
#include <dataplane/wire/check.hpp>

namespace klaw::dataplane {

channels::ChannelStats Broker::stats(Time now) const {
  channels::ChannelStats s;
  s.sender_count = side(Side::sender).count;
  s.receiver_count = side(Side::receiver).count;
  s.queue_size = ready_.size() + lane_.size() + delayed_.size() + window_.size();
  if (settings_.capacity != kUnbounded) s.capacity = settings_.capacity;
  s.senders_closed = side(Side::sender).is_closed || is_shut_down();
  s.receivers_closed = side(Side::receiver).is_closed;
  s.created_at = created_at_;
  s.high_watermark = high_watermark_;
  s.total_sent = total_sent_;
  s.total_received = total_received_;
  s.waiting_senders = offers_.size();
  s.waiting_receivers = waiting_.size() + caught_up_.size();
  s.in_flight = outstanding_ + count_unread();
  s.redelivered = redelivered_;
  for (const auto* const queue : {&ready_, &lane_}) {
    if (queue->empty()) continue;
    s.oldest_age = std::max(s.oldest_age, std::chrono::duration<double>(now - queue->front().stored_at).count());
  }
  if (is_watch()) {
    s.queue_size = s.high_watermark = 1;
    s.waiting_receivers = count_waiting();
  }
  if (window_.size() > 0) {
    s.oldest_age = std::chrono::duration<double>(now - window_.items().front().stored_at).count();
  }
  return s;
}

std::size_t Broker::unclaimed(Side which) const noexcept {
  return static_cast<std::size_t>(
      std::ranges::count_if(holds_, [which](const auto& entry) { return entry.second.side == which; }));
}

std::vector<ReaderStats> Broker::reader_stats() const {
  std::vector<ReaderStats> readers;
  for (const auto& [id, client] : clients_) {
    for (const auto& [session, receiver] : client->receivers) {
      if (receiver->is_closed || !receiver->counts) continue;
      readers.push_back({.name = receiver->name,
                         .node = receiver->node,
                         .registered_at = receiver->registered_at,
                         .last_seen_at = client->heard_at,
                         .total_received = receiver->total_received});
    }
  }
  return readers;
}

std::vector<MessageView> Broker::messages() const {
  std::vector<MessageView> views;
  views.reserve(lane_.size() + ready_.size() + delayed_.size() + outstanding_);
  const auto add = [&](const Item& item, MessageView::Place place, Attempt attempt, const Receiver* receiver) {
    views.push_back({.client = item.sender->client_id,
                     .session = item.sender->id,
                     .seq = item.seq,
                     .place = place,
                     .order = item.order,
                     .redeliveries = item.redeliveries,
                     .attempt = attempt,
                     .receiver = receiver == nullptr ? std::nullopt : std::optional(receiver->client->id),
                     .receiver_session = receiver == nullptr ? 0 : receiver->id,
                     .has_slot = item.has_slot,
                     .by_permit = item.by_permit,
                     .message = &item.message.bytes()});
  };
  for (broker_state::Position position = window_.base(); position < window_.tail(); ++position) {
    const broker_state::Window::Kept& kept = window_.at(position);
    views.push_back({.client = kept.client,
                     .session = kept.session,
                     .seq = kept.seq,
                     .place = MessageView::Place::ready,
                     .order = position,
                     .redeliveries = 0,
                     .has_slot = true,
                     .message = &kept.message.bytes()});
  }
  for (const Item& item : lane_) add(item, MessageView::Place::lane, 0, nullptr);
  for (const Item& item : ready_) add(item, MessageView::Place::ready, 0, nullptr);
  for (const auto& [time, item] : delayed_) add(item, MessageView::Place::delayed, 0, nullptr);
  for (const auto& [id, client] : clients_) {
    for (const auto& [session, receiver] : client->receivers) {
      for (const Outstanding& out : receiver->outstanding) {
        if (out.state == Outstanding::State::gone) continue;
        const bool is_unread = out.state == Outstanding::State::unread;
        add(out.item, is_unread ? MessageView::Place::unread : MessageView::Place::unsettled, out.attempt,
            receiver.get());
      }
    }
  }
  for (const auto& [order, offer] : offers_) {
    if (offer.reserves) continue;
    for (std::size_t i = 0; i < offer.count(); ++i) {
      views.push_back({.client = offer.sender->client_id,
                       .session = offer.sender->id,
                       .seq = offer.seq + i,
                       .place = MessageView::Place::offered,
                       .order = order,
                       .redeliveries = offer.redeliveries,
                       .message = i == 0 ? &offer.message.bytes() : &offer.more[i - 1].bytes()});
    }
  }
  return views;
}

std::vector<Bytes> Broker::peek(std::size_t max) const {
  std::vector<Bytes> next;
  if (is_watch() && max > 0) next.push_back(value_);
  for (const auto* const queue : {&lane_, &ready_}) {
    for (const Item& item : *queue) {
      if (next.size() == max) return next;
      next.push_back(item.message.bytes());
    }
  }
  return next;
}

namespace {

Checkpoint::Side written_down(const broker_state::SideState& s) {
  return {.is_closed = s.is_closed, .kind = s.kind, .reason = s.reason};
}

}  // namespace

Checkpoint Broker::checkpoint(bool with_messages) const {
  Checkpoint c{.epoch = settings_.epoch,
               .created_at = created_at_,
               .total_sent = total_sent_,
               .total_received = total_received_,
               .redelivered = redelivered_,
               .high_watermark = high_watermark_,
               .sending = written_down(side(Side::sender)),
               .receiving = written_down(side(Side::receiver)),
               .shutdown = {.is_shut_down = is_shut_down(),
                            .immediate = shutdown_ == broker_state::Shutdown::immediate,
                            .reason = shutdown_reason_},
               .has_messages = with_messages && !is_broadcast()};
  if (!c.has_messages) return c;
  if (is_watch()) {
    c.messages.push_back({.message = value_});
    return c;
  }
  std::vector<MessageView> views = messages();
  // On a rendezvous, what has a slot is an offer that is out at a receiver: it is not stored.
  std::erase_if(views, [&](const MessageView& view) {
    return view.place == MessageView::Place::offered || (settings_.capacity == 0 && view.has_slot && !view.by_permit);
  });
  // Mostly all of them are ready.
  if (!std::ranges::is_sorted(views, {}, &MessageView::order)) std::ranges::sort(views, {}, &MessageView::order);
  c.messages.reserve(views.size());
  for (const MessageView& view : views) {
    c.messages.push_back({.client = view.client,
                          .session = view.session,
                          .seq = view.seq,
                          .redeliveries = view.redeliveries,
                          .message = *view.message});
  }
  // Senders that have not come back since the last restart are still to be known after the next.
  std::map<std::pair<ClientId, SessionId>, Seq> stored = restored_;
  for (const auto& [id, client] : clients_) {
    for (const auto& [session, sender] : client->senders) stored[{id, session}] = sender->stored;
  }
  for (const auto& [name, seq] : stored) {
    c.senders.push_back({.client = name.first, .session = name.second, .stored = seq});
  }
  return c;
}

bool Broker::restore(Time now, const Checkpoint& checkpoint) {
  if (is_removed_) return false;
  const bool was_used = !clients_.empty() || total_sent_ > 0 || !messages().empty();
  if (was_used) return restore_counters(checkpoint);
  if (is_oneshot() && std::max<std::uint64_t>(checkpoint.total_sent, checkpoint.messages.size()) > 1) return false;
  if (is_watch() && !restore_value(checkpoint)) return false;
  now_ = now;
  created_at_ = checkpoint.created_at;
  total_sent_ = checkpoint.total_sent;
  total_received_ = checkpoint.total_received;
  redelivered_ = checkpoint.redelivered;
  high_watermark_ = checkpoint.high_watermark;
  for (const auto& [which, written] :
       {std::pair(Side::sender, &checkpoint.sending), {Side::receiver, &checkpoint.receiving}}) {
    if (reopens() && which == Side::receiver) continue;  // others may have come since
    SideState& s = side(which);
    s.is_closed = written->is_closed;
    s.kind = written->kind;
    s.reason = written->reason;
    if (s.is_closed) s.orphan_deadline = kNever;
  }
  if (checkpoint.shutdown.is_shut_down) {
    shutdown_ = checkpoint.shutdown.immediate ? broker_state::Shutdown::immediate : broker_state::Shutdown::draining;
    shutdown_reason_ = checkpoint.shutdown.reason;
  }
  if (is_watch()) return true;
  was_restored_ = checkpoint.has_messages;
  for (const Checkpoint::Sender& sender : checkpoint.senders) {
    restored_[{sender.client, sender.session}] = sender.stored;
  }
  // Since it was written, any of its messages may have been handed out: all are marked.
  // The oldest may be more than the capacity: those had given their slots away, and come through the lane again.
  const std::size_t total = checkpoint.messages.size();
  const std::size_t in_lane =
      settings_.capacity == kUnbounded ? 0 : total - std::min<std::size_t>(total, settings_.capacity);
  std::map<std::pair<ClientId, SessionId>, std::shared_ptr<Sender>> senders;
  for (const Checkpoint::Message& message : checkpoint.messages) {
    std::shared_ptr<Sender>& sender = senders[{message.client, message.session}];
    if (sender == nullptr) {
      sender = std::make_shared<Sender>();
      sender->client_id = message.client;
      sender->id = message.session;
    }
    const bool has_slot = lane_.size() == in_lane;
    (has_slot ? ready_ : lane_)
        .push_back(Item{.message = hold(message.message),
                        .sender = sender,
                        .seq = message.seq,
                        .order = next_order_++,
                        .stored_at = now,
                        .redeliveries = message.redeliveries + 1,
                        .has_slot = has_slot});
  }
  // Some were still to be settled when the last receiver closed, or the channel was shut down: now nobody can.
  if (drops_messages()) drop_messages();
  return true;
}

// Of a channel that is in use: its handles decide how its sides go on.
bool Broker::restore_counters(const Checkpoint& checkpoint) {
  if (checkpoint.has_messages || settings_.kind != ChannelKind::mpmc) return false;
  created_at_ = checkpoint.created_at;
  total_sent_ = checkpoint.total_sent;
  total_received_ = checkpoint.total_received;
  return true;
}

void Broker::check_invariants() const {
  std::size_t unread_slots = 0;
  std::size_t outstanding = 0;
  std::size_t senders = 0;
  std::size_t receivers = 0;
  std::size_t out_offers = 0;
  std::size_t reserved = 0;
  for (const auto& [id, client] : clients_) {
    for (const auto& [session, sender] : client->senders) {
      if (sender->counts) ++senders;
      reserved += sender->permits.size();
      check(sender->client == client.get(), "B4 a session knows its client");
      out_offers += static_cast<std::size_t>(std::ranges::count_if(sender->undecided, &Sender::Undecided::is_out));
      for (const Sender::Undecided& offer : sender->undecided) {
        check(offer.is_out || offers_.contains(offer.order),
              "B4 an undecided offer is in the line or out at a receiver");
      }
    }
    for (const auto& [session, receiver] : client->receivers) {
      if (receiver->counts && !receiver->is_closed) ++receivers;
      std::size_t live = 0;
      std::size_t unread = 0;
      for (const Outstanding& out : receiver->outstanding) {
        if (out.state == Outstanding::State::gone) continue;
        ++live;
        if (out.state != Outstanding::State::unread) continue;
        ++unread;
        if (out.item.has_slot) ++unread_slots;
      }
      check(live == receiver->live && unread == receiver->unread, "B4 a receiver's outstanding attempts are counted");
      check(
          receiver->line == Receiver::Line::none || (client->connection && !receiver->is_closed && receiver->demands()),
          "B3 only open sessions of attached clients that demand are in line");
      outstanding += live;
    }
  }
  check(unread_slots == unread_slots_ && outstanding == outstanding_, "B4 all outstanding attempts are counted");
  check(settings_.capacity == kUnbounded || settings_.capacity == 0 ||
            ready_.size() + unread_slots_ + reserved_ <= settings_.capacity,
        "B1 ready + unread + reserved <= capacity");
  check(reserved == reserved_, "B1 slots that permits hold are counted");
  check(settings_.capacity != 0 || std::ranges::all_of(ready_, &Item::by_permit),
        "B1 a rendezvous stores only what permits sent");
  check(!is_shut_down() || offers_.empty(), "B6 what is shut down keeps no offer waiting");
  check(!drops_messages() || (ready_.empty() && lane_.empty() && delayed_.empty()),
        "B6 what nobody may receive is not stored");
  is_broadcast() ? check_window() : check_queue(out_offers);
  if (is_watch()) check_watch();
  for (const auto& [token, held] : holds_) ++(held.side == Side::sender ? senders : receivers);
  check(senders == side(Side::sender).count && receivers == side(Side::receiver).count,
        "B5 a side's count is its sessions and holds");
  for (const SideState& s : sides_) check(!s.is_closed || s.count == 0, "B5 a closed side counts nobody");
  if (is_oneshot()) check_oneshot();
}

void Broker::check_queue(std::size_t out_offers) const {
  const bool serves = !is_removed_;
  if (serves && settings_.capacity != 0 && !offers_.empty()) {
    check(!has_room(offers_.begin()->second.count()), "B2 the first offer in line does not fit");
  }
  if (serves && !waiting_.empty()) {
    check(ready_.empty() && lane_.empty(), "B3 if a receive waits, nothing is ready");
    check(settings_.capacity != 0 || offers_.empty() || !has_free_receiver(),
          "B3 if a receive waits that no permit counts on, no rendezvous offer waits");
  }
  check(std::ranges::is_sorted(ready_, {}, &Item::order), "B4 ready is in order");
  check(std::ranges::is_sorted(lane_, {}, &Item::order), "B4 the lane is in order");
  check(settings_.capacity == 0 || out_offers == 0, "B4 offers are out only on a rendezvous");
}

}  // namespace klaw::dataplane
