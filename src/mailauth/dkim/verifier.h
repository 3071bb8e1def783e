// DKIM verification of one message (RFC 6376, 8301, 8463, 8616) as a machine without I/O: keys come
// in as DNS answers, the body as it arrives, hashes and RSA operations are done by the caller
// together with those of other messages.
//
//   verifier.begin(header_section, fields, now);  // the header section is complete
//   while (!verifier.step()) { supply(question, answer) for all of questions() }  // as with SPF
//   verifier.body(run); ...                       // each run of the body, in any split
//   verifier.end_of_body();
//   hashes.flush();
//   verifier.collect(checks);                     // step() was true, the hashes are flushed
//   rsa.verify(checks);
//   verifier.conclude();                          // signatures() stand
//
// Keys may be supplied before, while or after the body comes. What is given to begin() and body()
// must stay readable until the batch's next flush(); nothing else is kept of it but copies of the
// signatures' fields. Signatures that share body canonicalisation and l= share one hash.
//
// collect() leaves out what needs no public-key operation: a wrong body hash, no usable key, a
// policy refusal; Ed25519 is decided on the spot.
//
// Where the standards leave a choice (results in the words of RFC 8601 2.7.1):
// - neutral: the field is malformed, or its version, algorithm, canonicalization or way to the key
//   is unknown. permerror: From is not signed, or the key is missing, revoked, malformed or not for
//   this. fail: a hash or the signature differs, or the body is shorter than l=. policy: rsa-sha1
//   (RFC 8301 3.1), RSA keys outside Limits (3.2), or x= is over.
// - A t= in the future is not held against a signature: clocks differ.
// - Limits::dkim_signatures fields are tried, the rest ignored: those whose d= is nearest to the
//   author's domain, because no others count for DMARC, and of equally near ones the topmost. Keys
//   of near ones are asked for first.
// - Of those, near ones first, as many are verified as one message may cost (proof_budget.h); the
//   others are policy.
// - Several keys at one name: see key_record.h. Domains may be U-labels or A-labels (RFC 8616).
//
// Thread: the owner's. Reuse: begin() starts over and keeps the memory. Failure: none; whatever is
// wrong is a signature's result.
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

namespace mxring::mailauth::dkim {

// One DKIM-Signature field, in the order of the message. Strings are untrusted bytes.
struct SignatureResult {
  Result result = Result::kNone;  // pass, fail, neutral (syntax), policy, temperror, permerror
  std::string reason;           // why not pass, for people: "body hash did not verify"; else empty
  std::string domain;           // d=, lower case A-labels
  std::string selector;         // s=
  std::string identity;         // i=
  std::string algorithm;        // a=
  std::string signature_start;  // the first characters of b=, white space removed: header.b
  std::uint32_t key_bits = 0;   // 0: not known
  std::uint64_t body_bytes_signed = 0;
  bool body_limited = false;  // l= leaves part of the body unsigned: never good for DMARC
  bool testing = false;       // t=y of the key
  bool not_asked = false;     // temperror because of a limit of ours, not because of DNS
};

class Verifier {
 public:
  Verifier(const base::Limits& limits, crypto::Sha256Batch& hashes, BodyHashes* shared = nullptr);
  ~Verifier();

  // header_section: the message's first bytes, empty line not needed; `fields` index into it.
  // `author`: the From field's domain in lower-case A-labels, if there is one.
  void begin(std::string_view header_section, std::span<const mail::Field> fields,
             std::int64_t now_unix_s, std::string_view author = {});
  bool has_signatures() const;
  bool wants_body() const;  // else body() need not be called

  bool step();
  std::span<const dns::Question> questions() const;
  void supply(const dns::Question& question, dns::AnswerPtr answer);
  void give_up();  // no more answers will come: temperror where one is missing

  void body(std::string_view run);
  void end_of_body();
  // The message will not be completed; the batch forgets what it has of it.
  void abandon();

  void collect(std::vector<crypto::RsaCheck*>& checks, ProofBudget& budget);
  void collect(std::vector<crypto::RsaCheck*>& checks);  // with a budget of its own
  void conclude();
  std::span<const SignatureResult> signatures() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace mxring::mailauth::dkim
