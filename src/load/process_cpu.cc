#include "load/process_cpu.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <system_error>

namespace mxring::load {

namespace {

// Fields 14 and 15 of proc(5); the name in field 2 may hold blanks and brackets.
constexpr int kFieldsBetweenNameAndTimes = 11;
// Two readings of one moment differ by rounding to ticks, two of them, and little else.
constexpr double kAgreementSeconds = 0.05;

double schedstat_seconds(int pid) {
  std::error_code error;
  double seconds = 0;
  std::filesystem::directory_iterator at(fmt::format("/proc/{}/task", pid), error);
  for (const std::filesystem::directory_iterator end; !error && at != end; at.increment(error)) {
    std::ifstream file(at->path() / "schedstat");
    std::uint64_t ns = 0;
    if (file >> ns) seconds += static_cast<double>(ns) * 1e-9;
  }
  return seconds;
}

}  // namespace

std::optional<ProcessCpu> read_process_cpu(int pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const std::size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(text.substr(name_end + 1));
  std::string skipped;
  for (int i = 0; i < kFieldsBetweenNameAndTimes; ++i) fields >> skipped;
  std::uint64_t user = 0;
  std::uint64_t system = 0;
  if (!(fields >> user >> system)) return std::nullopt;
  const auto tick = 1.0 / static_cast<double>(::sysconf(_SC_CLK_TCK));
  ProcessCpu cpu;
  cpu.user_seconds = static_cast<double>(user) * tick;
  cpu.system_seconds = static_cast<double>(system) * tick;
  const double coarse = cpu.user_seconds + cpu.system_seconds;
  const double fine = schedstat_seconds(pid);
  cpu.total_seconds = std::abs(fine - coarse) < kAgreementSeconds ? fine : coarse;
  return cpu;
}

}  // namespace mxring::load
