#include "cli/serve_config.h"

#include <fmt/format.h>

#include "base/text.h"
#include "cli/command.h"
#include "cli/serve_words.h"
#include "server/certificates.h"
#include "server/config_host.h"
#include "server/confinement.h"
#include "server/probe.h"

namespace mxring::cli {

namespace {

struct ListFlag {
  const char* flag;
  const char* key;
  const std::vector<std::string>& texts;
  std::vector<base::Endpoint>& target;
  bool resolver;
};

void lay_over(const ListFlag& list, server::ConfigDraft& draft) {
  if (list.texts.empty()) return;
  // What the flag names replaces what was wrong in the file as well.
  std::erase_if(draft.mistakes, [&](const auto& mistake) { return mistake.key == list.key; });
  list.target.clear();
  draft.config.set_at[list.key] = list.flag;
  for (const std::string& text : list.texts) {
    const auto one = list.resolver ? server::parse_resolver(text) : base::Endpoint::parse(text);
    if (one) {
      list.target.push_back(*one);
    } else {
      draft.mistakes.push_back(
          {list.key,
           fmt::format("{} {}: {}", list.flag, base::escaped(text),
                       list.resolver ? "not an address; write 192.0.2.53 or 192.0.2.53:5353"
                                     : base::Endpoint::advice(text))});
    }
  }
}

void lay_over(const char* flag, const char* key, const std::string& text, std::string& target,
              server::ConfigDraft& draft) {
  std::erase_if(draft.mistakes, [&](const auto& mistake) { return mistake.key == key; });
  target = text;
  draft.config.set_at[key] = flag;
}

server::ConfigDraft draft_of(const ServeOptions& options) {
  server::ConfigDraft draft = server::read_config_file(options.file);
  server::Config& config = draft.config;
  lay_over({"--smtp", "listen.smtp", options.smtp, config.listen.smtp, false}, draft);
  lay_over({"--smtps", "listen.smtps", options.smtps, config.listen.smtps, false}, draft);
  lay_over({"--resolver", "dns.servers", options.resolvers, config.dns.servers, true}, draft);
  // Whoever names a listener means it, as in a file.
  if (!options.smtp.empty() && !config.set_at.contains("listen.smtps")) {
    config.listen.smtps.clear();
  }
  if (options.admin) {
    lay_over("--admin", "listen.admin", *options.admin, config.listen.admin, draft);
  }
  if (!options.log_dir.empty()) {
    lay_over("--log-dir", "log.dir", options.log_dir, config.log.dir, draft);
  }
  if (!options.hostname.empty()) {
    lay_over("--hostname", "hostname", options.hostname, config.hostname, draft);
  }
  return draft;
}

}  // namespace

std::expected<server::Config, server::ConfigError> load_config(const ServeOptions& options) {
  server::ConfigDraft draft = draft_of(options);
  if (const auto valid = server::validate(draft); !valid) return std::unexpected(valid.error());
  return std::move(draft.config);
}

int check_config(const ServeOptions& options) {
  const server::ConfigDraft draft = draft_of(options);
  bool good = true;
  const auto mistake = [&good](const std::string& text) {
    complain(text);
    good = false;
  };
  if (const auto valid = server::validate(draft); !valid) mistake(valid.error().message);
  if (draft.read) {
    for (const server::HostFinding& finding : server::host_findings(draft.config)) {
      finding.mistake ? mistake(finding.text) : complain("warning: " + finding.text);
    }
    for (const std::string& warning : warnings(draft.config)) complain(warning);
    // Half a pair has been complained about.
    const bool pair = draft.config.tls.certificate.empty() == draft.config.tls.key.empty();
    if (pair) {
      const auto checked = server::check_certificates(draft.config, complain);
      if (!checked) mistake(checked.error());
    }
    for (const std::string& fault : server::check_access_of_user(draft.config)) mistake(fault);
  }
  if (!good) return kBadConfiguration;
  if (options.probe) {
    const server::ProbeReport report = server::probe(draft.config);
    for (const std::string& note : report.notes) complain(note);
    for (const std::string& problem : report.problems) complain(problem);
    if (!report.problems.empty()) return kFailed;
  }
  fmt::print("configuration ok\n\n{}", server::to_toml(draft.config, false));
  return kDone;
}

}  // namespace mxring::cli
