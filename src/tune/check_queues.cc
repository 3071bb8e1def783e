// Where connections and packets wait before the receiver sees them, and what was dropped there.
#include <fmt/format.h>

#include <algorithm>

#include "tune/check.h"

namespace mxring::tune {

namespace {

constexpr std::int64_t kBacklog = 4096;  // what the receiver asks of listen(2)

std::string drops_since_start(const Host& host) {
  const auto overflows = host.network_counter("TcpExt", "ListenOverflows");
  const auto drops = host.network_counter("TcpExt", "ListenDrops");
  if (!overflows || !drops) return "drops are not counted here";
  return fmt::format("counted since start: {} overflows, {} drops, of all listeners", *overflows,
                     *drops);
}

void check_accept_backlog(const CheckInput& input, std::vector<Row>& rows) {
  Row row = sysctl_row(input.host,
                       {"network", "net.core.somaxconn", kBacklog, false,
                        "bounds the connections that are made but not yet accepted; those above it "
                        "try again after a second, then three"});
  const Measured& measured = input.measured;
  if (!measured.burst_skipped.empty()) {
    row.effect = "not measured: " + measured.burst_skipped;
  } else if (measured.burst > 0) {
    row.effect = fmt::format("measured: of {} connections at once {} were made", measured.burst,
                             measured.burst_taken);
  }
  row.effect += (row.effect.empty() ? "" : "; ") + drops_since_start(input.host);
  rows.push_back(std::move(row));
}

void check_syn_backlog(const CheckInput& input, std::vector<Row>& rows) {
  Row row = sysctl_row(input.host, {"network", "net.ipv4.tcp_max_syn_backlog", kBacklog, false,
                                    "bounds handshakes under way to one listener when SYN cookies "
                                    "are off; with cookies it is the size at which they begin"});
  const auto full = input.host.network_counter("TcpExt", "TCPReqQFullDrop");
  const auto cookies = input.host.network_counter("TcpExt", "TCPReqQFullDoCookies");
  if (full && cookies) {
    row.effect =
        fmt::format("counted since start: {} dropped, {} answered with cookies", *full, *cookies);
    if (row.verdict == Verdict::kAdvice && *full + *cookies == 0) {
      row.verdict = Verdict::kOk;
      row.wanted = fmt::format("{}, or none lost", kBacklog);
    }
  }
  rows.push_back(std::move(row));

  Row syncookies = sysctl_row(input.host, {"network", "net.ipv4.tcp_syncookies", 1, false,
                                           "a flood of handshakes must not keep others out"});
  rows.push_back(std::move(syncookies));
  rows.push_back(sysctl_row(input.host, {"network", "net.ipv4.tcp_abort_on_overflow", 0, true,
                                         "a full backlog should make clients wait, not fail"}));
}

void check_packet_backlog(const CheckInput& input, std::vector<Row>& rows) {
  Row row = sysctl_row(input.host, {"network", "net.core.netdev_max_backlog", 1000, false,
                                    "packets that wait for a core's turn; above it they are lost"});
  double processed = 0;
  double dropped = 0;
  std::uint64_t squeezed = 0;
  for (const std::string& line : input.host.lines("/proc/net/softnet_stat")) {
    // Hexadecimal: processed, dropped, times the turn ended with packets left, ...
    const auto words = split_words(line);
    if (words.size() < 3) continue;
    processed += static_cast<double>(std::strtoull(words[0].c_str(), nullptr, 16));
    dropped += static_cast<double>(std::strtoull(words[1].c_str(), nullptr, 16));
    squeezed += std::strtoull(words[2].c_str(), nullptr, 16);
  }
  if (processed > 0) {
    row.effect =
        fmt::format("counted since start: {:.0f} of {:.0f} packets lost, {} turns cut short",
                    dropped, processed, squeezed);
    constexpr double kSome = 1e-5;
    if (dropped / processed > kSome && row.verdict == Verdict::kOk) {
      const std::int64_t now = leading_number(row.current).value_or(1000);
      row.verdict = Verdict::kAdvice;
      row.wanted = "no packets lost";
      advise_sysctl(row, "net.core.netdev_max_backlog", fmt::format("{}", now * 4), row.current);
    }
  }
  rows.push_back(std::move(row));
}

void check_conntrack(const CheckInput& input, std::vector<Row>& rows) {
  Row row = make_row("network", "connection tracking",
                     "a full table drops new connections; each costs memory and time");
  const auto max = input.host.number("/proc/sys/net/netfilter/nf_conntrack_max");
  const auto now = input.host.number("/proc/sys/net/netfilter/nf_conntrack_count");
  const auto wanted = static_cast<std::int64_t>(input.receiver.connections) * 2;
  row.wanted = fmt::format("off, or room for {}", wanted);
  if (!max) {
    row.current = "off";
  } else {
    row.current = fmt::format("{} of {}", now.value_or(0), *max);
    if (*max < wanted) {
      row.verdict = Verdict::kAdvice;
      advise_sysctl(row, "net.netfilter.nf_conntrack_max", fmt::format("{}", wanted),
                    fmt::format("{}", *max));
      row.effect = "not measured: needs a client outside";
    }
  }
  rows.push_back(std::move(row));
}

}  // namespace

void check_queues(const CheckInput& input, std::vector<Row>& rows) {
  check_accept_backlog(input, rows);
  check_syn_backlog(input, rows);
  check_packet_backlog(input, rows);
  check_conntrack(input, rows);
}

}  // namespace mxring::tune
