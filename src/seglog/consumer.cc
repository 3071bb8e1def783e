// Consumer: a GroupReader whose records are copied, one piece of memory each, into a batch that
// owns them. Every view of a record lies in that piece, so it is moved by the distance of the copy.
#include "mxring/consumer.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <memory>
#include <mutex>
#include <utility>

#include "base/assert.h"
#include "base/clock.h"
#include "seglog/group_reader.h"
#include "seglog/record_bell.h"
#include "seglog/stored_json.h"

namespace mxring {

using seglog::GroupError;
using seglog::GroupErrorKind;
using seglog::GroupReader;

namespace {

constexpr std::size_t kChunkBytes = 256 << 10;

ConsumerErrorKind kind_of(const GroupError& error) {
  switch (error.kind) {
    case GroupErrorKind::kLog:
      break;
    case GroupErrorKind::kName:
    case GroupErrorKind::kNoGroup:
    case GroupErrorKind::kExists:
      return ConsumerErrorKind::kGroup;
    case GroupErrorKind::kOwned:
      return ConsumerErrorKind::kOwned;
    case GroupErrorKind::kPaused:
      return ConsumerErrorKind::kPaused;
    case GroupErrorKind::kOtherLog:
      return ConsumerErrorKind::kOtherLog;
    case GroupErrorKind::kBeyondEnd:
    case GroupErrorKind::kStart:
      return ConsumerErrorKind::kBeyondEnd;
    case GroupErrorKind::kCursor:
      return ConsumerErrorKind::kCursor;
  }
  if (error.log.kind == LogErrorKind::kNotALog) return ConsumerErrorKind::kNotALog;
  if (error.log.kind == LogErrorKind::kVersion) return ConsumerErrorKind::kVersion;
  return ConsumerErrorKind::kIo;
}

ConsumerError error_of(const GroupError& error) {
  ConsumerError out;
  out.kind = kind_of(error);
  out.message = error.message;
  out.can_continue = out.kind == ConsumerErrorKind::kNotALog ||
                     out.kind == ConsumerErrorKind::kOwned ||
                     out.kind == ConsumerErrorKind::kPaused || out.kind == ConsumerErrorKind::kIo;
  return out;
}

Disposition disposition_of(std::string_view word) {
  if (word == "accept") return Disposition::kAccept;
  if (word == "quarantine") return Disposition::kQuarantine;
  if (word == "reject") return Disposition::kReject;
  if (word == "tempfail") return Disposition::kTempFail;
  return Disposition::kOther;
}

AuthResult result_of(std::string_view word) {
  constexpr std::pair<std::string_view, AuthResult> kWords[] = {
      {"none", AuthResult::kNone},           {"pass", AuthResult::kPass},
      {"fail", AuthResult::kFail},           {"softfail", AuthResult::kSoftFail},
      {"neutral", AuthResult::kNeutral},     {"policy", AuthResult::kPolicy},
      {"temperror", AuthResult::kTempError}, {"permerror", AuthResult::kPermError}};
  for (const auto& [name, result] : kWords) {
    if (name == word) return result;
  }
  return AuthResult::kOther;
}

}  // namespace

namespace {

// Chunks of batches that are no more, for those to come: memory fresh from the system costs more
// than what is copied into it. Batches may end in other threads, and after their consumer.
class ChunkPool {
 public:
  std::unique_ptr<char[]> take() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) return std::unique_ptr<char[]>(new char[kChunkBytes]);
    auto chunk = std::move(free_.back());
    free_.pop_back();
    return chunk;
  }
  void give_back(std::unique_ptr<char[]> chunk) {
    const std::lock_guard lock(mutex_);
    MXRING_ASSERT(chunk != nullptr && free_.size() <= kFreeMax);
    if (free_.size() < kFreeMax) free_.push_back(std::move(chunk));
  }

 private:
  static constexpr std::size_t kFreeMax = 64;
  std::mutex mutex_;
  std::vector<std::unique_ptr<char[]>> free_;
};

}  // namespace

// Pieces that never move.
class Batch::Memory {
 public:
  explicit Memory(std::shared_ptr<ChunkPool> pool) : pool_(std::move(pool)) {}
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory() {
    for (auto& chunk : chunks_) pool_->give_back(std::move(chunk));
  }

  char* take(std::size_t bytes) {
    if (bytes > left_) {
      if (bytes > kChunkBytes) {  // a piece of its own
        large_.emplace_back(new char[bytes]);
        return large_.back().get();
      }
      chunks_.push_back(pool_->take());
      at_ = chunks_.back().get();
      left_ = kChunkBytes;
    }
    MXRING_ASSERT(bytes <= left_);
    char* piece = at_;
    at_ += bytes;
    left_ -= bytes;
    return piece;
  }
  std::string_view keep(std::string_view text) {
    char* piece = take(text.size());
    if (!text.empty()) std::memcpy(piece, text.data(), text.size());
    return {piece, text.size()};
  }

