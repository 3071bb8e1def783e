// The fields we add on top of a message (RFC 5321 4.4): Return-Path, first, and Received, between
// which the results of authentication stand (RFC 8601 5). They are kept beside the message in its
// record and put on top by readers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "smtp/envelope.h"

namespace mxring::server {

struct TraceInput {
  std::string_view hostname;  // ours
  std::string_view helo;
  std::string_view client_name;  // forward-confirmed; empty = unknown
  std::string_view client_ip;
  bool client_is_v6 = false;
  std::string_view protocol;    // SMTP, ESMTP, UTF8SMTP, or the last two with an S for TLS
  std::string_view tls_cipher;  // empty without TLS
  std::uint64_t id_high = 0;    // together unique on this host: shown as the Received id
  std::uint64_t id_low = 0;
};

// The id in our Received field: unique on this host.
void append_queue_id(std::string& out, std::uint64_t id_high, std::uint64_t id_low);

// Renders the date of the current second once, however many messages arrive in it.
// Thread: one.
class TraceFields {
 public:
  // Each appends CRLF-terminated lines.
  static void append_return_path(std::string& out, const smtp::Envelope& envelope);
  void append_received(std::string& out, const TraceInput& input, const smtp::Envelope& envelope,
                       base::WallTime received_at);

 private:
  std::string_view date(base::WallTime at);

  std::int64_t date_second_ = -1;
  std::string date_;
};

}  // namespace mxring::server
