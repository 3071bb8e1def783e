#include "mailauth/dkim/body_hashes.h"

#include <algorithm>

#include "base/assert.h"

namespace mxring::mailauth::dkim {

static_assert(kShortPieceBytes <= crypto::Sha256Batch::kCopiedBelowBytes);

void BodyForm::begin() {
  canon_ = BodyCanon(canonicalization_);
  all_.reset();
  for (std::size_t i = 0; i < used_; ++i) prefixes_[i]->stream.reset();
  used_ = open_ = 0;
  whole_wanted_ = false;
  bytes_ = 0;
}

const BodyForm::Prefix* BodyForm::find(std::uint64_t bytes_max) const {
  for (std::size_t i = 0; i < used_; ++i) {
    if (prefixes_[i]->bytes_max == bytes_max) return prefixes_[i].get();
  }
  return nullptr;
}

void BodyForm::want(std::uint64_t bytes_max) {
  MXRING_ASSERT(bytes_ == 0);
  if (bytes_max == kWholeBody) whole_wanted_ = true;
  if (bytes_max == kWholeBody || wants(bytes_max)) return;
  if (used_ == prefixes_.size()) prefixes_.push_back(std::make_unique<Prefix>());
  MXRING_ASSERT(used_ < prefixes_.size() && open_ <= used_);
  Prefix& prefix = *prefixes_[used_++];
  prefix.bytes_max = bytes_max;
  prefix.passed = false;
  prefix.stream.reset();
  ++open_;
  close_passed();  // of no bytes at all
}

void BodyForm::feed(std::string_view run) {
  if (whole_wanted_ || used_ != 0) canon_.feed(run, *this);
}

void BodyForm::finish() {
  if (!whole_wanted_ && used_ == 0) return;
  canon_.finish(*this);
  MXRING_ASSERT(!all_.finished());
  if (whole_wanted_) hashes_.finish(all_);
}

void BodyForm::take(std::string_view piece) {
  // In parts that end where a prefix does.
  while (open_ != 0) {
    std::uint64_t next = kWholeBody;
    for (std::size_t i = 0; i < used_; ++i) {
      if (!prefixes_[i]->passed) next = std::min(next, prefixes_[i]->bytes_max);
    }
    MXRING_ASSERT(next > bytes_ && next != kWholeBody);
    if (piece.size() < next - bytes_) break;
    const auto part = static_cast<std::size_t>(next - bytes_);
    append(piece.substr(0, part));
    piece.remove_prefix(part);
    const std::size_t open_before = open_;
    close_passed();
    MXRING_ASSERT(open_ < open_before);
  }
  append(piece);
}

void BodyForm::append(std::string_view piece) {
  bytes_ += piece.size();
  if (whole_wanted_ || open_ != 0) hashes_.append(all_, piece);
}

void BodyForm::close_passed() {
  for (std::size_t i = 0; i < used_; ++i) {
    Prefix& prefix = *prefixes_[i];
    if (prefix.passed || prefix.bytes_max != bytes_) continue;
    hashes_.fork(all_, prefix.stream);
    hashes_.finish(prefix.stream);
    prefix.passed = true;
    MXRING_ASSERT(open_ > 0);
    --open_;
  }
}

const crypto::Sha256Digest& BodyForm::digest(std::uint64_t bytes_max) const {
  if (bytes_max == kWholeBody) {
    MXRING_ASSERT(whole_wanted_ && all_.finished());
    return all_.digest();
  }
  const Prefix* prefix = find(bytes_max);
  MXRING_ASSERT(prefix != nullptr && prefix->passed && prefix->stream.finished());
  return prefix->stream.digest();
}

}  // namespace mxring::mailauth::dkim
