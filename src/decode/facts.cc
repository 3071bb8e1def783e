#include "decode/facts.h"

#include <functional>

#include "base/assert.h"

namespace mxring::decode {

std::string_view word(Kind kind) {
  switch (kind) {
    case Kind::kMail:
      return "mail";
    case Kind::kBounce:
      return "bounce";
    case Kind::kComplaint:
      return "complaint";
    case Kind::kDmarcReport:
      return "dmarc_report";
    case Kind::kTlsReport:
      return "tls_report";
    case Kind::kJournalReport:
      return "journal_report";
  }
  return "mail";
}

TextId TextTable::add(std::string_view text) {
  if ((texts_.size() + 1) * 2 > slots_.size()) grow();
  const std::size_t mask = slots_.size() - 1;
  std::size_t at = std::hash<std::string_view>{}(text)&mask;
  // At most half of the slots are taken, so a free one comes.
  while (slots_[at] != 0) {
    if (texts_[slots_[at] - 1] == text) return slots_[at];
    at = (at + 1) & mask;
  }
  texts_.push_back(arena_.copy(text));
  slots_[at] = static_cast<TextId>(texts_.size());
  return slots_[at];
}

void TextTable::grow() {
  const std::size_t size = slots_.empty() ? 64 : slots_.size() * 2;
  slots_.assign(size, 0);
  for (std::size_t i = 0; i < texts_.size(); ++i) {
    std::size_t at = std::hash<std::string_view>{}(texts_[i]) & (size - 1);
    while (slots_[at] != 0) at = (at + 1) & (size - 1);
    slots_[at] = static_cast<TextId>(i + 1);
  }
  MXRING_ASSERT(texts_.size() * 2 <= slots_.size());
}

void TextTable::clear() {
  arena_.clear();
  texts_.clear();
  std::fill(slots_.begin(), slots_.end(), 0);
}

void DmarcReport::clear() {
  version = org_name = email = extra_contact_info = report_id = generator = std::nullopt;
  begin = end = std::nullopt;
  domain = discovery_method = adkim = aspf = p = sp = np = pct = fo = testing = std::nullopt;
  error = {};
  extensions = {};
  key = {};
  row_count = message_count = 0;
  rows.clear();
  auths.clear();
  reasons.clear();
  texts.clear();
}

void Facts::clear() {
  kind = Kind::kMail;
  as_wanted = true;
  reason = std::nullopt;
  message = {};
  bounce.reset();
  complaint.reset();
  has_dmarc = false;
  dmarc.clear();
  tls.reset();
  journal.reset();
  derived = {};
  limits = {};
  defects = {};
  arena.clear();
}

}  // namespace mxring::decode
