#include "relay/runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <functional>
#include <system_error>

#include "base/assert.h"
#include "base/text.h"
#include "base/units.h"
#include "obs/service_notice.h"
#include "relay/fault_seam.h"
#include "relay/files.h"

namespace mxring::relay {

namespace {

constexpr std::int64_t kStopNs = 10 * base::kNsPerSecond;
constexpr std::uint32_t kReadPerTurn = 256;
constexpr int kWaitMostMs = 500;
static_assert(kWaitMostMs * base::kNsPerMs < kStopNs);

std::uint64_t lane_of(std::string_view address) {
  std::string lower(address);
  for (char& c : lower) c = base::ascii_lower(c);
  return std::hash<std::string_view>{}(lower);
}

}  // namespace

void say(std::string_view message) {
  const std::string line = fmt::format("mxring-relay: {}\n", base::without_controls(message));
  std::fwrite(line.data(), 1, line.size(), stderr);
}

void Runner::obey_signals(base::Now now) {
  signals_.take();
  if (signals_.take_reload()) {
    const auto again = sink_->reload();
    say(again ? "secrets and certificates read again"
              : fmt::format("{}; those before stay in force", again.error()));
  }
  if (!signals_.stop() || stopping_) return;
  stopping_ = true;
  stop_by_ = now.mono + kStopNs;
  obs::notify_service("STOPPING=1");
}

Item& Runner::item_of(std::uint32_t slot) {
  MXRING_ASSERT(slot < items_.size() && items_[slot] != nullptr);
  return *items_[slot];
}

// The item that was read into becomes the slot's; the slot's old one is read into next.
void Runner::admit_spare(bool aside) {
  MXRING_ASSERT(spare_ != nullptr && engine_->has_room());
  const Item& item = *spare_;
  lanes_.clear();
  if (!item.gap()) {
    for (const std::uint32_t index : item.recipients()) {
      lanes_.push_back(lane_of(item.record().rcpt_to[index].address));
    }
  }
  const Offset first = item.gap() ? item.gap()->first : item.record().offset;
  const std::uint32_t slot =
      engine_->admit({first, item.next(), lanes_, item.bytes() + 8 * lanes_.size(), aside});
  while (items_.size() <= slot) items_.push_back(nullptr);
  MXRING_ASSERT(spare_ != nullptr);
  std::swap(items_[slot], spare_);
  if (!spare_) spare_ = std::make_unique<Item>();
}

bool Runner::take(const Record& record) {
  std::vector<std::uint32_t>& recipients = spare_->recipients();
  bool wanted = filter_.takes(record, recipients);
  if (wanted && filter_.by_type()) {
    decoder_.decode(record.message, {}, facts_);
    wanted = filter_.takes_type(facts_.kind);
  }
  if (!wanted) {
    status_.filtered();
    return false;
  }
  std::vector<std::uint32_t> chosen = std::move(recipients);
  spare_->set_record(record);
  spare_->recipients() = std::move(chosen);
  return true;
}

void Runner::take_gap(const seglog::RecordGap& gap, base::Now now) {
  status_.gap(gap.next - gap.first);
  say(fmt::format("group {}: records {} to {} {} and cannot be delivered", config_.group, gap.first,
                  gap.next - 1, gap.removed ? "were removed" : "are damaged"));
  if (!sink_->takes_gaps()) {
    engine_->read_to(gap.next);
    return;
  }
  spare_->set_gap(gap, reader_->log().log_id(), now.wall.us);
  admit_spare(false);
}

// Dead letters that somebody wants tried again come before everything else.
bool Runner::read_letters() {
  const auto& wanted = letters_->to_retry();
  MXRING_ASSERT(next_letter_ <= wanted.size());
  for (; next_letter_ < wanted.size() && engine_->has_room(); ++next_letter_) {
    const Offset offset = wanted[next_letter_];
    if (!letters_->load(offset, *spare_)) {
      say(fmt::format("dead letter {} cannot be read; it stays where it is", offset));
      letters_->stop_retrying(offset);
      continue;
    }
    admit_spare(true);
  }
  return next_letter_ >= wanted.size();
}

void Runner::read(base::Now now) {
  if (!read_letters() || !sink_->accepts() || now.mono < read_again_at_) return;
  at_end_ = false;
  for (std::uint32_t i = 0; i < kReadPerTurn && engine_->has_room(); ++i) {
    auto step = reader_->next();
    if (!step) {
      stop_for(step.error());
      read_again_at_ = now.mono + base::kNsPerSecond;
      return;
    }
    if (step->gap) {
      take_gap(*step->gap, now);
    } else if (!step->record) {
      at_end_ = true;
      engine_->read_to(std::max(reader_->position(), engine_->position()));
      return;
    } else if (take(*step->record)) {
      admit_spare(false);
    } else {
      engine_->read_to(step->record->offset + 1);
    }
  }
}

void Runner::begin(base::Now now) {
  bool any = false;
  while (sink_->accepts()) {
    const auto ticket = engine_->start(now);
    if (!ticket) break;
    status_.begun();
    any = true;
    sink_->begin(*ticket, item_of(ticket->slot), now);
  }
  if (any) sink_->flush(now);
}

bool Runner::bury(const Outcome& outcome, base::Now now) {
  const std::uint32_t slot = outcome.ticket.slot;
  Item& item = item_of(slot);
  if (!item.gap()) {
    Death death;
    death.reply = outcome.reply;
    death.attempts = engine_->attempts(slot);
    death.first = engine_->first_attempt(slot);
    death.last = now.wall;
    death.refused = outcome.refused;
    if (engine_->is_aside(slot)) death.attempts += letters_->attempts(item.record().offset);
    if (!outcome.refused.empty()) {
      item.recipients().clear();
      for (const Refusal& refusal : outcome.refused) item.recipients().push_back(refusal.recipient);
    }
    if (const auto added = letters_->add(item, death); !added) {
      say(fmt::format(
          "group {} stops: the dead letter of record {} ({}) cannot be kept: {}; {} occupy {}. "
          "`mxring groups dead {} {}` lists them, --drop and --retry make room",
          config_.group, item.record().offset, base::escaped(outcome.reply),
          added.error() == EFBIG ? "dead_bytes is reached"
                                 : std::system_category().message(added.error()),
          base::counted(letters_->count(), "letter"), base::format_bytes(letters_->bytes()),
          config_.log, config_.group));
      engine_->not_buried(outcome.ticket, now);
      stop(kFailed);
      return false;
    }
    MXRING_ASSERT(death.attempts > 0);
    if (engine_->is_aside(slot)) letters_->stop_retrying(item.record().offset);
    reader_->fields().dead = static_cast<std::uint32_t>(letters_->count());
    reader_->touch();
  }
  warn_of_letters(item.record().offset, outcome.reply);
  engine_->buried(outcome.ticket);
  return true;
}

// The first few are said one by one, then at every power of ten.
void Runner::warn_of_letters(Offset offset, const std::string& reply) {
  const std::uint64_t count = letters_->count();
  std::uint64_t power = 10;
  while (power < count) power *= 10;
  if (count < 10) {
    say(fmt::format("record {} is a dead letter: {}", offset, base::escaped(reply)));
  } else if (count == power) {
    say(
        fmt::format("WARNING: group {} has {} dead letters ({} of {}), the latest record {}: {}; "
                    "`mxring groups dead {} {}` lists them",
                    config_.group, count, base::format_bytes(letters_->bytes()),
                    base::format_bytes(config_.dead_bytes), offset, base::escaped(reply),
                    config_.log, config_.group));
  }
  if (!letters_nearly_full_said_ && letters_->bytes() >= config_.dead_bytes / 5 * 4) {
    letters_nearly_full_said_ = true;
    say(
        fmt::format("WARNING: the dead letters of group {} occupy {} of {}; when that is full the "
                    "group stops",
                    config_.group, base::format_bytes(letters_->bytes()),
                    base::format_bytes(config_.dead_bytes)));
  }
}

void Runner::settle(const Outcome& outcome, base::Now now) {
  if (!engine_->is_current(outcome.ticket)) return;
  const std::uint32_t slot = outcome.ticket.slot;
  status_.count_reply(outcome.reply);
  if (outcome.kind == Outcome::Kind::kDone) {
    const Record& record = item_of(slot).record();
    status_.delivered(record.message.size(), now.mono - outcome.begun, now);
    uncommitted_bytes_ += record.message.size();
    ++uncommitted_records_;
    if (engine_->is_aside(slot)) {
      if (const auto removed = letters_->remove(record.offset); !removed) {
        say(fmt::format("dead letter {} was delivered, and cannot be removed: {}", record.offset,
                        std::system_category().message(removed.error())));
      }
      reader_->fields().dead = static_cast<std::uint32_t>(letters_->count());
      reader_->touch();
    }
    engine_->done(outcome.ticket);
    return;
  }
  const bool for_good = outcome.kind == Outcome::Kind::kForGood;
  const Failure failure{for_good, outcome.partly, outcome.wait_ns, outcome.everybody};
  const Offset offset = item_of(slot).record().offset;
  const Fate fate = engine_->failed(outcome.ticket, failure, now);
  const std::uint64_t unsaid = status_.failures_unsaid();
  if (status_.failed(outcome.reply, fate == Fate::kDead, now) && fate == Fate::kRetry) {
    say(fmt::format("group {}: record {} will be tried again: {}{}", config_.group, offset,
                    base::escaped(outcome.reply),
                    unsaid == 0 ? "" : fmt::format(" ({} more times meanwhile)", unsaid)));
  }
  if (fate == Fate::kDead && !bury(outcome, now)) return;
  if (outcome.kind == Outcome::Kind::kPause) return pause(outcome.reply, now);
  if (engine_->should_pause()) {
    pause(fmt::format("{} dead letters in a row, the latest: {}", config_.dead_in_a_row,
                      outcome.reply),
          now);
  }
}

void Runner::settle(base::Now now) {
  for (const Outcome& outcome : sink_->take_outcomes()) {
    settle(outcome, now);
    if (stop_) return;
  }
  if (const auto resume = sink_->take_resume()) move_to(*resume, now);
  const std::string trouble = sink_->trouble();
  if (trouble == trouble_) return;
  trouble_ = trouble;
  if (trouble.empty()) {
    status_.well();
  } else if (status_.failed(trouble, false, now)) {
    say(fmt::format("group {}: {}", config_.group, trouble));
  }
}

void Runner::move_to(const Resume& resume, base::Now now) {
  const bool back = resume.next < told_;
  if (back) status_.rewound();
  if (back || resume.next != reader_->position()) {
    say(fmt::format("group {}: goes on at record {}: {}", config_.group, resume.next, resume.why));
  }
  held_.clear();
  if (const auto moved = reader_->move_to(resume.next, now); !moved) {
    return stop_for(moved.error());
  }
  MXRING_ASSERT(reader_->position() == resume.next);
  engine_->restart_at(resume.next);
  told_ = std::min(told_, resume.next);
  // Letters that were under way are tried once more.
  next_letter_ = 0;
  for (const Offset offset : letters_->to_retry()) {
    if (letters_->attempts(offset) != 0) break;
    ++next_letter_;
  }
}

// What the engine has seen off, less what is to be held for a while yet.
Offset Runner::may_commit(base::Now now) {
  const Offset done = engine_->committable();
  const std::int64_t hold_ns = config_.sink == SinkKind::kNats ? config_.nats.hold_after_ack_ns : 0;
  if (hold_ns == 0) return done;
  constexpr std::int64_t kGrainNs = base::kNsPerSecond / 5;
  if (done > told_ && (held_.empty() || (done > held_.back().next &&
                                         now.mono + hold_ns - held_.back().until >= kGrainNs))) {
    MXRING_ASSERT(held_.empty() || held_.back().next < done);
    held_.push_back({now.mono + hold_ns, done});
  }
  Offset next = told_;
  while (!held_.empty() && held_.front().until <= now.mono) {
    next = std::max(next, held_.front().next);
    held_.pop_front();
  }
  return next;
}

void Runner::commit(base::Now now, bool at_once) {
  const Offset next = may_commit(now);
  if (next > told_ && !uncommitted_since_) uncommitted_since_ = now.mono;
  const bool enough =
      uncommitted_records_ >= config_.commit_records ||
      uncommitted_bytes_ >= config_.commit_bytes ||
      (uncommitted_since_ && now.mono - *uncommitted_since_ >= config_.commit_time_ns);
  const auto due = reader_->due();
  const bool write_due = due && *due <= now.mono;
  if (!at_once && !write_due && (next <= told_ || !enough)) return;
  const Offset before = reader_->committed();
  if (!seam::step()) {
    say(fmt::format("the cursor of group {} cannot be written: {}", config_.group,
                    std::system_category().message(errno)));
    return stop(kFailed);
  }
  sink_->before_commit(next, reader_->fields());
  auto done = reader_->commit(next, now);
  if (done && at_once) done = reader_->flush(now);
  if (!done) return stop_for(done.error());
  MXRING_ASSERT(next <= engine_->position());
  told_ = std::max(told_, next);
  uncommitted_since_.reset();
  uncommitted_records_ = uncommitted_bytes_ = 0;
  if (reader_->committed() > before) {
    status_.committed();
    sink_->committed(reader_->committed());
  }
}

// The group is left alone until somebody says `groups resume`.
void Runner::pause(const std::string& why, base::Now now) {
  reader_->fields().flags |= seglog::kCursorPaused;
  reader_->touch();
  commit(now, true);
  say(fmt::format("group {} is paused: {}. `mxring groups resume {} {}` when the sink is well",
                  config_.group, base::escaped(why), config_.log, config_.group));
  stop(kFailed);
}

void Runner::stop_for(const seglog::GroupError& error) {
  const bool passing =
      error.kind == seglog::GroupErrorKind::kLog && error.log.kind == LogErrorKind::kIo;
  if (!passing) stop(kFailed);
  if (status_.failed(error.message, false, base::read_clocks()) || !passing) {
    say(base::escaped(error.message));
  }
}

Standing Runner::standing() const {
  Standing now;
  MXRING_ASSERT(engine_ != nullptr && reader_->committed() <= reader_->position());
  now.current = reader_->committed();
  now.position = reader_->position();
  now.end = std::max(reader_->log().end(), now.position);
  now.window_records = engine_->open();
  now.window_bytes = engine_->window_bytes();
  now.under_way = engine_->under_way();
  now.waiting = engine_->waiting();
  now.dead = letters_->count();
  now.dead_bytes = letters_->bytes();
  return now;
}

void Runner::report(base::Now now, bool at_once) {
  constexpr std::int64_t kEveryNs = base::kNsPerSecond;
  const bool changed = status_.retrying() != state_said_retrying_;
  if (!at_once && !changed && now.mono - reported_at_ < kEveryNs) return;
  reported_at_ = now.mono;
  state_said_retrying_ = status_.retrying();
  const Standing at = standing();
  status_.look(at, now);
  if (const auto line = status_.progress(at, now)) {
    say(fmt::format("group {}: {}", config_.group, *line));
  }
  const std::string state = status_.state_json(at);
  if (state != state_said_) {
    write_hint(groups_.get(), config_.group + ".state", state, 0640);
    state_said_ = state;
  }
  if (watchdog_ns_ != 0) obs::notify_service("WATCHDOG=1");
}

int Runner::wait_ms(base::Now now) const {
  std::int64_t until_ns = now.mono.ns + (bell_ ? kWaitMostMs : 20) * base::kNsPerMs;
  const auto sooner = [&](std::optional<base::MonoTime> at) {
    if (at) until_ns = std::min(until_ns, at->ns);
  };
  if (!stopping_) sooner(engine_->due());
  sooner(reader_->due());
  sooner(sink_->due());
  if (uncommitted_since_) sooner(*uncommitted_since_ + config_.commit_time_ns);
  if (!held_.empty()) sooner(held_.front().until);
  if (stopping_) sooner(stop_by_);
  if (!at_end_ && !stopping_ && engine_->has_room() && sink_->accepts()) {
    sooner(std::max(read_again_at_, now.mono));
  }
  const std::int64_t left_ns = until_ns - now.mono.ns;
  MXRING_ASSERT(left_ns <= kWaitMostMs * base::kNsPerMs);
  if (left_ns <= 0) return 0;
  return static_cast<int>((left_ns + base::kNsPerMs - 1) / base::kNsPerMs);
}

void Runner::wait(base::Now now) {
  const bool want_records = at_end_ && !stopping_ && engine_->has_room();
  if (!bell_ && want_records) {
    bell_ = seglog::RecordBell::start(config_.log, reader_->position());
  }
  waits_.clear();
  waits_.push_back({signals_.fd(), POLLIN, 0});
  if (bell_ && want_records) waits_.push_back({bell_->fd(), POLLIN, 0});
  admin_.add_waits(waits_);
  sink_->wait(waits_, wait_ms(now));
  if (bell_ && want_records) {
    bell_->quiet();
    bell_->want(reader_->position());
  }
}

void Runner::turn() {
  base::Now now = base::read_clocks();
  obey_signals(now);
  sink_->work(now);
  settle(now);
  if (stop_) return;
  if (!stopping_) {
    read(now);
    if (!stop_) begin(now);
  }
  settle(now);  // of sinks that are done at once
  if (stop_) return;
  now = base::read_clocks();
  commit(now, false);
  if (stop_) return;
  report(now, false);
  admin_.work(now);
  if (stopping_ && (engine_->under_way() == 0 || now.mono >= stop_by_)) return stop(kDone);
  wait(now);
}

void Runner::finish() {
  sink_->abandon();
  const base::Now now = base::read_clocks();
  // What was dealt with before the end, also when the end is a failure.
  commit(now, true);
  ::unlinkat(groups_.get(), (config_.group + ".state").c_str(), 0);
}

int Runner::run() {
  if (const int failed = open(); failed != kDone || signals_.stop()) return failed;
  while (!stop_) turn();
  const int code = code_;
  finish();
  return std::max(code, code_);
}

}  // namespace mxring::relay
