// Reads the configuration file: TOML laid over the defaults, strictly, by the table of keys
// (server/config_keys.h); and shows a configuration as such a file.
//
// Thread: any. Failure: a line for each mistake, with file, line and column, in the order of the
// file.
#include "server/config.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "base/clock.h"
#include "server/config_environment.h"
#include "server/config_keys.h"
#include "server/config_rules.h"
#include "server/policy_files.h"

namespace mxring::server {

namespace {

constexpr std::size_t kFileBytesMax = 4 * base::kMiB;

std::string did_you_mean(std::string_view near) {
  return near.empty() ? std::string() : fmt::format("; did you mean \"{}\"?", near);
}

void refuse_unknown(std::string_view section, const toml::key& name, Faults& faults) {
  const std::string_view word = name.str();
  std::vector<std::string_view> candidates;
  std::string elsewhere;
  for (const ConfigKey& known : config_keys()) {
    if (known.section == section) candidates.push_back(known.name);
    if (known.name == word) elsewhere = known.path();
  }
  if (section.empty()) {
    for (const std::string_view other : config_sections()) candidates.push_back(other);
  }
  std::string hint = did_you_mean(base::nearest(word, candidates));
  if (!elsewhere.empty()) hint = fmt::format("; it belongs to another section: {}", elsewhere);
  const std::string in = section.empty() ? std::string() : fmt::format(" in [{}]", section);
  faults.add(name.source(), "",
             fmt::format("unknown key \"{}\"{}{}", base::escaped(word), in, hint));
}

void read_table(const toml::table& table, std::string_view section, std::string_view file,
                Config& config, Faults& faults) {
  const std::vector<std::string_view> sections = config_sections();
  for (const auto& [name, node] : table) {
    const std::string_view word = name.str();
    if (section.empty() && std::ranges::find(sections, word) != sections.end()) {
      if (const toml::table* inner = node.as_table(); inner != nullptr) {
        read_table(*inner, word, file, config, faults);
      } else {
        faults.add(node.source(), word, fmt::format("{} must be a section: [{}]", word, word));
      }
      continue;
    }
    const auto known = std::ranges::find_if(
        config_keys(), [&](const ConfigKey& k) { return k.section == section && k.name == word; });
    if (known == config_keys().end()) {
      refuse_unknown(section, name, faults);
      continue;
    }
    const std::string path = known->path();
    known->read(node, config, Reading{path, faults});
    const toml::source_position at = name.source().begin;
    config.set_at[path] = fmt::format("{}:{}:{}", file, at.line, at.column);
  }
}

// TOML wants quotes around 25MiB, and says only that it had expected a digit.
std::string_view quoting_hint(std::string_view file, toml::source_index line_number) {
  for (; line_number > 1 && !file.empty(); --line_number) {
    const std::size_t end = file.find('\n');
    file.remove_prefix(end == file.npos ? file.size() : end + 1);
  }
  const std::string_view line = file.substr(0, file.find('\n'));
  const std::size_t equals = line.find('=');
  const std::size_t value =
      equals == line.npos ? equals : line.find_first_not_of(" \t", equals + 1);
  if (value == line.npos || !std::isalnum(static_cast<unsigned char>(line[value]))) return {};
  return "; sizes, times and words are quoted: \"25MiB\"";
}

}  // namespace

std::optional<base::Endpoint> parse_resolver(std::string_view text) {
  constexpr std::uint16_t kDnsPort = 53;
  if (const auto address = base::IpAddress::parse(text)) return base::Endpoint{*address, kDnsPort};
  return base::Endpoint::parse(text);
}

ConfigDraft read_config(std::string_view text, std::string_view file) {
  const toml::parse_result parsed = toml::parse(text, file);
  Faults faults;
  ConfigDraft draft{default_config(), {}};
  if (!parsed) {
    const auto& source = parsed.error().source();
    faults.add(
        source, "",
        fmt::format("{}{}", parsed.error().description(), quoting_hint(text, source.begin.line)));
    draft.read = false;
  } else {
    read_table(parsed.table(), "", file, draft.config, faults);
  }
  draft.mistakes = faults.take(base::escaped(file));
  const Config& read = draft.config;
  if (read.set_at.contains("listen.smtp") && !read.set_at.contains("listen.smtps")) {
    draft.config.listen.smtps.clear();
  }
  return draft;
}

namespace {

// Of the file alone.
ConfigDraft read_toml_file(const std::string& file) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> input(std::fopen(file.c_str(), "rbe"),
                                                              &std::fclose);
  const auto unread = [&](std::string why) {
    return ConfigDraft{default_config(),
                       {{"", fmt::format("{}: {}", base::escaped(file), std::move(why))}},
                       false};
  };
  const auto failed = [&] {
    return unread(fmt::format("cannot be read: {}", std::strerror(errno)));
  };
  if (input == nullptr) return failed();
  std::string text;
  char chunk[4096];
  while (const std::size_t got = std::fread(chunk, 1, sizeof chunk, input.get())) {
    text.append(chunk, got);
    if (text.size() > kFileBytesMax) {
      return unread(fmt::format("larger than {}", base::format_bytes(kFileBytesMax)));
    }
  }
  if (std::ferror(input.get()) != 0) return failed();
  ConfigDraft draft = read_config(text, file);
  draft.config.file = file;
  return draft;
}

}  // namespace

ConfigDraft read_config_file(const std::string& file) {
  ConfigDraft draft = file.empty() ? ConfigDraft{default_config(), {}} : read_toml_file(file);
  lay_environment(draft, environ);
  if (draft.read) read_policy_files(draft);
  return draft;
}

namespace {

std::expected<Config, ConfigError> whole(ConfigDraft draft) {
  if (draft.mistakes.empty()) return std::move(draft.config);
  ConfigError error;
  for (const ConfigMistake& mistake : draft.mistakes) {
    error.message += (error.message.empty() ? "" : "\n") + mistake.text;
  }
  return std::unexpected(std::move(error));
}

}  // namespace

std::expected<Config, ConfigError> parse_config(std::string_view text, std::string_view file) {
  return whole(read_config(text, file));
}

std::expected<Config, ConfigError> load_config(const std::string& file) {
  return whole(read_config_file(file));
}

Config default_config() {
  Config config;
  config.listen.smtp = {*base::Endpoint::parse("127.0.0.1:2525")};
  config.listen.smtps = {*base::Endpoint::parse("127.0.0.1:4650")};
  return config;
}

namespace {

void append_comment(std::string& out, std::string_view text) {
  constexpr std::size_t kColumns = 98;  // after "# "
  while (!text.empty()) {
    std::size_t end = text.size();
    if (end > kColumns) end = std::min(text.rfind(' ', kColumns), end);
    out += fmt::format("# {}\n", text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

}  // namespace

std::vector<ShownKey> shown_keys(const Config& config) {
  std::vector<ShownKey> all;
  for (const ConfigKey& known : config_keys()) {
    all.push_back({known.section, known.name, known.show(config)});
  }
  return all;
}

std::string to_toml(const Config& config, bool explain) {
  std::string out;
  if (explain) {
    for (const std::string_view line : kEnvironmentWords) append_comment(out, line);
    out += '\n';
  }
  std::string_view section;
  for (const ConfigKey& known : config_keys()) {
    if (known.section != section) {
      section = known.section;
      out += fmt::format("\n[{}]\n", section);
    }
    if (explain) append_comment(out, fmt::format("{} ({})", known.meaning, known.kind()));
    out += fmt::format("{} = {}\n", known.name, known.show(config));
  }
  return out;
}

}  // namespace mxring::server
