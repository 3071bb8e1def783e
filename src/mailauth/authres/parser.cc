#include "mailauth/authres/parser.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/text.h"
#include "mail/lexer.h"

namespace mxring::mailauth::authres {

namespace {

bool is_keyword(std::string_view text) {
  const auto is_byte = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-' || c == '_';
  };
  return !text.empty() && std::ranges::all_of(text, is_byte);
}

std::optional<std::uint32_t> number(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

class Parser {
 public:
  explicit Parser(std::string_view text) : lexer_(text) {}

  std::expected<Fields, ParseError> run() {
    if (!service()) return std::unexpected(error_);
    while (lexer_.take(';')) {
      if (!result()) return std::unexpected(error_);
    }
    return std::move(fields_);
  }

 private:
  bool fail(ParseError error) {
    error_ = error;
    return false;
  }
  bool skip_blank() { return lexer_.skip_blank() || fail(ParseError::kOpenComment); }

  // [i=N ;] authserv-id [version], up to the semicolon or the end.
  bool service() {
    if (!skip_blank()) return false;
    std::string name;
    if (lexer_.peek() == '"') {
      if (!lexer_.quoted(name)) return fail(ParseError::kOpenQuote);
    } else {
      name = lexer_.word(";=");
    }
    if (!skip_blank()) return false;
    if (lexer_.take('=')) {
      if (base::ascii_iequals(name, "i") && !fields_.instance && instance()) return service();
      return fail(error_);
    }
    fields_.authserv_id = std::move(name);
    if (lexer_.done() || lexer_.peek() == ';') return true;
    const auto version = number(lexer_.word(";="));
    if (!version) return fail(ParseError::kService);
    fields_.version = *version;
    if (!skip_blank()) return false;
    return lexer_.done() || lexer_.peek() == ';' || fail(ParseError::kService);
  }

  bool instance() {
    if (!skip_blank()) return false;
    fields_.instance = number(lexer_.word(";="));
    if (!skip_blank()) return false;
    return (fields_.instance && lexer_.take(';')) || fail(ParseError::kService);
  }

  // method "=" word and what belongs to it, up to the next semicolon.
  bool result() {
    MethodResult made;
    bool first = true;
    bool keep = true;
    for (;;) {
      if (!key()) return false;
      if (!lexer_.take('=')) break;
      if (!value()) return false;
      if (first) {
        keep = take_method(made);
      } else if (key_ == "reason") {
        made.reason = value_;
      } else {
        take_property(made);
      }
      first = false;
    }
    if (!first && keep && fields_.results.size() < kResultsMax) {
      fields_.results.push_back(std::move(made));
    }
    return true;
  }

  // Words up to an equals sign, a semicolon or the end. Words around a dot or a slash are one key;
  // of others the last one counts.
  bool key() {
    key_.clear();
    for (;;) {
      if (!skip_blank()) return false;
      if (lexer_.done() || lexer_.peek() == ';' || lexer_.peek() == '=') return true;
      const auto joins = [](char c) { return c == '.' || c == '/'; };
      if (lexer_.peek() == '"') {
        std::string ignored;
        if (!lexer_.quoted(ignored)) return fail(ParseError::kOpenQuote);
        key_.clear();
        continue;
      }
      const std::string_view word = lexer_.word(";=");
      if (word.empty()) {  // a closing parenthesis
        lexer_.take(lexer_.peek());
        key_.clear();
        continue;
      }
      if (!key_.empty() && !joins(key_.back()) && !joins(word.front())) key_.clear();
      for (const char c : word) key_ += base::ascii_lower(c);
    }
  }

  bool value() {
    value_.clear();
    if (!skip_blank()) return false;
    if (lexer_.peek() != '"') {
      value_ = lexer_.word(";");
      return true;
    }
    if (!lexer_.quoted(value_)) return fail(ParseError::kOpenQuote);
    // "local part"@domain
    if (lexer_.peek() == '@') value_ += lexer_.word(";");
    return true;
  }

  bool take_method(MethodResult& made) {
    made.method = key_.substr(0, key_.find('/'));
    made.result.clear();
    for (const char c : value_) made.result += base::ascii_lower(c);
    return is_keyword(made.method) && is_keyword(made.result);
  }

  void take_property(MethodResult& made) {
    const std::size_t dot = key_.find('.');
    if (dot == std::string::npos || made.properties.size() >= kResultsMax) return;
    Property property{key_.substr(0, dot), key_.substr(dot + 1), value_};
    if (!is_keyword(property.type) || !is_keyword(property.name)) return;
    made.properties.push_back(std::move(property));
  }

  mail::Lexer lexer_;
  Fields fields_;
  ParseError error_ = ParseError::kService;
  std::string key_;  // in lower case
  std::string value_;
};

}  // namespace

const std::string* MethodResult::find(std::string_view type, std::string_view name) const {
  for (const Property& property : properties) {
    if (property.type == type && property.name == name) return &property.value;
  }
  return nullptr;
}

std::expected<Fields, ParseError> parse(std::string_view value) {
  return Parser(value).run();
}

}  // namespace mxring::mailauth::authres
