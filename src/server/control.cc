#include "server/control.h"

#include <fmt/format.h>

#include <array>
#include <cstdlib>
#include <utility>

namespace mxring::server {

namespace {

using Result = ControlActions::Result;

struct Command {
  std::string_view method;
  std::string_view path;
  Result (*run)(const ControlActions&);
};

constexpr std::array kCommands{
    Command{"GET", "/status", [](const ControlActions& a) { return Result(a.status()); }},
    Command{"POST", "/reload", [](const ControlActions& a) { return a.reload(); }},
    Command{"POST", "/drain", [](const ControlActions& a) { return a.drain(); }},
    Command{"POST", "/rotate", [](const ControlActions& a) { return a.rotate(); }},
};

}  // namespace

std::string control_path(const Config& config) {
  if (!config.listen.control.empty()) return config.listen.control;
  // systemd sets it, a list when there are several.
  const char* runtime = std::getenv("RUNTIME_DIRECTORY");
  std::string folder = runtime == nullptr ? "" : runtime;
  folder = folder.substr(0, folder.find(':'));
  return (folder.empty() ? config.log.dir : folder) + "/control";
}

AdminAnswer answer_control(const AdminRequest& request, const ControlActions& actions) {
  for (const Command& command : kCommands) {
    if (command.path != request.path) continue;
    if (command.method != request.method) {
      return {.status = "405 Method Not Allowed",
              .body = fmt::format("{} is what {} wants\n", command.method, command.path),
              .more_fields = fmt::format("Allow: {}\r\n", command.method)};
    }
    const Result result = command.run(actions);
    if (!result) return {.status = "409 Conflict", .body = result.error() + '\n'};
    const bool json = result->starts_with('{');
    return {.type = json ? "application/json" : "text/plain", .body = *result + '\n'};
  }
  return {.status = "404 Not Found", .body = "try /status, /reload, /drain or /rotate\n"};
}

Control::Control(Admin::Listening listening, ControlActions actions)
    : actions_(std::move(actions)),
      admin_(std::move(listening),
             [this](const AdminRequest& request) { return answer_control(request, actions_); }) {}

std::expected<std::unique_ptr<Control>, std::string> Control::start(const std::string& path,
                                                                    ControlActions actions) {
  auto listening = Admin::listen("unix:" + path);
  if (!listening) return std::unexpected(listening.error());
  return std::unique_ptr<Control>(new Control(std::move(*listening), std::move(actions)));
}

}  // namespace mxring::server
