// Programs that use the mail: groups that read the log through the library while it is written, are
// killed and begin again, and commit now and then. Judged: in order and without a gap that nobody
// explains, at least once, from a cursor that is neither before what was committed durably nor
// beyond what was ever committed; what is shown is what was sent, and is still there at the end.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "tests/sim/client.h"
#include "tests/sim/log_judge.h"
#include "tests/sim/world.h"

namespace mxring::sim {

class Reader {
 public:
  Reader(World& world, Ledger& ledger, std::string group, int process)
      : world_(world),
        ledger_(ledger),
        dice_(world.dice().fork()),
        group_(std::move(group)),
        process_(process) {}

  // A process of its own that reads until it is killed, or, where asked to, until the end.
  void start(const std::string& log, bool until_the_end);
  void kill(bool power);
  bool running() const { return running_; }
  bool reached_the_end() const { return at_end_; }
  std::string describe() const;
  // Of a log that nobody writes to any more.
  void judge(const JudgedLog& log) const;

 private:
  void read(const std::string& log, bool until_the_end);
  // False: the log is not there yet, or somebody else's fault stands in the way; later.
  bool read_once(const std::string& log, bool until_the_end);
  void pause(Ns at_most);

  World& world_;
  Ledger& ledger_;
  Dice dice_;
  std::string group_;
  int process_;
  int starts_ = 0;
  bool running_ = false;
  bool at_end_ = false;
  bool stuck_ = false;  // a person has to decide
  std::string last_error_;
  std::uint64_t asked_ = 0;                     // what was committed at most
  std::uint64_t durable_ = 0;                   // and is on disk
  std::map<std::uint64_t, std::string> shown_;  // offset to mark
  std::set<std::uint64_t> gaps_;                // offsets
};

}  // namespace mxring::sim
