// The hashes of one message's body, for all signatures of all kinds that it bears: each canonical
// form is made once and hashed once, whoever asks, and the hash of its first l= bytes is the state
// of that one hash as it passes them.
//
// Contract: begin() once per message, then want() for what is to be known, then feed() in any split
// and finish(); digests stand after the batch's next flush. What is given to feed() must stay
// readable until then.
//
// Thread: the owner's. Reuse: begin() starts over and keeps the memory. Failure: none.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <memory>
#include <string_view>
#include <vector>

#include "crypto/sha256_batch.h"
#include "mailauth/dkim/body_canon.h"
#include "mailauth/dkim/canonicalization.h"

namespace mxring::mailauth::dkim {

constexpr std::uint64_t kWholeBody = std::numeric_limits<std::uint64_t>::max();

// One canonical form.
class BodyForm final : public PieceSink {
 public:
  BodyForm(Canonicalization canonicalization, crypto::Sha256Batch& hashes)
      : canonicalization_(canonicalization), hashes_(hashes) {}

  void begin();
  bool wants(std::uint64_t bytes_max) const { return find(bytes_max) != nullptr; }
  // The hash of its first bytes, or of all of it.
  void want(std::uint64_t bytes_max);
  void feed(std::string_view run);
  void finish();
  std::uint64_t bytes() const { return bytes_; }  // so far
  // After finish() and a flush; `bytes_max` was wanted, and there are so many, or it is the whole.
  const crypto::Sha256Digest& digest(std::uint64_t bytes_max) const;

 private:
  struct Prefix {
    std::uint64_t bytes_max = kWholeBody;
    bool passed = false;  // the stream is that of so many bytes
    crypto::Sha256Stream stream;
  };

  const Prefix* find(std::uint64_t bytes_max) const;
  void take(std::string_view piece) override;
  void append(std::string_view piece);
  void close_passed();

  Canonicalization canonicalization_;
  crypto::Sha256Batch& hashes_;
  BodyCanon canon_;
  crypto::Sha256Stream all_;
  bool whole_wanted_ = false;
  std::vector<std::unique_ptr<Prefix>> prefixes_;  // the first used_ of them
  std::size_t used_ = 0;
  std::size_t open_ = 0;  // of those, not passed yet
  std::uint64_t bytes_ = 0;
};

class BodyHashes {
 public:
  explicit BodyHashes(crypto::Sha256Batch& hashes)
      : forms_{BodyForm(Canonicalization::kSimple, hashes),
               BodyForm(Canonicalization::kRelaxed, hashes)} {}

  // Also what gives an unfinished body up: the batch forgets what it has of it.
  void begin() {
    for (BodyForm& form : forms_) form.begin();
  }
  BodyForm& form(Canonicalization canonicalization) {
    return forms_[canonicalization == Canonicalization::kSimple ? 0 : 1];
  }
  void feed(std::string_view run) {
    for (BodyForm& form : forms_) form.feed(run);
  }
  void finish() {
    for (BodyForm& form : forms_) form.finish();
  }

 private:
  std::array<BodyForm, 2> forms_;
};

}  // namespace mxring::mailauth::dkim
