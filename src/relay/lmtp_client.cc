#include "relay/lmtp_client.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/assert.h"
#include "base/text.h"

namespace mxring::relay {

namespace {

constexpr std::size_t kLineMax = 2048;
constexpr std::size_t kReplyMax = 64 << 10;
static_assert(kLineMax < kReplyMax);

bool is_ascii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return static_cast<signed char>(c) >= 0; });
}

std::string_view header_of(std::string_view message) {
  const std::size_t end = message.find("\r\n\r\n");
  return message.substr(0, end);
}

// Whether it cannot go on without SMTPUTF8 (RFC 6531): it came that way, and makes use of it.
bool needs_utf8(const Record& record) {
  if (!record.smtputf8) return false;
  bool plain = is_ascii(record.mail_from) && is_ascii(header_of(record.message));
  for (const Recipient& recipient : record.rcpt_to) plain = plain && is_ascii(recipient.address);
  return !plain;
}

// A dot more before each line that begins with one, and the line that ends it (RFC 5321 4.5.2).
std::string dot_stuffed(std::string_view content) {
  std::string out;
  out.reserve(content.size() + content.size() / 64 + 8);
  while (!content.empty()) {
    if (content.front() == '.') out += '.';
    const std::size_t end = content.find('\n');
    const std::size_t line = end == std::string_view::npos ? content.size() : end + 1;
    out.append(content.substr(0, line));
    content.remove_prefix(line);
  }
  if (!out.ends_with("\r\n")) out += "\r\n";
  out += ".\r\n";
  return out;
}

}  // namespace

void LmtpClient::set_state(State state) {
  MXRING_ASSERT(state_ != State::kBroken);
  state_ = state;
}

void LmtpClient::fail(std::string_view why) {
  if (state_ == State::kBroken) return;
  trouble_ = why;
  set_state(State::kBroken);
}

void LmtpClient::closed(std::string_view why) {
  fail(why);
}

void LmtpClient::sent(std::size_t bytes) {
  sent_ += bytes;
  MXRING_ASSERT(sent_ <= out_.size());
  if (sent_ < out_.size()) return;
  sent_ = 0;
  constexpr std::size_t kKeptBytes = 1 << 20;
  if (out_.capacity() > kKeptBytes) std::string().swap(out_);
  out_.clear();
}

void LmtpClient::receive(std::string_view bytes) {
  in_.append(bytes);
  std::size_t from = 0;
  while (state_ != State::kBroken) {
    const std::size_t end = in_.find('\n', from);
    if (end == std::string::npos) break;
    std::string_view text = std::string_view(in_).substr(from, end - from);
    if (text.ends_with('\r')) text.remove_suffix(1);
    from = end + 1;
    line(text);
  }
  MXRING_ASSERT(from <= in_.size());
  in_.erase(0, from);
  if (in_.size() > kLineMax) fail("the peer sent a line over 2 KiB");
}

void LmtpClient::line(std::string_view text) {
  const bool shaped =
      text.size() >= 3 &&
      std::all_of(text.begin(), text.begin() + 3, [](char c) { return c >= '0' && c <= '9'; }) &&
      (text.size() == 3 || text[3] == ' ' || text[3] == '-');
  if (!shaped || text.size() > kLineMax) return fail("the peer does not speak LMTP");
  if (state_ == State::kHello) hello_line(text);
  if (partial_.size() + text.size() > kReplyMax) return fail("the peer sent a reply over 64 KiB");
  if (!partial_.empty()) partial_ += ' ';
  partial_.append(partial_.empty() ? text : text.substr(std::min<std::size_t>(4, text.size())));
  if (text.size() > 3 && text[3] == '-') {
    if (partial_.size() > 3) partial_[3] = ' ';
    return;
  }
  MXRING_ASSERT(partial_.size() <= kReplyMax + 1);
  LmtpReply whole;
  std::from_chars(text.data(), text.data() + 3, whole.code);
  whole.text = base::escaped(partial_);
  partial_.clear();
  reply(std::move(whole));
}

void LmtpClient::hello_line(std::string_view text) {
  if (!text.starts_with("250") || text.size() < 5) return;
  MXRING_ASSERT(state_ == State::kHello);
  const std::string_view rest = text.substr(4);
  const std::size_t blank = rest.find(' ');
  const std::string_view word = rest.substr(0, blank);
  const auto is = [&](std::string_view name) { return base::ascii_iequals(word, name); };
  if (is("PIPELINING")) extensions_.pipelining = true;
  if (is("8BITMIME")) extensions_.eight_bit = true;
  if (is("CHUNKING")) extensions_.chunking = true;
  if (is("BINARYMIME")) extensions_.binary = true;
  if (is("SMTPUTF8")) extensions_.smtputf8 = true;
  if (is("DSN")) extensions_.dsn = true;
  if (is("SIZE")) {
    extensions_.size = true;
    const std::string_view limit =
        blank == std::string_view::npos ? std::string_view() : rest.substr(blank + 1);
    std::from_chars(limit.data(), limit.data() + limit.size(), extensions_.size_max);
  }
}

std::string LmtpClient::objection(const Record& record) const {
  MXRING_ASSERT(state_ == State::kReady);
  if (record.is_binary && !(extensions_.chunking && extensions_.binary)) {
    return "554 5.6.1 binary content, and the next hop has no BINARYMIME (RFC 3030)";
  }
  if (needs_utf8(record) && !extensions_.smtputf8) {
    return "553 5.6.7 internationalized addresses or header, and the next hop has no SMTPUTF8 "
           "(RFC 6531)";
  }
  if (extensions_.size_max != 0 && record.message.size() > extensions_.size_max) {
    return fmt::format("552 5.3.4 the next hop takes {} bytes at most", extensions_.size_max);
  }
  return {};
}

