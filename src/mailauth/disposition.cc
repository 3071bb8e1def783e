#include "mailauth/disposition.h"

#include "base/probe.h"
#include "base/text.h"

namespace mxring::mailauth {

namespace {

Disposition of_failure(dmarc::Policy policy, const DispositionRules& rules) {
  switch (policy) {
    case dmarc::Policy::kReject:
      return rules.on_reject;
    case dmarc::Policy::kQuarantine:
      return rules.on_quarantine;
    case dmarc::Policy::kNone:
      break;
  }
  return Disposition::kAccept;
}

Disposition of_temperror(const dmarc::Outcome& outcome, const DispositionRules& rules) {
  const bool known_to_matter =
      outcome.record_found && of_failure(outcome.policy, rules) != Disposition::kAccept;
  const bool may_matter =
      (!outcome.record_found || outcome.policy_uncertain) &&
      (rules.on_reject != Disposition::kAccept || rules.on_quarantine != Disposition::kAccept);
  if (!known_to_matter && !may_matter) return Disposition::kAccept;
  if (outcome.not_asked) {
    MXRING_PROBE("verdict: put off, it was not asked for");
    return Disposition::kTempfail;
  }
  MXRING_PROBE("verdict: temperror where it may matter");
  return known_to_matter || rules.on_temperror == Disposition::kTempfail ? rules.on_temperror
                                                                         : Disposition::kAccept;
}

}  // namespace

Disposition decide(const dmarc::Outcome* outcome, const DispositionRules& rules) {
  if (outcome == nullptr) return Disposition::kAccept;
  if (outcome->result == Result::kTemperror) return of_temperror(*outcome, rules);
  if (outcome->result != Result::kFail) return Disposition::kAccept;
  return of_failure(outcome->policy, rules);
}

smtp::Reply refusal(const dmarc::Outcome& outcome, Disposition disposition, std::string& text) {
  using smtp::ReplyId;
  const std::string domain = base::escaped(outcome.from_domain);
  if (disposition == Disposition::kTempfail) {
    // RFC 3463: 4.4.5, congestion. RFC 7208 8.6 has 4.4.3 for what DNS did not answer, RFC 6376 6.2
    // has 4.7.5 for a signature that could not be checked for that.
    const ReplyId id = outcome.not_asked      ? ReplyId::kDmarcNotAsked
                       : outcome.record_found ? ReplyId::kDmarcNoAlignment
                                              : ReplyId::kDmarcNoPolicy;
    text = outcome.not_asked      ? "Too many DNS questions under way to judge mail from "
           : outcome.record_found ? "DNS did not answer whether SPF or DKIM vouches for "
                                  : "DNS did not answer about the DMARC policy of ";
    text += domain;
    text += ", try again later";
    return smtp::Reply(id).with(text);
  }
  text = "Refused: neither SPF nor DKIM vouches for ";
  text += domain;
  text += ", whose DMARC policy is to reject such mail";
  return smtp::Reply(ReplyId::kDmarcReject).with(text);
}

}  // namespace mxring::mailauth
