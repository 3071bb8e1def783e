#include "seglog/writer.h"

#include <fcntl.h>
#include <sys/random.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <system_error>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "base/clock.h"
#include "base/probe.h"
#include "seglog/file_system.h"
#include "seglog/groups.h"
#include "seglog/identity.h"
#include "seglog/log_home.h"
#include "seglog/log_identity.h"
#include "seglog/marks.h"
#include "seglog/recovery.h"
#include "seglog/segment_writer.h"
#include "seglog/spare_pool.h"

namespace mxring::seglog {

namespace {

// The first segment of a run is made on the spot and small, so that start to ready stays far below
// 100 ms; the spare of full size is prepared meanwhile.
constexpr std::uint64_t kFirstSegmentBytes = 4 << 20;
// A segment with less than this part of it free is nearly full.
constexpr std::uint64_t kPlentyOfSegment = 8;

std::string reason(int error) {
  return std::system_category().message(error);
}

std::uint64_t random_bits() {
  std::uint64_t bits = 0;
  while (::getrandom(&bits, sizeof bits, 0) != static_cast<ssize_t>(sizeof bits)) {
  }
  return bits;
}

// Errors that pass: while they last no segment can be made, and nothing is wrong with the disk.
bool lacks_resources(int error) {
  return error == EMFILE || error == ENFILE || error == ENOMEM || error == EAGAIN;
}

// How large a segment must be to hold this record alone.
std::uint64_t segment_for(std::uint64_t span_bytes) {
  return kHeaderBlockBytes + align_up(span_bytes, kBatchAlign) + kSealRoomBytes;
}

}  // namespace

struct Writer::Impl {
  // Records [first, first + count) of a batch, which go into one segment.
  struct Part {
    std::size_t first = 0;
    std::size_t count = 0;
  };

  WriterOptions options;
  LogHome home;
  Recovered recovered;
  std::optional<KeptSegments> kept;
  std::optional<SparePool> spares;
  std::optional<SegmentWriter> active;
  Marks marks;  // with sync = "none" durable is what would be
  std::uint64_t epoch = 0;
  LogId log_id;
  Totals totals;
  std::string failure;
  std::string refusal;
  bool closed = false;
  std::atomic<std::uint64_t> free_bytes{0};  // read by whoever decides about the disk reserve
  std::atomic<std::uint64_t> total_bytes{0};
  std::atomic<std::uint64_t> needed_bytes{0};
  NoRoom no_room = NoRoom::kDisk;
  std::vector<Part> parts;   // of the batch in work
  std::vector<Spare> taken;  // the segments it rolls into
  bool early_roll = false;   // the batch in work goes into a new segment in any case

  // Of the next record: nobody has been told of anything at or after it.
  std::uint64_t next_offset() const { return marks.told().next; }
  std::expected<void, OpenError> open(const std::function<void(double)>& progress);
  std::expected<void, OpenError> identify();
  std::string group_beyond() const;
  std::expected<void, OpenError> first_segment();
  std::expected<void, OpenError> forget_poison();
  std::expected<std::uint64_t, CommitError> commit(std::span<const Append> batch);
  std::uint64_t plan(std::span<const Append> batch, std::uint64_t unit, std::size_t* rolls);
  std::uint64_t next_segment_bytes();
  std::expected<void, CommitError> take_spares(std::span<const Append> batch);
  std::expected<void, std::string> write_batch(std::span<const Append> batch);
  std::expected<void, std::string> activate(Spare spare, std::uint64_t base, std::int64_t now_us);
  std::expected<void, std::string> seal_active(std::uint64_t next);
  void publish(bool poisoned);
  void invariants() const;
  void retire(bool disk_low);
  void refresh_space();
  void close();

