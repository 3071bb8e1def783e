// Keys made for a test, their DNS records, and messages signed with them.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "base/base64.h"
#include "crypto/private_key.h"
#include "mailauth/dkim/signer.h"
#include "tests/dns/zone.h"

namespace mxring::test {

class SigningDomain {
 public:
  explicit SigningDomain(crypto::KeyType type = crypto::KeyType::kEd25519,
                         std::string domain = "example.org", std::string selector = "sel",
                         std::uint32_t bits = 1024)
      : key_(make(type, bits)), domain_(std::move(domain)), selector_(std::move(selector)) {}

  std::string record() const {
    return fmt::format("v=DKIM1; k={}; p={}",
                       key_.type() == crypto::KeyType::kRsa ? "rsa" : "ed25519",
                       base::encode_base64(key_.public_key()));
  }
  std::string record_name() const { return selector_ + "._domainkey." + domain_; }
  void publish(Zone& zone, std::string_view extra = {}) const {
    zone.at(record_name()).texts.push_back({record() + std::string(extra)});
  }
  Zone zone() const {
    Zone zone;
    publish(zone);
    return zone;
  }

  mailauth::dkim::SignOptions options() const {
    mailauth::dkim::SignOptions options;
    options.domain = domain_;
    options.selector = selector_;
    options.now_unix_s = 1'600'000'000;
    return options;
  }
  std::string sign(std::string_view message) { return sign(message, options()); }
  std::string sign(std::string_view message, mailauth::dkim::SignOptions with) {
    mailauth::dkim::Signer signer(key_, std::move(with));
    auto field = signer.sign(message);
    if (!field) throw std::runtime_error(field.error());
    return *field + std::string(message);
  }
  crypto::PrivateKey& key() { return key_; }

 private:
  static crypto::PrivateKey make(crypto::KeyType type, std::uint32_t bits) {
    auto key = type == crypto::KeyType::kRsa ? crypto::PrivateKey::generate_rsa(bits)
                                             : crypto::PrivateKey::generate_ed25519();
    if (!key) throw std::runtime_error(key.error());
    return *std::move(key);
  }

  crypto::PrivateKey key_;
  std::string domain_;
  std::string selector_;
};

}  // namespace mxring::test
