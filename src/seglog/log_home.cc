#include "seglog/log_home.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "seglog/file_system.h"
#include "seglog/ownership.h"

namespace mxring::seglog {

namespace {

using Result = std::expected<void, OpenError>;

std::string reason(int error) {
  return std::system_category().message(error);
}

class Opening {
 public:
  Opening(const WriterOptions& options, LogHome& home) : options_(options), home_(home) {}

  Result run();
  Result make();

 private:
  Result fit(int directory_fd) const;
  Result make_below(const std::filesystem::path& parent);
  Result lock();

  std::unexpected<OpenError> refuse(OpenErrorKind kind, const std::string& text) const {
    return std::unexpected(OpenError{kind, options_.directory.string() + ": " + text});
  }
  std::string install_command() const {
    return "install -d -m 750 -o " + acting_user() + " " + options_.directory.string();
  }

  const WriterOptions& options_;
  LogHome& home_;
};

Result Opening::fit(int directory_fd) const {
  const auto unfit = unfit_file_system(directory_fd);
  if (!unfit || options_.sync == Sync::kNone) return {};
  return refuse(OpenErrorKind::kFileSystem,
                "is on " + unfit->name + ", which " + unfit->why +
                    "; put the log on a local disk with ext4 or XFS, or set log.sync = \"none\" "
                    "for a benchmark");
}

Result Opening::make() {
  const std::string path = options_.directory.string();
  if (::access(path.c_str(), F_OK) == 0) return {};
  const std::filesystem::path parent = std::filesystem::path(path + "/..").lexically_normal();
  return make_below(parent.has_filename() ? parent : parent.parent_path());
}

Result Opening::make_below(const std::filesystem::path& parent) {
  auto above = uring::File::open(parent.string(), O_RDONLY | O_DIRECTORY, 0, options_.faults);
  if (above) {
    // Asked before anything is made: a refusal leaves nothing behind.
    if (auto fits = fit(above->fd()); !fits) return fits;
  }
  if (::mkdir(options_.directory.c_str(), 0750) != 0) {
    const int error = errno;
    if (error == EEXIST) return {};
    std::string text = "cannot be created: " + reason(error);
    if (error == ENOENT || error == ENOTDIR) {
      text = "cannot be created: there is no directory " + parent.string() +
             "; as root: " + install_command();
    } else if (error == EACCES || error == EPERM) {
      const std::string owner = owned_by(parent);
      text = "cannot be created: " + parent.string() + " " +
             (owner.empty() ? "cannot be looked into" : owner) + ", and this process is " +
             acting_user() + "; as root: " + install_command();
    }
    return refuse(OpenErrorKind::kDirectory, text);
  }
  // The new name must last as long as what we promise to keep under it.
  if (above && options_.sync == Sync::kCommit) {
    if (auto synced = above->sync_all(); !synced) {
      return refuse(OpenErrorKind::kIo,
                    "sync of the directory above failed: " + reason(synced.error()));
    }
  }
  return {};
}

Result Opening::lock() {
  auto locked = LockFile::acquire(home_.directory.fd());
  if (locked) {
    home_.lock = std::move(*locked);
    return {};
  }
  const int error = locked.error().error;
  if (error == 0) {
    const std::string& pid = locked.error().holder_pid;
    return refuse(OpenErrorKind::kLocked,
                  "another process" + (pid.empty() ? "" : " (pid " + pid + ")") +
                      " writes to this log; stop it, or choose another directory");
  }
  // A log that somebody else, often root, has used once: the file; a new one: the directory.
  const std::filesystem::path file = options_.directory / kLockName;
  const bool there = ::faccessat(home_.directory.fd(), kLockName, F_OK, AT_EACCESS) == 0;
  return refuse(
      OpenErrorKind::kDirectory,
      "LOCK cannot be " + std::string(there ? "opened" : "made") + ": " + reason(error) +
          refusal_of_access(error, there ? file : options_.directory, options_.directory));
}

Result Opening::run() {
  if (auto made = make(); !made) return made;
  const std::string path = options_.directory.string();
  auto opened = uring::File::open(path, O_RDONLY | O_DIRECTORY, 0, options_.faults);
  if (!opened) {
    const int error = opened.error();
    return refuse(OpenErrorKind::kDirectory,
                  "cannot be opened: " + reason(error) +
                      refusal_of_access(error, options_.directory, options_.directory));
  }
  home_.directory = std::move(*opened);
  if (auto fits = fit(home_.directory.fd()); !fits) return fits;
  if (auto locked = lock(); !locked) return locked;
  if (auto plain = write_in_place(home_.directory.fd(), options_.directory.string());
      !plain && options_.sync == Sync::kCommit) {
    return refuse(OpenErrorKind::kFileSystem, plain.error());
  }
  if (auto state = home_.state.open(home_.directory.fd()); !state) {
    const int error = state.error();
    const std::string hint =
        refusal_of_access(error, options_.directory / kStateName, options_.directory);
    return refuse(hint.empty() ? OpenErrorKind::kIo : OpenErrorKind::kDirectory,
                  "the state file cannot be made: " + reason(error) + hint);
  }
  return {};
}

}  // namespace

std::expected<void, OpenError> make_home(const WriterOptions& options) {
  LogHome unused;
  return Opening(options, unused).make();
}

std::expected<void, OpenError> open_home(const WriterOptions& options, LogHome& home) {
  return Opening(options, home).run();
}

}  // namespace mxring::seglog
