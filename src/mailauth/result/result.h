// The words in which SPF, DKIM and DMARC report (RFC 8601 2.7), one enum for all of them; each
// method uses some.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace mxring::mailauth {

enum class Result : std::uint8_t {
  kNone,  // nothing to check
  kPass,
  kFail,
  kSoftfail,  // SPF only
  kNeutral,
  kPolicy,     // DKIM only: valid, but not acceptable here
  kTemperror,  // may be otherwise later: DNS
  kPermerror,  // the domain's own records are wrong
};

constexpr std::string_view word(Result result) {
  switch (result) {
    case Result::kNone:
      return "none";
    case Result::kPass:
      return "pass";
    case Result::kFail:
      return "fail";
    case Result::kSoftfail:
      return "softfail";
    case Result::kNeutral:
      return "neutral";
    case Result::kPolicy:
      return "policy";
    case Result::kTemperror:
      return "temperror";
    case Result::kPermerror:
      return "permerror";
  }
  return "none";
}

constexpr std::optional<Result> result_from_word(std::string_view text) {
  for (int i = 0; i <= static_cast<int>(Result::kPermerror); ++i) {
    if (word(static_cast<Result>(i)) == text) return static_cast<Result>(i);
  }
  return std::nullopt;
}

}  // namespace mxring::mailauth