 private:
  std::shared_ptr<ChunkPool> pool_;
  std::vector<std::unique_ptr<char[]>> chunks_;
  std::vector<std::unique_ptr<char[]>> large_;
  char* at_ = nullptr;
  std::size_t left_ = 0;
};

Batch::Batch() = default;
Batch::Batch(Batch&&) noexcept = default;
Batch& Batch::operator=(Batch&&) noexcept = default;
Batch::~Batch() = default;

std::string Mail::id() const {
  return log_id.empty() ? std::string() : std::string(log_id) + '_' + std::to_string(offset);
}

std::string Mail::delivered() const {
  Record record;
  record.message = message;
  record.trace = trace;
  for (const auto& [begin, end] : leave_out) record.leave_out.push_back({begin, end});
  return record.delivered();
}

std::optional<TlsFacts> Mail::tls() const {
  const auto objects = seglog::read_stored_json(tls_json);
  if (objects.empty()) return std::nullopt;
  const auto& tls = objects.front();
  return TlsFacts{tls.text("version"),  tls.text("cipher"), tls.text("sni"),
                  tls.truth("resumed"), tls.text("group"),  tls.text("ja4")};
}

std::optional<ViaFacts> Mail::via() const {
  const auto objects = seglog::read_stored_json(via_json);
  if (objects.empty()) return std::nullopt;
  const auto& via = objects.front();
  const std::string digits = via.text("port");
  std::uint16_t port = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), port);
  return ViaFacts{via.text("ip"), port, via.text("protocol")};
}

std::optional<SpfVerdict> Mail::spf() const {
  const auto objects = seglog::read_stored_json(spf_json);
  if (objects.empty()) return std::nullopt;
  const auto& spf = objects.front();
  return SpfVerdict{result_of(spf.text("result")), spf.text("identity"), spf.text("domain"),
                    spf.text("mechanism")};
}

std::vector<DkimVerdict> Mail::dkim() const {
  std::vector<DkimVerdict> verdicts;
  for (const auto& dkim : seglog::read_stored_json(dkim_json)) {
    verdicts.push_back({result_of(dkim.text("result")), dkim.text("domain"), dkim.text("selector"),
                        dkim.text("algorithm"), dkim.text("reason")});
  }
  return verdicts;
}

std::optional<DmarcVerdict> Mail::dmarc() const {
  const auto objects = seglog::read_stored_json(dmarc_json);
  if (objects.empty()) return std::nullopt;
  const auto& dmarc = objects.front();
  return DmarcVerdict{result_of(dmarc.text("result")),     dmarc.text("policy"),
                      dmarc.text("from_domain"),           dmarc.text("record_domain"),
                      dmarc.text("organizational_domain"), dmarc.text("aligned_spf"),
                      dmarc.text("aligned_dkim")};
}

namespace {

// Views of a record, moved into the copy of its bytes.
class Mover {
 public:
  Mover(std::string_view from, const char* to) : from_(from), to_(to) {}
  std::string_view operator()(std::string_view view) const {
    if (view.empty()) return {};
    MXRING_ASSERT(view.data() >= from_.data() &&
                  view.data() + view.size() <= from_.data() + from_.size());
    return {to_ + (view.data() - from_.data()), view.size()};
  }

 private:
  std::string_view from_;
  const char* to_;
};

void fill(Mail& mail, const Record& record, const Mover& moved) {
  mail.offset = record.offset;
  mail.received_at = std::chrono::sys_time<std::chrono::microseconds>(
      std::chrono::microseconds(record.received_at_us));
  mail.client_ip = moved(record.client_ip);
  mail.client_port = record.client_port;
  mail.client_name = moved(record.client_name);
  mail.helo = moved(record.helo);
  mail.protocol = moved(record.protocol);
  mail.mail_from = moved(record.mail_from);
  mail.rcpt_to.reserve(record.rcpt_to.size());
  for (const Recipient& recipient : record.rcpt_to) {
    mail.rcpt_to.push_back({moved(recipient.address), moved(recipient.original), recipient.notify});
  }
  mail.envelope_id = moved(record.envelope_id);
  mail.dsn_return = moved(record.dsn_return);
  mail.body_type = moved(record.body_type);
  mail.smtputf8 = record.smtputf8;
  mail.long_line = record.has_long_line;
  mail.requiretls = record.requiretls;
  mail.message_id = moved(record.message_id);
  mail.header_from = moved(record.header_from);
  mail.subject = moved(record.subject);
  mail.queue_id = moved(record.queue_id);
  mail.disposition = disposition_of(record.disposition);
  mail.message = moved(record.message);
  mail.tls_json = moved(record.tls);
  mail.via_json = moved(record.via);
  mail.spf_json = moved(record.spf);
  mail.dkim_json = moved(record.dkim);
  mail.dmarc_json = moved(record.dmarc);
  mail.trace = moved(record.trace);
  for (const ByteRange& range : record.leave_out)
    mail.leave_out.emplace_back(range.begin, range.end);
}

}  // namespace

struct Consumer::Impl {
  Impl(std::filesystem::path log, GroupReader opened)
      : path(std::move(log)), reader(std::move(opened)) {}

