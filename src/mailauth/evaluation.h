// The whole verdict on one message as a machine without I/O: SPF from MAIL FROM on, DKIM, ARC and
// DMARC from the header section on, and what follows from them. The server and `mxring auth` run
// the same one, so a file is judged as on the wire.
//
//   evaluation.begin(envelope);                     // MAIL FROM: SPF begins
//   evaluation.header(section, fields, now);        // header section complete: keys, policy
//   evaluation.body(run); ... end_of_body();        // any split
//   hashes.flush();
//   // each Part asks for itself, at any time, in any order, as in spf::Evaluator:
//   while (!evaluation.step(part)) { supply(part, question, answer) for all of questions(part) }
//   // when all parts have stepped and the hashes were flushed:
//   evaluation.collect(checks); rsa.verify(checks); evaluation.conclude();
//   // DMARC may have more questions now: step(Part::kDmarc) again; then done()
//
// What is given to header() and body() must stay readable until the batch's next flush().
// Each part keeps to Limits::dns_questions by itself, and DKIM to one key per signature looked at:
// a sender whose SPF record asks as much as it can takes nothing from the question for the policy
// of the domain it pretends to be.
//
// Thread: the owner's. Reuse: begin() starts over and keeps the memory. Failure: none.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
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
#include "mailauth/arc/verifier.h"
#include "mailauth/dkim/body_hashes.h"
#include "mailauth/dkim/proof_budget.h"
#include "mailauth/dkim/verifier.h"
#include "mailauth/dmarc/author.h"
#include "mailauth/dmarc/evaluator.h"
#include "mailauth/spf/evaluator.h"
#include "mailauth/spf/outcome_cache.h"

namespace mxring::mailauth {

struct EvaluationOptions {
  bool spf = true;
  bool dkim = true;  // and ARC
  bool dmarc = true;
};

enum class Part : std::uint8_t { kSpf, kDkim, kArc, kDmarc };
inline constexpr std::array kParts{Part::kSpf, Part::kDkim, Part::kArc, Part::kDmarc};

class Evaluation {
 public:
  Evaluation(const EvaluationOptions& options, const base::Limits& limits,
             crypto::Sha256Batch& hashes);

  void begin(const spf::Request& request);
  // Right after begin(): SPF as for a message of the same client and domain, if that is known.
  void repeat_spf(const spf::OutcomeCache& known, base::MonoTime now);
  void remember_spf(spf::OutcomeCache& known, base::MonoTime now) const;
  void header(std::string_view section, std::span<const mail::Field> fields,
              std::int64_t now_unix_s);
  bool wants_body() const;
  void body(std::string_view run);
  void end_of_body();
  // The message will not be completed; the batch forgets what it has of it.
  void abandon();

  // True: nothing to ask at the moment.
  bool step(Part part);
  std::span<const dns::Question> questions(Part part) const;
  // `known`: the answer was there without a question, from a cache.
  void supply(Part part, const dns::Question& question, dns::AnswerPtr answer, bool known = false);
  // No more answers will come: temperror for whatever misses one. Before the header section has
  // come that is SPF.
  void give_up();

  void collect(std::vector<crypto::RsaCheck*>& checks);
  void conclude();
  bool done() const { return phase_ == Phase::kDone; }

  // Null when that method was not asked for; otherwise they stand when done().
  const spf::Outcome* spf() const { return options_.spf ? &spf_.outcome() : nullptr; }
  std::span<const dkim::SignatureResult> dkim() const {
    const bool begun = options_.dkim && phase_ != Phase::kEnvelope;
    return begun ? dkim_.signatures() : std::span<const dkim::SignatureResult>();
  }
  // Reported, and overrides nothing. Null also for a message without a chain.
  const arc::Outcome* arc() const { return has_chain_ ? &arc_.outcome() : nullptr; }
  // Permerror without a domain when the message has no one author domain.
  const dmarc::Outcome* dmarc() const { return judges_author_ ? &dmarc_.outcome() : nullptr; }
  const EvaluationOptions& options() const { return options_; }

 private:
  enum class Phase : std::uint8_t { kEnvelope, kMessage, kConcluded, kDone };

  bool active(Part part) const;
  // The machine of a part, given to `f`: step, questions, supply and give_up are the same for all.
  template <typename Self, typename F>
  static decltype(auto) with(Self& self, Part part, F&& f);
  void give_up(Part part);
  void expect_domains();
  void align();

  EvaluationOptions options_;
  dkim::ProofBudget budget_;  // that each message begins with
  spf::Evaluator spf_;
  dkim::BodyHashes bodies_;
  dkim::Verifier dkim_;
  arc::Verifier arc_;
  dmarc::Evaluator dmarc_;
  dmarc::AuthorScratch author_;
  std::vector<dmarc::Authenticated> authenticated_;
  Phase phase_ = Phase::kEnvelope;
  bool judges_author_ = false;  // DMARC has begun
  bool has_chain_ = false;
  bool gave_up_ = false;  // nothing is asked any more
};

}  // namespace mxring::mailauth
