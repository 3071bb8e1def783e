// `mxring log tail`: records as they become durable, until it is interrupted or nobody reads. With
// a group it goes on where the group stands, and commits what has been dealt with.
#include "cli/log_tail.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>

#include "base/base64.h"
#include "cli/command.h"
#include "cli/interruption.h"
#include "cli/output.h"
#include "cli/record_text.h"
#include "seglog/record_bell.h"

namespace mxring::cli {

namespace {

int seek(LogReader& reader, const TailOptions& options) {
  Selection start = options.start;
  if (!start.from && start.since.empty()) {
    const Offset kept = reader.end() - reader.first();
    const Offset back = std::min<Offset>(options.last.value_or(0), kept);
    start.from = static_cast<std::int64_t>(reader.end() - back);
  }
  return seek_to_start(reader, start);
}

// For a record, a reader that goes away, or the end.
void wait_for_news(std::unique_ptr<seglog::RecordBell>& bell, const std::string& directory,
                   Offset wanted, const Interruption& interruption) {
  if (!bell) bell = seglog::RecordBell::start(directory, wanted);
  pollfd wait[] = {
      {interruption.fd(), POLLIN, 0}, {bell ? bell->fd() : -1, POLLIN, 0}, {STDOUT_FILENO, 0, 0}};
  (void)::poll(wait, 3, bell ? 500 : 20);
  if (bell) {
    bell->quiet();
    bell->want(wanted);
  }
}

int run_without_group(const TailOptions& options, const Interruption& interruption) {
  auto reader = open_log(options.start.directory);
  if (!reader) return reader.error();
  reader->include_refusals(options.refused);
  if (const int failed = seek(*reader, options); failed != kDone) return failed;
  Output output(interruption.fd());
  std::unique_ptr<seglog::RecordBell> bell;
  int result = kDone;
  while (!interruption.happened()) {
    const auto record = reader->next();
    if (!record) {
      const LogError& error = record.error();
      if (!can_continue(error)) {
        complain(describe(error));
        result = kFailed;
        break;
      }
      if (!options.json) {
        complain(describe(error));
        result = kFailed;
      } else if (!output.write(gap_json(error.offset, error.offset + error.records,
                                        error.kind == LogErrorKind::kGone))) {
        break;
      }
    } else if (*record) {
      if (!output.write(tail_line(**record, options))) break;
    } else {
      // Everything there is has been shown before waiting, whoever reads.
      if (!output.flush() || output.reader_gone()) break;
      wait_for_news(bell, options.start.directory, reader->position(), interruption);
    }
  }
  output.flush();
  return output.failed() ? kFailed : result;
}

// False when it was interrupted first.
bool wait_for_log(const std::string& directory, const Interruption& interruption) {
  while (true) {
    const auto reader = LogReader::open(directory);
    if (reader || reader.error().kind != LogErrorKind::kNotALog) return true;
    pollfd stop{interruption.fd(), POLLIN, 0};
    if (::poll(&stop, 1, 100) > 0) return false;
  }
}

int run_tail(TailOptions options) {
  if (options.delivered) options.body = "base64";
  if (options.body == "base64" || options.ack) options.json = true;
  const Interruption interruption;
  if (options.wait && !wait_for_log(options.start.directory, interruption)) return kDone;
  return options.group.empty() ? run_without_group(options, interruption)
                               : run_group_tail(options, interruption);
}

}  // namespace

std::string tail_line(const Record& record, const TailOptions& options) {
  if (!options.json) return record_listing(record, colour_wanted());
  base::JsonWriter json;
  json.begin_object();
  write_members(json, record);
  if (options.body == "base64") {
    json.key("message_base64")
        .value(base::encode_base64(options.delivered ? record.delivered()
                                                     : std::string(record.message)));
  }
  json.end_object();
  return std::move(json).text() + '\n';
}

std::string gap_json(Offset first, Offset next, bool removed) {
  base::JsonWriter json;
  json.begin_object().key("gap").begin_object();
  json.key("first").value(first).key("next").value(next);
  json.key("why").value(removed ? "removed" : "damaged");
  json.end_object().end_object();
  return std::move(json).text() + '\n';
}

void add_log_tail(CLI::App& log, Commands& commands) {
  CLI::App* tail = log.add_subcommand("tail", "Follow the log: print records as they arrive");
  const auto options = std::make_shared<TailOptions>();
  add_log_directory(*tail, options->start.directory);
  add_start(*tail, options->start);
  tail->add_option("-n", options->last, "Begin with the last N records")
      ->type_name("N")
      ->excludes("--from")
      ->excludes("--since");
  auto* group =
      tail->add_option("--group", options->group,
                       "Go on where this group stands, and commit what has been written;\n"
                       "a group that does not exist is made: at --from, --since, -n or\n"
                       "the earliest record");
  group->type_name("G");
  tail->add_flag("--ack", options->ack,
                 "Commit what is acknowledged instead: a line N on standard input\n"
                 "says that everything up to offset N is done. Implies --json")
      ->needs(group);
  tail->add_option("--body", options->body,
                   "base64: with message_base64, exactly as received. Implies\n--json")
      ->type_name("none|base64")
      ->check(CLI::IsMember({"none", "base64"}));
  tail->add_flag("--delivered", options->delivered,
                 "The body as delivered: with our trace fields on top. Implies\n--body base64");
  tail->add_flag("--wait", options->wait, "Until there is a log");
  tail->add_flag("--json", options->json,
                 "One JSON object per line; what is missing is an object\n"
                 "{\"gap\":{first,next,why}}");
  tail->add_flag("--refused", options->refused, "Also what was refused by DMARC policy");
  commands.push_back({tail, [options] { return run_tail(*options); }});
}

}  // namespace mxring::cli
