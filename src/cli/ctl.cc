// `mxring ctl`: tells the running receiver what to do, over its control socket (server/control.h).
//
// Exit codes: 0 done, 1 nobody answers or it was not done, with the reason.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <expected>
#include <memory>

#include "base/json.h"
#include "base/text.h"
#include "cli/admin_client.h"
#include "cli/command.h"
#include "cli/output.h"

namespace mxring::cli {

namespace {

struct CtlOptions {
  ControlPlace place;
  bool json = false;
};

std::string quoted_json(std::string_view key, bool ok, const std::string& text) {
  base::JsonWriter json;
  json.begin_object().key("ok").value(ok).key(key).value(text).end_object();
  return std::move(json).text();
}

int run_ctl(const CtlOptions& options, std::string_view method, std::string_view command) {
  const auto path = socket_of(options.place);
  if (!path) {
    complain(path.error());
    return kFailed;
  }
  const auto answer = ask_admin("unix:" + *path, method, fmt::format("/{}", command));
  const bool done = answer && answer->code == 200;
  const std::string text = answer ? answer->body : answer.error();
  Output output;
  if (options.json) {
    const bool is_json = done && text.starts_with('{');
    output.write((is_json ? text : quoted_json(done ? "done" : "error", done, text)) + '\n');
  } else if (done) {
    output.write(base::without_controls(text) + '\n');
  } else {
    complain(text);
  }
  output.flush();
  return done && !output.failed() ? kDone : kFailed;
}

}  // namespace

void add_ctl(CLI::App& program, Commands& commands) {
  CLI::App* ctl = program.add_subcommand("ctl", "Tell the running receiver what to do");
  ctl->require_subcommand(0, 1);
  struct Verb {
    const char* name;
    const char* method;
    const char* what;
  };
  for (const auto& [name, method, what] :
       {Verb{"status", "GET", "What it does now, as one JSON object"},
        Verb{"reload", "POST", "Read the configuration, certificates and files again"},
        Verb{"drain", "POST", "Let transactions in progress finish, then end"},
        Verb{"rotate", "POST", "Open the journal's file again"}}) {
    CLI::App* verb = ctl->add_subcommand(name, what);
    const auto options = std::make_shared<CtlOptions>();
    add_control_place(*verb, options->place);
    verb->add_flag("--json", options->json, "One JSON object");
    verb->footer(
        "Without both, the socket is $RUNTIME_DIRECTORY/control, ./mxring-log/control or\n"
        "/run/mxring/control. What a reload cannot change while running is named; a\n"
        "configuration that does not check changes nothing, and the exit code is 1.");
    commands.push_back({verb, [options, name, method] { return run_ctl(*options, method, name); }});
  }
  commands.push_back({ctl, [ctl] { return ask_for_command(*ctl); }});
}

}  // namespace mxring::cli
