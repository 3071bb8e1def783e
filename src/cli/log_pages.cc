#include "cli/log_pages.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <ctime>
#include <system_error>

#include "base/json.h"
#include "base/moment.h"
#include "base/owned_fd.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/log_tail.h"

namespace mxring::cli {

namespace {

constexpr std::size_t kTokenBytesMin = 16;
constexpr std::size_t kTokenFileBytesMax = 64 * 1024;
constexpr std::uint64_t kRecordsDefault = 100;
constexpr std::uint64_t kRecordsMax = 10'000;
constexpr std::size_t kLinesBytes = 4 << 20;  // more are for the next question
constexpr std::int64_t kWaitMaxNs = 300 * base::kNsPerSecond;
constexpr std::int64_t kReaderAgeNs = base::kNsPerSecond;
constexpr std::int64_t kLargePatienceNs = 10 * base::kNsPerSecond;
constexpr std::size_t kLogIdDigits = 32;

constexpr std::string_view kNoStore = "Cache-Control: no-store\r\n";
constexpr std::array<std::string_view, 9> kQueryNames{"from", "after", "since", "max",    "limit",
                                                      "wait", "body",  "form",  "refused"};

HttpAnswer bad_query(std::string_view message, std::string_view next) {
  return error_answer("400 Bad Request", "bad-query", message, next);
}

bool parse_number(std::string_view text, std::uint64_t& out) {
  const auto read = std::from_chars(text.data(), text.data() + text.size(), out);
  return read.ec == std::errc() && read.ptr == text.data() + text.size();
}

// "<32 hex>_<offset>", or the offset alone for records that are older than log ids.
struct WantedId {
  std::string_view log;  // "" when only the offset is given
  Offset offset = 0;
};
std::optional<WantedId> parse_wanted(std::string_view text) {
  WantedId wanted;
  if (text.size() > kLogIdDigits && text[kLogIdDigits] == '_') {
    wanted.log = text.substr(0, kLogIdDigits);
    const bool hex = std::ranges::all_of(
        wanted.log, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
    if (!hex) return std::nullopt;
    text.remove_prefix(kLogIdDigits + 1);
  }
  if (!parse_number(text, wanted.offset) || wanted.offset == UINT64_MAX) return std::nullopt;
  return wanted;
}

HttpAnswer foreign(std::string_view id) {
  return error_answer("404 Not Found", "foreign-log",
                      fmt::format("{} is of another log, or of this one before it was put back "
                                  "from a copy",
                                  base::escaped(id)),
                      "GET /v1/log tells this log's id; records of it are listed by /v1/records");
}

}  // namespace

HttpAnswer error_answer(std::string_view status, std::string_view code, std::string_view message,
                        std::string_view next) {
  base::JsonWriter json;
  json.begin_object().key("error").begin_object();
  json.key("code").value(code).key("message").value(message).key("next").value(next);
  json.end_object().end_object();
  HttpAnswer answer;
  answer.status = status;
  answer.text = std::move(json).text() + '\n';
  answer.fields = kNoStore;
  return answer;
}

std::string http_date(std::int64_t unix_s) {
  const std::time_t seconds = unix_s;
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  constexpr std::array kDays{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr std::array kMonths{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                               "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  return fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} GMT",
                     kDays[static_cast<std::size_t>(parts.tm_wday)], parts.tm_mday,
                     kMonths[static_cast<std::size_t>(parts.tm_mon)], parts.tm_year + 1900,
                     parts.tm_hour, parts.tm_min, parts.tm_sec);
}

std::expected<std::vector<std::string>, std::string> read_tokens(const std::string& file) {
  const auto failed = [&file](std::string_view why) {
    return std::unexpected(fmt::format("{}: {}", base::escaped(file), why));
  };
  const base::OwnedFd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return failed(std::system_category().message(errno));
  std::string text(kTokenFileBytesMax + 1, '\0');
  const ssize_t got = ::read(fd.get(), text.data(), text.size());
  if (got < 0) return failed(std::system_category().message(errno));
  if (static_cast<std::size_t>(got) > kTokenFileBytesMax) return failed("larger than 64 KiB");
  text.resize(static_cast<std::size_t>(got));
  std::vector<std::string> tokens;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    at = end + 1;
    const std::size_t last = line.find_last_not_of(" \t\r");
    line.resize(last == line.npos ? 0 : last + 1);
    if (line.empty() || line.front() == '#') continue;
    if (line.size() < kTokenBytesMin || line.find_first_of(" \t") != line.npos) {
      return failed("a token is 16 characters or more without blanks: openssl rand -hex 32");
    }
    tokens.push_back(std::move(line));
  }
  if (tokens.empty()) return failed("holds no token; one a line: openssl rand -hex 32");
  return tokens;
}

// ---- who asks ----

std::optional<HttpAnswer> LogPages::refuse(const net::HttpRequest& request, bool& trusted) {
  const auto closing = [](HttpAnswer answer) {
    answer.close = true;
    return answer;
  };
  if (shared_.check_host && !net::is_host_of(request.host, shared_.names)) {
    return closing(error_answer("421 Misdirected Request", "wrong-host",
                                "the Host field names somebody else",
                                "ask by address, or start `mxring log serve` with --name"));
  }
  if (request.path == "/healthz") return std::nullopt;
  if (!shared_.token_file.empty()) {
    const auto tokens = read_tokens(shared_.token_file);
    if (!tokens) {
      if (!shared_.token_file_said.exchange(true, std::memory_order_relaxed)) {
        complain(tokens.error());
      }
      return closing(error_answer("503 Service Unavailable", "no-token",
                                  "the token file cannot be read or holds none",
                                  "whoever runs `mxring log serve` finds the reason there"));
    }
    shared_.token_file_said.store(false, std::memory_order_relaxed);
    const std::string_view given = net::bearer_token(request.authorization);
    bool same = false;
    for (const std::string& token : *tokens) same |= net::same_secret(given, token);
    if (!same) {
      HttpAnswer answer =
          error_answer("401 Unauthorized", "wrong-token",
                       given.empty() ? "this wants a token" : "that is not the token",
                       "Authorization: Bearer TOKEN, a line of --token-file");
      answer.fields += "WWW-Authenticate: Bearer\r\n";
      return closing(std::move(answer));
    }
  }
  trusted = true;
  return std::nullopt;
}

HttpAnswer LogPages::answer(const net::HttpRequest& request, const Wait& wait,
                            const std::function<void()>& on_trusted) {
  constexpr std::string_view kBody = "/v1/body/";
  constexpr std::string_view kAllow = "Allow: GET, HEAD, OPTIONS\r\n";
  bool trusted = false;
  if (auto refused = refuse(request, trusted)) return *std::move(refused);
  if (trusted) on_trusted();
  HttpAnswer answer;
  if (request.method == "OPTIONS") {
    answer.status = "204 No Content";
    answer.fields = kAllow;
  } else if (request.method != "GET" && request.method != "HEAD") {
    answer = error_answer("405 Method Not Allowed", "read-only", "the log is only read here",
                          "GET or HEAD");
    answer.fields += kAllow;
  } else if (request.path == "/healthz") {
    answer.type = "text/plain";
    answer.text = "ok\n";
  } else if (request.path == "/v1/log") {
    answer = facts();
  } else if (request.path == "/v1/records") {
    answer = records(request, wait);
  } else if (request.path.starts_with(kBody)) {
    answer = body(request, request.path.substr(kBody.size()), wait);
  } else {
    answer = error_answer("404 Not Found", "no-such-page", "nothing is here",
                          "/v1/records, /v1/body/ID, /v1/log or /healthz");
  }
  return answer;
}

void LogPages::sent(const HttpAnswer& answer) {
  if (answer.large) reader_.reset();
}

// ---- the log ----

// A reader of a log that was made anew meanwhile would not see that.
std::optional<HttpAnswer> LogPages::open_reader() {
  const base::MonoTime now = base::read_clocks().mono;
  if (reader_ && now - opened_at_ < kReaderAgeNs) return std::nullopt;
  auto opened = LogReader::open(shared_.directory);
  if (!opened) {
    reader_.reset();
    return error_answer("503 Service Unavailable", "no-log", describe(opened.error()),
                        "ask again when `mxring serve` has made it");
  }
  reader_.emplace(*std::move(opened));
  opened_at_ = now;
  bell_.reset();
  return std::nullopt;
}

HttpAnswer LogPages::facts() {
  if (auto failed = open_reader()) return *std::move(failed);
  base::JsonWriter json;
  json.begin_object().key("log_id");
  const LogId id = reader_->log_id();
  if (id.known()) {
    json.value(id.hex());
  } else {
    json.null();
  }
  json.key("first").value(reader_->first()).key("end").value(reader_->end()).end_object();
  HttpAnswer answer;
  answer.text = std::move(json).text() + '\n';
  answer.fields = kNoStore;
  return answer;
}

// Room for an answer that may be large; nothing when there was none for a while.
std::optional<LargeAnswer> LogPages::large_answer(const Wait& wait) {
  const base::MonoTime until = base::read_clocks().mono + kLargePatienceNs;
  constexpr std::int64_t kPauseNs = 20 * base::kNsPerMs;
  while (true) {
    int now = shared_.large.load(std::memory_order_relaxed);
    while (now < LogPagesShared::kLargeAtOnce) {
      if (shared_.large.compare_exchange_weak(now, now + 1, std::memory_order_relaxed)) {
        return LargeAnswer(shared_.large);
      }
    }
    const base::MonoTime next = base::read_clocks().mono + kPauseNs;
    if (next >= until || !wait(-1, next)) return std::nullopt;
  }
}

namespace {

HttpAnswer busy() {
  HttpAnswer answer = error_answer(
      "503 Service Unavailable", "busy",
      fmt::format("{} large answers are on their way already", int{LogPagesShared::kLargeAtOnce}),
      "ask again in a moment");
  answer.fields += "Retry-After: 2\r\n";
  return answer;
}

}  // namespace

// ---- /v1/records ----

struct LogPages::Question {
  std::optional<std::string> from;
  std::optional<std::string> after;
  std::optional<std::int64_t> since_us;
  std::uint64_t count_max = kRecordsDefault;
  std::int64_t wait_ns = 0;
  TailOptions shape;
};

std::optional<HttpAnswer> LogPages::read_question(std::string_view query, Question& question) {
  std::string_view unknown;
  net::for_each_query_name(query, [&unknown](std::string_view name) {
    if (std::ranges::find(kQueryNames, name) == kQueryNames.end()) unknown = name;
  });
  if (!unknown.empty()) {
    const std::string_view near = base::nearest(unknown, kQueryNames);
    return bad_query(fmt::format("{}: no such parameter{}", base::escaped(unknown),
                                 near.empty() ? "" : fmt::format("; did you mean {}?", near)),
                     "from, after, since, max, wait, body, form, refused");
  }
  bool good = true;
  const auto value = [&](std::string_view name) { return net::query_value(query, name, &good); };
  question.from = value("from");
  question.after = value("after");
  const auto since = value("since");
  if (int{question.from.has_value()} + int{question.after.has_value()} + int{since.has_value()} >
      1) {
    return bad_query("from, after and since exclude each other", "give one of them");
  }
  if (since) {
    question.since_us = base::parse_time(*since, base::read_clocks().wall);
    if (!question.since_us) return bad_query("since: not a time", base::kTimeForms);
  }
  const auto max = value("max");
  const auto limit = value("limit");
  if (max || limit) {
    const bool number = parse_number(max ? *max : *limit, question.count_max);
    if (!number || (max && limit) || question.count_max == 0 || question.count_max > kRecordsMax) {
      return bad_query("max (or limit, which is the same): a number from 1 to 10000",
                       "max=100, which is the default");
    }
  }
  if (const auto wait = value("wait")) {
    const std::string text =
        wait->find_first_not_of("0123456789") == wait->npos ? *wait + 's' : *wait;
    const auto ns = base::parse_duration_ns(text);
    if (!ns || *ns < 0 || *ns > kWaitMaxNs) {
      return bad_query("wait: seconds, 300 at most", "wait=30");
    }
    question.wait_ns = *ns;
  }
  const auto word = [&](std::string_view name, std::string_view off, std::string_view on,
                        bool& into) {
    const auto text = value(name);
    into = text && *text == on;
    return !text || *text == off || *text == on;
  };
  bool body = false;
  question.shape.json = true;
  if (!word("body", "none", "base64", body)) {
    return bad_query("body: none or base64", "body=base64");
  }
  if (!word("form", "received", "delivered", question.shape.delivered)) {
    return bad_query("form: received or delivered", "form=received, which is the default");
  }
  if (!word("refused", "0", "1", question.shape.refused)) {
    return bad_query("refused: 0 or 1", "refused=1 for what was refused by DMARC policy too");
  }
  if (body) question.shape.body = "base64";
  if (!good) return bad_query("an escape is broken", "%XX, two hexadecimal digits");
  return std::nullopt;
}

namespace {

HttpAnswer cannot_start(const LogError& error) {
  if (error.kind == LogErrorKind::kBeyondEnd) {
    return error_answer("409 Conflict", "beyond-end", describe(error),
                        "the log was made anew or put back from an older copy, or it is another "
                        "one; GET /v1/log tells where it begins and ends");
  }
  return error_answer("500 Internal Server Error", "io", describe(error),
                      "whoever runs the receiver: mxring log verify");
}

}  // namespace

// After the record of this id; one of another log must not be taken for ours.
std::optional<HttpAnswer> LogPages::go_after(std::string_view after) {
  const auto wanted = parse_wanted(after);
  if (!wanted) {
    return bad_query("after: a record's id, or an offset", "the id of the last record dealt with");
  }
  if (!wanted->log.empty()) {
    LogId log = reader_->log_id();
    reader_->include_refusals(true);
    if (reader_->stay_at(wanted->offset)) {
      const auto record = reader_->next();
      if (record && *record && (*record)->offset == wanted->offset) log = (*record)->log_id;
    }
    if (log.hex() != wanted->log) {
      HttpAnswer answer = foreign(after);
      answer.status = "409 Conflict";
      return answer;
    }
  }
  const auto moved = reader_->stay_at(wanted->offset + 1);
  if (!moved) return cannot_start(moved.error());
  return std::nullopt;
}

std::optional<HttpAnswer> LogPages::go_to_start(const Question& question) {
  if (question.after) return go_after(*question.after);
  std::expected<void, LogError> moved;
  const std::string from = question.from.value_or("earliest");
  std::uint64_t number = 0;
  if (question.since_us) {
    moved = reader_->seek_time(*question.since_us);
  } else if (from == "earliest") {
    moved = reader_->stay_at(reader_->first());
  } else if (from == "latest") {
    moved = reader_->stay_at(reader_->end());
  } else if (from.starts_with('-') && parse_number(std::string_view(from).substr(1), number)) {
    const Offset kept = reader_->end() - reader_->first();
    moved = reader_->stay_at(reader_->end() - std::min<Offset>(number, kept));
  } else if (parse_number(from, number)) {
    moved = reader_->stay_at(number);
  } else {
    return bad_query("from: an offset, -N for the last N, earliest or latest", "from=earliest");
  }
  if (moved) return std::nullopt;
  return cannot_start(moved.error());
}

std::optional<HttpAnswer> LogPages::collect(const Question& question, std::string& lines,
                                            std::uint64_t& count) {
  while (count < question.count_max && lines.size() < kLinesBytes) {
    const auto record = reader_->next();
    if (record && !*record) return std::nullopt;
    if (record) {
      lines += tail_line(**record, question.shape);
    } else if (can_continue(record.error())) {
      const LogError& error = record.error();
      lines +=
          gap_json(error.offset, error.offset + error.records, error.kind == LogErrorKind::kGone);
    } else if (count > 0) {
      return std::nullopt;  // what there is, first
    } else {
      return cannot_start(record.error());
    }
    ++count;
  }
  return std::nullopt;
}

HttpAnswer LogPages::records(const net::HttpRequest& request, const Wait& wait) {
  Question question;
  if (auto bad = read_question(request.query, question)) return *std::move(bad);
  HttpAnswer answer;
  if (question.shape.body == "base64") {
    answer.large = large_answer(wait);
    if (!answer.large) return busy();
  }
  if (auto failed = open_reader()) return *std::move(failed);
  if (auto failed = go_to_start(question)) return *std::move(failed);
  reader_->include_refusals(question.shape.refused);
  const base::MonoTime until = base::read_clocks().mono + question.wait_ns;
  std::uint64_t count = 0;
  while (true) {
    if (auto failed = collect(question, answer.text, count)) return *std::move(failed);
    const base::MonoTime now = base::read_clocks().mono;
    if (count > 0 || now >= until) break;
    // Nobody waits with room for a large answer in the hand.
    answer.large.reset();
    const Offset wanted = reader_->position();
    if (!bell_) bell_ = seglog::RecordBell::start(shared_.directory, wanted);
    if (bell_) bell_->want(wanted);
    // Without a bell, or where the writer has gone, it is looked at now and then.
    const std::int64_t pause = (bell_ ? 500 : 20) * base::kNsPerMs;
    if (!wait(bell_ ? bell_->fd() : -1, std::min(until, now + pause))) break;
    if (bell_) bell_->quiet();
    if (question.shape.body == "base64" && !(answer.large = large_answer(wait))) return busy();
  }
  answer.type = "application/x-ndjson";
  answer.fields =
      fmt::format("{}Mx-Next: {}\r\nMx-End: {}\r\n", kNoStore, reader_->position(), reader_->end());
  if (const LogId id = reader_->log_id(); id.known()) {
    answer.fields += fmt::format("Mx-Log-Id: {}\r\n", id.hex());
  }
  return answer;
}

// ---- /v1/body/ID ----

HttpAnswer LogPages::body_of(const net::HttpRequest& request, const Record& record,
                             bool delivered) {
  HttpAnswer answer;
  answer.type = "message/rfc822";
  if (delivered) {
    answer.text = record.delivered();
  } else {
    answer.elsewhere = record.message;
    answer.is_elsewhere = true;
  }
  const std::string id = record.id().empty() ? std::to_string(record.offset) : record.id();
  const std::string tag = fmt::format("\"{}{}\"", id, delivered ? "-d" : "");
  const std::string modified = http_date(record.received_at_us / 1'000'000);
  answer.fields = fmt::format(
      "Accept-Ranges: bytes\r\nETag: {}\r\nLast-Modified: {}\r\n"
      "Cache-Control: private, no-cache\r\n",
      tag, modified);
  const auto without_body = [&answer](std::string_view status) {
    answer.status = status;
    answer.text.clear();
    answer.is_elsewhere = false;
  };
  if (net::has_entity_tag(request.if_none_match, tag)) {
    without_body("304 Not Modified");
    return answer;
  }
  // A range is for GET only, and only of what the client has the rest of.
  const bool same =
      request.if_range.empty() || request.if_range == tag || request.if_range == modified;
  if (request.method != "GET" || request.range.empty() || !same) return answer;
  const std::uint64_t size = answer.body().size();
  const net::HttpRange range = net::parse_http_range(request.range, size);
  if (range.kind == net::HttpRange::Kind::kNone) {
    without_body("416 Range Not Satisfiable");
    answer.fields += fmt::format("Content-Range: bytes */{}\r\n", size);
  } else if (range.kind == net::HttpRange::Kind::kPart) {
    answer.status = "206 Partial Content";
    answer.fields +=
        fmt::format("Content-Range: bytes {}-{}/{}\r\n", range.begin, range.end - 1, size);
    const std::uint64_t length = range.end - range.begin;
    if (answer.is_elsewhere) {
      answer.elsewhere = answer.elsewhere.substr(range.begin, length);
    } else {
      answer.text = answer.text.substr(range.begin, length);
    }
  }
  return answer;
}

HttpAnswer LogPages::body(const net::HttpRequest& request, std::string_view id, const Wait& wait) {
  const auto wanted = parse_wanted(id);
  const std::string form = net::query_value(request.query, "form").value_or("received");
  if (!wanted) {
    return error_answer("400 Bad Request", "bad-id", "no record has such an id",
                        "an id is 32 hexadecimal digits, _ and the offset, as in /v1/records");
  }
  if (form != "received" && form != "delivered") {
    return bad_query("form: received or delivered", "form=received, which is the default");
  }
  auto large = large_answer(wait);  // until its size is known
  if (!large) return busy();
  if (auto failed = open_reader()) return *std::move(failed);
  reader_->include_refusals(true);
  const auto gone = [] {
    return error_answer("410 Gone", "removed", "retention has removed that record",
                        "a group that holds keeps what it has not dealt with: mxring groups");
  };
  const auto moved = reader_->seek(wanted->offset);
  if (!moved && moved.error().kind == LogErrorKind::kGone) {
    const LogId log = reader_->log_id();
    return wanted->log.empty() || log.hex() == wanted->log ? gone() : foreign(id);
  }
  const auto absent = [] {
    return error_answer("404 Not Found", "no-such-record", "no record has had that offset yet",
                        "GET /v1/log tells where the log begins and ends");
  };
  if (!moved && moved.error().kind == LogErrorKind::kBeyondEnd) return absent();
  if (!moved) return cannot_start(moved.error());
  const auto record = reader_->next();
  if (!record && record.error().kind == LogErrorKind::kGone) return gone();
  if (!record) {
    return error_answer("500 Internal Server Error", "damaged", describe(record.error()),
                        "whoever runs the receiver: mxring log verify");
  }
  if (!*record || (*record)->offset != wanted->offset) return absent();
  const Record& found = **record;
  if (!wanted->log.empty() && found.log_id.hex() != wanted->log) return foreign(id);
  if (found.is_refusal()) {
    return error_answer("404 Not Found", "refused",
                        "that mail was refused by DMARC policy: there is no message",
                        "its envelope is in /v1/records?refused=1");
  }
  HttpAnswer answer = body_of(request, found, form == "delivered");
  if (found.message.size() > LogPagesShared::kLargeBytes) answer.large = std::move(large);
  return answer;
}

}  // namespace mxring::cli
