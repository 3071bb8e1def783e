#include "decode/facts_json.h"

#include <chrono>

#include "base/base64.h"
#include "decode/arf.h"
#include "decode/dsn.h"
#include "decode/field_rules.h"

namespace mxring::decode {

namespace {

using base::JsonWriter;

void put(JsonWriter& json, std::string_view key, const OptText& text) {
  json.key(key);
  if (text) {
    json.value(*text);
  } else {
    json.null();
  }
}

void put(JsonWriter& json, std::string_view key, const OptTime& time) {
  json.key(key);
  if (time) {
    json.value(time_text(*time));
  } else {
    json.null();
  }
}

void put(JsonWriter& json, std::string_view key, const List<Text>& texts) {
  json.key(key).begin_array();
  for (const Text& text : texts) json.value(text);
  json.end_array();
}

void put(JsonWriter& json, std::string_view key, const List<Address>& addresses) {
  json.key(key).begin_array();
  for (const Address& address : addresses) {
    json.begin_object();
    put(json, "name", address.name);
    put(json, "address", address.address);
    json.end_object();
  }
  json.end_array();
}

// A name may come more than once, so they are pairs and no object.
void put(JsonWriter& json, std::string_view key, const List<NamedValue>& values) {
  json.key(key).begin_array();
  for (const NamedValue& value : values) {
    json.begin_object().key("name").value(value.name).key("value").value(value.value).end_object();
  }
  json.end_array();
}

template <class T, std::size_t N>
void put_fields(JsonWriter& json, const std::array<FieldRule<T>, N>& rules, const T& record) {
  std::string key;
  for (const FieldRule<T>& rule : rules) {
    key.clear();
    append_key(key, rule.name);
    if (rule.time != nullptr) {
      // Received-Date is another name of Arrival-Date, which has its key already.
      bool again = false;
      for (const FieldRule<T>* other = rules.data(); other != &rule; ++other) {
        again = again || other->time == rule.time;
      }
      if (!again) put(json, key, record.*rule.time);
    } else {
      put(json, key, record.*rule.text);
      if (rule.shape == Shape::kTyped) put(json, key + "_type", record.*rule.type);
    }
  }
}

void put_original(JsonWriter& json, const std::optional<Original>& original) {
  json.key("original");
  if (!original) {
    json.null();
    return;
  }
  json.begin_object();
  put(json, "message_id", original->message_id);
  put(json, "from", original->from);
  put(json, "to", original->to);
  put(json, "subject", original->subject);
  put(json, "date", original->date);
  put(json, "return_path", original->return_path);
  json.key("headers_only").value(original->headers_only);
  json.key("size").value(original->size);
  json.end_object();
}

void put_message(JsonWriter& json, const MessageFacts& message) {
  json.key("message").begin_object();
  put(json, "message_id", message.message_id);
  put(json, "subject", message.subject);
  put(json, "date", message.date);
  put(json, "from", message.from);
  put(json, "to", message.to);
  put(json, "cc", message.cc);
  put(json, "reply_to", message.reply_to);
  put(json, "in_reply_to", message.in_reply_to);
  put(json, "references", message.references);
  put(json, "auto_submitted", message.auto_submitted);
  put(json, "text", message.text);
  put(json, "html", message.html);
  json.key("attachments").begin_array();
  for (const Attachment& attachment : message.attachments) {
    json.begin_object();
    put(json, "name", attachment.name);
    json.key("type").value(attachment.type);
    json.key("size").value(attachment.size);
    json.key("sha256").value(crypto::to_hex(attachment.sha256));
    put(json, "content_id", attachment.content_id);
    put(json, "disposition", attachment.disposition);
    if (attachment.content) {
      json.key("content_base64").value(base::encode_base64(*attachment.content));
    }
    json.end_object();
  }
  json.end_array().end_object();
}

void put_bounce(JsonWriter& json, const Bounce& bounce) {
  json.begin_object();
  put_fields(json, kBounceFields, bounce);
  json.key("recipients").begin_array();
  for (const BounceRecipient& recipient : bounce.recipients) {
    json.begin_object();
    put_fields(json, kRecipientFields, recipient);
    put(json, "extensions", recipient.extensions);
    json.end_object();
  }
  json.end_array();
  put(json, "extensions", bounce.extensions);
  put_original(json, bounce.original);
  put(json, "token", bounce.token);
  json.end_object();
}

void put_complaint(JsonWriter& json, const Complaint& complaint) {
  json.begin_object();
  put_fields(json, kComplaintFields, complaint);
  std::string key;
  for (const ComplaintList& list : kComplaintLists) {
    key.clear();
    append_key(key, list.name);
    put(json, key, complaint.*list.list);
  }
  put(json, "extensions", complaint.extensions);
  put_original(json, complaint.original);
  json.end_object();
}

void put_auths(JsonWriter& json, const DmarcReport& report, std::uint32_t begin,
               std::uint32_t count, bool dkim) {
  json.key(dkim ? "dkim" : "spf").begin_array();
  for (std::uint32_t i = begin; i < begin + count; ++i) {
    const DmarcAuth& auth = report.auths[i];
    json.begin_object();
    put(json, "domain", report.texts.at(auth.domain));
    if (dkim) {
      put(json, "selector", report.texts.at(auth.selector));
    } else {
      put(json, "scope", report.texts.at(auth.scope));
    }
    put(json, "result", report.texts.at(auth.result));
    put(json, "human_result", report.texts.at(auth.human_result));
    json.end_object();
  }
  json.end_array();
}

void put_row(JsonWriter& json, const DmarcReport& report, const DmarcRow& row) {
  const TextTable& texts = report.texts;
  json.begin_object().key("row").begin_object();
  put(json, "source_ip", texts.at(row.source_ip));
  json.key("count").value(row.count);
  json.key("policy_evaluated").begin_object();
  put(json, "disposition", texts.at(row.disposition));
  put(json, "dkim", texts.at(row.dkim));
  put(json, "spf", texts.at(row.spf));
  json.key("reason").begin_array();
  for (std::uint32_t i = 0; i < row.reason_count; ++i) {
    const DmarcReason& reason = report.reasons[row.reason_begin + i];
    json.begin_object();
    put(json, "type", texts.at(reason.type));
    put(json, "comment", texts.at(reason.comment));
    json.end_object();
  }
  json.end_array().end_object().end_object();
  json.key("identifiers").begin_object();
  put(json, "header_from", texts.at(row.header_from));
  put(json, "envelope_from", texts.at(row.envelope_from));
  put(json, "envelope_to", texts.at(row.envelope_to));
  json.end_object();
  json.key("auth_results").begin_object();
  put_auths(json, report, row.dkim_begin, row.dkim_count, true);
  put_auths(json, report, row.spf_begin, row.spf_count, false);
  json.end_object().end_object();
}

void put_number(JsonWriter& json, std::string_view key, const OptTime& seconds) {
  json.key(key);
  if (seconds) {
    json.value(*seconds);
  } else {
    json.null();
  }
}

void put_dmarc(JsonWriter& json, const DmarcReport& report) {
  json.begin_object();
  json.key("key").value(report.key);
  put(json, "version", report.version);
  json.key("report_metadata").begin_object();
  put(json, "org_name", report.org_name);
  put(json, "email", report.email);
  put(json, "extra_contact_info", report.extra_contact_info);
  put(json, "report_id", report.report_id);
  json.key("date_range").begin_object();
  put_number(json, "begin", report.begin);
  put_number(json, "end", report.end);
  json.end_object();
  put(json, "error", report.error);
  put(json, "generator", report.generator);
  json.end_object();
  json.key("policy_published").begin_object();
  put(json, "domain", report.domain);
  put(json, "discovery_method", report.discovery_method);
  put(json, "p", report.p);
  put(json, "sp", report.sp);
  put(json, "np", report.np);
  put(json, "adkim", report.adkim);
  put(json, "aspf", report.aspf);
  put(json, "pct", report.pct);
  put(json, "fo", report.fo);
  put(json, "testing", report.testing);
  json.end_object();
  json.key("rows").value(report.row_count);
  json.key("messages").value(report.message_count);
  json.key("record").begin_array();
  for (const DmarcRow& row : report.rows) put_row(json, report, row);
  json.end_array();
  put(json, "extensions", report.extensions);
  json.end_object();
}

void put_journal(JsonWriter& json, const Journal& journal) {
  json.begin_object();
  put(json, "sender", journal.sender);
  put(json, "on_behalf_of", journal.on_behalf_of);
  put(json, "subject", journal.subject);
  put(json, "message_id", journal.message_id);
  put(json, "to", journal.to);
  put(json, "cc", journal.cc);
  put(json, "bcc", journal.bcc);
  put(json, "recipients", journal.recipients);
  json.key("expanded").begin_array();
  for (const Expanded& expanded : journal.expanded) {
    json.begin_object().key("recipient").value(expanded.recipient);
    json.key("from").value(expanded.from);
    json.key("forwarded").value(expanded.forwarded).end_object();
  }
  json.end_array();
  put(json, "extensions", journal.extensions);
  put_original(json, journal.original);
  json.end_object();
}

}  // namespace

std::string time_text(std::int64_t seconds) {
  using namespace std::chrono;
  const sys_seconds time{std::chrono::seconds(seconds)};
  const sys_days day = floor<days>(time);
  const year_month_day date(day);
  const hh_mm_ss clock(time - day);
  const auto two = [](long long number) {
    return std::string{static_cast<char>('0' + number / 10 % 10),
                       static_cast<char>('0' + number % 10)};
  };
  const int year = static_cast<int>(date.year());
  std::string text = std::to_string(year);
  text.insert(0, text.size() < 4 ? 4 - text.size() : 0, '0');
  text += '-' + two(static_cast<unsigned>(date.month())) + '-' +
          two(static_cast<unsigned>(date.day())) + 'T' + two(clock.hours().count()) + ':' +
          two(clock.minutes().count()) + ':' + two(clock.seconds().count()) + 'Z';
  return text;
}

void write_json_members(const Facts& facts, base::JsonWriter& json) {
  json.key("type").value(word(facts.kind));
  put(json, "reason", facts.reason);
  put_message(json, facts.message);
  const auto member = [&](std::string_view key, bool present) {
    json.key(key);
    if (!present) json.null();
    return present;
  };
  if (member("bounce", facts.bounce.has_value())) put_bounce(json, *facts.bounce);
  if (member("complaint", facts.complaint.has_value())) put_complaint(json, *facts.complaint);
  if (member("dmarc_report", facts.has_dmarc)) put_dmarc(json, facts.dmarc);
  if (member("tls_report", facts.tls.has_value())) json.raw(facts.tls->json);
  json.key("tls_report_key");
  if (facts.tls) {
    json.value(facts.tls->key);
  } else {
    json.null();
  }
  if (member("journal", facts.journal.has_value())) put_journal(json, *facts.journal);
  put(json, "derived", facts.derived);
  put(json, "limits", facts.limits);
  put(json, "defects", facts.defects);
}

void write_json(const Facts& facts, base::JsonWriter& json) {
  json.begin_object();
  write_json_members(facts, json);
  json.end_object();
}

}  // namespace mxring::decode
