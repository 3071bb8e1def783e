#include "mailauth/evaluation.h"

#include <algorithm>
#include <utility>

#include "base/assert.h"

namespace mxring::mailauth {

namespace {

bool is_of_chain(const mail::Field& field) {
  return field.name == mail::FieldName::kArcSeal ||
         field.name == mail::FieldName::kArcMessageSignature ||
         field.name == mail::FieldName::kArcAuthenticationResults;
}

}  // namespace

Evaluation::Evaluation(const EvaluationOptions& options, const base::Limits& limits,
                       crypto::Sha256Batch& hashes)
    : options_(options),
      budget_(limits),
      spf_(limits),
      bodies_(hashes),
      dkim_(limits, hashes, &bodies_),
      arc_(limits, hashes, &bodies_),
      dmarc_(limits) {}

void Evaluation::begin(const spf::Request& request) {
  phase_ = Phase::kEnvelope;
  judges_author_ = false;
  has_chain_ = false;
  gave_up_ = false;
  if (options_.spf) spf_.begin(request);
}

void Evaluation::repeat_spf(const spf::OutcomeCache& known, base::MonoTime now) {
  if (!options_.spf) return;
  if (const spf::Outcome* outcome = known.find(spf_, now)) spf_.repeat(*outcome);
}

void Evaluation::remember_spf(spf::OutcomeCache& known, base::MonoTime now) const {
  if (options_.spf) known.put(spf_, now);
}

void Evaluation::header(std::string_view section, std::span<const mail::Field> fields,
                        std::int64_t now_unix_s) {
  MXRING_ASSERT(phase_ == Phase::kEnvelope);
  phase_ = Phase::kMessage;
  MXRING_ASSERT(!has_chain_ && !judges_author_);
  std::string_view author;
  std::optional<dmarc::AuthorError> no_author;
  if (options_.dmarc) {
    const auto found = dmarc::find_author_domain(section, fields, author_);
    if (found) {
      author = *found;
    } else {
      no_author = found.error();
    }
  }
  if (options_.dkim) {
    bodies_.begin();
    dkim_.begin(section, fields, now_unix_s, author);
    has_chain_ = std::ranges::any_of(fields, is_of_chain);
    if (has_chain_) arc_.begin(section, fields, now_unix_s);
  }
  if (!options_.dmarc) return;
  judges_author_ = true;
  if (no_author) {
    dmarc_.begin_without_author(dmarc::describe(*no_author));
  } else {
    dmarc_.begin(author);
    expect_domains();
  }
}

bool Evaluation::wants_body() const {
  return (options_.dkim && dkim_.wants_body()) || (has_chain_ && arc_.wants_body());
}

void Evaluation::body(std::string_view run) {
  MXRING_ASSERT(phase_ == Phase::kMessage);
  if (wants_body()) bodies_.feed(run);
}

void Evaluation::end_of_body() {
  if (wants_body()) bodies_.finish();
}

void Evaluation::abandon() {
  if (phase_ != Phase::kEnvelope && options_.dkim) dkim_.abandon();
  if (has_chain_) arc_.abandon();
  bodies_.begin();
}

bool Evaluation::active(Part part) const {
  switch (part) {
    case Part::kSpf:
      return options_.spf;
    case Part::kDkim:
      return options_.dkim && phase_ != Phase::kEnvelope;
    case Part::kArc:
      return has_chain_;
    case Part::kDmarc:
      return judges_author_;
  }
  return false;
}

template <typename Self, typename F>
decltype(auto) Evaluation::with(Self& self, Part part, F&& f) {
  switch (part) {
    case Part::kSpf:
      return f(self.spf_);
    case Part::kDkim:
      return f(self.dkim_);
    case Part::kArc:
      return f(self.arc_);
    case Part::kDmarc:
      break;
  }
  return f(self.dmarc_);
}

bool Evaluation::step(Part part) {
  if (!active(part)) return true;
  bool idle = with(*this, part, [](auto& machine) { return machine.step(); });
  if (!idle && gave_up_) {
    give_up(part);
    idle = true;
  }
  if (part == Part::kDmarc && phase_ == Phase::kConcluded && idle) phase_ = Phase::kDone;
  return idle;
}

std::span<const dns::Question> Evaluation::questions(Part part) const {
  return with(*this, part, [](const auto& machine) { return machine.questions(); });
}

void Evaluation::supply(Part part, const dns::Question& question, dns::AnswerPtr answer,
                        bool known) {
  if (part == Part::kSpf) return spf_.supply(question, std::move(answer), known);
  with(*this, part, [&](auto& machine) { machine.supply(question, std::move(answer)); });
}

void Evaluation::give_up(Part part) {
  if (!active(part)) return;
  with(*this, part, [](auto& machine) {
    machine.give_up();
    machine.step();
  });
}

void Evaluation::give_up() {
  for (const Part part : kParts) give_up(part);
  // A client that dawdles before its message takes nothing from DKIM and DMARC, which have not
  // asked yet.
  if (phase_ == Phase::kEnvelope) return;
  // Whatever alignment asks from now on gets no answer either.
  gave_up_ = true;
  if (phase_ == Phase::kConcluded) phase_ = Phase::kDone;
}

void Evaluation::collect(std::vector<crypto::RsaCheck*>& checks) {
  MXRING_ASSERT(phase_ == Phase::kMessage);
  dkim::ProofBudget budget = budget_;  // of the message; what the verdict depends on comes first
  if (options_.dkim) dkim_.collect(checks, budget);
  if (has_chain_) arc_.collect(checks, budget);
}

void Evaluation::conclude() {
  MXRING_ASSERT(phase_ == Phase::kMessage);
  if (options_.dkim) dkim_.conclude();
  if (has_chain_) arc_.conclude();
  if (!judges_author_) {
    phase_ = Phase::kDone;
    return;
  }
  MXRING_ASSERT(phase_ == Phase::kMessage && options_.dmarc);
  phase_ = Phase::kConcluded;
  align();
}

// So that questions for their alignment go out while the body is still coming.
void Evaluation::expect_domains() {
  if (options_.spf) dmarc_.expect(spf_.outcome().domain);
  if (!options_.dkim) return;
  for (const dkim::SignatureResult& signature : dkim_.signatures()) dmarc_.expect(signature.domain);
}

// DMARC looks at what passed. l= vouches for part of a body only, so it vouches for nothing; a key
// in testing mode (t=y) that passes is a pass, as everybody has it.
void Evaluation::align() {
  using Method = dmarc::Authenticated::Method;
  authenticated_.clear();
  const auto add = [this](Method method, Result result, std::string_view domain, bool not_asked) {
    MXRING_ASSERT(!not_asked || result == Result::kTemperror);
    if (result != Result::kPass && result != Result::kTemperror) return;
    authenticated_.push_back({.method = method,
                              .domain = domain,
                              .undecided = result == Result::kTemperror,
                              .not_asked = not_asked});
  };
  if (options_.spf) {
    const spf::Outcome& spf = spf_.outcome();
    add(Method::kSpf, spf.result, spf.domain, spf.not_asked);
  }
  if (options_.dkim) {
    for (const dkim::SignatureResult& signature : dkim_.signatures()) {
      if (signature.body_limited) continue;
      add(Method::kDkim, signature.result, signature.domain, signature.not_asked);
    }
  }
  dmarc_.authenticated(authenticated_);
}

}  // namespace mxring::mailauth
