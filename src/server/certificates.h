// The server's certificates and ticket keys: loaded from the files that the configuration names, or
// made up when it names none; loaded again on request while connections go on.
//
// Thread: any; current() takes a lock, once for each TLS connection. Failure: one line; what was
// loaded before stays in force.
#pragma once

#include <expected>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "net/tls_server.h"
#include "server/config.h"

namespace mxring::server {

class Certificates {
 public:
  // `notice` gets warnings: a certificate about to expire, a self-signed one.
  static std::expected<std::unique_ptr<Certificates>, std::string> load(
      const Config& config, std::function<void(const std::string&)> notice);

  // Reads all files again, those that `tls` names. Connections that exist, and sessions to be
  // resumed, do not notice.
  std::expected<void, std::string> reload(const Config::Tls& tls);

  std::shared_ptr<const net::TlsServer> current() const;

  struct Expiry {
    std::string file;  // "" = self-signed
    std::int64_t unix_s = 0;
  };
  std::vector<Expiry> expiries() const;

 private:
  Certificates(const Config& config, std::function<void(const std::string&)> notice);
  // Made once: whoever trusts the one it has seen is not surprised by a reload.
  std::expected<void, std::string> use_self_signed();

  const Config::Tls config_;
  const std::string hostname_;
  const std::function<void(const std::string&)> notice_;
  std::shared_ptr<net::TlsTicketKeys> ticket_keys_;
  mutable std::mutex mutex_;
  std::shared_ptr<const net::TlsServer> current_;
  std::vector<Expiry> expiries_;
};

// Whether load() would succeed, for `serve -t`.
std::expected<void, std::string> check_certificates(
    const Config& config, const std::function<void(const std::string&)>& notice);

}  // namespace mxring::server
