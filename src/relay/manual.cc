#include "relay/manual.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>
#include <utility>

#include "relay/config.h"

namespace mxring::relay {

namespace {

constexpr std::string_view kWhat =
    "delivers a group of a mxring log to a webhook, LMTP, a Maildir or NATS";
constexpr std::string_view kSignals =
    "Prints `ready group=G sink=S from=N`. SIGTERM finishes what is under way, 10 s at most, and\n"
    "commits; SIGHUP reads secrets and certificates again.\n";
constexpr std::string_view kExitCodes =
    "0 done, 1 failed at run time, 2 usage, 78 bad configuration.";

// Text as roff takes it: nothing in it is a request or an escape.
std::string roff(std::string_view text) {
  std::string out;
  bool line_begins = true;
  for (const char c : text) {
    if (line_begins && (c == '.' || c == '\'')) out += "\\&";
    line_begins = c == '\n';
    out += c == '\\' ? "\\e" : c == '-' ? "\\-" : std::string(1, c);
  }
  return out;
}

std::string header(std::string_view title, int section, std::string_view version) {
  return fmt::format(".TH \"{}\" {} \"\" \"mxring {}\" \"mxring\"\n", title, section, version);
}

std::string page(std::string_view version) {
  std::string out = header("MXRING-RELAY", 1, version);
  out += fmt::format(".SH NAME\nmxring\\-relay \\- {}\n", roff(kWhat));
  out +=
      ".SH SYNOPSIS\n.B mxring\\-relay\n\\fB\\-c\\fR \\fIFILE\\fR [\\fIoption\\fR ...]\n"
      ".SH DESCRIPTION\nOne process for each group of readers of the log. What fails for the time\n"
      "being is tried again; what is refused for good becomes a dead letter, on disk before the\n"
      "group's place moves. A sink that stands still holds up nobody but the log, which keeps "
      "what\n"
      "the group has not had.\n.PP\n";
  out += roff(kSignals) + ".SH OPTIONS\n";
  for (const ProgramOption& option : kOptions) {
    out += ".TP\n";
    if (!option.letter.empty()) out += fmt::format("\\fB{}\\fR, ", roff(option.letter));
    out += fmt::format("\\fB{}\\fR{}\n{}\n", roff(option.name),
                       option.value.empty() ? "" : fmt::format(" \\fI{}\\fR", option.value),
                       roff(option.meaning));
  }
  out += fmt::format(".SH EXIT STATUS\n{}\n", kExitCodes);
  return out +
         ".SH SEE ALSO\n.BR mxring\\-relay.toml (5),\n.BR mxring\\-groups (1),\n"
         ".BR mxring\\-log\\-serve (1)\n";
}

// What --help-config prints, as a page: a comment is the meaning of the key after it.
std::string config_page(std::string_view version) {
  std::string out = header("MXRING-RELAY.TOML", 5, version);
  out +=
      ".SH NAME\nmxring\\-relay.toml \\- configuration of mxring\\-relay\n.SH DESCRIPTION\nTOML. "
      "An\n"
      "unknown key, a wrong type or an impossible value is an error. Each key is shown with its\n"
      "default; exactly one of webhook, lmtp, maildir and nats says where to deliver.\n";
  std::istringstream lines(config_help());
  std::string meaning;
  std::string line;
  std::getline(lines, line);  // the title
  while (std::getline(lines, line)) {
    if (line.starts_with("# ")) {
      meaning += line.substr(2) + "\n";
    } else if (line.starts_with("[")) {
      out += fmt::format(".SH \"{}\"\n", roff(line));
    } else if (!line.empty()) {
      out += fmt::format(".TP\n\\fB{}\\fR\n{}", roff(line), roff(std::exchange(meaning, {})));
    }
  }
  return out + ".SH SEE ALSO\n.BR mxring\\-relay (1)\n";
}

std::string in_quotes(std::string_view text) {
  std::string out;
  for (const char c : text) out += c == '\'' ? "'\\''" : std::string(1, c);
  return out;
}

std::string bash() {
  std::string words;
  for (const ProgramOption& option : kOptions) {
    if (!option.letter.empty()) words += fmt::format("{} ", option.letter);
    words += fmt::format("{} ", option.name);
  }
  words.pop_back();
  return fmt::format(
      "# bash completion for mxring-relay; made by `mxring-relay --manual bash`\n"
      "_mxring_relay() {{\n  local words=\"{}\" current=${{COMP_WORDS[COMP_CWORD]}}\n"
      "  COMPREPLY=()\n"
      "  [[ $current != -* ]] || COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
      "  [[ ${{#COMPREPLY[@]}} != 0 ]] || COMPREPLY=($(compgen -f -- \"$current\"))\n}}\n"
      "complete -o filenames -F _mxring_relay mxring-relay\n",
      words);
}

std::string zsh() {
  std::string out = "#compdef mxring-relay\n# made by `mxring-relay --manual zsh`\n_arguments";
  for (const ProgramOption& option : kOptions) {
    const std::string meaning = in_quotes(option.meaning);
    const std::string value = option.value.empty()     ? ""
                              : option.value == "FILE" ? ":FILE:_files"
                                                       : fmt::format(":{}:", option.value);
    // A colon in a meaning would end it.
    std::string plain;
    for (const char c : meaning) plain += c == ':' ? std::string("\\:") : std::string(1, c);
    for (const std::string_view name : {option.letter, option.name}) {
      if (!name.empty()) out += fmt::format(" \\\n  '{}[{}]{}'", name, plain, value);
    }
  }
  return out + "\n";
}

std::string fish() {
  std::string out = "# fish completion for mxring-relay; made by `mxring-relay --manual fish`\n";
  for (const ProgramOption& option : kOptions) {
    out += fmt::format("complete -c mxring-relay{} -l {}{} -d '{}'\n",
                       option.letter.empty() ? "" : fmt::format(" -s {}", option.letter.substr(1)),
                       option.name.substr(2), option.value.empty() ? "" : " -r",
                       in_quotes(option.meaning));
  }
  return out;
}

}  // namespace

std::string help_text() {
  std::string out =
      fmt::format("mxring-relay: {}.\n\n  mxring-relay -c FILE [-t] [--admin ADDR]\n\n", kWhat);
  for (const ProgramOption& option : kOptions) {
    std::string names = option.letter.empty() ? "    " : fmt::format("{}, ", option.letter);
    names += option.name;
    if (!option.value.empty()) names += fmt::format(" {}", option.value);
    out += fmt::format("  {:<19} {}\n", names, option.meaning);
  }
  return out + fmt::format("\n{}\nExit codes: {}\n", kSignals, kExitCodes);
}

std::string manual(std::string_view what, std::string_view version) {
  if (what == "page") return page(version);
  if (what == "config") return config_page(version);
  if (what == "bash") return bash();
  if (what == "zsh") return zsh();
  return what == "fish" ? fish() : std::string();
}

}  // namespace mxring::relay
