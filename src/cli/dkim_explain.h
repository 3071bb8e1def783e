// What a person wants to know about one signature beyond its result: what it covers, and, when it
// does not hold, what was probably done to the message on its way. Guesses that can be proved are
// proved here: a body hash that matches once the last lines are left out names the footer that was
// added.
//
// Pure; takes as long as hashing the body a few times. Lines may hold bytes of strangers, escaped.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "mail/header_index.h"
#include "mailauth/dkim/verifier.h"

namespace mxring::cli {

struct DkimExplanation {
  std::string covers;              // one line; empty: the signature could not be read
  std::vector<std::string> hints;  // lines
};

// `field`: the signature's own.
DkimExplanation explain_dkim(std::string_view message, const mail::HeaderIndex& index,
                             const mail::Field& field,
                             const mailauth::dkim::SignatureResult& result);

}  // namespace mxring::cli
