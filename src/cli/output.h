// Standard output of a command: gathered into large writes, and quiet about a reader that has gone
// (`mxring log cat | head`): then write() says so, the command stops, and that is no failure.
//
// Thread: one. Failure: any other write error is told once on standard error; failed() is true.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace mxring::cli {

// Of the terminal that standard output is, or what COLUMNS says of it; 0 when it is none.
std::size_t output_columns();

class Output {
 public:
  Output();  // ignores SIGPIPE for the whole process
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;
  ~Output() { flush(); }

  // False when nobody reads any more: stop.
  bool write(std::string_view bytes);
  bool flush();
  // For output that waits: has the reader gone, without writing to it?
  bool reader_gone();
  bool failed() const { return failed_; }

 private:
  bool write_through(std::string_view bytes);

  std::string pending_;
  bool gone_ = false;
  bool failed_ = false;
};

}  // namespace mxring::cli
