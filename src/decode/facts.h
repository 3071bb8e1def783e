// What a message says, as data: the result of decode(). JSON.md describes every field with the
// section of the standard it comes from; names here and there are the same.
//
// All text is UTF-8 and lies, as the lists do, in the Facts object: it can be moved, not copied,
// and clear() or destruction ends every view. std::nullopt is what is not in the message.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/arena.h"
#include "crypto/sha256.h"

namespace mxring::decode {

using Text = std::string_view;
using OptText = std::optional<std::string_view>;
using OptTime = std::optional<std::int64_t>;  // seconds since 1970-01-01 UTC
template <class T>
using List = std::span<const T>;

enum class Kind : std::uint8_t {
  kMail,
  kBounce,
  kComplaint,
  kDmarcReport,
  kTlsReport,
  kJournalReport,
};
std::string_view word(Kind kind);  // as in the JSON: "mail", "bounce", "dmarc_report" ...

struct Address {
  OptText name;
  OptText address;
};

struct NamedValue {
  Text name;
  Text value;
};

struct Attachment {
  OptText name;
  Text type;               // "application/pdf"
  std::uint64_t size = 0;  // decoded
  crypto::Sha256Digest sha256{};
  OptText content_id;
  OptText disposition;
  OptText content;  // its bytes, when Options::content_bytes has room for them
};

struct MessageFacts {
  OptText message_id;
  OptText subject;
  OptTime date;
  List<Address> from;
  List<Address> to;
  List<Address> cc;
  List<Address> reply_to;
  List<Text> in_reply_to;
  List<Text> references;
  OptText auto_submitted;
  OptText text;
  OptText html;
  List<Attachment> attachments;
};

// A message that another is about: returned, complained of, or journaled.
struct Original {
  OptText message_id;
  OptText from;
  OptText to;
  OptText subject;
  OptTime date;
  OptText return_path;
  bool headers_only = false;
  std::uint64_t size = 0;  // as it stands in the report
};

struct BounceRecipient {
  OptText final_recipient, final_recipient_type;
  OptText original_recipient, original_recipient_type;
  OptText action;
  OptText status;
  OptText diagnostic_code, diagnostic_code_type;
  OptText remote_mta, remote_mta_type;
  OptTime last_attempt_date;
  OptTime will_retry_until;
  OptText final_log_id;
  List<NamedValue> extensions;
};

struct Bounce {
  OptText reporting_mta, reporting_mta_type;
  OptText dsn_gateway, dsn_gateway_type;
  OptText received_from_mta, received_from_mta_type;
  OptText original_envelope_id;
  OptTime arrival_date;
  List<NamedValue> extensions;
  List<BounceRecipient> recipients;
  std::optional<Original> original;
  OptText token;
};

struct Complaint {
  OptText feedback_type;
  OptText user_agent;
  OptText version;
  OptText original_envelope_id;
  OptText original_mail_from;
  OptTime arrival_date;
  OptText reporting_mta, reporting_mta_type;
  OptText source_ip;
  OptText source_port;
  OptText incidents;
  OptText auth_failure;
  OptText delivery_result;
  OptText identity_alignment;
  OptText dkim_domain;
  OptText dkim_identity;
  OptText dkim_selector;
  OptText dkim_selector_dns;
  OptText dkim_adsp_dns;
  OptText dkim_canonicalized_header;
  OptText dkim_canonicalized_body;
  OptText cfbl_address;
  OptText cfbl_feedback_id;
  List<Text> original_rcpt_to;
  List<Text> authentication_results;
  List<Text> reported_domain;
  List<Text> reported_uri;
  List<Text> removal_recipient;
  List<Text> spf_dns;
  List<NamedValue> extensions;
  std::optional<Original> original;
};

// Rows of a report repeat the same few texts: each is kept once, and rows hold its number.
using TextId = std::uint32_t;  // 0: the element is not there

struct DmarcReason {
  TextId type = 0;
  TextId comment = 0;
};

struct DmarcAuth {  // an auth_results/dkim or auth_results/spf
  TextId domain = 0;
  TextId selector = 0;  // dkim
  TextId scope = 0;     // spf
  TextId result = 0;
  TextId human_result = 0;
};

struct DmarcRow {
  std::uint64_t count = 0;
  TextId source_ip = 0;
  TextId disposition = 0;
  TextId dkim = 0;
  TextId spf = 0;
  TextId header_from = 0;
  TextId envelope_from = 0;
  TextId envelope_to = 0;
  std::uint32_t reason_begin = 0, reason_count = 0;  // into DmarcReport::reasons
  std::uint32_t dkim_begin = 0, dkim_count = 0;      // into DmarcReport::auths
  std::uint32_t spf_begin = 0, spf_count = 0;
};

// Each different text once.
class TextTable {
 public:
  TextId add(std::string_view text);
  OptText at(TextId id) const& {
    if (id == 0) return std::nullopt;
    return texts_[id - 1];
  }
  OptText at(TextId id) const&& = delete;
  void clear();

