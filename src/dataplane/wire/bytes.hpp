// A message's payload: opaque bytes that never change once written, shared by those who hold it.
//
// One allocation holds the count, the size and the bytes. A queued message, its retransmission and its delivery are the
// same bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <span>
#include <string_view>
#include <utility>

#include <klaw/channels/detail/sync.hpp>

namespace klaw::dataplane {

class Bytes {
 public:
  Bytes() noexcept = default;  // empty, allocates nothing
  explicit Bytes(std::string_view content) : Bytes(sized(content.size())) {
    if (!content.empty()) std::memcpy(block_->data(), content.data(), content.size());
  }
  // `size` bytes that fill(std::byte* begin) writes.
  template <class Fill>
  [[nodiscard]] static Bytes filled(std::size_t size, Fill fill) {
    Bytes bytes = sized(size);
    if (bytes.block_ != nullptr) fill(reinterpret_cast<std::byte*>(bytes.block_->data()));
    return bytes;
  }

  Bytes(const Bytes& other) noexcept : block_(other.block_) {
    // relaxed: who copies holds a reference, so the count can't reach zero meanwhile.
    if (block_ != nullptr) block_->references.fetch_add(1, std::memory_order_relaxed);
  }
  Bytes(Bytes&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  Bytes& operator=(Bytes other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~Bytes() {
    // acq_rel: what each holder read of the bytes happens before the last one frees them.
    if (block_ != nullptr && block_->references.fetch_sub(1, std::memory_order_acq_rel) == 1) Block::free(block_);
  }

  [[nodiscard]] std::size_t size() const noexcept { return block_ == nullptr ? 0 : block_->size; }
  [[nodiscard]] bool empty() const noexcept { return block_ == nullptr; }
  [[nodiscard]] const char* data() const noexcept { return block_ == nullptr ? nullptr : block_->data(); }
  [[nodiscard]] std::string_view view() const noexcept { return {data(), size()}; }

  friend bool operator==(const Bytes& a, const Bytes& b) noexcept { return a.view() == b.view(); }

 private:
  struct Block {
    explicit Block(std::size_t n) noexcept : size(n) {}
    [[nodiscard]] char* data() noexcept { return reinterpret_cast<char*>(this + 1); }
    static void free(Block* block) noexcept {
      block->~Block();
      ::operator delete(block);
    }

    channels::detail::Atomic<std::uint32_t> references{1};
    const std::size_t size;
  };

  [[nodiscard]] static Bytes sized(std::size_t size) {
    Bytes bytes;
    if (size != 0) bytes.block_ = new (::operator new(sizeof(Block) + size)) Block(size);
    return bytes;
  }

  Block* block_ = nullptr;
};

}  // namespace klaw::dataplane
