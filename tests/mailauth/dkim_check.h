// A whole verification in one call, for tests: header index, keys from a Zone, the body in runs of
// some size, hashes, RSA.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/limits.h"
#include "crypto/rsa.h"
#include "crypto/sha256_batch.h"
#include "mailauth/dkim/verifier.h"
#include "tests/dns/zone.h"

namespace mxring::test {

// Cut into runs: every piece is copied into memory of its own, exactly as large as it is, so that a
// sanitizer sees a read beyond a run, and is gone after the flush.
struct DkimSetup {
  std::int64_t now_unix_s = 1'700'000'000;
  std::size_t run_bytes = SIZE_MAX;
  std::size_t first_run_bytes = 0;  // 0: like the others
  bool keys_first = true;           // else after the body
  base::Limits limits = {};
  std::string author = {};
};

// LF line ends become CRLF; CRLF stays.
std::string with_crlf(std::string_view text);
std::string read_file(const std::string& path);

std::vector<mailauth::dkim::SignatureResult> verify_dkim(std::string_view message, const Zone& zone,
                                                         const DkimSetup& setup = {});

// "pass fail permerror": the results in order.
std::string dkim_words(const std::vector<mailauth::dkim::SignatureResult>& signatures);
std::string dkim_words(std::string_view message, const Zone& zone, const DkimSetup& setup = {});

}  // namespace mxring::test
