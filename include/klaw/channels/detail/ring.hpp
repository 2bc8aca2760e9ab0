// The queue behind an MPMC channel: a circular buffer that grows by doubling up to what is asked of it.
//
// A bounded channel reaches its size once and then never allocates again. An unbounded one gives a large buffer back
// when it runs empty, so that a burst does not hold its memory for ever. Not thread-safe: the channel's lock protects it.
#pragma once

#include <bit>
#include <cassert>
#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>

namespace klaw::channels::detail {

template <class T>
class Ring {
  static_assert(std::is_nothrow_move_constructible_v<T>);

 public:
  Ring() = default;
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  Ring(Ring&& other) noexcept { swap(other); }
  ~Ring() {
    for (std::size_t i = 0; i < size_; ++i) std::destroy_at(&slot(i));
    release_storage();
  }

  void swap(Ring& other) noexcept {
    std::swap(slots_, other.slots_);
    std::swap(slot_count_, other.slot_count_);
    std::swap(head_, other.head_);
    std::swap(size_, other.size_);
  }

  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  // The i-th value from the front.
  [[nodiscard]] const T& operator[](std::size_t i) const noexcept { return slots_[(head_ + i) & (slot_count_ - 1)]; }
  [[nodiscard]] T& operator[](std::size_t i) noexcept { return slot(i); }

  // Makes room for `count` values in all; after it, push_back does not throw until they are that many.
  void reserve(std::size_t count) {
    if (count > slot_count_) grow(count);
  }

  void push_back(T&& value) noexcept {
    assert(size_ < slot_count_);
    std::construct_at(&slot(size_), std::move(value));
    ++size_;
  }

  [[nodiscard]] T pop_front() noexcept {
    assert(size_ > 0);
    T& front = slot(0);
    T value = std::move(front);
    std::destroy_at(&front);
    head_ = (head_ + 1) & (slot_count_ - 1);
    --size_;
    return value;
  }

  // Gives a large buffer back if the ring is empty. Frees raw storage only: runs no destructor of T.
  void shrink_if_empty() noexcept {
    if (size_ == 0 && slot_count_ > kSlotsKeptWhenEmpty) release_storage();
  }

 private:
  static constexpr std::size_t kSlotsMin = 8;
  static constexpr std::size_t kSlotsKeptWhenEmpty = 16 * 1024;

  T& slot(std::size_t i) noexcept { return slots_[(head_ + i) & (slot_count_ - 1)]; }

  void grow(std::size_t count) {
    const std::size_t bigger = std::bit_ceil(count < kSlotsMin ? kSlotsMin : count);
    T* const fresh = std::allocator<T>{}.allocate(bigger);
    for (std::size_t i = 0; i < size_; ++i) {
      std::construct_at(fresh + i, std::move(slot(i)));
      std::destroy_at(&slot(i));
    }
    release_storage();
    slots_ = fresh;
    slot_count_ = bigger;
  }

  void release_storage() noexcept {
    if (slots_ != nullptr) std::allocator<T>{}.deallocate(slots_, slot_count_);
    slots_ = nullptr;
    slot_count_ = head_ = 0;
  }

  T* slots_ = nullptr;          // slot_count_ raw slots, of which [head_, head_ + size_) hold a value
  std::size_t slot_count_ = 0;  // zero or a power of two
  std::size_t head_ = 0;
  std::size_t size_ = 0;
};

}  // namespace klaw::channels::detail
