// What the commands of the mxring program share: exit codes, how a command is registered, and how
// it reports to a person.
//
// Each command lives in one file: it adds itself to the command line with its flags and returns
// the function that does the work, which runs after the whole line has been understood.
#pragma once

#include <functional>
#include <string_view>
#include <vector>

namespace CLI {
class App;
}

namespace mxring::cli {

enum ExitCode : int {
  kDone = 0,
  kFailed = 1,             // at run time
  kUsage = 2,              // the command line is wrong
  kBadConfiguration = 78,  // EX_CONFIG
  kThresholdBroken = 99,   // a --fail-if condition holds
};

struct Command {
  CLI::App* app = nullptr;
  std::function<int()> run;
};
using Commands = std::vector<Command>;

void add_serve(CLI::App& program, Commands& commands);
void add_ctl(CLI::App& program, Commands& commands);  // `ctl` and everything below it
void add_top(CLI::App& program, Commands& commands);
void add_trace(CLI::App& program, Commands& commands);
void add_load(CLI::App& program, Commands& commands);
void add_log(CLI::App& program, Commands& commands);  // `log` and everything below it
void add_log_cat(CLI::App& log, Commands& commands);
void add_log_tail(CLI::App& log, Commands& commands);
void add_log_info(CLI::App& log, Commands& commands);
void add_log_verify(CLI::App& log, Commands& commands);
void add_log_export(CLI::App& log, Commands& commands);
void add_log_find(CLI::App& log, Commands& commands);
void add_log_renew_id(CLI::App& log, Commands& commands);
void add_log_serve(CLI::App& log, Commands& commands);
void add_groups(CLI::App& program, Commands& commands);  // `groups` and everything below it
void add_relay(CLI::App& program, Commands& commands);
void add_auth(CLI::App& program, Commands& commands);
void add_dns(CLI::App& program, Commands& commands);  // `dns` and everything below it
void add_spf(CLI::App& program, Commands& commands);
void add_dmarc(CLI::App& program, Commands& commands);
void add_dkim(CLI::App& program, Commands& commands);  // `dkim` and everything below it
void add_dkim_keygen(CLI::App& dkim, Commands& commands);
void add_dkim_sign(CLI::App& dkim, Commands& commands);
void add_dkim_verify(CLI::App& dkim, Commands& commands);
void add_decode(CLI::App& program, Commands& commands);
void add_policy(CLI::App& program, Commands& commands);  // `policy` and everything below it
void add_report(CLI::App& program, Commands& commands);  // `report` and everything below it
void add_report_build(CLI::App& report, Commands& commands);
void add_report_send(CLI::App& report, Commands& commands);
void add_tune(CLI::App& program, Commands& commands);  // `tune` and everything below it
// After all others: it tells of them. The program must live as long as the command.
void add_manual(CLI::App& program, Commands& commands);

// The program as it was called, for lines that a person copies.
std::string_view program_path();
void set_program_path(std::string_view path);

// For a command that only groups others: its help and their names on standard error; kUsage.
int ask_for_command(const CLI::App& group);

// "mxring: MESSAGE" on standard error, each line of it.
void complain(std::string_view message);

}  // namespace mxring::cli
