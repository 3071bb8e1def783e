// One message in the log, as readers see it.
//
// Every view points into memory of the LogReader that returned the record and stays valid until
// the next call on that reader.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mxring {

// A record's number in its log, counted from 0, never reused.
using Offset = std::uint64_t;

// Made with the log, 16 random bytes. A log that was put back from an older copy goes on under a
// new one, so that a record's id, "<32 hex>_<offset>", never names two messages.
struct LogId {
  std::array<std::uint8_t, 16> bytes{};

  bool known() const { return *this != LogId{}; }  // false: older than log ids
  std::string hex() const;                         // 32 digits, lower case
  friend bool operator==(const LogId&, const LogId&) = default;
};

// Whoever delivers the message finally owes its sender the notification that `notify` asks for.
struct Recipient {
  std::string_view address;   // as given in RCPT TO, without angle brackets
  std::string_view original;  // ORCPT (RFC 3461), xtext; empty when not given
  std::uint8_t notify = 0;    // NOTIFY: 1 never, 2 success, 4 failure, 8 delay; 0 when not given
};

// Bytes [begin, end) of the message that readers leave out of the delivered form: header fields
// that claim to be ours.
struct ByteRange {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

struct Record {
  Offset offset = 0;
  LogId log_id;                     // of the segment that the record is in
  std::int64_t received_at_us = 0;  // end of data, microseconds since 1970-01-01 UTC

  std::string_view client_ip;  // text form
  std::uint16_t client_port = 0;
  std::string_view helo;         // as given
  std::string_view client_name;  // forward-confirmed reverse name; empty when unknown
  std::string_view via;          // JSON: ip, port, protocol of a balancer; empty without one
  std::string_view tls;          // JSON: version, cipher, sni, resumed, group, ja4; or empty
  std::string_view protocol;     // SMTP, ESMTP, ESMTPS, UTF8SMTP, UTF8SMTPS (RFC 3848, 6531)

  std::string_view mail_from;  // without angle brackets; empty for the null reverse-path
  std::vector<Recipient> rcpt_to;
  std::string_view envelope_id;  // ENVID
  std::string_view dsn_return;   // "full", "hdrs" or empty
  std::string_view body_type;    // "7bit", "8bitmime", "binarymime" or empty
  bool smtputf8 = false;
  bool has_long_line = false;  // a line over 998 octets
  bool requiretls = false;     // RFC 8689: must not go on without TLS
  bool is_binary = false;      // bare CR or LF, NUL, or lines without end: no SMTP DATA, no mbox

  std::string_view spf;          // JSON, or empty when not evaluated
  std::string_view dkim;         // JSON array, or empty
  std::string_view dmarc;        // JSON, or empty
  std::string_view disposition;  // accept, quarantine, reject, tempfail

  // Of the message's header; empty too in records older than these.
  std::string_view message_id;   // as it stands there
  std::string_view header_from;  // the address of the first author
  std::string_view subject;      // as it stands there, unfolded
  std::string_view queue_id;     // the id in our Received field

  std::string_view trace;            // the fields we add, CRLF-terminated lines, top of the message
  std::vector<ByteRange> leave_out;  // ascending, not overlapping

  std::string_view message;  // exactly as received, dot-unstuffed

  std::string_view bytes;  // message and metadata in one piece: every view above lies in here

  // "<log id, 32 hex>_<offset>", the same for ever; empty for a record older than log ids.
  std::string id() const;

  // Mail that was refused for its DMARC verdict, for good or (tempfail) for the time being:
  // envelope and verdict are known, there is no message.
  bool is_refusal() const { return disposition == "reject" || disposition == "tempfail"; }

  // The delivered form: our trace fields on top, `leave_out` removed.
  std::string delivered() const;
};

}  // namespace mxring
