// SPF records (RFC 7208 4.5, 4.6, 5, 6 and the grammar of 12): which of a domain's TXT records is
// one, and what it says. Every syntax error anywhere in the record is found here, before anything
// is evaluated.
//
// Pure. A parsed record owns its text; the parts of it are positions, so it can be moved and kept
// beside the DNS answer it came from.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip_address.h"
#include "dns/record.h"
#include "mailauth/result/result.h"

namespace mxring::mailauth::spf {

enum class Mechanism : std::uint8_t { kAll, kInclude, kA, kMx, kPtr, kIp4, kIp6, kExists };

// A stretch of the record's text.
struct Part {
  std::uint32_t at = 0;
  std::uint32_t size = 0;
};

struct Term {
  Mechanism mechanism = Mechanism::kAll;
  Result result = Result::kPass;  // its qualifier: what a match means
  std::uint8_t prefix4_bits = 32;
  std::uint8_t prefix6_bits = 128;
  base::IpAddress network;  // ip4, ip6
  Part spec;                // the domain-spec; empty when there is none
  std::int32_t name = -1;   // the spec as a name, in Record::names; -1: to be expanded or parsed
  Part text;                // as written, without the qualifier
};

struct Record {
  // Names kept of one record: no more terms than that are evaluated unless somebody sets a higher
  // limit, and a hostile record of thousands shall not take their memory.
  static constexpr std::size_t kNamesMax = 12;

  std::string text;
  std::vector<Term> terms;  // the mechanisms, in order
  std::vector<dns::Name> names;
  std::optional<Part> redirect;
  std::optional<Part> explanation;

  std::string_view part(const Part& p) const& {
    return std::string_view(text).substr(p.at, p.size);
  }
  std::string_view part(const Part&) const&& = delete;
};

struct SyntaxError {
  std::string_view what;  // a constant
  std::string where;      // the term, as it stands in the record: untrusted bytes
};

// "v=spf1", alone or followed by a space, in any case.
bool is_spf_record(std::string_view text);
std::expected<Record, SyntaxError> parse(std::string_view text);

// What the TXT records of a domain say, kept beside the answer so that it is found out once.
class Policy final : public dns::ParsedForm {
 public:
  enum class State : std::uint8_t { kNone, kOne, kSeveral, kMalformed };

  explicit Policy(const std::vector<std::string>& texts);
  // From the answer's slot, or made now and put there.
  static std::shared_ptr<const Policy> of(const dns::Answer& answer);

  State state() const { return state_; }
  const Record& record() const { return record_; }     // kOne
  const SyntaxError& error() const { return error_; }  // kMalformed
  std::size_t bytes() const override;

 private:
  State state_ = State::kNone;
  Record record_;
  SyntaxError error_;
};

}  // namespace mxring::mailauth::spf