  OpenError refuse(OpenErrorKind kind, const std::string& text) const {
    return {kind, options.directory.string() + ": " + text};
  }
};

std::expected<void, OpenError> Writer::Impl::open(const std::function<void(double)>& progress) {
  options.segment_bytes =
      std::max(align_up(options.segment_bytes, kBatchAlign), segment_for(options.record_bytes_max));
  if (auto opened = open_home(options, home); !opened) return opened;
  if (const auto& found = home.state.found()) {
    StateFields looking = *found;
    looking.flags |= kStateRecovering;
    home.state.publish(looking);
  }
  auto result = recover(options, home.directory, home.state.found(), progress);
  if (!result) return std::unexpected(result.error());
  recovered = std::move(*result);
  marks.begin(recovered.next_offset);
  epoch = recovered.newest_epoch;
  if (auto known = identify(); !known) return known;
  spares.emplace(SparePool::Options{.directory = options.directory.string(),
                                    .directory_fd = home.directory.fd(),
                                    .file_bytes = options.segment_bytes,
                                    .write_zeros = options.sync == Sync::kCommit,
                                    .reserve_bytes = options.reserve_bytes,
                                    .reserve_percent = options.reserve_percent,
                                    .faults = options.faults});
  spares->start();
  std::int64_t newest_us = 0;
  for (const SealedSegment& segment : recovered.segments) {
    newest_us = std::max(newest_us, segment.newest_us);
  }
  kept.emplace(KeptSegments::Place{home.directory.fd(), options.segment_bytes, options.hold_bytes,
                                   options.drop_when_hold_full},
               Retention::Options{options.retain_bytes, options.retain_age_ns},
               std::move(recovered.segments));
  kept->retention().begin(base::read_clocks(), newest_us);
  if (auto made = first_segment(); !made) return made;
  publish(false);
  if (auto forgotten = forget_poison(); !forgotten) return forgotten;
  spares->refill();
  refresh_space();
  return {};
}

// A page that still says *poisoned* after a power cut would take away all that was acknowledged
// since. Whether it was written back is else the kernel's own business.
std::expected<void, OpenError> Writer::Impl::forget_poison() {
  if (!recovered.report.was_poisoned || options.sync == Sync::kNone) return {};
  const std::string path = options.directory.string() + "/" + std::string(kStateName);
  auto page = uring::File::open(path, O_RDWR, 0, options.faults);
  const auto synced = page ? page->sync_data() : std::unexpected(page.error());
  if (synced) return {};
  return std::unexpected(
      refuse(OpenErrorKind::kIo, "the state page cannot be synced: " + reason(synced.error())));
}

// A log without records is a new one, whatever file says otherwise: somebody has emptied it. Unless
// its page says that it never had any, or the first segment waits for one: so may groups. A cursor
// of this log that stands beyond its end says that it was put back from an older copy.
std::expected<void, OpenError> Writer::Impl::identify() {
  const int at = home.directory.fd();
  const auto file = read_log_id(at);
  const bool empty = next_offset() == 0 && recovered.segments.empty();
  const auto& page = home.state.found();
  const auto bases = list_segments(at).value_or(std::vector<std::uint64_t>{});
  const bool never_had_any = (page && page->durable == 0) || (!bases.empty() && bases[0] == 0);
  log_id = empty && !never_had_any ? LogId{} : current_log_id(at);
  if (const std::string group = group_beyond(); !empty && !group.empty()) {
    MXRING_PROBE("log: a new id, it was put back from an older copy");
    log_id = LogId{};
    std::string& text = recovered.report.text;
    text += (text.empty() ? "" : "; ") +
            ("group " + group + " has dealt with records beyond the end of the log, " +
             std::to_string(next_offset()) +
             ": it was put back from an older copy, and goes on under a new log id");
  }
  (void)make_groups(at);  // whoever is first to read for a group can make it too
  if (file && *file == log_id) return {};
  if (!log_id.known()) log_id = make_log_id();
  const bool durable = options.sync == Sync::kCommit;
  auto written =
      write_log_id(options.directory.string(), home.directory, log_id, durable, options.faults);
  if (written) return {};
  return std::unexpected(
      refuse(OpenErrorKind::kIo, "log-id cannot be written: " + reason(written.error())));
}

std::string Writer::Impl::group_beyond() const {
  const int at = home.directory.fd();
  const auto folder = open_groups(at);
  if (!folder) return {};
  const auto bases = list_segments(at).value_or(std::vector<std::uint64_t>{});
  const LogExtent extent{bases.empty() ? next_offset() : bases.front(), next_offset()};
  for (const std::string& group : list_groups(at).value_or(std::vector<std::string>{})) {
    const ReadFile cursor = ReadFile::open_at(folder->fd(), cursor_name(group));
    const auto fields = read_cursor(cursor.fd());
    if (fields && *fields && place_of(at, **fields, extent) == CursorPlace::kBeyondEnd) {
      return group;
    }
  }
  return {};
}

std::expected<void, OpenError> Writer::Impl::first_segment() {
  auto spare = spares->make(std::min(kFirstSegmentBytes, options.segment_bytes));
  if (!spare) MXRING_PROBE("log: the first segment is last run's spare");
  if (!spare) spare = spares->take(0);  // a full disk may still hold the spare of the last run
  if (!spare) {
    return std::unexpected(
        refuse(OpenErrorKind::kIo, "no segment can be made: " + reason(spare.error())));
  }
  const std::int64_t now_us = base::read_clocks().wall.us;
  if (auto activated = activate(std::move(*spare), next_offset(), now_us); !activated) {
    return std::unexpected(OpenError{OpenErrorKind::kIo, activated.error()});
  }
  return {};
}

std::expected<void, std::string> Writer::Impl::activate(Spare spare, std::uint64_t base,
                                                        std::int64_t now_us) {
  const std::uint64_t random = random_bits();
  const std::uint64_t before = epoch;
  epoch = (((epoch >> 32) + 1) << 32) | (random & 0xFFFFFFFF);
  MXRING_ASSERT(epoch > before);  // what the file held before is not taken for this life's
  SegmentHeader header;
  header.flags = options.sync == Sync::kNone ? kSegmentUnsynced : 0;
  header.epoch = epoch;
  header.base_offset = base;
  header.created_at_us = now_us;
  header.salt = static_cast<std::uint32_t>(random >> 32);
  std::copy(log_id.bytes.begin(), log_id.bytes.end(), std::begin(header.log_id));
  auto created =
      SegmentWriter::create({options.directory.string(), &home.directory, options.sync, &totals},
                            std::move(spare), header);
  if (!created) return std::unexpected(created.error());
  active = std::move(*created);
  return {};
}

std::expected<void, std::string> Writer::Impl::seal_active(std::uint64_t next) {
  if (auto sealed = active->seal(next); !sealed) return sealed;
  kept->add({active->header().base_offset, active->position(),
             std::max(active->newest_us(), active->header().created_at_us), 0});
  return {};
}

// What a new segment shall have room for. From the disk reserve, which is there for messages that
// are under way, only a little at a time is taken.
std::uint64_t Writer::Impl::next_segment_bytes() {
  if (spares->can_take(options.segment_bytes)) return options.segment_bytes;
  MXRING_PROBE("log: a small segment out of the reserve");
  return std::min(options.segment_bytes, kFirstSegmentBytes);
}

// Splits the batch at record boundaries: what fits into the active segment, then into new ones of
// `unit` bytes. Returns the bytes the greatest new segment must have.
std::uint64_t Writer::Impl::plan(std::span<const Append> batch, std::uint64_t unit,
                                 std::size_t* rolls) {
  parts.clear();
  parts.push_back({0, 0});
  std::uint64_t room = active->room();
  if (early_roll) room = 0;
  std::uint64_t largest = unit;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const std::uint64_t span = record_span(batch[i]);
    // The room is a multiple of kBatchAlign, so the padding after the part fits as well.
    if (span > room) {
      MXRING_PROBE("log: a batch goes into the next segment");
      const std::uint64_t bytes = std::max(unit, segment_for(span));
      largest = std::max(largest, bytes);
      room =
          unit == bytes ? bytes - kHeaderBlockBytes - kSealRoomBytes : align_up(span, kBatchAlign);
      parts.push_back({i, 0});
    }
    ++parts.back().count;
    MXRING_ASSERT(span <= room);
    room -= span;
  }
  *rolls = parts.size() - 1;
  MXRING_ASSERT(parts.back().first + parts.back().count == batch.size());
  return largest;
}

