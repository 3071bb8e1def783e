// A whole chain validation in one call, for tests.
#pragma once

#include <string_view>

#include "base/limits.h"
#include "mail/header_index.h"
#include "mailauth/arc/verifier.h"
#include "tests/dns/zone.h"

namespace mxring::test {

// The body in runs of `run_bytes`; the keys before the body or after it.
inline mailauth::arc::Outcome verify_arc(mailauth::arc::Verifier& verifier,
                                         crypto::Sha256Batch& hashes, std::string_view message,
                                         const Zone& zone, std::size_t run_bytes = SIZE_MAX,
                                         bool keys_first = true) {
  const base::Limits limits;
  mail::HeaderIndex index(limits.header_bytes, limits.header_fields);
  index.feed(message);
  index.finish();
  if (index.status() != mail::HeaderStatus::kComplete) return {};
  const std::string_view header = message.substr(0, index.header_bytes());
  verifier.begin(header, index.fields(), 1'700'000'000);
  const auto answer = [&] {
    while (!verifier.step()) {
      const std::vector<dns::Question> questions(verifier.questions().begin(),
                                                 verifier.questions().end());
      for (const dns::Question& question : questions) {
        verifier.supply(question, zone.answer(question));
      }
    }
  };
  if (keys_first) answer();
  if (verifier.wants_body()) {
    for (std::string_view body = message.substr(index.body_begin()); !body.empty();) {
      const std::string_view run = body.substr(0, run_bytes);
      verifier.body(run);
      hashes.flush();
      body.remove_prefix(run.size());
    }
    verifier.end_of_body();
  }
  if (!keys_first) answer();
  hashes.flush();
  std::vector<crypto::RsaCheck*> checks;
  verifier.collect(checks);
  crypto::RsaVerifier rsa;
  rsa.verify(checks);
  verifier.conclude();
  return verifier.outcome();
}

inline mailauth::arc::Outcome verify_arc(std::string_view message, const Zone& zone,
                                         std::size_t run_bytes = SIZE_MAX, bool keys_first = true) {
  crypto::Sha256Batch hashes;
  mailauth::arc::Verifier verifier({}, hashes);
  return verify_arc(verifier, hashes, message, zone, run_bytes, keys_first);
}

}  // namespace mxring::test
