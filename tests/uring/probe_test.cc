// The line a user sees when io_uring cannot be had: invented hosts, and two real refusals.
#include "uring/probe.h"

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <functional>
#include <string>

#include "uring/ring.h"

namespace mxring::uring {
namespace {

// A host on which nothing stands in the way.
SetupFacts host(int error) {
  SetupFacts facts;
  facts.error = error;
  facts.kernel = "6.1.0-18-amd64";
  facts.sysctl_disabled = 0;
  facts.memlock_bytes = 64 * 1024;
  facts.descriptors_max = 1024;
  return facts;
}

void expect_line(const SetupFacts& facts, const std::vector<std::string>& parts) {
  const std::string line = explain(facts);
  EXPECT_EQ(line.find('\n'), std::string::npos);
  for (const std::string& part : parts) {
    EXPECT_NE(line.find(part), std::string::npos) << "\"" << part << "\" is not in: " << line;
  }
}

TEST(ExplainTest, SysctlForbidsEveryone) {
  SetupFacts facts = host(EPERM);
  facts.sysctl_disabled = 2;
  facts.sysctl_exempt = true;  // does not help against 2
  facts.seccomp_mode = 2;
  expect_line(facts, {"kernel.io_uring_disabled = 2", "sysctl -w kernel.io_uring_disabled=0"});
}

TEST(ExplainTest, SysctlForbidsThisUser) {
  SetupFacts facts = host(EPERM);
  facts.sysctl_disabled = 1;
  expect_line(facts, {"kernel.io_uring_disabled = 1", "kernel.io_uring_group"});
  facts.sysctl_exempt = true;  // then it was something else
  facts.seccomp_mode = 2;
  expect_line(facts, {"seccomp"});
}

TEST(ExplainTest, SeccompForbids) {
  for (const int error : {EPERM, ENOSYS}) {
    SetupFacts facts = host(error);
    facts.seccomp_mode = 2;
    expect_line(facts, {"seccomp", "io_uring_setup", "container"});
    facts.sysctl_disabled = -1;  // a kernel older than the setting
    expect_line(facts, {"seccomp"});
  }
}

TEST(ExplainTest, SecurityModuleForbids) {
  expect_line(host(EPERM), {"security module", "SELinux"});
  expect_line(host(EACCES), {"security module"});
}

TEST(ExplainTest, KernelTooOldOrWithoutIt) {
  SetupFacts facts = host(EINVAL);
  facts.kernel = "5.15.0-91-generic";
  expect_line(facts, {"5.15.0-91-generic", "too old", "6.1"});
  facts.kernel = "6.0.19";
  expect_line(facts, {"too old"});
  facts.kernel = "6.1.0";
  EXPECT_EQ(explain(facts).find("too old"), std::string::npos);
  facts = host(ENOSYS);
  expect_line(facts, {"CONFIG_IO_URING"});
  facts.kernel = "4.19.0-26-amd64";
  facts.seccomp_mode = 2;
  expect_line(facts, {"too old", "6.1"});
}

TEST(ExplainTest, LimitsReached) {
  expect_line(host(ENOMEM), {"64.0 KiB", "ulimit -l", "LimitMEMLOCK"});
  SetupFacts unlimited = host(ENOMEM);
  unlimited.memlock_bytes = ~0ULL;
  expect_line(unlimited, {"unlimited", "memory limit of the container"});
  expect_line(host(EMFILE), {"1024", "ulimit -n", "LimitNOFILE"});
  expect_line(host(ENFILE), {"fs.file-max"});
}

TEST(ExplainTest, AnythingElseNamesTheError) {
  expect_line(host(EIO), {"Input/output error"});
}

TEST(ProbeTest, AgreesWithTheRing) {
  const Features features = probe();
  EXPECT_FALSE(features.kernel.empty());
  EXPECT_EQ(features.usable, features.problem.empty());
  const auto ring = Ring::create({.engine = EngineChoice::kIoUring}, nullptr);
  EXPECT_EQ(ring.has_value(), features.usable);
  if (!ring.has_value()) {
    EXPECT_EQ(ring.error().message, features.problem);
    GTEST_SKIP() << features.problem;
  }
  EXPECT_TRUE(features.receive_multishot);
}

// Runs `restrict_child` and then Ring::create in a forked child; returns the line it got, or
// "skip" when the restriction itself was refused.
std::string line_in_child(const std::function<bool()>& restrict_child) {
  std::array<int, 2> ends{};
  EXPECT_EQ(::pipe(ends.data()), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    std::string line = "skip";
    if (restrict_child()) {
      const auto ring = Ring::create({.engine = EngineChoice::kIoUring}, nullptr);
      line = ring.has_value() ? "a ring was made" : ring.error().message;
    }
    const bool written = ::write(ends[1], line.data(), line.size()) >= 0;
    ::_exit(written ? 0 : 1);
  }
  ::close(ends[1]);
  std::string line;
  std::array<char, 1024> part{};
  for (ssize_t n = 0; (n = ::read(ends[0], part.data(), part.size())) > 0;) {
    line.append(part.data(), static_cast<std::size_t>(n));
  }
  ::close(ends[0]);
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  return line;
}

// What a container runtime's profile does: io_uring_setup(2) answers `error`.
bool install_filter(std::uint32_t error) {
  std::array<sock_filter, 4> program{{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0) == 0;
}

TEST(ProbeTest, RealSeccompFilterIsNamed) {
  const Features features = probe();
  if (!features.usable) GTEST_SKIP() << features.problem;
  for (const std::uint32_t error : {EPERM, ENOSYS}) {
    const std::string line = line_in_child([&] { return install_filter(error); });
    if (line == "skip") GTEST_SKIP() << "no seccomp filter can be installed here";
    EXPECT_NE(line.find("seccomp filter"), std::string::npos) << line;
    EXPECT_NE(line.find("io_uring_setup"), std::string::npos) << line;
    EXPECT_EQ(line.find('\n'), std::string::npos) << line;
  }
}

TEST(ProbeTest, WhereAFilterForbidsItEpollIsTakenAndTheReasonKept) {
  if (!probe().usable) GTEST_SKIP() << probe().problem;
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe(ends.data()), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::unsetenv("MXRING_SHARDS__ENGINE");
    std::string line = "skip";
    if (install_filter(EPERM)) {
      const auto ring = Ring::create({}, nullptr);
      line = ring ? std::string(ring->engine_name()) + ": " + ring->fallback_reason()
                  : ring.error().message;
    }
    const bool written = ::write(ends[1], line.data(), line.size()) >= 0;
    ::_exit(written ? 0 : 1);
  }
  ::close(ends[1]);
  std::array<char, 1024> line{};
  const ssize_t size = ::read(ends[0], line.data(), line.size());
  ::close(ends[0]);
  ::waitpid(child, nullptr, 0);
  const std::string_view said(line.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
  if (said == "skip") GTEST_SKIP() << "no seccomp filter can be installed here";
  EXPECT_TRUE(said.starts_with("epoll: io_uring is forbidden by a seccomp filter")) << said;
}

TEST(ProbeTest, RealDescriptorLimitIsNamed) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "UBSan looks at objects through a pipe, for which there is no descriptor left";
#endif
  const Features features = probe();
  if (!features.usable) GTEST_SKIP() << features.problem;
  const std::string line = line_in_child([] {
    const rlimit none{0, 0};  // open descriptors stay, new ones are refused
    return ::setrlimit(RLIMIT_NOFILE, &none) == 0;
  });
  if (line == "skip") GTEST_SKIP() << "the descriptor limit cannot be lowered here";
  EXPECT_NE(line.find("LimitNOFILE"), std::string::npos) << line;
}

}  // namespace
}  // namespace mxring::uring
