#include "seglog/writer.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <system_error>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "seglog/file_system.h"
#include "seglog/lock_file.h"
#include "seglog/recovery.h"
#include "seglog/segment_writer.h"
#include "seglog/spare_pool.h"
#include "seglog/state_file.h"

namespace mxring::seglog {

namespace {

// The first segment of a run is made on the spot and small, so that start to ready stays far below
// 100 ms; the spare of full size is prepared meanwhile.
constexpr std::uint64_t kFirstSegmentBytes = 4 << 20;

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
  uring::File directory;
  LockFile lock;
  StatePage state;
  Recovered recovered;
  std::optional<SparePool> spares;
  std::optional<SegmentWriter> active;
  std::uint64_t next_offset = 0;
  std::uint64_t epoch = 0;
  Totals totals;
  std::string failure;
  std::string refusal;
  bool closed = false;
  std::atomic<std::uint64_t> free_bytes{0};  // read by whoever decides about the disk reserve
  std::atomic<std::uint64_t> total_bytes{0};
  std::vector<Part> parts;   // of the batch in work
  std::vector<Spare> taken;  // the segments it rolls into

  std::expected<void, OpenError> open(const std::function<void(double)>& progress);
  std::expected<void, OpenError> check_file_system(const uring::File& on) const;
  std::expected<void, OpenError> make_directory();
  std::expected<void, OpenError> open_directory();
  std::expected<void, OpenError> first_segment();
  std::expected<std::uint64_t, CommitError> commit(std::span<const Append> batch);
  std::uint64_t plan(std::span<const Append> batch, std::size_t* rolls);
  std::expected<void, CommitError> take_spares(std::span<const Append> batch);
  std::expected<void, std::string> write_batch(std::span<const Append> batch);
  std::expected<void, std::string> activate(Spare spare, std::uint64_t base, std::int64_t now_us);
  std::expected<void, std::string> seal_active(std::uint64_t next);
  void publish(bool poisoned);
  void retire(std::int64_t now_us);
  void retire_oldest();
  void refresh_space();
  void close();

