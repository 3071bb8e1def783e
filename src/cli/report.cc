// `mxring report`: DMARC aggregate reports (RFC 9990) from the log to the domains that ask for
// them.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "cli/command.h"

namespace mxring::cli {

void add_report(CLI::App& program, Commands& commands) {
  CLI::App* report = program.add_subcommand("report", "Make and send DMARC aggregate reports");
  report->require_subcommand(0, 1);
  report->footer(
      "Once a day: `build` makes the reports of the day before in a folder, `send` delivers what\n"
      "in that folder was not delivered yet.");
  add_report_build(*report, commands);
  add_report_send(*report, commands);
  // Last, so that it runs only when none of the commands below `report` was named.
  commands.push_back({report, [report] {
                        std::fputs(report->help("", CLI::AppFormatMode::Normal).c_str(), stderr);
                        complain("report: name one of build, send");
                        return int{kUsage};
                      }});
}

}  // namespace mxring::cli
