#include "server/admin_pages.h"

#include <fmt/format.h>

#include <string_view>

namespace mxring::server {

namespace {

constexpr std::string_view kMethods = "Allow: GET, HEAD, OPTIONS\r\n";

}  // namespace

AdminAnswer AdminPages::answer(const AdminRequest& request) const {
  const bool known = request.path == "/metrics" || request.path == "/status" ||
                     request.path == "/healthz" || request.path == "/readyz";
  if (!known && request.path != "*") {
    return {.status = "404 Not Found", .body = "try /metrics, /status, /healthz or /readyz\n"};
  }
  if (request.method == "OPTIONS") {
    return {.status = "204 No Content", .more_fields = std::string(kMethods)};
  }
  if (request.method != "GET" && request.method != "HEAD") {
    return {.status = "405 Method Not Allowed",
            .body = "GET, HEAD and OPTIONS are what this understands\n",
            .more_fields = std::string(kMethods)};
  }
  if (request.path == "/metrics") return {.type = "text/plain; version=0.0.4", .body = metrics()};
  if (request.path == "/status") return {.type = "application/json", .body = status() + "\n"};
  const std::string why_not = why_not_accepting();
  if (why_not.empty()) return {.body = "ok\n"};
  return {.status = "503 Service Unavailable",
          .body = fmt::format("not accepting mail: {}\n", why_not)};
}

}  // namespace mxring::server