  OpenError refuse(OpenErrorKind kind, const std::string& text) const {
    return {kind, options.directory.string() + ": " + text};
  }
};

std::expected<void, OpenError> Writer::Impl::check_file_system(const uring::File& on) const {
  const auto unfit = unfit_file_system(on.fd());
  if (!unfit || options.sync == Sync::kNone) return {};
  return std::unexpected(
      refuse(OpenErrorKind::kFileSystem,
             "is on " + *unfit +
                 ", which cannot promise that what was synced survives a crash; put the log on a "
                 "local disk with ext4 or XFS, or set log.sync = \"none\" for a benchmark"));
}

std::expected<void, OpenError> Writer::Impl::make_directory() {
  const std::string path = options.directory.string();
  if (::access(path.c_str(), F_OK) == 0) return {};
  const std::filesystem::path parent = std::filesystem::path(path + "/..").lexically_normal();
  auto above = uring::File::open(parent.string(), O_RDONLY | O_DIRECTORY, 0, options.faults);
  if (above) {
    // Asked before anything is made: a refusal leaves nothing behind.
    if (auto fit = check_file_system(*above); !fit) return fit;
  }
  if (::mkdir(path.c_str(), 0750) != 0) {
    if (errno == EEXIST) return {};
    return std::unexpected(
        refuse(OpenErrorKind::kDirectory, "cannot be created: " + reason(errno)));
  }
  // The new name must last as long as what we promise to keep under it.
  if (above && options.sync == Sync::kCommit) {
    if (auto synced = above->sync_all(); !synced) {
      return std::unexpected(refuse(
          OpenErrorKind::kIo, "sync of the directory above failed: " + reason(synced.error())));
    }
  }
  return {};
}

std::expected<void, OpenError> Writer::Impl::open_directory() {
  if (auto made = make_directory(); !made) return made;
  const std::string path = options.directory.string();
  auto opened = uring::File::open(path, O_RDONLY | O_DIRECTORY, 0, options.faults);
  if (!opened) {
    return std::unexpected(
        refuse(OpenErrorKind::kDirectory, "cannot be opened: " + reason(opened.error())));
  }
  directory = std::move(*opened);
  if (auto fit = check_file_system(directory); !fit) return fit;
  auto locked = LockFile::acquire(directory.fd());
  if (!locked) {
    if (locked.error().error != 0) {
      return std::unexpected(
          refuse(OpenErrorKind::kDirectory, "cannot be locked: " + reason(locked.error().error)));
    }
    const std::string& pid = locked.error().holder_pid;
    return std::unexpected(refuse(OpenErrorKind::kLocked,
                                  "another process" + (pid.empty() ? "" : " (pid " + pid + ")") +
                                      " writes to this log; stop it, or choose another directory"));
  }
  lock = std::move(*locked);
  if (auto opened_state = state.open(directory.fd()); !opened_state) {
    return std::unexpected(refuse(
        OpenErrorKind::kIo, "the state file cannot be made: " + reason(opened_state.error())));
  }
  return {};
}

std::expected<void, OpenError> Writer::Impl::open(const std::function<void(double)>& progress) {
  options.segment_bytes =
      std::max(align_up(options.segment_bytes, kBatchAlign), segment_for(options.record_bytes_max));
  if (auto opened = open_directory(); !opened) return opened;
  auto result = recover(options, directory, state.found(), progress);
  if (!result) return std::unexpected(result.error());
  recovered = std::move(*result);
  next_offset = recovered.next_offset;
  epoch = recovered.newest_epoch;
  spares.emplace(SparePool::Options{.directory = options.directory.string(),
                                    .directory_fd = directory.fd(),
                                    .file_bytes = options.segment_bytes,
                                    .write_zeros = options.sync == Sync::kCommit,
                                    .reserve_bytes = options.reserve_bytes,
                                    .reserve_percent = options.reserve_percent,
                                    .faults = options.faults});
  spares->start();
  if (auto made = first_segment(); !made) return made;
  publish(false);
  spares->refill();
  refresh_space();
  return {};
}

std::expected<void, OpenError> Writer::Impl::first_segment() {
  auto spare = spares->make(std::min(kFirstSegmentBytes, options.segment_bytes));
  if (!spare) spare = spares->take(0);  // a full disk may still hold the spare of the last run
  if (!spare) {
    return std::unexpected(
        refuse(OpenErrorKind::kIo, "no segment can be made: " + reason(spare.error())));
  }
  const std::int64_t now_us = base::read_clocks().wall.us;
  if (auto activated = activate(std::move(*spare), next_offset, now_us); !activated) {
    return std::unexpected(OpenError{OpenErrorKind::kIo, activated.error()});
  }
  return {};
}

std::expected<void, std::string> Writer::Impl::activate(Spare spare, std::uint64_t base,
                                                        std::int64_t now_us) {
  const std::uint64_t random = random_bits();
  epoch = (((epoch >> 32) + 1) << 32) | (random & 0xFFFFFFFF);
  SegmentHeader header;
  header.flags = options.sync == Sync::kNone ? kSegmentUnsynced : 0;
  header.epoch = epoch;
  header.base_offset = base;
  header.created_at_us = now_us;
  header.salt = static_cast<std::uint32_t>(random >> 32);
  auto created = SegmentWriter::create(
      {options.directory.string(), &directory, options.sync, &totals}, std::move(spare), header);
  if (!created) return std::unexpected(created.error());
  active = std::move(*created);
  return {};
}

std::expected<void, std::string> Writer::Impl::seal_active(std::uint64_t next) {
  if (auto sealed = active->seal(next); !sealed) return sealed;
  recovered.segments.push_back({active->header().base_offset, active->position(),
                                std::max(active->newest_us(), active->header().created_at_us), 0});
  return {};
}

// Splits the batch at record boundaries: what fits into the active segment, then into new ones.
// Returns the bytes the greatest new segment must have.
std::uint64_t Writer::Impl::plan(std::span<const Append> batch, std::size_t* rolls) {
  parts.clear();
  parts.push_back({0, 0});
  std::uint64_t room = active->room();
  std::uint64_t largest = options.segment_bytes;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const std::uint64_t span = record_span(batch[i]);
    // The room is a multiple of kBatchAlign, so the padding behind the part fits as well.
    if (span > room) {
      const std::uint64_t bytes = std::max(options.segment_bytes, segment_for(span));
      largest = std::max(largest, bytes);
      room = options.segment_bytes == bytes ? bytes - kHeaderBlockBytes - kSealRoomBytes
                                            : align_up(span, kBatchAlign);
      parts.push_back({i, 0});
    }
    ++parts.back().count;
    room -= span;
  }
  *rolls = parts.size() - 1;
  return largest;
}

std::expected<void, CommitError> Writer::Impl::take_spares(std::span<const Append> batch) {
  std::size_t rolls = 0;
  const std::uint64_t bytes = plan(batch, &rolls);
  taken.clear();
  while (taken.size() < rolls) {
    auto spare = spares->take(bytes);
    if (spare) {
      taken.push_back(std::move(*spare));
      continue;
    }
    for (Spare& unused : taken) spares->give_back(std::move(unused));
    taken.clear();
    const std::string what = "making the next segment in " + options.directory.string() +
                             " failed: " + reason(spare.error());
    if (spare.error() == ENOSPC || lacks_resources(spare.error())) {
      refusal = what;
      return std::unexpected(spare.error() == ENOSPC ? CommitError::kNoSpace
                                                     : CommitError::kNoResources);
    }
    failure = what;
    publish(true);
    return std::unexpected(CommitError::kFailed);
  }
  return {};
}

