// Of a chain of n sets there are 2n proofs to check: the newest message signature, all seals, and
// for oldest_pass the other message signatures, which may fail without failing the chain.
#include "mailauth/arc/verifier.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "base/assert.h"
#include "mailauth/arc/arc_set.h"
#include "mailauth/dkim/body_hashes.h"
#include "mailauth/dkim/header_canon.h"
#include "mailauth/dkim/header_hasher.h"
#include "mailauth/dkim/key_proof.h"
#include "mailauth/dkim/signature.h"

namespace mxring::mailauth::arc {

namespace {

// A buffer above this is given back when the message is done.
constexpr std::size_t kKeptBytes = 32 * 1024;
static_assert(kSetsChecked + 1 <= kProofsMax && kSetsChecked <= kSetsMax);

using Stage = dkim::KeyProof::Stage;

// One seal or message signature until it is known whether it holds.
struct Proof {
  dkim::KeyProof key;
  bool required = true;   // the chain fails without it
  bool holds = false;     // once it is decided
  std::string_view what;  // "the newest ARC-Message-Signature", for the reason
  const dkim::BodyForm* body = nullptr;
  std::optional<std::uint64_t> body_bytes;  // l=
  crypto::Sha256Digest body_hash{};
};

}  // namespace

struct Verifier::State {
  State(const base::Limits& all_limits, crypto::Sha256Batch& batch, dkim::BodyHashes* shared)
      : limits(all_limits),
        hashes(batch),
        headers(batch),
        own_bodies(batch),
        shared_bodies(shared) {}

  dkim::BodyHashes& bodies() { return shared_bodies != nullptr ? *shared_bodies : own_bodies; }

  void start_over();
  void add_all();
  Proof& next_proof(bool required, std::string_view what);
  void add_message_signature(std::uint32_t instance);
  void add_seal(std::uint32_t instance);
  void hash_seal(std::uint32_t instance, const dkim::Signature& read, Proof& proof);
  std::string_view relaxed_form(std::uint32_t field);
  std::optional<std::string_view> refusal() const;
  void want_key(Proof& proof);
  std::optional<std::string_view> body_problem(const Proof& proof) const;
  void refuse(Proof& proof, std::string_view problem);
  void tell(Proof& proof, const std::optional<dkim::Problem>& problem);
  void invariants() const;
  void fail(std::string_view what, std::string_view problem = {});
  bool running() const { return active && outcome.result == Result::kNone; }

  base::Limits limits;
  crypto::Sha256Batch& hashes;
  dkim::HeaderHasher headers;
  dkim::BodyHashes own_bodies;
  dkim::BodyHashes* shared_bodies;
  dkim::SignatureParser parser;
  dkim::Signature read;  // the one being read
  Chain chain;
  std::string_view header;
  std::span<const mail::Field> fields;
  bool active = false;  // there is a chain
  std::int64_t now_unix_s = 0;

  // The newest message signature, the seals, the other message signatures, from the newest set to
  // the oldest; the first `used` of them mean something.
  std::vector<std::unique_ptr<Proof>> proofs;
  std::size_t used = 0;
  std::vector<dns::Question> questions;
  std::vector<bool> answered;
  std::size_t missing = 0;

