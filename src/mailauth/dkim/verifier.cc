// A signature goes from kKeyMissing (parsed, its header hashed, its key asked for) to kKeyed (keys
// that fit were found) to kDecided; every refusal goes to kDecided at once.
#include "mailauth/dkim/verifier.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "base/assert.h"
#include "base/text.h"
#include "crypto/ed25519.h"
#include "mailauth/dkim/body_canon.h"
#include "mailauth/dkim/header_hasher.h"
#include "mailauth/dkim/key_record.h"
#include "mailauth/dkim/signature.h"

namespace mxring::mailauth::dkim {

namespace {

constexpr std::uint64_t kWholeBody = std::numeric_limits<std::uint64_t>::max();
constexpr std::size_t kSignatureStartDigits = 12;  // RFC 6008 4 asks for 8 or more

// One hash of the body, for all signatures that ask for the same.
struct BodyHash {
  std::uint64_t bytes_max = kWholeBody;  // l=
  std::uint64_t bytes_left = kWholeBody;
  crypto::Sha256Stream stream;
};

// One canonical form of the body, given to the hashes that want it.
class BodyForm final : public PieceSink {
 public:
  BodyForm(Canonicalization canonicalization, crypto::Sha256Batch& hashes)
      : canonicalization_(canonicalization), hashes_(hashes) {}

  void begin() {
    canon_ = BodyCanon(canonicalization_);
    used_ = 0;
    bytes_ = 0;
  }
  // The hash of that many bytes of this form; it stays where it is.
  BodyHash& want(std::uint64_t bytes_max) {
    for (std::size_t i = 0; i < used_; ++i) {
      if (all_[i]->bytes_max == bytes_max) return *all_[i];
    }
    if (used_ == all_.size()) all_.push_back(std::make_unique<BodyHash>());
    BodyHash& hash = *all_[used_++];
    hash.bytes_max = hash.bytes_left = bytes_max;
    hash.stream.reset();
    return hash;
  }
  bool wanted() const { return used_ != 0; }
  void feed(std::string_view run) { canon_.feed(run, *this); }
  void finish() {
    canon_.finish(*this);
    for (std::size_t i = 0; i < used_; ++i) hashes_.finish(all_[i]->stream);
  }
  // What a batch has of it is forgotten.
  void abandon() {
    for (std::size_t i = 0; i < used_; ++i) all_[i]->stream.reset();
    used_ = 0;
  }
  std::uint64_t bytes() const { return bytes_; }  // of the canonical form, so far

  void take(std::string_view piece) override {
    bytes_ += piece.size();
    for (std::size_t i = 0; i < used_; ++i) {
      BodyHash& hash = *all_[i];
      const auto bytes =
          static_cast<std::size_t>(std::min<std::uint64_t>(hash.bytes_left, piece.size()));
      if (bytes == 0) continue;
      hash.bytes_left -= bytes;
      hashes_.append(hash.stream, piece.substr(0, bytes));
    }
  }

 private:
  Canonicalization canonicalization_;
  crypto::Sha256Batch& hashes_;
  BodyCanon canon_;
  std::vector<std::unique_ptr<BodyHash>> all_;  // the first used_ of them
  std::size_t used_ = 0;
  std::uint64_t bytes_ = 0;
};

enum class Stage : std::uint8_t { kKeyMissing, kKeyed, kChecking, kDecided };

// What is kept of one signature until it is decided.
struct Candidate {
  Stage stage = Stage::kDecided;
  Algorithm algorithm = Algorithm::kRsaSha256;
  bool identity_below = false;
  dns::Name key_name;
  crypto::Sha256Stream header_hash;
  BodyForm* form = nullptr;
  BodyHash* body = nullptr;
  crypto::Sha256Digest body_hash{};  // bh=
  std::string signature;             // b=
  std::shared_ptr<const KeySet> keys;
  std::array<const Key*, kKeysTried> fitting{};  // of those, `keys_fitting`
  std::array<crypto::RsaCheck, kKeysTried> checks;
  std::size_t keys_fitting = 0;
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
  State(const base::Limits& all_limits, crypto::Sha256Batch& batch)
      : limits(all_limits),
        headers(batch),
        simple(Canonicalization::kSimple, batch),
        relaxed(Canonicalization::kRelaxed, batch) {}

  void choose(std::string_view header, std::span<const mail::Field> fields);
  void add(std::string_view header, std::span<const mail::Field> fields, std::uint32_t own);
  void describe(const Signature& signature, SignatureResult& result);
  std::optional<Problem> refusal(const Signature& signature) const;
  void want_key(std::size_t i, const Signature& signature);
  void take_keys(std::size_t i, const dns::Answer& answer);
  std::optional<Problem> choose_keys(Candidate& candidate) const;
  std::optional<Problem> body_problem(std::size_t i);
  void check(std::size_t i, std::vector<crypto::RsaCheck*>& checks);
  void decide(std::size_t i, const Problem& problem);
  void pass(std::size_t i, const Key& key);
  void start_over();

