// `mxring log tail`: records as they become durable, until it is interrupted or nobody reads.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>

#include "cli/command.h"
#include "cli/interruption.h"
#include "cli/log_walk.h"
#include "cli/output.h"
#include "cli/record_text.h"

namespace mxring::cli {

namespace {

struct TailOptions {
  Selection start;
  std::optional<std::uint64_t> last;
  bool json = false;
  bool refused = false;
};

int seek(LogReader& reader, const TailOptions& options) {
  Selection start = options.start;
  if (!start.from && start.since.empty()) {
    const Offset kept = reader.end() - reader.first();
    const Offset back = std::min<Offset>(options.last.value_or(0), kept);
    start.from = static_cast<std::int64_t>(reader.end() - back);
  }
  return seek_to_start(reader, start);
}

int run_tail(const TailOptions& options) {
  const Interruption interruption;
  auto reader = open_log(options.start.directory);
  if (!reader) return reader.error();
  reader->include_refusals(options.refused);
  if (const int failed = seek(*reader, options); failed != kDone) return failed;
  Output output(interruption.fd());
  const bool colour = colour_wanted();
  int result = kDone;
  while (!interruption.happened()) {
    const auto record = reader->next();
    if (!record) {
      complain(describe(record.error()));
      result = kFailed;
      if (!can_continue(record.error())) break;
    } else if (*record) {
      if (!output.write(options.json ? record_json(**record) : record_listing(**record, colour))) {
        break;
      }
    } else {
      // Everything there is has been shown before waiting, whoever reads.
      if (!output.flush() || output.reader_gone()) break;
      reader->wait(std::chrono::milliseconds(500));
    }
  }
  output.flush();
  return output.failed() ? kFailed : result;
}

}  // namespace

void add_log_tail(CLI::App& log, Commands& commands) {
  CLI::App* tail = log.add_subcommand("tail", "Follow the log: print records as they arrive");
  const auto options = std::make_shared<TailOptions>();
  add_log_directory(*tail, options->start.directory);
  add_start(*tail, options->start);
  tail->add_option("-n", options->last, "Begin with the last N records")
      ->type_name("N")
      ->excludes("--from")
      ->excludes("--since");
  tail->add_flag("--json", options->json, "One JSON object per line");
  tail->add_flag("--refused", options->refused, "Also what was refused by DMARC policy");
  commands.push_back({tail, [options] { return run_tail(*options); }});
}

}  // namespace mxring::cli
