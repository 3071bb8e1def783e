// What the operator is told while the server runs: notices in words, and the journal, one line for
// everything that was refused, put off, cut off, accepted if so configured, or removed. Any thread
// says a line; one thread writes them. Nobody waits for whoever reads them: a line that finds no
// room is dropped, if it cannot be folded, and as soon as there is room again the count of these is
// said.
//
// Journal lines beyond `rate` in a second, and those that find no room, are folded: those equal in
// event, stage and reply become one line at the end of the second, whose `repeated` says how many
// they were. A flood then costs its shard one counter each, and every refusal is in the sum.
//
// At its end the journal writes what is left, for a second at most; a write that a stopped reader
// holds up is interrupted.
#pragma once

#include <atomic>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "server/journal_line.h"
#include "smtp/reply.h"

namespace mxring::server {

// Ends of connections that no reply announces.
enum class CutOff : std::uint8_t {
  kTlsTimeout,          // the handshake took too long
  kTlsFailed,           // not TLS, or not ours
  kTooManyBeforeTls,    // 421, if there were TLS already
  kDrainingBeforeTls,   // the same
  kMemoryBeforeTls,     // the same
  kNotReadingTimeout,   // it has not read our replies, so it would not read that its time is up
  kNotReadingMemory,    // ... or that it holds too much memory
  kNotReadingDraining,  // ... or that the server stops
  kCount
};
std::string_view words(CutOff why);
smtp::Stage stage_of(CutOff why);

class Journal {
 public:
  struct Options {
    std::string to = "stderr";  // or a file; "" = notices in words only
    JournalFormat format = JournalFormat::kJson;
    bool accepted = false;
    std::uint32_t rate = 1000;
  };

  // `fd` stays the caller's; its flags are not touched. Lines wait until start().
  explicit Journal(int fd);
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;
  ~Journal();

  // Before start(). Opens the file, which is made if need be.
  std::expected<void, std::string> configure(const Options& options);
  // Once, when threads may be started.
  void start();
  // From now on notices are journal lines too; before, a person reads why the start failed.
  void serve();
  // The file is opened again, under its name: somebody has moved it away. Any thread.
  void reopen();

  // Any thread; never waits, never allocates. Written as "mxring: LINE", or as a journal line.
  void notice(std::string_view line) noexcept;
  // Text that is laid out already, as it is.
  void text(std::string_view lines) noexcept;

  // Whether a reply belongs into the journal; asked before the line is put together.
  bool wants(const smtp::Reply& reply) const {
    return on_ && (reply.is_refusal() || (accepted_ && reply.id() == smtp::replies::kAccepted));
  }
  bool on() const { return on_; }
  std::uint64_t run() const;  // in front of a session's number
  // True when a line may be written now; else it has been counted for the end of the second.
  bool admit(const smtp::Reply& reply, smtp::Stage stage, base::WallTime now) noexcept;
  bool admit(CutOff why, base::WallTime now) noexcept;
  // A line that was admitted. Fills in event, codes, text and stage.
  void say(JournalLine& line, const smtp::Reply& reply, smtp::Stage stage) noexcept;
  void say(JournalLine& line, CutOff why) noexcept;
  void say_removed(std::string_view text) noexcept;

  // Waits until what this thread has said is written, for a second at most.
  void settle() const;

  // Lines dropped since the start, any thread.
  std::uint64_t dropped() const;

 private:
  struct State;
  bool admit(std::size_t key, base::WallTime now) noexcept;
  void push(const JournalLine& line, std::size_t key) noexcept;
  void fold(std::size_t key) noexcept;

  // Also the thread's: one that cannot even be interrupted is left alone at the end, with it.
  std::shared_ptr<State> state_;
  bool on_ = false;
  bool accepted_ = false;
  std::thread thread_;
};

}  // namespace mxring::server
