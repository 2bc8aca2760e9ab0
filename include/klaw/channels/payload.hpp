// A message between processes: bytes that never change once written, shared by those who hold them.
//
// One allocation holds the count, the size and the bytes. A queued message, its retransmission and its delivery are the
// same bytes. The first byte is the tag; docs/wire-protocol.md has what follows. codec.hpp makes payloads of values and
// values of payloads.
//
//   threads   as std::shared_ptr<const T>: copies in different threads are independent, one object is not synchronised
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <string_view>
#include <utility>

#include <klaw/channels/detail/sync.hpp>

namespace klaw::channels {

// The first byte of a payload: in which form the rest is.
enum class PayloadTag : std::uint8_t {
  raw = 0,        // the bytes of a `bytes`
  msgpack = 1,    // plain data without tuples
  pickle = 2,     // any other Python object
  reference = 3,  // the name of a payload that is elsewhere
  tuples = 4,     // plain data with tuples
};

class Payload {
 public:
  Payload() noexcept = default;  // empty, allocates nothing
  explicit Payload(std::string_view content) : Payload(sized(content.size())) {
    if (!content.empty()) std::memcpy(block_->data(), content.data(), content.size());
  }
  // `size` bytes that fill(std::byte* begin) writes.
  template <class Fill>
  [[nodiscard]] static Payload filled(std::size_t size, Fill fill) {
    Payload payload = sized(size);
    if (payload.block_ != nullptr) fill(reinterpret_cast<std::byte*>(payload.block_->data()));
    return payload;
  }

  Payload(const Payload& other) noexcept : block_(other.block_) {
    // relaxed: who copies holds a reference, so the count can't reach zero meanwhile.
    if (block_ != nullptr) block_->references.fetch_add(1, std::memory_order_relaxed);
  }
  Payload(Payload&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  Payload& operator=(Payload other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~Payload() {
    // acq_rel: what each holder read of the bytes happens before the last one frees them.
    if (block_ != nullptr && block_->references.fetch_sub(1, std::memory_order_acq_rel) == 1) Block::free(block_);
  }

  [[nodiscard]] std::size_t size() const noexcept { return block_ == nullptr ? 0 : block_->size; }
  [[nodiscard]] bool empty() const noexcept { return block_ == nullptr; }
  [[nodiscard]] const char* data() const noexcept { return block_ == nullptr ? nullptr : block_->data(); }
  [[nodiscard]] std::string_view view() const noexcept { return {data(), size()}; }

  friend bool operator==(const Payload& a, const Payload& b) noexcept { return a.view() == b.view(); }

 private:
  struct Block {
    explicit Block(std::size_t n) noexcept : size(n) {}
    [[nodiscard]] char* data() noexcept { return reinterpret_cast<char*>(this + 1); }
    static void free(Block* block) noexcept {
      block->~Block();
      ::operator delete(block);
    }

    detail::Atomic<std::uint32_t> references{1};
    const std::size_t size;
  };

  [[nodiscard]] static Payload sized(std::size_t size) {
    Payload payload;
    if (size != 0) payload.block_ = new (::operator new(sizeof(Block) + size)) Block(size);
    return payload;
  }

  Block* block_ = nullptr;
};

}  // namespace klaw::channels
