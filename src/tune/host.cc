#include "tune/host.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <system_error>

namespace mxring::tune {

namespace {

constexpr std::uint64_t kUnlimited = ~0ULL;

std::string_view trimmed(std::string_view text) {
  const auto is_blank = [](char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\0'; };
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

std::string why(int error, std::string_view path) {
  if (error == ENOENT || error == ENOTDIR) return fmt::format("there is no {} here", path);
  if (error == EACCES || error == EPERM) return fmt::format("no right to read {}", path);
  return fmt::format("{} cannot be read: {}", path, std::strerror(error));
}

}  // namespace

FileText Host::read(std::string_view path) const {
  FileText out;
  const int fd = ::open(at(path).c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    out.problem = why(errno, path);
    return out;
  }
  std::string text;
  char part[4096];
  ssize_t got = 0;
  while ((got = ::read(fd, part, sizeof part)) > 0) {
    text.append(part, static_cast<std::size_t>(got));
  }
  // A file of /sys whose device does not know the answer fails here, with EINVAL mostly.
  if (got < 0) out.problem = why(errno, path);
  ::close(fd);
  out.text = std::string(trimmed(text));
  return out;
}

std::optional<std::string> Host::text(std::string_view path) const {
  FileText file = read(path);
  if (!file.ok()) return std::nullopt;
  return std::move(file.text);
}

std::optional<std::int64_t> Host::number(std::string_view path) const {
  const auto found = text(path);
  return found ? leading_number(*found) : std::nullopt;
}

std::vector<std::string> Host::lines(std::string_view path) const {
  std::vector<std::string> out;
  const auto found = text(path);
  if (!found) return out;
  std::string_view rest = *found;
  while (!rest.empty()) {
    const std::size_t end = rest.find('\n');
    out.emplace_back(rest.substr(0, end));
    if (end == std::string_view::npos) break;
    rest.remove_prefix(end + 1);
  }
  return out;
}

std::vector<std::string> Host::names(std::string_view path) const {
  std::vector<std::string> out;
  std::error_code error;
  std::filesystem::directory_iterator entry(at(path), error);
  for (const std::filesystem::directory_iterator end; !error && entry != end;
       entry.increment(error)) {
    out.push_back(entry->path().filename().string());
  }
  std::ranges::sort(out);
  return out;
}

bool Host::exists(std::string_view path) const {
  return ::access(at(path).c_str(), F_OK) == 0;
}

std::string Host::link_name(std::string_view path) const {
  std::error_code error;
  const auto target = std::filesystem::read_symlink(at(path), error);
  return error ? std::string() : target.filename().string();
}

std::optional<std::string> Host::field(std::string_view path, std::string_view key) const {
  for (const std::string& line : lines(path)) {
    const std::string_view view = line;
    if (!view.starts_with(key) || view.size() <= key.size() || view[key.size()] != ':') continue;
    return std::string(trimmed(view.substr(key.size() + 1)));
  }
  return std::nullopt;
}

std::optional<std::uint64_t> Host::network_counter(std::string_view group,
                                                   std::string_view name) const {
  for (const char* path : {"/proc/net/netstat", "/proc/net/snmp"}) {
    std::vector<std::string> names_found;
    for (const std::string& line : lines(path)) {
      std::vector<std::string> words = split_words(line);
      if (words.empty() || words[0] != fmt::format("{}:", group)) continue;
      if (names_found.empty()) {  // a line of names, then one of values
        names_found = std::move(words);
        continue;
      }
      const auto found = std::ranges::find(names_found, name);
      if (found == names_found.end()) break;
      const auto index = static_cast<std::size_t>(found - names_found.begin());
      if (index >= words.size()) break;
      const auto value = leading_number(words[index]);
      if (!value || *value < 0) break;
      return static_cast<std::uint64_t>(*value);
    }
  }
  return std::nullopt;
}

std::optional<Host::Limit> Host::process_limit(std::string_view name) const {
  const auto value = [](const std::string& word) {
    if (word == "unlimited") return kUnlimited;
    return static_cast<std::uint64_t>(leading_number(word).value_or(0));
  };
  for (const std::string& line : lines("/proc/self/limits")) {
    if (!line.starts_with(name)) continue;
    const auto words = split_words(std::string_view(line).substr(name.size()));
    if (words.size() < 2) return std::nullopt;
    return Limit{value(words[0]), value(words[1])};
  }
  return std::nullopt;
}

bool Host::cgroup_is_unified() const {
  return exists("/sys/fs/cgroup/cgroup.controllers");
}

std::optional<std::string> Host::cgroup_folder(std::string_view controller) const {
  // "0::/path" is the unified hierarchy, "4:memory:/path" one of the older kind.
  for (const std::string& line : lines("/proc/self/cgroup")) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::string path = line.substr(second + 1);
    if (path == "/") path.clear();
    std::string mount;
    if (cgroup_is_unified()) {
      if (controllers.empty()) mount = "/sys/fs/cgroup";
    } else if (controllers == controller) {
      mount = fmt::format("/sys/fs/cgroup/{}", controller);
    }
    if (mount.empty()) continue;
    // Inside a container the path may be the host's while the mount shows only our part.
    return exists(mount + path) ? mount + path : mount;
  }
  return std::nullopt;
}

std::vector<int> parse_cpu_list(std::string_view text) {
  std::vector<int> cpus;
  while (!text.empty()) {
    const std::size_t end = text.find(',');
    const std::string_view part = trimmed(text.substr(0, end));
    const auto first = leading_number(part);
    const std::size_t dash = part.find('-');
    const auto last =
        dash == std::string_view::npos ? first : leading_number(part.substr(dash + 1));
    constexpr std::int64_t kCpusMax = 65'536;
    if (first && last && *first >= 0 && *last < kCpusMax) {
      for (std::int64_t cpu = *first; cpu <= *last; ++cpu) cpus.push_back(static_cast<int>(cpu));
    }
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return cpus;
}

std::vector<int> parse_cpu_mask(std::string_view text) {
  std::vector<int> cpus;
  int bit = 0;
  for (std::size_t i = text.size(); i > 0; --i) {
    const char c = text[i - 1];
    unsigned digit = 0;
    if (c == ',' || c == '\n') continue;
    if (std::from_chars(&text[i - 1], &text[i - 1] + 1, digit, 16).ec != std::errc{}) return {};
    for (unsigned k = 0; k < 4; ++k) {
      if ((digit >> k & 1) != 0) cpus.push_back(bit + static_cast<int>(k));
    }
    bit += 4;
  }
  return cpus;
}

std::string format_cpu_list(const std::vector<int>& cpus) {
  std::string out;
  for (std::size_t i = 0; i < cpus.size();) {
    std::size_t last = i;
    while (last + 1 < cpus.size() && cpus[last + 1] == cpus[last] + 1) ++last;
    if (!out.empty()) out += ',';
    out += last == i ? fmt::format("{}", cpus[i]) : fmt::format("{}-{}", cpus[i], cpus[last]);
    i = last + 1;
  }
  return out.empty() ? "none" : out;
}

std::vector<std::string> split_words(std::string_view text) {
  std::vector<std::string> words;
  std::size_t at = 0;
  while ((at = text.find_first_not_of(" \t\n", at)) != std::string_view::npos) {
    const std::size_t end = std::min(text.find_first_of(" \t\n", at), text.size());
    words.emplace_back(text.substr(at, end - at));
    at = end;
  }
  return words;
}

std::optional<std::int64_t> leading_number(std::string_view text) {
  text = trimmed(text);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{}) return std::nullopt;
  return value;
}

}  // namespace mxring::tune
