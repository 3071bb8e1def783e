#include "cli/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "base/clock.h"

namespace mxring::cli {

namespace {

constexpr std::int64_t kDrawEveryNs = 100 * base::kNsPerMs;

std::size_t terminal_columns() {
  winsize size{};
  const bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : 80;
}

}  // namespace

Progress::Progress(std::string_view what) : what_(what), enabled_(isatty(STDERR_FILENO) == 1) {}

bool Progress::due() const {
  return enabled_ && base::read_clocks().mono.ns >= next_draw_ns_;
}

void Progress::show(double fraction, std::string_view note) {
  if (!due()) return;
  next_draw_ns_ = base::read_clocks().mono.ns + kDrawEveryNs;
  // The last column stays free, or some terminals wrap.
  fmt::print(stderr, "\r\x1b[K{}", progress_line(what_, fraction, note, terminal_columns() - 1));
  std::fflush(stderr);
  drawn_ = true;
}

void Progress::clear() {
  if (!drawn_) return;
  fmt::print(stderr, "\r\x1b[K");
  std::fflush(stderr);
  drawn_ = false;
}

std::string progress_line(std::string_view what, double fraction, std::string_view note,
                          std::size_t columns) {
  constexpr std::size_t kBarCells = 24;
  const double whole = std::clamp(fraction, 0.0, 1.0);
  const auto full = static_cast<std::size_t>(whole * static_cast<double>(kBarCells));
  std::string line =
      fmt::format("{} [{}{}] {:3}%  {}", what, std::string(full, '#'),
                  std::string(kBarCells - full, '.'), static_cast<int>(whole * 100), note);
  if (line.size() > columns) line.resize(columns);
  return line;
}

bool colour_wanted() {
  const char* no_colour = std::getenv("NO_COLOR");
  return isatty(STDOUT_FILENO) == 1 && (no_colour == nullptr || *no_colour == '\0');
}

}  // namespace mxring::cli
