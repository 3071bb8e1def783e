#include "mailauth/dkim/header_canon.h"

#include <cstring>

#include "base/text.h"
#include "mailauth/dkim/blank_scan.h"

namespace mxring::mailauth::dkim {

namespace {

bool is_blank(char c) {
  return c == ' ' || c == '\t';
}

// The relaxed form of a value, given in parts: white space and line ends between words become one
// space, and vanish at both ends of the whole.
class RelaxedValue {
 public:
  explicit RelaxedValue(char* to) : to_(to) {}

  void add(std::string_view part) {
    while (!part.empty()) {
      const std::size_t plain = find_changing_blank_or_cr(part.data(), part.size());
      // What stays may begin with a space: at the start of the value, and only there or behind a
      // space withheld, it must not.
      std::string_view text = part.substr(0, plain);
      part.remove_prefix(plain);
      if (text.starts_with(' ') && (gap_ || !any_)) text.remove_prefix(1);
      put(text);
      skip_space(part);
    }
  }
  char* end() const { return to_; }

 private:
  void put(std::string_view text) {
    if (text.empty()) return;
    if (gap_ && any_) *to_++ = ' ';
    gap_ = false;
    any_ = true;
    std::memcpy(to_, text.data(), text.size());
    to_ += text.size();
  }

  void skip_space(std::string_view& part) {
    std::size_t at = 0;
    while (at < part.size()) {
      if (is_blank(part[at])) {
        gap_ = true;
        ++at;
      } else if (part[at] == '\r' && at + 1 < part.size() && part[at + 1] == '\n') {
        at += 2;
      } else {
        break;
      }
    }
    part.remove_prefix(at);
    // A bare CR is a byte like any other.
    if (at == 0 && !part.empty()) {
      put(part.substr(0, 1));
      part.remove_prefix(1);
    }
  }

  char* to_;
  bool any_ = false;
  bool gap_ = false;  // white space that has not been written
};

char* put_name(std::string_view name, char* to) {
  for (const char c : name) *to++ = base::ascii_lower(c);
  *to++ = ':';
  return to;
}

}  // namespace

char* relax_field(std::string_view name, std::string_view value, char* to) {
  RelaxedValue relaxed(put_name(name, to));
  relaxed.add(value);
  to = relaxed.end();
  *to++ = '\r';
  *to++ = '\n';
  return to;
}

char* relax_own_field(std::string_view name, std::string_view value, std::string_view left_out,
                      char* to) {
  RelaxedValue relaxed(put_name(name, to));
  const auto before = static_cast<std::size_t>(left_out.data() - value.data());
  relaxed.add(value.substr(0, before));
  relaxed.add(value.substr(before + left_out.size()));
  return relaxed.end();
}

SimpleField simple_own_field(std::string_view field, std::string_view left_out) {
  if (field.ends_with("\r\n")) field.remove_suffix(2);
  const auto before = static_cast<std::size_t>(left_out.data() - field.data());
  const std::size_t after = before + left_out.size();
  return {field.substr(0, before), after < field.size() ? field.substr(after) : std::string_view()};
}

}  // namespace mxring::mailauth::dkim
