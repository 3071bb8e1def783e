// What this kernel's io_uring can do, asked once at start, in this one place.
//
//   feature                     kernel   without it
//   multishot receive           6.0      the server does not start
//   SINGLE_ISSUER               6.0      the server does not start
//   DEFER_TASKRUN               6.1      the server does not start
#pragma once

#include <cstdint>
#include <string>

namespace mxring::uring {

struct Features {
  bool usable = false;  // a ring with SINGLE_ISSUER and DEFER_TASKRUN could be made
  bool receive_multishot = false;
  std::string kernel;   // uname -r
  std::string problem;  // when not usable: one line, cause and remedy
};

Features probe();

// The line for a failed io_uring_setup(2): looks at the sysctl, seccomp and the kernel version to
// say which of them it was and what to do.
std::string explain_setup_failure(int error);

// What such a line is made from, so that tests can invent hosts.
struct SetupFacts {
  int error = 0;                    // errno of io_uring_setup(2)
  std::string kernel;               // uname -r
  int sysctl_disabled = -1;         // kernel.io_uring_disabled; -1: this kernel has no such setting
  bool sysctl_exempt = false;       // 1 does not concern us: CAP_SYS_ADMIN or kernel.io_uring_group
  int seccomp_mode = 0;             // of /proc/self/status; 2 = a filter is installed
  std::uint64_t memlock_bytes = 0;  // RLIMIT_MEMLOCK, ~0 = unlimited
  std::uint64_t descriptors_max = 0;  // RLIMIT_NOFILE
};
SetupFacts gather_setup_facts(int error);
std::string explain(const SetupFacts& facts);

}  // namespace mxring::uring
