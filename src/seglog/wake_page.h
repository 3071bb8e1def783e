// The readers' side of being woken (FORMAT.md, "Waking"): the state page, mapped read-only, and the
// futex in it. Nobody pays for it while nobody waits.
//
// Thread: any; wait() and wake_waiters() of one object may be called at once.
#pragma once

#include <cstdint>
#include <optional>

namespace mxring::seglog {

class WakePage {
 public:
  explicit WakePage(int directory_fd) : directory_fd_(directory_fd) {}
  WakePage(const WakePage&) = delete;
  WakePage& operator=(const WakePage&) = delete;
  ~WakePage();

  // The word to give to wait(): read before asking whether there is anything new. Maps the page
  // again when there is another file under its name.
  std::uint32_t word();
  // The same of the page that is mapped, if one is, without asking for its name.
  std::optional<std::uint32_t> word_of_mapped() const;
  // Until the word is another one, the time is up, or somebody wakes. False when nobody will wake
  // us: there is no page, or its writer does not do that.
  bool wait(std::uint32_t word, std::int64_t at_most_ns);
  // Ends every wait on this page, of other processes too: they look and wait again.
  void wake_waiters() const;

 private:
  void map();
  void unmap();
  bool wakes() const;

  int directory_fd_;
  const char* page_ = nullptr;
  std::uint64_t inode_ = 0;
};

}  // namespace mxring::seglog
