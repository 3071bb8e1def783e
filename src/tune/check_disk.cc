// The log's file system and disk: whether a commit can be trusted, and what it costs.
#include <fmt/format.h>

#include <algorithm>

#include "base/units.h"
#include "tune/check.h"

namespace mxring::tune {

namespace {

struct Mount {
  std::string point;
  std::string type;
  std::string options;  // of the mount and of the file system, with commas
};

// The mount of a device, from /proc/self/mountinfo (proc(5)): the last one wins, as in the kernel.
std::optional<Mount> mount_of(const CheckInput& input) {
  std::optional<Mount> found;
  const std::string device =
      fmt::format("{}:{}", input.place.device_major, input.place.device_minor);
  for (const std::string& line : input.host.lines("/proc/self/mountinfo")) {
    const auto words = split_words(line);
    const auto dash = std::ranges::find(words, "-");
    if (words.size() < 6 || words[2] != device || words.end() - dash < 4) continue;
    found = Mount{words[4], *(dash + 1), words[5] + "," + *(dash + 3)};
  }
  return found;
}

bool has_option(const std::string& options, std::string_view option) {
  const std::string all = "," + options + ",";
  return all.find(fmt::format(",{},", option)) != std::string::npos;
}

void check_file_system(const CheckInput& input, std::vector<Row>& rows) {
  Row row = make_row("disk", "file system of the log",
                     "an acknowledged message must outlive a power cut");
  row.wanted = "ext4 or XFS on a local disk";
  const auto mount = mount_of(input);
  if (input.place.existing.empty() || !input.place.problem.empty()) {
    row.verdict = Verdict::kProblem;
    row.current = input.place.problem;
    row.fix = fmt::format("make {} and let the receiver's user write there", input.place.directory);
    row.persist = "StateDirectory= in the unit does it";
    row.undo = "remove the folder";
    row.effect = "as this user; the receiver's own user may have other rights";
    rows.push_back(std::move(row));
    return;
  }
  if (!input.place.unfit.empty()) {
    row.current = input.place.unfit;
    row.verdict = input.receiver.durable ? Verdict::kProblem : Verdict::kAdvice;
    row.fix = "log.dir on a local disk; sync = \"none\" is for benchmarks only";
    row.persist = "dir = \"/var/lib/mxring/log\" under [log] in mxring.toml";
    row.undo = fmt::format("log.dir = \"{}\"", input.place.directory);
  } else {
    row.current = mount ? fmt::format("{} at {}", mount->type, mount->point) : "a local one";
  }
  rows.push_back(std::move(row));

  Row options = make_row("disk", "mount options",
                         "without barriers the disk may keep what it said it had written");
  options.wanted = "barriers on";
  if (!mount) {
    skip(options, "the mount of this device is not listed in /proc/self/mountinfo");
  } else {
    options.current = mount->options;
    const bool no_barrier =
        has_option(mount->options, "nobarrier") || has_option(mount->options, "barrier=0");
    if (no_barrier) {
      options.verdict = Verdict::kProblem;
      options.fix = fmt::format("mount -o remount,barrier=1 {}", mount->point);
      options.persist = "take nobarrier or barrier=0 out of /etc/fstab";
      options.undo = fmt::format("mount -o remount,nobarrier {}", mount->point);
    }
  }
  rows.push_back(std::move(options));
}

void check_device(const CheckInput& input, std::vector<Row>& rows) {
  Row cache = make_row("disk", "disk's write cache",
                       "a cache the kernel does not know of is not flushed by fdatasync");
  cache.wanted = "write back (flushed), or write through with a protected cache";
  Row scheduler = make_row("disk", "I/O scheduler", "a fast disk sorts its own queue");
  scheduler.wanted = "none or mq-deadline; bfq for turning disks only";
  // A partition has its disk's queue one folder up.
  const std::string device =
      fmt::format("/sys/dev/block/{}:{}/", input.place.device_major, input.place.device_minor);
  std::string queue = device + "queue/";
  if (!input.host.exists(queue)) queue = device + "../queue/";
  const FileText mode = input.host.read(queue + "write_cache");
  if (!mode.ok()) {
    skip(cache, mode.problem);
    skip(scheduler, mode.problem);
  } else {
    cache.current = mode.text;
    if (mode.text == "write through") {
      cache.effect = "the disk says it has no volatile cache: fdatasync sends no flush";
    }
    const std::string list = input.host.text(queue + "scheduler").value_or("none");
    const std::size_t open = list.find('[');
    const std::string chosen =
        open == std::string::npos ? list : list.substr(open + 1, list.find(']') - open - 1);
    const bool turning = input.host.number(queue + "rotational").value_or(0) == 1;
    scheduler.current = chosen;
    if (chosen == "bfq" && !turning) {
      scheduler.verdict = Verdict::kAdvice;
      scheduler.fix = fmt::format("echo none > {}scheduler", queue);
      scheduler.persist = "a udev rule: ATTR{queue/scheduler}=\"none\"";
      scheduler.undo = fmt::format("echo {} > {}scheduler", chosen, queue);
      scheduler.effect = "run this command again after the change and compare \"commits\"";
    }
  }
  rows.push_back(std::move(cache));
  rows.push_back(std::move(scheduler));
}

void check_space(const CheckInput& input, std::vector<Row>& rows) {
  Row row = make_row("disk", "free space", "below the reserve MAIL is answered 452 4.3.1");
  const Receiver& receiver = input.receiver;
  const std::uint64_t reserve =
      std::max(input.place.total_bytes / 100 * receiver.disk_reserve_percent,
               receiver.segment_bytes * receiver.disk_reserve_segments);
  row.wanted = fmt::format("more than the reserve, {}", base::format_bytes(reserve));
  if (input.place.total_bytes == 0) {
    skip(row, "the file system does not say");
  } else {
    row.current = base::format_bytes(input.place.free_bytes);
    if (input.place.free_bytes < reserve) {
      row.verdict = Verdict::kProblem;
      row.fix = "make room, or let old segments go: log.retain_bytes or log.retain_age";
      row.persist = "retain_bytes = \"20GiB\" or so under [log] in mxring.toml";
      row.undo = "retain_bytes = \"0\"";
    } else if (input.place.free_bytes < reserve * 2) {
      row.verdict = Verdict::kAdvice;
      row.fix = "log.retain_bytes or log.retain_age, or a larger disk";
      row.persist = "retain_bytes = \"20GiB\" or so under [log] in mxring.toml";
      row.undo = "retain_bytes = \"0\"";
    }
  }
  rows.push_back(std::move(row));
}

void check_commits(const CheckInput& input, std::vector<Row>& rows) {
  Row row = make_row("disk", "commits", "each 250 waits for one; p50 sets the latency under load");
  row.wanted = "4 KiB below 10 ms";
  const Measured& measured = input.measured;
  if (measured.commits.empty()) {
    skip(row, measured.commits_skipped.empty() ? "not measured" : measured.commits_skipped);
    rows.push_back(std::move(row));
    return;
  }
  const CommitCost& least = measured.commits.front();
  row.current = fmt::format("4 KiB: {}", base::format_duration(least.p50_ns));
  row.effect = "measured, p50 and p99:";
  for (const CommitCost& cost : measured.commits) {
    const double seconds = static_cast<double>(cost.p50_ns) * 1e-9;
    row.effect += fmt::format(
        "{} {} {}/{} ({}/s)", &cost == measured.commits.data() ? "" : ",",
        base::format_bytes(cost.batch_bytes), base::format_duration(cost.p50_ns),
        base::format_duration(cost.p99_ns),
        base::format_bytes(
            static_cast<std::uint64_t>(static_cast<double>(cost.batch_bytes) / seconds)));
  }
  constexpr std::int64_t kSlowNs = 10'000'000;
  constexpr std::int64_t kTooGoodNs = 10'000;
  if (least.p50_ns >= kSlowNs) {
    row.verdict = Verdict::kAdvice;
    row.fix =
        "a disk with a protected write cache, or an NVMe disk of the data-centre kind; until "
        "then more connections make larger groups";
    row.persist = "-";
    row.undo = "-";
  } else if (least.p50_ns < kTooGoodNs) {
    row.verdict = Verdict::kAdvice;
    row.fix =
        "find out what is below: faster than a disk can be means that a hypervisor or a "
        "controller says \"written\" before it is";
    row.persist = "cache=none or cache=directsync for the virtual disk";
    row.undo = "-";
  }
  rows.push_back(std::move(row));
}

}  // namespace

void check_disk(const CheckInput& input, std::vector<Row>& rows) {
  check_file_system(input, rows);
  check_device(input, rows);
  check_space(input, rows);
  check_commits(input, rows);
}

}  // namespace mxring::tune
