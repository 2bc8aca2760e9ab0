// Every limit of the protocol, in one place. A peer that breaks one is disconnected, not accommodated.
#pragma once

#include <cstddef>
#include <cstdint>

namespace klaw::dataplane {

inline constexpr std::uint32_t kMagic = 0x57414c4b;  // "KLAW", as it appears on the wire
inline constexpr std::uint16_t kVersion = 1;         // of the protocol; see docs/wire-protocol.md for what it promises
inline constexpr std::uint64_t kFeatures = 0;        // that this version knows

inline constexpr std::size_t kFrameBytesMax = 256 * 1024;                // a larger one travels in pieces of this size
inline constexpr std::size_t kHandshakeFrameBytesMax = 512;              // of a peer that has not authenticated itself
inline constexpr std::size_t kMessageBytesMax = 64 * 1024 * 1024;        // one message
inline constexpr std::size_t kAssembledBytesMax = 2 * kMessageBytesMax;  // all pieces of one frame: a batch
inline constexpr std::size_t kTextBytesMax = 16 * 1024;                  // a reason, a name
inline constexpr std::size_t kBatchMessagesMax = 64 * 1024;  // messages in one OFFER or DELIVER, attempts in one list

// An attempt's number begins with its broker's epoch: so what an earlier broker handed out can't be mistaken.
inline constexpr int kAttemptEpochShift = 40;

inline constexpr std::uint32_t kOfferedMax = 1024;                   // messages offered and unanswered, per session
inline constexpr std::uint64_t kOfferedBytesMax = 16 * 1024 * 1024;  // bytes likewise
inline constexpr std::uint64_t kDemandMax = 1024 * 1024;             // deliveries demanded ahead, per session
inline constexpr std::size_t kOutstandingMax = 64 * 1024;            // delivered and not settled, per session
inline constexpr std::size_t kDeliverBytesMax = 1024 * 1024;  // then the next messages go in a DELIVER of their own
inline constexpr std::size_t kPermitsMax = 64 * 1024;         // that a session holds
inline constexpr std::size_t kClientsMax = 16 * 1024;
inline constexpr std::size_t kSessionsPerClientMax = 64 * 1024;
inline constexpr std::size_t kHoldsMax = 64 * 1024;
inline constexpr std::size_t kTicketDepthMax = 64;           // a ticket, made by who came by a ticket, made by ...
inline constexpr std::size_t kEndedTicketsMax = 4 * 1024;    // remembered, for what their next users are told
inline constexpr std::size_t kExpiredClientsMax = 4 * 1024;  // remembered, for the last stored numbers of their senders
inline constexpr std::size_t kUnackedFramesMax =
    256 * 1024;  // numbered frames kept for a peer that does not acknowledge
inline constexpr std::uint64_t kAckEveryFrames = 64;
inline constexpr std::uint64_t kAckEveryBytes = 1024 * 1024;

}  // namespace klaw::dataplane