void LmtpClient::begin(const Record& record, std::vector<To> to, std::string content) {
  MXRING_ASSERT(state_ == State::kReady && !to.empty() && to_.empty());
  to_ = std::move(to);
  replies_.assign(to_.size(), {});
  taken_.clear();
  content_ = std::move(content);
  use_bdat_ = extensions_.chunking;
  content_sent_ = false;
  next_command_ = next_reply_ = next_content_ = 0;
  mail_line_ = fmt::format("MAIL FROM:<{}>", record.mail_from);
  if (extensions_.size) mail_line_ += fmt::format(" SIZE={}", content_.size());
  if (record.is_binary) {
    mail_line_ += " BODY=BINARYMIME";
  } else if (extensions_.eight_bit && !is_ascii(content_)) {
    mail_line_ += " BODY=8BITMIME";
  }
  if (extensions_.smtputf8 && record.smtputf8) mail_line_ += " SMTPUTF8";
  if (extensions_.dsn && !record.dsn_return.empty()) {
    mail_line_ += fmt::format(" RET={}", record.dsn_return == "full" ? "FULL" : "HDRS");
  }
  if (extensions_.dsn && !record.envelope_id.empty()) {
    mail_line_ += fmt::format(" ENVID={}", record.envelope_id);
  }
  set_state(State::kEnvelope);
  send_envelope();
}

// All of it when the peer takes that, else one command at a time.
void LmtpClient::send_envelope() {
  const std::size_t commands = 1 + to_.size();
  while (next_command_ < commands && (extensions_.pipelining || next_command_ == next_reply_)) {
    if (next_command_ == 0) {
      out_ += mail_line_;
    } else {
      const To& to = to_[next_command_ - 1];
      out_ += fmt::format("RCPT TO:<{}>", to.address);
      if (extensions_.dsn && to.asked != nullptr) {
        constexpr std::string_view kNotify[] = {"NEVER", "SUCCESS", "FAILURE", "DELAY"};
        std::string notify;
        for (unsigned bit = 0; bit < 4; ++bit) {
          if ((to.asked->notify >> bit & 1U) == 0) continue;
          notify += notify.empty() ? " NOTIFY=" : ",";
          notify += kNotify[bit];
        }
        out_ += notify;
        if (!to.asked->original.empty()) out_ += fmt::format(" ORCPT={}", to.asked->original);
      }
    }
    out_ += "\r\n";
    ++next_command_;
  }
}

void LmtpClient::send_bdat() {
  out_ += fmt::format("BDAT {} LAST\r\n", content_.size());
  out_ += content_;
  content_sent_ = true;
  std::string().swap(content_);
}

// MAIL and every RCPT have been answered.
void LmtpClient::after_envelope() {
  if (taken_.empty()) {
    // Nobody wants it: the transaction is left.
    out_ += "RSET\r\n";
    std::string().swap(content_);
    return set_state(State::kReset);
  }
  if (use_bdat_) {
    send_bdat();
    return set_state(State::kContent);
  }
  out_ += "DATA\r\n";
  set_state(State::kData);
}

void LmtpClient::start_hello() {
  out_ += fmt::format("LHLO {}\r\n", hello_);
  set_state(State::kHello);
}

void LmtpClient::reply(LmtpReply got) {
  // The peer may say this at any time, and then closes.
  if (got.code == 421) return fail(got.text);
  switch (state_) {
    case State::kGreeting:
      return got.good() ? start_hello() : fail(got.text);
    case State::kHello:
      return got.good() ? set_state(State::kReady) : fail(got.text);
    case State::kEnvelope: {
      const std::size_t which = next_reply_++;
      if (which == 0) {
        if (!got.good()) {
          for (LmtpReply& one : replies_) one = got;
        }
      } else if (replies_[which - 1].code == 0) {
        got.good() ? taken_.push_back(which - 1) : void(replies_[which - 1] = std::move(got));
      }
      send_envelope();
      if (next_reply_ == 1 + to_.size()) after_envelope();
      return;
    }
    case State::kData:
      if (got.code != 354) {
        for (const std::size_t index : taken_) replies_[index] = got;
        if (got.good()) return fail("the peer answered DATA with " + got.text);
        return set_state(State::kReady);
      }
      out_ += dot_stuffed(content_);
      std::string().swap(content_);
      return set_state(State::kContent);
    case State::kContent:
      replies_[taken_[next_content_++]] = std::move(got);
      if (next_content_ == taken_.size()) set_state(State::kReady);
      return;
    case State::kReset:
      return got.good() ? set_state(State::kReady) : fail(got.text);
    case State::kReady:
    case State::kBroken:
      return fail("the peer sent a reply to nothing: " + got.text);
  }
}

bool LmtpClient::finished() const {
  return !to_.empty() && (state_ == State::kReady || state_ == State::kBroken);
}

std::vector<LmtpReply> LmtpClient::take() {
  MXRING_ASSERT(finished());
  to_.clear();
  return std::move(replies_);
}

void LmtpClient::quit() {
  if (state_ == State::kReady) out_ += "QUIT\r\n";
}

}  // namespace mxring::relay
