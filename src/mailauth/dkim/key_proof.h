// Whether a signature over a hash was made by a key that DNS names: the part that DKIM signatures
// and both kinds of ARC's have in common. It goes from waiting for its key (kKeyMissing) to keys
// that fit (kKeyed) to a public-key operation under way (kChecking) to kDecided; every refusal goes
// to kDecided at once.
//
// Of several keys at one name the first kKeysTried that fit are tried (key_record.h). Ed25519 is
// decided on the spot, RSA by the caller together with that of other messages.
//
// Thread: the owner's. Reuse: begin() starts over and keeps the memory. Failure: a Problem.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/limits.h"
#include "crypto/rsa.h"
#include "crypto/sha256_batch.h"
#include "dns/record.h"
#include "mailauth/dkim/key_record.h"
#include "mailauth/dkim/proof_budget.h"
#include "mailauth/dkim/signature.h"

namespace mxring::mailauth::dkim {

class KeyProof {
 public:
  enum class Stage : std::uint8_t { kKeyMissing, kKeyed, kChecking, kDecided };

  // What is proved is hashed into header_hash() before check(), and b= decoded into signature().
  void begin();
  crypto::Sha256Stream& header_hash() { return header_hash_; }
  std::string& signature() { return signature_; }

  // The signature has been read: the name of its key, or that there can be none.
  std::optional<Problem> want_key(const Signature& signature);
  const dns::Name& key_name() const { return key_name_; }

  Stage stage() const { return stage_; }
  // Nothing more is to be found out.
  void decide();

  // The answer about the key's name. A problem decides.
  std::optional<Problem> take_keys(const dns::Answer& answer, const base::Limits& limits);
  const Key& first_key() const;  // kKeyed

  // With its keys and a finished hash. A problem decides; else decided() or RSA checks are added.
  // Of several keys those are tried that the budget has room for; none: a problem.
  std::optional<Problem> check(std::vector<crypto::RsaCheck*>& checks, ProofBudget& budget);
  // After the RSA checks.
  std::optional<Problem> conclude();
  // The key that has made the signature; null: none.
  const Key* maker() const { return maker_; }

  // The keys, and what a batch may have of an unfinished hash. They are not needed any more.
  void release();

 private:
  void enter(Stage stage);
  std::optional<Problem> choose_keys(const base::Limits& limits);
  std::optional<Problem> refuse(const Problem& problem);

  Stage stage_ = Stage::kDecided;
  Algorithm algorithm_ = Algorithm::kRsaSha256;
  bool identity_below_ = false;
  dns::Name key_name_;
  crypto::Sha256Stream header_hash_;
  std::string signature_;
  std::shared_ptr<const KeySet> keys_;
  std::array<const Key*, kKeysTried> fitting_{};
  std::array<crypto::RsaCheck, kKeysTried> checks_;
  std::size_t keys_fitting_ = 0;
  const Key* maker_ = nullptr;
};

}  // namespace mxring::mailauth::dkim