 private:
  void grow();

  base::Arena arena_;
  std::vector<std::string_view> texts_;
  std::vector<TextId> slots_;  // open addressing; 0 is free
};

struct DmarcReport {
  OptText version;
  OptText org_name;
  OptText email;
  OptText extra_contact_info;
  OptText report_id;
  OptText generator;
  List<Text> error;
  OptTime begin;
  OptTime end;
  OptText domain;
  OptText discovery_method;
  OptText adkim, aspf, p, sp, np, pct, fo, testing;
  Text key;               // org_name and report_id: the same for the same report
  List<Text> extensions;  // names of elements that the standards do not have
  std::uint64_t row_count = 0;
  std::uint64_t message_count = 0;  // sum of the rows' counts
  std::vector<DmarcRow> rows;       // empty when Options::rows takes them
  std::vector<DmarcAuth> auths;
  std::vector<DmarcReason> reasons;
  TextTable texts;

  void clear();
};

struct TlsReport {
  OptText organization_name;
  OptText report_id;
  OptText contact_info;
  OptText start_datetime;
  OptText end_datetime;
  Text key;
  std::uint64_t policies = 0;
  std::uint64_t successful_sessions = 0;  // sums over the policies
  std::uint64_t failed_sessions = 0;
  Text json;  // the report, unchanged but for white space
};

struct Expanded {
  Text recipient;
  Text from;  // the list, or the address it was forwarded from
  bool forwarded = false;
};

struct Journal {
  OptText sender;
  OptText on_behalf_of;
  OptText subject;
  OptText message_id;
  List<Text> to;
  List<Text> cc;
  List<Text> bcc;
  List<Text> recipients;  // whose field the server could not tell
  List<Expanded> expanded;
  List<NamedValue> extensions;
  std::optional<Original> original;
};

class Facts {
 public:
  Facts() = default;
  Facts(const Facts&) = delete;
  Facts& operator=(const Facts&) = delete;
  Facts(Facts&&) = default;
  Facts& operator=(Facts&&) = default;

  Kind kind = Kind::kMail;
  bool as_wanted = true;  // false: Options::as asked for a kind that the message is not
  OptText reason;         // why it is `mail` although it looked like more, or is not as wanted
  MessageFacts message;
  std::optional<Bounce> bounce;
  std::optional<Complaint> complaint;
  bool has_dmarc = false;
  DmarcReport dmarc;  // when has_dmarc
  std::optional<TlsReport> tls;
  std::optional<Journal> journal;
  List<Text> derived;  // "complaint.source_ip from Received": not from the standard's place
  List<Text> limits;   // budgets that were hit
  List<Text> defects;  // what was not as it should be, and how it was read

  void clear();  // keeps the memory
  base::Arena arena;
};

}  // namespace mxring::decode
