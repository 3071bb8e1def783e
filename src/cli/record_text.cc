#include "cli/record_text.h"

#include <fmt/format.h>

#include <iterator>

#include "base/text.h"
#include "base/units.h"
#include "crypto/sha256.h"
#include "mail/field_text.h"
#include "mail/header_index.h"
#include "mail/mailbox.h"

namespace mxring::cli {

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

// Every "result" in a stored verdict, in order: "pass", "fail". Quotes inside its values are
// escaped, so the words found are members and nothing else.
std::string results_of(std::string_view stored) {
  constexpr std::string_view kMember = "\"result\":\"";
  std::string words;
  for (std::size_t at = stored.find(kMember); at != std::string_view::npos;
       at = stored.find(kMember, at)) {
    at += kMember.size();
    if (!words.empty()) words += '+';
    words += stored.substr(at, stored.find('"', at) - at);
  }
  return words.empty() ? "none" : words;
}

std::string verdicts_line(const Record& record) {
  std::string line;
  const auto add = [&line](std::string_view method, std::string_view stored) {
    if (!stored.empty()) line += fmt::format("{}={} ", method, results_of(stored));
  };
  add("spf", record.spf);
  add("dkim", record.dkim);
  add("dmarc", record.dmarc);
  if (!line.empty()) line.pop_back();
  return line;
}

// The text of a member of a stored object, as long as there is nothing escaped in it.
std::string_view text_member(std::string_view object, std::string_view name) {
  const std::string opening = fmt::format("\"{}\":\"", name);
  const std::size_t at = object.find(opening);
  if (at == std::string_view::npos) return {};
  const std::string_view rest = object.substr(at + opening.size());
  return rest.substr(0, rest.find('"'));
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

std::string record_json(const Record& record) {
  base::JsonWriter json;
  json.begin_object();
  write_members(json, record);
  json.end_object();
  return std::move(json).text() + '\n';
}

std::string record_listing(const Record& record, bool colour) {
  constexpr std::size_t kRecipientsShown = 5;
  const char* strong = colour ? "\x1b[1m" : "";
  const char* plain = colour ? "\x1b[0m" : "";
  std::string out = fmt::format("{}{}{}  {}  {}  {}\n", strong, record.offset, plain,
                                base::format_wall_time(record.received_at_us),
                                base::format_bytes(record.message.size()), record.disposition);
  out += fmt::format("    <{}> ->", base::escaped(record.mail_from));
  for (std::size_t i = 0; i < record.rcpt_to.size() && i < kRecipientsShown; ++i) {
    out += fmt::format("{} <{}>", i == 0 ? "" : ",", base::escaped(record.rcpt_to[i].address));
  }
  if (record.rcpt_to.size() > kRecipientsShown) {
    out += fmt::format(" and {} more", record.rcpt_to.size() - kRecipientsShown);
  }
  out += fmt::format("\n    from {}:{}, {} {}", record.client_ip, record.client_port,
                     base::escaped(record.protocol), base::escaped(record.helo));
  if (!record.client_name.empty()) {
    out += fmt::format(" ({})", base::escaped(record.client_name));
  }
  if (!record.via.empty()) {
    out += fmt::format(", via {} ({})", base::escaped(text_member(record.via, "ip")),
                       base::escaped(text_member(record.via, "protocol")));
  }
  if (const auto cipher = text_member(record.tls, "cipher"); !cipher.empty()) {
    out += fmt::format(", {} {}", base::escaped(text_member(record.tls, "version")),
                       base::escaped(cipher));
  }
  out += '\n';
  const std::string verdicts = verdicts_line(record);
  if (!verdicts.empty()) out += fmt::format("    {}\n", base::escaped(verdicts));
  return out;
}

}  // namespace mxring::cli
