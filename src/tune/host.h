// What /proc and /sys say, read below a root that is "" on the real host and a folder of plain
// files in a test. Paths begin with a slash: "/proc/sys/net/core/somaxconn".
//
// Thread: any; nothing is kept. Failure: a file that is not there or may not be read is said so in
// words; a caller that only wants the text gets nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mxring::tune {

struct FileText {
  std::string text;     // without the blanks at its ends
  std::string problem;  // empty when it was read: "no /proc/... on this kernel", "no right to ..."
  bool ok() const { return problem.empty(); }
};

class Host {
 public:
  explicit Host(std::string root = "") : root_(std::move(root)) {}

  FileText read(std::string_view path) const;
  std::optional<std::string> text(std::string_view path) const;
  std::optional<std::int64_t> number(std::string_view path) const;
  std::vector<std::string> lines(std::string_view path) const;
  // Names in a folder, sorted; none when it cannot be read.
  std::vector<std::string> names(std::string_view path) const;
  bool exists(std::string_view path) const;
  // Where a symbolic link leads, its last part only: "virtio0" for /sys/.../driver; else "".
  std::string link_name(std::string_view path) const;

  // The value after "Key:" in a file of such lines (/proc/self/status, /proc/meminfo).
  std::optional<std::string> field(std::string_view path, std::string_view key) const;
  // A counter of /proc/net/netstat or /proc/net/snmp: ("TcpExt", "ListenDrops").
  std::optional<std::uint64_t> network_counter(std::string_view group, std::string_view name) const;
  // Soft and hard limit as in /proc/self/limits; ~0 = unlimited.
  struct Limit {
    std::uint64_t soft = 0;
    std::uint64_t hard = 0;
  };
  std::optional<Limit> process_limit(std::string_view name) const;
  // The folder of this process in the unified hierarchy, "/sys/fs/cgroup/system.slice/x.service";
  // in the older one that of `controller`. Nothing when there is none.
  std::optional<std::string> cgroup_folder(std::string_view controller) const;
  bool cgroup_is_unified() const;

 private:
  std::string at(std::string_view path) const { return root_ + std::string(path); }
  std::string root_;
};

// "0-2,5" as in many files of /sys: 0 1 2 5. Nonsense gives nothing.
std::vector<int> parse_cpu_list(std::string_view text);
// A bit mask in hexadecimal words, "00000003" or "ffff,00000000": the bits that are set.
std::vector<int> parse_cpu_mask(std::string_view text);
std::string format_cpu_list(const std::vector<int>& cpus);
std::vector<std::string> split_words(std::string_view text);
// A whole number at the start of the text; nothing when there is none.
std::optional<std::int64_t> leading_number(std::string_view text);

}  // namespace mxring::tune
