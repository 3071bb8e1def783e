#include "server/confinement.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <utility>

#include "base/text.h"
#include "server/control.h"
#include "server/system_calls.h"

namespace mxring::server {

namespace {

constexpr std::string_view kUnix = "unix:";
constexpr std::uint16_t kDnsPort = 53;
constexpr int kLinksMax = 40;  // as the kernel follows

// What does not depend on the configuration.
constexpr std::array kHostFiles{
    std::pair<std::string_view, std::string_view>{"/etc/hosts", "the resolver"},
    std::pair<std::string_view, std::string_view>{"/etc/nsswitch.conf", "the resolver"},
    std::pair<std::string_view, std::string_view>{"/etc/host.conf", "the resolver"},
    std::pair<std::string_view, std::string_view>{"/etc/services", "the resolver"},
    std::pair<std::string_view, std::string_view>{"/etc/passwd", "names of owners in errors"},
    std::pair<std::string_view, std::string_view>{"/etc/group", "names of owners in errors"},
    std::pair<std::string_view, std::string_view>{"/etc/localtime", "times in words"},
    std::pair<std::string_view, std::string_view>{"/etc/machine-id", "which host this is"},
    std::pair<std::string_view, std::string_view>{"/dev/urandom", "TLS"},
    std::pair<std::string_view, std::string_view>{"/dev/random", "TLS"},
    std::pair<std::string_view, std::string_view>{"/dev/null", "libraries"},
    std::pair<std::string_view, std::string_view>{"/proc/self", "our own memory and descriptors"},
    std::pair<std::string_view, std::string_view>{"/proc/stat", "how many cores there are"},
    std::pair<std::string_view, std::string_view>{"/proc/cpuinfo", "how many cores there are"},
    std::pair<std::string_view, std::string_view>{"/proc/meminfo", "the memory allocator"},
    std::pair<std::string_view, std::string_view>{"/proc/sys/vm", "the memory allocator"},
    std::pair<std::string_view, std::string_view>{"/proc/sys/kernel", "why there is no ring"},
    std::pair<std::string_view, std::string_view>{"/sys/devices/system", "cores and huge pages"},
    std::pair<std::string_view, std::string_view>{"/sys/kernel/mm", "huge pages"},
    std::pair<std::string_view, std::string_view>{"/sys/fs/cgroup", "how many cores are ours"},
};

std::string folder_of(const std::string& file) {
  const std::string folder = std::filesystem::path(file).parent_path().string();
  return folder.empty() ? "." : folder;
}

// Files that are only read, each with the key that names it.
std::vector<std::pair<std::string, std::string_view>> read_files(const Config& config) {
  std::vector<std::pair<std::string, std::string_view>> files;
  const auto add = [&files](const std::string& file, std::string_view key) {
    if (!file.empty()) files.emplace_back(file, key);
  };
  add(config.file, "the configuration");
  add(config.tls.certificate, "tls.certificate");
  add(config.tls.key, "tls.key");
  for (const auto& more : config.tls.certificates) {
    add(more.certificate, "tls.certificates");
    add(more.key, "tls.certificates");
  }
  add(config.listen.admin_token_file, "listen.admin_token_file");
  add(config.recipients.file, "recipients.file");
  add(config.access.file, "access.file");
  return files;
}

std::vector<std::uint16_t> resolver_ports(const Config& config) {
  std::vector<std::uint16_t> ports{kDnsPort};
  for (const base::Endpoint& server : config.dns.servers) ports.push_back(server.port);
  return ports;
}

}  // namespace

std::vector<std::string> folders_of(const std::string& file) {
  std::vector<std::string> folders;
  std::string at = file;
  for (int link = 0; link < kLinksMax; ++link) {
    folders.push_back(folder_of(at));
    char target[PATH_MAX];
    const ssize_t size = ::readlink(at.c_str(), target, sizeof target);
    if (size <= 0) break;
    const std::string_view to(target, static_cast<std::size_t>(size));
    at = to.starts_with('/') ? std::string(to) : fmt::format("{}/{}", folder_of(at), to);
  }
  // A folder on the way may be a link itself (..data of a mounted secret).
  if (char* whole = ::realpath(file.c_str(), nullptr)) {
    folders.push_back(folder_of(whole));
    std::free(whole);
  }
  // All of the file system is no confinement: a file that lies there is opened at the start only.
  std::erase(folders, "/");
  return folders;
}

std::vector<PathRule> path_rules(const Config& config) {
  std::vector<PathRule> rules{{config.log.dir, PathUse::kChange, "the log"}};
  for (const auto& [file, key] : read_files(config)) {
    rules.push_back({file, PathUse::kRead, key});
    for (std::string& folder : folders_of(file)) {
      rules.push_back({std::move(folder), PathUse::kRead, key});
    }
  }
  for (std::string& folder : folders_of("/etc/resolv.conf")) {
    if (folder != "/etc") rules.push_back({std::move(folder), PathUse::kRead, "the resolver"});
  }
  rules.push_back({"/etc/resolv.conf", PathUse::kRead, "the resolver"});
  if (!config.journal.to.empty() && config.journal.to != "stderr") {
    rules.push_back({folder_of(config.journal.to), PathUse::kWrite, "journal.to, opened again"});
  }
  if (config.listen.admin.starts_with(kUnix)) {
    rules.push_back({folder_of(config.listen.admin.substr(kUnix.size())), PathUse::kRemove,
                     "the administration's socket goes with the server"});
  }
  rules.push_back({folder_of(control_path(config)), PathUse::kSocket, "the control socket"});
  for (const auto& [file, reason] : kHostFiles) {
    rules.push_back({std::string(file), PathUse::kRead, reason});
  }
  return rules;
}

std::vector<std::string> check_access_of_user(const Config& config) {
  std::vector<std::string> faults;
  if (config.user.empty()) return faults;
  const auto user = find_user(config.user);
  if (!user) return {user.error()};
  // As somebody else we can neither become that user nor look with its eyes.
  if (::geteuid() != 0 && ::geteuid() != user->uid) return faults;
  for (const auto& [file, key] : read_files(config)) {
    if (::access(file.c_str(), F_OK) == 0 && !may_read(*user, file)) {
      faults.push_back(
          fmt::format("{} ({}): user \"{}\" may not read it, so it could not be read again when it "
                      "was renewed; "
                      "chgrp it to a group of that user and chmod g+r, the folders above it g+x",
                      base::escaped(file), key, config.user));
    }
  }
  struct stat log {};
  if (::stat(config.log.dir.c_str(), &log) == 0 && !may_write(*user, config.log.dir)) {
    faults.push_back(fmt::format("{} (log.dir): user \"{}\" may not write there; chown -R {} {}",
                                 base::escaped(config.log.dir), config.user, config.user,
                                 base::escaped(config.log.dir)));
  }
  return faults;
}

std::expected<void, std::string> Confinement::prepare() {
  if (::geteuid() != 0) return {};
  if (config_.user.empty()) {
    notice_(
        "running as root: set `user` to an account that owns nothing else, and the server "
        "changes to it once its ports are bound");
    return {};
  }
  auto user = find_user(config_.user);
  if (!user) return std::unexpected(user.error());
  user_ = *std::move(user);
  return {};
}

void Confinement::give(const std::string& path) const {
  if (!user_ || path.empty()) return;
  if (::lchown(path.c_str(), user_->uid, user_->gid) != 0) {
    notice_(fmt::format("warning: {} stays root's: {}", base::escaped(path), std::strerror(errno)));
  }
}

std::expected<void, std::string> Confinement::before_log() {
  if (user_) {
    const std::string& log = config_.log.dir;
    if (!may_write(*user_, log)) {
      return std::unexpected(fmt::format("{}: user \"{}\" may not write there; chown -R {} {}",
                                         base::escaped(log), user_->name, user_->name,
                                         base::escaped(log)));
    }
    if (auto became = become(*user_); !became) return became;
  }
  const bool stays_root = ::geteuid() == 0;
  if (auto done = stays_root ? no_new_privileges() : give_up_privileges(); !done) return done;
  if (!config_.confine || kSanitized) return {};
  if (landlock_abi() == 0) {
    notice_("warning: not confined to its folders: this kernel or container has no Landlock");
    return {};
  }
  if (auto confined = confine_paths(path_rules(config_), resolver_ports(config_)); !confined) {
    notice_(fmt::format("warning: not confined to its folders: {}", confined.error()));
  }
  return {};
}

void Confinement::after_start() {
  if (!config_.confine) return notice_("confine = false: neither Landlock nor seccomp");
  if (kSanitized) return notice_("built with a sanitizer: neither Landlock nor seccomp");
  if (auto confined = confine_system_calls(); !confined) {
    notice_(fmt::format("warning: not confined to the system calls it uses: {}", confined.error()));
  }
}

}  // namespace mxring::server
