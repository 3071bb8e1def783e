#include "report/client_dialogue.h"

#include <fmt/format.h>

#include <charconv>

#include "base/assert.h"
#include "base/text.h"

namespace mxring::report {

namespace {

constexpr int kReady = 220;
constexpr int kStartInput = 354;
constexpr int kClosing = 421;
constexpr int kTlsWanted = 530;  // RFC 3207 4: STARTTLS must come first

bool is_success(int code) {
  return code / 100 == 2;
}
bool is_put_off(int code) {
  return code / 100 == 4;
}
bool is_refusal(int code) {
  return code / 100 == 4 || code / 100 == 5;
}

}  // namespace

std::string stuffed(std::string_view content) {
  std::string out;
  out.reserve(content.size() + content.size() / 64 + 8);
  bool line_start = true;
  for (const char c : content) {
    if (line_start && c == '.') out += '.';
    out += c;
    line_start = c == '\n';
  }
  if (!line_start) out += "\r\n";
  MXRING_ASSERT(out.empty() || out.ends_with('\n'));
  return out + ".\r\n";
}

ClientDialogue::ClientDialogue(std::string helo, TlsUse tls, std::vector<Letter*> letters)
    : helo_(std::move(helo)), tls_(tls), letters_(std::move(letters)) {}

void ClientDialogue::receive(std::string_view bytes) {
  using Result = smtp::ReplyParser::Result;
  while (!bytes.empty() && !over()) {
    if (wants_tls()) return end("bytes in the clear behind the reply to STARTTLS");
    switch (parser_.next(bytes)) {
      case Result::kNeedMore:
        return;
      case Result::kMalformed:
        return end("something that is no SMTP reply");
      case Result::kLine:
        on_line(parser_.text());
        break;
      case Result::kReply:
        ++replies_;
        on_line(parser_.text());
        on_reply(parser_.code(), parser_.text());
        break;
    }
  }
}

void ClientDialogue::tls_done(std::string_view facts) {
  ++replies_;
  MXRING_ASSERT(at_ == At::kHandshake && tls_facts_.empty() && !facts.empty());
  tls_facts_ = facts;
  parser_.reset();
  greet();
}

void ClientDialogue::broke(std::string_view problem) {
  if (!over()) end(problem);
}

// RFC 3207 4.2: what was offered in the clear is forgotten.
void ClientDialogue::greet() {
  MXRING_ASSERT(at_ == At::kBanner || at_ == At::kHandshake);
  offers_tls_ = offers_size_ = false;
  size_max_ = 0;
  say(At::kHello, fmt::format("EHLO {}", helo_));
}

void ClientDialogue::on_line(std::string_view text) {
  if (at_ != At::kHello) return;
  const std::string_view keyword = text.substr(0, text.find(' '));
  if (base::ascii_iequals(keyword, "STARTTLS")) offers_tls_ = true;
  if (!base::ascii_iequals(keyword, "SIZE")) return;
  offers_size_ = true;
  const std::string_view number = text.substr(std::min(text.size(), keyword.size() + 1));
  std::from_chars(number.data(), number.data() + number.size(), size_max_);
}

void ClientDialogue::on_reply(int code, std::string_view text) {
  if (at_ == At::kQuit) {
    at_ = At::kOver;
    return;
  }
  if (code == kClosing) return end(text, code);
  switch (at_) {
    case At::kBanner:
    case At::kHello:
    case At::kOldHello:
    case At::kStartTls:
      return on_session_reply(code, text);
    default:
      return on_letter_reply(code, text);
  }
}

void ClientDialogue::on_session_reply(int code, std::string_view text) {
  if (at_ == At::kBanner) return code == kReady ? greet() : end(text, code);
  if (at_ == At::kHello && code / 100 == 5 && tls_ != TlsUse::kRequired) {
    offers_tls_ = offers_size_ = false;
    return say(At::kOldHello, fmt::format("HELO {}", helo_));
  }
  if (at_ == At::kStartTls) {
    if (code == kReady) {
      at_ = At::kHandshake;
      return;
    }
    // It offered what it does not do. Without TLS then, unless that is forbidden.
    return tls_ == TlsUse::kRequired ? end(text, code) : begin_letter();
  }
  if (!is_success(code)) return end(text, code);
  hello_done();
}

void ClientDialogue::hello_done() {
  MXRING_ASSERT(at_ == At::kHello || at_ == At::kOldHello);
  if (tls_ != TlsUse::kNever && tls_facts_.empty()) {
    if (offers_tls_) return say(At::kStartTls, "STARTTLS");
    if (tls_ == TlsUse::kRequired) return end("the server does not offer STARTTLS");
  }
  begin_letter();
}

// The next undecided letter, or the farewell.
void ClientDialogue::begin_letter() {
  MXRING_ASSERT(!over() && current_ <= letters_.size());
  while (current_ < letters_.size()) {
    const std::size_t bytes = letter().content.size();
    if (size_max_ == 0 || bytes <= size_max_) break;
    decide(Fate::kTooLarge, 0, fmt::format("{} bytes, and the server takes {}", bytes, size_max_));
  }
  if (current_ == letters_.size()) return say(At::kQuit, "QUIT");
  std::string line = fmt::format("MAIL FROM:<{}>", letter().mail_from);
  if (offers_size_) line += fmt::format(" SIZE={}", letter().content.size());
  say(At::kMail, line);
}

void ClientDialogue::on_letter_reply(int code, std::string_view text) {
  if (at_ == At::kReset) return begin_letter();
  MXRING_ASSERT(current_ < letters_.size());
  const bool expected = at_ == At::kData ? code == kStartInput : is_success(code);
  if (!expected) {
    if (!is_refusal(code)) return end("a reply that does not belong there", code);
    // We are in the clear because TLS did not work, or was not wanted; that may change.
    if (code == kTlsWanted && tls_facts_.empty()) return end(text, code);
    const bool open = at_ == At::kRecipient || at_ == At::kData;
    decide(is_put_off(code) ? Fate::kPutOff : Fate::kRefused, code, text);
    return open ? say(At::kReset, "RSET") : begin_letter();
  }
  switch (at_) {
    case At::kMail:
      return say(At::kRecipient, fmt::format("RCPT TO:<{}>", letter().rcpt_to));
    case At::kRecipient:
      return say(At::kData, "DATA");
    case At::kData:
      MXRING_ASSERT(current_ < letters_.size());
      output_ += stuffed(letter().content);
      at_ = At::kContent;
      return;
    default:
      decide(Fate::kAccepted, code, text);
      return begin_letter();
  }
}

void ClientDialogue::decide(Fate fate, int code, std::string_view text) {
  MXRING_ASSERT(current_ < letters_.size() && fate != Fate::kUndecided);
  letter().fate = fate;
  letter().code = code;
  letter().reply = text;
  letter().tls = tls_facts_;
  ++current_;
}

void ClientDialogue::say(At next, std::string_view line) {
  MXRING_ASSERT(!over() && line.find_first_of("\r\n") == line.npos);
  at_ = next;
  output_ += line;
  output_ += "\r\n";
}

void ClientDialogue::end(std::string_view problem, int code) {
  // After the farewell nothing is a problem any more.
  if (at_ != At::kQuit) {
    problem_ = problem;
    problem_code_ = code;
  }
  at_ = At::kOver;
}

}  // namespace mxring::report
