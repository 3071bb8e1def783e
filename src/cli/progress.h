// A progress line on standard error, for work that takes a while; nothing when standard error is
// not a terminal. Redrawn at most ten times a second and removed at the end.
//
// Thread: one.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace mxring::cli {

class Progress {
 public:
  explicit Progress(std::string_view what);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() { clear(); }

  // `fraction` is 0 to 1; `note` says where the work is: "12,345 records, 1.2 GiB".
  void show(double fraction, std::string_view note);
  void clear();
  // Cheap test, so that callers need not build a note that is not going to be drawn.
  bool due() const;

 private:
  std::string what_;
  bool enabled_ = false;
  bool drawn_ = false;
  std::int64_t next_draw_ns_ = 0;
};

// One line of the progress display, `columns` wide at most: "verify [####....] 42%  NOTE".
std::string progress_line(std::string_view what, double fraction, std::string_view note,
                          std::size_t columns);

// Words in colour on standard output: only on a terminal, and not with NO_COLOR set.
bool colour_wanted();

}  // namespace mxring::cli
