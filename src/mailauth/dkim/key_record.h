// Key records (RFC 6376 3.6.1, RFC 8463 4): what the TXT records at SELECTOR._domainkey.DOMAIN say,
// kept beside the DNS answer so that a key and its constants are made once.
//
// Several records at one name are undefined (RFC 6376 3.6.2.2; 6.1.2 leaves it to the verifier).
// Here records that are no usable keys do not disturb those that are, and of usable keys every
// signature tries the first kKeysTried that fit its algorithm: an RSA and an Ed25519 key may share
// a selector, and so may a key and its successor. Which record comes first in an answer then does
// not matter to anybody with at most that many.
//
// Thread: keys are immutable. Failure: why there is no usable key, with the result it means.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/limits.h"
#include "crypto/ed25519.h"
#include "crypto/private_key.h"
#include "crypto/rsa.h"
#include "dns/record.h"
#include "mailauth/dkim/signature.h"

namespace mxring::mailauth::dkim {

constexpr std::size_t kKeysTried = 2;

struct Key {
  crypto::KeyType type = crypto::KeyType::kRsa;
  std::optional<crypto::RsaPublicKey> rsa;  // kRsa
  crypto::Ed25519PublicKey ed25519{};       // kEd25519
  bool sha256 = true;                       // h= allows it
  bool email = true;                        // s= allows it
  bool testing = false;                     // t=y
  bool strict = false;                      // t=s: i= must be of d= itself

  std::uint32_t bits() const { return rsa ? rsa->bits() : 256; }
};

// The problem's `where` is a constant or points into `text`.
std::expected<Key, Problem> parse_key_record(std::string_view text);

// Why the key cannot have made a signature of this algorithm (RFC 6376 6.1.2), or must not count
// if it has; nothing when it is fit.
std::optional<Problem> unfit_for(const Key& key, Algorithm algorithm, const base::Limits& limits);

class KeySet final : public dns::ParsedForm {
 public:
  static constexpr std::size_t kRecordsMax = 8;  // of one name, that are looked at

  explicit KeySet(const std::vector<std::string>& texts);
  // From the answer's slot, or made now and put there.
  static std::shared_ptr<const KeySet> of(const dns::Answer& answer);

  std::span<const Key> keys() const& { return keys_; }
  std::span<const Key> keys() const&& = delete;
  // When there are none: what is wrong with the first record that means to be a key. No `where`.
  const Problem& problem() const { return problem_; }
  std::size_t bytes() const override;

 private:
  std::vector<Key> keys_;
  Problem problem_;
};

}  // namespace mxring::mailauth::dkim
