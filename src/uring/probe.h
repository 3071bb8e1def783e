// What this kernel's io_uring can do, asked once at start, in this one place.
//
//   feature                     kernel   without it
//   multishot receive           6.0      the server does not start
//   SINGLE_ISSUER               6.0      the server does not start
//   DEFER_TASKRUN               6.1      the server does not start
//   receive bundles             6.10     one buffer per completion
//   incremental buffers         6.12     whole buffers
#pragma once

#include <string>

namespace mxring::uring {

struct Features {
  bool usable = false;          // a ring with SINGLE_ISSUER and DEFER_TASKRUN could be made
  bool receive_multishot = false;
  bool receive_bundle = false;
  bool incremental_buffers = false;
  std::string kernel;           // uname -r
  std::string problem;          // when not usable: one line, cause and remedy
};

Features probe();

// The line for a failed io_uring_setup(2): looks at the sysctl, seccomp and the kernel version to
// say which of them it was and what to do.
std::string explain_setup_failure(int error);

}  // namespace mxring::uring
