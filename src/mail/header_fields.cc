#include "mail/header_fields.h"

#include <cstring>

#include "base/assert.h"
#include "base/text.h"
#include "mail/header_index.h"

namespace mxring::mail {

namespace {

bool is_blank(char c) {
  return c == ' ' || c == '\t';
}
bool is_name_byte(char c) {
  return c > 32 && c < 127 && c != ':';
}

// Where the colon of a field line stands; npos when it is none.
std::size_t colon_of(std::string_view line, std::size_t& name_bytes) {
  std::size_t at = 0;
  const std::size_t most = std::min<std::size_t>(line.size(), kFieldNameBytesMax + 1);
  while (at < most && is_name_byte(line[at])) ++at;
  name_bytes = at;
  while (at < most && is_blank(line[at])) ++at;
  const bool field = name_bytes > 0 && at < most && line[at] == ':';
  return field ? at : std::string_view::npos;
}

}  // namespace

std::string_view first_line(std::string_view text) {
  const void* lf = text.empty() ? nullptr : std::memchr(text.data(), '\n', text.size());
  if (lf == nullptr) return text;
  return text.substr(0, static_cast<std::size_t>(static_cast<const char*>(lf) - text.data()) + 1);
}

std::string_view without_line_end(std::string_view line) {
  if (!line.ends_with('\n')) return line;  // a CR alone ends no line
  line.remove_suffix(1);
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kWhite = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(kWhite);
  if (begin == std::string_view::npos) return {"", 0};
  return text.substr(begin, text.find_last_not_of(kWhite) + 1 - begin);
}

HeaderScanner::Line HeaderScanner::take(std::string_view line) {
  const std::string_view content = without_line_end(line);
  if (content.empty() && !line.empty()) return Line::kEmpty;
  if (line.empty()) return Line::kForeign;
  bytes_ += line.size();
  if (bytes_ > budget_.bytes) over_bytes_ = true;
  if (is_blank(line[0])) {
    if (!in_field_) return Line::kForeign;
    if (kept_ && !over_bytes_) {
      HeaderField& field = out_.back();
      const char* begin = field.value.data();
      MXRING_ASSERT(out_.size() > first_ && begin <= content.data() + content.size());
      field.value = {begin, static_cast<std::size_t>(content.data() + content.size() - begin)};
    }
    return Line::kTaken;
  }
  std::size_t name_bytes = 0;
  const std::size_t colon = colon_of(line, name_bytes);
  if (colon == std::string_view::npos) return Line::kForeign;
  in_field_ = true;
  MXRING_ASSERT(out_.size() >= first_);
  if (out_.size() - first_ >= budget_.fields) over_fields_ = true;
  kept_ = !over_bytes_ && !over_fields_;
  if (kept_) {
    // A colon at the very end of the text leaves an empty value that still has a place.
    MXRING_ASSERT(name_bytes <= colon && colon < line.size());
    const std::string_view value = content.substr(std::min(colon + 1, content.size()));
    out_.push_back({line.substr(0, name_bytes), value});
  }
  return Line::kTaken;
}

HeaderSection scan_header(std::string_view text, const HeaderBudget& budget,
                          std::vector<HeaderField>& out) {
  HeaderScanner scanner(budget, out);
  HeaderSection section;
  std::size_t at = 0;
  section.body_begin = text.size();
  section.bytes = text.size();
  while (at < text.size()) {
    const std::string_view line = first_line(text.substr(at));
    MXRING_ASSERT(!line.empty());
    const HeaderScanner::Line what = scanner.take(line);
    if (what != HeaderScanner::Line::kTaken) {
      section.bytes = at;
      section.body_begin = what == HeaderScanner::Line::kEmpty ? at + line.size() : at;
      break;
    }
    at += line.size();
  }
  MXRING_ASSERT(section.bytes <= section.body_begin && section.body_begin <= text.size());
  section.over_bytes = scanner.over_bytes();
  section.over_fields = scanner.over_fields();
  return section;
}

const HeaderField* find_field(const HeaderField* begin, const HeaderField* end,
                              std::string_view name) {
  MXRING_ASSERT(begin <= end);
  for (const HeaderField* field = begin; field != end; ++field) {
    if (base::ascii_iequals(field->name, name)) return field;
  }
  return nullptr;
}

}  // namespace mxring::mail
