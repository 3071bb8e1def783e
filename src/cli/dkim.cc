// `mxring dkim`: keys, signatures, and what a verifier says about them.
#include <CLI/CLI.hpp>

#include "cli/command.h"

namespace mxring::cli {

void add_dkim(CLI::App& program, Commands& commands) {
  CLI::App* dkim = program.add_subcommand("dkim", "Make DKIM keys, sign and verify messages");
  dkim->require_subcommand(0, 1);
  add_dkim_keygen(*dkim, commands);
  add_dkim_sign(*dkim, commands);
  add_dkim_verify(*dkim, commands);
  // Behind the others, which would have it in their help too.
  dkim->footer(
      "A domain owner's way: `keygen`, publish the record it prints, `sign`, and `verify` what\n"
      "arrived elsewhere.");
  // Last, so that it runs only when none of the commands below `dkim` was named.
  commands.push_back({dkim, [dkim] { return ask_for_command(*dkim); }});
}

}  // namespace mxring::cli
