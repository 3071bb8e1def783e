#include "cli/mail_questions.h"

#include <fmt/format.h>
#include <mxring/log_reader.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <vector>

#include "base/json.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/log_walk.h"
#include "cli/record_question.h"
#include "cli/record_text.h"
#include "decode/decode.h"
#include "decode/facts_json.h"
#include "seglog/find.h"
#include "seglog/stored_json.h"
#include "server/group_facts.h"
#include "server/trace.h"

namespace mxring::cli {

namespace {

using seglog::StoredObject;
using server::query_value;
using Clock = std::chrono::steady_clock;

// Offsets that are looked through before the time is looked at.
constexpr Offset kOffsetsAtOnce = 100'000;

std::string error_json(std::string_view why) {
  base::JsonWriter json;
  json.begin_object().key("error").value(why).end_object();
  return std::move(json).text();
}

std::expected<Record, std::string> read_one(LogReader& reader, Offset offset) {
  reader.include_refusals(true);
  if (const auto there = reader.stay_at(offset); !there) {
    return std::unexpected(describe(there.error()));
  }
  auto record = reader.next();
  if (!record) return std::unexpected(describe(record.error()));
  if (!*record || (*record)->offset != offset) return std::unexpected("there is no such record");
  return **std::move(record);
}

std::vector<std::string> dialogue_words(const Record& record) {
  std::vector<std::string> lines;
  lines.push_back(fmt::format("{} from {} port {}{}", base::format_wall_time(record.received_at_us),
                              record.client_ip, record.client_port,
                              record.client_name.empty()
                                  ? std::string(", without a confirmed name")
                                  : fmt::format(", {}", record.client_name)));
  lines.push_back(fmt::format("said {} and spoke {}", record.helo, record.protocol));
  if (const auto tls = seglog::read_stored_json(record.tls); !tls.empty()) {
    lines.push_back(fmt::format("{} {}{}", tls[0].text("version"), tls[0].text("cipher"),
                                tls[0].truth("resumed") ? ", resumed" : ""));
  } else {
    lines.emplace_back("in the clear");
  }
  lines.push_back(record.mail_from.empty() ? std::string("from <>, the null sender")
                                           : fmt::format("from <{}>", record.mail_from));
  for (const Recipient& to : record.rcpt_to) lines.push_back(fmt::format("to <{}>", to.address));
  if (!record.is_refusal()) {
    lines.push_back(
        fmt::format("{} bytes, answered 250 with offset {}", record.message.size(), record.offset));
  }
  return lines;
}

void add_spf(const Record& record, std::vector<std::string>& lines) {
  for (const StoredObject& spf : seglog::read_stored_json(record.spf)) {
    lines.push_back(fmt::format(
        "SPF {} for {} ({}{}{})", spf.text("result"), spf.text("domain"), spf.text("identity"),
        spf.text("mechanism").empty() ? "" : ", matched by ", spf.text("mechanism")));
  }
}

void add_dkim(const Record& record, std::vector<std::string>& lines) {
  for (const StoredObject& one : seglog::read_stored_json(record.dkim)) {
    const std::string reason = one.text("reason");
    lines.push_back(fmt::format("DKIM {} for {}, selector {}{}{}", one.text("result"),
                                one.text("domain"), one.text("selector"),
                                reason.empty() ? "" : ": ", reason));
  }
}

void add_dmarc(const Record& record, std::vector<std::string>& lines) {
  for (const StoredObject& dmarc : seglog::read_stored_json(record.dmarc)) {
    const std::string policy = dmarc.text("policy");
    lines.push_back(fmt::format(
        "DMARC {} for {}{}{}", dmarc.text("result"), dmarc.text("from_domain"),
        policy.empty() ? std::string(": no policy")
                       : fmt::format(": policy {} of {}", policy, dmarc.text("record_domain")),
        dmarc.truth("aligned_dkim")  ? ", aligned by DKIM"
        : dmarc.truth("aligned_spf") ? ", aligned by SPF"
                                     : ", nothing aligned"));
  }
}

std::vector<std::string> verdict_words(const Record& record) {
  std::vector<std::string> lines;
  add_spf(record, lines);
  add_dkim(record, lines);
  add_dmarc(record, lines);
  if (lines.empty()) lines.emplace_back("not looked at");
  lines.push_back(fmt::format("so: {}", record.disposition));
  return lines;
}

void write_lines(base::JsonWriter& json, std::string_view key,
                 const std::vector<std::string>& lines) {
  json.key(key).begin_array();
  for (const std::string& line : lines) json.value(line);
  json.end_array();
}

std::string place_of(const server::GroupFacts& group, const Record& record) {
  if (record.is_refusal()) return "is not handed refused mail";
  const std::string_view done =
      group.current > record.offset ? "has dealt with it" : "has not dealt with it";
  return fmt::format("{}; stands at {}, {}{}", done, group.current, group.state,
                     group.dead == 0 ? std::string()
                                     : fmt::format(", {} (`mxring groups dead` says which)",
                                                   base::counted(group.dead, "dead letter")));
}

QuestionText question_of(std::string_view query) {
  const auto value = [&](std::string_view name) { return query_value(query, name).value_or(""); };
  QuestionText text{.recipient = value("recipient"),
                    .sender = value("sender"),
                    .header_from = value("header_from"),
                    .message_id = value("message_id"),
                    .id = value("id"),
                    .client = value("client"),
                    .disposition = value("disposition")};
  text.refused = !value("refused").empty();
  return text;
}

}  // namespace

std::string MailQuestions::operator()(std::string_view path, std::string_view query,
                                      const std::atomic<bool>& cancelled) const {
  return (path == "/search" ? search(query, cancelled) : story(query)) + '\n';
}

std::string MailQuestions::search(std::string_view query,
                                  const std::atomic<bool>& cancelled) const {
  const QuestionText text = question_of(query);
  if (!text.client.empty() && !is_client_network(text.client)) {
    return error_json("client: not an address or A/BITS");
  }
  auto reader = LogReader::open(log_);
  if (!reader) return error_json(describe(reader.error()));
  reader->include_refusals(text.refused);
  const RecordQuestion question(text);
  const Clock::time_point deadline = Clock::now() + kPatience;
  const Offset first = std::max(reader->first(), question.offset().value_or(0));
  Offset end = question.offset() ? std::min(reader->end(), *question.offset() + 1) : reader->end();
  std::vector<std::string> found;
  while (end > first && found.size() < kFoundMax && Clock::now() < deadline &&
         !cancelled.load(std::memory_order_relaxed)) {
    const Offset begin = end - first > kOffsetsAtOnce ? end - kOffsetsAtOnce : first;
    const auto some = seglog::find_records(
        log_, begin, end, [&](const Record& record) { return question.asks(record); }, 1);
    if (!some) return error_json(describe(some.error()));
    end = begin;
    for (auto at = some->offsets.rbegin(); at != some->offsets.rend(); ++at) {
      if (found.size() >= kFoundMax || Clock::now() >= deadline) {
        end = *at + 1;
        break;
      }
      const auto record = read_one(*reader, *at);
      if (record && question.asks(*record)) found.push_back(record_json(*record));
    }
  }
  base::JsonWriter json;
  json.begin_object().key("records").begin_array();
  for (std::string& one : found) {
    one.pop_back();  // its line end
    json.raw(one);
  }
  json.end_array().key("searched_from").value(end).key("complete").value(end <= first);
  json.end_object();
  return std::move(json).text();
}

std::string MailQuestions::story(std::string_view query) const {
  const std::string digits = query_value(query, "offset").value_or("");
  Offset offset = 0;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), offset);
  if (parsed.ec != std::errc() || parsed.ptr != digits.data() + digits.size()) {
    return error_json("offset: not a number");
  }
  auto reader = LogReader::open(log_);
  if (!reader) return error_json(describe(reader.error()));
  const auto record = read_one(*reader, offset);
  if (!record) return error_json(record.error());
  base::JsonWriter json;
  json.begin_object();
  json.key("record").begin_object();
  write_members(json, *record);
  json.end_object();
  write_lines(json, "dialogue", dialogue_words(*record));
  write_lines(json, "verdict", verdict_words(*record));
  json.key("trace").value(record->trace);
  json.key("facts");
  if (record->message.empty()) {
    json.null();
  } else {
    decode::write_json(decode::decode(record->message, {}), json);
  }
  json.key("groups").begin_array();
  for (const server::GroupFacts& group : server::look_at_groups(log_)) {
    json.begin_object().key("group").value(group.group);
    json.key("done").value(group.current > offset);
    json.key("place").value(place_of(group, *record)).end_object();
  }
  json.end_array().end_object();
  return std::move(json).text();
}

}  // namespace mxring::cli
