// The ring's state, shared by ring.cc and buffer_pool.cc. Private to this module: it is the one
// header that includes liburing.
#pragma once

#include <liburing.h>

#include <vector>

#include "uring/ring.h"

namespace mxring::uring {

struct Ring::Impl {
  io_uring ring{};
  FaultPlan* faults = nullptr;
  bool ready = false;                   // `ring` is set up and has to be torn down
  std::vector<Completion> completions;  // what submit_and_wait() returned last
  std::vector<Completion> early;        // collected or made up before the next submit_and_wait()

  Impl() = default;
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() {
    if (ready) io_uring_queue_exit(&ring);
  }
};

}  // namespace mxring::uring
