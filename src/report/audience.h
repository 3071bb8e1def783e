// Who gets reports. Anybody can publish a rua address and send mail that fails: reports to all who
// ask go to spammers, to traps and to people who never asked, and got other receivers onto block
// lists. So a policy domain gets a report when mail of its own got here, and within bounds.
//
// Pure, but for read_domains() and the list of refusals, which are small text files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>

#include "report/aggregate.h"

namespace mxring::report {

// Domains, each standing for all below it too. Lower case.
class DomainSet {
 public:
  void add(std::string_view domain);
  bool covers(std::string_view domain) const;
  bool empty() const { return domains_.empty(); }

 private:
  std::set<std::string, std::less<>> domains_;
};

// One domain a line, '#' begins a comment. The error names the line.
std::expected<DomainSet, std::string> read_domains(const std::filesystem::path& file);

struct AudienceOptions {
  std::uint64_t passes_min = 1;    // messages that passed DMARC; 0: all that ask
  std::uint64_t messages_min = 2;  // one says nothing about anybody's mail
  std::size_t per_day = 500;       // reports made on one day
  DomainSet allowed{};             // empty: all
  DomainSet denied{};              // neither about them nor to addresses there
};

enum class Withheld : std::uint8_t {
  kNo,
  kDenied,      // --deny
  kNotAllowed,  // not in --allow
  kNonePassed,  // nothing of its own got here
  kFew,         // messages
  kDayIsFull,   // enough reports were made today
};
std::string_view word(Withheld why);
std::string_view explain(Withheld why);

// All but kDayIsFull, which depends on the others of the day.
Withheld withheld(std::string_view domain, const DomainAggregate& sum,
                  const AudienceOptions& options);

// Addresses whose server refused a report for good: nothing more is sent there. One a line in the
// folder of the reports, with the day and the reply as a comment; whoever knows better deletes the
// line.
class Refusals {
 public:
  static constexpr std::string_view kFile = "refused-addresses";

  static std::expected<Refusals, std::string> read(const std::filesystem::path& folder);
  bool has(std::string_view address) const { return addresses_.contains(address); }
  // Durable when it returns. Nothing happens when the address is there.
  std::expected<void, std::string> add(std::string_view address, std::string_view day,
                                       std::string_view reply);

 private:
  std::filesystem::path file_;
  std::string text_;
  std::set<std::string, std::less<>> addresses_;
};

}  // namespace mxring::report
