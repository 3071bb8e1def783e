// The directory that a writer writes to: made if need be, on a file system that can keep the
// promise, locked for this process alone, with its state page.
#pragma once

#include <expected>

#include "seglog/lock_file.h"
#include "seglog/state_file.h"
#include "seglog/writer.h"
#include "uring/file.h"

namespace mxring::seglog {

struct LogHome {
  uring::File directory;
  LockFile lock;
  StatePage state;
};

// Makes the directory when there is none, unless it would be on a file system that open_home()
// refuses; who opens the log as somebody else does this before.
std::expected<void, OpenError> make_home(const WriterOptions& options);
// Nothing is left behind by a refusal that could be told before.
std::expected<void, OpenError> open_home(const WriterOptions& options, LogHome& home);

}  // namespace mxring::seglog
