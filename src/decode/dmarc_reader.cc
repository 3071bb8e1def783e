#include "decode/dmarc_reader.h"

#include <charconv>

#include "base/assert.h"
#include "mail/header_fields.h"

namespace mxring::decode {

namespace {

constexpr std::size_t kValueBytesMax = 16 * 1024;
constexpr std::size_t kExtensionsMax = 32;
constexpr std::size_t kRowPartsMax = 1000;  // results and reasons of one row

// The elements of a report. The first of each group is the element they are in.
enum Node : std::uint8_t {
  kNone,
  kFeedback,
  kVersion,
  kMetadata,
  kOrgName,
  kEmail,
  kContact,
  kReportId,
  kGenerator,
  kError,
  kDateRange,
  kBegin,
  kEnd,
  kPolicy,
  kDomain,
  kDiscovery,
  kAdkim,
  kAspf,
  kP,
  kSp,
  kNp,
  kPct,
  kFo,
  kTesting,
  kRecord,
  kRow,
  kSourceIp,
  kCount,
  kEvaluated,
  kDisposition,
  kDkim,
  kSpf,
  kReason,
  kReasonType,
  kReasonComment,
  kIdentifiers,
  kHeaderFrom,
  kEnvelopeFrom,
  kEnvelopeTo,
  kAuthResults,
  kAuthDkim,
  kDkimDomain,
  kDkimSelector,
  kDkimResult,
  kDkimHuman,
  kAuthSpf,
  kSpfDomain,
  kSpfScope,
  kSpfResult,
  kSpfHuman,
  kExtension,
};

struct Element {
  std::string_view name;
  Node node;
  Node parent;
  bool leaf = true;
};

constexpr Element kElements[] = {
    {"feedback", kFeedback, kNone, false},
    {"version", kVersion, kFeedback},
    {"report_metadata", kMetadata, kFeedback, false},
    {"org_name", kOrgName, kMetadata},
    {"email", kEmail, kMetadata},
    {"extra_contact_info", kContact, kMetadata},
    {"report_id", kReportId, kMetadata},
    {"generator", kGenerator, kMetadata},
    {"error", kError, kMetadata},
    {"date_range", kDateRange, kMetadata, false},
    {"begin", kBegin, kDateRange},
    {"end", kEnd, kDateRange},
    {"policy_published", kPolicy, kFeedback, false},
    {"domain", kDomain, kPolicy},
    {"discovery_method", kDiscovery, kPolicy},
    {"adkim", kAdkim, kPolicy},
    {"aspf", kAspf, kPolicy},
    {"p", kP, kPolicy},
    {"sp", kSp, kPolicy},
    {"np", kNp, kPolicy},
    {"pct", kPct, kPolicy},
    {"fo", kFo, kPolicy},
    {"testing", kTesting, kPolicy},
    {"record", kRecord, kFeedback, false},
    {"row", kRow, kRecord, false},
    {"source_ip", kSourceIp, kRow},
    {"count", kCount, kRow},
    {"policy_evaluated", kEvaluated, kRow, false},
    {"disposition", kDisposition, kEvaluated},
    {"dkim", kDkim, kEvaluated},
    {"spf", kSpf, kEvaluated},
    {"reason", kReason, kEvaluated, false},
    {"type", kReasonType, kReason},
    {"comment", kReasonComment, kReason},
    {"identifiers", kIdentifiers, kRecord, false},
    {"identities", kIdentifiers, kRecord, false},  // of drafts before RFC 7489
    {"header_from", kHeaderFrom, kIdentifiers},
    {"envelope_from", kEnvelopeFrom, kIdentifiers},
    {"envelope_to", kEnvelopeTo, kIdentifiers},
    {"auth_results", kAuthResults, kRecord, false},
    {"dkim", kAuthDkim, kAuthResults, false},
    {"domain", kDkimDomain, kAuthDkim},
    {"selector", kDkimSelector, kAuthDkim},
    {"result", kDkimResult, kAuthDkim},
    {"human_result", kDkimHuman, kAuthDkim},
    {"spf", kAuthSpf, kAuthResults, false},
    {"domain", kSpfDomain, kAuthSpf},
    {"scope", kSpfScope, kAuthSpf},
    {"result", kSpfResult, kAuthSpf},
    {"human_result", kSpfHuman, kAuthSpf},
};

// Where the children of each node stand in kElements, which has them together but for what is in
// between: the search begins there.
const Element* find_element(Node parent, std::string_view name) {
  // The node's number is near its place in the table, and its children come after it.
  for (std::size_t i = parent == kNone ? 0 : parent; i < std::size(kElements); ++i) {
    if (kElements[i].parent == parent && kElements[i].name == name) return &kElements[i];
  }
  return nullptr;
}

const Element& element_of(Node node) {
  for (const Element& element : kElements) {
    if (element.node == node) return element;
  }
  return kElements[0];
}

}  // namespace

void DmarcReader::start(Context& context) {
  context_ = &context;
  report_ = &context.out().dmarc;
  report_->clear();
  xml_.begin(*this, context.budget().xml_depth);
  depth_ = 0;
  skipped_ = 0;
  value_.clear();
  extensions_.clear();
  errors_.clear();
  dkim_.clear();
  spf_.clear();
  row_ = {};
  is_report_ = foreign_ = full_ = false;
}

void DmarcReader::feed(std::string_view bytes) {
  xml_.feed(bytes);
}

void DmarcReader::begin(std::string_view name) {
  const Node parent = depth_ == 0 ? kNone : static_cast<Node>(path_[depth_ - 1]);
  const Element* element = skipped_ > 0 ? nullptr : find_element(parent, name);
  if (depth_ == 0 && skipped_ == 0) {
    foreign_ = element == nullptr;
    is_report_ = !foreign_;
    if (foreign_) return;
  }
  if (element == nullptr) {
    if (skipped_++ == 0) note_extension(name);
    return;
  }
  MXRING_ASSERT(depth_ < path_.size());
  path_[depth_++] = element->node;
  value_.clear();
  value_long_ = false;
  if (element->node == kRecord) {
    if (report_->row_count >= context_->budget().rows) {
      full_ = true;
      context_->limit("rows");
    }
    row_ = {};
    dkim_.clear();
    spf_.clear();
    row_.reason_begin = static_cast<std::uint32_t>(report_->reasons.size());
  } else if (element->node == kAuthDkim || element->node == kAuthSpf) {
    auth_ = {};
  } else if (element->node == kReason) {
    reason_ = {};
  }
}

void DmarcReader::text(std::string_view text) {
  if (skipped_ > 0 || depth_ == 0) return;
  const std::size_t room = kValueBytesMax - std::min(kValueBytesMax, value_.size());
  if (text.size() > room) value_long_ = true;
  value_.append(text.substr(0, room));
}

void DmarcReader::end() {
  if (skipped_ > 0) {
    --skipped_;
    return;
  }
  if (foreign_ || depth_ == 0) return;
  const auto node = static_cast<Node>(path_[--depth_]);
  const std::size_t parts =
      dkim_.size() + spf_.size() + (report_->reasons.size() - row_.reason_begin);
  if (node == kRecord) {
    end_row();
  } else if ((node == kAuthDkim || node == kAuthSpf || node == kReason) && parts >= kRowPartsMax) {
    context_->limit("row_parts");
  } else if (node == kAuthDkim) {
    dkim_.push_back(auth_);
  } else if (node == kAuthSpf) {
    spf_.push_back(auth_);
  } else if (node == kReason) {
    report_->reasons.push_back(reason_);
  } else if (element_of(node).leaf) {
    if (value_long_) context_->limit("value_bytes");
    const std::string_view value = mail::trimmed(value_);
    if (node > kRecord) {
      store_row(node, value);
    } else {
      store(node, value);
    }
  }
  value_.clear();
}

OptTime DmarcReader::number(std::string_view value, std::string_view name) {
  std::int64_t seconds = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), seconds);
  if (error == std::errc() && end == value.data() + value.size() && !value.empty()) return seconds;
  context_->defect(name, "no number");
  return std::nullopt;
}

