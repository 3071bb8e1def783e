#include "tune/check.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "seglog/file_system.h"

namespace mxring::tune {

namespace fs = std::filesystem;

std::string_view word(Verdict verdict) {
  switch (verdict) {
    case Verdict::kOk:
      return "ok";
    case Verdict::kAdvice:
      return "advice";
    case Verdict::kProblem:
      return "problem";
    case Verdict::kSkipped:
      break;
  }
  return "skipped";
}

LogPlace find_log_place(const std::string& directory) {
  LogPlace place;
  place.directory = directory;
  std::error_code error;
  fs::path path = fs::absolute(directory, error);
  while (!fs::is_directory(path, error)) {
    if (fs::exists(path, error)) {
      place.problem = path.string() + " is not a folder";
      return place;
    }
    if (path == path.parent_path()) break;
    path = path.parent_path();
  }
  place.existing = path.string();
  const int fd = ::open(place.existing.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) {
    place.problem = fmt::format("{} cannot be opened: {}", place.existing, std::strerror(errno));
    return place;
  }
  if (const auto unfit = seglog::unfit_file_system(fd)) place.unfit = unfit->name;
  const seglog::Space space = seglog::file_system_space(fd);
  place.free_bytes = space.free_bytes;
  place.total_bytes = space.total_bytes;
  struct stat status {};
  if (::fstat(fd, &status) == 0) {
    place.device_major = major(status.st_dev);
    place.device_minor = minor(status.st_dev);
  }
  ::close(fd);
  if (::access(place.existing.c_str(), W_OK) != 0) {
    place.problem = fmt::format("no right to write in {}", place.existing);
  }
  return place;
}

Row make_row(std::string_view group, std::string_view name, std::string_view why) {
  Row row;
  row.group = group;
  row.name = name;
  row.why = why;
  return row;
}

void skip(Row& row, std::string_view because) {
  row.verdict = Verdict::kSkipped;
  row.skipped = because;
  row.fix.clear();
  row.persist.clear();
  row.undo.clear();
}

void advise_sysctl(Row& row, std::string_view key, std::string_view wanted,
                   std::string_view current) {
  const bool list = wanted.find(' ') != std::string_view::npos;
  const std::string_view quote = list ? "'" : "";
  row.fix = fmt::format("sysctl -w {}{}={}{}", quote, key, wanted, quote);
  row.persist = fmt::format("{} = {} in /etc/sysctl.d/60-mxring.conf", key, wanted);
  row.undo = fmt::format("sysctl -w {}{}={}{}, and take the line out of the file", quote, key,
                         current, quote);
}

Row sysctl_row(const Host& host, const SysctlRule& rule) {
  Row row = make_row(rule.group, rule.key, rule.why);
  row.wanted = fmt::format("{} {}", rule.at_most ? "at most" : "at least", rule.wanted);
  std::string path = "/proc/sys/";
  path += rule.key;
  std::replace(path.begin() + 10, path.end(), '.', '/');
  const FileText file = host.read(path);
  const auto value = leading_number(file.text);
  if (!file.ok() || !value) {
    skip(row, file.ok() ? path + " holds no number" : file.problem);
    return row;
  }
  row.current = file.text;
  const bool holds = rule.at_most ? *value <= rule.wanted : *value >= rule.wanted;
  if (!holds) {
    row.verdict = Verdict::kAdvice;
    advise_sysctl(row, rule.key, fmt::format("{}", rule.wanted), file.text);
  }
  return row;
}

std::vector<Row> run_checks(const CheckInput& input) {
  std::vector<Row> rows;
  check_kernel(input, rows);
  check_limits(input, rows);
  check_processor(input, rows);
  check_memory(input, rows);
  check_network(input, rows);
  check_queues(input, rows);
  check_disk(input, rows);
  check_dns(input, rows);
  return rows;
}

}  // namespace mxring::tune
