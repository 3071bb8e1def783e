// SIGTERM, SIGINT and SIGHUP as a descriptor to wait for. SIGPIPE is ignored.
//
// Thread: made by the main thread before any other, so that all of them leave these to it.
#pragma once

#include "base/owned_fd.h"

namespace mxring::relay {

class Signals {
 public:
  Signals();
  int fd() const { return fd_.get(); }
  void take();  // what has come since
  bool stop() const { return stop_; }
  bool take_reload() {
    const bool wanted = reload_;
    reload_ = false;
    return wanted;
  }

 private:
  base::OwnedFd fd_;
  bool stop_ = false;
  bool reload_ = false;
};

}  // namespace mxring::relay