void DmarcReader::store(std::uint8_t node, std::string_view value) {
  DmarcReport& r = *report_;
  OptText* into = nullptr;
  switch (static_cast<Node>(node)) {
    case kVersion:
      into = &r.version;
      break;
    case kOrgName:
      into = &r.org_name;
      break;
    case kEmail:
      into = &r.email;
      break;
    case kContact:
      into = &r.extra_contact_info;
      break;
    case kReportId:
      into = &r.report_id;
      break;
    case kGenerator:
      into = &r.generator;
      break;
    case kDomain:
      into = &r.domain;
      break;
    case kDiscovery:
      into = &r.discovery_method;
      break;
    case kAdkim:
      into = &r.adkim;
      break;
    case kAspf:
      into = &r.aspf;
      break;
    case kP:
      into = &r.p;
      break;
    case kSp:
      into = &r.sp;
      break;
    case kNp:
      into = &r.np;
      break;
    case kPct:
      into = &r.pct;
      break;
    case kFo:
      into = &r.fo;
      break;
    case kTesting:
      into = &r.testing;
      break;
    case kBegin:
      r.begin = number(value, "begin");
      return;
    case kEnd:
      r.end = number(value, "end");
      return;
    case kError:
      if (errors_.size() >= kExtensionsMax) return context_->limit("errors");
      errors_.push_back(context_->keep(value));
      return;
    default:
      return;
  }
  if (*into) return context_->defect(element_of(static_cast<Node>(node)).name, "given twice");
  *into = context_->keep(value);
}

