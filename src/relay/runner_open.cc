// How a relay begins: the log, the group's cursor, the sink.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "base/random.h"
#include "base/text.h"
#include "obs/service_notice.h"
#include "relay/runner.h"
#include "seglog/groups.h"

namespace mxring::relay {

Runner::Runner(const Config& config)
    : config_(config), filter_(config_), spare_(std::make_unique<Item>()) {}

Runner::~Runner() = default;

// A relay may start before its receiver has made the log.
int Runner::wait_for_log() {
  for (bool said = false;;) {
    const auto log = LogReader::open(config_.log);
    if (log) return kDone;
    if (log.error().kind != LogErrorKind::kNotALog) {
      say(base::escaped(log.error().message));
      return kFailed;
    }
    if (!said) say(fmt::format("waits for a log: {}", base::escaped(log.error().message)));
    said = true;
    pollfd wait{signals_.fd(), POLLIN, 0};
    (void)::poll(&wait, 1, 200);
    signals_.take();
    if (signals_.stop()) return kDone;
  }
}

int Runner::open_group() {
  const base::Now now = base::read_clocks();
  seglog::GroupOptions options;
  options.holds = config_.hold;
  const auto start = parse_start(config_.start, now.wall.us);
  switch (start->kind) {
    case StartWord::Kind::kEarliest:
      break;
    case StartWord::Kind::kLatest:
      options.start.kind = seglog::GroupStart::Kind::kLatest;
      break;
    case StartWord::Kind::kOffset:
      options.start = {seglog::GroupStart::Kind::kOffset, start->offset, 0};
      break;
    case StartWord::Kind::kTime:
      options.start = {seglog::GroupStart::Kind::kTime, 0, start->unix_us};
      break;
  }
  auto opened = seglog::GroupReader::open(config_.log, config_.group, options, now);
  if (!opened) {
    say(base::escaped(opened.error().message));
    return kFailed;
  }
  reader_ = std::make_unique<seglog::GroupReader>(std::move(*opened));
  if (reader_->was_damaged()) {
    say(fmt::format("the cursor of group {} is damaged: it begins again at the earliest record, {}",
                    config_.group, reader_->position()));
  }
  told_ = reader_->committed();
  const std::string folder = config_.log + "/" + std::string(seglog::kGroupsName);
  groups_ = base::OwnedFd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!groups_.valid()) {
    say(fmt::format("{}: cannot be opened", base::escaped(folder)));
    return kFailed;
  }
  return kDone;
}

int Runner::open_sink() {
  SinkPlace place;
  place.log = config_.log;
  place.group = config_.group;
  place.groups_fd = groups_.get();
  place.log_id = reader_->log().log_id();
  place.fields = &reader_->fields();
  place.committed = reader_->committed();
  place.first = reader_->log().first();
  auto sink = make_sink(config_, place);
  if (!sink) {
    say(sink.error());
    return kFailed;
  }
  sink_ = std::move(*sink);
  // What the sink has put into the cursor counts once that is on disk.
  reader_->touch();
  if (const auto written = reader_->flush(base::read_clocks()); !written) {
    say(base::escaped(written.error().message));
    return kFailed;
  }
  EngineOptions options;
  options.retry = {config_.retry_first_ns, config_.retry_max_ns, config_.give_up_after_ns};
  options.dead_in_a_row = config_.dead_in_a_row;
  options.seed = base::random_u64();
  sink_->shape(options);
  engine_ = std::make_unique<Engine>(options);
  engine_->restart_at(reader_->position());
  letters_ = std::make_unique<DeadLetters>(groups_.get(), config_.group, config_.dead_bytes);
  if (reader_->fields().dead != letters_->count()) {
    reader_->fields().dead = static_cast<std::uint32_t>(letters_->count());
    reader_->touch();
  }
  if (letters_->is_full()) {
    say(fmt::format("the dead letters of group {} occupy all of dead_bytes; the next one stops it",
                    config_.group));
  }
  return kDone;
}

int Runner::open() {
  const auto pages = [this](std::string_view path) -> Admin::Page {
    const Standing at = standing();
    if (path == "/metrics") {
      return {200, "text/plain; version=0.0.4; charset=utf-8", status_.metrics(config_.group, at)};
    }
    if (path == "/status") return {200, "application/json", status_.state_json(at)};
    if (path == "/healthz") return {200, "text/plain; charset=utf-8", "ok\n"};
    return {};
  };
  if (const int failed = wait_for_log(); failed != kDone || signals_.stop()) return failed;
  if (const int failed = open_group(); failed != kDone) return failed;
  if (const int failed = open_sink(); failed != kDone) return failed;
  if (const auto opened = admin_.open(config_.admin, pages); !opened) {
    say(opened.error());
    return kFailed;
  }
  const char* watchdog = std::getenv("WATCHDOG_USEC");
  watchdog_ns_ = watchdog == nullptr ? 0 : std::strtoll(watchdog, nullptr, 10) * 1000;
  std::printf("ready group=%s sink=%s from=%llu%s%s\n", config_.group.c_str(),
              std::string(word(config_.sink)).c_str(),
              static_cast<unsigned long long>(reader_->position()),
              config_.admin.empty() ? "" : " admin=", admin_.address().c_str());
  std::fflush(stdout);
  obs::notify_service("READY=1");
  report(base::read_clocks(), true);
  return kDone;
}

}  // namespace mxring::relay
