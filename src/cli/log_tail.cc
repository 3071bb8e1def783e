// `mxring log tail`: records as they become durable, until it is interrupted or nobody reads.
#include <CLI/CLI.hpp>
#include <csignal>
#include <memory>

#include "cli/command.h"
#include "cli/log_walk.h"
#include "cli/output.h"
#include "cli/record_text.h"

namespace mxring::cli {

namespace {

struct TailOptions {
  std::string directory;
  std::optional<Offset> from;
  bool json = false;
  bool refused = false;
};

volatile std::sig_atomic_t interrupted = 0;

void watch_for_interruption() {
  struct sigaction action {};
  action.sa_handler = [](int) { interrupted = 1; };  // without SA_RESTART: waits end early
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

int run_tail(const TailOptions& options) {
  auto reader = open_log(options.directory);
  if (!reader) return reader.error();
  reader->include_refusals(options.refused);
  Selection selection;
  selection.from = options.from ? *options.from : reader->end();
  if (const int failed = seek_to_start(*reader, selection); failed != kDone) return failed;
  watch_for_interruption();
  Output output;
  const bool colour = colour_wanted();
  int result = kDone;
  while (interrupted == 0) {
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
  add_log_directory(*tail, options->directory);
  tail->add_option("--from", options->from, "Begin at this offset, not at the end")
      ->type_name("OFFSET");
  tail->add_flag("--json", options->json, "One JSON object per line");
  tail->add_flag("--refused", options->refused, "Also what was refused by DMARC policy");
  commands.push_back({tail, [options] { return run_tail(*options); }});
}

}  // namespace mxring::cli
