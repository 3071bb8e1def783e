#include "mailauth/dkim/key_proof.h"

#include <algorithm>

#include "base/assert.h"
#include "crypto/ed25519.h"

namespace mxring::mailauth::dkim {

void KeyProof::enter(Stage stage) {
  MXRING_ASSERT(stage > stage_);
  stage_ = stage;
}

void KeyProof::begin() {
  stage_ = Stage::kKeyMissing;
  keys_.reset();
  keys_fitting_ = 0;
  maker_ = nullptr;
  header_hash_.reset();
}

void KeyProof::decide() {
  enter(Stage::kDecided);
}

std::optional<Problem> KeyProof::refuse(const Problem& problem) {
  decide();
  return problem;
}

std::optional<Problem> KeyProof::want_key(const Signature& signature) {
  MXRING_ASSERT(stage_ == Stage::kKeyMissing);
  algorithm_ = signature.algorithm;
  identity_below_ = signature.identity_below;
  const auto name = dkim::key_name(signature.selector, signature.domain);
  if (!name) return refuse({Result::kNeutral, "s= and d= are too long for a name", {}});
  key_name_ = *name;
  return std::nullopt;
}

std::optional<Problem> KeyProof::take_keys(const dns::Answer& answer, const base::Limits& limits) {
  MXRING_ASSERT(stage_ == Stage::kKeyMissing);
  if (answer.not_asked) {
    return refuse({Result::kTemperror, "too many DNS questions under way to ask for the key", {}});
  }
  if (answer.is_failure())
    return refuse({Result::kTemperror, "no answer from DNS about the key", {}});
  if (answer.is_void()) return refuse({Result::kPermerror, "no key for signature", {}});
  keys_ = KeySet::of(answer);
  if (keys_->keys().empty()) return refuse(keys_->problem());
  if (const auto problem = choose_keys(limits)) return refuse(*problem);
  enter(Stage::kKeyed);
  return std::nullopt;
}

// Those that may have made this signature (RFC 6376 6.1.2); without one, what is wrong with the
// first.
std::optional<Problem> KeyProof::choose_keys(const base::Limits& limits) {
  std::optional<Problem> first;
  for (const Key& key : keys_->keys()) {
    auto problem =
        key.strict && identity_below_
            ? std::optional(
                  Problem{Result::kPermerror, "the key is not for subdomains, and i= is one", {}})
            : unfit_for(key, algorithm_, limits);
    if (!problem) {
      MXRING_ASSERT(keys_fitting_ < kKeysTried);
      fitting_[keys_fitting_++] = &key;
      if (keys_fitting_ == kKeysTried) break;
    } else if (!first) {
      first = problem;
    }
  }
  MXRING_ASSERT(keys_fitting_ != 0 || first);
  return keys_fitting_ == 0 ? first : std::nullopt;
}

const Key& KeyProof::first_key() const {
  MXRING_ASSERT(stage_ == Stage::kKeyed && keys_fitting_ != 0);
  return *fitting_[0];
}

std::optional<Problem> KeyProof::check(std::vector<crypto::RsaCheck*>& checks,
                                       ProofBudget& budget) {
  MXRING_ASSERT(stage_ == Stage::kKeyed && header_hash_.finished());
  std::size_t affordable = 0;
  while (affordable < keys_fitting_ && budget.take(*fitting_[affordable])) ++affordable;
  keys_fitting_ = affordable;
  if (affordable == 0) return refuse({Result::kPolicy, ProofBudget::kSpentWords, {}});
  MXRING_ASSERT(affordable <= kKeysTried && maker_ == nullptr);
  const crypto::Sha256Digest& digest = header_hash_.digest();
  if (algorithm_ != Algorithm::kEd25519Sha256) {
    enter(Stage::kChecking);
    for (std::size_t k = 0; k < keys_fitting_; ++k) {
      MXRING_ASSERT(fitting_[k]->rsa);
      checks_[k] = {
          .key = &*fitting_[k]->rsa, .signature = signature_, .digest = digest, .valid = false};
      checks.push_back(&checks_[k]);
    }
    return std::nullopt;
  }
  const std::string_view message(reinterpret_cast<const char*>(digest.data()), digest.size());
  for (std::size_t k = 0; k < keys_fitting_ && maker_ == nullptr; ++k) {
    if (crypto::ed25519_verify(fitting_[k]->ed25519, signature_, message)) maker_ = fitting_[k];
  }
  if (maker_ == nullptr) return refuse({Result::kFail, "signature did not verify", {}});
  decide();
  return std::nullopt;
}

std::optional<Problem> KeyProof::conclude() {
  MXRING_ASSERT(stage_ == Stage::kChecking);
  for (std::size_t k = 0; k < keys_fitting_ && maker_ == nullptr; ++k) {
    if (checks_[k].valid) maker_ = fitting_[k];
  }
  decide();
  if (maker_ != nullptr) return std::nullopt;
  return Problem{Result::kFail, "signature did not verify", {}};
}

void KeyProof::release() {
  MXRING_ASSERT(stage_ == Stage::kDecided || maker_ == nullptr);
  maker_ = nullptr;
  keys_fitting_ = 0;
  keys_.reset();
  if (!header_hash_.finished()) header_hash_.reset();
}

}  // namespace mxring::mailauth::dkim
