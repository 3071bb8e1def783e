// What is done with a message because of its DMARC verdict. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "mailauth/dmarc/evaluator.h"
#include "smtp/reply.h"

namespace mxring::mailauth {

// kTempfail: refused for now, 451; the sender tries again.
enum class Disposition : std::uint8_t { kAccept, kQuarantine, kReject, kTempfail };
constexpr std::string_view word(Disposition disposition) {
  switch (disposition) {
    case Disposition::kReject:
      return "reject";
    case Disposition::kQuarantine:
      return "quarantine";
    case Disposition::kTempfail:
      return "tempfail";
    case Disposition::kAccept:
      break;
  }
  return "accept";
}

constexpr bool is_refusal(Disposition disposition) {
  return disposition == Disposition::kReject || disposition == Disposition::kTempfail;
}

// What the receiver's owner wants done where a domain's policy says reject or quarantine. RFC 9989
// advises against refusing mail for a policy of reject alone; that is what kQuarantine is for.
struct DispositionRules {
  Disposition on_reject = Disposition::kReject;
  Disposition on_quarantine = Disposition::kQuarantine;
  // RFC 9989 5.3.6 leaves it to the receiver. kQuarantine is for a policy that is known, of reject
  // or quarantine, where only alignment is not; kTempfail also for one that could not be found out.
  Disposition on_temperror = Disposition::kQuarantine;
};

// What may be otherwise later (temperror) never rejects, and comes to no more than a failure would.
// A sender chooses whose DNS is asked about alignment, and could choose a broken one; so that is
// marked. What was not even asked for because of a limit of ours, be it the policy or what would
// have vouched for the message, is a shortage of ours like any other: kTempfail whatever the rules,
// where the answer could have changed what is done. `outcome` is null where DMARC was not
// evaluated.
Disposition decide(const dmarc::Outcome* outcome, const DispositionRules& rules);

// The reply to a message refused on that account, naming the domain; its text is put into `text`.
smtp::Reply refusal(const dmarc::Outcome& outcome, Disposition disposition, std::string& text);

}  // namespace mxring::mailauth
