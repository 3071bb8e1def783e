#include "decode/addresses.h"

#include "mail/header_fields.h"

namespace mxring::decode {

namespace {

constexpr std::size_t kMessageIdsMax = 1000;

bool is_white(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

// Reads one list. `phrase` is what stands outside angle brackets, unquoted; `compact` the same as
// an address, without white space; of what is in brackets only the latter.
class AddressReader {
 public:
  AddressReader(Context& context, std::string_view value, std::string_view field_name)
      : context_(context), value_(value), field_name_(field_name), s_(context.scratch()) {}

  List<Address> read() {
    s_.addresses.clear();
    begin_element();
    while (at_ < value_.size()) {
      const char c = value_[at_];
      if (c == '"') {
        take_quoted();
      } else if (c == '(') {
        take_comment();
      } else if (c == '<') {
        take_angle();
      } else if (c == ',' || c == ';') {
        end_element();
        ++at_;
      } else if (c == ':' && !angle_seen_) {
        begin_element();  // it was the name of a group
        ++at_;
      } else if (is_white(c)) {
        white_ = true;
        ++at_;
      } else {
        take_plain(c);
        ++at_;
      }
      if (s_.addresses.size() >= context_.budget().addresses && at_ < value_.size()) {
        context_.limit("addresses");
        at_ = value_.size();
        begin_element();
      }
    }
    end_element();
    return context_.out().arena.copy(s_.addresses);
  }

 private:
  void begin_element() {
    s_.phrase.clear();
    s_.compact.clear();
    s_.comment.clear();
    white_ = gap_ = angle_seen_ = false;
  }

  void space_before(char next) {
    if (white_ && !s_.phrase.empty()) s_.phrase += ' ';
    // Between the parts of one address white space only stands beside "." and "@".
    if (white_ && !s_.compact.empty() && next != '.' && next != '@' && s_.compact.back() != '.' &&
        s_.compact.back() != '@') {
      gap_ = true;
    }
    white_ = false;
  }

  void take_plain(char c) {
    space_before(c);
    s_.phrase += c;
    if (!angle_seen_) s_.compact += c;
  }

  void take_quoted() {
    space_before('"');
    if (!angle_seen_) s_.compact += '"';
    for (++at_; at_ < value_.size() && value_[at_] != '"'; ++at_) {
      if (value_[at_] == '\r' || value_[at_] == '\n') continue;
      if (value_[at_] == '\\' && at_ + 1 < value_.size()) {
        if (!angle_seen_) s_.compact += '\\';
        ++at_;
      }
      s_.phrase += value_[at_];
      if (!angle_seen_) s_.compact += value_[at_];
    }
    if (!angle_seen_) s_.compact += '"';
    ++at_;
  }

  void take_comment() {
    std::size_t depth = 0;
    if (!s_.comment.empty()) s_.comment += ' ';
    for (; at_ < value_.size(); ++at_) {
      const char c = value_[at_];
      if (c == '(' && depth++ == 0) continue;
      if (c == ')' && --depth == 0) {
        ++at_;
        break;
      }
      if (c == '\\' && at_ + 1 < value_.size()) ++at_;
      s_.comment += value_[at_];
    }
    white_ = true;
  }

  void take_angle() {
    if (!angle_seen_) s_.compact.clear();
    bool quoted = false;
    for (++at_; at_ < value_.size() && (quoted || value_[at_] != '>'); ++at_) {
      const char c = value_[at_];
      if (!quoted && c == '<') break;  // the bracket was never closed
      if (!quoted && c == '(') {
        skip_comment();
        continue;
      }
      if (c == '"') quoted = !quoted;
      if (angle_seen_ || (!quoted && is_white(c)) || c == '\r' || c == '\n') continue;
      s_.compact += c;
      if (quoted && c == '\\' && at_ + 1 < value_.size()) s_.compact += value_[++at_];
    }
    if (at_ < value_.size() && value_[at_] == '>') ++at_;
    angle_seen_ = true;
    white_ = true;
  }

  // Stops on its last byte; an open comment goes to the end.
  void skip_comment() {
    std::size_t depth = 0;
    for (std::size_t at = at_; at < value_.size(); ++at) {
      if (value_[at] == '\\')
        ++at;
      else if (value_[at] == '(')
        ++depth;
      else if (value_[at] == ')' && --depth == 0) {
        at_ = at;
        return;
      }
    }
    at_ = value_.size() - 1;
  }

  void end_element() {
    Address address;
    if (angle_seen_) {
      // An obsolete route, "@a,@b:c@d" (RFC 5322 4.4), is no part of the address.
      std::string_view text = s_.compact;
      if (text.starts_with('@')) {
        const std::size_t colon = text.find(':');
        if (colon != std::string_view::npos) text.remove_prefix(colon + 1);
      }
      address.address = utf8(text);
      if (!s_.phrase.empty()) {
        address.name = name(s_.phrase);
      } else if (!s_.comment.empty()) {
        address.name = name(s_.comment);
      }
    } else if (!s_.compact.empty() && !gap_ && s_.compact.find('@') != std::string::npos) {
      address.address = utf8(s_.compact);
      if (!s_.comment.empty()) address.name = name(s_.comment);
    } else if (!s_.phrase.empty()) {
      address.name = name(s_.phrase);
      context_.defect(field_name_, "an element that is no address");
    }
    if (address.name || address.address) s_.addresses.push_back(address);
    begin_element();
  }

  Text name(std::string_view text) { return context_.header_text(text, field_name_); }
  Text utf8(std::string_view text) { return context_.plain_text(text, field_name_); }

  Context& context_;
  std::string_view value_;
  std::string_view field_name_;
  Scratch& s_;
  std::size_t at_ = 0;
  bool white_ = false;       // white space or a comment before the next byte
  bool gap_ = false;         // words that are not parts of one address
  bool angle_seen_ = false;  // of this element
};

}  // namespace

List<Address> read_addresses(Context& context, std::string_view value,
                             std::string_view field_name) {
  return AddressReader(context, value, field_name).read();
}

std::string_view without_brackets(std::string_view text) {
  text = mail::trimmed(text);
  const std::size_t open = text.find('<');
  if (open == std::string_view::npos) return text;
  const std::size_t close = text.find('>', open);
  if (close == std::string_view::npos) return text;
  return mail::trimmed(text.substr(open + 1, close - open - 1));
}

List<Text> read_message_ids(Context& context, std::string_view value) {
  std::vector<Text>& ids = context.scratch().texts;
  ids.clear();
  while (true) {
    value = mail::trimmed(value);
    if (value.empty()) break;
    if (ids.size() >= kMessageIdsMax) {
      context.limit("message_ids");
      break;
    }
    std::size_t end = 0;
    std::string_view id;
    if (value[0] == '<') {
      end = value.find('>');
      if (end == std::string_view::npos) end = value.size();
      id = mail::trimmed(value.substr(1, end - 1));
      end = std::min(end + 1, value.size());
    } else {
      while (end < value.size() && !is_white(value[end]) && value[end] != '<') ++end;
      id = value.substr(0, end);
      // Commas between ids, and the words of old In-Reply-To fields, are none.
      while (id.ends_with(',')) id.remove_suffix(1);
      if (id.find('@') == std::string_view::npos) id = {};
    }
    if (!id.empty()) ids.push_back(context.header_text(id, "message ids"));
    value.remove_prefix(end);
  }
  return context.out().arena.copy(ids);
}

OptText read_message_id(Context& context, std::string_view value) {
  const std::string_view id = without_brackets(value);
  if (id.empty()) return std::nullopt;
  return context.plain_text(id, "Message-ID");
}

}  // namespace mxring::decode
