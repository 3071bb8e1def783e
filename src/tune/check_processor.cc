// Cores: their speed, who else uses them, and where the shards sit.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/units.h"
#include "tune/check.h"

namespace mxring::tune {

namespace {

void check_governor(const CheckInput& input, std::vector<Row>& rows) {
  Row row = make_row("processor", "CPU governor",
                     "a clock that rises only after a while makes the first messages slow");
  row.wanted = "performance";
  std::set<std::string> governors;
  for (const std::string& name : input.host.names("/sys/devices/system/cpu/cpufreq")) {
    const auto governor =
        input.host.text("/sys/devices/system/cpu/cpufreq/" + name + "/scaling_governor");
    if (governor) governors.insert(*governor);
  }
  if (governors.empty()) {
    skip(row, "no frequency scaling is visible here (a virtual machine, or the firmware decides)");
  } else {
    for (const std::string& governor : governors) {
      row.current += (row.current.empty() ? "" : ", ") + governor;
    }
    // schedutil and powersave with intel_pstate raise the clock by themselves, a little later.
    if (governors != std::set<std::string>{"performance"}) {
      row.verdict = Verdict::kAdvice;
      row.fix = "cpupower frequency-set -g performance";
      row.persist = "GOVERNOR=performance in /etc/default/cpufrequtils";
      row.undo = fmt::format("cpupower frequency-set -g {}", *governors.begin());
    }
  }
  rows.push_back(std::move(row));
}

void check_waking(const CheckInput& input, std::vector<Row>& rows) {
  Row row = make_row("processor", "waking from idle",
                     "deep sleep and a falling clock cost the first work after a pause");
  row.wanted = "below 1.5 times busy";
  if (input.measured.busy_ns <= 0) {
    skip(row, "not measured");
    rows.push_back(std::move(row));
    return;
  }
  const double ratio = input.measured.woken_ns / input.measured.busy_ns;
  row.current = fmt::format("{:.2f} times busy", ratio);
  row.effect =
      fmt::format("measured: the same work takes {} when busy, {} after 15 ms of rest",
                  base::format_duration(static_cast<std::int64_t>(input.measured.busy_ns)),
                  base::format_duration(static_cast<std::int64_t>(input.measured.woken_ns)));
  constexpr double kSlow = 1.5;
  if (ratio >= kSlow) {
    row.verdict = Verdict::kAdvice;
    row.fix =
        "cpupower frequency-set -g performance; cpupower idle-set -D 10; on a shared or "
        "virtual machine the neighbours' work looks the same: measure again when it is quiet";
    row.persist = "intel_idle.max_cstate=1 on the kernel's command line costs power; try it last";
    row.undo = "cpupower idle-set -E";
  }
  rows.push_back(std::move(row));
}

void check_stolen(const CheckInput& input, std::vector<Row>& rows) {
  Row row = make_row("processor", "stolen time",
                     "the host of this virtual machine gave the cores to somebody else");
  row.wanted = "below 2 %";
  const auto lines = input.host.lines("/proc/stat");
  const auto words = lines.empty() ? std::vector<std::string>{} : split_words(lines[0]);
  constexpr std::size_t kSteal = 8;  // cpu user nice system idle iowait irq softirq steal
  if (words.size() <= kSteal || words[0] != "cpu") {
    skip(row, "/proc/stat does not say");
  } else {
    double all = 0;
    for (std::size_t i = 1; i <= kSteal; ++i) {
      all += static_cast<double>(leading_number(words[i]).value_or(0));
    }
    const double steal = static_cast<double>(leading_number(words[kSteal]).value_or(0));
    const double percent = all > 0 ? 100 * steal / all : 0;
    row.current = fmt::format("{:.2f} %", percent);
    row.effect = "counted since the host started";
    constexpr double kMuch = 2;
    if (percent >= kMuch) {
      row.verdict = Verdict::kAdvice;
      row.fix = "a machine with cores of its own; from inside nothing can be done";
      row.persist = "-";
      row.undo = "-";
    }
  }
  rows.push_back(std::move(row));
}

std::vector<int> pinned(const Receiver& receiver) {
  std::vector<int> cpus;
  for (const int cpu : receiver.shard_cpus) {
    if (cpu >= 0) cpus.push_back(cpu);
  }
  std::ranges::sort(cpus);
  return cpus;
}

void check_siblings(const CheckInput& input, std::vector<Row>& rows) {
  Row row = make_row("processor", "shards on cores",
                     "two shards on the two threads of one core share its caches and units");
  row.wanted = "each shard on a core of its own";
  const std::vector<int> cpus = pinned(input.receiver);
  if (cpus.empty()) {
    skip(row, "shards are not pinned (shards.pin, or a processor quota)");
    rows.push_back(std::move(row));
    return;
  }
  std::map<std::string, int> cores;
  for (const int cpu : cpus) {
    const auto siblings = input.host.text(
        fmt::format("/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list", cpu));
    ++cores[siblings.value_or(fmt::format("{}", cpu))];
  }
  row.current =
      fmt::format("{} on CPU {}, {}", base::counted(input.receiver.shard_cpus.size(), "shard"),
                  format_cpu_list(cpus), base::counted(cores.size(), "core"));
  if (cores.size() < cpus.size()) {
    row.verdict = Verdict::kAdvice;
    row.fix = fmt::format(
        "try shards.count = {}: `mxring tune sweep --only shards.count` says "
        "whether it is better here",
        cores.size());
    row.persist = fmt::format("count = {} under [shards] in mxring.toml", cores.size());
    row.undo = fmt::format("shards.count = {}", input.receiver.shard_cpus.size());
    row.effect = "not measured here: `mxring tune sweep` does";
  }
  rows.push_back(std::move(row));
}

void check_numa(const CheckInput& input, std::vector<Row>& rows) {
  Row row = make_row("processor", "NUMA",
                     "a shard on one node with memory or the network card on another pays for it "
                     "with each byte");
  row.wanted = "shards and card on one node";
  const auto online = input.host.text("/sys/devices/system/node/online");
  if (!online) {
    skip(row, "this kernel shows no nodes");
    rows.push_back(std::move(row));
    return;
  }
  const std::vector<int> nodes = parse_cpu_list(*online);
  if (nodes.size() < 2) {
    row.current = "one node";
    rows.push_back(std::move(row));
    return;
  }
  std::set<int> used;
  for (const int node : nodes) {
    const auto list =
        input.host.text(fmt::format("/sys/devices/system/node/node{}/cpulist", node)).value_or("");
    const std::vector<int> cpus = parse_cpu_list(list);
    for (const int cpu : pinned(input.receiver)) {
      if (std::ranges::find(cpus, cpu) != cpus.end()) used.insert(node);
    }
  }
  row.current = fmt::format("{} nodes, shards on {}", nodes.size(), used.size());
  if (used.size() > 1) {
    row.verdict = Verdict::kAdvice;
    row.fix =
        "start it with numactl --cpunodebind=N --membind=N, N the card's node "
        "(/sys/class/net/*/device/numa_node), or one receiver for each node";
    row.persist = "CPUAffinity= and NUMAPolicy=bind, NUMAMask= in the unit";
    row.undo = "leave these lines out";
    row.effect = "not measured: run `mxring tune sweep` with and without";
  }
  rows.push_back(std::move(row));
}

}  // namespace

void check_processor(const CheckInput& input, std::vector<Row>& rows) {
  check_governor(input, rows);
  check_waking(input, rows);
  check_stolen(input, rows);
  check_siblings(input, rows);
  check_numa(input, rows);
}

}  // namespace mxring::tune
