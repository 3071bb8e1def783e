// How far a log has come, in three steps that must not be taken for each other: what has been
// written, what of it is on stable storage, and what readers and clients have been told of. Each is
// one past an offset; none goes back, and none overtakes the one before.
//
// Thread: the writer's. Pure.
#pragma once

#include <cstdint>

#include "base/assert.h"

namespace mxring::seglog {

struct Written {
  std::uint64_t next = 0;
};
struct Durable {
  std::uint64_t next = 0;
};
struct Told {
  std::uint64_t next = 0;
};

class Marks {
 public:
  // Where a log that has been recovered goes on: all of it is durable and known.
  void begin(std::uint64_t next) { written_.next = durable_.next = told_.next = next; }
  void write(Written to) {
    MXRING_ASSERT(to.next >= written_.next);
    written_ = to;
  }
  void sync(Durable to) {
    MXRING_ASSERT(to.next >= durable_.next && to.next <= written_.next);
    durable_ = to;
  }
  void tell(Told to) {
    MXRING_ASSERT(to.next >= told_.next && to.next <= durable_.next);
    told_ = to;
  }
  Written written() const { return written_; }
  Durable durable() const { return durable_; }
  Told told() const { return told_; }

 private:
  Written written_;
  Durable durable_;
  Told told_;
};

}  // namespace mxring::seglog
