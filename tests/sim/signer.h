// Signs messages as DKIM has it (RFC 6376), right or wrong in a way that is known: what DMARC must
// make of it is known by construction. Canonical forms are written here once more, and only the
// raw signature comes from src/crypto.
#pragma once

#include <string>

#include "tests/sim/dice.h"
#include "tests/sim/resolver.h"

namespace mxring::sim {

class Signer {
 public:
  // All domains below signed.example say p=reject, and SPF passes for none.
  static void publish(SimResolver& resolver);

  // Puts signatures on top of `message`, which is from somebody at `signed.example`. True: DMARC
  // passes by one of them.
  static bool sign(Dice& dice, std::string& message);
};

}  // namespace mxring::sim
