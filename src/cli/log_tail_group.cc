// `mxring log tail --group`: what a group has not dealt with, and commits.
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "base/clock.h"
#include "base/text.h"
#include "cli/ack_input.h"
#include "cli/command.h"
#include "cli/interruption.h"
#include "cli/log_tail.h"
#include "cli/output.h"
#include "seglog/group_reader.h"
#include "seglog/record_bell.h"

namespace mxring::cli {

namespace {

using seglog::GroupError;
using seglog::GroupErrorKind;
using seglog::GroupReader;

int refuse(const GroupError& error) {
  if (error.kind == GroupErrorKind::kLog) {
    complain_about_log(error.log);
    return kFailed;
  }
  complain(base::escaped(error.message));
  const bool usage = error.kind == GroupErrorKind::kName || error.kind == GroupErrorKind::kExists;
  return usage ? kUsage : kFailed;
}

class GroupTail {
 public:
  GroupTail(const TailOptions& options, const Interruption& interruption, GroupReader reader)
      : options_(options),
        interruption_(interruption),
        reader_(std::move(reader)),
        output_(interruption.fd()) {
    if (options.ack) output_.also_read(STDIN_FILENO, [this] { acks_.take(); });
  }

  int run();

 private:
  enum class Round : std::uint8_t { kMore, kEnd, kStop };
  Round one();
  bool commit();
  bool show_all();
  void wait();
  bool fail(const GroupError& error) {
    result_ = refuse(error);
    return false;
  }

  const TailOptions& options_;
  const Interruption& interruption_;
  GroupReader reader_;
  Output output_;
  AckInput acks_;
  std::unique_ptr<seglog::RecordBell> bell_;
  std::size_t unshown_ = 0;  // lines that may not have been written yet
  Offset shown_ = 0;         // one past what has been written or, with --ack, acknowledged
  int result_ = kDone;
};

// Without --ack a record is done when its line is written, not when it is gathered.
bool GroupTail::show_all() {
  if (!output_.flush()) return false;
  unshown_ = 0;
  if (!options_.ack) shown_ = reader_.position();
  return commit();
}

bool GroupTail::commit() {
  const base::Now now = base::read_clocks();
  if (!options_.ack) {
    if (shown_ < reader_.committed()) return true;
    const auto done = reader_.commit(shown_, now);
    return done || fail(done.error());
  }
  acks_.take();
  if (!acks_.bad_line().empty()) {
    complain(fmt::format("\"{}\" is no offset: a line of acknowledgement is a number",
                         base::escaped(acks_.bad_line())));
    result_ = kFailed;
    return false;
  }
  Offset next = std::max(acks_.take_next().value_or(0), shown_);
  if (next > reader_.position()) {
    complain(fmt::format("offset {} was acknowledged, and has not been handed over", next - 1));
    result_ = kFailed;
    return false;
  }
  shown_ = next;
  const auto done = reader_.commit(next, now);
  return done || fail(done.error());
}

GroupTail::Round GroupTail::one() {
  constexpr std::size_t kUnshownMax = 256;
  auto step = reader_.next();
  if (!step) {
    result_ = refuse(step.error());
    return Round::kStop;
  }
  if (!step->record && !step->gap) return Round::kEnd;
  bool written = true;
  if (step->record) {
    written = output_.write(tail_line(*step->record, options_));
  } else if (options_.json) {
    written = output_.write(gap_json(step->gap->first, step->gap->next, step->gap->removed));
  } else {
    complain(fmt::format("records {} to {} {}", step->gap->first, step->gap->next - 1,
                         step->gap->removed ? "were removed" : "are damaged"));
  }
  if (!written) return Round::kStop;
  if (++unshown_ < kUnshownMax) return Round::kMore;
  return show_all() ? Round::kMore : Round::kStop;
}

// For a record, an acknowledgement, the time to commit, or the end.
void GroupTail::wait() {
  if (!bell_) bell_ = seglog::RecordBell::start(options_.start.directory, reader_.position());
  int at_most_ms = bell_ ? 500 : 20;
  if (const auto due = reader_.due()) {
    const std::int64_t left_ns = *due - base::read_clocks().mono;
    at_most_ms =
        static_cast<int>(std::clamp<std::int64_t>(left_ns / base::kNsPerMs + 1, 0, at_most_ms));
  }
  pollfd wait[] = {{interruption_.fd(), POLLIN, 0},
                   {bell_ ? bell_->fd() : -1, POLLIN, 0},
                   {options_.ack ? STDIN_FILENO : -1, POLLIN, 0},
                   {STDOUT_FILENO, 0, 0}};
  (void)::poll(wait, 4, at_most_ms);
  if (bell_) {
    bell_->quiet();
    bell_->want(reader_.position());
  }
}

int GroupTail::run() {
  shown_ = reader_.committed();
  while (!interruption_.happened()) {
    const Round round = one();
    if (round == Round::kStop) break;
    if (round == Round::kMore) {
      if (options_.ack && !commit()) break;
      continue;
    }
    if (!show_all() || output_.reader_gone()) break;
    if (options_.ack && acks_.ended()) break;
    wait();
    if (!commit()) break;
  }
  // What was written, or acknowledged, before the end: also when the pipe was full or closed.
  if (result_ == kDone) commit();
  if (const auto done = reader_.flush(base::read_clocks()); !done) fail(done.error());
  return output_.failed() ? kFailed : result_;
}

}  // namespace

int run_group_tail(const TailOptions& options, const Interruption& interruption) {
  seglog::GroupOptions wanted;
  wanted.refusals = options.refused;
  wanted.only_new =
      options.start.from.has_value() || !options.start.since.empty() || options.last.has_value();
  if (wanted.only_new) {
    auto reader = open_log(options.start.directory);
    if (!reader) return reader.error();
    Selection start = options.start;
    if (options.last) start.from = -static_cast<std::int64_t>(*options.last);
    if (options.last && *options.last == 0) start.from = static_cast<std::int64_t>(reader->end());
    // The group is made in any case that is no error; a beginning that is gone is a gap to it.
    if (const int failed = seek_to_start(*reader, start); failed != kDone) return failed;
    wanted.start = {seglog::GroupStart::Kind::kOffset, reader->position(), 0};
  }
  auto reader =
      GroupReader::open(options.start.directory, options.group, wanted, base::read_clocks());
  if (!reader) return refuse(reader.error());
  if (reader->was_damaged()) {
    complain(
        fmt::format("the cursor of group {} is damaged: it begins again at the earliest "
                    "record, {}",
                    options.group, reader->position()));
  }
  return GroupTail(options, interruption, std::move(*reader)).run();
}

}  // namespace mxring::cli
