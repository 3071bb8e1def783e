#include "cli/mail_text.h"

#include <fmt/format.h>

#include <ctime>

namespace mxring::cli {

namespace {

// The sender as one word: the "From " line is split at spaces by those who read it.
std::string envelope_word(std::string_view mail_from) {
  if (mail_from.empty()) return "MAILER-DAEMON";
  std::string word(mail_from);
  for (char& c : word) {
    if (static_cast<unsigned char>(c) <= 0x20 || c == 0x7F) c = '_';
  }
  return word;
}

bool needs_quote(std::string_view line) {
  const std::size_t marks = line.find_first_not_of('>');
  return marks != std::string_view::npos && line.substr(marks).starts_with("From ");
}

}  // namespace

std::string with_lf(std::string_view message) {
  std::string out;
  out.reserve(message.size());
  for (std::size_t i = 0; i < message.size(); ++i) {
    const bool pair = message[i] == '\r' && i + 1 < message.size() && message[i + 1] == '\n';
    if (!pair) out += message[i];
  }
  return out;
}

std::string mbox_entry(const Record& record, std::string_view message) {
  const std::time_t seconds = record.received_at_us / 1'000'000;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char when[32];
  std::strftime(when, sizeof when, "%a %b %e %H:%M:%S %Y", &utc);
  std::string out = fmt::format("From {} {}\n", envelope_word(record.mail_from), when);
  const std::string text = with_lf(message);
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::size_t end = rest.find('\n');
    const std::string_view line = rest.substr(0, end);
    if (needs_quote(line)) out += '>';
    out += line;
    out += '\n';
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  }
  out += '\n';
  return out;
}

}  // namespace mxring::cli
