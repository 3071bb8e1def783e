#include "decode/decode.h"

#include "base/assert.h"
#include "base/text.h"
#include "decode/arf.h"
#include "decode/context.h"
#include "decode/dsn.h"
#include "decode/journal.h"
#include "decode/message.h"
#include "decode/report_file.h"

namespace mxring::decode {

namespace {

bool ends_with_any(std::string_view name, std::span<const std::string_view> ends) {
  for (const std::string_view end : ends) {
    if (name.size() >= end.size() &&
        base::ascii_iequals(name.substr(name.size() - end.size()), end)) {
      return true;
    }
  }
  return false;
}

// Could a report be in it? Types are wrong too often to be asked alone: names count as well, and
// what is in it decides.
bool may_hold_report(Context& context, const mail::MimePart& part) {
  if (part.message != 0 || part.multipart || part.embedded) return false;
  const std::string& type = part.type.type;
  if (type == "application" || part.type.is("text", "xml") || part.type.is("text", "json")) {
    return true;
  }
  constexpr std::string_view kEnds[] = {".xml", ".gz", ".zip", ".json"};
  if (const std::string* name = part.type.find("name"); name && ends_with_any(*name, kEnds)) {
    return true;
  }
  const mail::HeaderField* field = context.walker().find(part, "Content-Disposition");
  if (field == nullptr) return false;
  Scratch& s = context.scratch();
  s.field_parser.parse(field->value, s.charsets, s.field);
  const std::string* name = s.field.find("filename");
  return name != nullptr && ends_with_any(*name, kEnds);
}

}  // namespace

class Decoder::Work {
 public:
  void decode(std::string_view message, const Options& options, Facts& out) {
    out.clear();
    scratch_.derived.clear();
    scratch_.limits.clear();
    scratch_.defects.clear();
    Context context(message, options, out, scratch_);
    if (looks_like_report_file(message) && decode_file(context)) {
      context.finish();
      return;
    }
    scratch_.walker.walk(message, options.budget.mime, scratch_.charsets);
    MXRING_ASSERT(!scratch_.walker.parts().empty());
    if (!read_kind(context)) out.kind = Kind::kMail;
    read_message(context);
    if (options.as && out.kind != *options.as) out.as_wanted = false;
    context.finish();
  }

 private:
  static bool wants(const Context& context, Kind kind) {
    return !context.options().as || *context.options().as == kind;
  }

  // The report itself, without a message around it. False: it is none, and read as a message.
  bool decode_file(Context& context) {
    const ReportFile::Wanted wanted{wants(context, Kind::kDmarcReport),
                                    wants(context, Kind::kTlsReport)};
    if (!wanted.dmarc && !wanted.tls) return false;
    scratch_.walker.walk({}, context.budget().mime, scratch_.charsets);
    if (file_.read(context, context.message(), mail::TransferEncoding::kIdentity, "the file",
                   wanted)) {
      return true;
    }
    context.reason("it begins like a report's file and is none");
    return false;
  }

  bool read_kind(Context& context) {
    if (context.options().as == Kind::kMail) return true;
    const mail::MimePart& root = scratch_.walker.parts()[0];
    const bool journal_said = scratch_.walker.find(root, "X-MS-Journal-Report") != nullptr;
    if (journal_said && wants(context, Kind::kJournalReport) && read_journal(context)) return true;
    const std::uint32_t status = find_status_part(scratch_.walker);
    const std::uint32_t feedback = find_feedback_part(scratch_.walker);
    const bool complaint = feedback != mail::kNoPart && wants(context, Kind::kComplaint);
    const bool bounce = status != mail::kNoPart && wants(context, Kind::kBounce);
    if (complaint && (!bounce || feedback < status)) {
      read_complaint(context, feedback);
      return true;
    }
    if (bounce) {
      read_bounce(context, status);
      return true;
    }
    if (read_reports(context)) return true;
    if (wants(context, Kind::kComplaint) && read_bare_complaint(context)) return true;
    if (!journal_said && wants(context, Kind::kJournalReport) && read_journal(context)) return true;
    explain(context, journal_said);
    return false;
  }

  bool read_reports(Context& context) {
    const ReportFile::Wanted wanted{wants(context, Kind::kDmarcReport),
                                    wants(context, Kind::kTlsReport)};
    if (!wanted.dmarc && !wanted.tls) return false;
    bool found = false;
    for (const mail::MimePart& part : scratch_.walker.parts()) {
      if (!may_hold_report(context, part)) continue;
      where_.assign(context.name_of(part));
      if (found) {
        // One message, one report (RFC 9990 4.1, RFC 8460 5.3); another one is told, not read.
        context.defect(where_, "another file after the report's was not looked into");
        continue;
      }
      found = file_.read(context, scratch_.walker.body(part), part.encoding, where_, wanted);
    }
    return found;
  }

  // Why it is mail and nothing more, when somebody asked or its type promised more.
  void explain(Context& context, bool journal_said) {
    const mail::MediaField& type = scratch_.walker.parts()[0].type;
    if (!context.options().as) {
      const std::string* report = type.find("report-type");
      if (journal_said) context.reason("X-MS-Journal-Report, but no envelope and message in it");
      if (type.is("multipart", "report") && report != nullptr) {
        std::string& why = scratch_.phrase;
        why.assign("multipart/report of type ").append(*report);
        why.append(", but no part of it is a report that is known");
        context.reason(why);
      }
      return;
    }
    switch (*context.options().as) {
      case Kind::kMail:
        break;
      case Kind::kBounce:
        context.reason(
            "no part of it is message/delivery-status or message/global-delivery-status");
        break;
      case Kind::kComplaint:
        context.reason("no part of it is message/feedback-report");
        break;
      case Kind::kDmarcReport:
        context.reason("no part of it is a DMARC aggregate report");
        break;
      case Kind::kTlsReport:
        context.reason("no part of it is a TLS report");
        break;
      case Kind::kJournalReport:
        context.reason("it has no envelope text with a message after it");
        break;
    }
  }

  Scratch scratch_;
  ReportFile file_;
  std::string where_;
};

Decoder::Decoder() : work_(std::make_unique<Work>()) {}
Decoder::~Decoder() = default;

void Decoder::decode(std::string_view message, const Options& options, Facts& out) {
  work_->decode(message, options, out);
}

Facts decode(std::string_view message, const Options& options) {
  Facts out;
  Decoder().decode(message, options, out);
  return out;
}

bool looks_like_report_file(std::string_view bytes) {
  for (const std::string_view magic : {"\x1F\x8B", "PK\x03\x04", "\xFF\xFE", "\xFE\xFF"}) {
    if (bytes.starts_with(magic)) return true;
  }
  if (bytes.starts_with("\xEF\xBB\xBF")) bytes.remove_prefix(3);
  const std::size_t begin = bytes.find_first_not_of(" \t\r\n");
  return begin != std::string_view::npos && (bytes[begin] == '<' || bytes[begin] == '{');
}

}  // namespace mxring::decode
