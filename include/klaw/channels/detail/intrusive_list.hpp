// A doubly linked list through its elements: no allocation, O(1) removal from the middle, a count kept.
//
// The list owns nothing. An element is in at most one list per hook type, and must be removed before it dies. Whoever
// holds the lock that protects the list protects its elements' hooks too.
#pragma once

#include <cassert>
#include <cstddef>

namespace klaw::channels::detail {

class ListHook {
 public:
  ListHook() = default;
  // An element may move until it is linked; the new one is as unlinked as the old.
  ListHook([[maybe_unused]] ListHook&& other) noexcept { assert(!other.is_linked()); }
  ListHook& operator=(ListHook&&) = delete;
  ~ListHook() { assert(!is_linked()); }

  [[nodiscard]] bool is_linked() const noexcept { return next_ != nullptr; }

 private:
  template <class>
  friend class IntrusiveList;
  ListHook* next_ = nullptr;
  ListHook* prev_ = nullptr;
};

template <class Element>
class IntrusiveList {
 public:
  IntrusiveList() noexcept { head_.next_ = head_.prev_ = &head_; }
  IntrusiveList(const IntrusiveList&) = delete;
  IntrusiveList& operator=(const IntrusiveList&) = delete;
  ~IntrusiveList() {
    assert(empty());
    head_.next_ = head_.prev_ = nullptr;
  }

  [[nodiscard]] bool empty() const noexcept { return head_.next_ == &head_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] Element& front() noexcept {
    assert(!empty());
    return element(head_.next_);
  }

  void push_back(Element& e) noexcept {
    ListHook& hook = e;
    assert(!hook.is_linked());
    hook.prev_ = head_.prev_;
    hook.next_ = &head_;
    head_.prev_->next_ = &hook;
    head_.prev_ = &hook;
    ++size_;
  }

  void remove(Element& e) noexcept {
    ListHook& hook = e;
    assert(hook.is_linked());
    // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): a linked hook has both neighbours
    hook.prev_->next_ = hook.next_;
    hook.next_->prev_ = hook.prev_;
    hook.next_ = hook.prev_ = nullptr;
    --size_;
  }

  Element& pop_front() noexcept {
    Element& e = front();
    remove(e);
    return e;
  }

  // The first element that f(element) is true of, or null; f may remove the element it is given.
  template <class F>
  Element* find_if(F f) {
    for (ListHook* hook = head_.next_; hook != &head_;) {
      ListHook* const next = hook->next_;
      if (Element& e = element(hook); f(e)) return &e;
      hook = next;
    }
    return nullptr;
  }

  template <class F>
  void for_each(F f) const {
    for (const ListHook* hook = head_.next_; hook != &head_; hook = hook->next_) {
      f(static_cast<const Element&>(*hook));
    }
  }
  // Calls f(element) for each, in order; f may remove the element it is given.
  template <class F>
  void for_each(F f) {
    for (ListHook* hook = head_.next_; hook != &head_;) {
      ListHook* const next = hook->next_;
      f(element(hook));
      hook = next;
    }
  }

 private:
  static Element& element(ListHook* hook) noexcept { return static_cast<Element&>(*hook); }

  ListHook head_;
  std::size_t size_ = 0;
};

}  // namespace klaw::channels::detail
