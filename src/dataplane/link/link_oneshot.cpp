// What a oneshot's handles do otherwise than a queue's. Whether the value was sent before, by whomever, only the broker knows:
// it answers each offer, also once the receivers are gone. And a handle that has sent the value, or has received it, has done
// all that it is for (is_spent): it needs no broker to say what comes of another try, and tells a restarted one of the value.
#include <dataplane/link/link.hpp>

namespace klaw::dataplane {

bool Link::is_spent(const Registration& handle) const {
  const Session* const s = find(handle.id);
  return s != nullptr && s->is_spent;
}

void Link::apply_already_sent(Session& s, SendOperation* w) {
  s.is_spent = true;
  if (w != nullptr) w->is_already_sent = true;
}

// The number of its next offer says that there was one that was stored.
void Link::begin_again(Session& s) {
  if (s.side == Side::sender) s.next = s.is_spent ? 2 : 1;
}

}  // namespace klaw::dataplane
