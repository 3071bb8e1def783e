// What the operator is told while the server runs. Any thread says a line; one thread writes them.
// Nobody waits for whoever reads them: a line that finds no room is dropped, and as soon as there
// is room again the count of these is said.
//
// At its end the journal writes what is left, for a second at most; a write that a stopped reader
// holds up is interrupted.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string_view>
#include <thread>

namespace mxring::obs {
class CounterSet;
}

namespace mxring::server {

class Journal {
 public:
  // `fd` stays the caller's; its flags are not touched. Lines wait until start().
  explicit Journal(int fd);
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;
  ~Journal();

  // Once, when threads may be started.
  void start();

  // Any thread; never waits, never allocates. Written as "mxring: LINE"; what is inside may be
  // several lines.
  void notice(std::string_view line) noexcept;
  // The same without the name in front: text that is laid out already.
  void text(std::string_view lines) noexcept;

  // Waits until what this thread has said is written, for a second at most.
  void settle() const;

  // Lines dropped since the start, any thread.
  std::uint64_t dropped() const;

 private:
  struct State;
  // Also the thread's: one that cannot even be interrupted is left alone at the end, with it.
  std::shared_ptr<State> state_;
  std::thread thread_;
};

}  // namespace mxring::server
