// `mxring bundle`: what somebody needs who is to find out what is wrong, in one tar file: version,
// host, configuration, what the receiver says of itself, the last lines of the journal, and the
// log's files by name. No mail, no address of anybody, no key, token or password; CONTENTS.txt in
// it says what there is, and what could not be had.
//
// Exit codes: 0 written, 1 it could not be, 78 bad configuration.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <deque>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/admin_client.h"
#include "cli/diagnosis.h"
#include "cli/tune.h"
#include "seglog/log_directory.h"
#include "server/control.h"
#include "uring/probe.h"

namespace mxring::cli {

namespace {

constexpr std::size_t kJournalLines = 500;
constexpr std::size_t kSegmentsMax = 10'000;

struct BundleArguments {
  std::string file;
  std::string out;
};

struct Part {
  std::string name;
  std::string what;
  std::string text;
};

// ustar (POSIX.1-1988): a header of 512 bytes, then the content, filled up to 512 with zeros.
std::string tar_entry(const std::string& name, const std::string& text, std::int64_t time_s) {
  std::array<char, 512> header{};
  const auto put = [&header](std::size_t at, const std::string& value) {
    std::memcpy(header.data() + at, value.data(), value.size());
  };
  put(0, name.substr(0, 99));
  put(100, "0000600");
  put(108, "0000000");
  put(116, "0000000");
  put(124, fmt::format("{:011o}", text.size()));
  put(136, fmt::format("{:011o}", time_s));
  put(148, "        ");
  put(156, "0");
  put(257, std::string("ustar\0"
                       "00",
                       8));
  unsigned sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  put(148, fmt::format("{:06o}", sum) + std::string("\0 ", 2));
  std::string entry(header.data(), header.size());
  entry += text;
  entry.resize((entry.size() + 511) / 512 * 512, '\0');
  return entry;
}

// Words with an @ or that look like an IP address say who somebody is.
bool names_somebody(std::string_view word) {
  if (word.find('@') != word.npos) return true;
  const std::string_view address_signs = "0123456789abcdefABCDEF.:[]/%";
  const auto count = [word](char sign) { return std::ranges::count(word, sign); };
  const std::size_t end = word.find_last_not_of(",;:)");
  const std::string_view body = word.substr(0, end == word.npos ? 0 : end + 1);
  const bool address = body.find_first_not_of(address_signs) == body.npos;
  return address && (count('.') >= 3 || std::ranges::count(body, ':') >= 2);
}

std::string without_names(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t blank = std::min(text.find_first_of(" =\"<>()`,\n"), text.size());
    const std::string_view word = text.substr(0, blank);
    out += names_somebody(word) ? "(left out)" : word;
    if (blank < text.size()) out += text[blank];
    text.remove_prefix(std::min(blank + 1, text.size()));
  }
  return out;
}

// Of a line, what says nothing of anybody: not the client, not the envelope, not the reply's text.
std::string journal_line(const std::string& line) {
  const auto read = nlohmann::json::parse(line, nullptr, false);
  if (!read.is_object()) return {};
  nlohmann::ordered_json kept;
  for (const char* key :
       {"time", "event", "session", "stage", "spf", "dmarc", "size", "repeated"}) {
    if (read.contains(key)) kept[key] = read[key];
  }
  if (read.contains("reply") && read["reply"].is_string()) {
    kept["reply"] = read["reply"].get<std::string>().substr(0, 9);
  }
  if (read.contains("text") && read["text"].is_string()) {
    kept["text"] = without_names(read["text"].get<std::string>());
  }
  return kept.dump() + '\n';
}

Part journal_part(const server::Config& config) {
  Part part{"journal.jsonl", "the journal's last lines: events, stages, reply codes, notices", ""};
  if (config.journal.to.empty() || config.journal.to == "stderr") {
    part.text = "not here: journal.to is not a file; add what `journalctl -u mxring -n 500` says\n";
    return part;
  }
  std::ifstream file(config.journal.to);
  if (!file) {
    part.text = fmt::format("cannot be read: {}\n", std::strerror(errno));
    return part;
  }
  std::deque<std::string> last;
  for (std::string line; std::getline(file, line);) {
    last.push_back(std::move(line));
    if (last.size() > kJournalLines) last.pop_front();
  }
  for (const std::string& line : last) part.text += journal_line(line);
  return part;
}

// Every key as it counts. Of what could open a door, only that it is set; policy files stay where
// they are, for they are full of addresses.
Part config_part(const server::Config& config) {
  Part part{"config.toml", "every key as it counts; tokens, patterns and passwords left out", ""};
  std::istringstream lines(server::to_toml(config, false));
  for (std::string line; std::getline(lines, line);) {
    const std::string key = line.substr(0, line.find_first_of(" ="));
    const bool secret =
        std::ranges::any_of(std::array{"token", "secret", "password"},
                            [&key](const char* sign) { return key.find(sign) != key.npos; });
    const bool set = !line.ends_with("\"\"") && !line.ends_with("[]");
    part.text += secret && set ? key + " = \"(left out)\"" : line;
    part.text += '\n';
  }
  return part;
}

std::string asked(const std::string& address, const char* target) {
  const auto answer = ask_admin(address, "GET", target);
  if (!answer) return answer.error() + '\n';
  if (answer->code != 200) return fmt::format("answered {}\n", answer->code);
  return answer->body + '\n';
}

std::string small_file(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  if (file) text << file.rdbuf();
  return fmt::format("== {}\n{}\n", path, file ? text.str() : std::string("cannot be read"));
}

Part host_part(const std::string& live) {
  Part part{"host.txt", "kernel, processor, memory and limits of the host and of the receiver", ""};
  utsname kernel{};
  ::uname(&kernel);
  part.text = fmt::format("{} {} {}\n", kernel.sysname, kernel.release, kernel.machine);
  const uring::Features rings = uring::probe();
  part.text += fmt::format("io_uring: {}\n", rings.usable ? "usable" : rings.problem);
  for (const char* path : {"/proc/meminfo", "/proc/loadavg", "/proc/pressure/io",
                           "/proc/sys/kernel/io_uring_disabled", "/etc/os-release"}) {
    part.text += small_file(path);
  }
  const auto read = nlohmann::json::parse(live, nullptr, false);
  if (read.is_object() && read.contains("pid") && read["pid"].is_number_integer()) {
    for (const char* file : {"limits", "status"}) {
      part.text += small_file(fmt::format("/proc/{}/{}", read["pid"].get<std::int64_t>(), file));
    }
  }
  return part;
}

Part log_part(const server::Config& config) {
  Part part{"log.txt", "the log's segments: names, sizes, headers; nothing of what is in them", ""};
  const auto log = seglog::open_log(config.log.dir);
  const auto segments =
      log ? seglog::list_segments(log->fd()) : std::expected<std::vector<std::uint64_t>, int>();
  if (!log || !segments) {
    part.text = "cannot be read\n";
    return part;
  }
  std::size_t count = 0;
  for (const std::uint64_t base : *segments) {
    if (++count > kSegmentsMax) break;
    const auto opened = seglog::open_segment(log->fd(), base);
    part.text += opened
                     ? fmt::format("{:020}.seg {} bytes, format {}, epoch {}, made {}\n", base,
                                   opened->file_bytes, opened->header.version, opened->header.epoch,
                                   base::format_wall_time(opened->header.created_at_us))
                     : fmt::format("{:020}.seg cannot be opened\n", base);
  }
  for (const seglog::SetAside& damaged : seglog::list_set_aside(log->fd())) {
    part.text += fmt::format("set aside, {} bytes\n", damaged.file_bytes);
  }
  return part;
}

std::vector<Part> collect(const server::Config& config) {
  const std::string control = "unix:" + server::control_path(config);
  std::vector<Part> parts;
  parts.push_back({"version.txt", "the version that made this", MXRING_VERSION "\n"});
  parts.push_back(config_part(config));
  parts.push_back({"status.json", "`mxring ctl status`", without_names(asked(control, "/status"))});
  parts.push_back({"live.json", "`mxring top --json`", without_names(asked(control, "/live"))});
  parts.push_back({"metrics.txt", "/metrics",
                   config.listen.admin.empty() ? "listen.admin is off\n"
                                               : asked(config.listen.admin, "/metrics")});
  parts.push_back(host_part(parts[3].text));
  parts.push_back(journal_part(config));
  parts.push_back(log_part(config));
  std::string contents =
      "What `mxring bundle` has put together. There is no mail in it, no address of a sender, a\n"
      "recipient or a client, no key, no token and no password. Read it before you hand it on.\n\n";
  for (const Part& part : parts) contents += fmt::format("{:<14} {}\n", part.name, part.what);
  parts.insert(parts.begin(), {"CONTENTS.txt", "", std::move(contents)});
  return parts;
}

bool write_whole(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

int run_bundle(const BundleArguments& arguments) {
  const auto config = config_to_tune(arguments.file);
  if (!config) {
    complain(config.error());
    return kBadConfiguration;
  }
  const std::int64_t now_s = base::read_clocks().wall.us / 1'000'000;
  const std::string out =
      arguments.out.empty() ? fmt::format("mxring-bundle-{}.tar", now_s) : arguments.out;
  const std::vector<Part> parts = collect(*config);
  std::string archive;
  for (const Part& part : parts) archive += tar_entry("mxring/" + part.name, part.text, now_s);
  archive.append(1024, '\0');
  // Never over something that is there: it may be the bundle of the day before.
  const int fd = out == "-" ? STDOUT_FILENO
                            : ::open(out.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0 || !write_whole(fd, archive) || (out != "-" && ::close(fd) != 0)) {
    complain(fmt::format("{}: {}", base::escaped(out), std::strerror(errno)));
    return kFailed;
  }
  fmt::print(stderr, "{}\n{} has {} in {}; CONTENTS.txt says what they are\n",
             parts.front().text.substr(0, parts.front().text.find("\n\n")),
             out == "-" ? "standard output" : base::escaped(out),
             base::counted(parts.size(), "file"), base::format_bytes(archive.size()));
  return kDone;
}

}  // namespace

void add_bundle(CLI::App& program, Commands& commands) {
  CLI::App* bundle =
      program.add_subcommand("bundle", "One file for whoever is to find out what is wrong");
  const auto arguments = std::make_shared<BundleArguments>();
  bundle->add_option("-c,--config", arguments->file, "Configuration file (TOML) of the receiver")
      ->type_name("FILE");
  bundle->add_option("--out", arguments->out, "Write here (tar; - = standard output)")
      ->type_name("FILE");
  bundle->footer(
      "Version, host, configuration, status, metrics, the journal's last lines and the names of\n"
      "the log's files. No mail, no address of anybody, no key, token or password.");
  commands.push_back({bundle, [arguments] { return run_bundle(*arguments); }});
}

}  // namespace mxring::cli
