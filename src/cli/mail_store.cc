#include "cli/mail_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <unordered_set>
#include <vector>

#include "base/base64.h"
#include "base/text.h"
#include "cli/mail_text.h"
#include "cli/owned_fd.h"
#include "cli/record_text.h"

namespace mxring::cli {

namespace {

namespace fs = std::filesystem;

std::unexpected<std::string> system_failure(std::string_view what, const fs::path& path) {
  return std::unexpected(
      fmt::format("{} {}: {}", what, base::escaped(path.string()), std::strerror(errno)));
}

std::unexpected<std::string> already_there(const fs::path& path) {
  return std::unexpected(fmt::format("{} exists already; name another --out, or add --force",
                                     base::escaped(path.string())));
}

Stored write_all(int fd, std::string_view bytes, const fs::path& path) {
  while (!bytes.empty()) {
    const ssize_t wrote = ::write(fd, bytes.data(), bytes.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return system_failure("cannot write", path);
    bytes.remove_prefix(static_cast<std::size_t>(wrote));
  }
  return {};
}

Stored give_final_name(const fs::path& from, const fs::path& to, bool replace) {
  const unsigned flags = replace ? 0 : RENAME_NOREPLACE;
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), flags) == 0) return {};
  if (errno == EEXIST) return already_there(to);
  return system_failure("cannot rename to", to);
}

Stored sync_directory(const fs::path& directory) {
  const OwnedFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid() || ::fsync(fd.get()) != 0) return system_failure("cannot sync", directory);
  return {};
}

std::expected<OwnedFd, std::string> create_file(const fs::path& path) {
  OwnedFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) return system_failure("cannot create", path);
  return fd;
}

// One file per message. Files are written under other names, made durable together once there are
// enough of them (one sync of the file system instead of one for each), and only then named.
class FileBatch {
 public:
  explicit FileBatch(bool replace) : replace_(replace) {}

  Stored add(const fs::path& written, const fs::path& named, std::string_view bytes) {
    const auto fd = create_file(written);
    if (!fd) return std::unexpected(fd.error());
    if (auto wrote = write_all(fd->get(), bytes, written); !wrote) return wrote;
    waiting_.push_back({written, named});
    waiting_bytes_ += bytes.size();
    constexpr std::size_t kFilesMax = 500;
    constexpr std::size_t kBytesMax = 64U << 20;
    return waiting_.size() < kFilesMax && waiting_bytes_ < kBytesMax ? Stored{} : commit();
  }

  Stored commit() {
    if (waiting_.empty()) return {};
    const fs::path directory = waiting_.front().named.parent_path();
    const OwnedFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd.valid() || ::syncfs(fd.get()) != 0) return system_failure("cannot sync", directory);
    for (const Pair& pair : waiting_) {
      if (auto named = give_final_name(pair.written, pair.named, replace_); !named) {
        remove_unnamed();
        return named;
      }
    }
    waiting_.clear();
    waiting_bytes_ = 0;
    return sync_directory(directory);
  }

 private:
  struct Pair {
    fs::path written;
    fs::path named;
  };

  void remove_unnamed() {
    for (const Pair& pair : waiting_) ::unlink(pair.written.c_str());
    waiting_.clear();
  }

  bool replace_;
  std::vector<Pair> waiting_;
  std::size_t waiting_bytes_ = 0;
};

class EmlDirectory : public MailStore {
 public:
  EmlDirectory(fs::path path, bool replace)
      : path_(std::move(path)), replace_(replace), batch_(replace) {}

  Stored add(const Record& record, std::string_view message) override {
    // Names sort in the order of the offsets.
    const std::string name = fmt::format("{:012}.eml", record.offset);
    const fs::path named = path_ / name;
    if (!replace_ && ::access(named.c_str(), F_OK) == 0) return already_there(named);
    return batch_.add(path_ / fmt::format(".{}.partial", name), named, message);
  }
  Stored finish() override { return batch_.commit(); }

 private:
  fs::path path_;
  bool replace_;
  FileBatch batch_;
};

// A message's name says which record of which log it is, so that the same export again adds
// nothing: not when the mail has been read (moved to cur, with flags after a colon) either.
class Maildir : public MailStore {
 public:
  explicit Maildir(fs::path path) : path_(std::move(path)), batch_(false) {
    for (const char* part : {"new", "cur"}) {
      std::error_code ignored;
      for (const auto& entry : fs::directory_iterator(path_ / part, ignored)) {
        const std::string name = entry.path().filename().string();
        there_.insert(name.substr(0, name.find(':')));
      }
    }
  }

  Stored add(const Record& record, std::string_view message) override {
    const std::string name = fmt::format(
        "{}.M{}Q{}.{}", record.received_at_us / 1'000'000, record.received_at_us % 1'000'000,
        record.offset, record.log_id.known() ? record.log_id.hex().substr(0, 8) : "mxring");
    if (!there_.insert(name).second) return {};
    return batch_.add(path_ / "tmp" / name, path_ / "new" / name, with_lf(message));
  }
  Stored finish() override { return batch_.commit(); }

