// `mxring log`: reading what the receiver stored. Readers may run while the server writes.
#include <CLI/CLI.hpp>

#include "cli/command.h"

namespace mxring::cli {

void add_log(CLI::App& program, Commands& commands) {
  CLI::App* log = program.add_subcommand("log", "Read the log that `serve` writes");
  log->require_subcommand(0, 1);
  add_log_cat(*log, commands);
  add_log_tail(*log, commands);
  add_log_info(*log, commands);
  add_log_verify(*log, commands);
  add_log_export(*log, commands);
  add_log_find(*log, commands);
  add_log_serve(*log, commands);
  add_log_renew_id(*log, commands);
  // Behind the others, which would have it in their help too.
  log->footer("All of them but renew-id may run while the server writes.");
  // Last, so that it runs only when none of the commands below `log` was named.
  commands.push_back({log, [log] { return ask_for_command(*log); }});
}

}  // namespace mxring::cli
