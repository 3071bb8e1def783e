// What a record is looked for by, as `log find` and the page of the administration understand it.
// Thread: asks() any.
#pragma once

#include <mxring/record.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/ip_address.h"

namespace mxring::cli {

// As given; "" does not matter. An address "@example.org" is any one there, "<>" the null sender.
struct QuestionText {
  std::string recipient, sender, header_from, message_id, id, client, disposition;
  bool refused = false;  // also mail that was refused by policy
};

bool is_client_network(std::string_view text);

class RecordQuestion {
 public:
  // `text` outlives it.
  explicit RecordQuestion(const QuestionText& text);
  void since(std::int64_t us) { since_us_ = us; }
  void until(std::int64_t us) { until_us_ = us; }

  // Asked of metadata alone, and again of the whole record.
  bool asks(const Record& record) const;
  std::optional<Offset> offset() const { return offset_; }
  std::int64_t since_us() const { return since_us_; }

 private:
  struct Network {
    base::IpAddress address;
    int bits = 0;
    bool has(std::string_view text) const;
  };
  friend bool is_client_network(std::string_view text);
  static std::optional<Network> parse_network(std::string_view text);

  bool is_sender(const Record& record) const;
  bool is_recipient(const Record& record) const;
  bool asks_header(const Record& record) const;
  void read_id();

  const QuestionText& options_;
  std::int64_t since_us_ = INT64_MIN;
  std::int64_t until_us_ = INT64_MAX;
  std::optional<Network> client_;
  std::optional<Offset> offset_;
  std::optional<std::string> log_id_;
  std::optional<std::string> queue_id_;
};

}  // namespace mxring::cli
