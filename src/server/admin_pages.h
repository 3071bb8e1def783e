// What the administration answers: the page (/), its figures (/live, /history), /metrics
// (Prometheus), /status (JSON), /healthz and /readyz (200 while mail is accepted, else 503 and
// why); and about mail /search and /message, over a Unix socket or to whoever has the token. GET,
// HEAD and OPTIONS.
//
// On TCP the Host field must be an address, localhost, our host name or one of
// listen.admin_names: a stranger's page whose name leads here is answered 421. Health checks are
// exempt, they say nothing that anybody could use.
//
// Thread: the admin's. Reads the token's file at each request that shows one.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "server/admin.h"

namespace mxring::server {

struct AdminPages {
  std::function<std::string()> metrics;
  std::function<std::string()> status;
  std::function<std::string()> why_not_accepting;  // "" while mail is accepted
  std::function<std::string()> live = {};
  std::function<std::string()> history = {};
  std::function<AdminAnswer(const AdminRequest&)> mail = {};
  std::vector<std::string> names = {};  // that Host may have
  std::string token_file = {};

  AdminAnswer answer(const AdminRequest& request) const;

 private:
  AdminAnswer page(const AdminRequest& request) const;
  AdminAnswer about_mail(const AdminRequest& request) const;
};

}  // namespace mxring::server
