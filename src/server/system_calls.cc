#include "server/system_calls.h"

#include <fmt/format.h>
#include <linux/fs.h>
#include <linux/prctl.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <vector>

#include "base/assert.h"

namespace mxring::server {

namespace {

// What an argument has to be. kAny: it is not looked at.
struct Condition {
  enum class Kind : std::uint8_t { kAny, kEquals, kHasNoneOf, kHasAllOf, kIsOurProcess };
  Kind kind = Kind::kAny;
  unsigned argument = 0;
  std::uint64_t value = 0;
};

constexpr Condition equals(unsigned argument, std::uint64_t value) {
  return {Condition::Kind::kEquals, argument, value};
}
constexpr Condition has_none_of(unsigned argument, std::uint64_t bits) {
  return {Condition::Kind::kHasNoneOf, argument, bits};
}
constexpr Condition has_all_of(unsigned argument, std::uint64_t bits) {
  return {Condition::Kind::kHasAllOf, argument, bits};
}
constexpr Condition is_our_process(unsigned argument) {
  return {Condition::Kind::kIsOurProcess, argument, 0};
}

struct Row {
  std::string_view name;
  std::string_view reason;
  Condition condition = {};
};

constexpr std::string_view kFiles = "the log, certificates, the journal";
constexpr std::string_view kLog = "the log: segments, cursors, retention";
constexpr std::string_view kSockets = "clients, the resolver, the administration";
constexpr std::string_view kMemory = "memory";
constexpr std::string_view kThreads = "threads and their locks";
constexpr std::string_view kSignals = "signals";
constexpr std::string_view kTime = "clocks and waiting";
constexpr std::string_view kRing = "the ring, or epoll where there is none";
constexpr std::string_view kFacts = "who and where we are, for metrics";

constexpr std::array kRows{
    Row{"read", kFiles},
    Row{"readv", kFiles},
    Row{"pread64", kFiles},
    Row{"preadv", kFiles},
    Row{"write", kFiles},
    Row{"writev", kFiles},
    Row{"pwrite64", kFiles},
    Row{"pwritev", kFiles},
    Row{"pwritev2", kFiles},
    Row{"open", kFiles},
    Row{"openat", kFiles},
    Row{"close", kFiles},
    Row{"lseek", kFiles},
    Row{"fstat", kFiles},
    Row{"stat", kFiles},
    Row{"lstat", kFiles},
    Row{"newfstatat", kFiles},
    Row{"statx", kFiles},
    Row{"access", kFiles},
    Row{"faccessat", kFiles},
    Row{"faccessat2", kFiles},
    Row{"readlink", kFiles},
    Row{"readlinkat", kFiles},
    Row{"getdents64", kFiles},
    Row{"getcwd", kFiles},
    Row{"fcntl", kFiles},
    Row{"dup", kFiles},
    Row{"umask", kFiles},
    Row{"fchmod", kFiles},
    Row{"statfs", kLog},
    Row{"fstatfs", kLog},
    Row{"mkdir", kLog},
    Row{"mkdirat", kLog},
    Row{"rename", kLog},
    Row{"renameat", kLog},
    Row{"renameat2", kLog},
    Row{"link", kLog},
    Row{"linkat", kLog},
    Row{"unlink", kLog},
    Row{"unlinkat", kLog},
    Row{"rmdir", kLog},
    Row{"ftruncate", kLog},
    Row{"fallocate", kLog},
    Row{"fsync", kLog},
    Row{"fdatasync", kLog},
    Row{"sync_file_range", kLog},
    Row{"fadvise64", kLog},
    Row{"flock", kLog},
    Row{"utimensat", kLog},
    Row{"ioctl", "how many bytes wait", equals(1, FIONREAD)},
    Row{"ioctl", "the resolver's sockets do not block", equals(1, FIONBIO)},
    Row{"ioctl", "whether this is a terminal", equals(1, TCGETS)},
    Row{"ioctl", "segments that are not copied on write", equals(1, FS_IOC_GETFLAGS)},
    Row{"ioctl", "segments that are not copied on write", equals(1, FS_IOC_SETFLAGS)},
    Row{"socket", "the resolver", equals(0, AF_INET)},
    Row{"socket", "the resolver", equals(0, AF_INET6)},
    Row{"socket", "the service manager", equals(0, AF_UNIX)},
    Row{"connect", kSockets},
    Row{"bind", "the resolver's sockets; Landlock refuses TCP"},
    Row{"accept", kSockets},
    Row{"accept4", kSockets},
    Row{"recvfrom", kSockets},
    Row{"recvmsg", kSockets},
    Row{"recvmmsg", kSockets},
    Row{"sendto", kSockets},
    Row{"sendmsg", kSockets},
    Row{"sendmmsg", kSockets},
    Row{"shutdown", kSockets},
    Row{"getsockname", kSockets},
    Row{"getpeername", kSockets},
    Row{"getsockopt", kSockets},
    Row{"setsockopt", kSockets},
    Row{"io_uring_enter", kRing},
    Row{"io_uring_register", kRing},
    Row{"epoll_create1", kRing},
    Row{"epoll_ctl", kRing},
    Row{"epoll_wait", kRing},
    Row{"epoll_pwait", kRing},
    Row{"epoll_pwait2", kRing},
    Row{"poll", kRing},
    Row{"ppoll", kRing},
    Row{"select", kRing},
    Row{"pselect6", kRing},
    Row{"eventfd2", "waking a thread that sleeps in its ring"},
    Row{"pipe2", "waking a thread"},
    Row{"inotify_init1", "waking whoever follows the log"},
    Row{"inotify_add_watch", "waking whoever follows the log"},
    Row{"mmap", kMemory, has_none_of(2, PROT_EXEC)},
    Row{"mprotect", kMemory, has_none_of(2, PROT_EXEC)},
    Row{"munmap", kMemory},
    Row{"mremap", kMemory},
    Row{"madvise", kMemory},
    Row{"brk", kMemory},
    Row{"mlock", kMemory},
    Row{"munlock", kMemory},
    Row{"get_mempolicy", kMemory},
    Row{"mbind", kMemory},
    Row{"membarrier", kThreads},
    Row{"futex", kThreads},
    Row{"set_robust_list", kThreads},
    Row{"rseq", kThreads},
    Row{"clone", "a thread, never a process", has_all_of(0, CLONE_THREAD | CLONE_VM)},
    Row{"set_tid_address", kThreads},
    Row{"gettid", kThreads},
    Row{"sched_yield", kThreads},
    Row{"sched_getaffinity", kThreads},
    Row{"sched_setaffinity", kThreads},
    Row{"getcpu", kThreads},
    Row{"prctl", "a thread's name", equals(0, PR_SET_NAME)},
    Row{"prctl", "a thread's name", equals(0, PR_GET_NAME)},
    Row{"prctl", "a mapping's name", equals(0, PR_SET_VMA)},
    Row{"exit", kThreads},
    Row{"exit_group", "the end"},
    Row{"rt_sigaction", kSignals},
    Row{"rt_sigprocmask", kSignals},
    Row{"rt_sigreturn", kSignals},
    Row{"rt_sigtimedwait", kSignals},
    Row{"sigaltstack", kSignals},
    Row{"restart_syscall", kSignals},
    Row{"tgkill", "a thread of ours, abort(3) included", is_our_process(0)},
    Row{"clock_gettime", kTime},
    Row{"clock_getres", kTime},
    Row{"clock_nanosleep", kTime},
    Row{"nanosleep", kTime},
    Row{"gettimeofday", kTime},
    Row{"time", kTime},
    Row{"getrandom", "message ids, TLS, DNS ids"},
    Row{"getpid", kFacts},
    Row{"getppid", kFacts},
    Row{"getuid", kFacts},
    Row{"geteuid", kFacts},
    Row{"getgid", kFacts},
    Row{"getegid", kFacts},
    Row{"getrusage", kFacts},
    Row{"getrlimit", kFacts},
    Row{"prlimit64", "reading a limit, not setting it", equals(2, 0)},
    Row{"sysinfo", kFacts},
    Row{"uname", kFacts},
    Row{"times", kFacts},
};

scmp_arg_cmp compare(const Condition& condition) {
  const unsigned argument = condition.argument;
  switch (condition.kind) {
    case Condition::Kind::kHasNoneOf:
      return SCMP_CMP64(argument, SCMP_CMP_MASKED_EQ, condition.value, 0);
    case Condition::Kind::kHasAllOf:
      return SCMP_CMP64(argument, SCMP_CMP_MASKED_EQ, condition.value, condition.value);
    case Condition::Kind::kIsOurProcess:
      return SCMP_CMP64(argument, SCMP_CMP_EQ, static_cast<std::uint64_t>(::getpid()));
    case Condition::Kind::kEquals:
    case Condition::Kind::kAny:
      break;
  }
  return SCMP_CMP64(argument, SCMP_CMP_EQ, condition.value);
}

// 0, or a negative errno.
int allow(scmp_filter_ctx filter, const Row& row) {
  const int number = ::seccomp_syscall_resolve_name(std::string(row.name).c_str());
  // Negative: this architecture or library has no such call, so nobody can make it.
  if (number < 0) return 0;
  if (row.condition.kind == Condition::Kind::kAny) {
    return ::seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0);
  }
  return ::seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 1, compare(row.condition));
}

