// Network cards and TCP: who takes a packet from the card, and how much of a connection may be
// under way.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/units.h"
#include "tune/check.h"

namespace mxring::tune {

namespace {

constexpr std::string_view kNet = "/sys/class/net/";
constexpr std::size_t kCardsMax = 4;

struct Card {
  std::string name;
  std::string device;  // "virtio3", "0000:01:00.0"
  std::vector<std::string> receive_queues;
  std::vector<std::string> send_queues;
};

std::vector<Card> cards(const Host& host) {
  std::vector<Card> found;
  for (const std::string& name : host.names(kNet)) {
    const std::string folder = std::string(kNet) + name;
    // Interfaces with a device behind them that are up; bridges and tunnels stand on those.
    if (host.text(folder + "/operstate").value_or("") != "up") continue;
    if (!host.exists(folder + "/device") || found.size() == kCardsMax) continue;
    Card card{name, host.link_name(folder + "/device"), {}, {}};
    for (const std::string& queue : host.names(folder + "/queues")) {
      (queue.starts_with("rx-") ? card.receive_queues : card.send_queues).push_back(queue);
    }
    found.push_back(std::move(card));
  }
  return found;
}

// Interrupts so far of one card's queues, by CPU.
struct Interrupts {
  std::vector<std::uint64_t> by_cpu;
  std::vector<std::string> numbers;  // of its lines with any count
};

Interrupts interrupts_of(const Host& host, const Card& card) {
  Interrupts out;
  const auto lines = host.lines("/proc/interrupts");
  if (lines.empty()) return out;
  const std::size_t cpus = split_words(lines[0]).size();
  out.by_cpu.resize(cpus);
  for (std::size_t i = 1; i < lines.size(); ++i) {
    const auto words = split_words(lines[i]);
    if (words.size() < cpus + 2) continue;
    const std::string& action = words.back();
    const bool ours = action.find(card.name) != std::string::npos ||
                      (!card.device.empty() && action.find(card.device) != std::string::npos);
    if (!ours || action.ends_with("-config")) continue;
    std::uint64_t sum = 0;
    for (std::size_t cpu = 0; cpu < cpus; ++cpu) {
      const auto count = static_cast<std::uint64_t>(leading_number(words[cpu + 1]).value_or(0));
      out.by_cpu[cpu] += count;
      sum += count;
    }
    if (sum > 0) out.numbers.push_back(words[0].substr(0, words[0].find(':')));
  }
  return out;
}

std::vector<int> shard_cpus(const CheckInput& input) {
  std::vector<int> cpus;
  for (const int cpu : input.receiver.shard_cpus) {
    if (cpu >= 0) cpus.push_back(cpu);
  }
  return cpus;
}

std::string shares(const std::vector<std::uint64_t>& by_cpu) {
  double sum = 0;
  for (const std::uint64_t count : by_cpu) sum += static_cast<double>(count);
  std::string out;
  constexpr std::size_t kShownMax = 8;
  for (std::size_t cpu = 0; cpu < by_cpu.size() && cpu < kShownMax && sum > 0; ++cpu) {
    out += fmt::format("{}CPU {} {:.0f} %", cpu == 0 ? "" : ", ", cpu,
                       100 * static_cast<double>(by_cpu[cpu]) / sum);
  }
  return out.empty() ? "none" : out;
}

std::vector<std::uint64_t> receive_softirqs(const Host& host) {
  std::vector<std::uint64_t> counts;
  for (const std::string& line : host.lines("/proc/softirqs")) {
    const auto words = split_words(line);
    if (words.empty() || words[0] != "NET_RX:") continue;
    for (std::size_t i = 1; i < words.size(); ++i) {
      counts.push_back(static_cast<std::uint64_t>(leading_number(words[i]).value_or(0)));
    }
  }
  return counts;
}

void check_interrupts(const CheckInput& input, const Card& card, std::vector<Row>& rows) {
  Row row = make_row("network", "interrupts of " + card.name,
                     "a core that takes all packets has no time left for its shard");
  row.wanted = "on the shards' cores, evenly";
  const Interrupts interrupts = interrupts_of(input.host, card);
  if (interrupts.numbers.empty()) {
    skip(row, "/proc/interrupts shows none for this card");
    rows.push_back(std::move(row));
    return;
  }
  row.current = shares(interrupts.by_cpu);
  row.effect = "counted since start: receive work by " + shares(receive_softirqs(input.host));
  const auto busy = std::ranges::count_if(interrupts.by_cpu, [](auto count) { return count > 0; });
  const std::vector<int> cpus = shard_cpus(input);
  const std::size_t could =
      std::min(card.receive_queues.size(), std::max(cpus.size(), std::size_t{1}));
  if (static_cast<std::size_t>(busy) < could) {
    row.verdict = Verdict::kAdvice;
    row.fix = fmt::format(
        "systemctl stop irqbalance; one queue for each shard: "
        "echo CPU > /proc/irq/N/smp_affinity_list, N of {}",
        fmt::join(interrupts.numbers, " "));
    row.persist = "a unit that does it at start, with irqbalance disabled";
    row.undo = "systemctl start irqbalance";
  }
  rows.push_back(std::move(row));
}

void check_receive_steering(const CheckInput& input, const Card& card, std::vector<Row>& rows) {
  Row row = make_row("network", "RPS of " + card.name,
                     "with fewer queues than shards the kernel can hand packets to other cores");
  const std::vector<int> cpus = shard_cpus(input);
  const bool needed = card.receive_queues.size() < cpus.size();
  row.wanted = needed ? "on, for CPU " + format_cpu_list(cpus) : "off: a queue for each shard";
  const std::string queues = fmt::format("{}{}/queues/", kNet, card.name);
  std::vector<int> steered;
  std::string mask;
  for (const std::string& queue : card.receive_queues) {
    const FileText file = input.host.read(queues + queue + "/rps_cpus");
    if (!file.ok()) {
      skip(row, file.problem);
      rows.push_back(std::move(row));
      return;
    }
    mask = file.text;
    for (const int cpu : parse_cpu_mask(file.text)) steered.push_back(cpu);
  }
  row.current = steered.empty() ? "off" : "CPU " + format_cpu_list(steered);
  if (needed && steered.size() < 2) {
    unsigned long long wanted = 0;
    for (const int cpu : cpus) {
      if (cpu < 64) wanted |= 1ULL << cpu;
    }
    row.verdict = Verdict::kAdvice;
    row.fix = fmt::format("for q in {}rx-*; do echo {:x} > $q/rps_cpus; done", queues, wanted);
    row.persist = "a udev rule or a unit that does it at start";
    row.undo = fmt::format("for q in {}rx-*; do echo {} > $q/rps_cpus; done", queues,
                           mask.empty() ? "0" : mask);
    row.effect = "not measured: needs a client outside; loopback takes another way";
  }
  rows.push_back(std::move(row));
}

void check_send_steering(const CheckInput& input, const Card& card, std::vector<Row>& rows) {
  Row row = make_row("network", "XPS of " + card.name,
                     "each core should send through a queue of its own");
  row.wanted = "each queue for some cores";
  if (card.send_queues.size() < 2) {
    skip(row, "the card has one send queue");
    rows.push_back(std::move(row));
    return;
  }
  const std::string queues = fmt::format("{}{}/queues/", kNet, card.name);
  std::size_t set = 0;
  for (const std::string& queue : card.send_queues) {
    const FileText file = input.host.read(queues + queue + "/xps_cpus");
    if (!file.ok()) {
      skip(row, file.problem);
      rows.push_back(std::move(row));
      return;
    }
    if (!parse_cpu_mask(file.text).empty()) ++set;
  }
  row.current = fmt::format("{} of {} queues", set, card.send_queues.size());
  if (set == 0) {
    row.verdict = Verdict::kAdvice;
    row.fix = fmt::format(
        "i=0; for q in {}tx-*; do printf %x $((1 << i)) > $q/xps_cpus; i=$(((i + 1) % {})); done",
        queues, std::max<std::size_t>(shard_cpus(input).size(), 1));
    row.persist = "a udev rule or a unit that does it at start";
    row.undo = fmt::format("for q in {}tx-*; do echo 0 > $q/xps_cpus; done", queues);
    row.effect = "not measured: needs a client outside; replies are small";
  }
  rows.push_back(std::move(row));
}

void check_buffers(const CheckInput& input, std::vector<Row>& rows) {
  struct Rule {
    const char* key;
    std::int64_t wanted;
    const char* why;
  };
  constexpr Rule kRules[] = {
      {"net.ipv4.tcp_rmem", 4 << 20,
       "its last number bounds what one sender may have under way: 4 MiB carry 335 Mbit/s over "
       "100 ms"},
      {"net.ipv4.tcp_wmem", 64 << 10, "replies are small; little is enough"},
  };
  for (const Rule& rule : kRules) {
    Row row = make_row("network", rule.key, rule.why);
    row.wanted = fmt::format("last at least {}", rule.wanted);
    std::string path = fmt::format("/proc/sys/{}", rule.key);
    std::replace(path.begin() + 10, path.end(), '.', '/');
    const FileText file = input.host.read(path);
    const auto words = split_words(file.text);
    if (!file.ok() || words.size() != 3) {
      skip(row, file.ok() ? path + " does not hold three numbers" : file.problem);
    } else {
      row.current = fmt::format("{}", fmt::join(words, " "));
      const auto last = leading_number(words[2]).value_or(0);
      if (last < rule.wanted) {
        row.verdict = Verdict::kAdvice;
        advise_sysctl(row, rule.key, fmt::format("{} {} {}", words[0], words[1], rule.wanted),
                      row.current);
        row.effect =
            "not measured: loopback has no long way; computed, it bounds a sender at "
            "100 ms to " +
            base::format_bytes(static_cast<std::uint64_t>(last) * 10) + "/s";
      }
    }
    rows.push_back(std::move(row));
  }
}

void check_port_range(const CheckInput& input, std::vector<Row>& rows) {
  Row row = make_row("network", "local ports",
                     "DNS questions and `mxring load` take their ports from this range");
  row.wanted = "20,000 or more";
  const FileText file = input.host.read("/proc/sys/net/ipv4/ip_local_port_range");
  const auto words = split_words(file.text);
  if (!file.ok() || words.size() != 2) {
    skip(row, file.ok() ? "the range cannot be understood" : file.problem);
  } else {
    const auto count =
        leading_number(words[1]).value_or(0) - leading_number(words[0]).value_or(0) + 1;
    row.current = fmt::format("{} to {}", words[0], words[1]);
    constexpr std::int64_t kEnough = 20'000;
    if (count < kEnough) {
      row.verdict = Verdict::kAdvice;
      advise_sysctl(row, "net.ipv4.ip_local_port_range", "32768 60999", row.current);
      row.effect = fmt::format("counted: {} ports", count);
    }
  }
  rows.push_back(std::move(row));
}

}  // namespace

void check_network(const CheckInput& input, std::vector<Row>& rows) {
  const std::vector<Card> found = cards(input.host);
  if (found.empty()) {
    Row row = make_row("network", "network cards", "packets come through one");
    row.wanted = "one that is up";
    skip(row, "no interface with a device behind it is up (a container, or loopback only)");
    rows.push_back(std::move(row));
  }
  for (const Card& card : found) {
    check_interrupts(input, card, rows);
    check_receive_steering(input, card, rows);
    check_send_steering(input, card, rows);
  }
  check_buffers(input, rows);
  check_port_range(input, rows);
}

}  // namespace mxring::tune
