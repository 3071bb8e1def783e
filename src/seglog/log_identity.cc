#include "seglog/log_identity.h"

#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "seglog/identity.h"
#include "seglog/lock_file.h"
#include "seglog/log_directory.h"
#include "seglog/ownership.h"

namespace mxring::seglog {

LogId make_log_id() {
  LogId id;
  do {
    while (::getrandom(id.bytes.data(), id.bytes.size(), 0) !=
           static_cast<ssize_t>(id.bytes.size())) {
    }
  } while (!id.known());
  return id;
}

std::expected<void, int> write_log_id(const std::string& directory, uring::File& directory_file,
                                      const LogId& id, bool durable, uring::FaultPlan* faults) {
  const std::string name = std::string(kLogIdName) + ".tmp";
  const int at = directory_file.fd();
  auto file = uring::File::open(directory + "/" + name, O_WRONLY | O_CREAT | O_TRUNC, 0644, faults);
  if (!file) return std::unexpected(file.error());
  std::string text = id.hex() + '\n';
  int error = 0;
  for (std::size_t done = 0; done < text.size() && error == 0;) {
    const iovec slice{text.data() + done, text.size() - done};
    const auto written = file->write_at({&slice, 1}, done);
    error = written ? (*written == 0 ? EIO : 0) : written.error();
    done += written.value_or(0);
  }
  if (error == 0 && durable) {
    if (auto synced = file->sync_all(); !synced) error = synced.error();
  }
  if (error == 0 && ::renameat(at, name.c_str(), at, kLogIdName) != 0) error = errno;
  if (error != 0) {
    ::unlinkat(at, name.c_str(), 0);
    return std::unexpected(error);
  }
  return durable ? directory_file.sync_all() : std::expected<void, int>{};
}

std::expected<Renewed, std::string> renew_log_id(const std::filesystem::path& log) {
  const auto reason = [&](const char* what, int error) {
    return std::unexpected(log.string() + ": " + what + ": " +
                           std::system_category().message(error) +
                           refusal_of_access(error, log, log));
  };
  const auto opened = open_log(log);
  if (!opened) return std::unexpected(opened.error().message);
  auto directory = uring::File::open(log.string(), O_RDONLY | O_DIRECTORY, 0, nullptr);
  if (!directory) return reason("cannot be opened", directory.error());
  const auto lock = LockFile::acquire(directory->fd());
  if (!lock && lock.error().error == 0) {
    const std::string& pid = lock.error().holder_pid;
    return std::unexpected(log.string() + ": another process" +
                           (pid.empty() ? "" : " (pid " + pid + ")") +
                           " writes to this log; stop it first");
  }
  if (!lock) return reason("cannot be locked", lock.error().error);
  const Renewed renewed{current_log_id(directory->fd()), make_log_id()};
  if (auto written = write_log_id(log.string(), *directory, renewed.after, true, nullptr);
      !written) {
    return reason("log-id cannot be written", written.error());
  }
  return renewed;
}

}  // namespace mxring::seglog
