// What the public-key operations of one message may cost, all methods together: a sender chooses
// how many signatures a message bears and how large their keys are, and a small one with many of
// both must not cost what a large one does.
//
// A unit is an RSA operation with a key of 1,024 bits: 0.9 us in AVX-512 lanes, 6 us in wolfCrypt,
// and with the square of the key's size. An Ed25519 verification takes 40 us. The budget is that of
// 16 keys of 2,048 bits, of 4 of 4,096, or of 5 of Ed25519: twice what mail has that came through a
// list or two. Who raises the limit of signatures raises it along.
//
// Thread: a value object.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>

#include "base/limits.h"
#include "mailauth/dkim/key_record.h"

namespace mxring::mailauth::dkim {

class ProofBudget {
 public:
  static constexpr std::size_t kUnits = 64;
  static constexpr std::size_t kUnitsPerSignature = 6;  // a key of 2,048 bits, and half of another
  static constexpr std::size_t kEd25519Units = 12;
  static constexpr std::string_view kSpentWords =
      "more public-key operations than one message may cost";

  explicit ProofBudget(const base::Limits& limits)
      : left_(std::max<std::size_t>(kUnits, kUnitsPerSignature * limits.dkim_signatures)) {}

  // False: not any more.
  bool take(const Key& key) {
    const std::size_t cost = units_of(key);
    if (cost > left_) return false;
    left_ -= cost;
    return true;
  }
  static std::size_t units_of(const Key& key) {
    if (!key.rsa) return kEd25519Units;
    const std::size_t kilobits = std::max<std::size_t>(key.bits() / 1024, 1);
    return kilobits * kilobits;
  }

 private:
  std::size_t left_;
};

}  // namespace mxring::mailauth::dkim
