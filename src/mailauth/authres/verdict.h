// The results of our own methods as parts of an Authentication-Results field: which properties each
// of them reports (RFC 8601 2.7, RFC 6008 for header.b, RFC 9989 9.1, RFC 8617 5.2 and
// 10.2).
#pragma once

#include <span>
#include <string_view>

#include "base/ip_address.h"
#include "mailauth/arc/verifier.h"
#include "mailauth/authres/builder.h"
#include "mailauth/dkim/verifier.h"
#include "mailauth/dmarc/evaluator.h"
#include "mailauth/result/result.h"
#include "mailauth/spf/evaluator.h"

namespace mxring::mailauth::authres {

// `mail_from`: the reverse-path without brackets; empty for the null one.
void add_spf(Builder& builder, const spf::Outcome& outcome, std::string_view mail_from);
// One result for each signature, or none at all: "dkim=none". One that leaves part of the body
// unsigned is no pass here, whatever the record calls it: readers of the field see no l=.
void add_dkim(Builder& builder, std::span<const dkim::SignatureResult> signatures);
void add_dmarc(Builder& builder, const dmarc::Outcome& outcome);
// `client`: which the standard wants reported with the chain.
void add_arc(Builder& builder, const arc::Outcome& outcome, const base::IpAddress& client);
// `name`: the client's name when it was confirmed, for people.
void add_iprev(Builder& builder, Result result, const base::IpAddress& client,
               std::string_view name);

}  // namespace mxring::mailauth::authres
