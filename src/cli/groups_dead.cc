// `mxring groups dead`: messages that a group's sink refused for good, kept beside its cursor.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <set>

#include "base/json.h"
#include "base/text.h"
#include "cli/groups.h"
#include "cli/output.h"
#include "seglog/stored_json.h"

namespace mxring::cli {

namespace {

namespace fs = std::filesystem;

struct DeadArguments {
  GroupArguments group;
  std::string retry;
  std::string drop;
};

struct DeadLetter {
  std::uint64_t offset = 0;
  std::string json;  // as stored
  bool retried = false;
};

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

std::vector<DeadLetter> read_letters(const fs::path& folder) {
  std::vector<DeadLetter> letters;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    if (entry.path().extension() != ".json") continue;
    const auto offset = number(entry.path().stem().string());
    if (!offset) continue;
    std::ifstream in(entry.path(), std::ios::binary);
    std::string text{std::istreambuf_iterator<char>(in), {}};
    const fs::path again = fs::path(entry.path()).replace_extension(".retry");
    letters.push_back({*offset, std::move(text), fs::exists(again, ignored)});
  }
  std::sort(letters.begin(), letters.end(),
            [](const DeadLetter& a, const DeadLetter& b) { return a.offset < b.offset; });
  return letters;
}

std::string letters_json(const std::vector<DeadLetter>& letters) {
  base::JsonWriter json;
  json.begin_object().key("dead").begin_array();
  for (const DeadLetter& letter : letters) {
    const auto objects = seglog::read_stored_json(letter.json);
    json.begin_object().key("offset").value(letter.offset);
    for (const char* key : {"id", "first", "last", "reply"}) {
      json.key(key);
      const std::string text = objects.empty() ? std::string() : objects.front().text(key);
      text.empty() ? json.null() : json.value(text);
    }
    const auto attempts = objects.empty() ? std::nullopt : number(objects.front().text("attempts"));
    json.key("attempts").value(attempts.value_or(0));
    json.key("retried").value(letter.retried).end_object();
  }
  json.end_array().end_object();
  return std::move(json).text() + '\n';
}

std::string letters_text(const std::vector<DeadLetter>& letters) {
  if (letters.empty()) return "no dead letters\n";
  std::string out;
  for (const DeadLetter& letter : letters) {
    const auto objects = seglog::read_stored_json(letter.json);
    out +=
        fmt::format("{:>12}  {}{}\n", letter.offset,
                    objects.empty() ? "unreadable" : base::escaped(objects.front().text("reply")),
                    letter.retried ? " (will be tried again)" : "");
  }
  return out;
}

// "all" or an offset that is there; complains otherwise.
std::optional<std::vector<std::uint64_t>> chosen(const std::string& which,
                                                 const std::vector<DeadLetter>& letters) {
  std::vector<std::uint64_t> offsets;
  for (const DeadLetter& letter : letters) {
    if (which == "all" || number(which) == letter.offset) offsets.push_back(letter.offset);
  }
  if (offsets.empty() && which != "all") {
    complain(fmt::format("there is no dead letter {}", base::escaped(which)));
    return std::nullopt;
  }
  return offsets;
}

int change(const GroupPlace& place, const DeadArguments& arguments, const fs::path& folder,
           const std::vector<DeadLetter>& letters) {
  const bool retry = !arguments.retry.empty();
  const auto offsets = chosen(retry ? arguments.retry : arguments.drop, letters);
  if (!offsets) return kFailed;
  auto owned = own_group(place, arguments.group.group);
  if (!owned) return owned.error();
  for (const std::uint64_t offset : *offsets) {
    const fs::path letter = folder / fmt::format("{:020}", offset);
    const auto with = [&](const char* end) { return fs::path(letter.string() + end); };
    std::error_code error;
    if (retry) {
      // Its reader, when it starts, tries these first and removes what has been taken.
      std::ofstream marker(with(".retry"));
      if (!marker) error = std::make_error_code(std::errc::permission_denied);
    } else {
      for (const char* end : {".eml", ".json", ".retry"}) {
        if (!error) fs::remove(with(end), error);
      }
    }
    if (error) {
      complain(fmt::format("dead letter {}: {}", offset, error.message()));
      return kFailed;
    }
  }
  if (!retry && owned->fields()) {
    seglog::CursorFields fields = *owned->fields();
    fields.dead -=
        std::min<std::uint32_t>(fields.dead, static_cast<std::uint32_t>(offsets->size()));
    (void)owned->write(fields);  // a count; the files are what counts
  }
  return kDone;
}

int run_dead(const DeadArguments& arguments) {
  auto place = open_group_place(arguments.group.directory);
  if (!place) return place.error();
  const fs::path folder =
      fs::path(arguments.group.directory) / seglog::kGroupsName / (arguments.group.group + ".dead");
  auto letters = read_letters(folder);
  if (!arguments.retry.empty() || !arguments.drop.empty()) {
    if (const int failed = change(*place, arguments, folder, letters); failed != kDone) {
      return failed;
    }
    letters = read_letters(folder);
  }
  Output output;
  output.write(arguments.group.json ? letters_json(letters) : letters_text(letters));
  output.flush();
  return output.failed() ? kFailed : kDone;
}

}  // namespace

void add_groups_dead(CLI::App& groups, Commands& commands) {
  CLI::App* dead = groups.add_subcommand("dead", "What a group's sink refused for good");
  const auto arguments = std::make_shared<DeadArguments>();
  add_group_arguments(*dead, arguments->group);
  auto* retry = dead->add_option("--retry", arguments->retry, "Try this one, or all, again");
  retry->type_name("N|all");
  dead->add_option("--drop", arguments->drop, "Delete this one, or all")
      ->type_name("N|all")
      ->excludes(retry);
  commands.push_back({dead, [arguments] { return run_dead(*arguments); }});
}

}  // namespace mxring::cli
