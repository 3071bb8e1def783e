#include "seglog/stored_json.h"

#include <cstdint>

namespace mxring::seglog {

namespace {

constexpr int kDepthMax = 16;

void append_utf8(std::string& out, std::uint32_t point) {
  if (point < 0x80) {
    out += static_cast<char>(point);
  } else if (point < 0x800) {
    out += static_cast<char>(0xC0 | point >> 6);
    out += static_cast<char>(0x80 | (point & 0x3F));
  } else if (point < 0x10000) {
    out += static_cast<char>(0xE0 | point >> 12);
    out += static_cast<char>(0x80 | (point >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (point & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | point >> 18);
    out += static_cast<char>(0x80 | (point >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (point >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (point & 0x3F));
  }
}

}  // namespace

// Each function takes what it is named after off the front of the text, or says false.
class StoredJson {
 public:
  explicit StoredJson(std::string_view text) : text_(text) {}

  std::vector<StoredObject> run() {
    std::vector<StoredObject> objects;
    const bool array = take('[');
    if (array && take(']')) return objects;
    do {
      StoredObject object;
      if (!read_object(&object, 0)) return {};
      objects.push_back(std::move(object));
    } while (array && take(','));
    if (array && !take(']')) return {};
    return objects;
  }

 private:
  void skip_blanks() {
    while (!text_.empty() && (text_[0] == ' ' || (text_[0] >= '\t' && text_[0] <= '\r'))) {
      text_.remove_prefix(1);
    }
  }
  bool take(char c) {
    skip_blanks();
    if (!text_.starts_with(c)) return false;
    text_.remove_prefix(1);
    return true;
  }

  bool read_object(StoredObject* object, int depth) {
    if (!take('{')) return false;
    if (take('}')) return true;
    do {
      StoredObject::Member member;
      skip_blanks();
      if (!read_text(member.name) || !take(':') || !read_value(member.value, depth + 1)) {
        return false;
      }
      if (object != nullptr) object->members_.push_back(std::move(member));
    } while (take(','));
    return take('}');
  }

  bool read_value(std::string& value, int depth) {
    if (depth > kDepthMax) return false;
    skip_blanks();
    if (text_.empty()) return false;
    if (text_[0] == '"') return read_text(value);
    if (text_[0] == '{') return read_object(nullptr, depth);
    if (text_[0] == '[') return pass_over_array(depth);
    const std::size_t end = text_.find_first_of(",]} \t\r\n");
    value = text_.substr(0, end);
    text_.remove_prefix(value.size());
    if (value == "null") value.clear();
    return true;
  }

  bool pass_over_array(int depth) {
    take('[');
    if (take(']')) return true;
    std::string ignored;
    do {
      ignored.clear();
      if (!read_value(ignored, depth + 1)) return false;
    } while (take(','));
    return take(']');
  }

  bool read_text(std::string& out) {
    if (!text_.starts_with('"')) return false;
    text_.remove_prefix(1);
    while (!text_.empty()) {
      const char c = text_[0];
      text_.remove_prefix(1);
      if (c == '"') return true;
      if (c != '\\') {
        out += c;
      } else if (!read_escape(out)) {
        return false;
      }
    }
    return false;
  }

  bool read_escape(std::string& out) {
    if (text_.empty()) return false;
    const char c = text_[0];
    text_.remove_prefix(1);
    constexpr std::string_view kNames = "\"\\/bfnrt";
    constexpr std::string_view kMeant = "\"\\/\b\f\n\r\t";
    if (const std::size_t at = kNames.find(c); at != std::string_view::npos) {
      out += kMeant[at];
      return true;
    }
    std::uint32_t point = 0;
    if (c != 'u' || !read_hex(point)) return false;
    if (point >= 0xD800 && point < 0xDC00 && text_.starts_with("\\u")) {
      text_.remove_prefix(2);
      std::uint32_t low = 0;
      if (!read_hex(low)) return false;
      point = 0x10000 + ((point - 0xD800) << 10) + ((low - 0xDC00) & 0x3FF);
    }
    append_utf8(out, point);
    return true;
  }

  bool read_hex(std::uint32_t& point) {
    if (text_.size() < 4) return false;
    for (int i = 0; i < 4; ++i) {
      const char c = text_[static_cast<std::size_t>(i)];
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) return false;
      point = point << 4 | static_cast<std::uint32_t>(digit);
    }
    text_.remove_prefix(4);
    return true;
  }

  std::string_view text_;
};

std::string StoredObject::text(std::string_view name) const {
  for (const Member& member : members_) {
    if (member.name == name) return member.value;
  }
  return {};
}

std::vector<StoredObject> read_stored_json(std::string_view json) {
  return StoredJson(json).run();
}

}  // namespace mxring::seglog
