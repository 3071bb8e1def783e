#include "report/report_message.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>

#include "base/base64.h"
#include "crypto/sha256.h"

namespace mxring::report {

namespace {

constexpr std::size_t kLineBytes = 76;         // of base64, RFC 2045 6.8
constexpr std::size_t kEncodedWordBytes = 42;  // 56 digits: with the frame below 75 (RFC 2047 2)

void append_base64_lines(std::string& out, std::string_view bytes) {
  const std::string digits = base::encode_base64(bytes);
  for (std::size_t at = 0; at < digits.size(); at += kLineBytes) {
    out.append(digits, at, kLineBytes);
    out += "\r\n";
  }
}

// A display name: quoted, or in encoded words when it has more than printable ASCII.
std::string display_name(std::string_view name) {
  const bool plain = std::ranges::all_of(name, [](char c) { return c >= ' ' && c < '\x7F'; });
  std::string out;
  if (plain && name.size() <= kLineBytes) {
    out = "\"";
    for (const char c : name) {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    return out + '"';
  }
  while (!name.empty()) {
    std::size_t size = std::min(name.size(), kEncodedWordBytes);
    // No character of several bytes is cut in two.
    while (size < name.size() && size > 1 &&
           (static_cast<unsigned char>(name[size]) & 0xC0) == 0x80)
      --size;
    if (!out.empty()) out += "\r\n ";
    out += "=?utf-8?B?" + base::encode_base64(name.substr(0, size)) + "?=";
    name.remove_prefix(size);
  }
  return out;
}

std::string utc(std::int64_t unix_s) {
  return fmt::format("{:%Y-%m-%d %H:%M:%S}", fmt::gmtime(static_cast<std::time_t>(unix_s)));
}

std::string words_for_people(const DeliverySheet& sheet) {
  return fmt::format(
      "This is a DMARC aggregate report (RFC 9990) about mail that claims to be from\r\n"
      "{}.\r\n\r\n"
      "Receiver:  {}\r\n"
      "Period:    {} to {} UTC\r\n"
      "Report-ID: {}\r\n\r\n"
      "The attachment is gzipped XML. The report was asked for by the rua tag of the\r\n"
      "DMARC record at _dmarc.{}.\r\n",
      sheet.policy_domain, sheet.submitter, utc(sheet.period.begin_s), utc(sheet.period.end_s),
      sheet.report_id, sheet.policy_domain);
}

}  // namespace

std::string compose_report(const DeliverySheet& sheet, std::string_view address,
                           const Attachment& attachment, std::int64_t now_unix_s) {
  // Tells copies to several addresses apart, and one address's copies not.
  const std::string copy = crypto::to_hex(crypto::sha256(address)).substr(0, 8);
  // No line of ours or of base64 begins with it.
  const std::string boundary = fmt::format("=_{}_{}", sheet.report_id, copy);
  std::string out = fmt::format("From: {}\r\n <{}>\r\nTo: <{}>\r\n",
                                display_name(sheet.organization), sheet.email, address);
  out += subject_field(sheet.policy_domain, sheet.submitter, sheet.report_id);
  out += fmt::format(
      "Date: {:%a, %d %b %Y %H:%M:%S} +0000\r\n"
      "Message-ID: <{}.{}@{}>\r\n"
      "Auto-Submitted: auto-generated\r\n"
      "MIME-Version: 1.0\r\n"
      "Content-Type: multipart/mixed;\r\n boundary=\"{}\"\r\n\r\n",
      fmt::gmtime(static_cast<std::time_t>(now_unix_s)), sheet.report_id, copy, sheet.submitter,
      boundary);
  out += fmt::format(
      "--{}\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n{}\r\n"
      "--{}\r\nContent-Type: application/gzip;\r\n name=\"{}\"\r\n"
      "Content-Transfer-Encoding: base64\r\n"
      "Content-Disposition: attachment;\r\n filename=\"{}\"\r\n\r\n",
      boundary, words_for_people(sheet), boundary, attachment.file_name, attachment.file_name);
  append_base64_lines(out, attachment.bytes);
  out += fmt::format("--{}--\r\n", boundary);
  return out;
}

}  // namespace mxring::report
