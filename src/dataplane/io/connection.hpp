// Frames over a socket, a unix one or TCP, perhaps under TLS: what arrives is decoded and told to the owner on the I/O thread; what is written,
// from any thread, goes out in order. Reading never stops: what is unanswered is bounded by the protocol's windows, and
// acknowledgements must not wait behind messages.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include <asio/generic/stream_protocol.hpp>
#include <asio/io_context.hpp>
#include <dataplane/io/tls.hpp>
#include <dataplane/wire/codec.hpp>
#include <dataplane/wire/frame.hpp>

namespace klaw::dataplane {

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  using Socket = asio::generic::stream_protocol::socket;

  // Told on the I/O thread; nothing more after ended(), or after the connection was closed there.
  class Owner {
   public:
    virtual void frame_arrived(Connection& connection, Frame&& frame) = 0;
    // All frames of one read have arrived: time to answer them together.
    virtual void batch_arrived(Connection& connection) = 0;
    virtual void connection_ended(Connection& connection, const std::string& why) = 0;

   protected:
    ~Owner() = default;
  };

  enum class Role : std::uint8_t { client, server };

  // `tls`: null for none.
  Connection(Socket socket, std::weak_ptr<Owner> owner, const TlsContext& tls, Role role);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  // --- on the I/O thread ---
  void start();
  // The peer has proved who it is: large frames may come.
  void authenticated() noexcept { decoder_.authenticated(); }

  // --- on any thread ---
  // Appends the frame to what is to be written. flush() writes it: once for as many frames as there are, and from here as far
  // as the socket takes it without waiting, which spares a way through the I/O thread. That does the rest.
  void append(const Frame& frame);
  void flush();
  // What was appended is written first, if the peer takes it at once.
  void close();

  [[nodiscard]] int native_handle() { return socket_.native_handle(); }

 private:
  struct Tls;

  void secure();
  void read();
  void arrived(const asio::error_code& error, std::size_t count);
  void decode(std::size_t count);
  void write();
  std::size_t send_some() noexcept;
  void end(const std::string& why);
  void shut_down();

  Socket socket_;
  const std::unique_ptr<Tls> tls_;  // around the socket; used on the I/O thread only
  std::weak_ptr<Owner> owner_;      // reset when there is nothing more to tell
  Decoder decoder_;
  std::array<char, 64 * 1024> read_buffer_;
  std::string writing_;  // on its way; the I/O thread's

  std::mutex mutex_;          // also held while the socket is closed: so none is written to that is another's by now
  std::string pending_;       // to be written next; under the mutex
  bool is_secure_;            // as far as it has to be, so that frames may be written; under the mutex
  bool is_flushing_ = false;  // a write is posted, or under way; under the mutex
  bool is_closing_ = false;   // under the mutex
};

}  // namespace klaw::dataplane
