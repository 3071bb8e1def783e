// A signature is read, its header hashed and its key asked for in begin(); KeyProof has its stages.
// What is decided has its result; `undecided` counts the others.
#include "mailauth/dkim/verifier.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/assert.h"
#include "base/text.h"
#include "mailauth/dkim/body_hashes.h"
#include "mailauth/dkim/header_hasher.h"
#include "mailauth/dkim/key_proof.h"
#include "mailauth/dkim/key_record.h"
#include "mailauth/dkim/signature.h"

namespace mxring::mailauth::dkim {

namespace {

// Different l= of a message.
constexpr std::size_t kLimitedBodiesMax = 2;
constexpr std::size_t kSignatureStartDigits = 12;  // RFC 6008 4 asks for 8 or more

// What is kept of one signature until it is decided.
struct Candidate {
  KeyProof proof;
  BodyForm* form = nullptr;
  std::uint64_t bytes_max = kWholeBody;  // l=
  bool near = false;                     // to the author's domain
  crypto::Sha256Digest body_hash{};      // bh=
};

// How many labels from the right two domains share; one more when they are the same.
std::size_t nearness(std::string_view domain, std::string_view author) {
  if (domain.ends_with('.')) domain.remove_suffix(1);
  if (author.empty() || domain.empty()) return 0;
  if (base::ascii_iequals(domain, author)) return SIZE_MAX;
  std::size_t labels = 0;
  for (;;) {
    const std::size_t a = domain.rfind('.') + 1;  // 0: the last label to be compared
    const std::size_t b = author.rfind('.') + 1;
    if (!base::ascii_iequals(domain.substr(a), author.substr(b))) return labels;
    ++labels;
    if (a == 0 || b == 0) return labels;
    domain = domain.substr(0, a - 1);
    author = author.substr(0, b - 1);
  }
}
// Sharing a top-level domain is no relation.
constexpr std::size_t kNearLabels = 2;

void append_lower(std::string& out, std::string_view text) {
  for (const char c : text) out += base::ascii_lower(c);
}

}  // namespace

struct Verifier::State {
  State(const base::Limits& all_limits, crypto::Sha256Batch& batch, BodyHashes* shared)
      : limits(all_limits), headers(batch), own_bodies(batch), shared_bodies(shared) {}

  BodyHashes& bodies() { return shared_bodies != nullptr ? *shared_bodies : own_bodies; }

  void choose(std::string_view header, std::span<const mail::Field> fields);
  void add(std::string_view header, std::span<const mail::Field> fields, std::uint32_t own);
  void describe(const Signature& signature, SignatureResult& result);
  std::optional<Problem> refusal(const Signature& signature) const;
  std::optional<Problem> want_body(Candidate& candidate, const Signature& signature);
  void want_key(std::size_t i, const Signature& signature);
  void take_keys(std::size_t i, const dns::Answer& answer);
  std::optional<Problem> body_problem(std::size_t i);
  void check(std::size_t i, std::vector<crypto::RsaCheck*>& checks, ProofBudget& budget);
  void refuse(std::size_t i, const Problem& problem);
  void tell(std::size_t i, const Problem& problem);
  void tell_outcome(std::size_t i, const std::optional<Problem>& problem);
  void invariants() const;
  void start_over();

