// Reads a mxring log for a named group that never loses its place. C++20 is enough to include it.
//
//   auto opened = mxring::Consumer::open("/var/lib/mxring/log", "tickets");
//   if (!opened) { ... opened.error().message ... }
//   mxring::Consumer& consumer = *opened;
//   while (running) {
//     auto batch = consumer.next_batch(100, 8 << 20);
//     if (!batch) { ... batch.error().message; stop unless batch.error().can_continue ... }
//     for (const mxring::Entry& entry : *batch) {
//       if (entry.gap) { ... records [entry.gap->first, entry.gap->next) do not come ... }
//       else store(entry.mail.id(), entry.mail.delivered());
//     }
//     if (!consumer.commit(batch->next())) { ... }
//     if (batch->empty()) consumer.wait(std::chrono::seconds(1));  // or poll event_fd()
//   }
//
// The promise: every acknowledged message is handed to every group, at least once, in the order of
// the offsets, never before it is durable, always with the same id. After a crash some may come
// again: those since the last commit. What cannot be handed over any more is an entry with a gap.
// A cursor of another log, or beyond the end, is an error of open() or next_batch().
//
// Thread: one at a time per consumer. A batch owns its bytes and may go to another thread and
// outlive the consumer.
#pragma once

#include <mxring/version.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace mxring {

enum class ConsumerErrorKind : std::uint8_t {
  kNotALog,  // the directory is missing or holds no log (yet): try again later
  kIo,       // the system refused; `message` says what
  kVersion,  // written by a newer format
  kGroup,    // no such group, or no group's name
  kOwned,    // another process reads for it
  kPaused,
  kOtherLog,   // the cursor is of another log: it was made anew, or put back from an older copy
  kBeyondEnd,  // the cursor is beyond the end: the log was put back from an older copy
  kCursor,     // the cursor cannot be opened or written
  kUsage,      // a commit of what was not handed over
};

struct ConsumerError {
  ConsumerErrorKind kind = ConsumerErrorKind::kIo;
  std::string message;        // one line, with the way out where there is one
  bool can_continue = false;  // the same call may do better later
};

// A value or a ConsumerError, as std::expected of C++23.
template <class T>
class [[nodiscard]] Outcome {
 public:
  Outcome(T value) : content_(std::in_place_index<0>, std::move(value)) {}  // NOLINT: as expected
  Outcome(ConsumerError error) : content_(std::in_place_index<1>, std::move(error)) {}  // NOLINT

  explicit operator bool() const { return content_.index() == 0; }
  T& operator*() & { return std::get<0>(content_); }
  const T& operator*() const& { return std::get<0>(content_); }
  T&& operator*() && { return std::get<0>(std::move(content_)); }
  T* operator->() { return &std::get<0>(content_); }
  const T* operator->() const { return &std::get<0>(content_); }
  const ConsumerError& error() const { return std::get<1>(content_); }

 private:
  std::variant<T, ConsumerError> content_;
};

// The words of RFC 8601.
enum class AuthResult : std::uint8_t {
  kNone,
  kPass,
  kFail,
  kSoftFail,
  kNeutral,
  kPolicy,
  kTempError,
  kPermError,
  kOther,  // a word of a later version
};

enum class Disposition : std::uint8_t { kAccept, kQuarantine, kReject, kTempFail, kOther };

struct SpfVerdict {
  AuthResult result = AuthResult::kNone;
  std::string identity;  // mailfrom, helo
  std::string domain;
  std::string mechanism;  // the term that decided
};

struct DkimVerdict {
  AuthResult result = AuthResult::kNone;
  std::string domain;
  std::string selector;
  std::string algorithm;
  std::string reason;
};

struct DmarcVerdict {
  AuthResult result = AuthResult::kNone;
  std::string policy;  // none, quarantine, reject: the one that applies
  std::string from_domain;
  std::string record_domain;
  std::string organizational_domain;
  std::string aligned_spf;   // the domain that is aligned; empty without one
  std::string aligned_dkim;  // the same
};

struct TlsFacts {
  std::string version;
  std::string cipher;
  std::string sni;
  bool resumed = false;
  std::string group;  // of the key exchange, "x25519"; empty: none, or not recorded
  std::string ja4;    // the client's fingerprint by its ClientHello; empty: not recorded
};

// The balancer or proxy that connected and spoke for the client.
struct ViaFacts {
  std::string ip;
  std::uint16_t port = 0;
  std::string protocol;  // "proxy-v1", "proxy-v2", "xclient"
};

struct MailRecipient {
  std::string_view address;   // as given in RCPT TO, without angle brackets
  std::string_view original;  // ORCPT, xtext; empty when not given
  std::uint8_t notify = 0;    // NOTIFY: 1 never, 2 success, 4 failure, 8 delay; 0 when not given
};

