// A log file seen through the fault seam. Blocking calls on the caller's thread: the writer has a
// thread of its own, and buffered writes and fdatasync on a ring are handed to kernel worker
// threads, which measured twice the CPU per commit (DECISIONS.md).
//
// Errors are errno values; nothing is retried except EINTR before any byte was written.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <expected>
#include <span>
#include <string>

#include "uring/fault.h"

namespace mxring::uring {

class File {
 public:
  File() = default;
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  ~File();  // closes

  // flags as for open(2); O_CLOEXEC is added.
  static std::expected<File, int> open(const std::string& path, int flags, unsigned mode,
                                       FaultPlan* faults);

  bool is_open() const { return fd_ >= 0; }
  int fd() const { return fd_; }

  // One pwritev(2). May be short; the caller decides. At most IOV_MAX slices.
  std::expected<std::uint64_t, int> write_at(std::span<const iovec> slices, std::uint64_t position);
  // fdatasync(2). A failure is final for the data written before it: never call it again and
  // believe the answer.
  std::expected<void, int> sync_data();
  std::expected<void, int> sync_all();  // fsync(2); also for directories
  // posix_fallocate-like, without the slow fallback: size becomes at least offset + bytes.
  std::expected<void, int> allocate(std::uint64_t position, std::uint64_t bytes);
  std::expected<void, int> truncate(std::uint64_t bytes);
  void close();

 private:
  int fd_ = -1;
  FaultPlan* faults_ = nullptr;
};

}  // namespace mxring::uring
