#include "mailauth/dmarc/tree_walk.h"

#include <algorithm>

#include "base/assert.h"

namespace mxring::mailauth::dmarc {

namespace {

constexpr std::size_t kLabelsAfterTheFirst = 7;

std::size_t count_labels(std::string_view domain) {
  return static_cast<std::size_t>(std::ranges::count(domain, '.')) + 1;
}

// Empty for a single label.
std::string_view parent_of(std::string_view domain) {
  const std::size_t dot = domain.find('.');
  return dot == std::string_view::npos ? std::string_view() : domain.substr(dot + 1);
}

// The part of `domain` with one label more than its ancestor.
std::string_view one_label_below(std::string_view domain, std::string_view ancestor) {
  MXRING_ASSERT(is_within(domain, ancestor));
  std::string_view below = domain;
  while (parent_of(below).size() > ancestor.size()) below = parent_of(below);
  return below;
}

}  // namespace

bool is_within(std::string_view domain, std::string_view ancestor) {
  if (!domain.ends_with(ancestor)) return false;
  return domain.size() == ancestor.size() || domain[domain.size() - ancestor.size() - 1] == '.';
}

WalkTargets::WalkTargets(std::string_view domain) {
  MXRING_ASSERT(size_ == 0);
  domains_[size_++] = domain;
  std::string_view next = parent_of(domain);
  for (std::size_t labels = count_labels(domain) - 1; labels > kLabelsAfterTheFirst; --labels) {
    next = parent_of(next);
  }
  MXRING_ASSERT(size_ < domains_.size());
  for (; !next.empty(); next = parent_of(next)) domains_[size_++] = next;
}

void TreeWalk::found(const Record* record) {
  MXRING_ASSERT(!ended());
  if (step_ == 0) own_record_ = record;
  records_[step_++] = record;
  stopped_ = record != nullptr && record->public_suffix != PublicSuffix::kUnknown;
  if (ended()) end();
}

void TreeWalk::missed() {
  MXRING_ASSERT(!ended());
  whole_ = false;
  records_[step_++] = nullptr;
  if (ended()) end();
}

// RFC 9989 4.10.2, the selection of the organizational domain, and 4.10.1, that of the record.
void TreeWalk::end() {
  MXRING_ASSERT(step_ != 0 && step_ <= targets_.size());
  const std::string_view domain = targets_[0];
  std::size_t last = step_;  // the record with the fewest labels
  for (std::size_t i = 0; i < step_; ++i) {
    if (records_[i] != nullptr) last = i;
  }
  if (last == step_) {
    organizational_domain_ = domain;
    return;
  }
  // Only the last record can have ended the walk, so only it can say psd=y or psd=n.
  const bool below_suffix = last != 0 && records_[last]->public_suffix == PublicSuffix::kYes;
  organizational_domain_ = below_suffix ? one_label_below(domain, targets_[last]) : targets_[last];
  std::size_t policy = last;
  for (std::size_t i = 0; i < step_; ++i) {
    const bool preferred = i == 0 || targets_[i] == organizational_domain_;
    if (records_[i] == nullptr || !preferred) continue;
    policy = i;
    break;
  }
  MXRING_ASSERT(policy < step_ && records_[policy] != nullptr);
  policy_record_ = records_[policy];
  policy_domain_ = targets_[policy];
}

}  // namespace mxring::mailauth::dmarc
