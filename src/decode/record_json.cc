#include "decode/record_json.h"

#include <fmt/format.h>

#include <iterator>

#include "base/units.h"
#include "crypto/sha256.h"
#include "mail/field_text.h"
#include "mail/header_index.h"
#include "mail/mailbox.h"

namespace mxring::decode {

namespace {

// As the server reads a header section.
constexpr std::uint32_t kHeaderBytesMax = 128 << 10;
constexpr std::uint32_t kFieldsMax = 1000;
constexpr std::size_t kTextMax = 998;

void text_or_null(base::JsonWriter& json, std::string_view key, std::string_view text) {
  json.key(key);
  text.empty() ? json.null() : json.value(text);
}

// A recipient with what its RCPT asked of delivery status notifications (RFC 3461).
void write_recipient(base::JsonWriter& json, const Recipient& recipient) {
  constexpr std::string_view kNotify[] = {"never", "success", "failure", "delay"};
  json.begin_object().key("address").value(recipient.address);
  text_or_null(json, "orcpt", recipient.original);
  json.key("notify").begin_array();
  for (unsigned bit = 0; bit < std::size(kNotify); ++bit) {
    if ((recipient.notify >> bit & 1U) != 0) json.value(kNotify[bit]);
  }
  json.end_array().end_object();
}

// What the server stored is JSON of its own making; absent while not evaluated.
void stored_json(base::JsonWriter& json, std::string_view key, std::string_view stored,
                 std::string_view absent) {
  json.key(key).raw(stored.empty() ? absent : stored);
}

}  // namespace

HeaderFacts header_facts(const Record& record) {
  HeaderFacts facts{std::string(record.message_id), std::string(record.header_from),
                    std::string(record.subject), std::string(record.queue_id)};
  // The server writes a queue id with every record; one without is older, and says less.
  if (!record.queue_id.empty()) return facts;
  mail::HeaderIndex header(kHeaderBytesMax, kFieldsMax);
  header.feed(record.message);
  header.finish();
  const auto value_of = [&](mail::FieldName name) -> std::string_view {
    const mail::Field* field = header.first(name);
    return field == nullptr ? std::string_view()
                            : record.message.substr(field->value, field->end - field->value);
  };
  mail::append_unfolded(facts.message_id, value_of(mail::FieldName::kMessageId), kTextMax);
  mail::append_unfolded(facts.subject, value_of(mail::FieldName::kSubject), kTextMax);
  if (const auto author = mail::parse_single_mailbox(value_of(mail::FieldName::kFrom))) {
    facts.from = author->local_part + '@' + author->domain;
  }
  constexpr std::string_view kId = " id ";
  if (const std::size_t at = record.trace.find(kId); at != std::string_view::npos) {
    const std::string_view rest = record.trace.substr(at + kId.size());
    facts.queue_id = rest.substr(0, rest.find_first_of("\r\n ;"));
  }
  return facts;
}

void write_members(base::JsonWriter& json, const Record& record) {
  text_or_null(json, "id", record.id());
  json.key("offset").value(record.offset);
  json.key("received_at").value(base::format_wall_time(record.received_at_us));
  json.key("client").begin_object();
  json.key("ip").value(record.client_ip);
  json.key("port").value(std::uint32_t{record.client_port});
  json.key("helo").value(record.helo);
  text_or_null(json, "name", record.client_name);
  stored_json(json, "via", record.via, "null");
  json.end_object();
  stored_json(json, "tls", record.tls, "null");
  json.key("mail_from").value(record.mail_from);
  json.key("rcpt_to").begin_array();
  for (const Recipient& recipient : record.rcpt_to) json.value(recipient.address);
  json.end_array();
  json.key("size").value(std::uint64_t{record.message.size()});
  json.key("sha256").value(crypto::to_hex(crypto::sha256(record.message)));
  stored_json(json, "spf", record.spf, "null");
  stored_json(json, "dkim", record.dkim, "[]");
  stored_json(json, "dmarc", record.dmarc, "null");
  json.key("disposition").value(record.disposition);
  const HeaderFacts facts = header_facts(record);
  text_or_null(json, "message_id", facts.message_id);
  text_or_null(json, "subject", facts.subject);
  text_or_null(json, "from", facts.from);
  text_or_null(json, "queue_id", facts.queue_id);
  json.key("protocol").value(record.protocol);
  text_or_null(json, "body_type", record.body_type);
  json.key("smtputf8").value(record.smtputf8);
  json.key("requiretls").value(record.requiretls);
  json.key("long_line").value(record.has_long_line);
  json.key("binary").value(record.is_binary);
  text_or_null(json, "envid", record.envelope_id);
  text_or_null(json, "ret", record.dsn_return);
  json.key("recipients").begin_array();
  for (const Recipient& recipient : record.rcpt_to) write_recipient(json, recipient);
  json.end_array();
}

}  // namespace mxring::decode