  base::Limits limits;
  HeaderHasher headers;
  BodyHashes own_bodies;
  BodyHashes* shared_bodies;
  SignatureParser parser;
  Signature signature;  // the one being read
  std::int64_t now_unix_s = 0;
  std::string_view author;  // until begin() returns
  struct Choice {
    std::size_t nearness;
    std::uint32_t field;
  };
  std::vector<Choice> chosen;
  std::vector<Tag> tags;
  // Of both the first `used` mean something; the others are kept for their memory.
  std::vector<std::unique_ptr<Candidate>> candidates;
  std::vector<SignatureResult> results;
  std::size_t used = 0;
  std::size_t undecided = 0;
  std::size_t limited_bodies = 0;
  std::vector<dns::Question> questions;
  std::size_t near_questions = 0;  // the first ones
  std::vector<bool> answered;
  std::size_t missing = 0;
};

Verifier::Verifier(const base::Limits& limits, crypto::Sha256Batch& hashes, BodyHashes* shared)
    : state_(std::make_unique<State>(limits, hashes, shared)) {}

Verifier::~Verifier() = default;

void Verifier::State::start_over() {
  for (std::size_t i = 0; i < used; ++i) candidates[i]->proof.begin();
  own_bodies.begin();
  headers.release();
  used = undecided = limited_bodies = 0;
  questions.clear();
  near_questions = 0;
  answered.clear();
  missing = 0;
}

void Verifier::begin(std::string_view header_section, std::span<const mail::Field> fields,
                     std::int64_t now_unix_s, std::string_view author) {
  State& s = *state_;
  s.start_over();
  s.now_unix_s = now_unix_s;
  s.author = author;
  s.choose(header_section, fields);
  if (!s.chosen.empty()) s.headers.begin(header_section, fields);
  for (const State::Choice& choice : s.chosen) s.add(header_section, fields, choice.field);
  s.author = {};
  s.missing = s.questions.size();
  s.answered.assign(s.questions.size(), false);
  s.invariants();
}

// Which fields are tried, in the order of the message.
void Verifier::State::choose(std::string_view header, std::span<const mail::Field> fields) {
  chosen.clear();
  for (std::uint32_t i = 0; i < fields.size(); ++i) {
    if (fields[i].name == mail::FieldName::kDkimSignature) chosen.push_back({0, i});
  }
  if (chosen.size() <= limits.dkim_signatures) return;
  for (Choice& choice : chosen) {
    const mail::Field& field = fields[choice.field];
    if (parse_tag_list(header.substr(field.value, field.end - field.value), tags)) continue;
    const Tag* domain = find_tag(tags, "d");
    if (domain != nullptr) choice.nearness = nearness(domain->value, author);
  }
  std::ranges::sort(chosen, [](const Choice& a, const Choice& b) {
    return a.nearness != b.nearness ? a.nearness > b.nearness : a.field < b.field;
  });
  chosen.resize(limits.dkim_signatures);
  std::ranges::sort(chosen, {}, &Choice::field);
}

bool Verifier::has_signatures() const {
  return state_->used != 0;
}

void Verifier::State::add(std::string_view header, std::span<const mail::Field> fields,
                          std::uint32_t own) {
  if (used == candidates.size()) {
    candidates.push_back(std::make_unique<Candidate>());
    results.emplace_back();
  }
  const std::size_t i = used++;
  ++undecided;
  Candidate& candidate = *candidates[i];
  candidate.proof.begin();
  const mail::Field& field = fields[own];
  std::string_view value = header.substr(field.value, field.end - field.value);
  if (value.ends_with("\r\n")) value.remove_suffix(2);
  auto problem = parser.parse(value, signature, candidate.proof.signature());
  describe(signature, results[i]);
  if (!problem) problem = refusal(signature);
  if (!problem) problem = want_body(candidate, signature);
  if (problem) return refuse(i, *problem);
  headers.add(signature, own, candidate.proof.header_hash());
  want_key(i, signature);
}

// The hash of the body that the signature speaks of.
std::optional<Problem> Verifier::State::want_body(Candidate& candidate, const Signature& read) {
  candidate.form = &bodies().form(read.body);
  candidate.body_hash = read.body_hash;
  const std::uint64_t bytes_max = read.body_bytes.value_or(kWholeBody);
  if (read.body_bytes && !candidate.form->wants(bytes_max)) {
    if (limited_bodies == kLimitedBodiesMax) {
      return Problem{Result::kPolicy, "more different l= than a message needs", {}};
    }
    ++limited_bodies;
  }
  candidate.bytes_max = bytes_max;
  candidate.form->want(bytes_max);
  return std::nullopt;
}

void Verifier::State::describe(const Signature& signature_read, SignatureResult& result) {
  result.result = Result::kNone;
  result.reason.clear();
  result.key_bits = 0;
  result.body_bytes_signed = 0;
  result.body_limited = result.testing = result.not_asked = false;
  const auto name_text = [](const dns::Name& name, std::string& text) {
    // Letters, digits, hyphens and underscores: nothing to escape.
    text.clear();
    for (std::string_view wire = name.wire(); !wire.empty();) {
      const std::size_t bytes = static_cast<std::uint8_t>(wire[0]);
      if (!text.empty()) text += '.';
      text += wire.substr(1, bytes);
      wire.remove_prefix(1 + bytes);
    }
  };
  name_text(signature_read.domain, result.domain);
  name_text(signature_read.selector, result.selector);
  decode_quoted(signature_read.identity_text, result.identity);
  if (result.identity.empty() && !result.domain.empty()) {
    result.identity = '@';
    result.identity += result.domain;
  }
  result.algorithm.clear();
  append_lower(result.algorithm, signature_read.algorithm_text);
  result.signature_start.clear();
  for (const char c : signature_read.signature_text) {
    if (is_folding_space(c)) continue;
    if (result.signature_start.size() == kSignatureStartDigits) break;
    result.signature_start += c;
  }
}

// What makes a well-formed signature worthless without a look at its key.
std::optional<Problem> Verifier::State::refusal(const Signature& read) const {
  if (read.algorithm == Algorithm::kRsaSha1) {
    return Problem{Result::kPolicy, "rsa-sha1 proves nothing any more (RFC 8301)", {}};
  }
  // RFC 6376 3.5, x=. A t= in the future is not held against anybody: clocks differ.
  const auto now = static_cast<std::uint64_t>(std::max<std::int64_t>(now_unix_s, 0));
  if (read.expires_at && now > *read.expires_at) {
    return Problem{Result::kPolicy, "the signature has expired", {}};
  }
  return std::nullopt;
}

void Verifier::State::want_key(std::size_t i, const Signature& read) {
  KeyProof& proof = candidates[i]->proof;
  candidates[i]->near = nearness(results[i].domain, author) >= kNearLabels;
  if (const auto problem = proof.want_key(read)) return tell(i, *problem);
  const dns::Question question{proof.key_name(), dns::Type::kTxt};
  if (std::ranges::find(questions, question) != questions.end()) return;
  const std::size_t place = candidates[i]->near ? near_questions++ : questions.size();
  questions.insert(questions.begin() + static_cast<std::ptrdiff_t>(place), question);
}

void Verifier::State::invariants() const {
  MXRING_ASSERT(undecided <= used && used <= limits.dkim_signatures);
  MXRING_ASSERT(used <= candidates.size() && candidates.size() == results.size());
  MXRING_ASSERT(missing <= questions.size() && near_questions <= questions.size());
  MXRING_ASSERT(answered.size() == questions.size() && questions.size() <= used);
  MXRING_ASSERT(limited_bodies <= kLimitedBodiesMax);
  MXRING_ASSERT(missing == 0 || undecided != 0);
}

bool Verifier::step() {
  return state_->missing == 0;
}

std::span<const dns::Question> Verifier::questions() const {
  return state_->questions;
}

void Verifier::supply(const dns::Question& question, dns::AnswerPtr answer) {
  MXRING_ASSERT(answer != nullptr);
  State& s = *state_;
  const auto found = std::ranges::find(s.questions, question);
  if (found == s.questions.end()) return;
  const auto at = static_cast<std::size_t>(found - s.questions.begin());
  if (s.answered[at]) return;
  s.answered[at] = true;
  --s.missing;
  for (std::size_t i = 0; i < s.used; ++i) {
    const KeyProof& proof = s.candidates[i]->proof;
    if (proof.stage() == KeyProof::Stage::kKeyMissing && proof.key_name() == question.name) {
      s.take_keys(i, *answer);
    }
  }
  s.invariants();
}

void Verifier::give_up() {
  State& s = *state_;
  s.missing = 0;
  for (std::size_t i = 0; i < s.used; ++i) {
    if (s.candidates[i]->proof.stage() != KeyProof::Stage::kKeyMissing) continue;
    s.refuse(i, {Result::kTemperror, "the key did not come in time", {}});
  }
}

void Verifier::State::take_keys(std::size_t i, const dns::Answer& answer) {
  KeyProof& proof = candidates[i]->proof;
  results[i].not_asked = answer.not_asked;
  if (const auto problem = proof.take_keys(answer, limits)) return tell(i, *problem);
  results[i].key_bits = proof.first_key().bits();
  results[i].testing = proof.first_key().testing;
}

bool Verifier::wants_body() const {
  return state_->undecided != 0;
}

void Verifier::body(std::string_view run) {
  State& s = *state_;
  MXRING_ASSERT(s.shared_bodies == nullptr);
  if (wants_body()) s.own_bodies.feed(run);
}

void Verifier::end_of_body() {
  State& s = *state_;
  MXRING_ASSERT(s.shared_bodies == nullptr);
  if (wants_body()) s.own_bodies.finish();
}

void Verifier::abandon() {
  state_->start_over();
}

void Verifier::collect(std::vector<crypto::RsaCheck*>& checks) {
  ProofBudget budget(state_->limits);
  collect(checks, budget);
}

// Those near the author first, because no others count for DMARC.
void Verifier::collect(std::vector<crypto::RsaCheck*>& checks, ProofBudget& budget) {
  State& s = *state_;
  MXRING_ASSERT(s.missing == 0);
  for (const bool near : {true, false}) {
    for (std::size_t i = 0; i < s.used; ++i) {
      const Candidate& candidate = *s.candidates[i];
      if (candidate.near != near || candidate.proof.stage() != KeyProof::Stage::kKeyed) continue;
      s.check(i, checks, budget);
    }
  }
}

void Verifier::State::check(std::size_t i, std::vector<crypto::RsaCheck*>& checks,
                            ProofBudget& budget) {
  Candidate& candidate = *candidates[i];
  if (const auto problem = body_problem(i)) return refuse(i, *problem);
  const auto problem = candidate.proof.check(checks, budget);
  if (candidate.proof.stage() == KeyProof::Stage::kDecided) tell_outcome(i, problem);
}

std::optional<Problem> Verifier::State::body_problem(std::size_t i) {
  const Candidate& candidate = *candidates[i];
  const std::uint64_t bytes = candidate.form->bytes();
  const std::uint64_t bytes_max = candidate.bytes_max;
  results[i].body_bytes_signed = std::min(bytes, bytes_max);
  results[i].body_limited = bytes_max < bytes;
  // RFC 6376 3.5, l=: it must not be more than there is.
  if (bytes_max != kWholeBody && bytes_max > bytes) {
    return Problem{Result::kFail, "the body is shorter than l= says", {}};
  }
  if (candidate.form->digest(bytes_max) != candidate.body_hash) {
    return Problem{Result::kFail, "body hash did not verify", {}};
  }
  return std::nullopt;
}

void Verifier::conclude() {
  State& s = *state_;
  for (std::size_t i = 0; i < s.used; ++i) {
    KeyProof& proof = s.candidates[i]->proof;
    if (proof.stage() == KeyProof::Stage::kChecking) s.tell_outcome(i, proof.conclude());
    proof.release();
  }
  MXRING_ASSERT(s.undecided == 0);
  s.invariants();
  s.headers.release();
}

std::span<const SignatureResult> Verifier::signatures() const {
  return {state_->results.data(), state_->used};
}

void Verifier::State::refuse(std::size_t i, const Problem& problem) {
  candidates[i]->proof.decide();
  tell(i, problem);
}

// The proof is decided.
void Verifier::State::tell(std::size_t i, const Problem& problem) {
  MXRING_ASSERT(candidates[i]->proof.stage() == KeyProof::Stage::kDecided && undecided != 0);
  --undecided;
  results[i].result = problem.result;
  results[i].reason = problem.what;
  if (problem.where.empty()) return;
  results[i].reason += ": ";
  base::append_escaped(results[i].reason, problem.where);
}

void Verifier::State::tell_outcome(std::size_t i, const std::optional<Problem>& problem) {
  tell(i, problem.value_or(Problem{Result::kPass, {}, {}}));
  if (problem) return;
  const Key* maker = candidates[i]->proof.maker();
  MXRING_ASSERT(maker != nullptr);
  results[i].key_bits = maker->bits();
  results[i].testing = maker->testing;
}

}  // namespace mxring::mailauth::dkim
