// The steps of the walks in words a postmaster understands.
#include <algorithm>
#include <utility>

#include "mailauth/dmarc/machine.h"

namespace mxring::mailauth::dmarc {

std::string Machine::note(const TreeWalk& walk, std::size_t step, const Asked& entry,
                          const Record* record) const {
  if (entry.answer->is_failure())
    return "no answer: what stands here is not known, the walk goes on";
  if (record == nullptr) {
    if (!entry.records) return "no record";
    return entry.records->state() == RecordSet::State::kSeveral
               ? "several DMARC records, which is as good as none"
               : "text, but no DMARC record";
  }
  std::string out = step == 0 ? "the domain's own record" : "a record";
  if (!record->problem.empty()) {
    out += " (";
    out += record->problem;
    out += ')';
  }
  switch (record->public_suffix) {
    case PublicSuffix::kNo:
      return out + "; psd=n: this is the organizational domain, the walk ends";
    case PublicSuffix::kYes:
      return out + (step == 0 ? "; psd=y: a public suffix, the walk ends"
                              : "; psd=y: a public suffix, the walk ends and the organizational "
                                "domain is one label below");
    case PublicSuffix::kUnknown:
      break;
  }
  const bool more = step + 1 < walk.targets().size();
  return out + (more ? "; one higher up would still be the organizational domain's" : "");
}

void Machine::describe_walk(std::string_view domain, std::vector<WalkStep>& steps) const {
  TreeWalk walk(domain);
  while (!walk.ended()) {
    const std::size_t step = walk.step();
    const auto name = policy_name(walk.targets()[step]);
    const Asked* entry = name ? find(*name, dns::Type::kTxt) : nullptr;
    if (name && entry == nullptr) return;
    const Record* record = nullptr;
    Doubt doubt = Doubt::kNone;
    const Finding finding = look(walk.targets()[step], record, doubt);
    if (name) {
      WalkStep made;
      made.domain = domain;
      made.name = name->to_text();
      made.status = entry->answer->status;
      if (record != nullptr) made.record = record->text;
      made.note = note(walk, step, *entry, record);
      made.repeated = std::ranges::find(steps, made.name, &WalkStep::name) != steps.end();
      steps.push_back(std::move(made));
    }
    finding == Finding::kKnown ? walk.found(record) : walk.missed();
  }
}

std::vector<WalkStep> Machine::walk() const {
  std::vector<WalkStep> steps;
  if (!from_walk) return steps;
  describe_walk(from, steps);
  const dns::Name name = *dns::Name::parse(from);
  if (const Asked* entry = find(name, dns::Type::kA)) {
    WalkStep made;
    made.domain = from;
    made.name = name.to_text();
    made.status = entry->answer->status;
    made.note = round.existence == Existence::kYes  ? "the From domain exists: sp applies"
                : round.existence == Existence::kNo ? "the From domain does not exist: np applies"
                                                    : "no answer whether the From domain exists";
    steps.push_back(std::move(made));
  }
  for (std::size_t i = 0; i < round.identifier_count; ++i) {
    if (identifiers[i].walk) describe_walk(identifiers[i].domain, steps);
  }
  return steps;
}

}  // namespace mxring::mailauth::dmarc
