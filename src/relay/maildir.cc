// The sink that is a Maildir: each record a file in `new`, under a name that says which record of
// which log it is. A batch is written into `tmp`, made durable at once, renamed, and the folder
// synced; only then is it done. What is in `new` or `cur` already, from before a crash, is not
// written again.
//
// Thread: the relay's; it blocks while the disk works.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <unordered_set>

#include "base/owned_fd.h"
#include "base/text.h"
#include "relay/fault_seam.h"
#include "relay/files.h"
#include "relay/sink.h"
#include "seglog/log_directory.h"

namespace mxring::relay {

namespace {

constexpr std::uint32_t kBatchMax = 256;
constexpr std::uint64_t kBatchBytes = 16ULL << 20;

std::string name_of(const Record& record) {
  return fmt::format("{}.M{}Q{}.{}", record.received_at_us / 1'000'000,
                     record.received_at_us % 1'000'000, record.offset,
                     record.log_id.known() ? record.log_id.hex().substr(0, 8) : "mxring");
}

// Mail in a Maildir has the line ends of its host. Bare CRs stay.
void append_with_lf(std::string& out, std::string_view text) {
  while (!text.empty()) {
    const std::size_t at = text.find("\r\n");
    out.append(text.substr(0, at));
    if (at == std::string_view::npos) return;
    out += '\n';
    text.remove_prefix(at + 2);
  }
}

class Maildir : public Sink {
 public:
  std::expected<void, std::string> open(const std::string& path);

  void shape(EngineOptions& options) const override {
    options.order = Order::kChain;
    options.under_way_max = kBatchMax;
    options.under_way_bytes = kBatchBytes;
    options.window_records = kBatchMax;
    options.window_bytes = kBatchBytes;
  }
  void begin(Ticket ticket, Item& item, base::Now now) override {
    batch_.push_back({ticket, &item, now.mono, name_of(item.record()), false});
  }
  void flush(base::Now now) override;

 private:
  struct Entry {
    Ticket ticket;
    const Item* item;
    base::MonoTime begun;
    std::string name;
    bool known;  // it is there already
  };
  std::expected<void, int> write(Entry& entry, bool sync);
  std::expected<void, int> store();
  std::expected<void, std::string> make(const std::filesystem::path& path);

  base::OwnedFd root_, tmp_, new_, cur_;
  std::unordered_set<std::string> there_;
  std::vector<Entry> batch_;
  std::string text_;
  bool doubtful_ = false;  // something failed after a rename
};

std::expected<void, std::string> Maildir::make(const std::filesystem::path& path) {
  std::error_code error;
  for (const char* part : {"", "tmp", "new", "cur"}) {
    const std::filesystem::path folder = *part == '\0' ? path : path / part;
    if (*part == '\0') {
      std::filesystem::create_directories(folder, error);
      if (!error) continue;
    } else if (::mkdir(folder.c_str(), 0700) == 0 || errno == EEXIST) {
      continue;
    } else {
      error = std::error_code(errno, std::system_category());
    }
    return std::unexpected(fmt::format("{}: {}", base::escaped(folder.string()), error.message()));
  }
  return {};
}

std::expected<void, std::string> Maildir::open(const std::string& path) {
  if (auto made = make(path); !made) return made;
  const auto folder = [](int at, const std::string& name) {
    return base::OwnedFd(::openat(at, name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  };
  root_ = folder(AT_FDCWD, path);
  tmp_ = folder(root_.get(), "tmp");
  new_ = folder(root_.get(), "new");
  cur_ = folder(root_.get(), "cur");
  if (!tmp_.valid() || !new_.valid() || !cur_.valid() || seam::fsync(root_.get()) != 0) {
    return std::unexpected(
        fmt::format("{}: {}", base::escaped(path), std::system_category().message(errno)));
  }
  for (const int fd : {new_.get(), cur_.get()}) {
    const auto names = seglog::list_names(fd);
    if (!names) {
      return std::unexpected(fmt::format("{}: {}", base::escaped(path),
                                         std::system_category().message(names.error())));
    }
    // Flags that a reader added stand after a colon.
    for (const std::string& name : *names) there_.insert(name.substr(0, name.find(':')));
  }
  return {};
}

std::expected<void, int> Maildir::write(Entry& entry, bool sync) {
  const Record& record = entry.item->record();
  text_.clear();
  append_with_lf(text_, record.trace);
  std::uint64_t from = 0;
  for (const ByteRange& range : record.leave_out) {
    append_with_lf(text_, record.message.substr(from, range.begin - from));
    from = range.end;
  }
  append_with_lf(text_, record.message.substr(from));
  const base::OwnedFd fd(::openat(tmp_.get(), entry.name.c_str(),
                                  O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) return std::unexpected(errno);
  if (auto wrote = write_all(fd.get(), text_); !wrote) return wrote;
  if (sync && seam::fsync(fd.get()) != 0) return std::unexpected(errno);
  return {};
}

std::expected<void, int> Maildir::store() {
  // A sync of the file system costs as much as that of a few files, however many there are.
  constexpr std::size_t kFewFiles = 4;
  const bool each = batch_.size() <= kFewFiles;
  bool any = false;
  for (Entry& entry : batch_) {
    entry.known = there_.contains(entry.name);
    if (entry.known) continue;
    any = true;
    if (auto wrote = write(entry, each); !wrote) return wrote;
  }
  if (any && !each && seam::syncfs(tmp_.get()) != 0) return std::unexpected(errno);
  for (Entry& entry : batch_) {
    if (entry.known) continue;
    if (seam::rename(tmp_.get(), entry.name.c_str(), new_.get(), entry.name.c_str()) != 0) {
      return std::unexpected(errno);
    }
    there_.insert(entry.name);
    doubtful_ = true;
  }
  // Also after a failure between a rename and its sync: what is there must be durable.
  if ((any || doubtful_) && seam::fsync(new_.get()) != 0) return std::unexpected(errno);
  doubtful_ = false;
  return {};
}

void Maildir::flush(base::Now) {
  if (batch_.empty()) return;
  const auto stored = store();
  if (stored) {
    for (const Entry& entry : batch_) {
      Outcome outcome;
      outcome.ticket = entry.ticket;
      outcome.begun = entry.begun;
      tell(std::move(outcome));
      there_.erase(entry.name);  // only a restart can meet it again
    }
  } else {
    Outcome outcome;
    outcome.ticket = batch_.front().ticket;  // the others are recalled with it
    outcome.kind = Outcome::Kind::kLater;
    outcome.reply = std::system_category().message(stored.error());
    tell(std::move(outcome));
  }
  batch_.clear();
}

}  // namespace

MadeSink make_maildir(const Config& config, const SinkPlace&) {
  auto sink = std::make_unique<Maildir>();
  if (auto opened = sink->open(config.maildir.path); !opened) {
    return std::unexpected(opened.error());
  }
  return sink;
}

}  // namespace mxring::relay
