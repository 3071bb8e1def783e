// What the administration answers: /metrics (Prometheus), /status (JSON), /healthz and /readyz
// (200 while mail is accepted, else 503 and why). GET, HEAD and OPTIONS; each page names what it
// may be asked.
//
// Thread: the admin's.
#pragma once

#include <functional>
#include <string>

#include "server/admin.h"

namespace mxring::server {

struct AdminPages {
  std::function<std::string()> metrics;
  std::function<std::string()> status;
  std::function<std::string()> why_not_accepting;  // "" while mail is accepted

  AdminAnswer answer(const AdminRequest& request) const;
};

}  // namespace mxring::server
