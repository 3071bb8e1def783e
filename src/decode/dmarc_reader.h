// DMARC aggregate reports (RFC 9990; RFC 7489 appendix C) while they are unpacked. Elements are
// known by their path; others are named in `extensions` and passed over.
//
// Thread: the decoder's. What it gathers lies in the Facts.
#pragma once

#include <string>
#include <string_view>

#include "decode/context.h"
#include "decode/xml_reader.h"

namespace mxring::decode {

class DmarcReader final : public XmlHandler {
 public:
  void start(Context& context);
  void feed(std::string_view bytes);  // of the XML document
  // True: it was a report, as far as it could be read. Defects and limits are told.
  bool finish(std::string_view where);
  // The root is a report, whatever follows.
  bool is_report() const { return is_report_; }
  bool wants_more() const { return xml_.error() == XmlError::kNone && !xml_.done() && go_on(); }
  XmlError error() const { return xml_.error(); }

  void begin(std::string_view name) override;
  void text(std::string_view text) override;
  void end() override;
  bool go_on() const override { return !full_ && !foreign_; }

 private:
  void store(std::uint8_t node, std::string_view value);
  void store_row(std::uint8_t node, std::string_view value);
  void end_row();
  void note_extension(std::string_view name);
  OptTime number(std::string_view value, std::string_view name);

  Context* context_ = nullptr;
  DmarcReport* report_ = nullptr;
  XmlReader xml_;
  std::array<std::uint8_t, 16> path_{};  // nodes of the open elements
  std::size_t depth_ = 0;
  std::uint32_t skipped_ = 0;  // elements open below one that is not known
  std::string value_;
  bool value_long_ = false;
  DmarcRow row_;
  DmarcAuth auth_;
  DmarcReason reason_;
  std::vector<DmarcAuth> dkim_, spf_;  // of the row
  std::vector<Text> extensions_, errors_;
  bool is_report_ = false;
  bool foreign_ = false;  // the root is something else
  bool full_ = false;     // as many rows as the budget has
};

}  // namespace mxring::decode
