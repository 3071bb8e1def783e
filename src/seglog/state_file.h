// The state page (FORMAT.md): how far the log is durable. The writer maps it and changes it with
// plain stores, so publishing a commit costs no system call; readers fetch it with pread(2), which
// cannot fault when the file is shorter than it should be.
#pragma once

#include <atomic>
#include <cstdint>
#include <expected>
#include <optional>

#include "seglog/format.h"

namespace mxring::seglog {

// The fields as they stand, or nothing when the page is missing, damaged, or was left half changed.
// Tries again for a short while when a writer is in the middle of a change.
std::optional<StateFields> read_state(int fd);

// The writer's side. One thread.
class StatePage {
 public:
  StatePage() = default;
  StatePage(const StatePage&) = delete;
  StatePage& operator=(const StatePage&) = delete;
  ~StatePage();

  // Creates or takes over the file in this directory. errno on failure.
  std::expected<void, int> open(int directory_fd);
  // What the file said when it was opened.
  const std::optional<StateFields>& found() const { return found_; }

  // Readers see either the old fields or these, never a mixture. Ignored before open(). Wakes
  // nobody.
  void publish(const StateFields& fields);
  // Wakes those that wait for what was published since they were last woken, at most every 2 ms.
  // The time until somebody is due, or 0. `now_ns`: of the monotonic clock.
  std::int64_t wake_readers(std::int64_t now_ns);
  void wake_readers_at_once();

 private:
  // The same 64 bytes as StateFields, as words both sides can touch at once.
  struct Words {
    std::atomic<std::uint64_t> word[8];
  };
  static_assert(sizeof(Words) == sizeof(StateFields));
  static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

  Words* words_ = nullptr;
  std::uint64_t sequence_ = 0;
  bool unsaid_ = false;  // there is a change that nobody was woken for
  std::int64_t last_wake_ns_ = 0;
  std::optional<StateFields> found_;
};

}  // namespace mxring::seglog
