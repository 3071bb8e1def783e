// Standard output of a command: gathered into large writes, and quiet about a reader that has gone
// (`mxring log cat | head`): then write() says so, the command stops, and that is no failure.
//
// With a descriptor to stop by (Interruption) a full pipe does not hold the command: once that is
// readable, write() and flush() give up what is left and say false.
//
// Thread: one. Failure: any other write error is told once on standard error; failed() is true.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace mxring::cli {

// Of the terminal that standard output is, or what COLUMNS says of it; 0 when it is none.
std::size_t output_columns();

class Output {
 public:
  // Ignores SIGPIPE for the whole process. `stop_fd`: see above; -1 = none.
  explicit Output(int stop_fd = -1);
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;
  ~Output();

  // While it waits for room this descriptor is looked at too, and `ready` called when there is
  // something to read: for a reader that answers before it reads on.
  void also_read(int fd, std::function<void()> ready);

  // False when nobody reads any more: stop.
  bool write(std::string_view bytes);
  bool flush();
  // For output that waits: has the reader gone, without writing to it?
  bool reader_gone();
  bool failed() const { return failed_; }
  // It was stopped before everything was written.
  bool stopped() const { return stopped_; }

 private:
  bool write_through(std::string_view bytes);
  bool wait_for_room();
  long write_some(std::string_view bytes);
  bool going() const { return !gone_ && !failed_ && !stopped_; }

  std::string pending_;
  int stop_fd_;
  int also_fd_ = -1;
  std::function<void()> also_ready_;
  int own_fd_ = -1;  // standard output opened again, so that not blocking concerns nobody else
  bool gone_ = false;
  bool failed_ = false;
  bool stopped_ = false;
};

}  // namespace mxring::cli
