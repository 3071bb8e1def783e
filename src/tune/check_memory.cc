// Memory: pages, swap, and how much may wait unwritten.
#include <fmt/format.h>

#include <algorithm>

#include "base/units.h"
#include "tune/check.h"

namespace mxring::tune {

namespace {

constexpr std::uint64_t kKiB = 1024;

std::optional<std::uint64_t> meminfo_bytes(const Host& host, std::string_view key) {
  const auto text = host.field("/proc/meminfo", key);
  const auto kib = text ? leading_number(*text) : std::nullopt;
  if (!kib || *kib < 0) return std::nullopt;
  return static_cast<std::uint64_t>(*kib) * kKiB;
}

// The word in brackets of "always [madvise] never".
std::string chosen_word(const std::string& text) {
  const std::size_t open = text.find('[');
  const std::size_t close = text.find(']', open);
  if (open == std::string::npos || close == std::string::npos) return text;
  return text.substr(open + 1, close - open - 1);
}

void check_huge_pages(const CheckInput& input, std::vector<Row>& rows) {
  Row row = make_row("memory", "transparent huge pages",
                     "large buffers ask for them; without them the processor looks up more "
                     "addresses, and new segments cost more to prepare");
  row.wanted = "madvise or always";
  const std::string path = "/sys/kernel/mm/transparent_hugepage/enabled";
  const FileText file = input.host.read(path);
  const Measured& measured = input.measured;
  if (!file.ok()) {
    skip(row, file.problem);
  } else {
    row.current = chosen_word(file.text);
    if (row.current == "never") {
      row.verdict = Verdict::kAdvice;
      row.fix = "echo madvise > " + path;
      row.persist = "transparent_hugepage=madvise on the kernel's command line";
      row.undo = "echo never > " + path;
    }
  }
  if (!measured.pages_skipped.empty()) {
    row.effect = "not measured: " + measured.pages_skipped;
  } else if (measured.page_small_ns > 0) {
    row.effect = fmt::format(
        "measured: a random read in 64 MiB takes {:.1f} ns with small pages, "
        "{:.1f} with huge ones",
        measured.page_small_ns, measured.page_huge_ns);
  }
  rows.push_back(std::move(row));
}

void check_available(const CheckInput& input, std::vector<Row>& rows) {
  const Receiver& receiver = input.receiver;
  const std::uint64_t shards = std::max<std::size_t>(receiver.shard_cpus.size(), 1);
  const std::uint64_t needed = shards * (receiver.memory_bytes + receiver.dns_cache_bytes);
  Row row = make_row("memory", "memory available",
                     "messages in flight and DNS caches may grow to their limits on every shard");
  row.wanted = fmt::format("at least {}", base::format_bytes(needed));
  const auto available = meminfo_bytes(input.host, "MemAvailable");
  if (!available) {
    skip(row, "/proc/meminfo does not say");
  } else {
    row.current = base::format_bytes(*available);
    if (*available < needed) {
      row.verdict = Verdict::kAdvice;
      const std::string memory = fmt::format(
          "limits.memory = \"{}MiB\"", std::max<std::uint64_t>(*available / shards / 2 >> 20, 64));
      row.fix = memory + ", or fewer shards";
      row.persist = memory + " in mxring.toml";
      row.undo = fmt::format("limits.memory = \"{}MiB\"", receiver.memory_bytes >> 20);
      row.effect = "computed from the configuration";
    }
  }
  rows.push_back(std::move(row));
}

void check_swap(const CheckInput& input, std::vector<Row>& rows) {
  Row row = make_row("memory", "swap", "a shard that waits for its own memory stops every session");
  row.wanted = "none in use";
  const auto total = meminfo_bytes(input.host, "SwapTotal");
  const auto free = meminfo_bytes(input.host, "SwapFree");
  if (!total || !free) {
    skip(row, "/proc/meminfo does not say");
  } else {
    const std::uint64_t used = *total - std::min(*free, *total);
    constexpr std::uint64_t kSome = 16ULL << 20;
    row.current = *total == 0 ? "no swap"
                              : fmt::format("{} of {} in use", base::format_bytes(used),
                                            base::format_bytes(*total));
    if (used > kSome) {
      const auto swappiness = input.host.number("/proc/sys/vm/swappiness").value_or(60);
      row.verdict = Verdict::kAdvice;
      advise_sysctl(row, "vm.swappiness", "1", fmt::format("{}", swappiness));
      row.effect = "not measured: needs a host that runs out of memory";
    }
  }
  rows.push_back(std::move(row));
}

void check_dirty(const CheckInput& input, std::vector<Row>& rows) {
  Row row =
      make_row("memory", "dirty limits",
               "mxring itself leaves nothing unwritten for long, but other programs' unwritten "
               "bytes are written back in one go that its commits wait behind");
  constexpr std::uint64_t kWanted = 256ULL << 20;
  row.wanted = fmt::format("at most {} before writing begins", base::format_bytes(kWanted));
  const auto bytes = input.host.number("/proc/sys/vm/dirty_background_bytes");
  const auto ratio = input.host.number("/proc/sys/vm/dirty_background_ratio");
  const auto available = meminfo_bytes(input.host, "MemAvailable");
  if (!bytes || !ratio || !available) {
    skip(row, "no vm.dirty_background_bytes or _ratio can be read here");
    rows.push_back(std::move(row));
    return;
  }
  const std::uint64_t begins = *bytes > 0 ? static_cast<std::uint64_t>(*bytes)
                                          : *available / 100 * static_cast<std::uint64_t>(*ratio);
  row.current = base::format_bytes(begins);
  if (*bytes == 0) row.current += fmt::format(" ({} %)", *ratio);
  if (begins > kWanted) {
    row.verdict = Verdict::kAdvice;
    row.fix = fmt::format("sysctl -w vm.dirty_background_bytes={} vm.dirty_bytes={}", kWanted,
                          kWanted * 4);
    row.persist = fmt::format(
        "vm.dirty_background_bytes = {} and vm.dirty_bytes = {} in /etc/sysctl.d/60-mxring.conf",
        kWanted, kWanted * 4);
    row.undo = *bytes > 0
                   ? fmt::format("sysctl -w vm.dirty_background_bytes={}", *bytes)
                   : fmt::format("sysctl -w vm.dirty_background_ratio={} vm.dirty_ratio={}", *ratio,
                                 input.host.number("/proc/sys/vm/dirty_ratio").value_or(20));
  }
  if (input.measured.commit_beside_dirty_ns > 0 && !input.measured.commits.empty()) {
    row.effect = fmt::format(
        "measured: a commit of 4 KiB takes {}, with 16 MiB of another file unwritten {}",
        base::format_duration(input.measured.commits[0].p50_ns),
        base::format_duration(input.measured.commit_beside_dirty_ns));
  }
  rows.push_back(std::move(row));
}

}  // namespace

void check_memory(const CheckInput& input, std::vector<Row>& rows) {
  check_available(input, rows);
  check_huge_pages(input, rows);
  check_swap(input, rows);
  check_dirty(input, rows);
}

}  // namespace mxring::tune
