#include "cli/decode_text.h"

#include <fmt/format.h>

#include "base/json.h"
#include "base/text.h"
#include "base/units.h"
#include "decode/facts_json.h"

namespace mxring::cli {

namespace {

using namespace decode;  // its facts are all that this file is about

constexpr std::size_t kTextBytesMax = 400;  // of a body; --json has all of it
constexpr std::size_t kRowsMax = 20;

class FactsText {
 public:
  std::string write(const Facts& facts) {
    line("type", word(facts.kind));
    line("reason", facts.reason);
    if (facts.bounce) write_bounce(*facts.bounce);
    if (facts.complaint) write_complaint(*facts.complaint);
    if (facts.has_dmarc) write_dmarc(facts.dmarc);
    if (facts.tls) write_tls(*facts.tls);
    if (facts.journal) write_journal(*facts.journal);
    // What carried the facts stands apart from them.
    if (facts.kind != Kind::kMail && !facts.message.from.empty()) out_ += '\n';
    write_message(facts.message);
    for (const Text& note : facts.derived) line("derived", note);
    for (const Text& note : facts.limits) line("limit hit", note);
    for (const Text& note : facts.defects) line("defect", note);
    return std::move(out_);
  }

 private:
  void line(std::string_view key, std::string_view value) {
    out_ += fmt::format("{:<15}{}\n", key, base::escaped(value));
  }
  void line(std::string_view key, const std::string& value) { line(key, std::string_view(value)); }
  void line(std::string_view key, const OptText& value) {
    if (value) line(key, *value);
  }
  void line(std::string_view key, const OptTime& time) {
    if (time) line(key, time_text(*time));
  }
  void lines(std::string_view key, const List<Text>& values) {
    for (const Text& value : values) line(key, value);
  }

  void write_original(const std::optional<Original>& original) {
    if (!original) return line("original", std::string_view("not in the message"));
    line("original",
         fmt::format("{} from {}, \"{}\"", original->message_id.value_or("without id"),
                     original->from.value_or("nobody"), original->subject.value_or("")));
  }

  void write_bounce(const Bounce& bounce) {
    line("reporting MTA", bounce.reporting_mta);
    for (const BounceRecipient& r : bounce.recipients) {
      line("recipient", fmt::format("{} {} {}", r.final_recipient.value_or("unknown"),
                                    r.action.value_or("?"), r.status.value_or("?")));
      if (r.original_recipient && r.original_recipient != r.final_recipient) {
        line("  sent to", r.original_recipient);
      }
      line("  said by", r.remote_mta);
      line("  diagnostic", r.diagnostic_code);
      line("  retried until", r.will_retry_until);
    }
    write_original(bounce.original);
    line("token", bounce.token);
  }

  void write_complaint(const Complaint& c) {
    line("feedback type", c.feedback_type);
    line("auth failure", c.auth_failure);
    line("reported by", c.user_agent);
    line("mail from", c.original_mail_from);
    lines("recipient", c.original_rcpt_to);
    line("source IP", c.source_ip);
    line("arrived", c.arrival_date);
    lines("domain", c.reported_domain);
    lines("URI", c.reported_uri);
    write_original(c.original);
  }

  void write_dmarc(const DmarcReport& r) {
    line("report", r.key);
    line("domain", r.domain);
    if (r.begin && r.end) {
      line("period", fmt::format("{} to {}", time_text(*r.begin), time_text(*r.end)));
    }
    line("policy", fmt::format("p={} sp={} adkim={} aspf={}", r.p.value_or("?"), r.sp.value_or("?"),
                               r.adkim.value_or("?"), r.aspf.value_or("?")));
    line("rows", fmt::format("{}, {}", base::format_count(r.row_count),
                             base::counted(r.message_count, "message")));
    for (std::size_t i = 0; i < r.rows.size() && i < kRowsMax; ++i) {
      const DmarcRow& row = r.rows[i];
      line("  row",
           fmt::format("{} x{} {} dkim={} spf={} from {}", r.texts.at(row.source_ip).value_or("?"),
                       row.count, r.texts.at(row.disposition).value_or("?"),
                       r.texts.at(row.dkim).value_or("?"), r.texts.at(row.spf).value_or("?"),
                       r.texts.at(row.header_from).value_or("?")));
    }
    if (r.rows.size() > kRowsMax) {
      line("  ...",
           fmt::format("{} more (--json has all)", base::format_count(r.rows.size() - kRowsMax)));
    }
  }

  void write_tls(const TlsReport& r) {
    line("report", r.key);
    line("contact", r.contact_info);
    if (r.start_datetime && r.end_datetime) {
      line("period", fmt::format("{} to {}", *r.start_datetime, *r.end_datetime));
    }
    line("policies", base::format_count(r.policies));
    line("sessions", fmt::format("{} good, {} failed", base::format_count(r.successful_sessions),
                                 base::format_count(r.failed_sessions)));
  }

  void write_journal(const Journal& j) {
    line("sender", j.sender);
    line("on behalf of", j.on_behalf_of);
    lines("to", j.to);
    lines("cc", j.cc);
    lines("bcc", j.bcc);
    lines("recipient", j.recipients);
    for (const Expanded& e : j.expanded) {
      line(e.forwarded ? "forwarded" : "expanded", fmt::format("{} -> {}", e.from, e.recipient));
    }
    write_original(j.original);
  }

  void write_addresses(std::string_view key, const List<Address>& addresses) {
    for (const Address& a : addresses) {
      if (!a.name) {
        line(key, a.address);
      } else {
        line(key, a.address ? fmt::format("{} <{}>", *a.name, *a.address) : std::string(*a.name));
      }
    }
  }

  void write_body(std::string_view key, const OptText& body) {
    if (!body) return;
    std::size_t end = std::min(body->size(), kTextBytesMax);
    while (end < body->size() && end > 0 &&
           (static_cast<unsigned char>((*body)[end]) & 0xC0U) == 0x80U) {
      --end;
    }
    std::string_view text = body->substr(0, end);
    while (text.ends_with('\n')) text.remove_suffix(1);
    line(key, base::format_bytes(body->size()));
    while (!text.empty()) {
      const std::size_t lf = std::min(text.find('\n'), text.size());
      out_ += fmt::format("  | {}\n", base::escaped(text.substr(0, lf)));
      text.remove_prefix(std::min(lf + 1, text.size()));
    }
    if (end < body->size()) out_ += "  | ... (--json has all)\n";
  }

  void write_message(const MessageFacts& m) {
    line("message id", m.message_id);
    line("date", m.date);
    write_addresses("from", m.from);
    write_addresses("to", m.to);
    write_addresses("cc", m.cc);
    write_addresses("reply to", m.reply_to);
    line("subject", m.subject);
    line("auto submitted", m.auto_submitted);
    write_body("text", m.text);
    write_body("html", m.html);
    for (const Attachment& a : m.attachments) {
      line("attachment",
           fmt::format("{}{}{}, {}, sha256 {}", a.name.value_or(""), a.name ? " " : "", a.type,
                       base::format_bytes(a.size), crypto::to_hex(a.sha256)));
    }
  }

  std::string out_;
};

}  // namespace

std::string facts_text(const decode::Facts& facts) {
  return FactsText().write(facts);
}

}  // namespace mxring::cli
