#include "mail/mailbox.h"

#include <array>
#include <utility>

#include "base/text.h"

namespace mxring::mail {

namespace {

bool is_high(char c) {
  return static_cast<unsigned char>(c) >= 0x80;
}
bool is_control(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
}

// RFC 5322 3.2.3.
constexpr std::array<bool, 128> kAtext = [] {
  std::array<bool, 128> atext{};
  for (char c = '0'; c <= '9'; ++c) atext[static_cast<std::size_t>(c)] = true;
  for (char c = 'A'; c <= 'Z'; ++c) atext[static_cast<std::size_t>(c)] = true;
  for (char c = 'a'; c <= 'z'; ++c) atext[static_cast<std::size_t>(c)] = true;
  for (const char c : std::string_view("!#$%&'*+-/=?^_`{|}~")) {
    atext[static_cast<std::size_t>(c)] = true;
  }
  return atext;
}();

bool is_atext(char c) {
  return is_high(c) || kAtext[static_cast<std::size_t>(c)];
}

void clear(Mailbox& mailbox) {
  mailbox.display_name.clear();
  mailbox.local_part.clear();
  mailbox.domain.clear();
}

// One pass from left to right. Every function returns false on a syntax error, and nothing is done
// with the parser after that.
class Parser {
 public:
  // A list: every mailbox is appended to `mailboxes`.
  Parser(std::string_view text, std::size_t max, std::vector<Mailbox>& mailboxes,
         MailboxScratch& scratch)
      : text_(text), max_(max), mailboxes_(&mailboxes), scratch_(scratch) {}
  // A single one: it is left in scratch.address.
  Parser(std::string_view text, MailboxScratch& scratch)
      : text_(text), max_(1), single_(true), scratch_(scratch) {}

  std::expected<void, AddressError> run() {
    if (!list()) return std::unexpected(error_);
    if (addresses_ == 0) return std::unexpected(AddressError::kEmpty);
    return {};
  }

 private:
  bool done() const { return at_ >= text_.size(); }
  char peek() const { return done() ? '\0' : text_[at_]; }
  bool next_is(char c) const { return !done() && text_[at_] == c; }
  bool take(char c) {
    if (!next_is(c)) return false;
    ++at_;
    return true;
  }
  bool fail(AddressError error) {
    error_ = error;
    return false;
  }

  bool list();
  bool address();
  bool members();
  bool phrase_or_local(Mailbox& mailbox, bool& local);
  bool angle(Mailbox& mailbox);
  bool route();
  bool at_domain(std::string& domain);
  bool literal(std::string& domain);
  bool add(Mailbox& mailbox);

  bool folding_or_space(std::string* kept);
  bool comments();
  bool comment();
  bool quoted(std::string& out);
  std::string_view atom();