std::expected<void, std::string> Writer::Impl::write_batch(std::span<const Append> batch) {
  // Under sync = "none" nothing is durable, and no record claims that anything before it was.
  const std::uint64_t durable_before = options.sync == Sync::kCommit ? next_offset : 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const Part& part = parts[i];
    const std::uint64_t first_offset = next_offset + part.first;
    if (i > 0) {
      // The old segment is whole and durable before the new one has a name. One that never got a
      // record is replaced instead: the new one has its name.
      if (first_offset > active->header().base_offset) {
        if (auto sealed = seal_active(first_offset); !sealed) return sealed;
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
  }
  return {};
}

std::expected<std::uint64_t, CommitError> Writer::Impl::commit(std::span<const Append> batch) {
  if (!failure.empty() || closed) return std::unexpected(CommitError::kFailed);
  if (batch.empty()) return next_offset;
  if (auto taken_all = take_spares(batch); !taken_all) return std::unexpected(taken_all.error());
  if (auto written = write_batch(batch); !written) {
    failure = written.error();
    taken.clear();
    publish(true);
    return std::unexpected(CommitError::kFailed);
  }
  const std::uint64_t first = next_offset;
  next_offset += batch.size();
  publish(false);
  active->tidy();
  if (!taken.empty()) {
    taken.clear();
    retire(batch.back().received_at_us);
    spares->refill();
  }
  return first;
}

void Writer::Impl::publish(bool poisoned) {
  StateFields fields;
  fields.durable = next_offset;
  fields.segment = active ? active->header().base_offset : 0;
  fields.position = active ? active->position() : 0;
  fields.epoch = epoch;
  fields.flags = poisoned ? kStatePoisoned : 0;
  state.publish(fields);
}

void Writer::Impl::retire(std::int64_t now_us) {
  std::uint64_t bytes = active ? active->position() : 0;
  for (const SealedSegment& segment : recovered.segments) bytes += segment.file_bytes;
  while (!recovered.segments.empty()) {
    const SealedSegment& oldest = recovered.segments.front();
    const bool too_much = options.retain_bytes != 0 && bytes > options.retain_bytes;
    const bool too_old =
        options.retain_age_ns != 0 && oldest.newest_us < now_us - options.retain_age_ns / 1000;
    if (!too_much && !too_old) break;
    bytes -= oldest.file_bytes;
    retire_oldest();
  }
}

void Writer::Impl::retire_oldest() {
  const SealedSegment oldest = recovered.segments.front();
  recovered.segments.pop_front();
  const std::string name = oldest.file_name();
  const bool worth_it = oldest.file_bytes >= options.segment_bytes / 2;
  if (!worth_it || !spares->recycle(name)) ::unlinkat(directory.fd(), name.c_str(), 0);
  if (oldest.set_aside != 0) return;  // the index of this name belongs to another segment
  ::unlinkat(directory.fd(), index_name(oldest.base_offset).c_str(), 0);
}

void Writer::Impl::refresh_space() {
  const Space space = file_system_space(directory.fd());
  free_bytes.store(space.free_bytes, std::memory_order_relaxed);  // a figure, guards nothing
  total_bytes.store(space.total_bytes, std::memory_order_relaxed);
}

void Writer::Impl::close() {
  if (closed) return;
  closed = true;
  if (failure.empty() && active) {
    // Everything is durable already. A seal that cannot be written costs the next start a scan.
    if (auto sealed = seal_active(next_offset); !sealed) failure = sealed.error();
  }
  spares.reset();
  active.reset();
  lock = LockFile();
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

void Writer::maintain(std::int64_t now_wall_us) {
  if (impl_->closed) return;
  impl_->retire(now_wall_us);
  if (impl_->failure.empty()) impl_->spares->refill();
  impl_->refresh_space();
}

void Writer::close() {
  impl_->close();
}

const RecoveryReport& Writer::recovery() const {
  return impl_->recovered.report;
}

std::uint64_t Writer::next_offset() const {
  return impl_->next_offset;
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

Writer::Totals Writer::totals() const {
  Totals totals = impl_->totals;
  if (impl_->spares) totals.preparation_cpu_ns = impl_->spares->cpu_ns();
  return totals;
}

}  // namespace mxring::seglog
