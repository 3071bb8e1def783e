// What mxring-relay says of itself: --help, its manual pages and completion, all from one table of
// options and the table of keys that --help-config prints.
//
// Pure. Thread: any.
#pragma once

#include <array>
#include <string>
#include <string_view>

namespace mxring::relay {

struct ProgramOption {
  std::string_view letter;  // "-c"; "" without one
  std::string_view name;    // "--config"
  std::string_view value;   // what follows it, "FILE"; "" for a flag
  std::string_view meaning;
};

inline constexpr std::array kOptions{
    ProgramOption{"-c", "--config", "FILE", "its configuration"},
    ProgramOption{"-t", "--test", "", "check the configuration and exit"},
    ProgramOption{"", "--admin", "ADDR",
                  "serve /metrics, /status and /healthz at ADDR:PORT or unix:PATH"},
    ProgramOption{"", "--help-config", "", "every key, its meaning and default"},
    ProgramOption{"", "--manual", "WHAT",
                  "page, config (manual pages, roff), bash, zsh or fish (completion)"},
    ProgramOption{"", "--version", "", "the version, and which sinks are built in"},
    ProgramOption{"-h", "--help", "", "this"},
};

std::string help_text();
// "page": mxring-relay(1); "config": mxring-relay.toml(5); "bash", "zsh", "fish": completion.
// Empty: none of these.
std::string manual(std::string_view what, std::string_view version);

}  // namespace mxring::relay
