#include "tests/sim/reader.h"

#include <fmt/format.h>
#include <mxring/consumer.h>

#include <algorithm>

namespace mxring::sim {

void Reader::start(const std::string& log, bool until_the_end) {
  if (running_ || stuck_) return;
  running_ = true;
  at_end_ = false;
  ++starts_;
  world_.trace(fmt::format("reader {} starts", group_));
  world_.spawn("reader", process_, [this, log, until_the_end] { read(log, until_the_end); });
}

void Reader::kill(bool power) {
  if (!running_) return;
  running_ = false;
  world_.trace(fmt::format("reader {} is killed", group_));
  world_.kill(process_);
  world_.net().close_all_of(process_, power);
}

void Reader::pause(Ns at_most) {
  world_.wait_on(nullptr, world_.now() + dice_.between(kMs, at_most));
}

void Reader::read(const std::string& log, bool until_the_end) {
  while (!at_end_) {
    if (!read_once(log, until_the_end)) pause(5 * kSecond);
  }
  running_ = false;
}

bool Reader::read_once(const std::string& log, bool until_the_end) {
  const auto fails = [this](const ConsumerError& error) {
    using Kind = ConsumerErrorKind;
    last_error_ = error.message;
    world_.trace(fmt::format("reader {}: {}", group_, error.message));
    // Made before the log had a durable id (README.md, "What it does not show").
    if (error.kind == Kind::kOtherLog && durable_ == 0) {
      at_end_ = stuck_ = true;
      return false;
    }
    const bool strange = error.kind == Kind::kOtherLog || error.kind == Kind::kBeyondEnd ||
                         error.kind == Kind::kVersion || error.kind == Kind::kUsage ||
                         error.kind == Kind::kOwned;
    if (strange && !ledger_.lied) convict(fmt::format("reader {}: {}", group_, error.message));
    return false;
  };
  auto consumer = Consumer::open(log, group_);
  if (!consumer) return fails(consumer.error());
  std::uint64_t expected = consumer->position();
  if (!ledger_.lied && (expected < durable_ || expected > asked_)) {
    convict(fmt::format("reader {} begins at {}, but has committed {} durably and {} at most",
                        group_, expected, durable_, asked_));
  }
  for (std::uint64_t rounds = 1 + dice_.below(30);; --rounds) {
    auto batch = consumer->next_batch(1 + dice_.below(20), 1 + dice_.below(200'000));
    if (!batch) return fails(batch.error());
    for (const Entry& entry : *batch) {
      const std::uint64_t at = entry.gap ? entry.gap->first : entry.mail.offset;
      if (at < expected) {
        convict(fmt::format("reader {} is handed {} after {}", group_, at, expected));
      }
      // Refused mail between them is passed over; the end of the life knows which it was.
      expected = entry.gap ? entry.gap->next : at + 1;
      if (entry.gap) {
        for (std::uint64_t i = at; i < expected && i < at + 10'000; ++i) gaps_.insert(i);
        world_.trace(fmt::format("reader {}: a gap from {} to {}", group_, at, expected));
        continue;
      }
      const std::string from(entry.mail.mail_from);
      const auto found = ledger_.mails.find(from.substr(0, from.find('@')));
      if (found == ledger_.mails.end() || entry.mail.message != found->second.content) {
        convict(
            fmt::format("reader {} is handed at {} what nobody sent: from {}", group_, at, from));
      }
      shown_[at] = found->first;
    }
    const bool end = batch->empty();
    if (end || dice_.permille(500)) {
      asked_ = std::max(asked_, consumer->position());
      auto committed = consumer->commit(consumer->position());
      if (committed && (end || dice_.permille(300))) committed = consumer->flush();
      if (!committed) return fails(committed.error());
      durable_ = std::max(durable_, *committed);
    }
    if (end && until_the_end) {
      at_end_ = true;
      return true;
    }
    if (rounds == 0) return true;  // begins again, as after a stop
    if (end && dice_.permille(300)) {
      consumer->wait(std::chrono::milliseconds(dice_.between(1, 3000)));
    } else if (end) {
      pause(10 * kSecond);
    } else {
      pause(20 * kMs);
    }
  }
}

std::string Reader::describe() const {
  return fmt::format("reader {}: {} shown, committed {}; {}", group_, shown_.size(), durable_,
                     last_error_);
}

void Reader::judge(const JudgedLog& log) const {
  if (ledger_.lied) return;
  std::map<std::uint64_t, const JudgedRecord*> there;
  for (const JudgedRecord& record : log.records) there[record.offset] = &record;
  for (const auto& [offset, mark] : shown_) {
    if (offset < log.first) continue;  // removed since
    const auto found = there.find(offset);
    const bool same = found != there.end() && found->second->mail_from.starts_with(mark + "@");
    if (!same) {
      convict(
          fmt::format("reader {} was shown {} at {}, which was not durable", group_, mark, offset));
    }
  }
  for (const auto& [offset, record] : there) {
    const bool refused = record->disposition == "reject" || record->disposition == "tempfail";
    if (refused || offset >= durable_ || shown_.contains(offset) || gaps_.contains(offset))
      continue;
    convict(fmt::format("reader {} has committed {} and was never handed {}", group_, durable_,
                        offset));
  }
}

}  // namespace mxring::sim
