// Completion of the command line for bash, zsh and fish, from the tree of commands.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace mxring::cli {

// Of a command, those that --help shows.
std::vector<const CLI::App*> subcommands(const CLI::App& command);
// "-c", "--config"; none for a positional.
std::vector<std::string> completion_names(const CLI::Option& option);

// Empty: not a shell that is known here.
std::string completion(const CLI::App& program, std::string_view shell);

}  // namespace mxring::cli
