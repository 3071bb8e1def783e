#include "mailauth/verdict_json.h"

namespace mxring::mailauth {

void write_spf(base::JsonWriter& json, const spf::Outcome& outcome) {
  json.begin_object();
  json.key("result").value(word(outcome.result));
  json.key("identity").value(spf::word(outcome.identity));
  json.key("domain").value(outcome.domain);
  json.key("mechanism").value(outcome.mechanism);
  json.key("lookups").value(outcome.lookups);
  json.key("voids").value(outcome.voids);
  if (!outcome.problem.empty()) json.key("problem").value(outcome.problem);
  json.end_object();
}

void write_dkim(base::JsonWriter& json, std::span<const dkim::SignatureResult> signatures) {
  json.begin_array();
  for (const dkim::SignatureResult& signature : signatures) {
    json.begin_object();
    json.key("domain").value(signature.domain);
    json.key("selector").value(signature.selector);
    json.key("algorithm").value(signature.algorithm);
    json.key("result").value(word(signature.result));
    json.key("reason").value(signature.reason);
    if (signature.key_bits != 0) json.key("key_bits").value(signature.key_bits);
    if (signature.body_limited) {
      json.key("body_limited").value(true);
      json.key("body_bytes_signed").value(signature.body_bytes_signed);
    }
    if (signature.testing) json.key("testing").value(true);
    json.end_object();
  }
  json.end_array();
}

void write_arc(base::JsonWriter& json, const arc::Outcome& outcome) {
  json.begin_object();
  json.key("result").value(word(outcome.result));
  json.key("reason").value(outcome.reason);
  json.key("sets").value(outcome.sets);
  json.key("oldest_pass").value(outcome.oldest_pass);
  json.key("sealer").value(outcome.sealer);
  json.end_object();
}

void write_dmarc(base::JsonWriter& json, const dmarc::Outcome& outcome) {
  json.begin_object();
  json.key("result").value(word(outcome.result));
  json.key("from_domain").value(outcome.from_domain);
  json.key("policy").value(dmarc::word(outcome.policy));
  json.key("record").value(outcome.record);
  json.key("record_domain").value(outcome.record_domain);
  json.key("organizational_domain").value(outcome.organizational_domain);
  json.key("aligned_spf").value(outcome.aligned_spf);
  json.key("aligned_dkim").value(outcome.aligned_dkim);
  if (outcome.testing) {
    json.key("testing").value(true);
    json.key("published_policy").value(dmarc::word(outcome.published_policy));
  }
  if (!outcome.problem.empty()) json.key("problem").value(outcome.problem);
  json.end_object();
}

}  // namespace mxring::mailauth
