// Counts what became of messages: results of SPF, DKIM and DMARC, and refusals by their reply.
// Nothing here allocates.
//
// Thread: the owner of the counter set.
#pragma once

#include "mailauth/evaluation.h"
#include "obs/counters.h"
#include "server/config.h"
#include "smtp/reply.h"

namespace mxring::server {

// A concluded evaluation, of the methods that are on.
void count_results(obs::CounterSet& counters, const mailauth::Evaluation& evaluation,
                   const Config::Auth& methods);

// Replies 4xx and 5xx by their codes, for the counter registry.
obs::Family refusals_family();

// A reply that was said, once.
void count_reply(obs::CounterSet& counters, const smtp::Reply& reply);

// Hears of every reply to one client.
class ReplyCounter final : public smtp::ReplyListener {
 public:
  explicit ReplyCounter(obs::CounterSet& counters) : counters_(counters) {}
  void said(const smtp::Reply& reply, smtp::Stage) override { count_reply(counters_, reply); }

 private:
  obs::CounterSet& counters_;
};

}  // namespace mxring::server
