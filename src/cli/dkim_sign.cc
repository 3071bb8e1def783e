// `mxring dkim sign`: a message with a signature on top.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>

#include "base/clock.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/key_file.h"
#include "cli/message_file.h"
#include "cli/output.h"
#include "mailauth/dkim/signature.h"
#include "mailauth/dkim/signer.h"
#include "mailauth/dkim/tag_list.h"

namespace mxring::cli {

namespace {

namespace dkim = mailauth::dkim;

struct SignArguments {
  std::string key;
  std::string domain;
  std::string selector;
  std::string canonicalization = "relaxed/relaxed";
  std::string fields;
  std::string expire;
  std::optional<std::int64_t> now;
  MessageArgument message;
};

std::expected<dkim::SignOptions, std::string> sign_options(const SignArguments& arguments) {
  dkim::SignOptions options;
  const auto domain = dkim::parse_domain(arguments.domain);
  if (!domain || domain->labels() < 2) {
    return std::unexpected(
        fmt::format("--domain {}: not a domain", base::escaped(arguments.domain)));
  }
  const auto selector = dkim::parse_domain(arguments.selector);
  if (!selector) {
    return std::unexpected(
        fmt::format("--selector {}: not a selector", base::escaped(arguments.selector)));
  }
  options.domain = domain->to_text();
  options.selector = selector->to_text();
  const auto from_word = [](std::string_view text) {
    return text == word(dkim::Canonicalization::kSimple) ? dkim::Canonicalization::kSimple
                                                         : dkim::Canonicalization::kRelaxed;
  };
  const std::size_t slash = arguments.canonicalization.find('/');
  options.header = from_word(std::string_view(arguments.canonicalization).substr(0, slash));
  options.body = from_word(std::string_view(arguments.canonicalization).substr(slash + 1));
  options.now_unix_s = arguments.now ? *arguments.now : base::read_clocks().wall.us / 1'000'000;
  if (!arguments.expire.empty()) {
    const std::string problem = base::duration_problem(arguments.expire, base::kNsPerSecond);
    if (!problem.empty()) {
      return std::unexpected(
          fmt::format("--expire {}: {}", base::escaped(arguments.expire), problem));
    }
    options.expire_after_s = *base::parse_duration_ns(arguments.expire) / base::kNsPerSecond;
  }
  if (arguments.fields.empty()) return options;
  dkim::ColonList fields(arguments.fields);
  std::string_view field;
  while (fields.next(field)) options.signed_fields.emplace_back(field);
  return options;
}

int run_sign(const SignArguments& arguments) {
  auto options = sign_options(arguments);
  if (!options) {
    complain(options.error());
    return kUsage;
  }
  auto key = read_private_key(arguments.key);
  if (!key) {
    complain(key.error());
    return kFailed;
  }
  const auto message = read_message(arguments.message);
  if (!message) {
    complain(message.error());
    return kFailed;
  }
  dkim::Signer signer(*key, *std::move(options));
  const auto field = signer.sign(*message);
  if (!field) {
    complain(field.error());
    return kFailed;
  }
  Output output;
  output.write(*field);
  output.write(*message);
  output.flush();
  return output.failed() ? kFailed : kDone;
}

}  // namespace

void add_dkim_sign(CLI::App& dkim_app, Commands& commands) {
  CLI::App* app = dkim_app.add_subcommand("sign", "Put a signature on a message");
  const auto arguments = std::make_shared<SignArguments>();
  app->add_option("--key", arguments->key, "The private key, as `dkim keygen` wrote it (PEM)")
      ->required()
      ->type_name("FILE");
  app->add_option("--domain", arguments->domain, "d=, the domain that signs")->required();
  app->add_option("--selector", arguments->selector, "s=, the key's name below it")->required();
  app->add_option("--canonicalization", arguments->canonicalization, "c=, header/body")
      ->check(
          CLI::IsMember({"relaxed/relaxed", "relaxed/simple", "simple/relaxed", "simple/simple"})
              .description(""))
      ->capture_default_str();
  app->add_option("--fields", arguments->fields,
                  "h=, the fields to sign, as in from:from:to:subject; default those of\n"
                  "RFC 6376 5.4.1 and the MIME fields, From once more than the message\n"
                  "has it")
      ->type_name("NAME[:NAME]...");
  app->add_option("--expire", arguments->expire, "x=, good for so long; default for ever")
      ->type_name("TIME");
  app->add_option("--now", arguments->now, "t=, instead of the clock")->type_name("UNIX");
  add_message(*app, arguments->message);
  app->footer("The signed message goes to standard output, with CRLF line ends.");
  commands.push_back({app, [arguments] { return run_sign(*arguments); }});
}

}  // namespace mxring::cli
