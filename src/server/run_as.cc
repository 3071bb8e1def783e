#include "server/run_as.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "base/text.h"

namespace mxring::server {

namespace {

constexpr std::size_t kAccountBytesMax = 1 << 20;
constexpr int kCapabilitiesMax = 64;

std::unexpected<std::string> failed(std::string_view what) {
  return std::unexpected(fmt::format("{}: {}", what, std::strerror(errno)));
}

// Those that a program executed later could have. Refused without CAP_SETPCAP, and then there is no
// way to have them either: no_new_privs.
void drop_future_capabilities() {
  ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  for (int capability = 0; capability < kCapabilitiesMax; ++capability) {
    if (::prctl(PR_CAPBSET_READ, capability, 0, 0, 0) == 1) {
      ::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
    }
  }
}

bool set_ids(const RunAs& user) {
  return ::initgroups(user.name.c_str(), user.gid) == 0 &&
         ::setresgid(user.gid, user.gid, user.gid) == 0 &&
         ::setresuid(user.uid, user.uid, user.uid) == 0;
}

// In a child of ours that becomes `user` first.
bool allowed(const RunAs& user, const std::string& path, int mode) {
  if (::geteuid() != 0) return ::faccessat(AT_FDCWD, path.c_str(), mode, AT_EACCESS) == 0;
  const pid_t child = ::fork();
  if (child < 0) return true;  // the start itself will tell
  if (child == 0) {
    const bool may = set_ids(user) && ::faccessat(AT_FDCWD, path.c_str(), mode, AT_EACCESS) == 0;
    ::_exit(may ? 0 : 1);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

std::expected<RunAs, std::string> find_user(const std::string& name) {
  passwd account{};
  passwd* found = nullptr;
  std::vector<char> buffer(4096);
  int error = 0;
  while ((error = ::getpwnam_r(name.c_str(), &account, buffer.data(), buffer.size(), &found)) ==
             ERANGE &&
         buffer.size() < kAccountBytesMax) {
    buffer.resize(buffer.size() * 2);
  }
  if (found == nullptr) {
    return std::unexpected(
        fmt::format("user = \"{}\": {}", base::escaped(name),
                    error == 0 ? "there is no such account; make one with \"useradd --system\""
                               : std::strerror(error)));
  }
  return RunAs{name, account.pw_uid, account.pw_gid};
}

std::expected<void, std::string> become(const RunAs& user) {
  // While we still may: after the change of user nobody could take these away.
  drop_future_capabilities();
  if (!set_ids(user)) return failed(fmt::format("cannot become user \"{}\"", user.name));
  if (user.uid != 0 && (::setuid(0) == 0 || ::geteuid() == 0 || ::getuid() == 0)) {
    return std::unexpected(
        fmt::format("after becoming user \"{}\" the way back to root was open", user.name));
  }
  return {};
}

std::expected<void, std::string> give_up_privileges() {
  drop_future_capabilities();
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};
  if (::syscall(SYS_capset, &header, none) != 0) {
    // A fence around us may have taken the call away; what it left must be harmless then.
    const int error = errno;
    __user_cap_data_struct had[_LINUX_CAPABILITY_U32S_3] = {};
    ::syscall(SYS_capget, &header, had);
    if ((had[0].permitted & ~(1U << CAP_NET_BIND_SERVICE)) != 0 || had[1].permitted != 0) {
      errno = error;
      return failed("capset(2)");
    }
  }
  return no_new_privileges();
}

std::expected<void, std::string> no_new_privileges() {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return failed("no_new_privs");
  return {};
}

bool may_read(const RunAs& user, const std::string& file) {
  return allowed(user, file, R_OK);
}

bool may_write(const RunAs& user, const std::string& directory) {
  return allowed(user, directory, W_OK | X_OK);
}

}  // namespace mxring::server
