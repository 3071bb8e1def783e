#include "server/delivery.h"

#include <utility>

#include "base/assert.h"
#include "mail/field_text.h"
#include "mailauth/authres/forged.h"
#include "mailauth/results_field.h"
#include "mailauth/verdict_json.h"

namespace mxring::server {

using seglog::MetadataTag;

namespace {

// What is kept for later messages; a crowd's worth goes back to the allocator.
constexpr std::size_t kIdleKept = 1024;

}  // namespace

Delivery::Delivery(const Setup& setup) : setup_(setup) {}

Message* Delivery::begin(base::SlotRef client) {
  if (idle_.empty()) {
    idle_.push_back(std::make_unique<Message>(setup_.buffers, setup_.limits, setup_.from_line));
  }
  Message* message = idle_.back().release();
  idle_.pop_back();
  MXRING_ASSERT(message->bytes() == 0 && message->outcome == CommitOutcome::kPending);
  message->client = client;
  return message;
}

void Delivery::abandon(Message* message) {
  MXRING_ASSERT(message->outcome == CommitOutcome::kPending);  // nobody else has it
  recycle(message);
}

void Delivery::recycle(Message* message) {
  std::unique_ptr<Message> done(message);
  count_copies(*message);
  message->clear();
  if (idle_.size() < kIdleKept) idle_.push_back(std::move(done));
}

void Delivery::count_copies(const Message& message) {
  obs::CounterSet& counters = setup_.counters;
  if (message.copied_fragment_bytes != 0) {
    counters.add(obs::Counter::kBytesCopiedFragment, message.copied_fragment_bytes);
  }
  if (message.copied_compact_bytes != 0) {
    counters.add(obs::Counter::kBytesCopiedCompact, message.copied_compact_bytes);
  }
  if (message.copied_header_bytes != 0) {
    counters.add(obs::Counter::kBytesCopiedHeader, message.copied_header_bytes);
  }
}

namespace {

std::string_view protocol_of(const smtp::Session& session) {
  // RFC 3848, 6531; there is no name for HELO under TLS.
  if (session.envelope().smtputf8) return session.tls() ? "UTF8SMTPS" : "UTF8SMTP";
  if (!session.client_esmtp()) return "SMTP";
  return session.tls() ? "ESMTPS" : "ESMTP";
}

std::string_view body_type_of(smtp::BodyType body) {
  switch (body) {
    case smtp::BodyType::k7Bit:
      return "7bit";
    case smtp::BodyType::k8BitMime:
      return "8bitmime";
    case smtp::BodyType::kBinaryMime:
      return "binarymime";
    case smtp::BodyType::kUnstated:
      break;
  }
  return {};
}

std::string_view dsn_return_of(smtp::DsnReturn ret) {
  switch (ret) {
    case smtp::DsnReturn::kFull:
      return "full";
    case smtp::DsnReturn::kHeaders:
      return "hdrs";
    case smtp::DsnReturn::kUnstated:
      break;
  }
  return {};
}

}  // namespace

void Delivery::describe(Message& message, const smtp::Session& session, const ClientFacts& client,
                        const Verdicts& verdicts) {
  const smtp::Envelope& envelope = session.envelope();
  const std::string_view protocol = protocol_of(session);
  const auto id_high = static_cast<std::uint64_t>(message.received_at.us);
  const std::uint64_t id_low = (sequence_++ << 8) | (setup_.shard & 0xFF);
  trace_text_.clear();
  TraceFields::append_return_path(trace_text_, envelope);
  if (verdicts.evaluation != nullptr) {
    mailauth::write_results_field(results_, {.hostname = setup_.hostname,
                                             .mail_from = envelope.reverse_path(),
                                             .client = client.address,
                                             .client_name = verdicts.client_name,
                                             .evaluation = *verdicts.evaluation});
  }
  trace_.append_received(trace_text_,
                         {.hostname = setup_.hostname,
                          .helo = session.helo(),
                          .client_name = verdicts.client_name,
                          .client_ip = client.ip,
                          .client_is_v6 = client.is_v6,
                          .protocol = protocol,
                          .tls_cipher = client.tls_cipher,
                          .id_high = id_high,
                          .id_low = id_low},
                         envelope, message.received_at);

  seglog::MetadataWriter out(message.metadata);
  out.text(MetadataTag::kClientIp, client.ip);
  out.u16(MetadataTag::kClientPort, client.port);
  out.text(MetadataTag::kHelo, session.helo());
  out.text(MetadataTag::kClientName, verdicts.client_name);
  out.text(MetadataTag::kTls, client.tls);
  out.text(MetadataTag::kProtocol, protocol);
  out.text(MetadataTag::kMailFrom, envelope.reverse_path());
  for (std::size_t i = 0; i < envelope.recipients(); ++i) {
    const smtp::Envelope::Recipient recipient = envelope.recipient(i);
    out.recipient(recipient.path, recipient.original, recipient.notify);
  }
  out.text(MetadataTag::kEnvelopeId, envelope.envelope_id());
  out.text(MetadataTag::kDsnReturn, dsn_return_of(envelope.dsn_return));
  out.text(MetadataTag::kBodyType, body_type_of(envelope.body));
  const std::uint32_t flags =
      (envelope.smtputf8 ? seglog::kFlagSmtpUtf8 : 0U) |
      (session.data().has_long_line() ? seglog::kFlagLongLine : 0U) |
      (envelope.requiretls ? seglog::kFlagRequireTls : 0U) |
      (session.data().fault() != smtp::DataFault::kNone ? seglog::kFlagBinary : 0U);
  if (flags != 0) out.u32(MetadataTag::kFlags, flags);
  describe_verdicts(out, verdicts);
  out.text(MetadataTag::kDisposition, mailauth::word(verdicts.disposition));
  if (!mailauth::is_refusal(verdicts.disposition)) {
    out.text(MetadataTag::kTrace, trace_text_);
    leave_out_forged(out, message);
  }
  describe_header(out, message);
  field_text_.clear();
  append_queue_id(field_text_, id_high, id_low);
  out.text(MetadataTag::kQueueId, field_text_);
  out.text(MetadataTag::kVia, client.via);
}

// What a message is looked for by, so that nobody has to read it for that.
void Delivery::describe_header(seglog::MetadataWriter& out, Message& message) {
  constexpr std::size_t kTextMax = 998;  // a line, RFC 5322 2.1.1
  const auto value_of = [&](mail::FieldName name) -> std::string_view {
    const mail::Field* field = message.header().first(name);
    if (field == nullptr) return {};
    return message.bytes_between(field->value, field->end, field_scratch_);
  };
  const auto put = [&](MetadataTag tag, std::string_view value) {
    field_text_.clear();
    mail::append_unfolded(field_text_, value, kTextMax);
    out.text(tag, field_text_);
  };
  put(MetadataTag::kMessageId, value_of(mail::FieldName::kMessageId));
  const auto author = mail::parse_single_mailbox(value_of(mail::FieldName::kFrom), mailbox_);
  if (author) {
    field_text_.assign((*author)->local_part).append(1, '@').append((*author)->domain);
    out.text(MetadataTag::kHeaderFrom, field_text_);
  }
  put(MetadataTag::kSubject, value_of(mail::FieldName::kSubject));
}

void Delivery::describe_verdicts(seglog::MetadataWriter& out, const Verdicts& verdicts) {
  if (verdicts.evaluation == nullptr) return;
  const mailauth::Evaluation& evaluation = *verdicts.evaluation;
  if (const auto* spf = evaluation.spf()) {
    json_.clear();
    mailauth::write_spf(json_, *spf);
    out.text(MetadataTag::kSpf, json_.text());
  }
  if (evaluation.options().dkim) {
    json_.clear();
    mailauth::write_dkim(json_, evaluation.dkim());
    out.text(MetadataTag::kDkim, json_.text());
  }
  if (const auto* dmarc = evaluation.dmarc()) {
    json_.clear();
    mailauth::write_dmarc(json_, *dmarc);
    out.text(MetadataTag::kDmarc, json_.text());
  }
}

// Fields that claim to be our verdict on this message came from outside (RFC 8601 5), and a "From "
// line from a mailbox file.
void Delivery::leave_out_forged(seglog::MetadataWriter& out, Message& message) {
  const mail::HeaderIndex& header = message.header();
  if (header.from_line_bytes() > 0) out.leave_out(0, header.from_line_bytes());
  if (header.count(mail::FieldName::kAuthenticationResults) == 0) return;
  for (const mail::Field& field : header.fields()) {
    if (field.name != mail::FieldName::kAuthenticationResults) continue;
    const std::string_view value = message.bytes_between(field.value, field.end, field_scratch_);
    if (mailauth::authres::claims_to_be_from(value, setup_.hostname)) {
      out.leave_out(field.begin, field.end);
    }
  }
}

void Delivery::submit(Message* message, const smtp::Session& session, const ClientFacts& client,
                      const Verdicts& verdicts, base::Now now) {
  MXRING_ASSERT(message->outcome == CommitOutcome::kPending && message->metadata.empty());
  message->received_at = now.wall;
  describe(*message, session, client, verdicts);
  if (mailauth::is_refusal(verdicts.disposition)) {
    MXRING_ASSERT(verdicts.evaluation != nullptr && verdicts.evaluation->dmarc() != nullptr);
    message->refuse(
        mailauth::refusal(*verdicts.evaluation->dmarc(), verdicts.disposition, field_scratch_));
  }
  const bool queued = setup_.to_writer.push(std::move(message));
  MXRING_ASSERT(queued);
  ++in_flight_;
  ++unannounced_;
}

Message* Delivery::next_decided() {
  Message* message = nullptr;
  if (!setup_.from_writer.pop(message)) return nullptr;
  MXRING_ASSERT(message->outcome != CommitOutcome::kPending);
  MXRING_ASSERT(in_flight_ > 0);
  --in_flight_;
  return message;
}

}  // namespace mxring::server