  // The relaxed forms of the chain's fields in the order in which seals cover them, so that what
  // the seal of any instance covers before itself is one stretch; the seals' own forms behind them.
  std::unique_ptr<char[]> buffer;
  std::size_t buffer_bytes = 0;
  std::size_t buffer_used = 0;
  std::array<std::size_t, kSetsMax> covered{};  // by a seal, before its own form
  Outcome outcome;
};

Verifier::Verifier(const base::Limits& limits, crypto::Sha256Batch& hashes,
                   dkim::BodyHashes* shared)
    : state_(std::make_unique<State>(limits, hashes, shared)) {}
Verifier::~Verifier() = default;

void Verifier::State::start_over() {
  for (std::size_t i = 0; i < used; ++i) proofs[i]->key.begin();
  own_bodies.begin();
  headers.release();
  if (buffer_bytes > kKeptBytes) {
    buffer.reset();
    buffer_bytes = 0;
  }
  used = 0;
  questions.clear();
  answered.clear();
  missing = 0;
  active = false;
}

void Verifier::begin(std::string_view header_section, std::span<const mail::Field> fields,
                     std::int64_t now_unix_s) {
  State& s = *state_;
  s.start_over();
  s.now_unix_s = now_unix_s;
  s.outcome.result = Result::kNone;
  s.outcome.reason.clear();
  s.outcome.sealer.clear();
  s.outcome.oldest_pass = 0;
  s.header = header_section;
  s.fields = fields;
  const auto problem = s.chain.collect(header_section, fields);
  s.outcome.sets = s.chain.size();
  s.active = problem || s.chain.size() != 0;
  if (problem) {
    s.fail(*problem);
  } else if (s.chain.size() > kSetsChecked) {
    s.fail("more ARC sets than are checked here");
  } else if (s.active) {
    s.headers.begin(header_section, fields);
    s.add_all();
  }
  s.missing = s.running() ? s.questions.size() : 0;
  s.answered.assign(s.questions.size(), false);
}

bool Verifier::wants_body() const {
  return state_->running();
}

// What the chain cannot do without is asked for first: the keys for oldest_pass get what is left.
void Verifier::State::add_all() {
  const std::uint32_t sets = chain.size();
  std::size_t bytes = 0;
  for (std::uint32_t i = 1; i <= sets; ++i) {
    for (const std::uint32_t field :
         {chain.set(i).results, chain.set(i).message_signature, chain.set(i).seal}) {
      bytes += fields[field].end - fields[field].begin + dkim::kSlackBytes;
    }
  }
  // Every seal once as a covered field and once as its own.
  if (2 * bytes > buffer_bytes) {
    buffer = std::make_unique_for_overwrite<char[]>(2 * bytes);
    buffer_bytes = 2 * bytes;
  }
  buffer_used = 0;
  for (std::uint32_t i = 1; i <= sets; ++i) {
    relaxed_form(chain.set(i).results);
    relaxed_form(chain.set(i).message_signature);
    covered[i - 1] = buffer_used;
    relaxed_form(chain.set(i).seal);
  }
  add_message_signature(sets);
  for (std::uint32_t i = sets; i >= 1 && running(); --i) add_seal(i);
  for (std::uint32_t i = sets - 1; i >= 1 && running() && used < kProofsMax; --i) {
    add_message_signature(i);
  }
}

std::string_view Verifier::State::relaxed_form(std::uint32_t field) {
  const mail::Field& f = fields[field];
  char* begin = buffer.get() + buffer_used;
  const char* end =
      dkim::relax_field(header.substr(f.begin, f.name_bytes), value_of(header, f), begin);
  const auto bytes = static_cast<std::size_t>(end - begin);
  buffer_used += bytes;
  return {begin, bytes};
}

Proof& Verifier::State::next_proof(bool required, std::string_view what) {
  MXRING_ASSERT(used < kProofsMax);
  if (used == proofs.size()) proofs.push_back(std::make_unique<Proof>());
  Proof& proof = *proofs[used++];
  proof.key.begin();
  proof.required = required;
  proof.holds = false;
  proof.what = what;
  proof.body = nullptr;
  return proof;
}

// What makes a well-formed message signature worthless (RFC 8617 4.1.2, RFC 6376 3.5 x=).
std::optional<std::string_view> Verifier::State::refusal() const {
  if (read.algorithm == dkim::Algorithm::kRsaSha1) return "rsa-sha1 proves nothing";
  if (dkim::list_contains(read.signed_fields, "arc-seal")) return "h= names ARC-Seal";
  const auto now = static_cast<std::uint64_t>(std::max<std::int64_t>(now_unix_s, 0));
  if (read.expires_at && now > *read.expires_at) return "the signature has expired";
  return std::nullopt;
}

void Verifier::State::add_message_signature(std::uint32_t instance) {
  const std::uint32_t own = chain.set(instance).message_signature;
  Proof& proof =
      next_proof(instance == chain.size(), "the newest ARC-Message-Signature does not hold");
  const auto problem = parser.parse(value_of(header, fields[own]), read, proof.key.signature(),
                                    dkim::SignatureKind::kArcMessage);
  if (problem) return refuse(proof, problem->what);
  if (const auto why = refusal()) return refuse(proof, *why);
  dkim::BodyForm& body = bodies().form(read.body);
  body.want(dkim::kWholeBody);
  proof.body = &body;
  proof.body_bytes = read.body_bytes;
  proof.body_hash = read.body_hash;
  headers.add(read, own, proof.key.header_hash());
  want_key(proof);
}

void Verifier::State::add_seal(std::uint32_t instance) {
  Proof& proof = next_proof(true, "an ARC-Seal does not hold");
  const mail::Field& field = fields[chain.set(instance).seal];
  const auto problem = parser.parse(value_of(header, field), read, proof.key.signature(),
                                    dkim::SignatureKind::kArcSeal);
  if (instance == chain.size() && !read.domain.is_root()) {
    outcome.sealer = read.domain.to_text();
  }
  if (problem) return refuse(proof, problem->what);
  if (read.algorithm == dkim::Algorithm::kRsaSha1) return refuse(proof, "rsa-sha1 proves nothing");
  hash_seal(instance, read, proof);
  want_key(proof);
}

// RFC 8617 5.1.1: the sets in order, in relaxed form, up to the seal itself without its b=.
void Verifier::State::hash_seal(std::uint32_t instance, const dkim::Signature& signature,
                                Proof& proof) {
  const mail::Field& field = fields[chain.set(instance).seal];
  char* begin = buffer.get() + buffer_used;
  const char* end = dkim::relax_own_field(header.substr(field.begin, field.name_bytes),
                                          value_of(header, field), signature.signature_raw, begin);
  const auto bytes = static_cast<std::size_t>(end - begin);
  buffer_used += bytes;
  MXRING_ASSERT(buffer_used <= buffer_bytes);
  crypto::Sha256Stream& stream = proof.key.header_hash();
  hashes.append(stream, {buffer.get(), covered[instance - 1]});
  hashes.append(stream, {begin, bytes});
  hashes.finish(stream);
}

void Verifier::State::want_key(Proof& proof) {
  if (const auto problem = proof.key.want_key(read)) return tell(proof, problem);
  const dns::Question question{proof.key.key_name(), dns::Type::kTxt};
  if (std::ranges::find(questions, question) != questions.end()) return;
  if (questions.size() == kKeyNamesMax) {
    return refuse(proof, "more keys than a chain may ask for");
  }
  questions.push_back(question);
}

void Verifier::State::invariants() const {
  MXRING_ASSERT(used <= kProofsMax && used <= proofs.size());
  MXRING_ASSERT(questions.size() <= kKeyNamesMax && answered.size() == questions.size());
  MXRING_ASSERT(missing <= questions.size() && (missing == 0 || running()));
  MXRING_ASSERT(buffer_used <= buffer_bytes);
  // What failed says why, and only that.
  MXRING_ASSERT(outcome.reason.empty() == (outcome.result != Result::kFail));
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
  if (found == s.questions.end() || s.missing == 0) return;
  const auto at = static_cast<std::size_t>(found - s.questions.begin());
  if (s.answered[at]) return;
  s.answered[at] = true;
  --s.missing;
  for (std::size_t i = 0; i < s.used && s.running(); ++i) {
    Proof& proof = *s.proofs[i];
    if (proof.key.stage() == Stage::kKeyMissing && proof.key.key_name() == question.name) {
      if (const auto problem = proof.key.take_keys(*answer, s.limits)) s.tell(proof, problem);
    }
  }
  s.invariants();
}

void Verifier::give_up() {
  State& s = *state_;
  s.missing = 0;
  for (std::size_t i = 0; i < s.used && s.running(); ++i) {
    if (s.proofs[i]->key.stage() == Stage::kKeyMissing) {
      s.refuse(*s.proofs[i], "the key did not come in time");
    }
  }
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
  dkim::ProofBudget budget(state_->limits);
  collect(checks, budget);
}

// The body's hashes decide first: a chain whose message was changed needs no public-key operation.
void Verifier::collect(std::vector<crypto::RsaCheck*>& checks, dkim::ProofBudget& budget) {
  State& s = *state_;
  MXRING_ASSERT(s.missing == 0);
  for (std::size_t i = 0; i < s.used && s.running(); ++i) {
    Proof& proof = *s.proofs[i];
    if (proof.key.stage() != Stage::kKeyed || proof.body == nullptr) continue;
    if (const auto problem = s.body_problem(proof)) s.refuse(proof, *problem);
  }
  for (std::size_t i = 0; i < s.used && s.running(); ++i) {
    Proof& proof = *s.proofs[i];
    if (proof.key.stage() != Stage::kKeyed) continue;
    const auto problem = proof.key.check(checks, budget);
    if (proof.key.stage() == Stage::kDecided) s.tell(proof, problem);
  }
}

// l= holds when it is the whole body, and nothing is left unsigned.
std::optional<std::string_view> Verifier::State::body_problem(const Proof& proof) const {
  if (proof.body_bytes && *proof.body_bytes != proof.body->bytes()) {
    return *proof.body_bytes < proof.body->bytes() ? "l= leaves part of the body unsigned"
                                                   : "the body is shorter than l= says";
  }
  if (proof.body->digest(dkim::kWholeBody) != proof.body_hash) return "body hash did not verify";
  return std::nullopt;
}

void Verifier::conclude() {
  State& s = *state_;
  for (std::size_t i = 0; i < s.used; ++i) {
    Proof& proof = *s.proofs[i];
    if (proof.key.stage() == Stage::kChecking) s.tell(proof, proof.key.conclude());
    if (proof.key.stage() != Stage::kDecided) proof.key.decide();  // the chain had failed before
    proof.key.release();
  }
  if (s.running()) {
    s.outcome.result = Result::kPass;
    // The message signatures below the newest come last, the newer ones first. What was not looked
    // at is not known to hold.
    const std::size_t required = s.chain.size() + std::size_t{1};
    std::uint32_t instance = s.chain.size();
    for (std::size_t i = required; i < s.used && s.proofs[i]->holds; ++i) --instance;
    s.outcome.oldest_pass = instance == 1 ? 0 : instance;
  }
  s.invariants();
  s.headers.release();
}

const Outcome& Verifier::outcome() const {
  return state_->outcome;
}

void Verifier::State::refuse(Proof& proof, std::string_view problem) {
  proof.key.decide();
  tell(proof, dkim::Problem{Result::kFail, problem, {}});
}

// The proof's key is decided.
void Verifier::State::tell(Proof& proof, const std::optional<dkim::Problem>& problem) {
  MXRING_ASSERT(proof.key.stage() == Stage::kDecided);
  proof.holds = !problem;
  if (problem && proof.required) fail(proof.what, problem->what);
}

// The first reason stands.
void Verifier::State::fail(std::string_view what, std::string_view problem) {
  if (outcome.result == Result::kFail) return;
  outcome.result = Result::kFail;
  missing = 0;
  outcome.reason = what;
  if (problem.empty()) return;
  outcome.reason += ": ";
  outcome.reason += problem;
}

}  // namespace mxring::mailauth::arc
