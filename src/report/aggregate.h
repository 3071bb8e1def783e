// Adds up what was seen of each policy domain: equal messages become one row with a count.
//
// Strangers choose most of what a row holds (From, reverse-path, signatures), so there are limits
// on rows and domains. What is over them is counted as left out, in the report too.
//
// Pure; one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "report/observation.h"

namespace mxring::report {

struct AggregateLimits {
  std::uint64_t rows_per_domain = 10'000;
  std::uint64_t rows = 500'000;  // all domains together; some 500 bytes each
  std::uint64_t domains = 20'000;
};

struct DomainAggregate {
  // The last one seen in the period: RFC 9990 3.1 wants the final configuration.
  std::string policy_record;
  std::map<Row, std::uint64_t> rows;
  std::uint64_t messages = 0;  // those left out as well
  std::uint64_t passed = 0;    // of them, those that passed DMARC
  std::uint64_t left_out = 0;
};

class Aggregator {
 public:
  explicit Aggregator(const AggregateLimits& limits = {}) : limits_(limits) {}

  void add(Observation seen);

  using Domains = std::map<std::string, DomainAggregate, std::less<>>;
  const Domains& domains() const { return domains_; }
  std::uint64_t messages() const { return messages_; }
  std::uint64_t rows() const { return rows_; }
  // Messages of domains beyond the limit on domains.
  std::uint64_t without_domain() const { return without_domain_; }
  std::uint64_t left_out() const { return left_out_; }  // those and the ones beyond rows

 private:
  AggregateLimits limits_;
  Domains domains_;
  std::uint64_t messages_ = 0;
  std::uint64_t rows_ = 0;
  std::uint64_t without_domain_ = 0;
  std::uint64_t left_out_ = 0;
};

}  // namespace mxring::report
