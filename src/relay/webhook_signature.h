// Signatures as Standard Webhooks 1.0 has them: HMAC-SHA256 over "id.timestamp.body" with every
// secret, so that a receiver may go on with the old one while it is being changed.
//
// Thread: one. Failure: a line for a person that never shows a secret.
#pragma once

#include <array>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/sha256.h"

namespace mxring::relay {

// RFC 2104, with the pads hashed again for each message.
crypto::Sha256Digest hmac_sha256(std::string_view key, std::string_view a, std::string_view b);

class WebhookSecrets {
 public:
  // Lines "whsec_<base64>"; blanks and lines that begin with # are passed over.
  static std::expected<WebhookSecrets, std::string> parse(std::string_view text);

  bool empty() const { return keys_.empty(); }
  // "v1,<base64>", one for each secret, with blanks between them.
  std::string sign(std::string_view id, std::int64_t timestamp, std::string_view body) const;

 private:
  std::vector<std::string> keys_;
};

}  // namespace mxring::relay
