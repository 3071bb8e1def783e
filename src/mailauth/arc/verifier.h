// Validation of an ARC chain (RFC 8617 5.2) as a machine without I/O, with the verbs of
// dkim::Verifier and the same rules about what must stay readable:
//
//   verifier.begin(header_section, fields, now);
//   while (!verifier.step()) { supply(question, answer) for all of questions() }
//   verifier.body(run); ... end_of_body();
//   hashes.flush();
//   verifier.collect(checks);
//   rsa.verify(checks);
//   verifier.conclude();                              // outcome() stands
//
// ARC is on its way to Historic. The outcome is reported and overrides nothing: not SPF, not DKIM,
// not DMARC.
//
// What is more than the standard asks: keys must be as for DKIM (RFC 8301), an
// ARC-Message-Signature must sign From, and l= must be the whole body; x= that is over fails. One
// whose h= names ARC-Seal fails (RFC 8617 4.1.2). At most kKeyNamesMax keys are asked for and
// kProofsMax signatures checked, of the newest sets; a chain of more than kSetsChecked has failed,
// as nobody's mail goes through so many hands. Signatures below the newest only give oldest_pass;
// what stands in the way of checking one of them leaves it unverified.
//
// Thread: the owner's. Reuse: begin() starts over and keeps the memory. Failure: none.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/limits.h"
#include "crypto/rsa.h"
#include "crypto/sha256_batch.h"
#include "dns/question.h"
#include "dns/record.h"
#include "mail/header_index.h"
#include "mailauth/dkim/body_hashes.h"
#include "mailauth/dkim/proof_budget.h"
#include "mailauth/result/result.h"

namespace mxring::mailauth::arc {

constexpr std::size_t kKeyNamesMax = 16;
constexpr std::uint32_t kSetsChecked = 15;
constexpr std::size_t kProofsMax = 20;

struct Outcome {
  Result result = Result::kNone;  // none, pass, fail
  std::string reason;             // why it failed, for people; else empty
  std::uint32_t sets = 0;         // as many as there are, also in a chain that failed
  // With pass: the lowest instance from which on every ARC-Message-Signature holds; 0: all hold.
  std::uint32_t oldest_pass = 0;
  std::string
      sealer;  // d= of the newest seal, lower-case A-labels; empty when it could not be read
};

class Verifier {
 public:
  // `shared`: see dkim::Verifier.
  Verifier(const base::Limits& limits, crypto::Sha256Batch& hashes,
           dkim::BodyHashes* shared = nullptr);
  ~Verifier();

  void begin(std::string_view header_section, std::span<const mail::Field> fields,
             std::int64_t now_unix_s);
  bool wants_body() const;  // else body() need not be called

  bool step();
  std::span<const dns::Question> questions() const;
  void supply(const dns::Question& question, dns::AnswerPtr answer);
  void give_up();  // no more answers will come

  void body(std::string_view run);
  void end_of_body();
  // The message will not be completed; the batch forgets what it has of it.
  void abandon();

  void collect(std::vector<crypto::RsaCheck*>& checks, dkim::ProofBudget& budget);
  void collect(std::vector<crypto::RsaCheck*>& checks);  // with a budget of its own
  void conclude();
  const Outcome& outcome() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace mxring::mailauth::arc
