#include "uring/epoll_operations.h"

#include "base/assert.h"

namespace mxring::uring {

std::size_t EpollOperations::bucket_of(Tag tag) const {
  // Slots and generations are our own numbers, no sender chooses them: spreading is enough.
  const std::uint64_t mixed = tag.pack() * 0x9E37'79B9'7F4A'7C15ULL;
  return static_cast<std::size_t>(mixed >> 32) & (buckets_.size() - 1);
}

void EpollOperations::link_bucket(OperationIndex index) {
  OperationIndex& head = buckets_[bucket_of(places_[index].request.tag)];
  places_[index].next_in_bucket = head;
  head = index;
}

void EpollOperations::grow_buckets() {
  buckets_.assign(buckets_.size() * 2, kNoOperation);
  for (OperationIndex index = 0; index < places_.size(); ++index) {
    if (places_[index].live) link_bucket(index);
  }
}

OperationIndex EpollOperations::add(const Request& request) {
  MXRING_ASSERT(request.fd >= 0);
  if (live_ >= buckets_.size()) grow_buckets();
  OperationIndex index = 0;
  if (free_.empty()) {
    index = static_cast<OperationIndex>(places_.size());
    places_.emplace_back();
  } else {
    index = free_.back();
    free_.pop_back();
  }
  places_[index] = PendingOperation{.request = request, .live = true};
  const auto fd = static_cast<std::size_t>(request.fd);
  if (by_descriptor_.size() <= fd) by_descriptor_.resize(fd + 1);
  List& list = by_descriptor_[fd];
  if (list.last == kNoOperation) {
    list.first = index;
  } else {
    places_[list.last].next = index;
  }
  list.last = index;
  link_bucket(index);
  ++live_;
  return index;
}

void EpollOperations::remove(OperationIndex index) {
  MXRING_ASSERT(index < places_.size() && places_[index].live && live_ > 0);
  List& list = by_descriptor_[static_cast<std::size_t>(places_[index].request.fd)];
  OperationIndex before = kNoOperation;
  for (OperationIndex at = list.first; at != index; at = places_[at].next) {
    MXRING_ASSERT(at != kNoOperation);
    before = at;
  }
  (before == kNoOperation ? list.first : places_[before].next) = places_[index].next;
  if (list.last == index) list.last = before;

  OperationIndex* link = &buckets_[bucket_of(places_[index].request.tag)];
  while (*link != index) {
    MXRING_ASSERT(*link != kNoOperation);
    link = &places_[*link].next_in_bucket;
  }
  *link = places_[index].next_in_bucket;

  places_[index].live = false;
  free_.push_back(index);
  --live_;
}

OperationIndex EpollOperations::first_of(int fd) const {
  const auto at = static_cast<std::size_t>(fd);
  return at < by_descriptor_.size() ? by_descriptor_[at].first : kNoOperation;
}

OperationIndex EpollOperations::find(Tag tag) const {
  for (OperationIndex at = buckets_[bucket_of(tag)]; at != kNoOperation;
       at = places_[at].next_in_bucket) {
    if (places_[at].request.tag == tag) return at;
  }
  return kNoOperation;
}

void EpollOperations::invariants() const {
  std::size_t listed = 0;
  for (std::size_t fd = 0; fd < by_descriptor_.size(); ++fd) {
    OperationIndex last = kNoOperation;
    for (OperationIndex at = by_descriptor_[fd].first; at != kNoOperation; at = places_[at].next) {
      MXRING_ASSERT(places_[at].live && places_[at].request.fd == static_cast<int>(fd));
      MXRING_ASSERT(++listed <= live_);  // no circle
      last = at;
    }
    MXRING_ASSERT(by_descriptor_[fd].last == last);
  }
  std::size_t hashed = 0;
  for (OperationIndex at : buckets_) {
    for (; at != kNoOperation; at = places_[at].next_in_bucket) {
      MXRING_ASSERT(places_[at].live && ++hashed <= live_);
    }
  }
  MXRING_ASSERT(listed == live_ && hashed == live_ && live_ + free_.size() == places_.size());
}

}  // namespace mxring::uring
