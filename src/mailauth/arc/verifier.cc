// Of a chain of n sets there are 2n proofs to check: the newest message signature, all seals, and
// for oldest_pass the other message signatures, which may fail without failing the chain.
#include "mailauth/arc/verifier.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "base/assert.h"
#include "base/text.h"
#include "crypto/ed25519.h"
#include "mailauth/arc/arc_set.h"
#include "mailauth/dkim/body_canon.h"
#include "mailauth/dkim/header_canon.h"
#include "mailauth/dkim/header_hasher.h"
#include "mailauth/dkim/key_record.h"
#include "mailauth/dkim/signature.h"

namespace mxring::mailauth::arc {

namespace {

// A buffer above this is given back when the message is done.
constexpr std::size_t kKeptBytes = 32 * 1024;

// One canonical form of the whole body and its hash.
class BodyHash final : public dkim::PieceSink {
 public:
  BodyHash(dkim::Canonicalization canonicalization, crypto::Sha256Batch& hashes)
      : canonicalization_(canonicalization), hashes_(hashes) {}

  void begin() {
    canon_ = dkim::BodyCanon(canonicalization_);
    stream_.reset();
    wanted_ = false;
  }
  void want() { wanted_ = true; }
  void feed(std::string_view run) {
    if (wanted_) canon_.feed(run, *this);
  }
  void finish() {
    if (!wanted_) return;
    canon_.finish(*this);
    hashes_.finish(stream_);
  }
  void take(std::string_view piece) override { hashes_.append(stream_, piece); }
  const crypto::Sha256Stream& stream() const { return stream_; }

 private:
  dkim::Canonicalization canonicalization_;
  crypto::Sha256Batch& hashes_;
  dkim::BodyCanon canon_;
  crypto::Sha256Stream stream_;
  bool wanted_ = false;
};

enum class Stage : std::uint8_t { kKeyMissing, kKeyed, kChecking, kHolds, kBroken };

// One seal or message signature until it is known whether it holds.
struct Proof {
  Stage stage = Stage::kBroken;
  bool required = true;   // the chain fails without it
  std::string_view what;  // "the newest ARC-Message-Signature", for the reason
  dkim::Algorithm algorithm = dkim::Algorithm::kRsaSha256;
  dns::Name key_name;
  const BodyHash* body = nullptr;
  crypto::Sha256Digest body_hash{};
  crypto::Sha256Stream header_hash;
  std::string signature;
  std::shared_ptr<const dkim::KeySet> keys;
  std::array<const dkim::Key*, dkim::kKeysTried> fitting{};
  std::array<crypto::RsaCheck, dkim::kKeysTried> checks;
  std::size_t keys_fitting = 0;
};

}  // namespace

struct Verifier::State {
  State(const base::Limits& all_limits, crypto::Sha256Batch& batch)
      : limits(all_limits),
        hashes(batch),
        headers(batch),
        simple(dkim::Canonicalization::kSimple, batch),
        relaxed(dkim::Canonicalization::kRelaxed, batch) {}

  void start_over();
  void add_all();
  Proof& next_proof(bool required, std::string_view what);
  void add_message_signature(std::uint32_t instance);
  void add_seal(std::uint32_t instance);
  void hash_seal(std::uint32_t instance, const dkim::Signature& read, Proof& proof);
  std::string_view relaxed_form(std::uint32_t field);
  void want_key(Proof& proof);
  void take_keys(Proof& proof, const dns::Answer& answer);
  void check(Proof& proof, std::vector<crypto::RsaCheck*>& checks);
  void refuse(Proof& proof, std::string_view problem);
  void fail(std::string_view what, std::string_view problem = {});
  bool running() const { return active && outcome.result == Result::kNone; }

