// Between the session and the writer: assembles messages from the shard's receive buffers,
// describes them (metadata, trace fields), hands them to the writer's queue and takes them back
// when the commit is acknowledged.
//
// Thread: the shard's. Messages are pooled: after warm-up nothing is allocated per message.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/ip_address.h"
#include "base/json.h"
#include "base/limits.h"
#include "mail/mailbox.h"
#include "mailauth/authres/builder.h"
#include "mailauth/disposition.h"
#include "mailauth/evaluation.h"
#include "obs/counters.h"
#include "seglog/metadata.h"
#include "server/message.h"
#include "server/trace_fields.h"
#include "smtp/session.h"
#include "spsc/queue.h"

namespace mxring::server {

// Messages to the writer, and the same messages back.
using MessageQueue = spsc::Queue<Message*>;

// Who sent it.
struct ClientFacts {
  base::IpAddress address;
  std::string ip;
  std::uint16_t port = 0;
  bool is_v6 = false;
  // Empty unless a balancer or proxy named this client:
  std::string via;     // as JSON for the record
  std::string via_ip;  // its own address
  // Empty without TLS:
  std::string tls;         // as JSON for the record
  std::string tls_cipher;  // as IANA calls it
};

// What was found out about the sender and the message, and what follows from it.
struct Verdicts {
  std::string_view client_name;  // forward-confirmed; empty: none, or not known in time
  const mailauth::Evaluation* evaluation = nullptr;  // null: nothing was evaluated
  mailauth::Disposition disposition = mailauth::Disposition::kAccept;
};

class Delivery {
 public:
  struct Setup {
    uring::BufferPool& buffers;
    const base::Limits& limits;
    bool from_line = false;  // see mail::HeaderIndex
    std::string hostname;
    std::uint32_t shard = 0;
    MessageQueue& to_writer;
    MessageQueue& from_writer;
    obs::CounterSet& counters;
  };

  explicit Delivery(const Setup& setup);

  // A message begins for this client.
  Message* begin(base::SlotRef client);
  // It will not be delivered: releases all it holds.
  void abandon(Message* message);
  // End of data: the envelope, the session's facts and the verdicts become metadata, and the
  // message goes to the writer. Of a refused one only the fact does: its content is dropped here.
  void submit(Message* message, const smtp::Session& session, const ClientFacts& client,
              const Verdicts& verdicts, base::Now now);
  // The next message whose commit has been decided, or nullptr. Call recycle() when answered.
  Message* next_decided();
  void recycle(Message* message);

  std::size_t in_flight() const { return in_flight_; }
  // No message may be submitted until one has been decided. Those of clients that have left count
  // too, so there may be more of them than there are clients.
  bool is_full() const { return in_flight_ >= setup_.to_writer.capacity(); }
  // Messages submitted since the writer was last woken for them.
  std::size_t unannounced() const { return unannounced_; }
  void announced() { unannounced_ = 0; }

 private:
  void describe(Message& message, const smtp::Session& session, const ClientFacts& client,
                const Verdicts& verdicts);
  void describe_verdicts(seglog::MetadataWriter& out, const Verdicts& verdicts);
  void describe_header(seglog::MetadataWriter& out, Message& message);
  void leave_out_forged(seglog::MetadataWriter& out, Message& message);
  void count_copies(const Message& message);

  Setup setup_;
  std::vector<std::unique_ptr<Message>> idle_;
  TraceFields trace_;
  std::string trace_text_;
  mailauth::authres::Builder results_{trace_text_};
  std::string field_scratch_;
  std::string field_text_;
  mail::MailboxScratch mailbox_;
  base::JsonWriter json_;
  std::uint64_t sequence_ = 0;
  std::size_t in_flight_ = 0;
  std::size_t unannounced_ = 0;
};

}  // namespace mxring::server
