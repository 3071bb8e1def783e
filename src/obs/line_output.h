// Lines on their way to a descriptor whose reader may be slow, stopped or gone: standard error, the
// system's journal, a file. The descriptor is inherited and shared with others, so its O_NONBLOCK
// is not ours to set. Sockets are asked with MSG_DONTWAIT; everything else is polled first and
// given at most PIPE_BUF bytes, for which a pipe that polls writable has room. Another program may
// take that room between the two calls: then the write blocks, and interrupt() is what ends it.
//
// Thread: one, but for interrupt(), which any thread calls.
#pragma once

#include <pthread.h>

#include <cstddef>
#include <string>
#include <string_view>

namespace mxring::obs {

class LineOutput {
 public:
  enum class Flushed {
    kAll,     // nothing is left
    kLater,   // the reader takes no more for now
    kBroken,  // it never will again; what was left is gone
  };

  explicit LineOutput(int fd);

  // Bytes that wait. The caller looks at this before it appends more.
  std::size_t pending() const { return bytes_.size() - written_; }
  void append(std::string_view line) { bytes_.append(line); }
  // Writes what the reader takes; waits at most `wait_ms` for it to take something.
  Flushed flush(int wait_ms);
  // From now on to another descriptor, which stays the caller's. What waits goes there too.
  void redirect(int fd);

  // Before the first thread starts: what interrupt() needs.
  static void prepare_interrupts();
  // Ends a write(2) of that thread, now blocked or about to be; to be repeated until it has ended.
  static void interrupt(pthread_t thread);

 private:
  int fd_;
  bool socket_;
  std::string bytes_;
  std::size_t written_ = 0;
};

}  // namespace mxring::obs
