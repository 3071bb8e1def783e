#include "server/journal_line.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>

#include "base/assert.h"
#include "base/text.h"

namespace mxring::server {

namespace {

constexpr std::size_t kValueBytesMax = 320;  // of one value from outside, escaped
constexpr std::size_t kReplyBytesMax = 600;
// Kept for what comes after the recipients: codes, a reply's text, results, numbers.
constexpr std::size_t kAfterRecipients = 1100;
static_assert(kAfterRecipients + kValueBytesMax < kJournalLineBytesMin &&
              kReplyBytesMax < kAfterRecipients);
constexpr std::string_view kCut = "...";

// Marks that turn the direction of text, line ends of Unicode, and C1 controls.
bool is_treacherous(std::uint32_t c) {
  return (c >= 0x80 && c < 0xA0) || c == 0x061C || c == 0x200E || c == 0x200F ||
         (c >= 0x2028 && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069) || c == 0xFEFF;
}

std::uint32_t code_point(std::string_view sequence) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(sequence[i]); };
  switch (sequence.size()) {
    case 1:
      return byte(0);
    case 2:
      return (byte(0) & 0x1FU) << 6 | (byte(1) & 0x3FU);
    case 3:
      return (byte(0) & 0x0FU) << 12 | (byte(1) & 0x3FU) << 6 | (byte(2) & 0x3FU);
    default:
      return 0x10000;  // beyond what is looked for
  }
}

// Text in memory that does not grow.
class Writer {
 public:
  explicit Writer(std::span<char> out) : out_(out) {}

  std::size_t size() const { return size_; }
  std::size_t room() const { return out_.size() - size_; }

  Writer& raw(std::string_view text) {
    const std::size_t taken = std::min(text.size(), room());
    std::memcpy(out_.data() + size_, text.data(), taken);
    size_ += taken;
    return *this;
  }
  Writer& number(std::uint64_t value) {
    std::array<char, 20> digits{};
    const auto end = fmt::format_to_n(digits.begin(), digits.size(), "{}", value);
    return raw({digits.data(), end.size});
  }
  // In quotes; valid inside JSON and logfmt alike.
  Writer& quoted(std::string_view text, std::size_t bytes_max = kValueBytesMax) {
    raw("\"");
    if (!escaped(text, size_ + bytes_max)) raw(kCut);
    return raw("\"");
  }

 private:
  void unit(std::uint32_t c) {
    constexpr std::string_view kHex = "0123456789abcdef";
    const char text[] = {'\\',        'u', kHex[c >> 12 & 15], kHex[c >> 8 & 15], kHex[c >> 4 & 15],
                         kHex[c & 15]};
    raw({text, sizeof text});
  }
  // False when the text went beyond `end`, where it was cut.
  bool escaped(std::string_view text, std::size_t end) {
    while (!text.empty()) {
      if (size_ + kEscapedMax > end) return false;
      const std::size_t length = base::utf8_sequence(text);
      if (length == 0) {
        unit(0xFFFD);
        text.remove_prefix(1);
        continue;
      }
      const std::string_view one = text.substr(0, length);
      const std::uint32_t c = code_point(one);
      if (c == '"' || c == '\\') {
        raw("\\").raw(one);
      } else if (c < 0x20 || c == 0x7F || is_treacherous(c)) {
        unit(c);
      } else {
        raw(one);
      }
      text.remove_prefix(length);
    }
    return true;
  }

  static constexpr std::size_t kEscapedMax = 6;  // "\u202e"

  std::span<char> out_;
  std::size_t size_ = 0;
};

// Not by gmtime_r(3), which takes the lock of the time zone: a crash is reported in this form, too.
void write_time(Writer& out, base::WallTime time) {
  const std::chrono::sys_time<std::chrono::microseconds> moment{std::chrono::microseconds(time.us)};
  const auto day = std::chrono::floor<std::chrono::days>(moment);
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss clock{moment - day};
  std::array<char, 40> text{};
  const auto end = fmt::format_to_n(
      text.begin(), text.size(), "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
      static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
      static_cast<unsigned>(date.day()), clock.hours().count(), clock.minutes().count(),
      clock.seconds().count(), clock.subseconds().count());
  out.quoted({text.data(), end.size});
}

// The two notations differ in what stands around a value.
class Fields {
 public:
  Fields(Writer& out, bool json) : out_(out), json_(json) {}

  bool json() const { return json_; }
  void open(std::string_view group) {
    key(group);
    if (json_) out_.raw("{");
    group_ = group;
    first_ = true;
  }
  void close() {
    if (json_) out_.raw("}");
    group_ = {};
    first_ = false;
  }
  Writer& key(std::string_view name) {
    if (json_) {
      if (!first_) out_.raw(",");
      out_.raw("\"").raw(name).raw("\":");
    } else if (group_.empty()) {
      if (!first_) out_.raw(" ");
      out_.raw(name).raw("=");
    } else {
      out_.raw(" ").raw(group_).raw(".").raw(name).raw("=");
    }
    first_ = false;
    return out_;
  }
  // A key whose value is not there is null in JSON and left out in logfmt.
  void text(std::string_view name, std::string_view value, bool there) {
    if (there) {
      key(name).quoted(value);
    } else if (json_) {
      key(name).raw("null");
    }
  }
  void number(std::string_view name, std::uint64_t value, bool there) {
    if (there) {
      key(name).number(value);
    } else if (json_) {
      key(name).raw("null");
    }
  }