  std::string_view text_;
  std::size_t at_ = 0;
  std::size_t max_;
  bool single_ = false;
  bool in_group_ = false;
  std::size_t addresses_ = 0;
  std::size_t added_ = 0;
  AddressError error_ = AddressError::kSyntax;
  std::vector<Mailbox>* mailboxes_ = nullptr;
  MailboxScratch& scratch_;
};

// FWS, and the CRLF that ends the field. White space goes to `kept` when there is one.
bool Parser::folding_or_space(std::string* kept) {
  while (!done()) {
    const char c = text_[at_];
    if (c == ' ' || c == '\t') {
      if (kept != nullptr) kept->push_back(c);
      ++at_;
      continue;
    }
    if (c != '\r' && c != '\n') return true;
    const std::string_view rest = text_.substr(at_);
    if (!rest.starts_with("\r\n")) return false;
    if (rest.size() > 2 && rest[2] != ' ' && rest[2] != '\t') return false;
    at_ += 2;
  }
  return true;
}

// [CFWS].
bool Parser::comments() {
  for (;;) {
    if (!folding_or_space(nullptr)) return false;
    if (!next_is('(')) return true;
    if (!comment()) return false;
  }
}

bool Parser::comment() {
  std::size_t depth = 0;
  while (!done()) {
    if (!folding_or_space(nullptr)) return false;
    if (done()) return false;
    const char c = text_[at_++];
    if (is_control(c)) return false;
    if (c == '(' && ++depth > kCommentDepthMax) return false;
    if (c == ')' && --depth == 0) return true;
    if (c == '\\' && (done() || is_control(text_[at_++]))) return false;
  }
  return false;
}

// A quoted string from its opening quote on, appended without quotes, backslashes and folding.
bool Parser::quoted(std::string& out) {
  ++at_;
  for (;;) {
    if (!folding_or_space(&out) || done()) return false;
    const char c = text_[at_++];
    if (c == '"') return true;
    if (is_control(c)) return false;
    if (c != '\\') {
      out.push_back(c);
      continue;
    }
    if (done()) return false;
    const char escaped = text_[at_++];
    if (is_control(escaped) && escaped != '\t') return false;
    out.push_back(escaped);
  }
}

std::string_view Parser::atom() {
  const std::size_t begin = at_;
  while (!done() && is_atext(text_[at_])) ++at_;
  return text_.substr(begin, at_ - begin);
}

// *([CFWS] ",") address *("," [address / CFWS]), to the end of the text.
bool Parser::list() {
  for (;;) {
    if (!comments()) return false;
    if (done()) return true;
    if (next_is(',')) {
      if (single_) return false;
      ++at_;
      continue;
    }
    if (!address()) return false;
    if (!comments()) return false;
    if (done()) return true;
    if (!take(',')) return false;
    // One behind which nothing comes would be an empty element.
    if (single_ && (!comments() || done())) return false;
  }
}

// Collects words until it is clear what they are. Both readings are built: the display name with a
// space wherever there was one, the local part without.
bool Parser::phrase_or_local(Mailbox& mailbox, bool& local) {
  // For the local part: words with dots between, before and behind them, as many as there are.
  bool any_word = false;
  bool behind_word = false;
  local = true;
  bool first = true;
  for (;;) {
    const std::size_t before = at_;
    if (!comments()) return false;
    const bool space = at_ != before && !first;
    const char c = peek();
    if (c == '.') {
      ++at_;
      behind_word = first = false;
      if (space) mailbox.display_name += ' ';
      mailbox.display_name += '.';
      mailbox.local_part += '.';
      continue;
    }
    const bool is_quoted = c == '"';
    if (done() || (!is_quoted && !is_atext(c))) break;
    if (behind_word) local = false;
    any_word = behind_word = true;
    first = false;
    if (space) mailbox.display_name += ' ';
    const std::size_t word_at = mailbox.display_name.size();
    if (is_quoted) {
      if (!quoted(mailbox.display_name)) return false;
    } else {
      mailbox.display_name += atom();
    }
    if (local) mailbox.local_part.append(mailbox.display_name, word_at);
  }
  if (!any_word) local = false;
  return true;
}

bool Parser::address() {
  Mailbox& mailbox = scratch_.address;
  clear(mailbox);
  bool local = false;
  if (!phrase_or_local(mailbox, local)) return false;
  ++addresses_;
  const bool named = !mailbox.display_name.empty() || local;
  if (next_is('@')) {
    if (!local) return false;
    mailbox.display_name.clear();
    return at_domain(mailbox.domain) && add(mailbox);
  }
  if (next_is('<')) {
    mailbox.local_part.clear();
    return angle(mailbox) && add(mailbox);
  }
  if (next_is(':') && named && !in_group_) {
    if (single_) return fail(AddressError::kGroup);
    ++at_;
    return members();
  }
  return false;
}

// The inside of a group up to and including its semicolon. Commas as in list().
bool Parser::members() {
  in_group_ = true;
  for (;;) {
    if (!comments()) return false;
    if (take(';')) break;
    if (take(',')) continue;
    if (!address() || !comments()) return false;
    if (!next_is(',') && !next_is(';')) return false;
  }
  in_group_ = false;
  return true;
}

// "<" [route] local-part "@" domain ">".
bool Parser::angle(Mailbox& mailbox) {
  ++at_;
  if (!comments()) return false;
  if ((next_is('@') || next_is(',')) && !route()) return false;
  Mailbox& inner = scratch_.inside;
  clear(inner);
  bool local = false;
  if (!phrase_or_local(inner, local) || !local) return false;
  mailbox.local_part.swap(inner.local_part);
  if (!next_is('@') || !at_domain(mailbox.domain)) return false;
  return take('>');
}

// obs-route: *(CFWS / ",") "@" domain *("," [CFWS] ["@" domain]) ":"
bool Parser::route() {
  std::string ignored;
  bool any = false;
  for (;;) {
    if (!comments()) return false;
    if (take(',')) continue;
    if (take(':')) return any;
    if (!next_is('@')) return false;
    ignored.clear();
    if (!at_domain(ignored)) return false;
    any = true;
    if (!next_is(',') && !next_is(':')) return false;
  }
}

// "@" domain, with what may surround it.
bool Parser::at_domain(std::string& domain) {
  ++at_;
  if (!comments()) return false;
  if (next_is('[')) {
    if (!literal(domain)) return false;
  } else {
    for (;;) {
      const std::string_view label = atom();
      if (label.empty()) return false;
      for (const char c : label) domain.push_back(base::ascii_lower(c));
      if (!comments()) return false;
      if (!take('.')) break;
      domain.push_back('.');
      if (!comments()) return false;
    }
  }
  return base::is_valid_utf8(domain) && comments();
}

bool Parser::literal(std::string& domain) {
  domain.push_back('[');
  ++at_;
  for (;;) {
    if (!folding_or_space(nullptr) || done()) return false;
    const char c = text_[at_++];
    if (c == ']') break;
    if (c == '[' || c == '\\' || is_control(c) || is_high(c)) return false;
    domain.push_back(base::ascii_lower(c));
  }
  domain.push_back(']');
  return true;
}

bool Parser::add(Mailbox& mailbox) {
  if (!base::is_valid_utf8(mailbox.local_part)) return false;
  if (added_ >= max_) return fail(AddressError::kTooMany);
  ++added_;
  if (mailboxes_ != nullptr) mailboxes_->push_back(std::move(mailbox));
  return true;
}

}  // namespace

std::expected<std::vector<Mailbox>, AddressError> parse_address_list(std::string_view value,
                                                                     std::size_t max) {
  std::vector<Mailbox> mailboxes;
  MailboxScratch scratch;
  const auto parsed = Parser(value, max, mailboxes, scratch).run();
  if (!parsed) return std::unexpected(parsed.error());
  return mailboxes;
}

std::expected<const Mailbox*, AddressError> parse_single_mailbox(std::string_view value,
                                                                 MailboxScratch& scratch) {
  const auto parsed = Parser(value, scratch).run();
  if (!parsed) return std::unexpected(parsed.error());
  return &scratch.address;
}

std::expected<Mailbox, AddressError> parse_single_mailbox(std::string_view value) {
  MailboxScratch scratch;
  const auto parsed = parse_single_mailbox(value, scratch);
  if (!parsed) return std::unexpected(parsed.error());
  return std::move(scratch.address);
}

}  // namespace mxring::mail
