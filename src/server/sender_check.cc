#include "server/sender_check.h"

#include <utility>

namespace mxring::server {

SenderCheck::SenderCheck(const base::Limits& limits, dns::Client& client,
                         std::function<void(SenderCheck&)> decided)
    : client_(client),
      on_decided_(std::move(decided)),
      time_ns_(limits.dns_time_ns),
      evaluator_(limits) {}

void SenderCheck::begin(const mailauth::spf::Request& request, base::SlotRef owner,
                        base::Now now) {
  owner_ = owner;
  deadline_ = now.mono + time_ns_;
  decided_ = false;
  json_.clear();
  evaluator_.begin(request);
  beginning_ = true;
  advance(now.mono);
  beginning_ = false;
}

// Steps until something has to be waited for. What the cache knows is supplied on the spot.
void SenderCheck::advance(base::MonoTime now) {
  while (!evaluator_.step()) {
    missing_ = 0;
    std::size_t asks = 0;
    for (const dns::Question& question : evaluator_.questions()) {
      if (asks == asks_.size()) asks_.push_back(std::make_unique<Ask>(*this));
      dns::AnswerPtr answer = client_.ask(question, *asks_[asks], now);
      if (answer != nullptr) {
        evaluator_.supply(question, std::move(answer));
      } else {
        ++asks;
        ++missing_;
      }
    }
    if (missing_ > 0) return;
  }
  conclude();
}

void SenderCheck::on_answer(const dns::Question& question, const dns::AnswerPtr& answer) {
  evaluator_.supply(question, answer);
  if (--missing_ > 0) return;
  // Deadlines go by the loop's time; for the cache's TTL the moment of the answer is near enough.
  advance(base::read_clocks().mono);
}

void SenderCheck::give_up() {
  if (decided_) return;
  for (const auto& ask : asks_) ask->cancel();
  evaluator_.give_up();
  evaluator_.step();
  conclude();
}

void SenderCheck::stop() {
  for (const auto& ask : asks_) ask->cancel();
  decided_ = false;
  json_.clear();
}

void SenderCheck::conclude() {
  const mailauth::spf::Outcome& outcome = evaluator_.outcome();
  json_.begin_object()
      .key("result")
      .value(mailauth::word(outcome.result))
      .key("identity")
      .value(mailauth::spf::word(outcome.identity))
      .key("domain")
      .value(outcome.domain)
      .key("mechanism")
      .value(outcome.mechanism)
      .key("lookups")
      .value(outcome.lookups)
      .key("voids")
      .value(outcome.voids);
  if (!outcome.problem.empty()) json_.key("problem").value(outcome.problem);
  json_.end_object();
  decided_ = true;
  if (!beginning_) on_decided_(*this);
}

}  // namespace mxring::server