 private:
  Writer& out_;
  const bool json_;
  bool first_ = true;
  std::string_view group_;
};

void write_client(Fields& fields, Writer& out, const JournalLine& line) {
  if (line.ip.empty()) {
    if (fields.json()) fields.key("client").raw("null");
    return;
  }
  if (fields.json()) {
    fields.open("client");
    fields.text("ip", line.ip, true);
    fields.number("port", line.port, true);
    fields.text("helo", line.helo, !line.helo.empty());
    fields.text("name", line.name, !line.name.empty());
    fields.text("via", line.via, !line.via.empty());
    fields.close();
    return;
  }
  fields.text("client.ip", line.ip, true);
  fields.number("client.port", line.port, true);
  fields.text("client.helo", line.helo, !line.helo.empty());
  fields.text("client.name", line.name, !line.name.empty());
  fields.text("client.via", line.via, !line.via.empty());
  static_cast<void>(out);
}

void write_recipients(Fields& fields, Writer& out, const JournalLine& line) {
  if (!fields.json() && line.recipients == 0) return;
  fields.key("rcpt_to").raw(fields.json() ? "[" : "\"");
  for (std::size_t i = 0; i < line.recipients; ++i) {
    const std::string_view one = line.recipient(line.recipients_of, i);
    if (i != 0) out.raw(",");
    if (out.room() < kAfterRecipients + kValueBytesMax) {
      std::array<char, 40> rest{};
      const auto end =
          fmt::format_to_n(rest.begin(), rest.size(), "... {} more", line.recipients - i);
      const std::string_view words(rest.data(), end.size);
      fields.json() ? out.quoted(words) : out.raw(words);
      break;
    }
    fields.json() ? out.quoted(one) : out.raw(one);
  }
  out.raw(fields.json() ? "]" : "\"");
}

void write_reply(Fields& fields, const JournalLine& line) {
  if (line.codes.empty()) {
    if (fields.json()) fields.key("reply").raw("null");
    if (!line.text.empty()) fields.key("text").quoted(line.text, kReplyBytesMax);
    return;
  }
  std::array<char, kReplyBytesMax> text{};
  const auto end = fmt::format_to_n(text.begin(), text.size(), "{} {}", line.codes, line.text);
  fields.key("reply").quoted({text.data(), std::min(end.size, text.size())}, kReplyBytesMax);
}

}  // namespace

std::string_view word(JournalEvent event) {
  switch (event) {
    case JournalEvent::kRefused:
      return "refused";
    case JournalEvent::kDeferred:
      return "deferred";
    case JournalEvent::kCutOff:
      return "cut_off";
    case JournalEvent::kAccepted:
      return "accepted";
    case JournalEvent::kRemoved:
      return "removed";
    case JournalEvent::kNotice:
      break;
  }
  return "notice";
}

JournalEvent event_of(smtp::ReplyId id, smtp::Stage stage) {
  const smtp::Reply reply(id);
  if (reply.is_success()) return JournalEvent::kAccepted;
  if (reply.is_permanent()) return JournalEvent::kRefused;
  return reply.code() == 421 && stage != smtp::Stage::kConnect ? JournalEvent::kCutOff
                                                               : JournalEvent::kDeferred;
}

std::size_t write_line(const JournalLine& line, JournalFormat format, std::uint64_t run,
                       std::span<char> to) {
  MXRING_ASSERT(to.size() >= kJournalLineBytesMin);
  const bool json = format == JournalFormat::kJson;
  Writer out(to);
  Fields fields(out, json);
  if (json) out.raw("{");
  write_time(fields.key("time"), line.time);
  fields.key("event").quoted(word(line.event));
  std::array<char, 40> session{};
  const auto end =
      fmt::format_to_n(session.begin(), session.size(), "{:x}-{:x}", run, line.session);
  fields.text("session", {session.data(), end.size}, line.session != 0);
  write_client(fields, out, line);
  if (json) {
    fields.key("tls").raw(line.tls.empty() ? "null" : line.tls);
  } else {
    fields.text("tls", line.tls, !line.tls.empty());
  }
  fields.text("mail_from", line.mail_from, line.in_transaction);
  write_recipients(fields, out, line);
  fields.text("stage", line.stage, !line.stage.empty());
  write_reply(fields, line);
  fields.text("spf", line.spf, !line.spf.empty());
  fields.text("dmarc", line.dmarc, !line.dmarc.empty());
  fields.number("size", line.size, line.has_size);
  fields.number("repeated", line.repeated, true);
  if (json) out.raw("}");
  MXRING_ASSERT(out.size() <= to.size());
  return out.size();
}

}  // namespace mxring::server
