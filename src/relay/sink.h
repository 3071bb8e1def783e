// Where a relay delivers to. A sink is told of attempts and tells what came of each; when to try
// what again is not its business (engine.h).
//
// Thread: the relay's own. What a sink does on other threads it hides.
#pragma once

#include <poll.h>

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "relay/config.h"
#include "relay/engine.h"
#include "relay/item.h"

namespace mxring::relay {

// A recipient that was refused for good, and the words.
struct Refusal {
  std::uint32_t recipient = 0;  // index in the record
  std::string reply;
};

struct Outcome {
  enum class Kind : std::uint8_t {
    kDone,
    kLater,    // an attempt later
    kForGood,  // a dead letter
    kPause,    // an attempt later, and the sink wants nothing for now
  };
  Ticket ticket;
  base::MonoTime begun;  // the attempt
  Kind kind = Kind::kDone;
  std::string reply;  // what was said, on one line; a code at its front where there is one
  std::int64_t wait_ns = 0;
  bool everybody = false;          // other records need not try before either
  bool partly = false;             // some of its recipients have it
  std::vector<Refusal> refused{};  // by recipient, where the sink has those
};

// Where the sink stands: reading goes on at `next`, wherever it was.
struct Resume {
  Offset next = 0;
  std::string why;
};

class Sink {
 public:
  virtual ~Sink() = default;

  // What the engine is to keep to.
  virtual void shape(EngineOptions& options) const = 0;
  // False: nothing is to begin now, for example until a connection stands.
  virtual bool accepts() const { return true; }
  virtual bool takes_gaps() const { return false; }
  // Whether records have to be restricted to recipients, and none of them is an empty delivery.
  virtual bool has_recipients() const { return false; }

  // The item stays as it is until its outcome has been taken.
  virtual void begin(Ticket ticket, Item& item, base::Now now) = 0;
  // Nothing more begins for now.
  virtual void flush(base::Now) {}
  // Descriptors that work() waits for; and how long at most.
  virtual void add_waits(std::vector<pollfd>&) {}
  virtual std::optional<base::MonoTime> due() const { return std::nullopt; }
  // Blocks for at most so long, until one of these, or something of its own, is ready.
  virtual void wait(std::vector<pollfd>& others, int at_most_ms);
  virtual void work(base::Now) {}
  // Since the last call.
  std::vector<Outcome> take_outcomes() { return std::exchange(outcomes_, {}); }
  virtual std::optional<Resume> take_resume() { return std::nullopt; }
  // The place is about to be written: what the sink keeps with it, in its 56 bytes.
  virtual void before_commit(Offset, seglog::CursorFields&) {}
  // Everything below has been committed, and is on disk.
  virtual void committed(Offset) {}
  // Secrets and certificates are to be read again. Failure: the old ones stay.
  virtual std::expected<void, std::string> reload() { return {}; }
  // Why nothing can begin; empty: it can.
  virtual std::string trouble() const { return {}; }
  // What is under way is given up.
  virtual void abandon() {}
  virtual void add_metrics(std::string&) const {}

 protected:
  void tell(Outcome outcome) { outcomes_.push_back(std::move(outcome)); }

 private:
  std::vector<Outcome> outcomes_;
};

// What a sink may know of the group when it is made.
struct SinkPlace {
  std::string log;
  std::string group;
  int groups_fd = -1;  // the folder of cursors; stays open
  LogId log_id;
  seglog::CursorFields* fields = nullptr;  // the cursor's, for its 56 bytes
  Offset committed = 0;
  Offset first = 0;  // of the log
};

using MadeSink = std::expected<std::unique_ptr<Sink>, std::string>;
// The error says when the sink is not built in.
MadeSink make_sink(const Config& config, const SinkPlace& place);
MadeSink make_maildir(const Config& config, const SinkPlace& place);
MadeSink make_lmtp(const Config& config, const SinkPlace& place);
MadeSink make_webhook(const Config& config, const SinkPlace& place);
MadeSink make_nats(const Config& config, const SinkPlace& place);
// "webhook, lmtp, maildir; not built in: nats (libnats)".
std::string sinks_built_in();
bool is_built_in(SinkKind sink);
// Of the libraries.
std::string webhook_library();
std::string nats_library();

}  // namespace mxring::relay
