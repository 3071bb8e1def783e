// Doubly linked list through a hook inside the element: no allocation, O(1) removal from the
// middle. The list never owns its elements; an element must be unlinked before it dies.
//
//   struct Conn { ListHook idle_hook; };
//   IntrusiveList<Conn, &Conn::idle_hook> idle;
#pragma once

#include <cstddef>

#include "base/assert.h"

namespace mxring::base {

struct ListHook {
  ListHook* prev = nullptr;
  ListHook* next = nullptr;
  bool linked() const { return prev != nullptr; }
};

template <class T, ListHook T::*Hook>
class IntrusiveList {
 public:
  IntrusiveList() { head_.prev = head_.next = &head_; }
  IntrusiveList(const IntrusiveList&) = delete;
  IntrusiveList& operator=(const IntrusiveList&) = delete;

  bool empty() const { return head_.next == &head_; }
  std::size_t size() const { return size_; }

  void push_back(T& element) { insert_before(head_, element.*Hook); }
  void push_front(T& element) { insert_before(*head_.next, element.*Hook); }

  void remove(T& element) {
    ListHook& hook = element.*Hook;
    MXRING_ASSERT(hook.linked());
    hook.prev->next = hook.next;
    hook.next->prev = hook.prev;
    hook = ListHook{};
    --size_;
  }

  T* front() { return empty() ? nullptr : owner(head_.next); }
  T* back() { return empty() ? nullptr : owner(head_.prev); }
  T* next(T& element) {
    ListHook* hook = (element.*Hook).next;
    return hook == &head_ ? nullptr : owner(hook);
  }
  T* prev(T& element) {
    ListHook* hook = (element.*Hook).prev;
    return hook == &head_ ? nullptr : owner(hook);
  }

 private:
  void insert_before(ListHook& at, ListHook& hook) {
    MXRING_ASSERT(!hook.linked());
    hook.prev = at.prev;
    hook.next = &at;
    at.prev->next = &hook;
    at.prev = &hook;
    ++size_;
  }

  static T* owner(ListHook* hook) {
    // The hook's distance from its owner, taken from a never-dereferenced address.
    alignas(T) static char probe[sizeof(T)];
    T* at = reinterpret_cast<T*>(probe);
    const std::ptrdiff_t distance =
        reinterpret_cast<char*>(&(at->*Hook)) - reinterpret_cast<char*>(at);
    return reinterpret_cast<T*>(reinterpret_cast<char*>(hook) - distance);
  }

  ListHook head_;
  std::size_t size_ = 0;
};

}  // namespace mxring::base
