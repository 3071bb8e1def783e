#include "server/scrub.h"

#include <fmt/format.h>
#include <pthread.h>

#include <algorithm>
#include <chrono>

#include "base/assert.h"
#include "base/text.h"
#include "base/units.h"
#include "seglog/verify.h"

namespace mxring::server {

namespace {

constexpr std::size_t kSaidMax = 1000;   // places that are remembered
constexpr std::size_t kSaidAtOnce = 10;  // lines of one look
static_assert(kSaidAtOnce < kSaidMax);

std::string in_words(const std::string& log, const seglog::Damage& damage) {
  return fmt::format(
      "warning: {}/{}: damaged at byte {}: {}; {}; readers skip it; keep the file, look at the "
      "disk, and restore what `mxring log verify` lists from a backup",
      base::escaped(log), damage.segment, damage.position, base::escaped(damage.what),
      damage.records == 0 ? std::string("no record is lost")
                          : fmt::format("{} lost from offset {}",
                                        base::counted(damage.records, "record"), damage.offset));
}

}  // namespace

Scrub::~Scrub() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  ends_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Scrub::start() {
  if (setup_.bytes_per_second == 0) return;
  {
    const std::lock_guard lock(mutex_);
    figures_.on = true;
    verified_from_ns_ = began_.ns;
  }
  MXRING_ASSERT(!thread_.joinable());
  thread_ = std::thread([this] { run(); });
}

Scrub::Figures Scrub::figures() const {
  const std::lock_guard lock(mutex_);
  Figures figures = figures_;
  figures.age_seconds = static_cast<double>(base::read_clocks().mono.ns - verified_from_ns_) * 1e-9;
  return figures;
}

bool Scrub::wait_ns(std::int64_t ns) {
  std::unique_lock lock(mutex_);
  return !ends_.wait_for(lock, std::chrono::nanoseconds(std::max<std::int64_t>(ns, 0)),
                         [this] { return ending_; });
}

void Scrub::run() {
  pthread_setname_np(pthread_self(), "mxring-scrub");
  do {
    pass_began_ns_ = base::read_clocks().mono.ns;
    pass_bytes_ = 0;
    pass();
  } while (wait_ns(pass_began_ns_ + setup_.pause_ns - base::read_clocks().mono.ns));
}

// Called with what was read just now; waits until that much time has passed.
bool Scrub::pace(std::uint64_t bytes) {
  MXRING_ASSERT(setup_.bytes_per_second > 0 && pass_began_ns_ > 0);
  pass_bytes_ += bytes;
  const auto due_ns = static_cast<std::int64_t>(static_cast<double>(pass_bytes_) * 1e9 /
                                                static_cast<double>(setup_.bytes_per_second));
  {
    const std::lock_guard lock(mutex_);
    figures_.bytes += bytes;
    if (ending_) return false;
  }
  const std::int64_t early_ns = pass_began_ns_ + due_ns - base::read_clocks().mono.ns;
  return early_ns < base::kNsPerMs || wait_ns(early_ns);
}

void Scrub::pass() {
  const auto report =
      seglog::verify(setup_.log, {}, [this](std::uint64_t bytes) { return pace(bytes); });
  if (!report || report->stopped) return;
  std::uint64_t records = 0;
  std::size_t lines = 0;
  for (const seglog::Damage& damage : report->damaged) {
    records += damage.records;
    if (said_.size() >= kSaidMax || lines >= kSaidAtOnce) continue;
    if (!said_.insert(fmt::format("{}:{}", damage.segment, damage.position)).second) continue;
    ++lines;
    setup_.notice(in_words(setup_.log, damage));
  }
  MXRING_ASSERT(said_.size() <= kSaidMax);
  const std::lock_guard lock(mutex_);
  MXRING_ASSERT(pass_began_ns_ >= verified_from_ns_);
  ++figures_.passes;
  figures_.damaged_places = report->damaged.size();
  figures_.damaged_records = records;
  verified_from_ns_ = pass_began_ns_;
}

}  // namespace mxring::server
