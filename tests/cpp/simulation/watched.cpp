#include "simulation/watched.hpp"

#include <string>

#include <dataplane/wire/limits.hpp>

namespace klaw::dataplane::simulation {

Watched::Watched(Oracle& oracle, std::uint64_t epoch, const Bytes& initial)
    : oracle_(oracle), values_{{epoch << kAttemptEpochShift, oracle.identify(initial)}} {}

void Watched::offered(const ClientId& client, const Offer& frame) {
  offers_.try_emplace({{client, frame.session}, frame.seq}, oracle_.identify(frame.message));
}

void Watched::told(const Latest& frame) { seen(oracle_.identify(frame.message), frame.version); }

void Watched::changed(const ClientId& client, const Changed& frame, Counts receivers) {
  const Name name{{client, frame.session}, frame.seq};
  const auto [answer, is_new] = answers_.try_emplace(name, frame.version);
  if (!is_new) {
    if (answer->second != frame.version) oracle_.fail("V5", "an offer is told two versions");
    return;
  }
  if (frame.version != newest() + 1) oracle_.fail("V5", "a send does not have the next version");
  const MessageId id = offers_.at(name);
  values_[frame.version] = id;
  sent_[id] = {frame.version, frame.receivers};
  if (frame.receivers < receivers.first || frame.receivers > receivers.second) {
    oracle_.fail("V6", std::to_string(frame.receivers) + " receivers are told, and " + std::to_string(receivers.first) +
                           " to " + std::to_string(receivers.second) + " are open");
  }
}

void Watched::refused(const ClientId& client, const Answer& frame, Counts receivers) {
  const bool is_new = answers_.try_emplace({{client, frame.session}, frame.seq}, 0).second;
  if (is_new && receivers.first > 0) oracle_.fail("V6", "a send is refused, though there are receivers");
}

bool Watched::send_done(MessageId id, std::uint64_t receivers) {
  const auto sent = sent_.find(id);
  if (sent == sent_.end() || sent->second.second != receivers) return false;
  done_.push_back({oracle_.now(), sent->second.first});
  return true;
}

void Watched::seen(MessageId id, Version version) const {
  const auto value = values_.find(version);
  if (value == values_.end() || value->second != id) oracle_.fail("V5", "a value has another's version");
}

void Watched::ended(Version seen) const {
  if (seen != newest()) oracle_.fail("V8", "the end came before the last value was seen");
}

void Watched::found_nothing(Version seen, Micros since) const {
  for (const Done& done : done_) {
    if (done.at < since && done.version > seen) oracle_.fail("V9", "nothing new, though a later value was sent before");
  }
}

}  // namespace klaw::dataplane::simulation
