#include "cli/admin_client.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "base/ip_address.h"
#include "base/text.h"
#include "cli/owned_fd.h"
#include "net/socket_address.h"
#include "net/unix_listener.h"
#include "server/config.h"
#include "server/control.h"

namespace mxring::cli {

namespace {

constexpr int kSilenceMs = 60'000;  // a reload may read ten million recipients
constexpr std::size_t kAnswerBytesMax = std::size_t{16} << 20;
constexpr std::string_view kUnix = "unix:";

std::unexpected<std::string> failed(std::string_view address, int error) {
  const bool nobody = error == ENOENT || error == ECONNREFUSED;
  const bool local = address.starts_with(kUnix);
  return std::unexpected(fmt::format(
      "{}: {}{}", base::escaped(local ? address.substr(kUnix.size()) : address),
      std::strerror(error),
      nobody && local   ? "; no receiver runs with it (--socket PATH, or -c FILE of the receiver, "
                          "says where its control socket is)"
      : nobody          ? "; no receiver has its admin address there"
      : error == EACCES ? "; only the user that the receiver runs as may use it"
                        : ""));
}

std::expected<OwnedFd, int> connect_to(const std::string& address) {
  if (address.starts_with(kUnix)) {
    const auto name = net::UnixName::of(address.substr(kUnix.size()));
    if (!name) return std::unexpected(name.error());
    OwnedFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::connect(fd.get(), name->address(), net::UnixName::size()) != 0) {
      return std::unexpected(errno);
    }
    return fd;
  }
  const auto endpoint = base::Endpoint::parse(address);
  if (!endpoint) return std::unexpected(EADDRNOTAVAIL);
  sockaddr_storage name{};
  const socklen_t size = net::to_sockaddr(*endpoint, name);
  OwnedFd fd(::socket(name.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&name), size) != 0) {
    return std::unexpected(errno);
  }
  return fd;
}

// Sends the request; what has come by then is in `text`.
std::expected<OwnedFd, int> request(const std::string& address, std::string_view method,
                                    std::string_view target) {
  auto fd = connect_to(address);
  if (!fd) return fd;
  const std::string text = fmt::format("{} {} HTTP/1.0\r\n\r\n", method, target);
  for (std::string_view rest = text; !rest.empty();) {
    const ssize_t sent = ::send(fd->get(), rest.data(), rest.size(), MSG_NOSIGNAL);
    if (sent < 0) return std::unexpected(errno);
    rest.remove_prefix(static_cast<std::size_t>(sent));
  }
  return fd;
}

// The head of an answer, "HTTP/1.0 200 OK": its code, and where the body begins. False: there is
// more to come.
bool read_head(std::string_view text, int& code, std::size_t& body) {
  const std::size_t space = text.find(' ');
  const std::size_t end = text.find("\r\n\r\n");
  if (space == text.npos || end == text.npos) return false;
  std::from_chars(text.data() + space + 1, text.data() + text.size(), code);
  body = end + 4;
  return true;
}

}  // namespace

void add_control_place(CLI::App& command, ControlPlace& place) {
  command.add_option("--socket", place.socket, "The control socket")->type_name("PATH");
  command
      .add_option("-c,--config", place.file,
                  "The receiver's configuration file, which says where the socket is")
      ->type_name("FILE");
}

std::expected<std::string, std::string> socket_of(const ControlPlace& place) {
  if (!place.socket.empty()) return place.socket;
  server::Config config = server::default_config();
  if (!place.file.empty()) {
    // It may be the very file that cannot be loaded: its readable part says where the socket is.
    config = server::read_config_file(place.file).config;
  }
  std::string path = server::control_path(config);
  constexpr const char* kOfTheUnit = "/run/mxring/control";
  if (place.file.empty() && ::access(path.c_str(), F_OK) != 0 && ::access(kOfTheUnit, F_OK) == 0) {
    return kOfTheUnit;
  }
  return path;
}

std::expected<AdminReply, std::string> ask_admin(const std::string& address,
                                                 std::string_view method, std::string_view target) {
  const auto fd = request(address, method, target);
  if (!fd) return failed(address, fd.error());
  std::string text;
  std::array<char, 16384> chunk{};
  for (;;) {
    pollfd wait{fd->get(), POLLIN, 0};
    if (::poll(&wait, 1, kSilenceMs) == 0) return failed(address, ETIMEDOUT);
    const ssize_t got = ::read(fd->get(), chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed(address, errno);
    if (got == 0) break;
    text.append(chunk.data(), static_cast<std::size_t>(got));
    if (text.size() > kAnswerBytesMax) return failed(address, EMSGSIZE);
  }
  AdminReply reply;
  std::size_t body = 0;
  if (!read_head(text, reply.code, body)) return failed(address, EPROTO);
  reply.body = text.substr(body);
  while (reply.body.ends_with('\n')) reply.body.pop_back();
  return reply;
}

std::expected<void, std::string> follow_admin(const std::string& address, std::string_view target,
                                              int stop_fd,
                                              const std::function<bool(std::string_view)>& take) {
  const auto fd = request(address, "GET", target);
  if (!fd) return failed(address, fd.error());
  std::string text;
  int code = 0;
  std::array<char, 16384> chunk{};
  for (;;) {
    std::array<pollfd, 2> wait{pollfd{fd->get(), POLLIN, 0}, pollfd{stop_fd, POLLIN, 0}};
    if (::poll(wait.data(), wait.size(), -1) < 0 && errno != EINTR) return failed(address, errno);
    if (wait[1].revents != 0) return {};
    if (wait[0].revents == 0) continue;
    const ssize_t got = ::read(fd->get(), chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    text.append(chunk.data(), static_cast<std::size_t>(got));
    if (text.size() > kAnswerBytesMax) return failed(address, EMSGSIZE);
    std::size_t body = 0;
    if (code == 0 && read_head(text, code, body)) text.erase(0, body);
    if (code != 200) continue;
    for (std::size_t end = text.find('\n'); end != text.npos; end = text.find('\n')) {
      const bool go_on = take(std::string_view(text).substr(0, end));
      text.erase(0, end + 1);
      if (!go_on) return {};
    }
  }
  while (text.ends_with('\n')) text.pop_back();
  if (code != 200) return std::unexpected(text.empty() ? "no answer" : base::escaped(text));
  return {};
}

}  // namespace mxring::cli