std::expected<void, CommitError> Writer::Impl::take_spares(std::span<const Append> batch) {
  std::size_t rolls = 0;
  early_roll = MXRING_BUGGIFY("a segment is full early", 150);
  std::uint64_t bytes = plan(batch, options.segment_bytes, &rolls);
  if (rolls > 0) bytes = plan(batch, next_segment_bytes(), &rolls);
  MXRING_ASSERT(taken.empty());
  while (taken.size() < rolls) {
    auto spare = spares->take(bytes);
    if (spare) {
      taken.push_back(std::move(*spare));
      continue;
    }
    MXRING_PROBE("log: no segment can be made for now");
    for (Spare& unused : taken) spares->give_back(std::move(unused));
    taken.clear();
    const std::string what = "making the next segment in " + options.directory.string() +
                             " failed: " + reason(spare.error());
    if (spare.error() == ENOSPC || lacks_resources(spare.error())) {
      refusal = what;
      no_room = spares->no_room();
      return std::unexpected(spare.error() == ENOSPC ? CommitError::kNoSpace
                                                     : CommitError::kNoResources);
    }
    MXRING_PROBE("log: poisoned, no segment");
    failure = what;
    publish(true);
    return std::unexpected(CommitError::kFailed);
  }
  return {};
}

std::expected<void, std::string> Writer::Impl::write_batch(std::span<const Append> batch) {
  // Under sync = "none" nothing is durable, and no record claims that anything before it was.
  const std::uint64_t durable_before = options.sync == Sync::kCommit ? next_offset() : 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const Part& part = parts[i];
    const std::uint64_t first_offset = next_offset() + part.first;
    if (i > 0) {
      // The old segment is whole and durable before the new one has a name. One that never got a
      // record is replaced instead: the new one has its name.
      if (first_offset > active->header().base_offset) {
        if (auto sealed = seal_active(first_offset); !sealed) return sealed;
      } else {
        MXRING_PROBE("log: an empty segment is replaced");
      }
      const std::int64_t now_us = batch[part.first].received_at_us;
      auto activated = activate(std::move(taken[i - 1]), first_offset, now_us);
      if (!activated) return activated;
      ++totals.segments_rolled;
    }
    if (part.count == 0) continue;
    auto appended =
        active->append(batch.subspan(part.first, part.count), first_offset, durable_before);
    if (!appended) return appended;
    marks.write(Written{first_offset + part.count});
  }
  return {};
}

