// One connection of the load generator and the dialogue on it. Plain state: the worker that owns it
// moves it along.
//
//   (kStartTls and kTls, with --tls, lie between kConnecting and kIdle.)
//
//   kClosed ─▶ kConnecting ─▶ kBanner ─▶ kHello ─▶ kIdle ─▶ kMail ─▶ kRecipient ─▶ kData ─▶
//   kContent ┐
//      ▲  └ kResting ◀┐                             ▲ └──────▶ kQuit │ └── kClosing ◀─┴── any
//      failure               └─────────── kReset, kSettling ◀─────────────────┘
//
// Thread: the worker's.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/intrusive_list.h"
#include "load/message_source.h"
#include "net/tls_client_link.h"
#include "smtp/reply_parser.h"
#include "uring/tag.h"
#include "uring/timer_wheel.h"

namespace mxring::load {

struct Client;

struct ClientTimer : uring::Timer {
  Client* client = nullptr;
};

struct Client {
  enum class At : std::uint8_t {
    kClosed,   // no socket
    kResting,  // closed after a failure, not to be opened again yet
    kConnecting,
    kBanner,    // awaiting 220
    kHello,     // EHLO sent
    kOldHello,  // HELO sent, EHLO was not understood
    kStartTls,  // STARTTLS sent
    kTls,       // in the TLS handshake
    kIdle,      // ready for a transaction
    kMail,      // awaiting the reply to MAIL; with pipelining RCPT and DATA are sent too
    kRecipient,
    kData,
    kContent,   // message sent or being sent, awaiting the reply that decides it
    kDiscard,   // DATA accepted though no recipient was: an empty message ends it
    kReset,     // RSET sent
    kSettling,  // decided while its send was still in flight
    kQuit,      // QUIT sent
    kClosing,   // operations are being cancelled
  };

  At at = At::kClosed;
  int fd = -1;
  std::uint32_t slot = 0;
  std::uint32_t generation = 0;
  bool connecting = false;  // operations in flight
  bool receiving = false;
  bool sending = false;
  bool opening = false;  // counted among those the start of the run waits for
  bool offers_pipelining = false;
  bool offers_chunking = false;
  bool offers_size = false;
  bool offers_8bit = false;
  bool offers_starttls = false;

  // The message this client works for, from the moment it is taken until it is decided.
  bool has_message = false;
  std::uint64_t number = 0;
  base::MonoTime planned;

  std::uint32_t messages_here = 0;    // decided on this connection
  std::uint32_t failures = 0;         // connections in a row on which no message was decided
  std::uint32_t recipients_left = 0;  // replies to RCPT still to come
  std::uint32_t recipients_taken = 0;
  bool mail_taken = false;
  int refused_code = 0;  // first refusal in this transaction, 0 = none
  std::string refused_text;
  bool pipelined = false;  // this transaction's commands went out together

  smtp::ReplyParser parser;
  std::unique_ptr<net::TlsClientLink> tls;
  std::string command;     // what is being sent, unless it is the message
  std::string ciphertext;  // what is being sent with TLS
  OutgoingMessage message;
  ClientTimer timer;
  base::ListHook hook;  // in the worker's list of idle or of closed clients

  uring::Tag tag(uring::Operation operation) const { return {operation, generation, slot}; }
};

}  // namespace mxring::load
