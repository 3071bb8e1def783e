#include "server/handed_over.h"

#include <fmt/format.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "base/text.h"

namespace mxring::server {

namespace {

constexpr int kFirstFd = 3;
constexpr int kFdsMax = 64;

std::string take_variable(const char* name) {
  const char* value = std::getenv(name);
  std::string text = value == nullptr ? "" : value;
  ::unsetenv(name);  // not for programs that we start
  return text;
}

std::optional<int> number(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::expected<HandedOver, std::string> take_handed_over() {
  const auto pid = number(take_variable("LISTEN_PID"));
  const auto count = number(take_variable("LISTEN_FDS"));
  const std::string names = take_variable("LISTEN_FDNAMES");
  HandedOver sockets;
  if (!pid || *pid != ::getpid() || !count) return sockets;
  if (*count < 0 || *count > kFdsMax) {
    return std::unexpected(fmt::format("LISTEN_FDS={}: at most {} sockets", *count, kFdsMax));
  }
  std::string_view rest = names;
  for (int fd = kFirstFd; fd < kFirstFd + *count; ++fd) {
    const std::string_view name = rest.substr(0, rest.find(':'));
    rest.remove_prefix(std::min(name.size() + 1, rest.size()));
    auto listener = net::Listener::adopt(fd);
    if (!listener) {
      return std::unexpected(
          fmt::format("handed over as \"{}\": {}", base::escaped(name), listener.error().message));
    }
    if (name == "smtp") {
      sockets.smtp.push_back(*std::move(listener));
    } else if (name == "smtps") {
      sockets.smtps.push_back(*std::move(listener));
    } else if (name == "admin" && !sockets.admin) {
      sockets.admin = *std::move(listener);
    } else {
      return std::unexpected(
          fmt::format("{} was handed over as \"{}\"; FileDescriptorName= of its unit must be smtp, "
                      "smtps or admin (one)",
                      listener->endpoint().to_string(), base::escaped(name)));
    }
  }
  return sockets;
}

}  // namespace mxring::server
