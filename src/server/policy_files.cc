#include "server/policy_files.h"

#include <fmt/format.h>

#include <memory>

#include "base/text.h"
#include "server/config_rules.h"

namespace mxring::server {

namespace {

void note(ConfigDraft& draft, std::string_view key, const std::string& path,
          const std::expected<void, FileError>& read) {
  if (read) return;
  const FileError& error = read.error();
  const std::string line = error.line == 0 ? std::string() : fmt::format(":{}", error.line);
  draft.mistakes.push_back(
      {std::string(key), fmt::format("{}{}: {}{}: {}", place_of(draft.config, key), key,
                                     base::escaped(path), line, error.what)});
}

}  // namespace

void read_policy_files(ConfigDraft& draft) {
  Config& config = draft.config;
  const auto files = std::make_shared<PolicyFiles>();
  files->recipients = Recipients(config.recipients.domains, config.recipients.extension);
  note(draft, "recipients.file", config.recipients.file,
       files->recipients.read(config.recipients.file));
  note(draft, "access.file", config.access.file, files->access.read(config.access.file));
  config.policy_files = files;
}

}  // namespace mxring::server
