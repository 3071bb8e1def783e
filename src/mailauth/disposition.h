// What is done with a message because of its DMARC verdict. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "mailauth/dmarc/evaluator.h"

namespace mxring::mailauth {

enum class Disposition : std::uint8_t { kAccept, kQuarantine, kReject };
constexpr std::string_view word(Disposition disposition) {
  switch (disposition) {
    case Disposition::kReject:
      return "reject";
    case Disposition::kQuarantine:
      return "quarantine";
    case Disposition::kAccept:
      break;
  }
  return "accept";
}

// What the receiver's owner wants done where a domain's policy says reject or quarantine. RFC 9989
// advises against refusing mail for a policy of reject alone; that is what kQuarantine is for.
struct DispositionRules {
  Disposition on_reject = Disposition::kReject;
  Disposition on_quarantine = Disposition::kQuarantine;
};

// Only a DMARC result of fail leads anywhere but to kAccept: whatever may be otherwise later
// (temperror) never costs a message. `outcome` is null where DMARC was not evaluated.
Disposition decide(const dmarc::Outcome* outcome, const DispositionRules& rules);

// The reply to a message refused on that account, naming the domain.
void append_refusal(std::string& out, const dmarc::Outcome& outcome);

}  // namespace mxring::mailauth
