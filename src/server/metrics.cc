#include "server/metrics.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <iterator>
#include <memory>
#include <system_error>

#include "base/clock.h"

namespace mxring::server {

namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kLookEveryNs = 10 * base::kNsPerSecond;

std::string read_small(const char* path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path, "rbe"), &std::fclose);
  std::string text(4096, '\0');
  text.resize(file == nullptr ? 0 : std::fread(text.data(), 1, text.size(), file.get()));
  return text;
}

// Words of a text, from the front.
class Words {
 public:
  explicit Words(std::string_view text) : rest_(text) {}
  double number() {
    rest_.remove_prefix(std::min(rest_.find_first_not_of(" \n"), rest_.size()));
    double value = 0;
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
    rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
    return error == std::errc{} ? value : 0;
  }
  void skip(int words) {
    while (words-- > 0) (void)number();
  }

 private:
  std::string_view rest_;
};

void append(std::string& out, std::string_view name, std::string_view type, std::string_view help,
            double value) {
  fmt::format_to(std::back_inserter(out), "# HELP {0} {1}\n# TYPE {0} {2}\n{0} {3}\n", name, help,
                 type, value);
}

// As text exposition wants it within quotes.
std::string label_text(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    c == '\n' ? out += "\\n" : out += c;
  }
  return out;
}

std::uint64_t open_files() {
  std::uint64_t count = 0;
  std::error_code error;
  for (fs::directory_iterator at("/proc/self/fd", error), end; !error && at != end;
       at.increment(error)) {
    ++count;
  }
  return count == 0 ? 0 : count - 1;  // the folder itself
}

}  // namespace

void append_process_metrics(std::string& out) {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  append(out, "process_cpu_seconds_total", "counter", "CPU time, user and system, in seconds",
         seconds(usage.ru_utime) + seconds(usage.ru_stime));
  const auto page_bytes = static_cast<double>(::sysconf(_SC_PAGESIZE));
  const std::string pages = read_small("/proc/self/statm");
  Words sizes(pages);
  append(out, "process_virtual_memory_bytes", "gauge", "virtual memory",
         sizes.number() * page_bytes);
  append(out, "process_resident_memory_bytes", "gauge", "resident memory",
         sizes.number() * page_bytes);
  // After the name, which may have anything in it: state, then numbers. Field 20 is the count of
  // threads, 22 the start in ticks after the boot.
  std::string stat = read_small("/proc/self/stat");
  stat.erase(0, stat.rfind(')') == stat.npos ? stat.size() : stat.rfind(')') + 4);
  Words fields(stat);
  fields.skip(16);
  append(out, "process_threads", "gauge", "threads", fields.number());
  fields.skip(1);
  const double started = fields.number() / static_cast<double>(::sysconf(_SC_CLK_TCK));
  const std::string boot = read_small("/proc/stat");
  const std::size_t at = boot.find("btime ");
  const double booted = at == boot.npos ? 0 : Words(std::string_view(boot).substr(at + 6)).number();
  if (booted > 0) {
    append(out, "process_start_time_seconds", "gauge", "start, in seconds since 1970",
           booted + started);
  }
  append(out, "process_open_fds", "gauge", "open files", static_cast<double>(open_files()));
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    append(out, "process_max_fds", "gauge", "files that may be open",
           static_cast<double>(limit.rlim_cur));
  }
}

LogFolder::Figures LogFolder::look(std::int64_t now_ns) const {
  const std::lock_guard lock(mutex_);
  if (seen_at_ns_ != INT64_MIN && now_ns - seen_at_ns_ < kLookEveryNs) return seen_;
  Figures figures;
  figures.oldest_offset = UINT64_MAX;
  std::error_code error;
  for (fs::directory_iterator file(folder_, error), end; !error && file != end;
       file.increment(error)) {
    const std::string name = file->path().filename().string();
    if (!name.ends_with(".seg")) continue;
    std::uint64_t first = 0;
    const char* stop = name.data() + name.size() - 4;
    const auto [read, problem] = std::from_chars(name.data(), stop, first);
    struct stat status {};
    if (problem != std::errc{} || read != stop) continue;
    if (::stat(file->path().c_str(), &status) != 0) continue;
    figures.oldest_offset = std::min(figures.oldest_offset, first);
    figures.bytes += static_cast<std::uint64_t>(status.st_blocks) * 512;
    ++figures.segments;
  }
  if (figures.segments == 0) figures.oldest_offset = 0;
  seen_ = figures;
  seen_at_ns_ = now_ns;
  return figures;
}

void append_scrub_metrics(std::string& out, const Scrub::Figures& figures) {
  if (!figures.on) return;
  append(out, "mxring_log_verified_seconds", "gauge",
         "since the last whole look at the log began; before the first, since the start",
         figures.age_seconds);
  append(out, "mxring_log_verify_passes_total", "counter", "whole looks at the log",
         static_cast<double>(figures.passes));
  append(out, "mxring_log_verified_bytes_total", "counter", "bytes read and checked",
         static_cast<double>(figures.bytes));
  append(out, "mxring_log_damaged_places", "gauge", "places that the last whole look found damaged",
         static_cast<double>(figures.damaged_places));
  append(out, "mxring_log_damaged_records", "gauge", "records lost there",
         static_cast<double>(figures.damaged_records));
}

void append_certificate_metrics(std::string& out,
                                const std::vector<Certificates::Expiry>& expiries) {
  if (expiries.empty()) return;
  constexpr std::string_view kName = "mxring_certificate_expiry_timestamp_seconds";
  auto at = std::back_inserter(out);
  fmt::format_to(
      at, "# HELP {0} when a TLS certificate ends, in seconds since 1970\n# TYPE {0} gauge\n",
      kName);
  for (const Certificates::Expiry& expiry : expiries) {
    fmt::format_to(at, "{}{{certificate=\"{}\"}} {}\n", kName,
                   expiry.file.empty() ? "self-signed" : label_text(expiry.file), expiry.unix_s);
  }
}

}  // namespace mxring::server
