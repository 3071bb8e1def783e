// Messages that the tests put together, with CRLF line ends.
#pragma once

#include <zlib.h>

#include <algorithm>
#include <string>
#include <string_view>

#include "base/base64.h"

namespace mxring::decode {

inline std::string crlf(std::string_view text) {
  std::string out;
  out.reserve(text.size() + text.size() / 8);
  while (!text.empty()) {
    const std::size_t lf = std::min(text.find('\n'), text.size());
    out += text.substr(0, lf);
    if (lf < text.size()) out += "\r\n";
    text.remove_prefix(std::min(lf + 1, text.size()));
  }
  return out;
}

// A bounce whose status part is `status`, of type `type`.
inline std::string bounce_message(std::string_view status,
                                  std::string_view type = "message/delivery-status",
                                  std::string_view outer = "multipart/report") {
  std::string text = "From: MAILER-DAEMON@mx.example\nTo: bounces+tok42@example.org\n";
  text.append("Content-Type: ").append(outer).append("; boundary=b\n\n--b\n\nIt failed.\n--b\n");
  text.append("Content-Type: ").append(type).append("\n\n").append(status).append("\n--b\n");
  text +=
      "Content-Type: message/rfc822\n\nReturn-Path: <a@example.org>\nMessage-ID: <1@example.org>\n"
      "From: =?utf-8?q?=C3=84nne?= <a@example.org>\nTo: b@example.com\nSubject: Hello\n"
      "X-Campaign: c-77;x\n\nbody\n--b--\n";
  return crlf(text);
}

inline std::string report_mail(std::string_view type, std::string_view name,
                               std::string_view bytes) {
  std::string text =
      "From: r@example.com\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nReport.\n--b\n";
  text.append("Content-Type: ").append(type);
  text.append("\nContent-Disposition: attachment; filename=\"").append(name).append("\"\n");
  text.append("Content-Transfer-Encoding: base64\n\n");
  const std::string encoded = base::encode_base64(bytes);
  for (std::size_t at = 0; at < encoded.size(); at += 76) text += encoded.substr(at, 76) + "\n";
  return crlf(text + "--b--\n");
}

// zlib's way of wrapping: 31 is gzip, -15 bare deflate.
inline std::string deflated(std::string_view bytes, int window_bits) {
  z_stream stream{};
  deflateInit2(&stream, 6, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, bytes.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

inline std::string gzip(std::string_view bytes) {
  return deflated(bytes, 31);
}

struct ZipEntry {
  std::string_view bytes;
  bool stored = false;
  bool sizes_after = false;  // a data descriptor follows
  bool encrypted = false;
};

inline std::string zip_entry(const ZipEntry& entry) {
  const std::string data = entry.stored ? std::string(entry.bytes) : deflated(entry.bytes, -15);
  const auto crc =
      static_cast<std::uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(entry.bytes.data()),
                                       static_cast<uInt>(entry.bytes.size())));
  const auto little = [](std::uint32_t value, int size) {
    std::string out;
    for (int i = 0; i < size; ++i) out += static_cast<char>(value >> (8 * i));
    return out;
  };
  const std::string sums = little(crc, 4) + little(static_cast<std::uint32_t>(data.size()), 4) +
                           little(static_cast<std::uint32_t>(entry.bytes.size()), 4);
  std::string out("PK\x03\x04", 4);
  out += little(20, 2) + little((entry.sizes_after ? 8U : 0U) | (entry.encrypted ? 1U : 0U), 2);
  out += little(entry.stored ? 0 : 8, 2) + little(0, 4);
  out += entry.sizes_after ? std::string(12, '\0') : sums;
  out += little(5, 2) + little(0, 2) + "r.xml" + data;
  if (entry.sizes_after) out += std::string("PK\x07\x08", 4) + sums;
  return out;
}

inline const std::string kZipEnd = std::string("PK\x01\x02", 4) + std::string(42, '\0');

inline std::string dmarc_xml(int rows, std::string_view head = "<feedback>") {
  std::string xml = "<?xml version=\"1.0\"?>\n";
  xml.append(head);
  xml +=
      "<report_metadata><org_name>Ann &amp; Co</org_name><report_id>r-1</report_id>"
      "<date_range><begin>100</begin><end>200</end></date_range></report_metadata>"
      "<policy_published><domain>example.org</domain><p>reject</p></policy_published>\n";
  for (int i = 0; i < rows; ++i) {
    xml += "<record><row><source_ip>192.0.2." + std::to_string(i % 256) +
           "</source_ip><count>2</count><policy_evaluated><disposition>none</disposition>"
           "<dkim>pass</dkim><spf>fail</spf></policy_evaluated></row><identifiers><header_from>"
           "example.org</header_from></identifiers><auth_results><dkim><domain>example.org</domain>"
           "<selector>s1</selector><result>pass</result></dkim><spf><domain>example.net</domain>"
           "<result>fail</result></spf></auth_results></record>\n";
  }
  return xml + "</feedback>\n";
}

}  // namespace mxring::decode