std::expected<std::uint64_t, CommitError> Writer::Impl::commit(std::span<const Append> batch) {
  if (!failure.empty() || closed) return std::unexpected(CommitError::kFailed);
  if (batch.empty()) return next_offset();
  if (auto taken_all = take_spares(batch); !taken_all) return std::unexpected(taken_all.error());
  MXRING_ASSERT(parts.size() == taken.size() + 1);
  if (auto written = write_batch(batch); !written) {
    MXRING_PROBE("log: poisoned, a write or sync failed");
    failure = written.error();
    taken.clear();
    publish(true);
    return std::unexpected(CommitError::kFailed);
  }
  const std::uint64_t first = next_offset();
  marks.sync(Durable{marks.written().next});
  publish(false);
  active->tidy();
  if (!taken.empty()) {
    for (std::size_t i = 0; i < taken.size(); ++i) kept->retention().note_filled();
    taken.clear();
    retire(false);
    spares->refill();
    refresh_space();
  }
  invariants();
  return first;
}

void Writer::Impl::publish(bool poisoned) {
  MXRING_ASSERT(poisoned == !failure.empty());
  StateFields fields;
  if (!poisoned) marks.tell(Told{marks.durable().next});
  fields.durable = marks.told().next;
  fields.segment = active ? active->header().base_offset : 0;
  fields.position = active ? active->position() : 0;
  fields.epoch = epoch;
  fields.flags = (poisoned ? kStatePoisoned : 0) | kStateWakes;
  home.state.publish(fields);
}

// What must hold between two calls, as long as nothing has failed.
void Writer::Impl::invariants() const {
  if (!failure.empty() || !active) return;
  MXRING_ASSERT(active->header().base_offset <= next_offset());
  MXRING_ASSERT(active->header().epoch == epoch);
  MXRING_ASSERT(marks.told().next == marks.durable().next);
  MXRING_ASSERT(marks.durable().next == marks.written().next);
  MXRING_ASSERT(taken.empty());
  MXRING_ASSERT(kept->segments().empty() ||
                kept->segments().back().base_offset <= active->header().base_offset);
  // An empty segment has nothing after its header, and one with records has.
  MXRING_ASSERT((active->position() == kHeaderBlockBytes) ==
                (active->header().base_offset == next_offset()));
}

