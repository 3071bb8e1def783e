// Any message through a whole chain validation: it ends, keeps its bounds, and a chain is never
// longer than it may be. A key is published for every name.
#include "base/assert.h"
#include "mailauth/arc/arc_set.h"
#include "tests/mailauth/arc_check.h"
#include "tests/mailauth/go_seed.h"

namespace {

using namespace mxring;
using mailauth::Result;

constexpr std::string_view kKey =
    "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

dns::AnswerPtr key_answer() {
  auto answer = std::make_shared<dns::Answer>();
  answer->status = dns::Status::kAnswer;
  answer->texts.emplace_back(kKey);
  return answer;
}

mailauth::arc::Outcome check(mailauth::arc::Verifier& verifier, crypto::Sha256Batch& hashes,
                             std::string_view message, bool keys_first) {
  const base::Limits limits;
  mail::HeaderIndex index(limits.header_bytes, limits.header_fields);
  index.feed(message);
  index.finish();
  if (index.status() != mail::HeaderStatus::kComplete) return {};
  verifier.begin(message.substr(0, index.header_bytes()), index.fields(), 1'700'000'000);
  const auto answer = [&] {
    for (int rounds = 0; !verifier.step(); ++rounds) {
      MXRING_ASSERT(rounds == 0 && verifier.questions().size() <= mailauth::arc::kKeyNamesMax);
      const std::vector<dns::Question> questions(verifier.questions().begin(),
                                                 verifier.questions().end());
      for (const dns::Question& question : questions) verifier.supply(question, key_answer());
    }
  };
  if (keys_first) answer();
  if (verifier.wants_body()) {
    verifier.body(message.substr(index.body_begin()));
    verifier.end_of_body();
  }
  if (!keys_first) answer();
  hashes.flush();
  std::vector<crypto::RsaCheck*> checks;
  verifier.collect(checks);
  MXRING_ASSERT(checks.empty());  // the key is not RSA
  verifier.conclude();
  return verifier.outcome();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // Lines end in CRLF here, as they do behind the SMTP layer.
  std::string message;
  for (const char c : test::seed_bytes(data, size)) {
    if (c == '\n') message += '\r';
    message += c;
  }
  static crypto::Sha256Batch hashes;
  static mailauth::arc::Verifier verifier({}, hashes);
  const mailauth::arc::Outcome first = check(verifier, hashes, message, true);
  MXRING_ASSERT(first.sets <= mailauth::arc::kSetsMax);
  MXRING_ASSERT(first.oldest_pass <= first.sets);
  MXRING_ASSERT(first.reason.empty() == (first.result != Result::kFail));
  const mailauth::arc::Outcome second = check(verifier, hashes, message, false);
  MXRING_ASSERT(second.result == first.result && second.oldest_pass == first.oldest_pass);
  return 0;
}
