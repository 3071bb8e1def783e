// Segment files made ready before they are needed: every block written once, so that a commit into
// them changes no metadata of the file system (the first write into a preallocated but unwritten
// block makes fdatasync commit the journal: 27 us of CPU a record at batches of 32, against 2.5).
//
// A background thread keeps one file of full size ready, as long as the disk reserve stays free
// without it. Segments retired by retention are taken over instead of new ones. After a failure the
// thread waits, longer each time; who needs a file at once does not. Names: spare-<n>.tmp in work,
// spare-<n>.ready complete.
//
// Thread: the public functions belong to the writer's thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <expected>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "base/clock.h"
#include "seglog/file_system.h"
#include "seglog/no_room.h"
#include "uring/file.h"

namespace mxring::seglog {

struct Spare {
  uring::File file;
  std::string name;
  std::uint64_t bytes = 0;
};

class SparePool {
 public:
  struct Options {
    std::string directory;
    int directory_fd = -1;         // stays open longer than the pool
    std::uint64_t file_bytes = 0;  // of the files kept ready
    bool write_zeros = true;       // false: only reserve the space (sync = "none")
    // What making files ahead must leave free: the larger of both.
    std::uint64_t reserve_bytes = 0;
    std::uint32_t reserve_percent = 0;
    // How long the thread waits after a failure; twice as long after each further one.
    std::int64_t retry_first_ns = 30 * base::kNsPerSecond;
    std::int64_t retry_max_ns = 960 * base::kNsPerSecond;
    uring::FaultPlan* faults = nullptr;
  };

  explicit SparePool(Options options) : options_(std::move(options)) {}
  ~SparePool();  // stops the thread; a file in work is removed, a ready one stays for the next
                 // start

  // Removes what an earlier run left half done, keeps one ready file, starts the thread.
  void start();

  // A prepared file of at least this size. Waits for the thread when it is at work, and makes one
  // here when there is none, also from the disk reserve. errno on failure: ENOSPC stands for every
  // lack of room; everything is as it was.
  std::expected<Spare, int> take(std::uint64_t bytes_min);
  // Makes one now, of this size, on this thread.
  std::expected<Spare, int> make(std::uint64_t bytes);
  // A taken file that was not used after all.
  void give_back(Spare spare);

  // Whether take() would leave the disk reserve alone.
  bool can_take(std::uint64_t bytes);
  bool is_ready();   // a file of full size, or nearly: it is in work
  NoRoom no_room();  // what the latest ENOSPC of take() and make() stood for

  // Turns a retired segment into a spare when one is wanted; false when not.
  bool recycle(const std::string& segment_name);
  // CPU time of the thread so far; 0 when there is none.
  std::uint64_t cpu_ns();
  // Lets the thread make a file if none is ready, there is room, and the last failure is long ago.
  void refill();

 private:
  void run(const std::stop_token& stop);
  std::expected<Spare, int> prepare(const std::string& name, std::uint64_t bytes,
                                    const std::stop_token* stop);
  int write_zeros(const std::string& path, std::uint64_t from, std::uint64_t bytes,
                  const std::stop_token* stop);
  std::string path(const std::string& name) const { return options_.directory + "/" + name; }
  std::string next_name();
  std::uint64_t reserve(const Space& space) const;
  bool has_room(std::uint64_t bytes, bool keep_reserve) const;
  int lack_of_room(int error);
  void note_outcome(bool succeeded);  // with mutex_ held

  Options options_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::optional<Spare> ready_;
  std::string wanted_;  // the file the thread shall prepare; empty: nothing to do
  bool busy_ = false;
  bool hurry_ = false;  // somebody waits: no pauses
  std::uint64_t next_number_ = 0;
  std::int64_t wait_ns_ = 0;      // after the last failure; 0: none since the last success
  std::int64_t retry_at_ns_ = 0;  // monotonic
  std::atomic<NoRoom> no_room_{NoRoom::kDisk};
  std::jthread thread_;
};

}  // namespace mxring::seglog
