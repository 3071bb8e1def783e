#include "cli/serve_words.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "base/text.h"
#include "cli/command.h"

namespace mxring::cli {

namespace {

bool in_path(std::string_view program) {
  const char* path = std::getenv("PATH");
  std::istringstream directories(path == nullptr ? "" : path);
  for (std::string directory; std::getline(directories, directory, ':');) {
    if (::access(fmt::format("{}/{}", directory, program).c_str(), X_OK) == 0) return true;
  }
  return false;
}

std::string shell_word(std::string_view text) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:@%+=,";
  if (!text.empty() && text.find_first_not_of(kPlain) == std::string_view::npos) {
    return std::string(text);
  }
  std::string out = "'";
  for (const char c : text) c == '\'' ? out += "'\\''" : out += c;
  return out + '\'';
}

// An address a client on this machine can connect to.
base::Endpoint reachable(const base::Endpoint& bound) {
  for (const std::uint8_t byte : bound.address.bytes()) {
    if (byte != 0) return bound;
  }
  return *base::Endpoint::parse(
      fmt::format("{}:{}", bound.address.is_v4() ? "127.0.0.1" : "[::1]", bound.port));
}

// With the first program found here that can do it.
std::string send_command(const base::Endpoint& bound) {
  const base::Endpoint to = reachable(bound);
  if (!in_path("swaks") && in_path("curl")) {
    return fmt::format(
        "printf 'From: you@example.org\\r\\nSubject: hello\\r\\n\\r\\nIt works.\\r\\n' | "
        "curl -sS smtp://{} --mail-from you@example.org --mail-rcpt me@example.net -T -",
        to.to_string());
  }
  if (!in_path("swaks") && in_path("python3")) {
    return fmt::format(
        "python3 -c \"import smtplib; smtplib.SMTP('{}', {}).sendmail('you@example.org', "
        "'me@example.net', 'From: you@example.org\\nSubject: hello\\n\\nIt works.')\"",
        to.address.to_string(), to.port);
  }
  const std::string address =
      to.address.is_v4() ? to.address.to_string() : fmt::format("[{}]", to.address.to_string());
  return fmt::format("swaks --server {} --port {} --from you@example.org --to me@example.net",
                     address, to.port);
}

}  // namespace

std::string whole_path(const std::string& path) {
  std::error_code error;
  const std::filesystem::path whole = std::filesystem::absolute(path, error).lexically_normal();
  return error ? path : whole.string();
}

std::string ready_line(const Listening& listening) {
  std::string line = "ready";
  for (const base::Endpoint& endpoint : listening.smtp) {
    line += fmt::format(" smtp={}", endpoint.to_string());
  }
  for (const base::Endpoint& endpoint : listening.smtps) {
    line += fmt::format(" smtps={}", endpoint.to_string());
  }
  std::string directory;
  for (const char c : base::escaped(listening.log_dir))
    c == ' ' ? directory += "\\x20" : directory += c;
  line += fmt::format(" admin={} log={} shards={} pid={}",
                      listening.admin.empty() ? "off" : listening.admin, directory,
                      listening.shards, listening.pid);
  return line;
}

std::string welcome(const Listening& listening) {
  const std::string log = shell_word(listening.log_dir);
  const std::string program = shell_word(program_path());
  const bool no_tool = !in_path("swaks") && !in_path("curl") && !in_path("python3");
  std::string out = "Send it a message, from another terminal";
  out += no_tool ? " (after `apt-get install swaks`):\n" : ":\n";
  if (!listening.smtp.empty()) out += fmt::format("  {}\n", send_command(listening.smtp[0]));
  out += "Watch messages arrive:\n";
  out += fmt::format("  {} log tail {}\n", program, log);
  out += "Read them, as a mail program would get them:\n";
  out += fmt::format("  {} log cat --raw {}\n", program, log);
  if (listening.self_signed) {
    out +=
        "STARTTLS is offered with a self-signed certificate; clients that check it, as nodemailer\n"
        "does, refuse it. nodemailer sends with  tls: {rejectUnauthorized: false}  among its "
        "options,\n"
        "or once tls.certificate and tls.key name a certificate that it trusts.\n";
  }
  out += "Ctrl-C stops it; nothing that was acknowledged is lost.\n";
  return out;
}

bool uses_self_signed(const server::Config& config) {
  const bool tls = config.tls.starttls || !config.listen.smtps.empty();
  return tls && config.tls.certificate.empty() && config.tls.certificates.empty();
}

namespace {

// [::] is IPv6 only here, so that no client has a ::ffff: address. Somebody who names it alone may
// expect both.
void warn_of_ipv6_alone(const char* key, const std::vector<base::Endpoint>& endpoints,
                        std::vector<std::string>& lines) {
  for (const base::Endpoint& six : endpoints) {
    if (six.address.is_v4() || !six.address.is_any()) continue;
    const bool both = std::ranges::any_of(endpoints, [&](const base::Endpoint& other) {
      return other.address.is_v4() && other.port == six.port;
    });
    if (both) continue;
    const std::string four = fmt::format("0.0.0.0:{}", six.port);
    lines.push_back(fmt::format("warning: {} takes no IPv4 at {}; add \"{}\" for IPv4 clients", key,
                                six.to_string(), four));
  }
}

bool names_this_machine_only(std::string_view name) {
  return name.empty() || name == "localhost" || name.starts_with("localhost.");
}

}  // namespace

std::vector<std::string> warnings(const server::Config& config) {
  std::vector<std::string> lines;
  warn_of_ipv6_alone("listen.smtp", config.listen.smtp, lines);
  warn_of_ipv6_alone("listen.smtps", config.listen.smtps, lines);
  char host[256] = {};
  if (config.hostname.empty() && config.set_at.contains("listen.smtp") &&
      (::gethostname(host, sizeof host - 1) != 0 || names_this_machine_only(host))) {
    lines.push_back(
        "warning: hostname is not set and this system calls itself localhost: clients are greeted "
        "with a name that means nothing to them");
  }
  if (config.log.sync == server::SyncMode::kNone) {
    lines.push_back(
        "warning: log.sync = \"none\": acknowledged messages ARE LOST when this machine "
        "crashes. For benchmarks only.");
  }
  const bool own_certificate = !config.tls.certificate.empty() || !config.tls.certificates.empty();
  if (!own_certificate && !config.listen.smtps.empty() && config.set_at.contains("listen.smtps")) {
    lines.push_back(
        "warning: no tls.certificate: a self-signed one is used, which clients that check "
        "certificates refuse");
  }
  return lines;
}

}  // namespace mxring::cli
