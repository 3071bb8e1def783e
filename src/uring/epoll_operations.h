// The operations that an EpollEngine has under way: by descriptor, in the order in which they were
// queued, and by tag. Places are used again, so that after warm-up nothing is allocated.
// Thread: the engine's.
#pragma once

#include <cstdint>
#include <vector>

#include "uring/engine.h"

namespace mxring::uring {

using OperationIndex = std::uint32_t;
constexpr OperationIndex kNoOperation = ~OperationIndex{0};

struct PendingOperation {
  Request request;
  std::uint64_t sent = 0;   // bytes of a send or write that are done
  bool connecting = false;  // connect(2) is under way
  bool live = false;
  OperationIndex next = kNoOperation;  // of the same descriptor, younger
  OperationIndex next_in_bucket = kNoOperation;
};

class EpollOperations {
 public:
  OperationIndex add(const Request& request);
  void remove(OperationIndex index);
  PendingOperation& operator[](OperationIndex index) { return places_[index]; }

  // The oldest operation on a descriptor; the others follow by `next`.
  OperationIndex first_of(int fd) const;
  OperationIndex find(Tag tag) const;
  std::size_t size() const { return live_; }
  // What is linked is live, and each live operation is in its descriptor's list and its bucket
  // once.
  void invariants() const;

 private:
  struct List {
    OperationIndex first = kNoOperation;
    OperationIndex last = kNoOperation;
  };
  std::size_t bucket_of(Tag tag) const;
  void link_bucket(OperationIndex index);
  void grow_buckets();

  std::vector<PendingOperation> places_;
  std::vector<OperationIndex> free_;
  std::vector<List> by_descriptor_;
  std::vector<OperationIndex> buckets_ = std::vector<OperationIndex>(64, kNoOperation);
  std::size_t live_ = 0;
};

}  // namespace mxring::uring
