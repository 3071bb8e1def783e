// Records as a server writes them, for the tests of reports.
#pragma once

#include <mxring/record.h>

#include <string>

namespace mxring::test {

// The text that a Record's views point into.
struct SampleRecord {
  std::string disposition = "accept";
  std::string client_ip = "192.0.2.1";
  std::string mail_from = "bounce@Mail.Example.org";
  std::string dmarc =
      R"({"result":"pass","from_domain":"news.example.org","policy":"reject",)"
      R"("record":"v=DMARC1; p=reject; rua=mailto:d@example.org","record_domain":"example.org",)"
      R"("organizational_domain":"example.org","aligned_spf":"mail.example.org",)"
      R"("aligned_dkim":"example.org"})";
  std::string spf =
      R"({"result":"pass","identity":"mailfrom","domain":"mail.example.org","mechanism":"mx",)"
      R"("lookups":1,"voids":0})";
  std::string dkim =
      R"([{"domain":"other.test","selector":"a","algorithm":"rsa-sha256","result":"fail","reason":""},)"
      R"({"domain":"other.test","selector":"b","algorithm":"rsa-sha256","result":"pass","reason":""},)"
      R"({"domain":"example.org","selector":"c","algorithm":"rsa-sha256","result":"pass","reason":""},)"
      R"({"domain":"news.example.org","selector":"d","algorithm":"rsa-sha256","result":"pass",)"
      R"("reason":""}])";

  Record record() const {
    Record r;
    r.client_ip = client_ip;
    r.mail_from = mail_from;
    r.disposition = disposition;
    r.dmarc = dmarc;
    r.spf = spf;
    r.dkim = dkim;
    return r;
  }
};

// `text` with its first `from` replaced; the test's own mistake when there is none.
inline std::string with(std::string text, std::string_view from, std::string_view to) {
  const std::size_t at = text.find(from);
  return at == std::string::npos ? "no such text in the sample" : text.replace(at, from.size(), to);
}

}  // namespace mxring::test
