#include "server/landlock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/assert.h"

namespace mxring::server {

namespace {

// From the kernel's documentation of its interface, as Debian 12's headers are older than some.
constexpr std::uint64_t kExecute = 1ULL << 0;
constexpr std::uint64_t kWriteFile = 1ULL << 1;
constexpr std::uint64_t kReadFile = 1ULL << 2;
constexpr std::uint64_t kReadDir = 1ULL << 3;
constexpr std::uint64_t kRemoveDir = 1ULL << 4;
constexpr std::uint64_t kRemoveFile = 1ULL << 5;
constexpr std::uint64_t kMakeDir = 1ULL << 7;
constexpr std::uint64_t kMakeRegular = 1ULL << 8;
constexpr std::uint64_t kMakeSocket = 1ULL << 9;
constexpr std::uint64_t kMakeFifo = 1ULL << 10;
constexpr std::uint64_t kAllOfAbi1 = (1ULL << 13) - 1;
constexpr std::uint64_t kRefer = 1ULL << 13;
constexpr std::uint64_t kTruncate = 1ULL << 14;
constexpr std::uint64_t kIoctlDevice = 1ULL << 15;
constexpr std::uint64_t kBindTcp = 1ULL << 0;
constexpr std::uint64_t kConnectTcp = 1ULL << 1;
constexpr std::uint64_t kScopeSignal = 1ULL << 1;
constexpr std::uint64_t kOfAFile = kExecute | kWriteFile | kReadFile | kTruncate | kIoctlDevice;

constexpr int kRulePathBeneath = 1;
constexpr int kRuleNetPort = 2;
constexpr std::uint32_t kAskVersion = 1;

struct RulesetAttribute {
  std::uint64_t handled_files = 0;
  std::uint64_t handled_net = 0;  // ABI 4
  std::uint64_t scoped = 0;       // ABI 6
};
struct [[gnu::packed]] PathAttribute {
  std::uint64_t allowed = 0;
  std::int32_t parent_fd = -1;
};
struct PortAttribute {
  std::uint64_t allowed = 0;
  std::uint64_t port = 0;
};
static_assert(sizeof(PathAttribute) == 12, "as the kernel lays it out");

std::size_t attribute_bytes(int abi) {
  if (abi >= 6) return sizeof(RulesetAttribute);
  return abi >= 4 ? offsetof(RulesetAttribute, scoped) : offsetof(RulesetAttribute, handled_net);
}

std::uint64_t handled_files(int abi) {
  std::uint64_t all = kAllOfAbi1;
  if (abi >= 2) all |= kRefer;
  if (abi >= 3) all |= kTruncate;
  if (abi >= 5) all |= kIoctlDevice;
  return all;
}

std::uint64_t allowed(PathUse use) {
  switch (use) {
    case PathUse::kRead:
      return kReadFile | kReadDir;
    case PathUse::kRemove:
      return kRemoveFile;
    case PathUse::kWrite:
      return kWriteFile | kMakeRegular;
    case PathUse::kSocket:
      return kRemoveFile | kMakeSocket;
    case PathUse::kChange:
      return kReadFile | kReadDir | kWriteFile | kRemoveDir | kRemoveFile | kMakeDir |
             kMakeRegular | kMakeSocket | kMakeFifo | kRefer | kTruncate;
  }
  return 0;
}

std::unexpected<std::string> failed(std::string_view what) {
  return std::unexpected(fmt::format("Landlock: {}: {}", what, std::strerror(errno)));
}

// A descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

std::expected<void, std::string> add(int ruleset, const PathRule& rule, std::uint64_t handled) {
  const Descriptor path(::open(rule.path.c_str(), O_PATH | O_CLOEXEC));
  if (path.get() < 0) {
    // Where we cannot even look, there is nothing that we could open later.
    if (errno == ENOENT || errno == ENOTDIR || errno == EACCES) return {};
    return failed(rule.path);
  }
  struct stat of {};
  if (::fstat(path.get(), &of) != 0) return failed(rule.path);
  PathAttribute attribute;
  attribute.parent_fd = path.get();
  attribute.allowed = allowed(rule.use) & handled;
  if (!S_ISDIR(of.st_mode)) attribute.allowed &= kOfAFile;
  if (attribute.allowed == 0) return {};
  if (::syscall(SYS_landlock_add_rule, ruleset, kRulePathBeneath, &attribute, 0U) != 0) {
    return failed(rule.path);
  }
  return {};
}

}  // namespace

int landlock_abi() {
  const long abi = ::syscall(SYS_landlock_create_ruleset, nullptr, std::size_t{0}, kAskVersion);
  return abi < 0 ? 0 : static_cast<int>(abi);
}

std::expected<void, std::string> confine_paths(std::span<const PathRule> rules,
                                               std::span<const std::uint16_t> tcp_ports) {
  const int abi = landlock_abi();
  MXRING_ASSERT(abi > 0);
  RulesetAttribute attribute;
  attribute.handled_files = handled_files(abi);
  if (abi >= 4) attribute.handled_net = kBindTcp | kConnectTcp;
  if (abi >= 6) attribute.scoped = kScopeSignal;
  const Descriptor ruleset(static_cast<int>(
      ::syscall(SYS_landlock_create_ruleset, &attribute, attribute_bytes(abi), 0U)));
  if (ruleset.get() < 0) return failed("a set of rules");
  for (const PathRule& rule : rules) {
    if (auto added = add(ruleset.get(), rule, attribute.handled_files); !added) return added;
  }
  for (const std::uint16_t port : tcp_ports) {
    const PortAttribute to{kConnectTcp, port};
    if (abi >= 4 && ::syscall(SYS_landlock_add_rule, ruleset.get(), kRuleNetPort, &to, 0U) != 0) {
      return failed(fmt::format("port {}", port));
    }
  }
  if (::syscall(SYS_landlock_restrict_self, ruleset.get(), 0U) != 0) return failed("restricting");
  return {};
}

}  // namespace mxring::server