 private:
  fs::path path_;
  std::unordered_set<std::string> there_;
  FileBatch batch_;
};

std::string json_line(const Record& record, std::string_view message) {
  base::JsonWriter json;
  json.begin_object();
  write_members(json, record);
  json.key("message_base64").value(base::encode_base64(message));
  json.end_object();
  return std::move(json).text() + '\n';
}

// Standard output, or what is no file that could be renamed: a pipe, a device.
class Stream : public MailStore {
 public:
  Stream(StoreFormat format, fs::path path, OwnedFd fd)
      : format_(format), path_(std::move(path)), fd_(std::move(fd)) {}

  Stored add(const Record& record, std::string_view message) override {
    const std::string text =
        format_ == StoreFormat::kMbox ? mbox_entry(record, message) : json_line(record, message);
    return write_all(fd_.get(), text, path_);
  }
  Stored finish() override { return {}; }

 private:
  StoreFormat format_;
  fs::path path_;
  OwnedFd fd_;
};

// One file for all messages: an mbox, or JSON lines.
class SingleFile : public MailStore {
 public:
  SingleFile(StoreFormat format, fs::path path, fs::path partial, OwnedFd fd, bool replace)
      : format_(format),
        path_(std::move(path)),
        partial_(std::move(partial)),
        fd_(std::move(fd)),
        replace_(replace) {}
  ~SingleFile() override {
    if (!finished_) ::unlink(partial_.c_str());
  }

  Stored add(const Record& record, std::string_view message) override {
    constexpr std::size_t kGatherBytes = 1U << 20;
    pending_ +=
        format_ == StoreFormat::kMbox ? mbox_entry(record, message) : json_line(record, message);
    return pending_.size() < kGatherBytes ? Stored{} : write_pending();
  }

  Stored finish() override {
    if (auto wrote = write_pending(); !wrote) return wrote;
    if (::fsync(fd_.get()) != 0) return system_failure("cannot sync", partial_);
    if (auto named = give_final_name(partial_, path_, replace_); !named) return named;
    finished_ = true;
    return sync_directory(path_.has_parent_path() ? path_.parent_path() : fs::path("."));
  }

 private:
  Stored write_pending() {
    auto wrote = write_all(fd_.get(), pending_, partial_);
    pending_.clear();
    return wrote;
  }

  StoreFormat format_;
  fs::path path_;
  fs::path partial_;
  OwnedFd fd_;
  bool replace_;
  bool finished_ = false;
  std::string pending_;
};

Stored make_directory(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (!error) return {};
  return std::unexpected(
      fmt::format("cannot create directory {}: {}", base::escaped(path.string()), error.message()));
}

Stored make_maildir(const fs::path& path) {
  std::error_code ignored;
  const bool foreign = fs::exists(path, ignored) && !fs::is_empty(path, ignored) &&
                       !fs::is_directory(path / "new", ignored);
  if (foreign) {
    return std::unexpected(fmt::format("{} exists and is no Maildir; name another --out",
                                       base::escaped(path.string())));
  }
  for (const char* part : {"tmp", "new", "cur"}) {
    if (auto made = make_directory(path / part); !made) return made;
  }
  return {};
}

}  // namespace

namespace {

bool is_no_file(const fs::path& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode);
}

std::expected<std::unique_ptr<MailStore>, std::string> make_stream(StoreFormat format,
                                                                   const fs::path& path) {
  OwnedFd fd(path == "-" ? ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0)
                         : ::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid()) return system_failure("cannot open", path);
  return std::make_unique<Stream>(format, path == "-" ? fs::path("standard output") : path,
                                  std::move(fd));
}

}  // namespace

std::expected<std::unique_ptr<MailStore>, std::string> MailStore::create(const Options& options) {
  const fs::path path = options.path;
  const bool one_file =
      options.format == StoreFormat::kMbox || options.format == StoreFormat::kJsonLines;
  if (one_file && (path == "-" || is_no_file(path))) return make_stream(options.format, path);
  if (path == "-") {
    return std::unexpected(
        "only mbox and jsonl can be written to standard output: name a "
        "directory");
  }
  if (options.format == StoreFormat::kEml) {
    if (auto made = make_directory(path); !made) return std::unexpected(made.error());
    return std::make_unique<EmlDirectory>(path, options.replace);
  }
  if (options.format == StoreFormat::kMaildir) {
    if (auto made = make_maildir(path); !made) return std::unexpected(made.error());
    return std::make_unique<Maildir>(path);
  }
  if (!options.replace && ::access(path.c_str(), F_OK) == 0) return already_there(path);
  fs::path partial = path;
  partial += fmt::format(".{}.partial", ::getpid());
  auto fd = create_file(partial);
  if (!fd) return std::unexpected(fd.error());
  return std::make_unique<SingleFile>(options.format, path, partial, *std::move(fd),
                                      options.replace);
}

}  // namespace mxring::cli