void Writer::Impl::retire(bool disk_low) {
  kept->retire(
      {active ? active->header().base_offset : next_offset(), active ? active->position() : 0},
      *spares, disk_low);
}

void Writer::Impl::refresh_space() {
  const Space space = file_system_space(home.directory.fd());
  free_bytes.store(space.free_bytes, std::memory_order_relaxed);  // a figure, guards nothing
  total_bytes.store(space.total_bytes, std::memory_order_relaxed);
  // When the segment in use is nearly full the next one is as good as taken.
  const bool plenty = !active || active->room() >= options.segment_bytes / kPlentyOfSegment;
  const bool ready = !spares || plenty || spares->is_ready();
  needed_bytes.store(ready ? 0 : options.segment_bytes, std::memory_order_relaxed);
}

void Writer::Impl::close() {
  if (closed) return;
  closed = true;
  MXRING_ASSERT(taken.empty() || !failure.empty());
  if (failure.empty() && active) {
    // Everything is durable already. A seal that cannot be written costs the next start a scan.
    if (auto sealed = seal_active(next_offset()); !sealed) {
      MXRING_PROBE("log: no seal at the end");
      failure = sealed.error();
    }
  }
  spares.reset();
  active.reset();
  home.lock = LockFile();
  home.state.wake_readers_at_once();  // what they wait for ends, or has a last word
}

Writer::Writer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Writer::Writer(Writer&&) noexcept = default;

Writer& Writer::operator=(Writer&& other) noexcept {
  if (this != &other) {
    if (impl_) impl_->close();
    impl_ = std::move(other.impl_);
  }
  return *this;
}

Writer::~Writer() {
  if (impl_) impl_->close();
}

std::expected<Writer, OpenError> Writer::open(const WriterOptions& options,
                                              std::function<void(double)> progress) {
  auto impl = std::make_unique<Impl>();
  impl->options = options;
  if (auto opened = impl->open(progress); !opened) {
    impl->active.reset();  // not sealed: it was never published
    impl->closed = true;
    return std::unexpected(opened.error());
  }
  return Writer(std::move(impl));
}

std::expected<std::uint64_t, CommitError> Writer::commit(std::span<const Append> batch) {
  return impl_->commit(batch);
}

void Writer::maintain(base::Now now, bool disk_low) {
  if (impl_->closed) return;
  impl_->kept->retention().look(now);
  impl_->retire(disk_low);
  if (impl_->failure.empty()) impl_->spares->refill();
  impl_->refresh_space();
  impl_->invariants();
}

std::int64_t Writer::wake_readers(std::int64_t now_ns) {
  return impl_->home.state.wake_readers(now_ns);
}

std::vector<Removal> Writer::take_removals() {
  return impl_->kept->take_removals();
}

const Held& Writer::held() const {
  return impl_->kept->held();
}

const std::map<std::string, std::uint64_t>& Writer::dropped() const {
  return impl_->kept->dropped();
}

std::string Writer::take_trouble() {
  return impl_->kept->take_trouble();
}

std::optional<std::int64_t> Writer::take_clock_moved_us() {
  return impl_->kept->retention().take_moved_us();
}

void Writer::close() {
  impl_->close();
}

const RecoveryReport& Writer::recovery() const {
  return impl_->recovered.report;
}

const LogId& Writer::log_id() const {
  return impl_->log_id;
}

std::uint64_t Writer::next_offset() const {
  return impl_->next_offset();
}

std::string_view Writer::refusal() const {
  return impl_->refusal;
}

bool Writer::poisoned() const {
  return !impl_->failure.empty();
}

std::string_view Writer::failure() const {
  return impl_->failure;
}

std::uint64_t Writer::free_bytes() const {
  return impl_->free_bytes.load(std::memory_order_relaxed);
}

std::uint64_t Writer::file_system_bytes() const {
  return impl_->total_bytes.load(std::memory_order_relaxed);
}

std::uint64_t Writer::needed_soon_bytes() const {
  return impl_->needed_bytes.load(std::memory_order_relaxed);
}

NoRoom Writer::no_room() const {
  return impl_->no_room;
}

Writer::Totals Writer::totals() const {
  Totals totals = impl_->totals;
  if (impl_->spares) totals.preparation_cpu_ns = impl_->spares->cpu_ns();
  return totals;
}

}  // namespace mxring::seglog
