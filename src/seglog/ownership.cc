#include "seglog/ownership.h"

#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <vector>

namespace mxring::seglog {

namespace {

constexpr std::size_t kNameRoomBytes = 16384;

std::string user_name(uid_t id) {
  std::vector<char> room(kNameRoomBytes);
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwuid_r(id, &entry, room.data(), room.size(), &found) == 0 && found != nullptr) {
    return entry.pw_name;
  }
  return std::to_string(id);
}

std::string group_name(gid_t id) {
  std::vector<char> room(kNameRoomBytes);
  group entry{};
  group* found = nullptr;
  if (::getgrgid_r(id, &entry, room.data(), room.size(), &found) == 0 && found != nullptr) {
    return entry.gr_name;
  }
  return std::to_string(id);
}

}  // namespace

std::string owned_by(const std::filesystem::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return {};
  char mode[8];
  std::snprintf(mode, sizeof mode, "%04o", static_cast<unsigned>(status.st_mode & 07777));
  return "belongs to " + user_name(status.st_uid) + ":" + group_name(status.st_gid) + ", mode " +
         mode;
}

std::string acting_user() {
  return user_name(::geteuid());
}

std::string refusal_of_access(int error, const std::filesystem::path& path,
                              const std::filesystem::path& log) {
  if (error != EACCES && error != EPERM) return {};
  const std::string owner = owned_by(path);
  return ": " + (owner.empty() ? "it cannot be looked at" : "it " + owner) +
         ", and this process is " + acting_user() + "; as root: chown -R " + acting_user() + ": " +
         log.string();
}

}  // namespace mxring::seglog