  base::Limits limits;
  crypto::Sha256Batch& hashes;
  dkim::HeaderHasher headers;
  BodyHash simple;
  BodyHash relaxed;
  dkim::SignatureParser parser;
  dkim::Signature read;  // the one being read
  Chain chain;
  std::string_view header;
  std::span<const mail::Field> fields;
  bool active = false;  // there is a chain

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

Verifier::Verifier(const base::Limits& limits, crypto::Sha256Batch& hashes)
    : state_(std::make_unique<State>(limits, hashes)) {}
Verifier::~Verifier() = default;

void Verifier::State::start_over() {
  for (std::size_t i = 0; i < used; ++i) {
    proofs[i]->header_hash.reset();
    proofs[i]->keys.reset();
  }
  simple.begin();
  relaxed.begin();
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

void Verifier::begin(std::string_view header_section, std::span<const mail::Field> fields) {
  State& s = *state_;
  s.start_over();
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
  for (std::uint32_t i = sets - 1; i >= 1 && running(); --i) add_message_signature(i);
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
  if (used == proofs.size()) proofs.push_back(std::make_unique<Proof>());
  Proof& proof = *proofs[used++];
  proof.stage = Stage::kKeyMissing;
  proof.required = required;
  proof.what = what;
  proof.body = nullptr;
  proof.keys_fitting = 0;
  proof.header_hash.reset();
  return proof;
}

void Verifier::State::add_message_signature(std::uint32_t instance) {
  const std::uint32_t own = chain.set(instance).message_signature;
  Proof& proof =
      next_proof(instance == chain.size(), "the newest ARC-Message-Signature does not hold");
  const auto problem = parser.parse(value_of(header, fields[own]), read, proof.signature,
                                    dkim::SignatureKind::kArcMessage);
  if (problem) return refuse(proof, problem->what);
  if (read.algorithm == dkim::Algorithm::kRsaSha1) return refuse(proof, "rsa-sha1 proves nothing");
  if (read.body_bytes) return refuse(proof, "l= would leave part of the body unsigned");
  BodyHash& body = read.body == dkim::Canonicalization::kSimple ? simple : relaxed;
  body.want();
  proof.body = &body;
  proof.body_hash = read.body_hash;
  headers.add(read, own, proof.header_hash);
  want_key(proof);
}

void Verifier::State::add_seal(std::uint32_t instance) {
  Proof& proof = next_proof(true, "an ARC-Seal does not hold");
  const mail::Field& field = fields[chain.set(instance).seal];
  const auto problem =
      parser.parse(value_of(header, field), read, proof.signature, dkim::SignatureKind::kArcSeal);
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
  hashes.append(proof.header_hash, {buffer.get(), covered[instance - 1]});
  hashes.append(proof.header_hash, {begin, bytes});
  hashes.finish(proof.header_hash);
}

void Verifier::State::want_key(Proof& proof) {
  proof.algorithm = read.algorithm;
  const auto name = dkim::key_name(read.selector, read.domain);
  if (!name) return refuse(proof, "s= and d= are too long for a name");
  proof.key_name = *name;
  const dns::Question question{*name, dns::Type::kTxt};
  if (std::ranges::find(questions, question) != questions.end()) return;
  if (questions.size() == kKeyNamesMax) {
    return refuse(proof, "more keys than a chain may ask for");
  }
  questions.push_back(question);
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
    if (proof.stage == Stage::kKeyMissing && proof.key_name == question.name) {
      s.take_keys(proof, *answer);
    }
  }
}

void Verifier::give_up() {
  State& s = *state_;
  s.missing = 0;
  for (std::size_t i = 0; i < s.used && s.running(); ++i) {
    if (s.proofs[i]->stage == Stage::kKeyMissing) {
      s.refuse(*s.proofs[i], "the key did not come in time");
    }
  }
}

void Verifier::State::take_keys(Proof& proof, const dns::Answer& answer) {
  if (answer.is_failure()) return refuse(proof, "no answer from DNS about the key");
  if (answer.is_void()) return refuse(proof, "no key");
  proof.keys = dkim::KeySet::of(answer);
  std::string_view problem = proof.keys->problem().what;
  for (const dkim::Key& key : proof.keys->keys()) {
    if (const auto unfit = dkim::unfit_for(key, proof.algorithm, limits)) {
      problem = unfit->what;
      continue;
    }
    proof.fitting[proof.keys_fitting++] = &key;
    if (proof.keys_fitting == dkim::kKeysTried) break;
  }
  if (proof.keys_fitting == 0) return refuse(proof, problem);
  proof.stage = Stage::kKeyed;
}

void Verifier::body(std::string_view run) {
  State& s = *state_;
  if (!s.running()) return;
  s.simple.feed(run);
  s.relaxed.feed(run);
}

void Verifier::end_of_body() {
  State& s = *state_;
  if (!s.running()) return;
  s.simple.finish();
  s.relaxed.finish();
}

void Verifier::abandon() {
  state_->start_over();
}

// The body's hashes decide first: a chain whose message was changed needs no public-key operation.
void Verifier::collect(std::vector<crypto::RsaCheck*>& checks) {
  State& s = *state_;
  MXRING_ASSERT(s.missing == 0);
  for (std::size_t i = 0; i < s.used && s.running(); ++i) {
    Proof& proof = *s.proofs[i];
    if (proof.stage != Stage::kKeyed || proof.body == nullptr) continue;
    MXRING_ASSERT(proof.body->stream().finished());
    if (proof.body->stream().digest() != proof.body_hash) {
      s.refuse(proof, "body hash did not verify");
    }
  }
  for (std::size_t i = 0; i < s.used && s.running(); ++i) {
    if (s.proofs[i]->stage == Stage::kKeyed) s.check(*s.proofs[i], checks);
  }
}

void Verifier::State::check(Proof& proof, std::vector<crypto::RsaCheck*>& checks) {
  MXRING_ASSERT(proof.header_hash.finished());
  const crypto::Sha256Digest& digest = proof.header_hash.digest();
  if (proof.algorithm == dkim::Algorithm::kEd25519Sha256) {
    const std::string_view message(reinterpret_cast<const char*>(digest.data()), digest.size());
    const bool holds =
        std::any_of(proof.fitting.begin(), proof.fitting.begin() + proof.keys_fitting,
                    [&](const dkim::Key* key) {
                      return crypto::ed25519_verify(key->ed25519, proof.signature, message);
                    });
    if (!holds) return refuse(proof, "signature did not verify");
    proof.stage = Stage::kHolds;
    return;
  }
  proof.stage = Stage::kChecking;
  for (std::size_t k = 0; k < proof.keys_fitting; ++k) {
    proof.checks[k] = {.key = &*proof.fitting[k]->rsa,
                       .signature = proof.signature,
                       .digest = digest,
                       .valid = false};
    checks.push_back(&proof.checks[k]);
  }
}

void Verifier::conclude() {
  State& s = *state_;
  for (std::size_t i = 0; i < s.used; ++i) {
    Proof& proof = *s.proofs[i];
    if (proof.stage == Stage::kChecking) {
      const bool valid =
          std::any_of(proof.checks.begin(), proof.checks.begin() + proof.keys_fitting,
                      [](const crypto::RsaCheck& check) { return check.valid; });
      proof.stage = Stage::kHolds;
      if (!valid) s.refuse(proof, "signature did not verify");
    }
    proof.keys.reset();
    // Not needed any more, and perhaps never flushed: the buffer it points into goes.
    if (!proof.header_hash.finished()) proof.header_hash.reset();
  }
  if (s.running()) {
    s.outcome.result = Result::kPass;
    // The message signatures below the newest come last, the newer ones first.
    std::uint32_t instance = s.chain.size() - 1;
    for (std::size_t i = s.chain.size() + 1; i < s.used; ++i, --instance) {
      if (s.proofs[i]->stage == Stage::kHolds) continue;
      s.outcome.oldest_pass = instance + 1;
      break;
    }
  }
  s.headers.release();
}

const Outcome& Verifier::outcome() const {
  return state_->outcome;
}

void Verifier::State::refuse(Proof& proof, std::string_view problem) {
  proof.stage = Stage::kBroken;
  if (proof.required) fail(proof.what, problem);
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
