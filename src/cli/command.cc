#include "cli/command.h"

#include <fmt/format.h>

#include <cstdio>
#include <string>

namespace mxring::cli {

namespace {

std::string& path_storage() {
  static std::string path = "mxring";
  return path;
}

}  // namespace

std::string_view program_path() {
  return path_storage();
}
void set_program_path(std::string_view path) {
  path_storage() = path;
}

void complain(std::string_view message) {
  fmt::print(stderr, "mxring: {}\n", message);
}

}  // namespace mxring::cli
