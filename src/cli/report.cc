// `mxring report`: DMARC aggregate reports (RFC 9990) from the log to the domains that ask for
// them.
#include <CLI/CLI.hpp>

#include "cli/command.h"

namespace mxring::cli {

void add_report(CLI::App& program, Commands& commands) {
  CLI::App* report = program.add_subcommand("report", "Make and send DMARC aggregate reports");
  report->require_subcommand(0, 1);
  add_report_build(*report, commands);
  add_report_send(*report, commands);
  // Behind the others, which would have it in their help too.
  report->footer(
      "Once a day: `build` makes the reports of the day before in a folder, `send` delivers what\n"
      "in that folder was not delivered yet.");
  // Last, so that it runs only when none of the commands below `report` was named.
  commands.push_back({report, [report] { return ask_for_command(*report); }});
}

}  // namespace mxring::cli