void DmarcReader::store_row(std::uint8_t node, std::string_view value) {
  TextTable& texts = report_->texts;
  switch (static_cast<Node>(node)) {
    case kCount:
      row_.count =
          static_cast<std::uint64_t>(std::max<std::int64_t>(number(value, "count").value_or(0), 0));
      break;
    case kSourceIp:
      row_.source_ip = texts.add(value);
      break;
    case kDisposition:
      row_.disposition = texts.add(value);
      break;
    case kDkim:
      row_.dkim = texts.add(value);
      break;
    case kSpf:
      row_.spf = texts.add(value);
      break;
    case kReasonType:
      reason_.type = texts.add(value);
      break;
    case kReasonComment:
      reason_.comment = texts.add(value);
      break;
    case kHeaderFrom:
      row_.header_from = texts.add(value);
      break;
    case kEnvelopeFrom:
      row_.envelope_from = texts.add(value);
      break;
    case kEnvelopeTo:
      row_.envelope_to = texts.add(value);
      break;
    case kDkimDomain:
    case kSpfDomain:
      auth_.domain = texts.add(value);
      break;
    case kDkimSelector:
      auth_.selector = texts.add(value);
      break;
    case kSpfScope:
      auth_.scope = texts.add(value);
      break;
    case kDkimResult:
    case kSpfResult:
      auth_.result = texts.add(value);
      break;
    case kDkimHuman:
    case kSpfHuman:
      auth_.human_result = texts.add(value);
      break;
    default:
      break;
  }
}

void DmarcReader::end_row() {
  DmarcReport& r = *report_;
  row_.dkim_begin = static_cast<std::uint32_t>(r.auths.size());
  row_.dkim_count = static_cast<std::uint32_t>(dkim_.size());
  r.auths.insert(r.auths.end(), dkim_.begin(), dkim_.end());
  row_.spf_begin = static_cast<std::uint32_t>(r.auths.size());
  row_.spf_count = static_cast<std::uint32_t>(spf_.size());
  r.auths.insert(r.auths.end(), spf_.begin(), spf_.end());
  row_.reason_count = static_cast<std::uint32_t>(r.reasons.size()) - row_.reason_begin;
  ++r.row_count;
  r.message_count += row_.count;
  if (context_->options().rows == nullptr) {
    r.rows.push_back(row_);
    return;
  }
  context_->options().rows->row(r, row_);
  r.auths.clear();
  r.reasons.clear();
  r.texts.clear();
}

void DmarcReader::note_extension(std::string_view name) {
  if (extensions_.size() >= kExtensionsMax) return context_->limit("extensions");
  name = name.substr(0, 100);
  for (const Text& known : extensions_) {
    if (known == name) return;
  }
  extensions_.push_back(context_->keep(name));
}

bool DmarcReader::finish(std::string_view where) {
  if (!is_report_) {
    if (xml_.error() == XmlError::kDoctype) context_->reason(words(xml_.error()));
    return false;
  }
  const XmlError error = xml_.finish();
  if (error != XmlError::kNone) context_->defect(where, words(error));
  if (xml_.too_deep()) context_->limit("xml_depth");
  if (xml_.unknown_entity()) context_->defect(where, "an entity that is not XML's own, left as is");
  DmarcReport& r = *report_;
  r.extensions = context_->out().arena.copy(extensions_);
  r.error = context_->out().arena.copy(errors_);
  std::string& key = context_->scratch().text;
  key.assign(r.org_name.value_or("")).append("!").append(r.report_id.value_or(""));
  r.key = context_->keep(key);
  if (!r.report_id) context_->defect(where, "it has no report_id");
  return true;
}

}  // namespace mxring::decode
