#include "mailauth/results_field.h"

#include "mailauth/authres/verdict.h"

namespace mxring::mailauth {

void write_results_field(authres::Builder& builder, const ResultsField& field) {
  const Evaluation& evaluation = field.evaluation;
  builder.begin(field.hostname);
  if (const auto* outcome = evaluation.dmarc()) authres::add_dmarc(builder, *outcome);
  if (const auto* outcome = evaluation.spf()) {
    authres::add_spf(builder, *outcome, field.mail_from);
  }
  if (evaluation.options().dkim) authres::add_dkim(builder, evaluation.dkim());
  if (const auto* outcome = evaluation.arc()) authres::add_arc(builder, *outcome, field.client);
  if (!field.client_name.empty()) {
    authres::add_iprev(builder, Result::kPass, field.client, field.client_name);
  }
  builder.end();
}

}  // namespace mxring::mailauth
