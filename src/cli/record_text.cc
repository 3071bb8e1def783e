#include "cli/record_text.h"

#include <fmt/format.h>

#include "base/text.h"
#include "base/units.h"

namespace mxring::cli {

namespace {

// Every "result" in a stored verdict, in order: "pass", "fail". Quotes inside its values are
// escaped, so the words found are members and nothing else.
std::string results_of(std::string_view stored) {
  constexpr std::string_view kMember = "\"result\":\"";
  std::string words;
  for (std::size_t at = stored.find(kMember); at != std::string_view::npos;
       at = stored.find(kMember, at)) {
    at += kMember.size();
    if (!words.empty()) words += '+';
    words += stored.substr(at, stored.find('"', at) - at);
  }
  return words.empty() ? "none" : words;
}

std::string verdicts_line(const Record& record) {
  std::string line;
  const auto add = [&line](std::string_view method, std::string_view stored) {
    if (!stored.empty()) line += fmt::format("{}={} ", method, results_of(stored));
  };
  add("spf", record.spf);
  add("dkim", record.dkim);
  add("dmarc", record.dmarc);
  if (!line.empty()) line.pop_back();
  return line;
}

// The text of a member of a stored object, as long as there is nothing escaped in it.
std::string_view text_member(std::string_view object, std::string_view name) {
  const std::string opening = fmt::format("\"{}\":\"", name);
  const std::size_t at = object.find(opening);
  if (at == std::string_view::npos) return {};
  const std::string_view rest = object.substr(at + opening.size());
  return rest.substr(0, rest.find('"'));
}

}  // namespace

std::string record_json(const Record& record) {
  base::JsonWriter json;
  json.begin_object();
  write_members(json, record);
  json.end_object();
  return std::move(json).text() + '\n';
}

std::string record_listing(const Record& record, bool colour) {
  constexpr std::size_t kRecipientsShown = 5;
  const char* strong = colour ? "\x1b[1m" : "";
  const char* plain = colour ? "\x1b[0m" : "";
  std::string out = fmt::format("{}{}{}  {}  {}  {}\n", strong, record.offset, plain,
                                base::format_wall_time(record.received_at_us),
                                base::format_bytes(record.message.size()), record.disposition);
  out += fmt::format("    <{}> ->", base::escaped(record.mail_from));
  for (std::size_t i = 0; i < record.rcpt_to.size() && i < kRecipientsShown; ++i) {
    out += fmt::format("{} <{}>", i == 0 ? "" : ",", base::escaped(record.rcpt_to[i].address));
  }
  if (record.rcpt_to.size() > kRecipientsShown) {
    out += fmt::format(" and {} more", record.rcpt_to.size() - kRecipientsShown);
  }
  out += fmt::format("\n    from {}:{}, {} {}", record.client_ip, record.client_port,
                     base::escaped(record.protocol), base::escaped(record.helo));
  if (!record.client_name.empty()) {
    out += fmt::format(" ({})", base::escaped(record.client_name));
  }
  if (!record.via.empty()) {
    out += fmt::format(", via {} ({})", base::escaped(text_member(record.via, "ip")),
                       base::escaped(text_member(record.via, "protocol")));
  }
  if (const auto cipher = text_member(record.tls, "cipher"); !cipher.empty()) {
    out += fmt::format(", {} {}", base::escaped(text_member(record.tls, "version")),
                       base::escaped(cipher));
  }
  out += '\n';
  const std::string verdicts = verdicts_line(record);
  if (!verdicts.empty()) out += fmt::format("    {}\n", base::escaped(verdicts));
  return out;
}

}  // namespace mxring::cli
