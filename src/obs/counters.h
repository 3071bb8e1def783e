// Counters each thread owns and anybody may read. A thread increments its own set with relaxed,
// unlocked stores; readers sum over all sets and accept that the parts are of slightly different
// moments. Nothing here allocates or locks on the event path.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/assert.h"

namespace mxring::obs {

// X(enumerator, exposed name, help). Names follow Prometheus: unit last, _total for counters; one
// without _total is a gauge. Those in seconds are counted in nanoseconds.
#define MXRING_COUNTERS(X)                                                                         \
  X(kConnectionsAccepted, "connections_accepted_total", "TCP connections accepted")                \
  X(kConnectionsRefused, "connections_refused_total", "connections answered 421 at the door")      \
  X(kRecipientsListed, "recipients_refused_listed_total", "recipients refused for a block list")   \
  X(kConnectionsClosed, "connections_closed_total", "connections closed")                          \
  X(kCommands, "commands_total", "SMTP commands parsed")                                           \
  X(kReplies4xx, "replies_4xx_total", "replies 400 to 499")                                        \
  X(kReplies5xx, "replies_5xx_total", "replies 500 to 599")                                        \
  X(kMessagesAccepted, "messages_accepted_total", "messages answered 250")                         \
  X(kMessagesRefused, "messages_refused_total", "messages answered 4xx or 5xx after DATA")         \
  X(kMessagesRefusedDmarc, "messages_refused_dmarc_total", "messages refused by DMARC policy")     \
  X(kMessagesDeferredDmarc, "messages_deferred_dmarc_total", "messages put off: DMARC undecided")  \
  X(kMessagesQuarantined, "messages_quarantined_total",                                            \
    "of those accepted, marked by DMARC policy")                                                   \
  X(kBytesReceived, "received_bytes_total", "bytes received from clients")                         \
  X(kBytesSent, "sent_bytes_total", "bytes sent to clients")                                       \
  X(kMessageBytes, "message_bytes_total", "bytes of accepted messages")                            \
  X(kBytesCopiedLine, "copied_line_bytes_total", "command bytes copied: a line straddled buffers") \
  X(kBytesCopiedFragment, "copied_fragment_bytes_total", "body bytes copied: tiny fragments")      \
  X(kBytesCopiedCompact, "copied_compact_bytes_total", "body bytes moved to bound slice counts")   \
  X(kBytesCopiedHeader, "copied_header_bytes_total", "header bytes copied: a field straddled")     \
  X(kBytesCopiedTls, "copied_tls_bytes_total", "bytes decrypted, or moved into one piece for it")  \
  X(kTlsHandshakes, "tls_handshakes_total", "TLS handshakes completed, resumed ones too")          \
  X(kTlsResumed, "tls_resumed_total", "of them, sessions resumed by a ticket")                     \
  X(kTlsFailures, "tls_failures_total", "connections ended by a TLS error")                        \
  X(kLoopTurns, "loop_turns_total", "event loop turns")                                            \
  X(kTurnsMeasured, "loop_turns_measured_total", "turns timed for the CPU time by stage")          \
  X(kSystemCalls, "system_calls_total", "system calls made by shards and the writer")              \
  X(kCompletions, "completions_total", "ring completions handled")                                 \
  X(kRecvStarved, "recv_starved_total", "receives that found no buffer")                           \
  X(kReadPauses, "read_pauses_total", "connections paused for lack of message memory")             \
  X(kMemoryEvictions, "memory_evictions_total", "messages given up for lack of message memory")    \
  X(kCommits, "commits_total", "group commits made durable")                                       \
  X(kCommittedRecords, "committed_records_total", "records made durable")                          \
  X(kCommitFailures, "commit_failures_total", "group commits that failed")                         \
  X(kLogBytes, "log_written_bytes_total", "bytes written to the log")                              \
  X(kJournalDropped, "journal_lines_dropped_total", "lines for the operator that found no room")   \
  X(kTimeouts, "timeouts_total", "connections ended by a time or rate limit")                      \
  X(kMemoryInFlight, "memory_in_flight_bytes", "memory that connections and messages hold now")    \
  X(kDnsQuestions, "dns_questions_total", "DNS questions sent")                                    \
  X(kDnsShared, "dns_questions_shared_total", "asked while the same was under way")                \
  X(kDnsTimeouts, "dns_timeouts_total", "DNS questions that nobody answered in time")              \
  X(kDnsFailures, "dns_failures_total", "DNS questions that the resolver could not answer")        \
  X(kDnsRefused, "dns_not_asked_total", "failed at once: resolver down, or too many under way")    \
  X(kDnsCacheHits, "dns_cache_hits_total", "answers found in the cache")                           \
  X(kDnsCacheMisses, "dns_cache_misses_total", "answers not found there, or too old")              \
  X(kDnsCacheBytes, "dns_cache_bytes", "memory of the cache now")                                  \
  X(kHeapAllocations, "heap_allocations_total", "allocations made by shards and the writer")       \
  X(kLoopCpuNs, "loop_cpu_seconds_total", "CPU time of shard threads")                             \
  X(kStageReceiveNs, "stage_receive_seconds_total", "CPU time: receiving")                         \
  X(kStageParseNs, "stage_parse_seconds_total", "CPU time: parsing")                               \
  X(kStageEvaluateNs, "stage_evaluate_seconds_total", "CPU time: SPF, DKIM, DMARC, DNS")           \
  X(kStageHashNs, "stage_hash_seconds_total", "CPU time: DKIM hashes")                             \
  X(kStageCommitNs, "stage_commit_seconds_total", "CPU time: committing to the log")               \
  X(kStageReplyNs, "stage_reply_seconds_total", "CPU time: replying")

#define MXRING_TLS_GROUPS "TLS handshakes by the group of their key exchange"
#define MXRING_ACTIVITY "connections by what they are at, as of the last second"

// X(enumerator, family's name, label, its value, help): families whose labels have few values. The
// members of a family stand together.
#define MXRING_LABELLED_COUNTERS(X)                                                            \
  X(kTls12, "tls_versions_total", "version", "1.2", "TLS handshakes by version")               \
  X(kTls13, "tls_versions_total", "version", "1.3", "TLS handshakes by version")               \
  X(kGroupX25519, "tls_groups_total", "group", "x25519", MXRING_TLS_GROUPS)                    \
  X(kGroupP256, "tls_groups_total", "group", "secp256r1", MXRING_TLS_GROUPS)                   \
  X(kGroupP384, "tls_groups_total", "group", "secp384r1", MXRING_TLS_GROUPS)                   \
  X(kGroupX25519MlKem768, "tls_groups_total", "group", "X25519MLKEM768", MXRING_TLS_GROUPS)    \
  X(kGroupNone, "tls_groups_total", "group", "none", MXRING_TLS_GROUPS)                        \
  X(kSpfNone, "spf_results_total", "result", "none", "messages by SPF result")                 \
  X(kSpfPass, "spf_results_total", "result", "pass", "messages by SPF result")                 \
  X(kSpfFail, "spf_results_total", "result", "fail", "messages by SPF result")                 \
  X(kSpfSoftfail, "spf_results_total", "result", "softfail", "messages by SPF result")         \
  X(kSpfNeutral, "spf_results_total", "result", "neutral", "messages by SPF result")           \
  X(kSpfTemperror, "spf_results_total", "result", "temperror", "messages by SPF result")       \
  X(kSpfPermerror, "spf_results_total", "result", "permerror", "messages by SPF result")       \
  X(kDkimNone, "dkim_results_total", "result", "none", "DKIM signatures by result")            \
  X(kDkimPass, "dkim_results_total", "result", "pass", "DKIM signatures by result")            \
  X(kDkimFail, "dkim_results_total", "result", "fail", "DKIM signatures by result")            \
  X(kDkimNeutral, "dkim_results_total", "result", "neutral", "DKIM signatures by result")      \
  X(kDkimPolicy, "dkim_results_total", "result", "policy", "DKIM signatures by result")        \
  X(kDkimTemperror, "dkim_results_total", "result", "temperror", "DKIM signatures by result")  \
  X(kDkimPermerror, "dkim_results_total", "result", "permerror", "DKIM signatures by result")  \
  X(kDmarcNone, "dmarc_results_total", "result", "none", "messages by DMARC result")           \
  X(kDmarcPass, "dmarc_results_total", "result", "pass", "messages by DMARC result")           \
  X(kDmarcFail, "dmarc_results_total", "result", "fail", "messages by DMARC result")           \
  X(kDmarcTemperror, "dmarc_results_total", "result", "temperror", "messages by DMARC result") \
  X(kDmarcPermerror, "dmarc_results_total", "result", "permerror", "messages by DMARC result") \
  X(kActivityHandshake, "connections_by_activity", "activity", "handshake", MXRING_ACTIVITY)   \
  X(kActivityIdle, "connections_by_activity", "activity", "idle", MXRING_ACTIVITY)             \
  X(kActivityEnvelope, "connections_by_activity", "activity", "envelope", MXRING_ACTIVITY)     \
  X(kActivityData, "connections_by_activity", "activity", "data", MXRING_ACTIVITY)             \
  X(kActivityVerdict, "connections_by_activity", "activity", "verdict", MXRING_ACTIVITY)       \
  X(kActivityCommit, "connections_by_activity", "activity", "commit", MXRING_ACTIVITY)         \
  X(kActivitySlowed, "connections_by_activity", "activity", "slowed", MXRING_ACTIVITY)         \
  X(kActivityClosing, "connections_by_activity", "activity", "closing", MXRING_ACTIVITY)

enum class Counter : std::uint8_t {
#define X(id, name, help) id,
  MXRING_COUNTERS(X)
#undef X
#define X(id, name, label, value, help) id,
      MXRING_LABELLED_COUNTERS(X)
#undef X
          kCount
};

struct CounterInfo {
  std::string_view name;
  std::string_view help;
  std::string_view label;  // "" without one
  std::string_view value;
};
const CounterInfo& info(Counter counter);
// Its value as it is exposed: nanoseconds as seconds.
inline bool in_seconds(const CounterInfo& info) {
  return info.name.ends_with("_seconds_total");
}

// One more family, whose label's values a higher layer knows: replies by their codes. The views
// outlive the registry.
struct Family {
  std::string_view name;
  std::string_view help;
  std::string_view label;
  std::span<const std::string_view> values;
};
constexpr std::size_t kFamilyValuesMax = 64;

class CounterSet {
 public:
  // Owner thread only. A load and a store rather than a locked add: there is one writer.
  void add(Counter counter, std::uint64_t n = 1) {
    std::atomic<std::uint64_t>& value = values_[static_cast<std::size_t>(counter)];
    value.store(value.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  // Owner thread only: for values that are measured as a whole, such as CPU time.
  void set(Counter counter, std::uint64_t n) {
    values_[static_cast<std::size_t>(counter)].store(n, std::memory_order_relaxed);
  }
  // Owner thread only: one more of the family's `value`.
  void add_to_family(std::size_t value) {
    MXRING_ASSERT(value < kFamilyValuesMax);
    std::atomic<std::uint64_t>& count = family_[value];
    count.store(count.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
  // Any thread. Relaxed: counters order nothing.
  std::uint64_t get(Counter counter) const {
    return values_[static_cast<std::size_t>(counter)].load(std::memory_order_relaxed);
  }
  std::uint64_t of_family(std::size_t value) const {
    return family_[value].load(std::memory_order_relaxed);
  }

 private:
  alignas(64) std::atomic<std::uint64_t> values_[static_cast<std::size_t>(Counter::kCount)]{};
  std::atomic<std::uint64_t> family_[kFamilyValuesMax]{};
};

// Owns one CounterSet per thread. make_set() locks and allocates (thread start); sum() locks.
class CounterRegistry {
 public:
  explicit CounterRegistry(const Family& family = {});

  CounterSet& make_set(std::string thread_name);
  std::uint64_t sum(Counter counter) const;
  std::uint64_t sum_of_family(std::size_t value) const;
  const Family& family() const { return family_; }
  // Every set with the name of its thread. The sets stay where they are as long as the registry.
  template <class Look>
  void for_each(Look&& look) const {
    const std::lock_guard lock(mutex_);
    for (const Entry& entry : entries_) look(entry.thread_name, *entry.set);
  }

 private:
  struct Entry {
    std::string thread_name;
    std::unique_ptr<CounterSet> set;
  };
  const Family family_;
  mutable std::mutex mutex_;
  std::vector<Entry> entries_;
};

}  // namespace mxring::obs
