// Dialogues as they happen, for those who follow them over the control socket (`mxring trace`).
//
// A shard looks once a turn whether anybody does: one relaxed load, and nothing else while nobody
// does. Otherwise each conversation asks the filters of each tracer about what it knows already;
// once all parts of a filter have been met it tells everything, beginning with what the session
// knows of itself, up to its end. Bodies are left out, and so is what AUTH is given.
//
// Bounded: kTracersMax at a time, each with a queue of kLines lines. A line that finds no room is
// dropped and counted; nobody waits.
//
// A line is one JSON object (src/cli/JSON.md). Threads: shards push, the control's thread takes.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <expected>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "base/ip_address.h"
#include "base/ip_network.h"
#include "obs/line_queue.h"

namespace mxring::server {

// What a session must have had, all of it, at some time. Addresses compare without ASCII case;
// "@example.org" is any address there.
struct TraceFilter {
  std::optional<base::IpNetwork> client;
  std::optional<std::string> sender;  // "" is the null reverse-path
  std::string recipient;
  std::string reply;     // the beginning of a refusal's or other reply's codes: "550", "550 5.7"
  bool refused = false;  // any reply 4xx or 5xx
  bool one = false;      // ends with the first session

  // Of the query of a request, "client=192.0.2.0%2F24&refused=1"; or what is wrong with it.
  static std::expected<TraceFilter, std::string> parse(std::string_view query);
};
bool is_address(std::string_view wanted, std::string_view address);
// The query's value of this name, decoded (RFC 3986 2.1, and + as a space); nothing without one.
std::optional<std::string> query_value(std::string_view query, std::string_view name);

class Tracer {
 public:
  static constexpr std::size_t kLines = 1024;
  enum Met : std::uint8_t { kClient = 1, kSender = 2, kRecipient = 4, kReply = 8 };

  explicit Tracer(TraceFilter filter);

  const TraceFilter& filter() const { return filter_; }
  std::uint8_t wanted() const { return wanted_; }  // Met bits
  obs::LineQueue& lines() { return lines_; }

  // With `one`: the session that has matched first is the only one. Any thread.
  bool take(std::uint64_t session);
  void session_ended(std::uint64_t session);
  bool over() const { return over_.load(std::memory_order_acquire); }  // pairs with the release

 private:
  const TraceFilter filter_;
  const std::uint8_t wanted_;
  obs::LineQueue lines_{kLines};
  std::atomic<std::uint64_t> only_{0};
  std::atomic<bool> over_{false};
};

struct Tracers {
  static constexpr std::size_t kMax = 4;
  struct Place {
    std::shared_ptr<Tracer> tracer;  // none: free
    std::uint32_t number = 0;        // of the one that has it: never given twice
  };
  std::array<Place, kMax> places;
  std::uint64_t run = 0;  // in front of a session's number, as in the journal
};

// What one conversation knows of those who follow it; made when somebody does.
struct TraceMarks {
  struct Mark {
    std::uint32_t number = 0;
    std::uint8_t met = 0;
    bool follows = false;
    bool never = false;  // its client is not the one that is looked for
  };
  std::array<Mark, Tracers::kMax> marks;
  std::string heard;  // the command whose reply comes next
};

// Where the control puts tracers and shards find them.
class TraceBoard {
 public:
  // 0 while nobody traces. Relaxed: the tracers themselves are handed over under the lock.
  std::uint32_t edition() const { return edition_.load(std::memory_order_relaxed); }
  std::shared_ptr<const Tracers> current() const;

  // Nothing when kMax are there already.
  std::shared_ptr<Tracer> add(TraceFilter filter);
  void remove(const Tracer& tracer);
  void set_run(std::uint64_t run) { run_ = run; }
  std::uint64_t dropped() const;  // lines, of all tracers since the start

 private:
  void replace(std::shared_ptr<const Tracers> next);

  mutable std::mutex mutex_;
  std::shared_ptr<const Tracers> current_;
  std::uint64_t run_ = 0;
  std::uint64_t dropped_before_ = 0;  // of those that have gone
  std::uint32_t editions_ = 0;
  std::uint32_t numbers_ = 0;
  std::atomic<std::uint32_t> edition_{0};
};

}  // namespace mxring::server
