// `mxring policy check`: what a configuration decides about one recipient, without a connection,
// and which line of which file it is that decides.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>
#include <string>

#include "base/json.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/output.h"
#include "server/config.h"
#include "server/line_file.h"
#include "server/policy.h"
#include "server/policy_files.h"
#include "smtp/reply.h"

namespace mxring::cli {

namespace {

struct PolicyOptions {
  std::string file;
  std::string client;
  std::string helo;
  std::string sender;
  std::string recipient;
  bool json = false;
};

// The line that decides; `line` 0: no line of a file does.
struct Deciding {
  std::string file;
  std::uint64_t line = 0;
};

// A recipient file keeps fingerprints and no lines: it is read once more.
Deciding deciding_recipient_line(const server::Config& config, const std::string& recipient) {
  Deciding found;
  if (config.recipients.file.empty()) return found;
  std::uint64_t number = 0;
  const auto read = server::for_each_line(
      config.recipients.file, server::Recipients::kLineBytesMax,
      [&](std::string_view line) -> std::expected<void, server::FileError> {
        ++number;
        if (found.line == 0 &&
            server::Recipients::line_matches(line, recipient, config.recipients.extension)) {
          found = {config.recipients.file, number};
        }
        return {};
      });
  return read ? found : Deciding{};
}

std::string_view decision_word(const std::optional<smtp::Reply>& refusal) {
  if (!refusal) return "accept";
  return refusal->is_temporary() ? "tempfail" : "refuse";
}

void write_json(Output& output, const std::optional<smtp::Reply>& refusal, const std::string& reply,
                const Deciding& deciding) {
  base::JsonWriter json;
  json.begin_object();
  json.key("decision").value(decision_word(refusal));
  json.key("reply").value(reply);
  json.key("rule");
  if (deciding.line == 0) {
    json.null();
  } else {
    json.begin_object();
    json.key("file").value(deciding.file);
    json.key("line").value(deciding.line);
    json.end_object();
  }
  json.end_object();
  output.write(json.text() + "\n");
}

int check(const PolicyOptions& options) {
  const auto client = base::IpAddress::parse(options.client);
  if (!client) {
    complain(fmt::format("--client: \"{}\" is no IP address", base::escaped(options.client)));
    return kUsage;
  }
  const auto config = server::load_config(options.file);
  if (!config) {
    complain(config.error().message);
    return kBadConfiguration;
  }
  const server::AccessQuestion question{.client = *client,
                                        .helo = options.helo,
                                        .sender = options.sender == "<>" ? "" : options.sender,
                                        .recipient = options.recipient};
  const server::Policy policy(*config);
  const std::optional<smtp::Reply> refusal = policy.recipient(question);
  const server::Access::Rule* rule = config->policy_files->access.find(question);
  const bool by_rule =
      rule != nullptr && (rule->action != server::AccessAction::kAllow || !refusal);
  const Deciding deciding = by_rule ? Deciding{config->access.file, rule->line}
                                    : deciding_recipient_line(*config, options.recipient);
  const std::string reply = to_text(refusal ? *refusal : smtp::Reply(smtp::replies::kRecipientOk));
  Output output;
  if (options.json) {
    write_json(output, refusal, reply, deciding);
  } else {
    output.write(fmt::format("decision  {}\nreply     {}\n", decision_word(refusal), reply));
    output.write(deciding.line == 0 ? std::string("rule      no line of a file decides\n")
                                    : fmt::format("rule      {}:{}\n", base::escaped(deciding.file),
                                                  deciding.line));
  }
  output.flush();
  return output.failed() ? kFailed : kDone;
}

}  // namespace

void add_policy(CLI::App& program, Commands& commands) {
  CLI::App* policy = program.add_subcommand("policy", "What a configuration decides");
  CLI::App* command =
      policy->add_subcommand("check", "Whether a recipient is accepted, and which line decides");
  const auto options = std::make_shared<PolicyOptions>();
  command->add_option("-c,--config", options->file, "The configuration")->required();
  command->add_option("--client", options->client, "The client's IP address")->required();
  command->add_option("--helo", options->helo, "What it said after EHLO or HELO");
  command->add_option("--sender", options->sender, "The reverse-path; \"\" or <>: none");
  command->add_option("--recipient", options->recipient, "The forward-path")->required();
  command->add_flag("--json", options->json, "One JSON object");
  command->footer(
      "Access rules come first, then recipients. Rates and block lists are not asked.\n"
      "The exit code is 0 for every decision.");
  commands.push_back({command, [options] { return check(*options); }});
  commands.push_back({policy, [policy] { return ask_for_command(*policy); }});
}

}  // namespace mxring::cli
