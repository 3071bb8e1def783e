#include "decode/report_file.h"

#include "mail/header_fields.h"

namespace mxring::decode {

namespace {

constexpr std::size_t kFirstBytes = 256;
constexpr std::uint64_t kJsonBytesMax = 8 * 1024 * 1024;

bool is_report_white(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

}  // namespace

void ReportFile::begin_entry() {
  form_ = Form::kUnknown;
  first_.clear();
  json_.clear();
}

// kUnknown: more bytes are needed to tell.
ReportFile::Form ReportFile::form_of(std::string_view first) const {
  if (first.starts_with("\xFF\xFE") || first.starts_with("\xFE\xFF")) return Form::kWideXml;
  std::string_view text = first;
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  while (!text.empty() && is_report_white(text[0])) text.remove_prefix(1);
  if (text.empty()) return first.size() < kFirstBytes ? Form::kUnknown : Form::kOther;
  if (text[0] == '<') return wanted_.dmarc ? Form::kXml : Form::kOther;
  if (text[0] == '{') return wanted_.tls ? Form::kJson : Form::kOther;
  return first.size() < 4 ? Form::kUnknown : Form::kOther;
}

bool ReportFile::take(std::string_view bytes) {
  if (form_ == Form::kUnknown) {
    first_.append(bytes);
    form_ = form_of(first_);
    if (form_ == Form::kUnknown) return true;
    if (form_ == Form::kWideXml) context_->scratch().charsets.begin("utf-16");
    if (form_ == Form::kXml || form_ == Form::kWideXml) dmarc_.start(*context_);
    bytes = first_;
  }
  switch (form_) {
    case Form::kXml:
    case Form::kWideXml:
      return take_xml(bytes);
    case Form::kJson:
      if (json_.size() + bytes.size() > kJsonBytesMax) {
        context_->limit("json_bytes");
        return false;
      }
      json_.append(bytes);
      return true;
    case Form::kUnknown:
    case Form::kOther:
      return false;
  }
  return false;
}

bool ReportFile::take_xml(std::string_view bytes) {
  if (form_ == Form::kWideXml) {
    wide_.clear();
    context_->scratch().charsets.take(bytes, wide_);
    bytes = wide_;
  }
  dmarc_.feed(bytes);
  return dmarc_.wants_more();
}

bool ReportFile::end_entry() {
  if (form_ == Form::kXml || form_ == Form::kWideXml) {
    if (!dmarc_.finish(where_)) return false;
    context_->out().has_dmarc = true;
    context_->out().kind = Kind::kDmarcReport;
    return true;
  }
  return form_ == Form::kJson && tls_.read(*context_, json_, where_);
}

bool ReportFile::next_entry() {
  found_ = found_ || end_entry();
  if (!found_) begin_entry();
  return !found_;
}

bool ReportFile::read(Context& context, std::string_view body, mail::TransferEncoding encoding,
                      std::string_view where, const Wanted& wanted) {
  context_ = &context;
  where_ = where;
  wanted_ = wanted;
  found_ = false;
  begin_entry();
  unpacker_.begin(*this,
                  {context.bytes_left(), context.budget().ratio, context.budget().ratio_free});
  mail::decode_transfer(encoding, body, unpacker_);
  const UnpackEnd end = unpacker_.finish();
  context.use_bytes(unpacker_.unpacked());
  // What came out before it broke off may be most of a report.
  if (!found_) found_ = end_entry();
  const bool report = found_ || form_ == Form::kXml || form_ == Form::kJson;
  if (end == UnpackEnd::kBytes) context.limit("decoded_bytes");
  if (end == UnpackEnd::kRatio) context.limit("ratio");
  if (end != UnpackEnd::kGood && end != UnpackEnd::kEnough) {
    std::string& why = context.scratch().phrase;
    why.assign(where).append(": ").append(words(end));
    if (report || end == UnpackEnd::kEncrypted || end == UnpackEnd::kDamaged ||
        end == UnpackEnd::kMethod || end == UnpackEnd::kRatio || end == UnpackEnd::kBytes ||
        end == UnpackEnd::kCutShort) {
      if (found_) {
        context.defect(where, words(end));
      } else {
        context.reason(why);
      }
    }
  }
  return found_;
}

}  // namespace mxring::decode
