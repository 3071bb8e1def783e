// One line of the journal: what became of a command, a message or a connection, and its two
// notations. Written into memory of the caller's; nothing allocates. Everything from outside is
// escaped: control characters, those that turn the direction of text (what a terminal shows must be
// what was sent), and bytes that are no UTF-8. What is too long is cut, which shows.
//
// The contract of the keys is server/journal.schema.json.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

#include "base/clock.h"
#include "server/config.h"
#include "smtp/reply.h"

namespace mxring::server {

enum class JournalEvent : std::uint8_t {
  kRefused,   // for good, 5xx
  kDeferred,  // for now, 4xx; the client may go on
  kCutOff,    // the connection was ended by us
  kAccepted,
  kRemoved,  // by retention
  kNotice,   // anything else an operator should know
};
std::string_view word(JournalEvent event);

// What a reply means here; the door (kConnect) puts off, later on a 421 cuts off.
JournalEvent event_of(smtp::ReplyId id, smtp::Stage stage);

struct JournalLine {
  JournalEvent event = JournalEvent::kNotice;
  base::WallTime time;
  std::uint64_t session = 0;  // 0: of no connection
  std::string_view ip;        // with the three after it; "" without a client
  std::uint16_t port = 0;
  std::string_view helo;
  std::string_view name;  // forward-confirmed
  std::string_view via;   // the balancer's address; "" without one
  std::string_view tls;   // a JSON value of ours; "" without TLS
  bool in_transaction = false;
  std::string_view mail_from;
  std::size_t recipients = 0;
  std::string_view (*recipient)(const void* of, std::size_t index) = nullptr;
  const void* recipients_of = nullptr;
  std::string_view stage;  // "" outside the dialogue
  std::string_view codes;  // "550 5.7.1"; "" without a reply
  std::string_view text;   // of the reply, or of the notice
  std::string_view spf;    // "" where it was not looked at
  std::string_view dmarc;
  bool has_size = false;
  std::uint64_t size = 0;
  std::uint64_t repeated = 1;  // how many this line stands for
};

// How many bytes of `out` the line takes, without a line end. At least kJournalLineBytesMin.
constexpr std::size_t kJournalLineBytesMin = 2048;
std::size_t write_line(const JournalLine& line, JournalFormat format, std::uint64_t run,
                       std::span<char> out);

}  // namespace mxring::server
