#include "server/trace_fields.h"

#include <fmt/compile.h>
#include <fmt/format.h>

#include <array>
#include <ctime>
#include <iterator>
#include <string_view>

#include "smtp/path.h"

namespace mxring::server {

namespace {

constexpr std::array kDays{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
constexpr std::array kMonths{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                             "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

// The client chose this text. The session admits no control characters; parentheses and backslashes
// would still end or begin a comment, and a header section is ASCII unless SMTPUTF8 was said.
void append_safe(std::string& out, std::string_view text) {
  for (const char c : text) {
    const bool safe = c > ' ' && c <= '~' && c != '(' && c != ')' && c != '\\' && c != ';' &&
                      c != '"' && c != '<' && c != '>';
    out += safe ? c : '?';
  }
}

}  // namespace

void append_queue_id(std::string& out, std::uint64_t id_high, std::uint64_t id_low) {
  fmt::format_to(std::back_inserter(out), FMT_COMPILE("{:x}.{:x}"), id_high, id_low);
}

std::string_view TraceFields::date(base::WallTime at) {
  const std::int64_t second = at.us / 1'000'000;
  if (second != date_second_) {
    const std::time_t time = second;
    std::tm utc{};
    gmtime_r(&time, &utc);
    date_ = fmt::format("{}, {} {} {:04} {:02}:{:02}:{:02} +0000",
                        kDays[static_cast<std::size_t>(utc.tm_wday)], utc.tm_mday,
                        kMonths[static_cast<std::size_t>(utc.tm_mon)], utc.tm_year + 1900,
                        utc.tm_hour, utc.tm_min, utc.tm_sec);
    date_second_ = second;
  }
  return date_;
}

// RFC 5322 2.1.1: no line over 998 octets. A reverse-path cannot be folded.
static_assert(std::string_view("Return-Path: ").size() + smtp::kPathBytesMax <= 998);

void TraceFields::append_return_path(std::string& out, const smtp::Envelope& envelope) {
  out += "Return-Path: <";
  out += envelope.reverse_path();
  out += ">\r\n";
}

void TraceFields::append_received(std::string& out, const TraceInput& input,
                                  const smtp::Envelope& envelope, base::WallTime received_at) {
  out += "Received: from ";
  append_safe(out, input.helo.empty() ? "unknown" : input.helo);
  out += " (";
  if (!input.client_name.empty()) {
    append_safe(out, input.client_name);
    out += ' ';
  }
  out += input.client_is_v6 ? "[IPv6:" : "[";
  out += input.client_ip;
  out += "])\r\n\tby ";
  out += input.hostname;
  out += " with ";
  out += input.protocol;
  out += " id ";
  append_queue_id(out, input.id_high, input.id_low);
  // RFC 5321 7.6: naming one of several recipients would disclose a blind copy.
  if (envelope.recipients() == 1) {
    out += "\r\n\tfor <";
    out += envelope.recipient(0).path;
    out += '>';
  }
  if (!input.tls_cipher.empty()) {
    out += "\r\n\ttls ";  // RFC 8314 4.3
    out += input.tls_cipher;
  }
  out += "; ";
  out += date(received_at);
  out += "\r\n";
}

}  // namespace mxring::server