  std::filesystem::path path;
  GroupReader reader;
  std::shared_ptr<ChunkPool> pool = std::make_shared<ChunkPool>();
  std::unique_ptr<seglog::RecordBell> bell;
  std::optional<ConsumerError> later;  // came after entries that were returned first
  LogId id;                            // of the latest record, and as text
  std::string id_text;

  // Where `record` goes; its log id's text is the batch's too.
  void add(const Record& record, Batch& batch, Batch::Memory& memory, std::string_view& id_kept);
};

void Consumer::Impl::add(const Record& record, Batch& batch, Batch::Memory& memory,
                         std::string_view& id_kept) {
  if (!(record.log_id == id)) {
    id = record.log_id;
    id_text = id.known() ? id.hex() : std::string();
    id_kept = {};
  }
  if (id_kept.size() != id_text.size()) id_kept = memory.keep(id_text);
  const std::string_view copy = memory.keep(record.bytes);
  batch.entries_.emplace_back();
  Mail& mail = batch.entries_.back().mail;
  fill(mail, record, Mover(record.bytes, copy.data()));
  mail.log_id = id_kept;
  batch.bytes_ += copy.size();
}

Consumer::Consumer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Consumer::Consumer(Consumer&&) noexcept = default;

Consumer& Consumer::operator=(Consumer&& other) noexcept {
  if (this != &other) {
    if (impl_) (void)flush();
    impl_ = std::move(other.impl_);
  }
  return *this;
}

Consumer::~Consumer() {
  if (impl_) (void)flush();
}

Outcome<Consumer> Consumer::open(const std::filesystem::path& log, const std::string& group,
                                 const ConsumerOptions& options) {
  seglog::GroupOptions wanted;
  using Kind = seglog::GroupStart::Kind;
  constexpr Kind kKinds[] = {Kind::kEarliest, Kind::kLatest, Kind::kOffset, Kind::kTime};
  wanted.start = {kKinds[static_cast<std::size_t>(options.start)], options.offset,
                  options.time.time_since_epoch().count()};
  wanted.create = options.create;
  wanted.holds = options.holds;
  wanted.refusals = options.refusals;
  auto reader = GroupReader::open(log, group, wanted, base::read_clocks());
  if (!reader) return error_of(reader.error());
  return Consumer(std::make_unique<Impl>(log, std::move(*reader)));
}

Outcome<Batch> Consumer::next_batch(std::size_t records_max, std::size_t bytes_max) {
  if (impl_->later) return *std::exchange(impl_->later, std::nullopt);
  if (impl_->bell) impl_->bell->quiet();
  Batch batch;
  batch.memory_ = std::make_unique<Batch::Memory>(impl_->pool);
  std::string_view id_kept;
  constexpr std::size_t kReserveMax = 100;
  batch.entries_.reserve(std::min(records_max, kReserveMax));
  bool at_end = false;
  while (batch.size() < records_max && (batch.empty() || batch.bytes_ < bytes_max)) {
    auto step = impl_->reader.next();
    if (!step) {
      if (batch.empty()) return error_of(step.error());
      impl_->later = error_of(step.error());
      break;
    }
    if (step->record) {
      impl_->add(*step->record, batch, *batch.memory_, id_kept);
    } else if (step->gap) {
      batch.entries_.emplace_back().gap =
          Gap{step->gap->first, step->gap->next,
              step->gap->removed ? GapReason::kRemoved : GapReason::kDamaged};
    } else {
      at_end = true;
      break;
    }
  }
  batch.next_ = impl_->reader.position();
  if (impl_->bell) {
    impl_->bell->want(batch.next_);
    if (!at_end) impl_->bell->ring();
  }
  return batch;
}

Outcome<std::uint64_t> Consumer::commit(std::uint64_t next) {
  if (auto done = impl_->reader.commit(next, base::read_clocks()); !done) {
    ConsumerError error = error_of(done.error());
    if (next > position()) error.kind = ConsumerErrorKind::kUsage;
    return error;
  }
  return committed();
}

Outcome<std::uint64_t> Consumer::flush() {
  if (auto done = impl_->reader.flush(base::read_clocks()); !done) return error_of(done.error());
  return committed();
}

bool Consumer::wait(std::chrono::milliseconds at_most) {
  if (impl_->later) return true;
  const base::Now now = base::read_clocks();
  // What is pending is written while nothing else is to be done; an error stays pending.
  if (const auto due = impl_->reader.due(); due && *due <= now.mono) (void)flush();
  return impl_->reader.log().wait(at_most);
}

int Consumer::event_fd() {
  if (!impl_->bell) {
    impl_->bell = seglog::RecordBell::start(impl_->path, position());
    if (impl_->bell) impl_->bell->ring();  // whoever polls looks once
  }
  return impl_->bell ? impl_->bell->fd() : -1;
}

std::uint64_t Consumer::position() const {
  return impl_->reader.position();
}
std::uint64_t Consumer::committed() const {
  return impl_->reader.committed();
}
std::uint64_t Consumer::end() const {
  return impl_->reader.log().end();
}

}  // namespace mxring
