// DMARC Policy Records (RFC 9989 4.7, 4.8, 4.10.1): which of the TXT records at a _dmarc name is
// one, and what it asks for.
//
// Only "v=DMARC1" at the front makes a record. After it nothing makes it unreadable: unknown tags
// are ignored, and a value that breaks its rule counts as absent, so that the default holds. The
// policy tags are the exception (4.10.1): with an invalid p, sp or np the record asks for p=none if
// it has a usable rua, and for nothing at all otherwise. A record without p has p=none (4.7).
//
// Blank space and line ends after the last tag are ignored. Decided here, where the text leaves it
// open: names of tags are taken in any case, as the
// grammar's "v" is; a tag given twice with different values has no valid value (RFC 6376 3.2
// forbids it).
//
// Pure. A parsed record owns its text; the parts of it are positions, so it can be moved and kept
// beside the DNS answer it came from.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dns/record.h"

namespace mxring::mailauth::dmarc {

enum class Policy : std::uint8_t { kNone, kQuarantine, kReject };
constexpr std::string_view word(Policy policy) {
  return policy == Policy::kReject       ? "reject"
         : policy == Policy::kQuarantine ? "quarantine"
                                         : "none";
}

enum class Alignment : std::uint8_t { kRelaxed, kStrict };
constexpr std::string_view word(Alignment mode) {
  return mode == Alignment::kStrict ? "strict" : "relaxed";
}

enum class PublicSuffix : std::uint8_t { kUnknown, kYes, kNo };  // psd=u, y, n

// When failure reports are wanted (fo=).
struct FailureOptions {
  bool all_failed = true;   // 0
  bool any_failed = false;  // 1
  bool dkim = false;        // d
  bool spf = false;         // s
};

// A stretch of the record's text.
struct Part {
  std::uint32_t at = 0;
  std::uint32_t size = 0;
};

struct Record {
  std::string text;
  bool usable = true;                         // false: no DMARC for the messages it would apply to
  Policy policy = Policy::kNone;              // p
  Policy subdomain_policy = Policy::kNone;    // sp, or p
  Policy nonexistent_policy = Policy::kNone;  // np, or sp, or p
  bool testing = false;                       // t=y
  PublicSuffix public_suffix = PublicSuffix::kUnknown;
  Alignment dkim_alignment = Alignment::kRelaxed;
  Alignment spf_alignment = Alignment::kRelaxed;
  FailureOptions failure;
  // URIs that RFC 3986 allows, each without the obsolete "!10m" behind it, in any scheme.
  std::vector<Part> aggregate_uris;  // rua
  std::vector<Part> failure_uris;    // ruf; without them `failure` means nothing
  std::string_view problem;          // a constant: what made it less than it says; empty: nothing

  std::string_view part(const Part& p) const& {
    return std::string_view(text).substr(p.at, p.size);
  }
  std::string_view part(const Part&) const&& = delete;
};

// "v=DMARC1", alone or followed by a semicolon; the version in exactly this case.
bool is_dmarc_record(std::string_view text);
// Nothing when it is none.
std::optional<Record> parse(std::string_view text);
// t=y: one level less than published.
Policy weakened(Policy policy);

// What the TXT records of a _dmarc name say, kept beside the answer so that it is found out once.
class RecordSet final : public dns::ParsedForm {
 public:
  enum class State : std::uint8_t { kNone, kOne, kSeveral };  // several are as good as none

  explicit RecordSet(const std::vector<std::string>& texts);
  // From the answer's slot, or made now and put there.
  static std::shared_ptr<const RecordSet> of(const dns::Answer& answer);

  State state() const { return state_; }
  const Record& record() const { return record_; }  // kOne
  std::size_t bytes() const override;

 private:
  State state_ = State::kNone;
  Record record_;
};

}  // namespace mxring::mailauth::dmarc
