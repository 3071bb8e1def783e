// `mxring decode`: a message as typed facts.
#include "decode/decode.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/decode_text.h"
#include "cli/message_file.h"
#include "cli/output.h"
#include "decode/facts_json.h"
#include "server/config.h"

namespace mxring::cli {

namespace {

struct DecodeOptions {
  MessageArgument message;
  std::string as = "auto";
  std::string config;
  std::vector<std::string> tokens;
  std::vector<std::string> recipients;
  std::string decoded_bytes;
  std::optional<std::uint64_t> rows;
  bool content = false;
  bool json = false;
};

struct KindWord {
  std::string_view word;
  decode::Kind kind;
  std::string_view name;
};
constexpr KindWord kKinds[] = {
    {"dsn", decode::Kind::kBounce, "a bounce"},
    {"arf", decode::Kind::kComplaint, "a complaint"},
    {"dmarc", decode::Kind::kDmarcReport, "a DMARC aggregate report"},
    {"tls", decode::Kind::kTlsReport, "a TLS report"},
    {"journal", decode::Kind::kJournalReport, "a journal report"},
    {"mail", decode::Kind::kMail, "mail"},
};

std::optional<int> complain_usage(const std::string& what) {
  complain(what);
  complain("see `mxring decode --help`");
  return kUsage;
}

// What the flags say, or the exit code after saying what is wrong with them.
std::optional<int> read_flags(const DecodeOptions& flags, std::span<const std::string> configured,
                              decode::Options& options, std::vector<decode::TokenPattern>& patterns,
                              std::vector<std::string_view>& recipients) {
  for (const KindWord& kind : kKinds) {
    if (kind.word == flags.as) options.as = kind.kind;
  }
  if (!options.as && flags.as != "auto") {
    return complain_usage(fmt::format("--as {}: one of auto, dsn, arf, dmarc, tls, journal, mail",
                                      base::escaped(flags.as)));
  }
  for (const std::string& text : flags.tokens) {
    auto pattern = decode::TokenPattern::parse(text);
    if (!pattern) {
      return complain_usage(
          fmt::format("--bounce-token {}: {}", base::escaped(text), pattern.error()));
    }
    patterns.push_back(std::move(*pattern));
  }
  for (const std::string& text : configured) {
    patterns.push_back(*decode::TokenPattern::parse(text));  // checked when the file was read
  }
  recipients.assign(flags.recipients.begin(), flags.recipients.end());
  options.token_patterns = patterns;
  options.envelope_recipients = recipients;
  if (!flags.decoded_bytes.empty()) {
    const auto bytes = base::parse_bytes(flags.decoded_bytes);
    if (!bytes) {
      return complain_usage(fmt::format("--max-decoded {}: no size, such as 64MiB",
                                        base::escaped(flags.decoded_bytes)));
    }
    options.budget.decoded_bytes = *bytes;
  }
  if (flags.rows) options.budget.rows = *flags.rows;
  if (flags.content) options.content_bytes = options.budget.decoded_bytes;
  return std::nullopt;
}

int run_decode(const DecodeOptions& flags) {
  std::vector<std::string> configured;
  if (!flags.config.empty()) {
    const auto config = server::load_config(flags.config);
    if (!config) {
      complain(config.error().message);
      return kBadConfiguration;
    }
    configured = config->decode.bounce_tokens;
  }
  decode::Options options;
  std::vector<decode::TokenPattern> patterns;
  std::vector<std::string_view> recipients;
  if (const auto code = read_flags(flags, configured, options, patterns, recipients)) return *code;
  MessageArgument bytes = flags.message;
  bytes.exact = true;
  auto message = read_message(bytes);
  if (!message) {
    complain(message.error());
    return kFailed;
  }
  // A report without a message around it may be binary.
  const bool file = decode::looks_like_report_file(*message);
  if (!flags.message.exact && !file) complete_line_ends(*message);
  const decode::Facts facts = decode::decode(*message, options);
  if (!facts.as_wanted) {
    std::string_view name = "what was asked for";
    for (const KindWord& kind : kKinds) {
      if (options.as == kind.kind) name = kind.name;
    }
    complain(fmt::format("not {}: {}", name, base::escaped(facts.reason.value_or("it is mail"))));
    return kFailed;
  }
  if (file && !facts.has_dmarc && !facts.tls) {
    complain(base::escaped(facts.reason.value_or("the file is neither a message nor a report")));
    return kFailed;
  }
  Output output;
  if (flags.json) {
    base::JsonWriter json;
    decode::write_json(facts, json);
    output.write(json.text());
    output.write("\n");
  } else {
    output.write(facts_text(facts));
  }
  output.flush();
  return output.failed() ? kFailed : kDone;
}

}  // namespace

void add_decode(CLI::App& program, Commands& commands) {
  CLI::App* command = program.add_subcommand(
      "decode", "A message as typed facts: bounce, complaint, report or mail");
  auto options = std::make_shared<DecodeOptions>();
  add_message(*command, options->message);
  command
      ->add_option("--as", options->as,
                   "auto, dsn, arf, dmarc, tls, journal or mail; an error when it is none")
      ->type_name("KIND");
  command
      ->add_option(
          "--bounce-token", options->tokens,
          "Where a bounce says which message it is about: \"recipient: bounces+{}@*\"\n"
          "or a field of the returned message, \"X-Campaign: {}\"; the first that is found")
      ->allow_extra_args(false)
      ->type_name("PATTERN");
  command
      ->add_option("-c,--config", options->config,
                   "A configuration whose decode.bounce_tokens are looked for as well")
      ->type_name("FILE");
  command
      ->add_option("--recipient", options->recipients,
                   "Envelope recipient, for --bounce-token; else Delivered-To, X-Original-To or To")
      ->allow_extra_args(false)
      ->type_name("ADDRESS");
  command
      ->add_option("--max-decoded", options->decoded_bytes,
                   "How much may come out of encodings and archives (32MiB)")
      ->type_name("SIZE");
  command->add_option("--max-rows", options->rows, "Of a DMARC report (100000)")->type_name("N");
  command->add_flag("--content", options->content, "With --json, attachments' bytes in base64");
  command->add_flag("--json", options->json, "One JSON object; see src/decode/JSON.md");
  command->footer(
      "A DMARC or TLS report may also be given as a file of its own (XML, JSON, gzip, zip).");
  commands.push_back({command, [options] { return run_decode(*options); }});
}

}  // namespace mxring::cli
