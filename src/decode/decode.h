// A message as typed facts: bounces (RFC 3464, 6533), complaints (RFC 5965, 6430, 6591, 6650,
// 9477), DMARC aggregate reports (RFC 9990, 7489), TLS reports (RFC 8460), journal reports of
// Exchange and Google, and plain mail (RFC 5322, 2045 to 2047, 2231).
//
// decode() is pure: no clock, no file, no network. It takes any bytes; what it cannot read as more
// is `mail` with a reason, and what a budget cut off is named in Facts::limits. Time is linear in
// the message and in what comes out of it, both of which the budgets bound; nothing recurses.
//
// Thread: one Decoder, one thread at a time. A Decoder and a Facts object used again allocate
// nothing once they have held a message as large.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string_view>

#include "decode/facts.h"
#include "decode/token.h"
#include "mail/mime_walker.h"

namespace mxring::decode {

struct Budget {
  mail::MimeBudget mime;                              // depth, parts, header sections
  std::uint64_t decoded_bytes = 32ULL * 1024 * 1024;  // out of all transfer and file encodings
  std::uint64_t ratio = 100;  // of what comes out of a gzip or zip file to the file ...
  std::uint64_t ratio_free = 1024 * 1024;  // ... beyond this much
  std::uint64_t rows = 100'000;            // of a DMARC report
  std::uint32_t xml_depth = 16;
  std::uint32_t json_depth = 16;
  std::uint32_t recipients = 10'000;  // of a bounce or journal report
  std::uint32_t addresses = 1000;     // of an address field
  std::uint32_t notes = 64;           // entries of derived and of defects, each
};

// Takes the rows of a DMARC report one by one, so that a report of any size needs no memory. The
// report holds what stood before the row; the row's texts are gone when row() returns.
class RowSink {
 public:
  virtual void row(const DmarcReport& report, const DmarcRow& row) = 0;

 protected:
  ~RowSink() = default;
};

struct Options {
  std::optional<Kind> as;  // only this kind
  Budget budget;
  std::uint64_t content_bytes = 0;  // attachments up to this size are in the result whole
  RowSink* rows = nullptr;
  std::span<const TokenPattern> token_patterns;           // tried in order
  std::span<const std::string_view> envelope_recipients;  // of the message; for token patterns
};

class Decoder {
 public:
  Decoder();
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;
  ~Decoder();

  void decode(std::string_view message, const Options& options, Facts& out);

 private:
  class Work;
  std::unique_ptr<Work> work_;
};

Facts decode(std::string_view message, const Options& options = {});

// True for the bytes of a report file rather than of a message: gzip, zip, XML, JSON.
bool looks_like_report_file(std::string_view bytes);

}  // namespace mxring::decode
