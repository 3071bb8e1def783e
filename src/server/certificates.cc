#include "server/certificates.h"

#include <future>
#include <utility>

#include "base/clock.h"

namespace mxring::server {

Certificates::Certificates(const Config& config, std::function<void(const std::string&)> notice)
    : config_(config.tls), hostname_(config.hostname), notice_(std::move(notice)) {
  if (config_.tickets) {
    ticket_keys_ = std::make_shared<net::TlsTicketKeys>(config_.ticket_rotation_ns);
  }
}

std::expected<std::unique_ptr<Certificates>, std::string> Certificates::load(
    const Config& config, std::function<void(const std::string&)> notice) {
  std::unique_ptr<Certificates> certificates(new Certificates(config, std::move(notice)));
  if (auto loaded = certificates->reload(config.tls); !loaded)
    return std::unexpected(loaded.error());
  return certificates;
}

std::expected<void, std::string> Certificates::reload(const Config::Tls& tls) {
  net::TlsServer::Options options;
  options.tls12 = config_.minimum == "1.2";
  options.ticket_keys = ticket_keys_;
  std::vector<Config::Tls::Files> files = tls.certificates;
  if (!tls.certificate.empty()) files.insert(files.begin(), {tls.certificate, tls.key});
  const base::WallTime now = base::read_clocks().wall;
  std::vector<std::string> warnings;
  for (const auto& [certificate, key] : files) {
    auto read = net::read_certificate(certificate, key);
    if (!read) return std::unexpected(read.error().message);
    if (auto warning = net::validity_warning(*read, now); !warning.empty()) {
      warnings.push_back(std::move(warning));
    }
    options.certificates.push_back(*std::move(read));
  }
  if (options.certificates.empty()) return use_self_signed();
  std::vector<Expiry> expiries;
  for (std::size_t i = 0; i < files.size(); ++i) {
    expiries.push_back({files[i].certificate, options.certificates[i].not_after_s});
  }
  auto loaded = net::TlsServer::load(options);
  if (!loaded) return std::unexpected(loaded.error().message);
  for (const std::string& warning : warnings) notice_(warning);
  const std::lock_guard lock(mutex_);
  current_ = *std::move(loaded);
  expiries_ = std::move(expiries);
  return {};
}

std::expected<void, std::string> Certificates::use_self_signed() {
  if (current() != nullptr) return {};
  net::TlsServer::Options options;
  options.tls12 = config_.minimum == "1.2";
  options.ticket_keys = ticket_keys_;
  auto made = net::make_certificate(hostname_);
  if (!made) return std::unexpected(made.error().message);
  // An RSA key takes a fraction of a second to make: not at every start, but once, in the handshake
  // of the first client that can check nothing else.
  options.for_rsa_only =
      std::async(std::launch::deferred,
                 [options, hostname = hostname_]() -> std::shared_ptr<const net::TlsServer> {
                   auto rsa = net::make_certificate(hostname, net::CertificateKey::kRsa);
                   if (!rsa) return nullptr;
                   net::TlsServer::Options for_rsa = options;
                   for_rsa.certificates.push_back(*std::move(rsa));
                   return net::TlsServer::load(for_rsa).value_or(nullptr);
                 })
          .share();
  const Expiry expiry{"", made->not_after_s};
  options.certificates.push_back(*std::move(made));
  auto loaded = net::TlsServer::load(options);
  if (!loaded) return std::unexpected(loaded.error().message);
  const std::lock_guard lock(mutex_);
  current_ = *std::move(loaded);
  expiries_ = {expiry};
  return {};
}

std::expected<void, std::string> check_certificates(
    const Config& config, const std::function<void(const std::string&)>& notice) {
  if (!config.tls.starttls && config.listen.smtps.empty()) return {};
  const auto loaded = Certificates::load(config, notice);
  if (!loaded) return std::unexpected(loaded.error());
  return {};
}

std::vector<Certificates::Expiry> Certificates::expiries() const {
  const std::lock_guard lock(mutex_);
  return expiries_;
}

std::shared_ptr<const net::TlsServer> Certificates::current() const {
  const std::lock_guard lock(mutex_);
  return current_;
}

}  // namespace mxring::server
