#include "dns/name.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"
#include "base/text.h"

namespace mxring::dns {

namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_host_byte(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || c == '-' || c == '_';
}

// Printed as they are: no meaning in zone files, headers, address syntax or terminals.
bool is_plain(char c) {
  constexpr std::string_view kMarks = "*/+=%!#&'~^{|}?`";
  return is_host_byte(c) || (c != '\0' && kMarks.find(c) != std::string_view::npos);
}

// One byte of an escaped text, removed from its front. False when an escape is malformed.
bool take_escaped(std::string_view& text, char& byte) {
  if (text.size() < 2) return false;
  if (!is_digit(text[1])) {
    byte = text[1];
    text.remove_prefix(2);
    return true;
  }
  if (text.size() < 4 || !is_digit(text[2]) || !is_digit(text[3])) return false;
  const int value = (text[1] - '0') * 100 + (text[2] - '0') * 10 + (text[3] - '0');
  if (value > 255) return false;
  byte = static_cast<char>(value);
  text.remove_prefix(4);
  return true;
}

void append_must_fit(Name& name, std::string_view label) {
  const bool fits = name.append_label(label);
  MXRING_ASSERT(fits);
}

}  // namespace

bool Name::append_label(std::string_view label) {
  if (label.empty() || label.size() > kLabelBytesMax) return false;
  if (size_ + 1 + label.size() > bytes_.size()) return false;
  bytes_[size_] = static_cast<char>(label.size());
  std::transform(label.begin(), label.end(), bytes_.begin() + size_ + 1, base::ascii_lower);
  size_ = static_cast<std::uint8_t>(size_ + 1 + label.size());
  return true;
}

std::optional<Name> Name::parse(std::string_view text) {
  if (text.empty()) return std::nullopt;
  Name name;
  if (text == ".") return name;
  if (text.ends_with('.')) text.remove_suffix(1);
  for (;;) {
    const std::size_t dot = std::min(text.find('.'), text.size());
    if (!name.append_label(text.substr(0, dot))) return std::nullopt;
    if (dot == text.size()) return name;
    text.remove_prefix(dot + 1);
  }
}

std::optional<Name> Name::parse_escaped(std::string_view text) {
  if (text.find('\\') == std::string_view::npos) return parse(text);
  Name name;
  std::array<char, kLabelBytesMax> label;
  std::size_t size = 0;
  while (!text.empty()) {
    char byte = text[0];
    if (byte == '.') {
      if (!name.append_label({label.data(), size})) return std::nullopt;
      size = 0;
      text.remove_prefix(1);
      continue;
    }
    if (byte != '\\') {
      text.remove_prefix(1);
    } else if (!take_escaped(text, byte)) {
      return std::nullopt;
    }
    if (size == label.size()) return std::nullopt;
    label[size++] = byte;
  }
  if (size != 0 && !name.append_label({label.data(), size})) return std::nullopt;
  return name;
}

Name Name::reverse(const base::IpAddress& address) {
  Name name;
  const auto& bytes = address.bytes();
  if (address.is_v4()) {
    for (std::size_t i = 4; i-- > 0;) append_must_fit(name, std::to_string(bytes[i]));
    append_must_fit(name, "in-addr");
  } else {
    constexpr std::string_view kHex = "0123456789abcdef";
    for (std::size_t i = 16; i-- > 0;) {
      append_must_fit(name, kHex.substr(bytes[i] & 15, 1));
      append_must_fit(name, kHex.substr(bytes[i] >> 4, 1));
    }
    append_must_fit(name, "ip6");
  }
  append_must_fit(name, "arpa");
  return name;
}

std::size_t Name::labels() const {
  std::size_t count = 0;
  for (std::size_t at = 0; at < size_; at += 1U + static_cast<std::uint8_t>(bytes_[at])) ++count;
  return count;
}

bool Name::is_within(const Name& ancestor) const {
  if (ancestor.size_ > size_) return false;
  // Compared only from the start of a label: the same bytes inside a label are no ancestor.
  const std::size_t start = size_ - ancestor.size_;
  std::size_t at = 0;
  while (at < start) at += 1U + static_cast<std::uint8_t>(bytes_[at]);
  return at == start && wire().substr(start) == ancestor.wire();
}

bool Name::is_host_name() const {
  for (std::size_t at = 0; at < size_;) {
    const std::size_t end = at + 1 + static_cast<std::uint8_t>(bytes_[at]);
    for (++at; at < end; ++at) {
      if (!is_host_byte(bytes_[at])) return false;
    }
  }
  return size_ != 0;
}

std::string Name::to_text() const {
  if (size_ == 0) return ".";
  std::string text;
  text.reserve(size_);
  for (std::size_t at = 0; at < size_;) {
    if (at != 0) text += '.';
    const std::size_t end = at + 1 + static_cast<std::uint8_t>(bytes_[at]);
    for (++at; at < end; ++at) {
      const auto byte = static_cast<std::uint8_t>(bytes_[at]);
      if (is_plain(bytes_[at])) {
        text += bytes_[at];
      } else {
        text += {'\\', static_cast<char>('0' + byte / 100), static_cast<char>('0' + byte / 10 % 10),
                 static_cast<char>('0' + byte % 10)};
      }
    }
  }
  return text;
}

std::string Name::to_raw_text() const {
  std::string text;
  to_raw_text(text);
  return text;
}

void Name::to_raw_text(std::string& text) const {
  if (size_ == 0) {
    text = ".";
    return;
  }
  text.assign(bytes_.data() + 1, size_ - 1U);
  std::size_t at = static_cast<std::uint8_t>(bytes_[0]);
  while (at < text.size()) {
    const std::size_t length = static_cast<std::uint8_t>(text[at]);
    text[at] = '.';
    at += 1 + length;
  }
}

}  // namespace mxring::dns
