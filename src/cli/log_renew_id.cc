// `mxring log renew-id`: a log that was put back from an older copy goes on under a new id, so that
// no id names two messages.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "base/json.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/log_walk.h"
#include "cli/output.h"
#include "seglog/log_identity.h"

namespace mxring::cli {

namespace {

int run_renew(const std::string& directory, bool json) {
  const auto renewed = seglog::renew_log_id(directory);
  if (!renewed) {
    complain(base::escaped(renewed.error()));
    return kFailed;
  }
  Output output;
  if (json) {
    base::JsonWriter writer;
    writer.begin_object().key("log_id").value(renewed->after.hex()).key("before");
    renewed->before.known() ? writer.value(renewed->before.hex()) : writer.null();
    writer.end_object();
    output.write(std::move(writer).text() + '\n');
  } else {
    output.write(fmt::format("new records get the log id {}; those that are there keep {}\n",
                             renewed->after.hex(),
                             renewed->before.known() ? renewed->before.hex() : "none"));
  }
  output.flush();
  return output.failed() ? kFailed : kDone;
}

}  // namespace

void add_log_renew_id(CLI::App& log, Commands& commands) {
  CLI::App* renew = log.add_subcommand("renew-id", "Begin a new log id, after restoring a copy");
  const auto directory = std::make_shared<std::string>();
  const auto json = std::make_shared<bool>(false);
  add_log_directory(*renew, *directory);
  renew->add_flag("--json", *json, "One JSON object");
  commands.push_back({renew, [directory, json] { return run_renew(*directory, *json); }});
}

}  // namespace mxring::cli
