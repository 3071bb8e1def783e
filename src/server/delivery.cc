#include "server/delivery.h"

#include <utility>

#include "base/assert.h"
#include "seglog/metadata.h"

namespace mxring::server {

using seglog::MetadataTag;

Delivery::Delivery(const Setup& setup) : setup_(setup) {}

Message* Delivery::begin(base::SlotRef client) {
  if (idle_.empty()) {
    all_.push_back(std::make_unique<Message>(setup_.buffers, setup_.limits));
    idle_.reserve(all_.size());
    idle_.push_back(all_.back().get());
  }
  Message* message = idle_.back();
  idle_.pop_back();
  message->client = client;
  receiving_.push_back(*message);
  return message;
}

void Delivery::abandon(Message* message) {
  receiving_.remove(*message);
  recycle(message);
}

void Delivery::recycle(Message* message) {
  count_copies(*message);
  message->clear();
  idle_.push_back(message);
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
  if (session.envelope().smtputf8) return "UTF8SMTP";
  return session.esmtp() ? "ESMTP" : "SMTP";
}

std::string_view body_type_of(smtp::BodyType body) {
  switch (body) {
    case smtp::BodyType::k7Bit:
      return "7bit";
    case smtp::BodyType::k8BitMime:
      return "8bitmime";
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
  trace_text_.clear();
  trace_.append(trace_text_,
                {.hostname = setup_.hostname,
                 .helo = session.helo(),
                 .client_name = verdicts.client_name,
                 .client_ip = client.ip,
                 .client_is_v6 = client.is_v6,
                 .protocol = protocol,
                 .id_high = static_cast<std::uint64_t>(message.received_at.us),
                 .id_low = (sequence_++ << 8) | (setup_.shard & 0xFF)},
                envelope, message.received_at);

  seglog::MetadataWriter out(message.metadata);
  out.text(MetadataTag::kClientIp, client.ip);
  out.u16(MetadataTag::kClientPort, client.port);
  out.text(MetadataTag::kHelo, session.helo());
  out.text(MetadataTag::kClientName, verdicts.client_name);
  out.text(MetadataTag::kProtocol, protocol);
  out.text(MetadataTag::kMailFrom, envelope.reverse_path());
  for (std::size_t i = 0; i < envelope.recipients(); ++i) {
    const smtp::Envelope::Recipient recipient = envelope.recipient(i);
    out.recipient(recipient.path, recipient.original, recipient.notify);
  }
  out.text(MetadataTag::kEnvelopeId, envelope.envelope_id());
  out.text(MetadataTag::kDsnReturn, dsn_return_of(envelope.dsn_return));
  out.text(MetadataTag::kBodyType, body_type_of(envelope.body));
  const std::uint32_t flags = (envelope.smtputf8 ? seglog::kFlagSmtpUtf8 : 0U) |
                              (session.data().has_long_line() ? seglog::kFlagLongLine : 0U);
  if (flags != 0) out.u32(MetadataTag::kFlags, flags);
  out.text(MetadataTag::kSpf, verdicts.spf);
  out.text(MetadataTag::kDisposition, "accept");
  out.text(MetadataTag::kTrace, trace_text_);
}

void Delivery::submit(Message* message, const smtp::Session& session, const ClientFacts& client,
                      const Verdicts& verdicts, base::Now now) {
  receiving_.remove(*message);
  message->received_at = now.wall;
  describe(*message, session, client, verdicts);
  // The queue holds as many messages as there can be connections, each of which waits for its one.
  const bool queued = setup_.to_writer.push(std::move(message));
  MXRING_ASSERT(queued);
  ++in_flight_;
  submitted_ = true;
}

Message* Delivery::next_decided() {
  Message* message = nullptr;
  if (!setup_.from_writer.pop(message)) return nullptr;
  MXRING_ASSERT(message->outcome != CommitOutcome::kPending);
  --in_flight_;
  return message;
}

}  // namespace mxring::server
