#include "server/admin_pages.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "net/http_request.h"
#include "server/page_files.h"

namespace mxring::server {

namespace {

constexpr std::string_view kMethods = "Allow: GET, HEAD, OPTIONS\r\n";
// Of the page: nothing from anywhere else, nothing written into it, nobody around it.
constexpr std::string_view kPageFields =
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
    "X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n"
    "Cross-Origin-Resource-Policy: same-origin\r\nCache-Control: no-store\r\n";

enum class Answers : std::uint8_t { kHealth, kMetrics, kStatus, kLive, kHistory, kFile, kMail };

struct Path {
  std::string_view path;
  Answers answers;
  const PageFile* file = nullptr;
};
constexpr std::array kPaths{
    Path{"/", Answers::kFile, &kPageHtml},
    Path{"/style.css", Answers::kFile, &kPageStyle},
    Path{"/script.js", Answers::kFile, &kPageScript},
    Path{"/live", Answers::kLive},
    Path{"/history", Answers::kHistory},
    Path{"/search", Answers::kMail},
    Path{"/message", Answers::kMail},
    Path{"/metrics", Answers::kMetrics},
    Path{"/status", Answers::kStatus},
    Path{"/healthz", Answers::kHealth},
    Path{"/readyz", Answers::kHealth},
};

const Path* find_path(std::string_view path) {
  const auto found = std::ranges::find(kPaths, path, &Path::path);
  return found == kPaths.end() ? nullptr : &*found;
}

std::string first_line(const std::string& file) {
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  std::array<char, 1024> text{};
  const ssize_t got = ::read(fd, text.data(), text.size());
  ::close(fd);
  const std::string_view all(text.data(), got < 0 ? 0 : static_cast<std::size_t>(got));
  return std::string(all.substr(0, all.find_first_of("\r\n")));
}

AdminAnswer json(std::string text) {
  text += '\n';
  return {.type = "application/json",
          .body = std::move(text),
          .more_fields = "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"};
}

}  // namespace

AdminAnswer AdminPages::about_mail(const AdminRequest& request) const {
  if (!mail) return {.status = "503 Service Unavailable", .body = "not yet\n"};
  if (request.over_unix) return mail(request);
  const std::string token = token_file.empty() ? std::string() : first_line(token_file);
  if (token.empty()) {
    return {.status = "403 Forbidden",
            .body = token_file.empty()
                        ? "mail is shown over listen.admin = \"unix:PATH\", or on TCP with "
                          "listen.admin_token_file\n"
                        : "listen.admin_token_file cannot be read, or its first line is empty\n"};
  }
  const std::string_view given = net::bearer_token(request.authorization);
  if (given.empty() || !net::same_secret(given, token)) {
    return {.status = "401 Unauthorized",
            .body = "this wants the token: Authorization: Bearer ...\n",
            .more_fields = "WWW-Authenticate: Bearer\r\n"};
  }
  return mail(request);
}

AdminAnswer AdminPages::page(const AdminRequest& request) const {
  const Path& path = *find_path(request.path);
  switch (path.answers) {
    case Answers::kFile:
      return {.type = path.file->type,
              .body = std::string(path.file->text),
              .more_fields = std::string(kPageFields)};
    case Answers::kLive:
      return json(live ? live() : "{}");
    case Answers::kHistory:
      return json(history ? history() : "{}");
    case Answers::kMail:
      return about_mail(request);
    case Answers::kMetrics:
      return {.type = "text/plain; version=0.0.4", .body = metrics()};
    case Answers::kStatus:
      return json(status());
    case Answers::kHealth:
      break;
  }
  const std::string why_not = why_not_accepting();
  if (why_not.empty()) return {.body = "ok\n"};
  return {.status = "503 Service Unavailable",
          .body = fmt::format("not accepting mail: {}\n", why_not)};
}

AdminAnswer AdminPages::answer(const AdminRequest& request) const {
  const Path* path = find_path(request.path);
  if (path == nullptr && request.path != "*") {
    return {.status = "404 Not Found",
            .body = "try /, /live, /metrics, /status, /healthz or /readyz\n"};
  }
  const bool health = path != nullptr && path->answers == Answers::kHealth;
  if (!health && !request.over_unix && !request.host.empty() &&
      !net::is_host_of(request.host, names)) {
    return {.status = "421 Misdirected Request",
            .body =
                "the Host field names somebody else; listen.admin_names has the names that "
                "this may be asked under\n"};
  }
  if (request.method == "OPTIONS") {
    return {.status = "204 No Content", .more_fields = std::string(kMethods)};
  }
  if (path == nullptr || (request.method != "GET" && request.method != "HEAD")) {
    return {.status = "405 Method Not Allowed",
            .body = "GET, HEAD and OPTIONS are what this understands\n",
            .more_fields = std::string(kMethods)};
  }
  return page(request);
}

}  // namespace mxring::server
