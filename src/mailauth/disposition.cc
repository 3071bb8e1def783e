#include "mailauth/disposition.h"

#include "base/text.h"

namespace mxring::mailauth {

Disposition decide(const dmarc::Outcome* outcome, const DispositionRules& rules) {
  if (outcome == nullptr || outcome->result != Result::kFail) return Disposition::kAccept;
  switch (outcome->policy) {
    case dmarc::Policy::kReject:
      return rules.on_reject;
    case dmarc::Policy::kQuarantine:
      return rules.on_quarantine;
    case dmarc::Policy::kNone:
      break;
  }
  return Disposition::kAccept;
}

void append_refusal(std::string& out, const dmarc::Outcome& outcome) {
  out += "550 5.7.26 Refused: neither SPF nor DKIM vouches for ";
  out += base::escaped(outcome.from_domain);
  out += ", whose DMARC policy is to reject such mail";
}

}  // namespace mxring::mailauth
