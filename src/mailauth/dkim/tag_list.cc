#include "mailauth/dkim/tag_list.h"

#include <algorithm>

#include "base/text.h"

namespace mxring::mailauth::dkim {

namespace {

bool is_letter(char c) {
  const char lower = base::ascii_lower(c);
  return lower >= 'a' && lower <= 'z';
}

// A hyphen too, which RFC 6376 3.2 does not have: unknown tags are there to be ignored.
bool is_tag_name(std::string_view name) {
  const auto is_name_byte = [](char c) {
    return is_letter(c) || (c >= '0' && c <= '9') || c == '_' || c == '-';
  };
  return !name.empty() && is_letter(name[0]) && std::ranges::all_of(name, is_name_byte);
}

// Without a branch per byte, so that the compiler can look at many at once: values are long.
bool is_value(std::string_view text) {
  unsigned wrong = 0;
  for (const char c : text) {
    const auto byte = static_cast<std::uint8_t>(c);
    const unsigned control = byte < 0x20 ? 1 : 0;
    const unsigned space = byte == '\t' || byte == '\r' || byte == '\n' ? 1 : 0;
    const unsigned del = byte == 0x7F ? 1 : 0;
    wrong |= (control & (space ^ 1)) | del;
  }
  return wrong == 0;
}

// Names have a letter or two: as numbers they are compared at once.
std::uint64_t key_of(std::string_view name) {
  std::uint64_t key = name.size();
  for (std::size_t i = 0; i < std::min<std::size_t>(name.size(), 7); ++i) {
    key = key << 8 | static_cast<std::uint8_t>(name[i]);
  }
  return key;
}

}  // namespace

bool is_folding_space(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_folding_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_folding_space(text.back())) text.remove_suffix(1);
  return text;
}

std::optional<TagError> parse_tag_list(std::string_view text, std::vector<Tag>& tags) {
  tags.clear();
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find(';'), rest.size());
    const std::string_view spec = rest.substr(0, end);
    const bool last = end == rest.size();
    rest.remove_prefix(last ? end : end + 1);
    const std::size_t equals = spec.find('=');
    if (equals == std::string_view::npos) {
      if (last && trimmed(spec).empty() && !tags.empty()) break;
      return TagError{"not a tag", trimmed(spec)};
    }
    const std::string_view name = trimmed(spec.substr(0, equals));
    const Tag tag{name, key_of(name), trimmed(spec.substr(equals + 1)), spec.substr(equals + 1)};
    if (!is_tag_name(tag.name)) return TagError{"not the name of a tag", tag.name};
    if (!is_value(tag.raw)) {
      return TagError{"a character that no value may have, in", tag.name};
    }
    if (find_tag(tags, tag.name) != nullptr) return TagError{"a tag that comes twice", tag.name};
    if (tags.size() == kTagsMax) return TagError{"more tags than anybody needs", tag.name};
    tags.push_back(tag);
  }
  if (tags.empty()) return TagError{"no tags", {}};
  return std::nullopt;
}

const Tag* find_tag(const std::vector<Tag>& tags, std::string_view name) {
  const std::uint64_t key = key_of(name);
  for (const Tag& tag : tags) {
    if (tag.key == key && (name.size() <= 7 || tag.name == name)) return &tag;
  }
  return nullptr;
}

bool ColonList::next(std::string_view& item) {
  if (ended_) return false;
  const std::size_t end = std::min(rest_.find(':'), rest_.size());
  item = trimmed(rest_.substr(0, end));
  ended_ = end == rest_.size();
  rest_.remove_prefix(ended_ ? end : end + 1);
  return true;
}

bool list_contains(std::string_view list, std::string_view word) {
  ColonList items(list);
  std::string_view item;
  while (items.next(item)) {
    if (base::ascii_iequals(item, word)) return true;
  }
  return false;
}

}  // namespace mxring::mailauth::dkim
