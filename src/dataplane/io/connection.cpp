#include <utility>

#include <asio/buffer.hpp>
#include <asio/post.hpp>
#include <asio/ssl/context.hpp>
#include <asio/ssl/error.hpp>
#include <asio/ssl/stream.hpp>
#include <asio/write.hpp>
#include <dataplane/io/connection.hpp>
#include <dataplane/io/descriptors.hpp>
#include <sys/socket.h>

namespace klaw::dataplane {

namespace {

// More is left to the I/O thread: a socket takes about that much at once, and what it does not take would have to be moved.
constexpr std::size_t kSendAtOnceMax = 64 * 1024;

}  // namespace

struct Connection::Tls {
  Tls(Socket& socket, asio::ssl::context& context, Role role)
      : stream(socket, context),
        handshake(role == Role::server ? asio::ssl::stream_base::server : asio::ssl::stream_base::client) {}

  asio::ssl::stream<Socket&> stream;
  const asio::ssl::stream_base::handshake_type handshake;
};

Connection::Connection(Socket socket, std::weak_ptr<Owner> owner, const TlsContext& tls, Role role)
    : socket_(std::move(socket)),
      tls_(tls ? std::make_unique<Tls>(socket_, *tls, role) : nullptr),
      owner_(std::move(owner)),
      is_secure_(tls_ == nullptr) {
  asio::error_code ignored;
  socket_.non_blocking(true, ignored);
  descriptors::opened(socket_.native_handle());
}

Connection::~Connection() { shut_down(); }

void Connection::start() {
  if (tls_) return secure();
  read();
}

void Connection::secure() {
  tls_->stream.async_handshake(tls_->handshake, [self = shared_from_this()](const asio::error_code& error) {
    if (error) return self->end("TLS: " + error.message());
    {
      const std::lock_guard lock(self->mutex_);
      self->is_secure_ = true;
    }
    self->flush();
    self->read();
  });
}

void Connection::read() {
  auto then = [self = shared_from_this()](const asio::error_code& error, std::size_t count) {
    self->arrived(error, count);
  };
  if (tls_) {
    tls_->stream.async_read_some(asio::buffer(read_buffer_), std::move(then));
  } else {
    socket_.async_read_some(asio::buffer(read_buffer_), std::move(then));
  }
}

void Connection::arrived(const asio::error_code& error, std::size_t count) {
  if (!error) return decode(count);
  // A TLS peer that goes without a farewell is one like any other: frames say for themselves whether they are whole.
  const bool is_end = error == asio::error::eof || error == asio::ssl::error::stream_truncated;
  end(is_end ? "end of file" : error.message());
}

void Connection::decode(std::size_t count) {
  decoder_.push({read_buffer_.data(), count});
  for (;;) {
    const std::shared_ptr<Owner> owner = owner_.lock();
    if (owner == nullptr) return shut_down();
    Decoder::Next next = decoder_.next();
    if (!next) return end(next.error());
    if (!*next) {
      owner->batch_arrived(*this);
      break;
    }
    owner->frame_arrived(*this, *std::move(*next));
  }
  if (!owner_.expired()) read();
}

void Connection::append(const Frame& frame) {
  const std::lock_guard lock(mutex_);
  if (!is_closing_) encode(frame, pending_);
}

void Connection::flush() {
  {
    const std::lock_guard lock(mutex_);
    if (!is_secure_ || is_flushing_ || pending_.empty()) return;
    if (!tls_ && pending_.size() <= kSendAtOnceMax) pending_.erase(0, send_some());
    if (pending_.empty()) return;
    is_flushing_ = true;
  }
  asio::post(socket_.get_executor(), [self = shared_from_this()] { self->write(); });
}

// Under the mutex, and only while no write is under way. An error is the reader's to find.
std::size_t Connection::send_some() noexcept {
  if (!socket_.is_open()) return 0;
  const ssize_t sent = ::send(socket_.native_handle(), pending_.data(), pending_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  return sent > 0 ? static_cast<std::size_t>(sent) : 0;
}

// The buffers take turns, so that neither is allocated anew each time.
void Connection::write() {
  bool is_last = false;
  {
    const std::lock_guard lock(mutex_);
    writing_.clear();
    std::swap(writing_, pending_);
    if (writing_.empty()) is_flushing_ = false;
    is_last = is_closing_ && writing_.empty();
  }
  if (is_last) return shut_down();
  if (writing_.empty()) return;
  auto then = [self = shared_from_this()](const asio::error_code& error, std::size_t /*count*/) {
    // A broken connection is told of once, by the reader.
    if (error) return self->end(error.message());
    self->write();
  };
  if (tls_) {
    asio::async_write(tls_->stream, asio::buffer(writing_), std::move(then));
  } else {
    asio::async_write(socket_, asio::buffer(writing_), std::move(then));
  }
}

void Connection::close() {
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(is_closing_, true)) return;
  }
  asio::post(socket_.get_executor(), [self = shared_from_this()] {
    self->owner_.reset();
    if (self->writing_.empty()) {
      // One try: who is gone, or reads nothing, must not keep the socket.
      const std::lock_guard lock(self->mutex_);
      asio::error_code ignored;
      if (!self->tls_) {
        self->send_some();
      } else if (self->is_secure_ && !self->pending_.empty()) {
        self->tls_->stream.write_some(asio::buffer(self->pending_), ignored);
      }
    }
    self->shut_down();
  });
}

void Connection::end(const std::string& why) {
  shut_down();
  if (const std::shared_ptr<Owner> owner = std::exchange(owner_, {}).lock()) owner->connection_ended(*this, why);
}

void Connection::shut_down() {
  const std::lock_guard lock(mutex_);
  if (!socket_.is_open()) return;
  descriptors::closed(socket_.native_handle());
  asio::error_code ignored;
  socket_.shutdown(Socket::shutdown_both, ignored);
  socket_.close(ignored);
}

}  // namespace klaw::dataplane
