// Values that a channel drops, destroyed outside of its lock: without end, and on a bounded stack.
//
// A dropped value may hold handles of a channel that drops what it holds, and so on: a list, through channels. Its destructors
// nest only to a fixed depth. What is dropped deeper than that is put off to the heap, and the outermost drop of the thread
// destroys it before it returns. (Python bounds the depth of its destructors in the same way: its "trashcan".)
#pragma once

#include <new>
#include <type_traits>
#include <utility>

namespace klaw::channels::detail {

// The drops of one thread. Needs no destructor, so that the destructors of other thread-locals may still drop values.
class Drops {
 public:
  // Few enough for a small stack and an unoptimised build; many enough that hardly anything is ever put off.
  static constexpr int kDepthMax = 32;

  static Drops& of_this_thread() noexcept {
    constinit thread_local Drops drops;
    return drops;
  }

  // Destroys the content of `values`, now or before the outermost drop returns.
  template <class Values>
  void drop(Values& values) noexcept {
    static_assert(std::is_nothrow_move_constructible_v<Values> && std::is_nothrow_destructible_v<Values>);
    if (depth_ == kDepthMax && put_off(values)) return;
    ++depth_;
    {
      [[maybe_unused]] const Values gone(std::move(values));
    }
    if (depth_ == 1) destroy_what_was_put_off();
    --depth_;
  }

 private:
  struct PutOff {
    PutOff() = default;
    PutOff(const PutOff&) = delete;
    PutOff& operator=(const PutOff&) = delete;
    virtual ~PutOff() = default;
    PutOff* next = nullptr;
  };
  template <class Values>
  struct PutOffValues final : PutOff {
    explicit PutOffValues(Values&& from) noexcept : values(std::move(from)) {}
    Values values;
  };

  // False: no memory; then it is better to go deeper.
  template <class Values>
  bool put_off(Values& values) noexcept {
    auto* const last = new (std::nothrow) PutOffValues<Values>(std::move(values));
    if (last == nullptr) return false;
    (first_ == nullptr ? first_ : last_->next) = last;
    last_ = last;
    return true;
  }

  void destroy_what_was_put_off() noexcept {
    while (first_ != nullptr) delete std::exchange(first_, first_->next);
  }

  int depth_ = 0;  // of the drops that are under way
  PutOff* first_ = nullptr;
  PutOff* last_ = nullptr;  // meaningless while first_ is null
};

template <class Values>
[[nodiscard]] bool is_nothing(const Values& values) noexcept {
  if constexpr (requires { values.empty(); }) {
    return values.empty();
  } else {
    return !values;
  }
}

// Filled under a channel's lock, and declared before that is taken: so destroyed after it is released.
template <class Values>
class Dropped {
 public:
  Dropped() = default;
  Dropped(const Dropped&) = delete;
  Dropped& operator=(const Dropped&) = delete;
  ~Dropped() {
    if (!is_nothing(values_)) Drops::of_this_thread().drop(values_);
  }

  [[nodiscard]] Values& operator*() noexcept { return values_; }
  [[nodiscard]] Values* operator->() noexcept { return &values_; }

 private:
  Values values_;
};

}  // namespace klaw::channels::detail
