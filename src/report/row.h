// What a report says about one kind of message (RFC 9990 3.1.1): messages that agree in all of this
// are one row with a count. Ordered, so that a report's rows always come in the same order.
//
// Values only, no views: rows outlive the log record they were read from.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

namespace mxring::report {

struct SignatureResult {
  std::string domain;    // d=
  std::string selector;  // s=
  std::string result;    // RFC 8601 2.7.1
  auto operator<=>(const SignatureResult&) const = default;
};

// What was done with the messages: the words of the schema's ActionDispositionType.
enum class Action : std::uint8_t {
  kNone,        // nothing asked for, nothing done
  kPass,        // DMARC passed, under a policy that asks for more than nothing
  kQuarantine,  // marked
  kReject,      // refused
};

// Why that is not what the published policy asks for; several may hold.
struct Override {
  bool local_policy = false;  // the receiver's own settings
  bool test_mode = false;     // t=y
  bool undecided = false;     // an answer could not be had from DNS
  auto operator<=>(const Override&) const = default;
};

struct Row {
  std::string source_ip;
  std::string header_from;
  std::string envelope_from;  // empty: the null reverse-path
  Action action = Action::kNone;
  Override overridden;
  bool dkim_aligned = false;
  bool spf_aligned = false;
  std::string spf_domain;
  std::string spf_result;                   // RFC 8601 2.7.2; empty: not looked at
  std::vector<SignatureResult> signatures;  // in the order of RFC 9990's preference
  auto operator<=>(const Row&) const = default;
};

}  // namespace mxring::report
