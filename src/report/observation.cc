#include "report/observation.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "mail/idna.h"
#include "mailauth/result/result.h"

namespace mxring::report {

namespace {

using Json = nlohmann::json;
using mailauth::Result;

// The first thing that is wrong is kept; all reading goes on with harmless values after it.
class Reading {
 public:
  std::string_view problem() const { return problem_; }
  void fail(std::string_view problem) {
    if (problem_.empty()) problem_ = problem;
  }

  Json parse(std::string_view text) {
    if (text.size() > kVerdictBytesMax) {
      fail("a verdict that is too long");
      return {};
    }
    Json value = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (value.is_discarded()) fail("a verdict that is not JSON");
    return value;
  }
  // A member that must be there and be text.
  std::string text(const Json& object, const char* key) {
    const auto found = object.is_object() ? object.find(key) : object.end();
    if (!object.is_object() || found == object.end() || !found->is_string()) {
      fail("a verdict without a text that belongs there");
      return {};
    }
    return found->get<std::string>();
  }
  std::string name(const Json& object, const char* key) {
    std::string value = text(object, key);
    if (value.size() > kNameBytesMax) fail("a verdict with a name that is too long");
    return value;
  }
  Result result(const Json& object) {
    const auto known = mailauth::result_from_word(text(object, "result"));
    if (!known) fail("a verdict with an unknown result");
    return known.value_or(Result::kNone);
  }
  // False when it is not there.
  bool flag(const Json& object, const char* key) {
    const auto found = object.find(key);
    if (found == object.end()) return false;
    if (!found->is_boolean()) {
      fail("a verdict with a flag that is none");
      return false;
    }
    return found->get<bool>();
  }

 private:
  std::string_view problem_;
};

bool is_policy(std::string_view word) {
  return word == "none" || word == "quarantine" || word == "reject";
}

std::string_view asked_by(std::string_view disposition) {
  return disposition == "accept" ? "none" : disposition;
}

Action action_of(std::string_view disposition, Result result, std::string_view policy) {
  if (disposition == "reject") return Action::kReject;
  if (disposition == "quarantine") return Action::kQuarantine;
  return result == Result::kPass && policy != "none" ? Action::kPass : Action::kNone;
}

Override override_of(Reading& reading, const Json& dmarc, std::string_view disposition,
                     Result result, std::string_view policy) {
  Override why;
  if (result == Result::kPass || result == Result::kNone || result == Result::kPermerror) {
    why.local_policy = disposition != "accept";
    return why;
  }
  if (result == Result::kTemperror) {
    why.undecided = policy != "none";
    return why;
  }
  why.local_policy = asked_by(disposition) != policy;
  if (reading.flag(dmarc, "testing") && dmarc.contains("published_policy")) {
    why.test_mode = reading.text(dmarc, "published_policy") != policy;
  }
  return why;
}

bool is_within(std::string_view domain, std::string_view ancestor) {
  if (ancestor.empty() || !domain.ends_with(ancestor)) return false;
  return domain.size() == ancestor.size() || domain[domain.size() - ancestor.size() - 1] == '.';
}

// RFC 9990 3.1.3: strictly aligned passes first, then relaxed ones, other passes, the rest.
constexpr int kRanks = 4;
int rank_of(const SignatureResult& signature, std::string_view from,
            std::string_view organization) {
  if (signature.result != mailauth::word(Result::kPass)) return 3;
  if (signature.domain == from) return 0;
  return is_within(signature.domain, organization) ? 1 : 2;
}

void read_signatures(Reading& reading, std::string_view text, std::string_view organization,
                     Row& row) {
  const Json list = reading.parse(text);
  if (!list.is_array()) return reading.fail("signatures that are no list");
  std::vector<SignatureResult> found;
  for (const Json& entry : list) {
    SignatureResult signature{reading.name(entry, "domain"), reading.name(entry, "selector"),
                              std::string(mailauth::word(reading.result(entry)))};
    if (signature.result == mailauth::word(Result::kSoftfail)) {
      return reading.fail("a signature with a result that signatures do not have");
    }
    // Nothing could be read in it that would tell its owner which one it is.
    if (!signature.domain.empty()) found.push_back(std::move(signature));
  }
  for (int rank = 0; rank < kRanks; ++rank) {
    for (const SignatureResult& signature : found) {
      if (row.signatures.size() == kSignaturesMax) return;
      if (rank_of(signature, row.header_from, organization) == rank) {
        row.signatures.push_back(signature);
      }
    }
  }
}

std::string domain_of(std::string_view reverse_path) {
  const std::size_t at = reverse_path.rfind('@');
  if (at == std::string_view::npos) return {};
  const std::string_view domain = reverse_path.substr(at + 1);
  mail::DomainBuffer buffer;
  const auto ascii = mail::to_a_labels(domain, buffer);
  std::string out(ascii ? *ascii : domain);
  std::ranges::transform(out, out.begin(), base::ascii_lower);
  return out;
}

}  // namespace

std::expected<std::optional<Observation>, std::string_view> observe(const Record& record) {
  // What was put off is counted when it comes again.
  if (record.dmarc.empty() || record.disposition == "tempfail") return std::nullopt;
  Reading reading;
  const Json dmarc = reading.parse(record.dmarc);
  Observation seen;
  seen.policy_record = reading.text(dmarc, "record");
  if (!reading.problem().empty()) return std::unexpected(reading.problem());
  if (seen.policy_record.empty()) return std::nullopt;

  const Result result = reading.result(dmarc);
  const std::string policy = reading.text(dmarc, "policy");
  if (!is_policy(policy)) reading.fail("a verdict with an unknown policy");
  if (!is_policy(asked_by(record.disposition))) reading.fail("an unknown disposition");
  seen.policy_domain = reading.name(dmarc, "record_domain");
  if (seen.policy_domain.empty()) reading.fail("a policy record without its domain");

  Row& row = seen.row;
  row.source_ip = record.client_ip;
  row.header_from = reading.name(dmarc, "from_domain");
  row.envelope_from = domain_of(record.mail_from);
  if (row.envelope_from.size() > kNameBytesMax) reading.fail("a reverse-path that is too long");
  row.action = action_of(record.disposition, result, policy);
  row.overridden = override_of(reading, dmarc, record.disposition, result, policy);
  row.spf_aligned = !reading.text(dmarc, "aligned_spf").empty();
  row.dkim_aligned = !reading.text(dmarc, "aligned_dkim").empty();
  if (!record.spf.empty()) {
    const Json spf = reading.parse(record.spf);
    row.spf_domain = reading.name(spf, "domain");
    row.spf_result = mailauth::word(reading.result(spf));
  }
  if (!record.dkim.empty()) {
    read_signatures(reading, record.dkim, reading.name(dmarc, "organizational_domain"), row);
  }
  if (!reading.problem().empty()) return std::unexpected(reading.problem());
  return seen;
}

}  // namespace mxring::report
