// What `log serve` answers: records as NDJSON, bodies with ranges, facts about the log. No
// connection here; whoever has one asks, and waits where this wants to wait.
//
//   GET /v1/records?from|after|since&max&wait&body&form&refused   application/x-ndjson
//   GET /v1/body/ID?form                                          message/rfc822, Range
//   GET /v1/log                                                   log id, first, end
//   GET /healthz                                                  without a token
//
// Thread: one per object; what is counted over all of them is in LogPagesShared. Failure: an answer
// with {"error":{"code","message","next"}}.
#pragma once

#include <mxring/log_reader.h>

#include <atomic>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "net/http_request.h"
#include "seglog/record_bell.h"

namespace mxring::cli {

struct LogPagesShared {
  std::string directory;
  std::string token_file;  // "" = none is asked for
  std::vector<std::string> names;
  bool check_host = true;

  // Answers larger than kLargeBytes exist at the same time.
  static constexpr int kLargeAtOnce = 8;
  static constexpr std::size_t kLargeBytes = 1 << 20;
  std::atomic<int> large{0};
  std::atomic<bool> token_file_said{false};
};

// The lines of a token file that are tokens: not empty, no comment; or what is wrong with it.
std::expected<std::vector<std::string>, std::string> read_tokens(const std::string& file);

// Room for one large answer, given back with the object.
class LargeAnswer {
 public:
  explicit LargeAnswer(std::atomic<int>& count) : count_(&count) {}
  LargeAnswer(LargeAnswer&& other) noexcept : count_(std::exchange(other.count_, nullptr)) {}
  LargeAnswer& operator=(LargeAnswer&& other) noexcept {
    std::swap(count_, other.count_);
    return *this;
  }
  ~LargeAnswer() {
    if (count_ != nullptr) count_->fetch_sub(1, std::memory_order_relaxed);
  }

 private:
  std::atomic<int>* count_;
};

struct HttpAnswer {
  std::string_view status = "200 OK";
  std::string_view type = "application/json";
  std::string fields;          // "Name: value\r\n", any number of them
  std::string text;            // the body, unless it is elsewhere
  std::string_view elsewhere;  // in the reader's memory, until the next question
  bool is_elsewhere = false;
  bool trusted = false;  // a token was given, or none is asked for
  bool close = false;    // nothing more on this connection
  std::optional<LargeAnswer> large = {};

  std::string_view body() const { return is_elsewhere ? elsewhere : std::string_view(text); }
};

// As an answer is made here and by the connection.
HttpAnswer error_answer(std::string_view status, std::string_view code, std::string_view message,
                        std::string_view next);

// A moment as HTTP writes it (RFC 9110 5.6.7).
std::string http_date(std::int64_t unix_s);

class LogPages {
 public:
  // Until a descriptor (-1: none) is readable or so much time is over; false: the client has gone,
  // or everything ends.
  using Wait = std::function<bool(int fd, base::MonoTime until)>;

  explicit LogPages(LogPagesShared& shared) : shared_(shared) {}

  // `trusted` is called once it is known that whoever asks may, before anything is waited for.
  HttpAnswer answer(const net::HttpRequest& request, const Wait& wait,
                    const std::function<void()>& trusted);
  // The answer has been sent: memory of a large one is given back.
  void sent(const HttpAnswer& answer);

 private:
  struct Question;
  std::optional<HttpAnswer> refuse(const net::HttpRequest& request, bool& trusted);
  std::optional<HttpAnswer> open_reader();
  HttpAnswer facts();
  HttpAnswer records(const net::HttpRequest& request, const Wait& wait);
  std::optional<HttpAnswer> read_question(std::string_view query, Question& question);
  std::optional<HttpAnswer> go_to_start(const Question& question);
  std::optional<HttpAnswer> go_after(std::string_view after);
  std::optional<HttpAnswer> collect(const Question& question, std::string& lines,
                                    std::uint64_t& count);
  HttpAnswer body(const net::HttpRequest& request, std::string_view id, const Wait& wait);
  HttpAnswer body_of(const net::HttpRequest& request, const Record& record, bool delivered);
  std::optional<LargeAnswer> large_answer(const Wait& wait);

  LogPagesShared& shared_;
  std::optional<LogReader> reader_;
  base::MonoTime opened_at_;
  std::unique_ptr<seglog::RecordBell> bell_;
};

}  // namespace mxring::cli
