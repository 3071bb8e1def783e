// DKIM signing (RFC 6376 5): one DKIM-Signature field for a message. Pure; time is an argument.
// Thread: one per Signer. Failure: a message for a person.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/private_key.h"
#include "mailauth/dkim/canonicalization.h"

namespace mxring::mailauth::dkim {

struct SignOptions {
  std::string domain;
  std::string selector;
  Canonicalization header = Canonicalization::kRelaxed;
  Canonicalization body = Canonicalization::kRelaxed;
  std::int64_t now_unix_s = 0;
  std::optional<std::int64_t> expire_after_s;  // x=
  // Empty: those of RFC 6376 5.4.1 and the MIME fields that the message has, each as often as it
  // occurs and From once more.
  std::vector<std::string> signed_fields;
};

class Signer {
 public:
  Signer(crypto::PrivateKey& key, SignOptions options);
  ~Signer();
  // The whole field with its CRLF, to be put on top of `message` (CRLF line ends).
  std::expected<std::string, std::string> sign(std::string_view message);
  void set_now(std::int64_t now_unix_s) { options_.now_unix_s = now_unix_s; }

 private:
  struct State;

  crypto::PrivateKey& key_;
  SignOptions options_;
  std::unique_ptr<State> state_;
};

}  // namespace mxring::mailauth::dkim
