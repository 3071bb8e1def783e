#include "cli/completion.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

namespace mxring::cli {

namespace {

// A command with the words that lead to it: "log cat", "" for the program itself.
struct Place {
  const CLI::App* command;
  std::string path;
};

void collect(const CLI::App& command, const std::string& path, std::vector<Place>& places) {
  places.push_back({&command, path});
  for (const CLI::App* below : subcommands(command)) {
    collect(*below, path.empty() ? below->get_name() : path + ' ' + below->get_name(), places);
  }
}

// One line of a description inside single quotes.
std::string in_quotes(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, text.find('\n'))) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      out += c;
    }
  }
  return out;
}

std::string words_of(const Place& place) {
  std::string words;
  for (const CLI::App* below : subcommands(*place.command)) words += below->get_name() + ' ';
  for (const CLI::Option* option : place.command->get_options()) {
    for (const std::string& name : completion_names(*option)) words += name + ' ';
  }
  if (!words.empty()) words.pop_back();
  return words;
}

// The command as far as the words before the cursor name one, in $place.
std::string shell_walk(const std::vector<Place>& places) {
  std::string known;
  for (const Place& place : places) {
    if (!place.path.empty()) known += fmt::format("{}\"{}\"", known.empty() ? "" : "|", place.path);
  }
  return fmt::format(
      "    case \"${{place:+$place }}$word\" in\n"
      "      {}) place=\"${{place:+$place }}$word\" ;;\n"
      "    esac\n",
      known);
}

std::string bash(const std::vector<Place>& places) {
  std::string out =
      "# bash completion for mxring; made by `mxring manual bash`\n_mxring() {\n"
      "  local word place= words= i current=${COMP_WORDS[COMP_CWORD]}\n"
      "  for ((i = 1; i < COMP_CWORD; ++i)); do\n    word=${COMP_WORDS[i]}\n";
  out += shell_walk(places) + "  done\n  case $place in\n";
  for (const Place& place : places) {
    out += fmt::format("    \"{}\") words=\"{}\" ;;\n", place.path, words_of(place));
  }
  out +=
      "  esac\n  COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
      "  [[ ${#COMPREPLY[@]} != 0 ]] || COMPREPLY=($(compgen -f -- \"$current\"))\n}\n"
      "complete -o filenames -F _mxring mxring\n";
  return out;
}

std::string zsh(const std::vector<Place>& places) {
  std::string out =
      "#compdef mxring\n# made by `mxring manual zsh`\nlocal word place= i\n"
      "local -a found\nfor ((i = 2; i < CURRENT; ++i)); do\n  word=$words[i]\n";
  out += shell_walk(places) + "done\ncase $place in\n";
  const auto entry = [](std::string_view name, std::string_view description) {
    return fmt::format("    '{}:{}'\n", name, in_quotes(description));
  };
  for (const Place& place : places) {
    out += fmt::format("  \"{}\") found=(\n", place.path);
    for (const CLI::App* below : subcommands(*place.command)) {
      out += entry(below->get_name(), below->get_description());
    }
    for (const CLI::Option* option : place.command->get_options()) {
      for (const std::string& name : completion_names(*option)) {
        out += entry(name, option->get_description());
      }
    }
    out += "  ) ;;\n";
  }
  return out + "esac\n_describe 'mxring' found || _files\n";
}

std::string fish(const std::vector<Place>& places) {
  std::string out =
      "# fish completion for mxring; made by `mxring manual fish`\n"
      "function __mxring_at\n  set -l place\n"
      "  for word in (commandline -opc)[2..-1]\n"
      "    switch (string join ' ' -- $place $word)\n      case";
  for (const Place& place : places) {
    if (!place.path.empty()) out += fmt::format(" '{}'", place.path);
  }
  out +=
      "\n        set -a place $word\n    end\n  end\n"
      "  test \"$place\" = \"$argv\"\nend\n";
  for (const Place& place : places) {
    const std::string when = fmt::format("complete -c mxring -n '__mxring_at {}'", place.path);
    for (const CLI::App* below : subcommands(*place.command)) {
      out += fmt::format("{} -f -a {} -d '{}'\n", when, below->get_name(),
                         in_quotes(below->get_description()));
    }
    for (const CLI::Option* option : place.command->get_options()) {
      std::string names;
      for (const std::string& name : completion_names(*option)) {
        names += name.starts_with("--") ? fmt::format(" -l {}", name.substr(2))
                                        : fmt::format(" -s {}", name.substr(1));
      }
      if (names.empty()) continue;
      out += fmt::format("{}{}{} -d '{}'\n", when, names, option->get_type_size() == 0 ? "" : " -r",
                         in_quotes(option->get_description()));
    }
  }
  return out;
}

}  // namespace

std::vector<const CLI::App*> subcommands(const CLI::App& command) {
  // A group of options is a command without a name to the library.
  return command.get_subcommands([](const CLI::App* below) {
    return !below->get_group().empty() && !below->get_name().empty();
  });
}

std::vector<std::string> completion_names(const CLI::Option& option) {
  std::vector<std::string> names;
  for (const std::string& name : option.get_snames()) names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) names.push_back("--" + name);
  return names;
}

std::string completion(const CLI::App& program, std::string_view shell) {
  std::vector<Place> places;
  collect(program, "", places);
  if (shell == "bash") return bash(places);
  if (shell == "zsh") return zsh(places);
  return shell == "fish" ? fish(places) : std::string();
}

}  // namespace mxring::cli
