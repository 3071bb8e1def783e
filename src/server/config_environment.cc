// Thread: any, while nobody changes the environment.
#include "server/config_environment.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <map>
#include <string>
#include <system_error>
#include <vector>

#include "base/text.h"
#include "server/config_keys.h"

namespace mxring::server {

namespace {

constexpr std::string_view kPrefix = "MXRING_";
constexpr std::string_view kBetween = "__";

std::string in_capitals(std::string_view text) {
  std::string out;
  for (const char c : text) {
    out += c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  }
  return out;
}

std::string variable_of(const ConfigKey& key, std::string_view between = kBetween) {
  std::string name(kPrefix);
  if (!key.section.empty()) name += in_capitals(key.section) + std::string(between);
  return name + in_capitals(key.name);
}

// What a name that is no key's is a misspelling of; empty: somebody else's name.
std::string complaint(std::string_view name) {
  const bool two_underscores = name.find(kBetween) != name.npos;
  std::vector<std::string> all;
  std::vector<std::string> top;
  for (const ConfigKey& key : config_keys()) {
    all.push_back(variable_of(key));
    if (key.section.empty()) top.push_back(in_capitals(key.name));
    if (!two_underscores && in_capitals(name) == variable_of(key, "_")) {
      return fmt::format("no key has this name; did you mean {}?", all.back());
    }
  }
  std::string near;
  if (two_underscores) {
    near = base::nearest(in_capitals(name), all);
  } else {
    const std::string tail = in_capitals(name.substr(kPrefix.size()));
    near = base::nearest(tail, top);
    if (near.empty()) return {};
    near.insert(0, kPrefix);
  }
  return fmt::format("no key has this name{}",
                     near.empty() ? std::string() : fmt::format("; did you mean {}?", near));
}

std::string_view without_blanks(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\n'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

// [::1]:25 begins as a list does, but none of a list's elements begins with a colon or a letter.
bool is_toml_list(std::string_view text) {
  if (!text.starts_with('[')) return false;
  text = without_blanks(text.substr(1));
  return !text.empty() && std::string_view("\"'{[]").find(text.front()) != text.npos;
}

// The value as the node that the key's kind reads; a fault instead when it cannot be one.
void put_list(toml::table& into, std::string_view text, const Reading& reading) {
  text = without_blanks(text);
  const auto refuse = [&](std::string what) {
    reading.faults.add({}, reading.key, fmt::format("{} {}", reading.key, what));
  };
  if (is_toml_list(text)) {
    toml::parse_result parsed = toml::parse(fmt::format("value = {}", text));
    if (!parsed) return refuse(fmt::format("is no list: {}", parsed.error().description()));
    toml::array* list = parsed.table()["value"].as_array();
    if (list == nullptr || parsed.table().size() != 1) return refuse("is no list");
    into.insert("value", std::move(*list));
    return;
  }
  toml::array list;
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    const std::string_view element = without_blanks(text.substr(0, comma));
    if (element.empty()) return refuse("has an empty element between two commas");
    list.push_back(std::string(element));
    if (comma == text.npos) break;
    text.remove_prefix(comma + 1);
    if (text.empty()) return refuse("ends with a comma");
  }
  into.insert("value", std::move(list));
}

void put_text(toml::table& into, std::string_view text, const Reading& reading) {
  const bool quoted =
      text.size() >= 2 && text.front() == text.back() && (text[0] == '"' || text[0] == '\'');
  if (quoted) {
    reading.faults.add({}, reading.key,
                       fmt::format("{} stands without quotes in the environment", reading.key));
    return;
  }
  into.insert("value", std::string(text));
}

void put_bare(toml::table& into, std::string_view text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text == "true" || text == "false") {
    into.insert("value", text == "true");
  } else if (error == std::errc() && end == text.data() + text.size()) {
    into.insert("value", number);
  } else {
    into.insert("value", std::string(text));  // which the kind refuses
  }
}

bool has_control(std::string_view text, bool list) {
  return std::ranges::any_of(text, [list](char c) {
    return (c >= 0 && c < ' ' && !(list && (c == '\n' || c == '\t'))) || c == 127;
  });
}

void set(const ConfigKey& key, std::string_view name, std::string_view text, ConfigDraft& draft) {
  const std::string path = key.path();
  std::erase_if(draft.mistakes, [&](const ConfigMistake& found) { return found.key == path; });
  Faults faults;
  const Reading reading{path, faults};
  toml::table holder;
  if (has_control(text, key.form == ValueForm::kList)) {
    faults.add({}, path, fmt::format("{} has a control character in it", path));
  } else if (!base::is_valid_utf8(text)) {
    faults.add({}, path, fmt::format("{} is no UTF-8", path));
  } else if (key.form == ValueForm::kList) {
    put_list(holder, text, reading);
  } else if (key.form == ValueForm::kText) {
    put_text(holder, text, reading);
  } else {
    put_bare(holder, text);
  }
  if (const toml::node* node = holder.get("value"); node != nullptr) {
    key.read(*node, draft.config, reading);
  }
  std::ranges::move(faults.take_of_variable(name), std::back_inserter(draft.mistakes));
  draft.config.set_at[path] = name;
}

}  // namespace

void lay_environment(ConfigDraft& draft, const char* const* environment) {
  // In the order of their names; of two with one name the first counts, as for getenv(3).
  std::map<std::string_view, std::string_view> ours;
  for (; *environment != nullptr; ++environment) {
    const std::string_view entry = *environment;
    const std::size_t equals = entry.find('=');
    if (equals == entry.npos || !entry.starts_with(kPrefix)) continue;
    ours.emplace(entry.substr(0, equals), entry.substr(equals + 1));
  }
  for (const auto& [name, text] : ours) {
    const auto keys = config_keys();
    const auto known =
        std::ranges::find_if(keys, [&](const ConfigKey& key) { return variable_of(key) == name; });
    if (known != keys.end()) {
      set(*known, name, text, draft);
    } else if (const std::string wrong = complaint(name); !wrong.empty()) {
      draft.mistakes.push_back({"", fmt::format("{}: {}", base::escaped(name), wrong)});
    }
  }
  // Whoever names a listener means it, as in a file.
  const auto& set_at = draft.config.set_at;
  if (set_at.contains("listen.smtp") && !set_at.contains("listen.smtps")) {
    draft.config.listen.smtps.clear();
  }
}

}  // namespace mxring::server