int fill(scmp_filter_ctx filter) {
  for (const Row& row : kRows) {
    if (const int error = allow(filter, row); error < 0) return error;
  }
  // Its flags lie in memory, where no filter looks; the C library then uses clone(2).
  const int clone3 = ::seccomp_syscall_resolve_name("clone3");
  if (clone3 >= 0) {
    if (const int error = ::seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), clone3, 0);
        error < 0) {
      return error;
    }
  }
  // The kernel keeps a table of what is always allowed (5.11) and runs the filter, as a tree rather
  // than a list, for the rest.
  ::seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
  ::seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0);  // it is set; an error to have forgotten it
  return ::seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
}

}  // namespace

std::span<const SystemCallRule> system_call_rules() {
  static const std::vector<SystemCallRule> rules = [] {
    std::vector<SystemCallRule> all;
    for (const Row& row : kRows) all.push_back({row.name, row.reason});
    return all;
  }();
  return rules;
}

std::expected<void, std::string> confine_system_calls() {
  const scmp_filter_ctx filter = ::seccomp_init(SCMP_ACT_ERRNO(EPERM));
  if (filter == nullptr) return std::unexpected("seccomp: no memory for the filter");
  int error = fill(filter);
  if (error >= 0) error = ::seccomp_load(filter);
  ::seccomp_release(filter);
  if (error < 0) return std::unexpected(fmt::format("seccomp: {}", std::strerror(-error)));
  return {};
}

}  // namespace mxring::server