// One message. Its views lie in the batch that it came in.
struct Mail {
  std::uint64_t offset = 0;
  std::string_view log_id;  // 32 hexadecimal digits; empty in a log older than log ids
  std::chrono::sys_time<std::chrono::microseconds> received_at;

  std::string_view client_ip;
  std::uint16_t client_port = 0;
  std::string_view client_name;  // reverse name that leads back; empty when unknown
  std::string_view helo;
  std::string_view protocol;

  std::string_view mail_from;  // empty: the null reverse-path
  std::vector<MailRecipient> rcpt_to;
  std::string_view envelope_id;
  std::string_view dsn_return;
  std::string_view body_type;
  bool smtputf8 = false;
  bool long_line = false;
  bool requiretls = false;

  std::string_view message_id;
  std::string_view header_from;
  std::string_view subject;
  std::string_view queue_id;

  Disposition disposition = Disposition::kAccept;
  std::string_view message;  // exactly as received

  // "<log id>_<offset>", the same for ever; empty in a log older than log ids.
  std::string id() const;
  // Our trace fields on top, forged results removed.
  std::string delivered() const;
  bool is_refusal() const {
    return disposition == Disposition::kReject || disposition == Disposition::kTempFail;
  }

  // Read from what is stored when asked for.
  std::optional<TlsFacts> tls() const;    // nothing without TLS
  std::optional<ViaFacts> via() const;    // nothing when the client connected itself
  std::optional<SpfVerdict> spf() const;  // nothing when not evaluated
  std::vector<DkimVerdict> dkim() const;  // one a signature
  std::optional<DmarcVerdict> dmarc() const;

  // As stored: JSON of the documentation's JSON.md, the trace fields, ranges left out of
  // delivered().
  std::string_view tls_json;
  std::string_view via_json;
  std::string_view spf_json;
  std::string_view dkim_json;
  std::string_view dmarc_json;
  std::string_view trace;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> leave_out;
};

enum class GapReason : std::uint8_t { kRemoved, kDamaged };

// Records [first, next) do not come: retention took them, or they are damaged.
struct Gap {
  std::uint64_t first = 0;
  std::uint64_t next = 0;
  GapReason why = GapReason::kRemoved;
};

// In the order of the offsets.
struct Entry {
  std::optional<Gap> gap;
  Mail mail;  // when there is no gap
};

class Batch {
 public:
  Batch();
  Batch(Batch&&) noexcept;
  Batch& operator=(Batch&&) noexcept;
  ~Batch();

  bool empty() const { return entries_.empty(); }
  std::size_t size() const { return entries_.size(); }
  std::vector<Entry>::const_iterator begin() const { return entries_.begin(); }
  std::vector<Entry>::const_iterator end() const { return entries_.end(); }
  const Entry& operator[](std::size_t i) const { return entries_[i]; }
  // What to commit when all of it has been dealt with.
  std::uint64_t next() const { return next_; }
  std::size_t bytes() const { return bytes_; }

 private:
  friend class Consumer;
  class Memory;
  std::vector<Entry> entries_;
  std::unique_ptr<Memory> memory_;
  std::uint64_t next_ = 0;
  std::size_t bytes_ = 0;
};

struct ConsumerOptions {
  // Where a group that does not exist yet begins; one that does goes on at its cursor.
  enum class Start : std::uint8_t { kEarliest, kLatest, kOffset, kTime } start = Start::kEarliest;
  std::uint64_t offset = 0;
  std::chrono::sys_time<std::chrono::microseconds> time;
  bool create = true;     // false: a group that does not exist is an error
  bool holds = true;      // of a new group: retention keeps what it has not dealt with
  bool refusals = false;  // also records of refused mail, which have no message
};

class Consumer {
 public:
  static Outcome<Consumer> open(const std::filesystem::path& log, const std::string& group,
                                const ConsumerOptions& options = {});
  Consumer(Consumer&&) noexcept;
  Consumer& operator=(Consumer&&) noexcept;
  ~Consumer();  // flush()

  // What there is, up to both bounds; at least one entry when there is any. Empty: the end for now.
  // An error that comes after some entries is returned by the next call.
  Outcome<Batch> next_batch(std::size_t records_max, std::size_t bytes_max);

  // Everything below `next` has been dealt with. Reaches the disk at most five times a second; what
  // is left over does with a later call of this object, or when it ends. The value: what is on
  // disk.
  Outcome<std::uint64_t> commit(std::uint64_t next);
  // At once.
  Outcome<std::uint64_t> flush();

  // Blocks until next_batch() may have more or the time is up. True when there may be more.
  bool wait(std::chrono::milliseconds at_most);
  // Readable when next_batch() may have more; for poll and its relatives. Not to be read or closed
  // by the caller. -1 when there are no descriptors or threads left. The first call starts a
  // thread.
  int event_fd();

  std::uint64_t position() const;   // one past what next_batch() has handed over
  std::uint64_t committed() const;  // on disk
  std::uint64_t end() const;        // of the log

 private:
  struct Impl;
  explicit Consumer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mxring
