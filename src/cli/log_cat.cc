// `mxring log cat`: the records in order, as a listing, as JSON lines or as the messages' bytes.
#include <CLI/CLI.hpp>
#include <memory>

#include "cli/command.h"
#include "cli/log_walk.h"
#include "cli/output.h"
#include "cli/record_text.h"

namespace mxring::cli {

namespace {

struct CatOptions {
  Selection selection;
  bool json = false;
  bool as_received = false;
  bool raw = false;
  bool refused = false;
};

int run_cat(const CatOptions& options) {
  auto reader = open_log(options.selection.directory);
  if (!reader) return reader.error();
  reader->include_refusals(options.refused);
  Output output;
  const bool colour = colour_wanted();
  const int result = walk(*reader, options.selection, nullptr, [&](const Record& record) {
    if (options.as_received) return output.write(record.message);
    if (options.raw) return output.write(record.delivered());
    return output.write(options.json ? record_json(record) : record_listing(record, colour));
  });
  output.flush();
  return output.failed() ? kFailed : result;
}

}  // namespace

void add_log_cat(CLI::App& log, Commands& commands) {
  CLI::App* cat = log.add_subcommand("cat", "Print records in order");
  const auto options = std::make_shared<CatOptions>();
  add_selection(*cat, options->selection);
  auto* json = cat->add_flag("--json", options->json, "One JSON object per line");
  auto* as_received = cat->add_flag("--as-received", options->as_received,
                                    "The messages' bytes exactly as they were received");
  auto* raw = cat->add_flag("--raw", options->raw,
                            "The messages as delivered: with our trace fields on top");
  json->excludes(as_received)->excludes(raw);
  as_received->excludes(raw);
  cat->add_flag("--refused", options->refused,
                "Also what was refused by DMARC policy: who, and the verdict;\n"
                "there is no message")
      ->excludes(as_received)
      ->excludes(raw);
  commands.push_back({cat, [options] { return run_cat(*options); }});
}

}  // namespace mxring::cli
