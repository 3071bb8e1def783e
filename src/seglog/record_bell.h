// A descriptor that becomes readable when a log has records from some offset on: for poll, by a
// thread that waits for the writer's wake-up.
//
// Thread: the owner's; the thread inside is started by start() and ended with the object.
#pragma once

#include <mxring/record.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <thread>

namespace mxring::seglog {

class RecordBell {
 public:
  // Null when there are no descriptors or threads left, or no log.
  static std::unique_ptr<RecordBell> start(const std::filesystem::path& log, Offset wanted);
  RecordBell(const RecordBell&) = delete;
  RecordBell& operator=(const RecordBell&) = delete;
  ~RecordBell();

  int fd() const { return event_fd_; }
  // Before reading: not readable any more. After reading: rings when there is this offset.
  void quiet();
  void want(Offset offset);
  void ring() const;  // there is more than was read

 private:
  RecordBell() = default;
  void run();

  int directory_fd_ = -1;
  int event_fd_ = -1;
  // Written by the owner, read by the thread: a stale value costs one ring too many.
  std::atomic<Offset> wanted_{0};
  std::atomic<bool> stopping_{false};
  std::atomic<bool> ended_{false};
  std::thread thread_;
};

}  // namespace mxring::seglog
