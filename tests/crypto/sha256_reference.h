// wolfCrypt's SHA-256, which shares no code with ours.
#pragma once

#include <wolfssl/options.h>
// Options come first: they decide the layout of what follows.
#include <wolfssl/wolfcrypt/sha256.h>

#include <cstdlib>
#include <string_view>

#include "crypto/sha256.h"

namespace mxring::crypto::test {

class ReferenceSha256 {
 public:
  ReferenceSha256() { check(wc_InitSha256(&state_)); }
  ReferenceSha256(const ReferenceSha256&) = delete;
  ReferenceSha256& operator=(const ReferenceSha256&) = delete;
  ~ReferenceSha256() { wc_Sha256Free(&state_); }

  // Less than 4 GiB at a time: the library counts in 32 bits.
  void update(std::string_view bytes) {
    check(wc_Sha256Update(&state_, reinterpret_cast<const byte*>(bytes.data()),
                          static_cast<word32>(bytes.size())));
  }
  Sha256Digest finish() {
    Sha256Digest digest;
    check(wc_Sha256Final(&state_, digest.data()));
    return digest;
  }

 private:
  static void check(int result) {
    if (result != 0) std::abort();
  }

  wc_Sha256 state_;
};

inline Sha256Digest reference_sha256(std::string_view bytes) {
  ReferenceSha256 hash;
  hash.update(bytes);
  return hash.finish();
}

}  // namespace mxring::crypto::test
