#include "server/result_counters.h"

#include <array>
#include <cstddef>

namespace mxring::server {

namespace {

using obs::Counter;

// In the order of mailauth::Result; what a method never says counts as the nearest it does.
constexpr std::array kSpf{Counter::kSpfNone,      Counter::kSpfPass,     Counter::kSpfFail,
                          Counter::kSpfSoftfail,  Counter::kSpfNeutral,  Counter::kSpfNeutral,
                          Counter::kSpfTemperror, Counter::kSpfPermerror};
constexpr std::array kDkim{Counter::kDkimNone,      Counter::kDkimPass,     Counter::kDkimFail,
                           Counter::kDkimFail,      Counter::kDkimNeutral,  Counter::kDkimPolicy,
                           Counter::kDkimTemperror, Counter::kDkimPermerror};
constexpr std::array kDmarc{Counter::kDmarcNone,      Counter::kDmarcPass,     Counter::kDmarcFail,
                            Counter::kDmarcFail,      Counter::kDmarcNone,     Counter::kDmarcNone,
                            Counter::kDmarcTemperror, Counter::kDmarcPermerror};

static_assert(static_cast<std::size_t>(mailauth::Result::kPermerror) + 1 == kSpf.size());
static_assert(kSpf.size() == kDkim.size() && kSpf.size() == kDmarc.size());

Counter of(const std::array<Counter, kSpf.size()>& method, mailauth::Result result) {
  return method[static_cast<std::size_t>(result)];
}

}  // namespace

void count_results(obs::CounterSet& counters, const mailauth::Evaluation& evaluation,
                   const Config::Auth& methods) {
  if (const auto* spf = evaluation.spf()) counters.add(of(kSpf, spf->result));
  if (methods.dkim) {
    const auto signatures = evaluation.dkim();
    if (signatures.empty()) counters.add(Counter::kDkimNone);
    for (const auto& signature : signatures) counters.add(of(kDkim, signature.result));
  }
  if (methods.dmarc) {
    if (const auto* dmarc = evaluation.dmarc()) counters.add(of(kDmarc, dmarc->result));
  }
}

obs::Family refusals_family() {
  return {.name = "refusals_total",
          .help = "replies 4xx and 5xx",
          .label = "reply",
          .values = smtp::refusal_labels()};
}

void count_reply(obs::CounterSet& counters, const smtp::Reply& reply) {
  if (!reply.is_refusal()) return;
  counters.add(reply.is_temporary() ? Counter::kReplies4xx : Counter::kReplies5xx);
  counters.add_to_family(smtp::refusal_label(reply));
}

}  // namespace mxring::server
