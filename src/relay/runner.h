// A relay at work: reads its group, hands records to the sink as the engine says, buries what is
// refused for good, commits. Everything backwards only: a sink that stands still fills the window,
// then nothing is read, the cursor stands, retention holds, and the receiver answers 452.
//
// Thread: one. Failure: an exit code, after a line that says what and how to go on.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/owned_fd.h"
#include "decode/decode.h"
#include "relay/admin.h"
#include "relay/config.h"
#include "relay/dead_letters.h"
#include "relay/engine.h"
#include "relay/filter.h"
#include "relay/item.h"
#include "relay/signals.h"
#include "relay/sink.h"
#include "relay/status.h"
#include "seglog/group_reader.h"
#include "seglog/record_bell.h"

namespace mxring::relay {

enum ExitCode : int { kDone = 0, kFailed = 1, kUsage = 2, kBadConfiguration = 78 };

// "mxring-relay: MESSAGE" on standard error, one line.
void say(std::string_view message);

class Runner {
 public:
  explicit Runner(const Config& config);
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;
  ~Runner();

  int run();

 private:
  // Before the first record.
  int open();
  int wait_for_log();
  int open_group();
  int open_sink();

  // One turn each; `stop_` is set when it is over.
  void turn();
  void obey_signals(base::Now now);
  void read(base::Now now);
  bool read_letters();
  bool take(const Record& record);
  void take_gap(const seglog::RecordGap& gap, base::Now now);
  void begin(base::Now now);
  void settle(base::Now now);
  void settle(const Outcome& outcome, base::Now now);
  bool bury(const Outcome& outcome, base::Now now);
  void warn_of_letters(Offset offset, const std::string& reply);
  void move_to(const Resume& resume, base::Now now);
  void commit(base::Now now, bool at_once);
  Offset may_commit(base::Now now);
  void pause(const std::string& why, base::Now now);
  void stop(int code) {
    code_ = code;
    stop_ = true;
  }
  void stop_for(const seglog::GroupError& error);
  void wait(base::Now now);
  int wait_ms(base::Now now) const;
  void report(base::Now now, bool at_once);
  void finish();

  Item& item_of(std::uint32_t slot);
  void admit_spare(bool aside);
  Standing standing() const;

  const Config& config_;
  Signals signals_;
  Filter filter_;
  std::unique_ptr<seglog::GroupReader> reader_;
  base::OwnedFd groups_;
  std::unique_ptr<DeadLetters> letters_;
  std::unique_ptr<Sink> sink_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<seglog::RecordBell> bell_;
  Admin admin_;
  Status status_;
  decode::Decoder decoder_;
  decode::Facts facts_;

  std::vector<std::unique_ptr<Item>> items_;  // by slot
  std::unique_ptr<Item> spare_;               // what is being read into
  std::vector<std::uint64_t> lanes_;
  std::size_t next_letter_ = 0;
  bool at_end_ = false;  // of the log, for now
  base::MonoTime read_again_at_;

  Offset told_ = 0;  // committed, as far as the reader has been told
  std::uint64_t uncommitted_records_ = 0;
  std::uint64_t uncommitted_bytes_ = 0;
  std::optional<base::MonoTime> uncommitted_since_;
  struct Held {
    base::MonoTime until;
    Offset next;
  };
  std::deque<Held> held_;  // acknowledged, and not to be committed before its time

  std::string trouble_;  // of the sink, as it was said last
  std::vector<pollfd> waits_;
  base::MonoTime reported_at_;
  bool state_said_retrying_ = false;
  std::string state_said_;
  bool letters_nearly_full_said_ = false;
  std::int64_t watchdog_ns_ = 0;

  bool stopping_ = false;
  base::MonoTime stop_by_;
  bool stop_ = false;
  int code_ = kDone;
};

}  // namespace mxring::relay
