// The resolver: SPF, DKIM and DMARC wait for it when an answer is not cached.
#include <fmt/format.h>

#include <algorithm>

#include "base/units.h"
#include "tune/check.h"

namespace mxring::tune {

void check_dns(const CheckInput& input, std::vector<Row>& rows) {
  Row row = make_row("dns", "resolver round trip",
                     "a sender seen for the first time waits for two to four of them in a row");
  row.wanted = "below 2 ms: a resolver on this host or beside it";
  const Measured& measured = input.measured;
  if (!input.receiver.asks_dns) {
    skip(row, "the configuration asks no DNS");
  } else if (!measured.resolver_problem.empty()) {
    // Not a problem of the start: without answers SPF and DKIM give temperror, and mail is taken.
    row.verdict = Verdict::kAdvice;
    row.current = measured.resolver_problem;
    row.fix =
        "a resolver that answers: apt-get install unbound, servers = [\"127.0.0.1\"] under "
        "[dns]";
    row.persist = "servers = [\"127.0.0.1\"] under [dns] in mxring.toml";
    row.undo = "servers = []";
    row.effect = fmt::format("measured: {} was asked", measured.resolver);
  } else if (measured.resolver_ns.empty()) {
    skip(row, "not asked (--no-resolver)");
  } else {
    std::vector<std::int64_t> times = measured.resolver_ns;
    std::ranges::sort(times);
    const std::int64_t median = times[times.size() / 2];
    row.current = base::format_duration(median);
    row.effect =
        fmt::format("measured: {} questions to {}, {} to {}", times.size(), measured.resolver,
                    base::format_duration(times.front()), base::format_duration(times.back()));
    constexpr std::int64_t kSlowNs = 2'000'000;
    if (median >= kSlowNs) {
      row.verdict = Verdict::kAdvice;
      row.fix =
          "a caching resolver on this host: apt-get install unbound, servers = "
          "[\"127.0.0.1\"] under [dns]";
      row.persist = "servers = [\"127.0.0.1\"] under [dns] in mxring.toml";
      row.undo = "servers = []";
    }
  }
  rows.push_back(std::move(row));
}

}  // namespace mxring::tune
