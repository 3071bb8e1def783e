// The Authentication-Results field (RFC 8601) that tells of a whole verdict. Pure.
#pragma once

#include <string_view>

#include "base/ip_address.h"
#include "mailauth/authres/builder.h"
#include "mailauth/evaluation.h"

namespace mxring::mailauth {

struct ResultsField {
  std::string_view hostname;  // ours: the authserv-id
  std::string_view mail_from;
  base::IpAddress client;
  std::string_view client_name;  // forward-confirmed; empty: iprev is not reported
  const Evaluation& evaluation;  // done
};

// Writes the whole field through a builder that its owner keeps, so that nothing is allocated.
void write_results_field(authres::Builder& builder, const ResultsField& field);

}  // namespace mxring::mailauth
