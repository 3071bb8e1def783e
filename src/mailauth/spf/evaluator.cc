#include "mailauth/spf/evaluator.h"

#include <algorithm>
#include <utility>

#include "base/assert.h"
#include "base/text.h"
#include "mail/idna.h"

namespace mxring::mailauth::spf {

namespace {

bool is_ascii(std::string_view text) {
  unsigned char seen = 0;
  for (const char c : text) seen |= static_cast<unsigned char>(c);
  return seen < 0x80;
}

// RFC 7208 4.3: a name of at least two labels, as DNS can ask for; no address literal.
std::optional<dns::Name> checkable_domain(std::string_view text) {
  const auto printable = [](char c) { return c > ' ' && c < 0x7F; };
  if (!std::ranges::all_of(text, printable) || text.starts_with('[')) return std::nullopt;
  auto name = dns::Name::parse(text);
  return name && name->labels() >= 2 ? name : std::nullopt;
}

// The name in A-labels; as it stands when it has none, which no check takes for a domain.
std::string_view in_a_labels(std::string_view name, mail::DomainBuffer& buffer) {
  return mail::to_a_labels(name, buffer).value_or(name);
}

}  // namespace

Evaluator::Evaluator(const base::Limits& limits) : limits_(limits) {}

void Evaluator::begin(const Request& request) {
  client_ = request.client;
  mail::DomainBuffer buffer;
  helo_ = in_a_labels(request.helo, buffer);
  receiver_ = request.receiver;
  now_unix_s_ = request.now_unix_s;
  explain_ = request.explain;
  explaining_ = done_ = false;
  repeatable_ = !explain_;
  frames_.clear();
  asked_.clear();
  wanted_.clear();
  missing_ = counted_ = 0;
  const bool helo = request.mail_from.empty();
  // RFC 7208 2.4, 4.3: the null reverse-path stands for postmaster at the HELO name, and so does a
  // missing local part for postmaster at its domain.
  const std::size_t at = request.mail_from.rfind('@');
  const bool bare = at == std::string_view::npos;
  local_part_ = bare ? std::string_view() : request.mail_from.substr(0, at);
  if (local_part_.empty()) local_part_ = "postmaster";
  local_part_is_ascii_ = is_ascii(local_part_);
  sender_domain_ = helo_;
  if (!helo) sender_domain_ = in_a_labels(request.mail_from.substr(bare ? 0 : at + 1), buffer);

  outcome_.result = Result::kNone;
  outcome_.identity = helo ? Identity::kHelo : Identity::kMailFrom;
  outcome_.domain = sender_domain_;
  outcome_.mechanism.clear();
  outcome_.explanation.clear();
  outcome_.problem.clear();
  outcome_.lookups = outcome_.voids = outcome_.questions = 0;
  outcome_.not_asked = false;
  if (const auto domain = checkable_domain(sender_domain_)) {
    frames_.emplace_back(*domain);
  } else {
    finish(Result::kNone);
  }
}

bool Evaluator::step() {
  if (done_) return true;
  if (missing_ != 0) return false;
  wanted_.clear();
  while (!done_) {
    if (advance() == Progress::kOn || done_) continue;
    MXRING_ASSERT(!wanted_.empty());
    missing_ = wanted_.size();
    return false;
  }
  wanted_.clear();
  return true;
}

void Evaluator::supply(const dns::Question& question, dns::AnswerPtr answer, bool known) {
  MXRING_ASSERT(answer != nullptr);
  if (done_ || std::ranges::find(wanted_, question) == wanted_.end()) return;
  // What is wanted was not asked before, so only this step's answers may be the same.
  const auto since = std::span(asked_).last(wanted_.size() - missing_);
  if (std::ranges::find(since, question, &Asked::question) != since.end()) return;
  MXRING_ASSERT(missing_ != 0);
  asked_.emplace_back(question, std::move(answer));
  if (!known) ++counted_;
  --missing_;
}

void Evaluator::repeat(const Outcome& known) {
  MXRING_ASSERT(asked_.empty() && wanted_.empty() && !explain_);
  outcome_ = known;
  done_ = true;
  repeatable_ = false;  // it has been
}

void Evaluator::give_up() {
  if (!done_) finish(Result::kTemperror, "DNS took too long");
}

// The answer, or nullptr after noting the question, or after finishing because there may be no
// more.
const dns::Answer* Evaluator::need(const dns::Name& name, dns::Type type) {
  for (const Asked& asked : asked_) {
    if (asked.question.type == type && asked.question.name == name) return asked.answer.get();
  }
  for (const dns::Question& wanted : wanted_) {
    if (wanted.type == type && wanted.name == name) return nullptr;
  }
  if (counted_ + wanted_.size() >= limits_.dns_questions) {
    // Only a question that nothing can go on without ends the evaluation: not one asked ahead.
    if (wanted_.empty()) {
      outcome_.not_asked = true;
      finish(Result::kTemperror, "more DNS questions than a message may ask");
    }
    return nullptr;
  }
  wanted_.emplace_back(name, type);
  return nullptr;
}

Evaluator::Progress Evaluator::advance() {
  if (explaining_) return run_explanation();
  Frame& frame = frames_.back();
  if (!frame.policy) return fetch_policy(frame);
  const Record& record = frame.policy->record();
  if (frame.term < record.terms.size()) return run_term(frame);
  if (record.redirect) return run_redirect(frame);
  leave_frame(Result::kNeutral, nullptr);
  return Progress::kOn;
}

Evaluator::Progress Evaluator::fetch_policy(Frame& frame) {
  const dns::Answer* answer = need(frame.domain, dns::Type::kTxt);
  if (answer == nullptr) return Progress::kWait;
  if (answer->is_failure()) {
    end_without_answer(*answer, frame.domain);
  } else if (answer->is_void()) {
    no_policy(frame);
  } else {
    auto policy = Policy::of(*answer);
    switch (policy->state()) {
      case Policy::State::kNone:
        no_policy(frame);
        break;
      case Policy::State::kOne:
        frame.policy = std::move(policy);
        break;
      case Policy::State::kSeveral:
        finish(Result::kPermerror, "more than one SPF record at", frame.domain.to_text());
        break;
      case Policy::State::kMalformed:
        finish(Result::kPermerror, policy->error().what, policy->error().where);
        break;
    }
  }
  return Progress::kOn;
}

void Evaluator::no_policy(const Frame& frame) {
  if (frames_.size() == 1 && !frame.redirected) {
    finish(Result::kNone);
  } else {
    finish(Result::kPermerror, "no SPF record at", frame.domain.to_text());
  }
}

Evaluator::Progress Evaluator::run_term(Frame& frame) {
  // The policy stays where it is when the stack of frames grows below evaluate(), the frame may
  // not.
  const Term& term = frame.policy->record().terms[frame.term];
  const std::size_t depth = frames_.size();
  const Match match = evaluate(frame, term);
  MXRING_ASSERT((match == Match::kEnded) == done_);
  MXRING_ASSERT(frames_.size() == depth + (match == Match::kEntered ? 1 : 0));
  switch (match) {
    case Match::kNeedsAnswers:
      return Progress::kWait;
    case Match::kYes:
      leave_frame(term.result, &term);
      break;
    case Match::kNo:
      ++frame.term;
      frame.counted = false;
      break;
    case Match::kEntered:
    case Match::kEnded:
      break;
  }
  return Progress::kOn;
}

Evaluator::Match Evaluator::evaluate(Frame& frame, const Term& term) {
  switch (term.mechanism) {
    case Mechanism::kAll:
      return Match::kYes;
    case Mechanism::kIp4:
    case Mechanism::kIp6:
      return matches(term, term.network) ? Match::kYes : Match::kNo;
    default:
      break;
  }
  if (!count_lookup(frame)) return Match::kEnded;
  const Target target = target_of(frame, term.spec, term.name);
  if (target.state == TargetState::kWait) return without();
  if (target.state == TargetState::kNoMatch) return Match::kNo;
  if (term.mechanism == Mechanism::kInclude) return enter_include(target);
  // What is no domain name does not exist (RFC 7208 4.8).
  if (target.state == TargetState::kInvalid) return Match::kNo;
  switch (term.mechanism) {
    case Mechanism::kA:
      return match_a(term, target.name);
    case Mechanism::kMx:
      return match_mx(term, target.name);
    case Mechanism::kPtr:
      return match_ptr(target.name);
    default:
      return match_exists(target.name);
  }
}

// True when counted. A term is evaluated several times, but counts once.
bool Evaluator::count_lookup(Frame& frame) {
  if (frame.counted) return true;
  if (outcome_.lookups >= limits_.spf_lookups) {
    finish(Result::kPermerror, "more terms that ask DNS than allowed");
    return false;
  }
  frame.counted = true;
  ++outcome_.lookups;
  return true;
}

// RFC 7208 4.6.4 limits the number of terms whose questions find nothing, so a term counts once
// here, however many questions it asks: three exchangers without an address of the client's family
// are one void lookup, not three.
bool Evaluator::count_void() {
  if (outcome_.voids >= limits_.spf_voids) {
    finish(Result::kPermerror, "more terms that find nothing in DNS than allowed");
    return false;
  }
  ++outcome_.voids;
  return true;
}

Evaluator::Match Evaluator::enter_include(const Target& target) {
  if (target.state == TargetState::kInvalid || target.name.labels() < 2) {
    return end(Result::kPermerror, "include of what is no domain");
  }
  frames_.emplace_back(target.name);
  MXRING_ASSERT(frames_.size() <= limits_.spf_lookups + std::size_t{1});
  return Match::kEntered;
}

Evaluator::Progress Evaluator::run_redirect(Frame& frame) {
  if (!count_lookup(frame)) return Progress::kOn;
  const Target target = target_of(frame, *frame.policy->record().redirect);
  if (done_) return Progress::kOn;
  if (target.state == TargetState::kWait) return Progress::kWait;
  if (target.state != TargetState::kReady || target.name.labels() < 2) {
    finish(Result::kPermerror, "redirect to what is no domain");
    return Progress::kOn;
  }
  frame.domain = target.name;
  frame.policy.reset();
  frame.term = 0;
  frame.counted = false;
  frame.redirected = true;
  return Progress::kOn;
}

// The innermost check_host() has its result: the whole one, or that of an include (RFC 7208 5.2).
void Evaluator::leave_frame(Result result, const Term* term) {
  while (frames_.size() > 1) {
    frames_.pop_back();
    Frame& parent = frames_.back();
    if (result != Result::kPass) {
      ++parent.term;
      parent.counted = false;
      return;
    }
    term = &parent.policy->record().terms[parent.term];
    result = term->result;
  }
  const Record& record = frames_.back().policy->record();
  outcome_.mechanism = term == nullptr ? "default" : record.part(term->text);
  outcome_.result = result;
  if (result == Result::kFail && explain_ && record.explanation) {
    explaining_ = true;
  } else {
    finish(result);
  }
}

// RFC 7208 6.2: whatever goes wrong with an explanation, there is none, and the result stays.
Evaluator::Progress Evaluator::run_explanation() {
  const Frame& frame = frames_.back();
  const Target target = target_of(frame, *frame.policy->record().explanation);
  if (done_) return Progress::kOn;
  if (target.state == TargetState::kWait) return Progress::kWait;
  if (target.state != TargetState::kReady) {
    finish(Result::kFail);
    return Progress::kOn;
  }
  const dns::Answer* answer = need(target.name, dns::Type::kTxt);
  if (done_) return Progress::kOn;
  if (answer == nullptr) return Progress::kWait;
  if (answer->status == dns::Status::kAnswer && answer->texts.size() == 1) {
    const std::string& text = answer->texts.front();
    MacroValues values;
    if (is_macro_string(text, MacroPlace::kExplanation)) {
      if (!expand_ready(frame, text, values)) return done_ ? Progress::kOn : Progress::kWait;
      const auto expanded = expand_text(text, values);
      const auto printable = [](char c) { return c >= ' ' && c < 0x7F; };
      if (expanded && std::ranges::all_of(*expanded, printable)) outcome_.explanation = *expanded;
    }
  }
  finish(Result::kFail);
  return Progress::kOn;
}

Evaluator::Match Evaluator::end(Result result, std::string_view problem, std::string_view where) {
  finish(result, problem, where);
  return Match::kEnded;
}

Evaluator::Match Evaluator::end_without_answer(const dns::Answer& failure, const dns::Name& name) {
  MXRING_ASSERT(failure.is_failure());
  outcome_.not_asked = failure.not_asked;
  return end(Result::kTemperror,
             failure.not_asked ? "too many DNS questions under way to ask about"
                               : "no answer from DNS about",
             name.to_text());
}

void Evaluator::finish(Result result, std::string_view problem, std::string_view where) {
  MXRING_ASSERT(!done_);
  done_ = true;
  if (result == Result::kTemperror) repeatable_ = false;
  outcome_.questions = static_cast<std::uint32_t>(asked_.size());
  // The budget may end while only the explanation is missing: the result stands without it.
  if (explaining_) {
    outcome_.not_asked = false;
    return;
  }
  MXRING_ASSERT(!outcome_.not_asked || result == Result::kTemperror);
  outcome_.result = result;
  outcome_.problem = problem;
  if (!where.empty()) {
    outcome_.problem += ": ";
    base::append_escaped(outcome_.problem, where);
  }
}

}  // namespace mxring::mailauth::spf
