#include "uring/probe.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <liburing.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string_view>
#include <vector>

#include "base/units.h"

namespace mxring::uring {

namespace {

constexpr unsigned kCapSysAdmin = 21;

constexpr std::string_view kNeeded = "mxring needs Linux 6.1 or newer";

struct Version {
  int major = 0;
  int minor = 0;
  friend auto operator<=>(const Version&, const Version&) = default;
};

Version version_of(const std::string& release) {
  Version version;
  if (std::sscanf(release.c_str(), "%d.%d", &version.major, &version.minor) != 2) return {};
  return version;
}

std::string kernel_release() {
  utsname names{};
  return uname(&names) == 0 ? names.release : "";
}

// A whole small file of /proc; empty when it is not there or no descriptor is left to read it.
std::string contents_of(const char* path) {
  std::string contents;
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return contents;
  char part[4096];
  for (ssize_t n = 0; (n = ::read(fd, part, sizeof part)) > 0;) {
    contents.append(part, static_cast<std::size_t>(n));
  }
  ::close(fd);
  return contents;
}

std::optional<long long> number_in(const char* path) {
  const std::string contents = contents_of(path);
  long long number = 0;
  const auto [end, error] =
      std::from_chars(contents.data(), contents.data() + contents.size(), number);
  if (error != std::errc{}) return std::nullopt;
  return number;
}

// The value after "key:" in /proc/self/status.
std::string status_field(std::string_view key) {
  std::string contents = "\n";
  contents += contents_of("/proc/self/status");
  const std::size_t found = contents.find(fmt::format("\n{}:", key));
  if (found == std::string::npos) return "";
  const std::size_t end = contents.find('\n', found + 1);
  const std::size_t value = contents.find_first_not_of(" \t", found + key.size() + 2);
  return value >= end ? "" : contents.substr(value, end - value);
}

bool is_exempt_from_sysctl() {
  const std::string capabilities = status_field("CapEff");
  if (!capabilities.empty() &&
      (std::strtoull(capabilities.c_str(), nullptr, 16) >> kCapSysAdmin & 1) != 0) {
    return true;
  }
  const auto group = number_in("/proc/sys/kernel/io_uring_group");
  if (!group || *group < 0) return false;
  const auto wanted = static_cast<gid_t>(*group);
  if (getegid() == wanted) return true;
  const int count = getgroups(0, nullptr);
  std::vector<gid_t> groups(static_cast<std::size_t>(std::max(count, 0)));
  if (getgroups(count, groups.data()) < 0) return false;
  return std::find(groups.begin(), groups.end(), wanted) != groups.end();
}

std::uint64_t limit_of(__rlimit_resource resource) {
  rlimit limit{};
  if (getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return ~0ULL;
  return limit.rlim_cur;
}

std::string too_old(const SetupFacts& facts) {
  return fmt::format("this kernel ({}) is too old: {}", facts.kernel, kNeeded);
}

std::string seccomp_line(const SetupFacts& facts) {
  return fmt::format(
      "io_uring is forbidden by a seccomp filter ({}), as container runtimes install: let the "
      "container call io_uring_setup, io_uring_enter and io_uring_register (Docker, Podman: "
      "--security-opt seccomp=unconfined or a profile with these three)",
      std::strerror(facts.error));
}

std::string explain_refusal(const SetupFacts& facts) {
  if (facts.sysctl_disabled == 2) {
    return "io_uring is forbidden on this host: kernel.io_uring_disabled = 2; allow it with "
           "sysctl -w kernel.io_uring_disabled=0";
  }
  if (facts.sysctl_disabled == 1 && !facts.sysctl_exempt) {
    return "io_uring is forbidden for this user: kernel.io_uring_disabled = 1; put the user into "
           "the group named by kernel.io_uring_group, or sysctl -w kernel.io_uring_disabled=0";
  }
  if (facts.seccomp_mode == 2) return seccomp_line(facts);
  return fmt::format(
      "io_uring is forbidden ({}), though kernel.io_uring_disabled allows it and no seccomp filter "
      "is installed: look for a rule of a security module (SELinux, AppArmor, BPF)",
      std::strerror(facts.error));
}

std::string explain_no_memory(const SetupFacts& facts) {
  const std::string limit = facts.memlock_bytes == ~0ULL ? std::string("unlimited")
                                                         : base::format_bytes(facts.memlock_bytes);
  return fmt::format(
      "no memory for an io_uring: the locked-memory limit is {}; raise it (ulimit -l unlimited, or "
      "LimitMEMLOCK=infinity in the unit), or the memory limit of the container",
      limit);
}

}  // namespace

Features probe() {
  Features features;
  features.kernel = kernel_release();
  io_uring ring{};
  io_uring_params params{};
  params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
  const int result = io_uring_queue_init_params(8, &ring, &params);
  if (result < 0) {
    features.problem = explain_setup_failure(-result);
    return features;
  }
  features.usable = true;
  // There is no flag to ask for it; a kernel that knows DEFER_TASKRUN (6.1) has it (6.0).
  features.receive_multishot = true;
  io_uring_queue_exit(&ring);
  return features;
}

SetupFacts gather_setup_facts(int error) {
  SetupFacts facts;
  facts.error = error;
  facts.kernel = kernel_release();
  facts.sysctl_disabled =
      static_cast<int>(number_in("/proc/sys/kernel/io_uring_disabled").value_or(-1));
  facts.sysctl_exempt = is_exempt_from_sysctl();
  facts.seccomp_mode = std::atoi(status_field("Seccomp").c_str());
  facts.memlock_bytes = limit_of(RLIMIT_MEMLOCK);
  facts.descriptors_max = limit_of(RLIMIT_NOFILE);
  return facts;
}

std::string explain(const SetupFacts& facts) {
  const bool old = version_of(facts.kernel) < Version{6, 1};
  switch (facts.error) {
    case EPERM:
    case EACCES:
      return explain_refusal(facts);
    case ENOSYS:
      if (version_of(facts.kernel) < Version{5, 1}) return too_old(facts);
      if (facts.seccomp_mode == 2) return seccomp_line(facts);
      return fmt::format("this kernel ({}) was built without io_uring (CONFIG_IO_URING): {}",
                         facts.kernel, kNeeded);
    case EINVAL:
      if (old) return too_old(facts);
      return fmt::format(
          "this kernel ({}) refuses an io_uring with SINGLE_ISSUER and DEFER_TASKRUN, though its "
          "version should know them: {} with these unpatched",
          facts.kernel, kNeeded);
    case ENOMEM:
      return explain_no_memory(facts);
    case EMFILE:
      return fmt::format(
          "no descriptor left for an io_uring: the limit is {}; raise it (ulimit -n 65536, or "
          "LimitNOFILE=65536 in the unit)",
          facts.descriptors_max);
    case ENFILE:
      return "no descriptor left on this host for an io_uring: raise fs.file-max";
    default:
      return fmt::format("io_uring could not be set up on kernel {}: {}", facts.kernel,
                         std::strerror(facts.error));
  }
}

std::string explain_setup_failure(int error) {
  return explain(gather_setup_facts(error));
}

}  // namespace mxring::uring
