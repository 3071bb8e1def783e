// A report in a file: what is in an attachment, through its transfer encoding, gzip or zip, to the
// reader of the report that it turns out to be. Nothing of it is kept in memory but what is read.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "decode/context.h"
#include "decode/dmarc_reader.h"
#include "decode/tls_reader.h"
#include "decode/unpack.h"

namespace mxring::decode {

class ReportFile final : public UnpackSink {
 public:
  // Which kinds are wanted.
  struct Wanted {
    bool dmarc = true;
    bool tls = true;
  };
  // True: it was a report, which is in the result now.
  bool read(Context& context, std::string_view body, mail::TransferEncoding encoding,
            std::string_view where, const Wanted& wanted);

  bool take(std::string_view bytes) override;
  bool next_entry() override;

 private:
  enum class Form : std::uint8_t { kUnknown, kXml, kWideXml, kJson, kOther };

  void begin_entry();
  Form form_of(std::string_view first) const;
  bool take_xml(std::string_view bytes);
  bool end_entry();

  Context* context_ = nullptr;
  std::string_view where_;
  Wanted wanted_;
  Unpacker unpacker_;
  DmarcReader dmarc_;
  TlsReader tls_;
  Form form_ = Form::kUnknown;
  std::string first_;  // until its form is known
  std::string json_;
  std::string wide_;  // UTF-16 made UTF-8
  bool found_ = false;
};

}  // namespace mxring::decode
