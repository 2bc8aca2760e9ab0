// What a broker can write down of itself, so that another may go on in its place.
//
// As bytes, in a file or wherever its driver keeps them:
//
//   "KLAWCKPT" | u32 checksum of what follows | u32 kCheckpointFormat | the fields, as values.hpp has it
//
// (numbers little-endian). Bytes that are torn, damaged or of another format are not taken.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include <dataplane/wire/frame.hpp>

namespace klaw::dataplane {

inline constexpr std::uint32_t kCheckpointFormat = 1;

struct Checkpoint {
  struct Message {
    ClientId client = {};
    SessionId session = 0;
    Seq seq = 0;
    std::uint32_t redeliveries = 0;
    Bytes message = {};
    static auto fields(auto& f) { return std::tie(f.client, f.session, f.seq, f.redeliveries, f.message); }
  };
  // How a side closed, if it has; and the first reason that one of its handles closed with.
  struct Side {
    bool is_closed = false;
    CloseKind kind = CloseKind::ended;
    std::optional<std::string> reason = std::nullopt;
    static auto fields(auto& f) { return std::tie(f.is_closed, f.kind, f.reason); }
  };
  // No more sends, from anywhere: since when it drains, or, immediate, holds nothing any more.
  struct Shutdown {
    bool is_shut_down = false;
    bool immediate = false;
    std::optional<std::string> reason = std::nullopt;
    static auto fields(auto& f) { return std::tie(f.is_shut_down, f.immediate, f.reason); }
  };
  struct Sender {
    ClientId client = {};
    SessionId session = 0;
    Seq stored = 0;
    static auto fields(auto& f) { return std::tie(f.client, f.session, f.stored); }
  };

  ChannelId channel = {};   // whose it is; the driver's to say
  std::uint64_t epoch = 0;  // that wrote it
  double created_at = 0.0;  // of the channel; unix seconds
  std::uint64_t total_sent = 0;
  std::uint64_t total_received = 0;
  std::uint64_t redelivered = 0;
  std::uint64_t high_watermark = 0;
  Side sending = {};
  Side receiving = {};
  Shutdown shutdown = {};
  bool has_messages = false;  // else: the counters only
  // In the order in which they would be received. Those that were handed out and not settled are among them.
  std::vector<Message> messages = {};
  std::vector<Sender> senders = {};

  static auto fields(auto& f) {
    return std::tie(f.channel, f.epoch, f.created_at, f.total_sent, f.total_received, f.redelivered, f.high_watermark,
                    f.sending, f.receiving, f.shutdown, f.has_messages, f.messages, f.senders);
  }
};

[[nodiscard]] std::string encode(const Checkpoint& checkpoint);
// Or what is wrong with the bytes.
[[nodiscard]] std::expected<Checkpoint, std::string> decode_checkpoint(std::string_view bytes);

}  // namespace klaw::dataplane
