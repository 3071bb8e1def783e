#include "relay/event.h"

#include <fmt/format.h>

#include "base/base64.h"
#include "base/units.h"
#include "decode/facts_json.h"
#include "decode/record_json.h"

namespace mxring::relay {

std::string_view event_type(decode::Kind kind) {
  switch (kind) {
    case decode::Kind::kMail:
      return "mail.received";
    case decode::Kind::kBounce:
      return "mail.bounce";
    case decode::Kind::kComplaint:
      return "mail.complaint";
    case decode::Kind::kDmarcReport:
      return "mail.dmarc_report";
    case decode::Kind::kTlsReport:
      return "mail.tls_report";
    case decode::Kind::kJournalReport:
      return "mail.journal_report";
  }
  return "mail.received";
}

std::vector<decode::TokenPattern> parse_tokens(const std::vector<std::string>& texts) {
  std::vector<decode::TokenPattern> patterns;
  for (const std::string& text : texts) {
    // What the configuration's check let pass.
    if (auto pattern = decode::TokenPattern::parse(text)) patterns.push_back(std::move(*pattern));
  }
  return patterns;
}

namespace {

// The delivered form, into memory that is used again.
std::string_view delivered_into(std::string& out, const Record& record) {
  out.assign(record.trace);
  std::uint64_t from = 0;
  for (const ByteRange& range : record.leave_out) {
    out.append(record.message.substr(from, range.begin - from));
    from = range.end;
  }
  out.append(record.message.substr(from));
  return out;
}

// Large messages must not keep their memory for ever.
void shrink(std::string& text) {
  constexpr std::size_t kKeptBytes = 1 << 20;
  if (text.capacity() > kKeptBytes) std::string().swap(text);
}

}  // namespace

void EventWriter::write_record(const Item& item, bool claim) {
  const Record& record = item.record();
  decode::Options options;
  const bool full = shape_.payload == Payload::kFull;
  const bool inside = full && !claim && record.message.size() <= shape_.inline_bytes;
  if (inside) options.content_bytes = shape_.inline_bytes;
  recipients_.clear();
  for (const Recipient& recipient : record.rcpt_to) recipients_.push_back(recipient.address);
  options.token_patterns = shape_.tokens;
  options.envelope_recipients = recipients_;
  decode::Facts& facts = decoding_->facts;
  decoding_->decoder.decode(record.message, options, facts);
  json_.begin_object().key("type").value(event_type(facts.kind));
  json_.key("timestamp").value(base::format_wall_time(record.received_at_us));
  json_.key("data").begin_object();
  // The envelope's keys bear the names of `log cat`; what the message says of itself comes below
  // "message".
  decode::write_members(json_, record);
  const bool large = !inside && (shape_.payload != Payload::kRaw || claim);
  // Without a mail its texts stay away too: they may be as large. A report's facts are what it is.
  if (inside || (full && !claim && facts.kind != decode::Kind::kMail)) {
    decode::write_json_members(facts, json_);
  } else {
    json_.key("type").value(decode::word(facts.kind));
  }
  json_.key("raw_base64");
  if (inside) {
    encoded_.assign(1, '"');
    base::append_base64(encoded_, shape_.delivered ? delivered_into(raw_, record) : record.message);
    encoded_ += '"';
    json_.raw(encoded_);
  } else {
    json_.null();
  }
  json_.key("claim");
  if (large && !shape_.claim_url.empty()) {
    json_.begin_object().key("url").value(claim_of(item));
    json_.key("expires_at").null().end_object();  // it stays until retention takes the record
  } else {
    json_.null();
  }
  json_.end_object().end_object();
}

std::string EventWriter::claim_of(const Item& item) const {
  if (shape_.claim_url.empty()) return {};
  // What would be in the event: as delivered, or as it was received.
  return fmt::format("{}/v1/body/{}{}", shape_.claim_url, item.id(),
                     shape_.delivered ? "?form=delivered" : "");
}

EventWriter::Event EventWriter::write(const Item& item, bool claim) {
  shrink(raw_);
  shrink(encoded_);
  json_.clear();
  Event event;
  if (item.gap()) {
    const seglog::RecordGap& gap = *item.gap();
    json_.begin_object().key("type").value("log.gap");
    json_.key("timestamp").value(base::format_wall_time(item.time_us()));
    json_.key("data").begin_object();
    json_.key("id").value(item.id()).key("first").value(gap.first).key("next").value(gap.next);
    json_.key("why").value(gap.removed ? "removed" : "damaged").end_object().end_object();
    event.type = "log.gap";
    event.body = json_.text();
    return event;
  }
  if (shape_.payload == Payload::kRaw && !claim) {
    const Record& record = item.record();
    event.type = "mail.received";
    event.content_type = "message/rfc822";
    event.body = shape_.delivered ? delivered_into(raw_, record) : record.message;
    return event;
  }
  write_record(item, claim);
  event.type = event_type(decoding_->facts.kind);
  event.body = json_.text();
  return event;
}

}  // namespace mxring::relay
