#include "simulation/hostile.hpp"

#include <utility>

#include "simulation/world.hpp"

namespace klaw::dataplane::simulation {

Hostile::Hostile(World& world, std::size_t index)
    : world_(world),
      channel_(*world.channels[world.random.below(world.channels.size())]),
      index_(index),
      random_(world.config.seed, 100 + index) {}

void Hostile::act() {
  if (is_dead_) return;
  if (!connection_ || random_.chance(50)) connect();
  if (!connection_) return;
  world_.statistics.count("fault: hostile frame");
  if (world_.config.shutdowns != 0 && random_.chance(world_.config.shutdowns)) {
    return send(Shutdown{.immediate = random_.chance(500), .reason = "hostile"});
  }
  if (world_.config.reserves != 0 && random_.chance(world_.config.reserves)) return send(about_a_slot());
  send(random_.chance(700) ? plausible() : anything());
}

// Now and then it pretends to resume, or to be new under the old name.
void Hostile::connect() {
  Server* const server = channel_.look_up(false);
  if (server == nullptr) return;
  if (id_ == ClientId{} || random_.chance(300)) {
    id_ = world_.new_id<ClientId>();
    connections_ = received_ = 0;
    last_session_ = 0;
    next_ = {1};
  }
  for (auto& incarnation : channel_.incarnations()) incarnation->witness().is_hostile(id_);
  connection_ = world_.network.connect(*this, *server, 1000 + index_);
  server->accept(*connection_);
  decoder_ = Decoder();
  decoder_.authenticated();
  send(Attach{.client = id_,
              .connection = random_.chance(900) ? ++connections_ : number(),
              .epoch = random_.chance(900) ? epoch_ : number(),
              .resume = connections_ > 1 && random_.chance(800),
              .received = random_.chance(900) ? received_ : number()});
}

void Hostile::send(const Frame& frame) {
  if (!connection_) return;
  world_.trace.note(world_.scheduler.now(), "  hostile", index_, "->", *connection_, frame);
  std::string bytes;
  encode(frame, bytes);
  world_.network.write(*connection_, Network::End::client, std::move(bytes));
}

SessionId Hostile::session() {
  return static_cast<SessionId>(random_.chance(950) ? random_.below(last_session_ + 1) : number());
}

std::uint64_t Hostile::number() {
  switch (random_.below(4)) {
    case 0: return random_.below(5);
    case 1: return random_.next();
    case 2: return ~std::uint64_t{0} - random_.below(3);
    default: return std::uint64_t{1} << random_.below(64);
  }
}

std::vector<Attempt> Hostile::attempts() {
  std::vector<Attempt> some;
  for (std::uint64_t i = random_.below(4); i > 0; --i) {
    some.push_back(!seen_.empty() && random_.chance(700) ? random_.pick(seen_) : random_.below(40));
  }
  return some;
}

// What a client might send, with a fault here and there.
Frame Hostile::plausible() {
  const auto limit = [&] { return random_.below(20); };
  const auto few = [&] { return static_cast<std::uint32_t>(random_.below(3)); };
  switch (random_.below(8)) {
    case 0:
    case 1:
      next_.push_back(1);
      return Open{
          .session = ++last_session_, .side = random_.chance(500) ? Side::sender : Side::receiver, .name = "hostile"};
    case 2:
    case 3: {
      const SessionId to = session();
      const Seq seq = to < next_.size() ? next_[to]++ : 1;
      return Offer{
          .session = to, .seq = seq, .nowait = random_.chance(300), .message = Oracle::hostile_message(random_)};
    }
    case 4: return Demand{.session = session(), .limit = limit(), .waiting = few(), .spare = few()};
    case 5: return DemandShrink{.session = session(), .limit = limit(), .waiting = few(), .spare = few()};
    case 6: return Consumed{.session = session(), .settled = random_.chance(500), .attempts = attempts()};
    default: return Settle{.session = session(), .requeue = random_.chance(500), .attempts = attempts()};
  }
}

Frame Hostile::about_a_slot() {
  const SessionId of = session();
  const Seq next = of < next_.size() ? next_[of] : 1;
  switch (random_.below(4)) {
    case 0: return Fill{.session = of, .seq = random_.below(next + 1), .message = Oracle::hostile_message(random_)};
    case 1: return Unreserve{.session = of, .seq = random_.below(next + 1)};
    default:
      if (of < next_.size()) ++next_[of];
      return Reserve{.session = of, .seq = next, .nowait = random_.chance(300)};
  }
}

Frame Hostile::anything() {
  const auto word = [&] { return static_cast<std::uint32_t>(number()); };
  switch (random_.below(16)) {
    case 0: return Offer{.session = session(), .seq = number(), .message = Oracle::hostile_message(random_)};
    case 1: {
      Offer offer{.session = session(), .seq = number(), .message = Oracle::hostile_message(random_)};
      offer.more.assign(random_.below(40), offer.message);
      return offer;
    }
    case 2: return Close{.session = session()};
    case 3: return Close{.session = session(), .reason = std::string(random_.below(100), 'x')};
    case 4: return Demand{.session = session(), .limit = number(), .waiting = word(), .spare = word()};
    case 5: return DemandShrink{.session = session(), .limit = number(), .waiting = word(), .spare = word()};
    case 6: return Release{.session = session(), .answer = random_.chance(500), .attempts = attempts()};
    case 7: return Withdraw{.session = session(), .seq = random_.chance(500) ? random_.below(5) : number()};
    case 8: return Hold{.token = world_.new_id<Token>(), .side = random_.chance(500) ? Side::sender : Side::receiver};
    case 9: return Open{.session = session(), .side = Side::sender, .next = number()};
    case 10: return Ping{.sent_us = number(), .echo_us = number(), .received = number()};
    case 11: return Ack{.received = number()};
    case 12: return Attach{.client = id_, .connection = number(), .epoch = number()};
    case 13: return Stored{.session = session(), .seq = number()};
    case 14: return ReturnCredit{.session = session(), .limit = number()};
    default:  // (Of a message that comes back in a month, a receiver waits a month for the end.)
      return Settle{.session = session(), .requeue = true, .delay_ms = word() % 5000, .attempts = attempts()};
  }
}

void Hostile::bytes_arrived(ConnectionId connection, std::string_view bytes) {
  if (connection_ != connection) return;
  decoder_.push(bytes);
  for (;;) {
    auto frame = decoder_.next();
    if (!frame || !*frame) return;
    if (is_numbered(type_of(**frame))) ++received_;
    if (const auto* const attached = std::get_if<Attached>(&**frame)) epoch_ = attached->epoch;
    if (const auto* const deliver = std::get_if<Deliver>(&**frame)) seen_.push_back(deliver->delivery.attempt);
  }
}

void Hostile::connection_ended(ConnectionId connection, std::string_view /*why*/) {
  if (connection_ != connection) return;
  world_.network.close(connection, Network::End::client);
  connection_.reset();
}

void Hostile::die() {
  if (std::exchange(is_dead_, true)) return;
  if (connection_) world_.network.close(*connection_, Network::End::client);
  connection_.reset();
}

}  // namespace klaw::dataplane::simulation
