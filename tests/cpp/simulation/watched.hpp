// What one broker of a watch has said: which value has which version. What clients see is held against it.
//
//   V5  a version has one value, whoever is told it
//   V6  a send is told as many receivers as are open, and refused only if none is
//   V7  a handle sees versions ascend, and only such as were sent
//   V8  it is told of the end when it has seen the last one
//   V9  a receive that found nothing had seen all that was sent before it began
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include <dataplane/wire/frame.hpp>

#include "simulation/oracle.hpp"

namespace klaw::dataplane::simulation {

class Watched {
 public:
  using Counts = std::pair<std::size_t, std::size_t>;  // receivers that are open for sure, and at most

  Watched(Oracle& oracle, std::uint64_t epoch, const Bytes& initial);

  // --- what goes in and out of the broker; also a second time, on a new connection ---
  void offered(const ClientId& client, const Offer& frame);
  void told(const Latest& frame);
  void changed(const ClientId& client, const Changed& frame, Counts receivers);
  void refused(const ClientId& client, const Answer& frame, Counts receivers);

  // --- what clients see ---
  // False: this broker did not say so.
  [[nodiscard]] bool send_done(MessageId id, std::uint64_t receivers);
  void seen(MessageId id, Version version) const;
  void ended(Version seen) const;
  void found_nothing(Version seen, Micros since) const;

  [[nodiscard]] Version newest() const noexcept { return values_.rbegin()->first; }

 private:
  using Name = std::pair<std::pair<ClientId, SessionId>, Seq>;
  struct Done {
    Micros at;
    Version version;
  };

  Oracle& oracle_;
  std::map<Version, MessageId> values_;
  std::map<Name, MessageId> offers_;
  std::map<Name, Version> answers_;
  std::map<MessageId, std::pair<Version, std::uint64_t>> sent_;  // version and receivers
  std::vector<Done> done_;
};

}  // namespace klaw::dataplane::simulation
