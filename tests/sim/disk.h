// A disk in memory, under /sim. It keeps apart what was written and what is durable: a power cut
// leaves each sector of 512 bytes that was written and not synced as it was or as it became, each
// size likewise, and of the changes of names that were not synced the first few, or any. Files that
// are mapped are written back whenever the disk likes.
//
// Faults are counted over all calls that change something: a plan says at which of them the power
// goes, or which error comes, once or from then on.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "tests/sim/world.h"

namespace mxring::sim {

constexpr std::size_t kPageBytes = 4096;
constexpr std::size_t kSectorBytes = 512;
using Page = std::shared_ptr<std::string>;  // none: zeros

struct Inode {
  std::uint64_t number = 0;
  bool directory = false;
  unsigned mode = 0644;
  std::int64_t changed_us = 0;
  // A file.
  std::vector<Page> pages;
  std::uint64_t size = 0;
  std::vector<Page> durable_pages;
  std::uint64_t durable_size = 0;
  std::set<std::size_t> dropped;  // pages that a failed sync left clean: none writes them any more
  char* mapped = nullptr;  // one page, shared with who mapped it; takes the place of pages[0]
  // A directory.
  std::map<std::string, std::shared_ptr<Inode>> names;
  std::map<std::string, std::shared_ptr<Inode>> durable_names;
  struct Change {
    std::string name;
    std::shared_ptr<Inode> to;  // none: removed
    std::string also;           // of a rename: the name it had
  };
  std::vector<Change> changes;  // not durable yet, in order
};
using InodePtr = std::shared_ptr<Inode>;

// One open file. Locks belong to it (F_OFD_SETLK).
struct OpenFile {
  InodePtr inode;
  int flags = 0;
  std::uint64_t position = 0;
};

enum class DiskCall : std::uint8_t {
  kOpen,
  kWrite,
  kSync,
  kAllocate,
  kTruncate,
  kRename,
  kUnlink,
  kMakeDirectory,
  kMap,
  kClose,
};

class Disk {
 public:
  explicit Disk(World& world);

  // ---- faults; kMap and kClose never fail
  struct Plan {
    std::uint64_t power_cut_at = ~0ULL;  // the n-th call from now on
    std::uint64_t error_at = ~0ULL;
    int error = 0;
    bool error_stays = false;  // every call of that kind from then on
    Ns sync_ns = 0;            // what a sync takes, at most
    std::uint64_t slow_sync_permille = 0;
    // A disk that lies: a sync that says so and does nothing, or puts a page in another's place.
    std::uint64_t forgets_permille = 0;
    std::uint64_t misplaces_permille = 0;
  };
  Plan plan;
  std::uint64_t calls = 0;
  std::function<void()> on_power_cut;  // does not return to the caller
  std::uint64_t capacity = 256ULL << 20;

  // ---- calls; negative: an errno
  int open(const std::string& path, int flags, unsigned mode, std::shared_ptr<OpenFile>* out);
  std::int64_t write(OpenFile& file, std::uint64_t at, std::string_view bytes);
  std::int64_t read(OpenFile& file, std::uint64_t at, char* to, std::size_t size);
  int sync(OpenFile& file);
  int allocate(OpenFile& file, std::uint64_t at, std::uint64_t bytes);
  int truncate(OpenFile& file, std::uint64_t bytes);
  int rename(const std::string& from, const std::string& to, bool replace);
  int unlink(const std::string& path);
  int make_directory(const std::string& path, unsigned mode);
  InodePtr find(const std::string& path) const;
  void* map(OpenFile& file);
  bool lock(OpenFile& file, bool exclusive);
  bool is_locked(const OpenFile& by, const Inode& inode) const;
  void close(OpenFile& file);

  std::uint64_t used() const;
  // A file that is there, and durable, without a call of the program.
  void put(const std::string& path, std::string_view content);
  // What is there after the power came back.
  void lose_power();
  // Nothing is lost: the page cache outlives a process.
  void forget_processes() { locks_.clear(); }
  std::string content(const Inode& inode) const;
  // What the page cache has no longer is read from the disk.
  void drop_cache(Inode& inode);
  // A copy of all files as they are, and the copy put in their place.
  InodePtr copy() const;
  void put_back(const InodePtr& older);

  static std::string normal(std::string_view path);
  static bool is_ours(std::string_view path);

 private:
  // Counts a call and says which error it ends with; 0: none.
  int before(DiskCall call, const std::string& what);
  Inode* parent_of(const std::string& path, std::string* name) const;
  Page& page_for_writing(Inode& inode, std::size_t index);
  void make_durable(Inode& inode);
  void lie(Inode& inode);
  void settle_file(Inode& inode, Dice& dice);
  void settle_directory(Inode& inode, Dice& dice);

  World& world_;
  InodePtr root_;
  std::uint64_t next_inode_ = 2;
  DiskCall failing_kind_ = DiskCall::kOpen;
  bool failing_ = false;
  std::map<const Inode*, std::vector<const OpenFile*>> locks_;
};

}  // namespace mxring::sim
