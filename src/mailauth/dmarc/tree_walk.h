// The DNS tree walk (RFC 9989 4.10) as arithmetic on domain names: which names it asks about, and
// what the records found there make of the domain it started from.
//
// Pure, nothing allocated. Domains are lower-case text without a dot at the end; every domain that
// comes out is a part of the one that went in.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include "mailauth/dmarc/record.h"

namespace mxring::mailauth::dmarc {

constexpr std::size_t kWalkStepsMax = 8;

// `domain` or a domain below it.
bool is_within(std::string_view domain, std::string_view ancestor);

// The domains whose _dmarc names are asked about, in order: the domain itself, then its parents;
// from more than 7 labels the walk goes on with the last 7.
class WalkTargets {
 public:
  explicit WalkTargets(std::string_view domain);
  std::size_t size() const { return size_; }
  std::string_view operator[](std::size_t step) const { return domains_[step]; }

 private:
  std::array<std::string_view, kWalkStepsMax> domains_;
  std::size_t size_ = 0;
};

// One walk under way: each step is told what was found at its name.
class TreeWalk {
 public:
  explicit TreeWalk(std::string_view domain) : targets_(domain) {}

  const WalkTargets& targets() const { return targets_; }
  std::size_t step() const { return step_; }  // the next one
  bool ended() const { return stopped_ || step_ == targets_.size(); }
  // `record` is null where there is none, or more than one.
  void found(const Record* record);
  // No answer about the next step: what stands there is not known, and the walk goes on without it.
  void missed();
  // Every step is known. The results of another walk are the best that can be said.
  bool whole() const { return whole_; }

  // Once it has ended.
  std::string_view organizational_domain() const { return organizational_domain_; }
  // The record that applies to mail from the domain the walk started from, and where it lies; null
  // and empty when there is none (RFC 9989 4.10.1).
  const Record* policy_record() const { return policy_record_; }
  std::string_view policy_domain() const { return policy_domain_; }
  // That domain's own record, known after the first step.
  const Record* own_record() const { return own_record_; }

 private:
  void end();

  WalkTargets targets_;
  std::array<const Record*, kWalkStepsMax> records_{};
  std::size_t step_ = 0;
  bool stopped_ = false;  // by psd=y or psd=n
  bool whole_ = true;
  const Record* own_record_ = nullptr;
  const Record* policy_record_ = nullptr;
  std::string_view policy_domain_;
  std::string_view organizational_domain_;
};

}  // namespace mxring::mailauth::dmarc
