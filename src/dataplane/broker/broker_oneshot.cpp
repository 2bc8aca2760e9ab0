// A oneshot: a queue for one message, ever.
//
//   unsent ─OFFER─> ready ─> unread ─CONSUMED─> consumed
//     └─ the sender's OPEN says that it has sent it to a broker that died ─> lost
//
// What it does otherwise than a queue of capacity 1:
//   - Each offer is answered at once: STORED; `already_sent`, whatever has become of the value and of the receivers; `refused`,
//     if there is no receiver. None waits in line, so CLOSED voids nothing.
//   - Receivers end when the value was consumed, though its sender is open; an iteration ends there. One that died with its
//     broker is no orderly end: nobody will send another, and who waits for it is told so.
//
// Handles are not cloned, but pickled and passed on, so that a side may have several; the value is one all the same.
#include <dataplane/broker/broker.hpp>
#include <dataplane/wire/check.hpp>

namespace klaw::dataplane {

void Broker::offer_once(broker_state::Offer&& offer) {
  Sender& sender = *offer.sender;
  if (was_sent()) return answer(sender, offer.seq, Answer::Outcome::already_sent);
  if (side(Side::receiver).is_closed) return answer(sender, offer.seq, Answer::Outcome::refused);
  store(std::move(offer));
  match();
}

// By a sender that has come back.
void Broker::was_sent_in_an_earlier_epoch() {
  is_lost_ = total_sent_ == 0;
  match();
}

broker_state::Ending Broker::ending_once_sent() const {
  if (total_received_ > 0 || outstanding_ > 0) return {.kind = CloseKind::ended, .reason = "already consumed"};
  return {.kind = CloseKind::peer_died, .reason = "the value was sent, and lost when the channel's actor died"};
}

void Broker::check_oneshot() const {
  check(total_sent_ <= 1 && ready_.size() + lane_.size() + delayed_.size() + outstanding_ <= total_sent_,
        "O1 there is one value, if any");
  check(offers_.empty(), "O2 no offer waits");
}

}  // namespace klaw::dataplane