  base::Limits limits;
  HeaderHasher headers;
  BodyForm simple;
  BodyForm relaxed;
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
  std::vector<dns::Question> questions;
  std::size_t near_questions = 0;  // the first ones
  std::vector<bool> answered;
  std::size_t missing = 0;
};

Verifier::Verifier(const base::Limits& limits, crypto::Sha256Batch& hashes)
    : state_(std::make_unique<State>(limits, hashes)) {}

Verifier::~Verifier() = default;

void Verifier::State::start_over() {
  for (std::size_t i = 0; i < used; ++i) {
    candidates[i]->header_hash.reset();
    candidates[i]->keys.reset();
  }
  simple.abandon();
  relaxed.abandon();
  headers.release();
  used = undecided = 0;
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
  if (!s.chosen.empty()) {
    s.headers.begin(header_section, fields);
    s.simple.begin();
    s.relaxed.begin();
  }
  for (const State::Choice& choice : s.chosen) s.add(header_section, fields, choice.field);
  s.author = {};
  s.missing = s.questions.size();
  s.answered.assign(s.questions.size(), false);
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
  candidate.stage = Stage::kKeyMissing;
  const mail::Field& field = fields[own];
  std::string_view value = header.substr(field.value, field.end - field.value);
  if (value.ends_with("\r\n")) value.remove_suffix(2);
  auto problem = parser.parse(value, signature, candidate.signature);
  describe(signature, results[i]);
  if (!problem) problem = refusal(signature);
  if (problem) return decide(i, *problem);
  candidate.header_hash.reset();
  headers.add(signature, own, candidate.header_hash);
  candidate.form = signature.body == Canonicalization::kSimple ? &simple : &relaxed;
  candidate.body = &candidate.form->want(signature.body_bytes.value_or(kWholeBody));
  candidate.body_hash = signature.body_hash;
  want_key(i, signature);
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
  Candidate& candidate = *candidates[i];
  candidate.algorithm = read.algorithm;
  candidate.identity_below = read.identity_below;
  const auto name = key_name(read.selector, read.domain);
  if (!name) return decide(i, {Result::kNeutral, "s= and d= are too long for a name", {}});
  candidate.key_name = *name;
  candidate.stage = Stage::kKeyMissing;
  const dns::Question question{*name, dns::Type::kTxt};
  if (std::ranges::find(questions, question) != questions.end()) return;
  const bool near = nearness(results[i].domain, author) >= kNearLabels;
  const std::size_t place = near ? near_questions++ : questions.size();
  questions.insert(questions.begin() + static_cast<std::ptrdiff_t>(place), question);
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
    const Candidate& candidate = *s.candidates[i];
    if (candidate.stage == Stage::kKeyMissing && candidate.key_name == question.name) {
      s.take_keys(i, *answer);
    }
  }
}

void Verifier::give_up() {
  State& s = *state_;
  s.missing = 0;
  for (std::size_t i = 0; i < s.used; ++i) {
    if (s.candidates[i]->stage != Stage::kKeyMissing) continue;
    s.decide(i, {Result::kTemperror, "the key did not come in time", {}});
  }
}

void Verifier::State::take_keys(std::size_t i, const dns::Answer& answer) {
  Candidate& candidate = *candidates[i];
  if (answer.not_asked) {
    results[i].not_asked = true;
    return decide(i,
                  {Result::kTemperror, "too many DNS questions under way to ask for the key", {}});
  }
  if (answer.is_failure()) {
    return decide(i, {Result::kTemperror, "no answer from DNS about the key", {}});
  }
  if (answer.is_void()) return decide(i, {Result::kPermerror, "no key for signature", {}});
  candidate.keys = KeySet::of(answer);
  if (candidate.keys->keys().empty()) return decide(i, candidate.keys->problem());
  if (const auto problem = choose_keys(candidate)) return decide(i, *problem);
  candidate.stage = Stage::kKeyed;
  results[i].key_bits = candidate.fitting[0]->bits();
  results[i].testing = candidate.fitting[0]->testing;
}

// Those that may have made this signature (RFC 6376 6.1.2); without one, what is wrong with the
// first.
std::optional<Problem> Verifier::State::choose_keys(Candidate& candidate) const {
  std::optional<Problem> first;
  const auto judge = [&](const Key& key) -> std::optional<Problem> {
    if (key.strict && candidate.identity_below) {
      return Problem{Result::kPermerror, "the key is not for subdomains, and i= is one", {}};
    }
    return unfit_for(key, candidate.algorithm, limits);
  };
  candidate.keys_fitting = 0;
  for (const Key& key : candidate.keys->keys()) {
    auto problem = judge(key);
    if (!problem) {
      candidate.fitting[candidate.keys_fitting++] = &key;
      if (candidate.keys_fitting == kKeysTried) break;
    } else if (!first) {
      first = problem;
    }
  }
  return candidate.keys_fitting == 0 ? first : std::nullopt;
}

void Verifier::body(std::string_view run) {
  State& s = *state_;
  if (s.undecided == 0) return;
  for (BodyForm* form : {&s.simple, &s.relaxed}) {
    if (form->wanted()) form->feed(run);
  }
}

void Verifier::end_of_body() {
  State& s = *state_;
  if (s.undecided == 0) return;
  for (BodyForm* form : {&s.simple, &s.relaxed}) {
    if (form->wanted()) form->finish();
  }
}

void Verifier::abandon() {
  state_->start_over();
}

void Verifier::collect(std::vector<crypto::RsaCheck*>& checks) {
  State& s = *state_;
  MXRING_ASSERT(s.missing == 0);
  for (std::size_t i = 0; i < s.used; ++i) {
    if (s.candidates[i]->stage == Stage::kKeyed) s.check(i, checks);
  }
}

void Verifier::State::check(std::size_t i, std::vector<crypto::RsaCheck*>& checks) {
  Candidate& candidate = *candidates[i];
  MXRING_ASSERT(candidate.body->stream.finished() && candidate.header_hash.finished());
  if (const auto problem = body_problem(i)) return decide(i, *problem);
  const crypto::Sha256Digest& digest = candidate.header_hash.digest();
  if (candidate.algorithm == Algorithm::kEd25519Sha256) {
    const std::string_view message(reinterpret_cast<const char*>(digest.data()), digest.size());
    for (std::size_t k = 0; k < candidate.keys_fitting; ++k) {
      const Key& key = *candidate.fitting[k];
      if (crypto::ed25519_verify(key.ed25519, candidate.signature, message)) return pass(i, key);
    }
    return decide(i, {Result::kFail, "signature did not verify", {}});
  }
  candidate.stage = Stage::kChecking;
  for (std::size_t k = 0; k < candidate.keys_fitting; ++k) {
    candidate.checks[k] = {.key = &*candidate.fitting[k]->rsa,
                           .signature = candidate.signature,
                           .digest = digest,
                           .valid = false};
    checks.push_back(&candidate.checks[k]);
  }
}

std::optional<Problem> Verifier::State::body_problem(std::size_t i) {
  const Candidate& candidate = *candidates[i];
  const std::uint64_t bytes = candidate.form->bytes();
  const std::uint64_t bytes_max = candidate.body->bytes_max;
  results[i].body_bytes_signed = std::min(bytes, bytes_max);
  results[i].body_limited = bytes_max < bytes;
  // RFC 6376 3.5, l=: it must not be more than there is.
  if (bytes_max != kWholeBody && bytes_max > bytes) {
    return Problem{Result::kFail, "the body is shorter than l= says", {}};
  }
  if (candidate.body->stream.digest() != candidate.body_hash) {
    return Problem{Result::kFail, "body hash did not verify", {}};
  }
  return std::nullopt;
}

void Verifier::conclude() {
  State& s = *state_;
  for (std::size_t i = 0; i < s.used; ++i) {
    Candidate& candidate = *s.candidates[i];
    if (candidate.stage == Stage::kChecking) {
      const auto valid = std::ranges::find_if(
          candidate.checks.begin(), candidate.checks.begin() + candidate.keys_fitting,
          [](const crypto::RsaCheck& check) { return check.valid; });
      const auto at = static_cast<std::size_t>(valid - candidate.checks.begin());
      if (at < candidate.keys_fitting) {
        s.pass(i, *candidate.fitting[at]);
      } else {
        s.decide(i, {Result::kFail, "signature did not verify", {}});
      }
    }
    candidate.keys.reset();
    // Decided without its hash, which may never be flushed: the buffer it points into goes.
    if (!candidate.header_hash.finished()) candidate.header_hash.reset();
  }
  MXRING_ASSERT(s.undecided == 0);
  s.headers.release();
}

std::span<const SignatureResult> Verifier::signatures() const {
  return {state_->results.data(), state_->used};
}

void Verifier::State::decide(std::size_t i, const Problem& problem) {
  MXRING_ASSERT(candidates[i]->stage != Stage::kDecided && undecided != 0);
  candidates[i]->stage = Stage::kDecided;
  --undecided;
  results[i].result = problem.result;
  results[i].reason = problem.what;
  if (problem.where.empty()) return;
  results[i].reason += ": ";
  base::append_escaped(results[i].reason, problem.where);
}

void Verifier::State::pass(std::size_t i, const Key& key) {
  decide(i, {Result::kPass, {}, {}});
  results[i].key_bits = key.bits();
  results[i].testing = key.testing;
}

}  // namespace mxring::mailauth::dkim
