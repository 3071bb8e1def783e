#include "mailauth/authres/verdict.h"

#include <array>
#include <string>

namespace mxring::mailauth::authres {

void add_spf(Builder& builder, const spf::Outcome& outcome, std::string_view mail_from) {
  builder.result("spf", word(outcome.result)).reason(outcome.problem);
  if (outcome.identity == spf::Identity::kHelo) {
    builder.property("smtp", "helo", outcome.domain);
  } else {
    // RFC 8601 2.7.2: the domain alone will do. An address that is cut would be another one.
    const bool whole = !mail_from.empty() && mail_from.size() <= kValueBytesMax;
    builder.property("smtp", "mailfrom", whole ? mail_from : outcome.domain);
  }
}

namespace {

// A valid signature that we do not count is policy (RFC 8601 2.7.1); one by a key that is only
// being tried out counts, and says so.
void add_dkim_result(Builder& builder, const dkim::SignatureResult& signature) {
  const bool passes = signature.result == Result::kPass;
  if (passes && signature.body_limited) {
    builder.result("dkim", word(Result::kPolicy)).reason("part of the body is not signed (l=)");
    return;
  }
  builder.result("dkim", word(signature.result));
  if (passes && signature.testing) builder.comment("testing key");
  builder.reason(signature.reason);
}

}  // namespace

void add_dkim(Builder& builder, std::span<const dkim::SignatureResult> signatures) {
  if (signatures.empty()) builder.result("dkim", word(Result::kNone));
  for (const dkim::SignatureResult& signature : signatures) {
    add_dkim_result(builder, signature);
    struct Row {
      std::string_view name;
      const std::string& value;
    };
    for (const Row& row :
         {Row{"d", signature.domain}, Row{"s", signature.selector}, Row{"a", signature.algorithm},
          Row{"b", signature.signature_start}, Row{"i", signature.identity}}) {
      if (!row.value.empty()) builder.property("header", row.name, row.value);
    }
  }
}

void add_dmarc(Builder& builder, const dmarc::Outcome& outcome) {
  builder.result("dmarc", word(outcome.result));
  if (!outcome.problem.empty()) builder.reason(outcome.problem);
  if (!outcome.from_domain.empty()) builder.property("header", "from", outcome.from_domain);
  if (outcome.record_found) builder.property("policy", "dmarc", dmarc::word(outcome.policy));
}

void add_arc(Builder& builder, const arc::Outcome& outcome, const base::IpAddress& client) {
  builder.result("arc", word(outcome.result));
  if (outcome.result == Result::kNone) return;
  std::string chain = "i=" + std::to_string(outcome.sets);
  if (!outcome.sealer.empty()) chain += " sealed by " + outcome.sealer;
  builder.comment(chain).reason(outcome.reason);
  if (outcome.result == Result::kPass) {
    builder.property("header", "oldest-pass", std::to_string(outcome.oldest_pass));
  }
  builder.property("smtp", "remote-ip", client.to_string());
}

void add_iprev(Builder& builder, Result result, const base::IpAddress& client,
               std::string_view name) {
  builder.result("iprev", word(result)).comment(name);
  builder.property("policy", "iprev", client.to_string());
}

}  // namespace mxring::mailauth::authres
