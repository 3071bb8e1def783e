// `mxring ctl`: tells the running receiver what to do, over its control socket (server/control.h).
//
// Exit codes: 0 done, 1 nobody answers or it was not done, with the reason.
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <expected>
#include <memory>

#include "base/json.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/owned_fd.h"
#include "net/unix_listener.h"
#include "server/control.h"

namespace mxring::cli {

namespace {

constexpr int kSilenceMs = 60'000;  // a reload may read ten million recipients
constexpr std::size_t kAnswerBytesMax = std::size_t{16} << 20;

struct CtlOptions {
  std::string socket;
  std::string file;
  bool json = false;
};

struct Answer {
  int code = 0;
  std::string body;
};

// The socket of the receiver that was started with the same configuration.
std::expected<std::string, std::string> socket_of(const CtlOptions& options) {
  if (!options.socket.empty()) return options.socket;
  server::Config config = server::default_config();
  if (!options.file.empty()) {
    // It may be the very file that cannot be loaded: its readable part says where the socket is.
    config = server::read_config_file(options.file).config;
  }
  std::string path = server::control_path(config);
  constexpr const char* kOfTheUnit = "/run/mxring/control";
  if (options.file.empty() && ::access(path.c_str(), F_OK) != 0 &&
      ::access(kOfTheUnit, F_OK) == 0) {
    return kOfTheUnit;
  }
  return path;
}

std::expected<Answer, std::string> ask(const std::string& path, std::string_view request) {
  const auto failed = [&](int error) {
    const bool nobody = error == ENOENT || error == ECONNREFUSED;
    return std::unexpected(fmt::format(
        "{}: {}{}", base::escaped(path), std::strerror(error),
        nobody ? "; no receiver runs with it (--socket PATH, or -c FILE of the receiver, says "
                 "where its control socket is)"
        : error == EACCES ? "; only the user that the receiver runs as may use it"
                          : ""));
  };
  const auto name = net::UnixName::of(path);
  if (!name) return failed(name.error());
  const OwnedFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(fd.get(), name->address(), net::UnixName::size()) != 0) return failed(errno);
  while (!request.empty()) {
    const ssize_t sent = ::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL);
    if (sent < 0) return failed(errno);
    request.remove_prefix(static_cast<std::size_t>(sent));
  }
  std::string text;
  std::array<char, 16384> chunk{};
  for (;;) {
    pollfd wait{fd.get(), POLLIN, 0};
    if (::poll(&wait, 1, kSilenceMs) == 0) return failed(ETIMEDOUT);
    const ssize_t got = ::read(fd.get(), chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed(errno);
    if (got == 0) break;
    text.append(chunk.data(), static_cast<std::size_t>(got));
    if (text.size() > kAnswerBytesMax) return failed(EMSGSIZE);
  }
  // "HTTP/1.0 200 OK"
  const std::size_t space = text.find(' ');
  const std::size_t end = text.find("\r\n\r\n");
  Answer answer;
  if (space == text.npos || end == text.npos) return failed(EPROTO);
  std::from_chars(text.data() + space + 1, text.data() + text.size(), answer.code);
  answer.body = text.substr(end + 4);
  while (answer.body.ends_with('\n')) answer.body.pop_back();
  return answer;
}

std::string quoted_json(std::string_view key, bool ok, const std::string& text) {
  base::JsonWriter json;
  json.begin_object().key("ok").value(ok).key(key).value(text).end_object();
  return std::move(json).text();
}

int run_ctl(const CtlOptions& options, std::string_view method, std::string_view command) {
  const auto path = socket_of(options);
  if (!path) {
    complain(path.error());
    return kFailed;
  }
  const auto answer = ask(*path, fmt::format("{} /{} HTTP/1.0\r\n\r\n", method, command));
  const bool done = answer && answer->code == 200;
  const std::string text = answer ? answer->body : answer.error();
  Output output;
  if (options.json) {
    const bool is_json = done && text.starts_with('{');
    output.write((is_json ? text : quoted_json(done ? "done" : "error", done, text)) + '\n');
  } else if (done) {
    output.write(base::without_controls(text) + '\n');
  } else {
    complain(text);
  }
  output.flush();
  return done && !output.failed() ? kDone : kFailed;
}

}  // namespace

void add_ctl(CLI::App& program, Commands& commands) {
  CLI::App* ctl = program.add_subcommand("ctl", "Tell the running receiver what to do");
  ctl->require_subcommand(0, 1);
  struct Verb {
    const char* name;
    const char* method;
    const char* what;
  };
  for (const auto& [name, method, what] :
       {Verb{"status", "GET", "What it does now, as one JSON object"},
        Verb{"reload", "POST", "Read the configuration, certificates and files again"},
        Verb{"drain", "POST", "Let transactions in progress finish, then end"},
        Verb{"rotate", "POST", "Open the journal's file again"}}) {
    CLI::App* verb = ctl->add_subcommand(name, what);
    const auto options = std::make_shared<CtlOptions>();
    verb->add_option("--socket", options->socket, "The control socket")->type_name("PATH");
    verb->add_option("-c,--config", options->file,
                     "The receiver's configuration file, which says where the socket is")
        ->type_name("FILE");
    verb->add_flag("--json", options->json, "One JSON object");
    verb->footer(
        "Without both, the socket is $RUNTIME_DIRECTORY/control, ./mxring-log/control or\n"
        "/run/mxring/control. What a reload cannot change while running is named; a\n"
        "configuration that does not check changes nothing, and the exit code is 1.");
    commands.push_back({verb, [options, name, method] { return run_ctl(*options, method, name); }});
  }
  commands.push_back({ctl, [ctl] { return ask_for_command(*ctl); }});
}

}  // namespace mxring::cli
