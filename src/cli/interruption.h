// SIGINT and SIGTERM for commands that wait: told by a descriptor, so that a wait for input, for
// records or for a full pipe ends at once.
//
// Thread: any; one object for the process.
#pragma once

namespace mxring::cli {

class Interruption {
 public:
  Interruption();  // from here on the two signals end nothing by themselves
  Interruption(const Interruption&) = delete;
  Interruption& operator=(const Interruption&) = delete;
  ~Interruption();

  // Becomes readable, and stays so.
  int fd() const { return read_end_; }
  bool happened() const;

 private:
  int read_end_ = -1;
};

}  // namespace mxring::cli
