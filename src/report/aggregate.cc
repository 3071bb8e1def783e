#include "report/aggregate.h"

#include <utility>

#include "base/assert.h"

namespace mxring::report {

void Aggregator::add(Observation seen) {
  ++messages_;
  MXRING_ASSERT(domains_.size() <= limits_.domains && rows_ <= limits_.rows);
  auto domain = domains_.find(seen.policy_domain);
  if (domain == domains_.end()) {
    if (domains_.size() >= limits_.domains) {
      ++without_domain_;
      ++left_out_;
      return;
    }
    domain = domains_.try_emplace(std::move(seen.policy_domain)).first;
  }
  DomainAggregate& sum = domain->second;
  ++sum.messages;
  MXRING_ASSERT(sum.passed < sum.messages && sum.left_out < sum.messages);
  if (seen.row.dkim_aligned || seen.row.spf_aligned) ++sum.passed;
  sum.policy_record = std::move(seen.policy_record);
  if (const auto row = sum.rows.find(seen.row); row != sum.rows.end()) {
    ++row->second;
    return;
  }
  if (sum.rows.size() >= limits_.rows_per_domain || rows_ >= limits_.rows) {
    ++sum.left_out;
    ++left_out_;
    return;
  }
  sum.rows.emplace(std::move(seen.row), 1);
  ++rows_;
  MXRING_ASSERT(rows_ <= limits_.rows && sum.rows.size() <= limits_.rows_per_domain);
}

}  // namespace mxring::report
