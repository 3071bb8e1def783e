#include "server/block_list_check.h"

#include <fmt/format.h>

#include <utility>

#include "base/assert.h"
#include "base/probe.h"

namespace mxring::server {

namespace {

constexpr std::size_t kIdleKept = 256;
constexpr std::size_t kKnownMax = 4 * BlockList::kListsMax;  // those of earlier configurations too
static_assert(kKnownMax >= BlockList::kListsMax);

}  // namespace

void BlockListHealth::heard(const std::string& zone, bool of_use, base::MonoTime now) {
  const std::lock_guard lock(mutex_);
  if (lists_.size() >= kKnownMax && !lists_.contains(zone)) lists_.clear();
  List& list = lists_[zone];
  if (list.of_use == of_use) return;
  MXRING_ASSERT(lists_.size() <= kKnownMax);
  list.of_use = of_use;
  if (!of_use) {
    MXRING_PROBE("block lists: one is of no use");
    if (list.said_at.ns != 0 && now.ns < list.said_at.ns + kQuietNs) return;
    list.said = true;
    list.said_at = now;
    notice_(fmt::format(
        "warning: block list {} gives no answer of use; it refuses no mail meanwhile", zone));
  } else if (std::exchange(list.said, false)) {
    notice_(fmt::format("block list {} is of use again", zone));
  }
}

void BlockListCheck::begin(std::span<const BlockList> lists, const base::IpAddress& client,
                           bool claimed, BlockListOwner& owner, base::MonoTime now) {
  MXRING_ASSERT(owner_ == nullptr && missing_ == 0);
  MXRING_ASSERT(lists.size() <= BlockList::kListsMax);
  owner_ = &owner;
  lists_ = lists;
  while (asked_.size() < lists.size()) asked_.push_back(std::make_unique<Asked>(*this));
  const dns::Asker asker{.account = batch_.dns_.account(client, claimed), .policy = false};
  for (std::size_t i = 0; i < lists.size(); ++i) {
    ask(asked_[i]->client, lists[i].question(client), asker, now);
    ask(asked_[i]->control, lists[i].control_question(client), asker, now);
  }
}

void BlockListCheck::ask(Ask& ask, const std::optional<dns::Question>& question,
                         const dns::Asker& asker, base::MonoTime now) {
  if (!question) return;
  if (const dns::AnswerPtr answer = batch_.dns_.ask(*question, ask, now, asker)) {
    take(ask, *answer);
  } else {
    ++missing_;
  }
}

void BlockListCheck::stop() {
  for (const auto& asked : asked_) {
    asked->client.cancel();
    asked->control.cancel();
    asked->client.reading = asked->control.reading = std::nullopt;
  }
  missing_ = 0;
  owner_ = nullptr;
  lists_ = {};
}

void BlockListCheck::on_answer(Ask& ask, const dns::Question&, const dns::AnswerPtr& answer) {
  MXRING_ASSERT(missing_ > 0);
  --missing_;
  take(ask, *answer);
  if (missing_ == 0) owner_->block_lists_answered();
}

void BlockListCheck::take(Ask& ask, const dns::Answer& answer) {
  // What was not asked for a limit of ours says nothing, of the client or of the list.
  if (answer.not_asked) {
    MXRING_PROBE("block lists: not asked for a limit of ours");
    return;
  }
  for (std::size_t i = 0; i < lists_.size(); ++i) {
    MXRING_ASSERT(i < asked_.size());
    Asked& asked = *asked_[i];
    if (&ask != &asked.client && &ask != &asked.control) continue;
    ask.reading = lists_[i].read(answer);
    if (!asked.client.reading || !asked.control.reading) return;
    batch_.heard(lists_[i],
                 asked.client.reading != BlockList::Reading::kNoUse &&
                     asked.control.reading != BlockList::Reading::kListed,
                 base::read_clocks().mono);
    return;
  }
}

const BlockList* BlockListCheck::listed() const {
  for (std::size_t i = 0; i < lists_.size(); ++i) {
    if (asked_[i]->is_listed()) return &lists_[i];
  }
  return nullptr;
}

BlockListCheck& BlockListBatch::begin(std::span<const BlockList> lists,
                                      const base::IpAddress& client, bool claimed,
                                      BlockListOwner& owner, base::MonoTime now) {
  if (idle_.empty()) idle_.push_back(std::make_unique<BlockListCheck>(*this));
  BlockListCheck& check = *idle_.back().release();
  idle_.pop_back();
  check.begin(lists, client, claimed, owner, now);
  return check;
}

void BlockListBatch::drop(BlockListCheck& check) {
  std::unique_ptr<BlockListCheck> dropped(&check);
  check.stop();
  if (idle_.size() < kIdleKept) idle_.push_back(std::move(dropped));
}

// A lock is taken only when something changed.
void BlockListBatch::heard(const BlockList& list, bool of_use, base::MonoTime now) {
  if (of_use_.size() >= kKnownMax && !of_use_.contains(list.zone())) of_use_.clear();
  const auto [at, is_new] = of_use_.try_emplace(list.zone(), true);
  if (at->second == of_use) return;
  at->second = of_use;
  health_.heard(list.zone(), of_use, now);
}

}  // namespace mxring::server
