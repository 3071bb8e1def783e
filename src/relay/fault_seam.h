// The calls by which a relay changes the world: what it writes, syncs, renames and sends. Each is a
// numbered step, and MXRING_RELAY_FAULT in the environment names one at which something happens:
//
//   kill:N        the process is gone, as by kill -9, before the N-th step (from 1)
//   fail:N:ERRNO  the N-th step fails with this errno and does nothing
//   count:FILE    the number of steps is written to FILE at each of them
//
// For tests; without the variable a step is one branch.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string_view>

namespace mxring::relay::seam {

// Called before a step that is made elsewhere (libcurl, libnats, the cursor). False: it is to fail,
// errno is set.
bool step();
std::uint64_t steps();

ssize_t write(int fd, std::string_view bytes);
ssize_t send(int fd, std::string_view bytes);
int fsync(int fd);
int fdatasync(int fd);
int syncfs(int fd);
int rename(int from_fd, const char* from, int to_fd, const char* to);
int unlink(int folder_fd, const char* name);

}  // namespace mxring::relay::seam
