#include "report/feedback_xml.h"

#include <fmt/format.h>

#include "base/text.h"

namespace mxring::report {

namespace {

namespace dmarc = mailauth::dmarc;

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

// Elements of this writer nest a few levels deep; each line is one element's start, end or whole.
class XmlWriter {
 public:
  void open(std::string_view name) {
    indent();
    fmt::format_to(std::back_inserter(out_), "<{}>\n", name);
    ++depth_;
  }
  void close(std::string_view name) {
    --depth_;
    indent();
    fmt::format_to(std::back_inserter(out_), "</{}>\n", name);
  }
  void element(std::string_view name, std::string_view text) {
    indent();
    fmt::format_to(std::back_inserter(out_), "<{}>", name);
    append_xml_text(out_, text);
    fmt::format_to(std::back_inserter(out_), "</{}>\n", name);
  }
  void element(std::string_view name, std::int64_t number) {
    element(name, std::string_view(fmt::format_int(number).c_str()));
  }
  void raw(std::string_view text) { out_ += text; }
  std::string take() && { return std::move(out_); }

 private:
  void indent() { out_.append(2 * depth_, ' '); }

  std::string out_;
  std::size_t depth_ = 0;
};

// Whether XML 1.0 has this character (2.2): of what is valid UTF-8 all but most controls and the
// last two of the plane.
bool is_xml_char(std::string_view sequence) {
  const auto first = static_cast<unsigned char>(sequence[0]);
  if (sequence.size() == 1) {
    return first >= 0x20 || first == '\t' || first == '\n' || first == '\r';
  }
  return sequence != "\xEF\xBF\xBE" && sequence != "\xEF\xBF\xBF";
}

std::string_view escape_of(char c) {
  switch (c) {
    case '&':
      return "&amp;";
    case '<':
      return "&lt;";
    case '>':
      return "&gt;";
    case '"':
      return "&quot;";
    case '\'':
      return "&apos;";
    case '\r':
      return "&#13;";
    default:
      return {};
  }
}

std::string_view word(Action action) {
  switch (action) {
    case Action::kPass:
      return "pass";
    case Action::kQuarantine:
      return "quarantine";
    case Action::kReject:
      return "reject";
    case Action::kNone:
      break;
  }
  return "none";
}

std::string_view short_word(dmarc::Alignment mode) {
  return mode == dmarc::Alignment::kStrict ? "s" : "r";
}

std::string failure_options(const dmarc::FailureOptions& options) {
  std::string out;
  const auto add = [&](bool wanted, char option) {
    if (!wanted) return;
    if (!out.empty()) out += ':';
    out += option;
  };
  add(options.all_failed, '0');
  add(options.any_failed, '1');
  add(options.dkim, 'd');
  add(options.spf, 's');
  return out;
}

void write_metadata(XmlWriter& xml, const Reporter& reporter, const Period& period,
                    std::string_view id, const dmarc::Record& policy, const DomainAggregate& sum) {
  xml.open("report_metadata");
  xml.element("org_name", reporter.organization);
  xml.element("email", reporter.email);
  xml.element("report_id", id);
  xml.open("date_range");
  xml.element("begin", period.begin_s);
  xml.element("end", period.end_s);
  xml.close("date_range");
  std::string error(policy.problem);
  if (sum.left_out != 0) {
    if (!error.empty()) error += "; ";
    error += fmt::format("{} of {} messages are left out: too many different rows", sum.left_out,
                         sum.messages);
  }
  if (!error.empty()) xml.element("error", error);
  xml.element("generator", reporter.generator);
  xml.close("report_metadata");
}

void write_policy(XmlWriter& xml, std::string_view domain, const dmarc::Record& policy) {
  xml.open("policy_published");
  xml.element("domain", domain);
  xml.element("discovery_method", "treewalk");
  xml.element("p", dmarc::word(policy.policy));
  xml.element("sp", dmarc::word(policy.subdomain_policy));
  xml.element("np", dmarc::word(policy.nonexistent_policy));
  xml.element("fo", failure_options(policy.failure));
  xml.element("adkim", short_word(policy.dkim_alignment));
  xml.element("aspf", short_word(policy.spf_alignment));
  xml.element("testing", policy.testing ? "y" : "n");
  xml.close("policy_published");
}

void write_reason(XmlWriter& xml, std::string_view type, std::string_view comment) {
  xml.open("reason");
  xml.element("type", type);
  xml.element("comment", comment);
  xml.close("reason");
}

void write_row(XmlWriter& xml, const Row& row, std::uint64_t count) {
  xml.open("record");
  xml.open("row");
  xml.element("source_ip", row.source_ip);
  xml.element("count", static_cast<std::int64_t>(count));
  xml.open("policy_evaluated");
  xml.element("disposition", word(row.action));
  xml.element("dkim", row.dkim_aligned ? "pass" : "fail");
  xml.element("spf", row.spf_aligned ? "pass" : "fail");
  if (row.overridden.test_mode) {
    write_reason(xml, "policy_test_mode", "t=y asks for one level less than published");
  }
  if (row.overridden.local_policy) {
    write_reason(xml, "local_policy", "the receiver's settings for this policy");
  }
  if (row.overridden.undecided) {
    write_reason(xml, "other", "an answer could not be had from DNS; nothing was applied");
  }
  xml.close("policy_evaluated");
  xml.close("row");
  xml.open("identifiers");
  xml.element("header_from", row.header_from);
  xml.element("envelope_from", row.envelope_from);
  xml.close("identifiers");
  xml.open("auth_results");
  for (const SignatureResult& signature : row.signatures) {
    xml.open("dkim");
    xml.element("domain", signature.domain);
    xml.element("selector", signature.selector);
    xml.element("result", signature.result);
    xml.close("dkim");
  }
  if (!row.spf_result.empty()) {
    xml.open("spf");
    xml.element("domain", row.spf_domain);
    xml.element("scope", "mfrom");
    xml.element("result", row.spf_result);
    xml.close("spf");
  }
  xml.close("auth_results");
  xml.close("record");
}

}  // namespace

void append_xml_text(std::string& out, std::string_view text) {
  while (!text.empty()) {
    const std::size_t size = base::utf8_sequence(text);
    const std::string_view sequence = text.substr(0, size == 0 ? 1 : size);
    text.remove_prefix(sequence.size());
    if (size == 0 || !is_xml_char(sequence)) {
      out += kReplacement;
    } else if (const std::string_view escape = escape_of(sequence[0]); !escape.empty()) {
      out += escape;
    } else {
      out += sequence;
    }
  }
}

std::string identify(const Reporter& reporter, const Period& period, std::string_view policy_domain,
                     const dmarc::Record& policy, const DomainAggregate& sum) {
  return report_id(feedback_xml(reporter, period, "", policy_domain, policy, sum));
}

std::string feedback_xml(const Reporter& reporter, const Period& period, std::string_view id,
                         std::string_view policy_domain, const dmarc::Record& policy,
                         const DomainAggregate& sum) {
  XmlWriter xml;
  xml.raw("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
  xml.raw("<feedback xmlns=\"urn:ietf:params:xml:ns:dmarc-2.0\">\n");
  xml.element("version", "1.0");
  write_metadata(xml, reporter, period, id, policy, sum);
  write_policy(xml, policy_domain, policy);
  for (const auto& [row, count] : sum.rows) write_row(xml, row, count);
  xml.raw("</feedback>\n");
  return std::move(xml).take();
}

}  // namespace mxring::report
