#include "tests/sim/disk.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <set>

namespace mxring::sim {

namespace {

const char* name_of(DiskCall call) {
  switch (call) {
    case DiskCall::kOpen:
      return "open";
    case DiskCall::kWrite:
      return "write";
    case DiskCall::kSync:
      return "sync";
    case DiskCall::kAllocate:
      return "allocate";
    case DiskCall::kTruncate:
      return "truncate";
    case DiskCall::kRename:
      return "rename";
    case DiskCall::kUnlink:
      return "unlink";
    case DiskCall::kMakeDirectory:
      return "mkdir";
    case DiskCall::kMap:
      return "map";
    case DiskCall::kClose:
      return "close";
  }
  return "?";
}

std::size_t pages_in(std::uint64_t bytes) {
  return static_cast<std::size_t>((bytes + kPageBytes - 1) / kPageBytes);
}

bool all_zero(std::string_view bytes) {
  return std::ranges::all_of(bytes, [](char c) { return c == 0; });
}

const Page& page_of(const std::vector<Page>& pages, std::size_t index) {
  static const Page none;
  return index < pages.size() ? pages[index] : none;
}

}  // namespace

Disk::Disk(World& world) : world_(world), root_(std::make_shared<Inode>()) {
  root_->number = 1;
  root_->directory = true;
  root_->mode = 0755;
}

bool Disk::is_ours(std::string_view path) {
  return path == "/sim" || path.starts_with("/sim/");
}

std::string Disk::normal(std::string_view path) {
  std::vector<std::string_view> parts;
  while (!path.empty()) {
    const std::size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (!parts.empty()) parts.pop_back();
    } else {
      parts.push_back(part);
    }
  }
  std::string out;
  for (const std::string_view part : parts) out.append("/").append(part);
  return out.empty() ? "/" : out;
}

InodePtr Disk::find(const std::string& path) const {
  InodePtr at = root_;
  std::string_view rest = path;
  if (rest == "/sim" || rest == "/sim/") return root_;
  rest.remove_prefix(5);  // "/sim/"
  while (!rest.empty()) {
    const std::size_t slash = rest.find('/');
    const std::string part(rest.substr(0, slash));
    rest.remove_prefix(slash == std::string_view::npos ? rest.size() : slash + 1);
    if (!at->directory) return nullptr;
    const auto found = at->names.find(part);
    if (found == at->names.end()) return nullptr;
    at = found->second;
  }
  return at;
}

Inode* Disk::parent_of(const std::string& path, std::string* name) const {
  const std::size_t slash = path.rfind('/');
  *name = path.substr(slash + 1);
  const InodePtr parent = find(path.substr(0, slash));
  return parent != nullptr && parent->directory ? parent.get() : nullptr;
}

int Disk::before(DiskCall call, const std::string& what) {
  const std::uint64_t number = calls++;
  if (number == plan.power_cut_at && on_power_cut) {
    world_.trace(fmt::format("disk: the power goes at {} {}", name_of(call), what));
    on_power_cut();
  }
  int error = 0;
  if (call != DiskCall::kMap && call != DiskCall::kClose) {
    if (number >= plan.error_at && plan.error != 0 && !failing_) {
      failing_ = true;
      failing_kind_ = call;
      error = plan.error;
      if (!plan.error_stays) plan.error = 0, failing_ = false, plan.error_at = ~0ULL;
    } else if (failing_ && call == failing_kind_) {
      error = plan.error;
      if (error == 0) failing_ = false;
    }
  }
  world_.trace(fmt::format("disk: {} {}{}", name_of(call), what,
                           error == 0 ? std::string() : fmt::format(" -> errno {}", error)));
  return error;
}

std::uint64_t Disk::used() const {
  std::uint64_t bytes = 0;
  const std::function<void(const Inode&)> count = [&](const Inode& inode) {
    bytes += inode.size;
    for (const auto& [name, child] : inode.names) count(*child);
  };
  count(*root_);
  return bytes;
}

int Disk::open(const std::string& path, int flags, unsigned mode, std::shared_ptr<OpenFile>* out) {
  InodePtr inode = find(path);
  const bool makes = inode == nullptr && (flags & O_CREAT) != 0;
  if (makes || (flags & O_TRUNC) != 0) {
    if (const int error = before(DiskCall::kOpen, path); error != 0) return -error;
  }
  if (inode == nullptr) {
    if (!makes) return -ENOENT;
    std::string name;
    Inode* parent = parent_of(path, &name);
    if (parent == nullptr) return -ENOENT;
    inode = std::make_shared<Inode>();
    inode->number = next_inode_++;
    inode->mode = mode;
    inode->changed_us = world_.wall_us();
    parent->names[name] = inode;
    parent->changes.push_back({name, inode, {}});
  } else if ((flags & O_CREAT) != 0 && (flags & O_EXCL) != 0) {
    return -EEXIST;
  } else if ((flags & O_DIRECTORY) != 0 && !inode->directory) {
    return -ENOTDIR;
  } else if (inode->directory && (flags & O_ACCMODE) != O_RDONLY) {
    return -EISDIR;
  }
  if ((flags & O_TRUNC) != 0 && !inode->directory) {
    inode->pages.clear();
    inode->size = 0;
  }
  *out = std::make_shared<OpenFile>(OpenFile{inode, flags, 0});
  return 0;
}

void Disk::put(const std::string& path, std::string_view content) {
  std::string name;
  Inode* parent = parent_of(path, &name);
  if (parent == nullptr) {
    const std::string folder = path.substr(0, path.rfind('/'));
    Inode* above = parent_of(folder, &name);
    auto made = std::make_shared<Inode>();
    made->number = next_inode_++;
    made->directory = true;
    made->mode = 0755;
    above->names[name] = above->durable_names[name] = made;
    parent = parent_of(path, &name);
  }
  auto inode = std::make_shared<Inode>();
  inode->number = next_inode_++;
  inode->changed_us = world_.wall_us();
  inode->size = content.size();
  for (std::size_t at = 0; at < content.size(); at += kPageBytes) {
    auto page = std::make_shared<std::string>(content.substr(at, kPageBytes));
    page->resize(kPageBytes, '\0');
    inode->pages.push_back(std::move(page));
  }
  make_durable(*inode);
  parent->names[name] = parent->durable_names[name] = inode;
}

Page& Disk::page_for_writing(Inode& inode, std::size_t index) {
  inode.dropped.erase(index);
  if (inode.pages.size() <= index) inode.pages.resize(index + 1);
  Page& page = inode.pages[index];
  if (page == nullptr) {
    page = std::make_shared<std::string>(kPageBytes, '\0');
  } else if (page.use_count() > 1) {
    page = std::make_shared<std::string>(*page);
  }
  return page;
}

std::int64_t Disk::write(OpenFile& file, std::uint64_t at, std::string_view bytes) {
  const std::string what = fmt::format("inode {} {} at {}", file.inode->number, bytes.size(), at);
  if (const int error = before(DiskCall::kWrite, what); error != 0) return -error;
  Inode& inode = *file.inode;
  if (at + bytes.size() > inode.size && used() + (at + bytes.size() - inode.size) > capacity) {
    return -ENOSPC;
  }
  const auto written = static_cast<std::int64_t>(bytes.size());
  inode.changed_us = world_.wall_us();
  while (!bytes.empty()) {
    const auto index = static_cast<std::size_t>(at / kPageBytes);
    const auto begin = static_cast<std::size_t>(at % kPageBytes);
    const std::string_view piece = bytes.substr(0, kPageBytes - begin);
    if (index == 0 && inode.mapped != nullptr) {
      std::memcpy(inode.mapped + begin, piece.data(), piece.size());
    } else if (piece.size() == kPageBytes && all_zero(piece)) {
      if (inode.pages.size() <= index) inode.pages.resize(index + 1);
      inode.pages[index] = nullptr;
      inode.dropped.erase(index);
    } else {
      page_for_writing(inode, index)->replace(begin, piece.size(), piece);
    }
    at += piece.size();
    bytes.remove_prefix(piece.size());
  }
  inode.size = std::max(inode.size, at);
  return written;
}

std::int64_t Disk::read(OpenFile& file, std::uint64_t at, char* to, std::size_t size) {
  const Inode& inode = *file.inode;
  if (inode.directory) return -EISDIR;
  if (at >= inode.size) return 0;
  size = static_cast<std::size_t>(std::min<std::uint64_t>(size, inode.size - at));
  for (std::size_t done = 0; done < size;) {
    const auto index = static_cast<std::size_t>((at + done) / kPageBytes);
    const auto begin = static_cast<std::size_t>((at + done) % kPageBytes);
    const std::size_t piece = std::min(size - done, kPageBytes - begin);
    const Page& page = page_of(inode.pages, index);
    if (index == 0 && inode.mapped != nullptr) {
      std::memcpy(to + done, inode.mapped + begin, piece);
    } else if (page == nullptr) {
      std::memset(to + done, 0, piece);
    } else {
      std::memcpy(to + done, page->data() + begin, piece);
    }
    done += piece;
  }
  return static_cast<std::int64_t>(size);
}

void Disk::make_durable(Inode& inode) {
  if (inode.directory) {
    inode.durable_names = inode.names;
    inode.changes.clear();
    return;
  }
  std::vector<Page> before;
  if (!inode.dropped.empty()) before = inode.durable_pages;
  inode.durable_pages = inode.pages;
  for (const std::size_t index : inode.dropped) {
    if (index < inode.durable_pages.size()) inode.durable_pages[index] = page_of(before, index);
  }
  if (inode.mapped != nullptr) {
    if (inode.durable_pages.empty()) inode.durable_pages.resize(1);
    inode.durable_pages[0] = std::make_shared<std::string>(inode.mapped, kPageBytes);
  }
  inode.durable_size = inode.size;
}

int Disk::sync(OpenFile& file) {
  const InodePtr inode = file.inode;
  const std::string what = fmt::format("inode {}", inode->number);
  if (World::in_fiber() && plan.sync_ns > 0) {
    const bool slow = world_.dice().permille(plan.slow_sync_permille);
    const Ns takes = world_.dice().between(20 * kUs, slow ? 20 * kSecond : plan.sync_ns);
    world_.wait_on(nullptr, world_.now() + takes);
  }
  if (const int error = before(DiskCall::kSync, what); error != 0) {
    // As Linux has it with most file systems: the next sync says that all is well.
    if (!inode->directory && world_.dice().permille(600)) {
      for (std::size_t i = 0; i < inode->pages.size(); ++i) {
        if (inode->pages[i] != page_of(inode->durable_pages, i)) inode->dropped.insert(i);
      }
    }
    return -error;
  }
  if (World::in_fiber() && world_.dice().permille(plan.forgets_permille)) {
    world_.trace("disk: forgets " + what);
    return 0;
  }
  make_durable(*inode);
  if (World::in_fiber() && !inode->directory && world_.dice().permille(plan.misplaces_permille)) {
    lie(*inode);
  }
  return 0;
}

void Disk::lie(Inode& inode) {
  std::vector<std::size_t> full;
  for (std::size_t i = 0; i < inode.durable_pages.size(); ++i) {
    if (inode.durable_pages[i] != nullptr) full.push_back(i);
  }
  if (full.size() < 2) return;
  const std::size_t from = full[world_.dice().below(full.size())];
  const std::size_t to = full[world_.dice().below(full.size())];
  world_.trace(fmt::format("disk: page {} of inode {} goes to the place of page {}", from,
                           inode.number, to));
  inode.durable_pages[to] = inode.durable_pages[from];
  if (world_.dice().permille(500)) inode.durable_pages[from] = nullptr;
}

void Disk::drop_cache(Inode& inode) {
  for (const std::size_t index : inode.dropped) {
    if (index < inode.pages.size()) inode.pages[index] = page_of(inode.durable_pages, index);
  }
  inode.dropped.clear();
}

InodePtr Disk::copy() const {
  const std::function<InodePtr(const Inode&)> twin = [&](const Inode& inode) {
    auto made = std::make_shared<Inode>(inode);
    made->mapped = nullptr;
    made->changes.clear();
    made->dropped.clear();
    if (inode.mapped != nullptr) {
      if (made->pages.empty()) made->pages.resize(1);
      made->pages[0] = std::make_shared<std::string>(inode.mapped, kPageBytes);
    }
    made->durable_pages = made->pages;
    made->durable_size = made->size;
    for (auto& [name, child] : made->names) child = twin(*child);
    made->durable_names = made->names;
    return made;
  };
  return twin(*root_);
}

// Other files, as those of a backup are.
void Disk::put_back(const InodePtr& older) {
  const std::function<void(Inode&)> number = [&](Inode& inode) {
    inode.number = next_inode_++;
    for (auto& [name, child] : inode.names) number(*child);
  };
  root_ = older;
  number(*root_);
  root_->number = 1;
  locks_.clear();
}

int Disk::allocate(OpenFile& file, std::uint64_t at, std::uint64_t bytes) {
  const std::string what = fmt::format("inode {} to {}", file.inode->number, at + bytes);
  if (const int error = before(DiskCall::kAllocate, what); error != 0) return -error;
  Inode& inode = *file.inode;
  if (at + bytes > inode.size && used() + (at + bytes - inode.size) > capacity) return -ENOSPC;
  inode.size = std::max(inode.size, at + bytes);
  return 0;
}

int Disk::truncate(OpenFile& file, std::uint64_t bytes) {
  const std::string what = fmt::format("inode {} to {}", file.inode->number, bytes);
  if (const int error = before(DiskCall::kTruncate, what); error != 0) return -error;
  Inode& inode = *file.inode;
  if (bytes < inode.size) {
    inode.pages.resize(std::min(inode.pages.size(), pages_in(bytes)));
    const auto begin = static_cast<std::size_t>(bytes % kPageBytes);
    const auto index = static_cast<std::size_t>(bytes / kPageBytes);
    if (begin != 0 && page_of(inode.pages, index) != nullptr) {
      page_for_writing(inode, index)->replace(begin, kPageBytes - begin, kPageBytes - begin, '\0');
    }
  }
  inode.size = bytes;
  inode.changed_us = world_.wall_us();
  return 0;
}

int Disk::rename(const std::string& from, const std::string& to, bool replace) {
  if (const int error = before(DiskCall::kRename, from + " " + to); error != 0) return -error;
  const InodePtr inode = find(from);
  std::string old_name;
  std::string new_name;
  Inode* source = parent_of(from, &old_name);
  Inode* target = parent_of(to, &new_name);
  if (inode == nullptr || source == nullptr || target == nullptr) return -ENOENT;
  if (!replace && target->names.contains(new_name)) return -EEXIST;
  source->names.erase(old_name);
  target->names[new_name] = inode;
  if (source == target) {
    source->changes.push_back({new_name, inode, old_name});
  } else {
    source->changes.push_back({old_name, nullptr, {}});
    target->changes.push_back({new_name, inode, {}});
  }
  return 0;
}

int Disk::unlink(const std::string& path) {
  if (find(path) == nullptr) return -ENOENT;
  if (const int error = before(DiskCall::kUnlink, path); error != 0) return -error;
  std::string name;
  Inode* parent = parent_of(path, &name);
  parent->names.erase(name);
  parent->changes.push_back({name, nullptr, {}});
  return 0;
}

int Disk::make_directory(const std::string& path, unsigned mode) {
  if (find(path) != nullptr) return -EEXIST;
  if (const int error = before(DiskCall::kMakeDirectory, path); error != 0) return -error;
  std::string name;
  Inode* parent = parent_of(path, &name);
  if (parent == nullptr) return -ENOENT;
  auto inode = std::make_shared<Inode>();
  inode->number = next_inode_++;
  inode->directory = true;
  inode->mode = mode;
  parent->names[name] = inode;
  parent->changes.push_back({name, inode, {}});
  return 0;
}

void* Disk::map(OpenFile& file) {
  before(DiskCall::kMap, fmt::format("inode {}", file.inode->number));
  Inode& inode = *file.inode;
  if (inode.mapped != nullptr) return inode.mapped;
  auto* memory = static_cast<char*>(::aligned_alloc(kPageBytes, kPageBytes));
  std::memset(memory, 0, kPageBytes);
  if (page_of(inode.pages, 0) != nullptr) std::memcpy(memory, inode.pages[0]->data(), kPageBytes);
  inode.mapped = memory;
  return memory;
}

bool Disk::lock(OpenFile& file, bool exclusive) {
  auto& holders = locks_[file.inode.get()];
  std::erase(holders, &file);
  if (!exclusive) return true;
  if (!holders.empty()) return false;
  holders.push_back(&file);
  return true;
}

bool Disk::is_locked(const OpenFile& by, const Inode& inode) const {
  const auto found = locks_.find(&inode);
  if (found == locks_.end()) return false;
  return std::ranges::any_of(found->second, [&](const OpenFile* each) { return each != &by; });
}

void Disk::close(OpenFile& file) {
  const auto found = locks_.find(file.inode.get());
  if (found != locks_.end()) std::erase(found->second, &file);
}

// Each sector that was not synced is what it was, or what it became.
void Disk::settle_file(Inode& inode, Dice& dice) {
  if (inode.mapped != nullptr) {
    if (inode.pages.empty()) inode.pages.resize(1);
    inode.pages[0] = std::make_shared<std::string>(inode.mapped, kPageBytes);
    inode.mapped = nullptr;  // the process that had it is no more
  }
  for (const std::size_t index : inode.dropped) {
    if (index < inode.pages.size()) inode.pages[index] = page_of(inode.durable_pages, index);
  }
  inode.dropped.clear();
  const std::uint64_t fate = dice.below(4);  // nothing, everything, the first part, any
  const std::size_t count = std::max(inode.pages.size(), inode.durable_pages.size());
  const std::uint64_t prefix = dice.below(count * kPageBytes / kSectorBytes + 1);
  std::vector<Page> pages(count);
  for (std::size_t i = 0; i < count; ++i) {
    const Page& old_page = page_of(inode.durable_pages, i);
    const Page& new_page = page_of(inode.pages, i);
    pages[i] = old_page;
    if (old_page == new_page) continue;
    std::string mixed = old_page ? *old_page : std::string(kPageBytes, '\0');
    const std::string fresh = new_page ? *new_page : std::string(kPageBytes, '\0');
    for (std::size_t at = 0; at < kPageBytes; at += kSectorBytes) {
      const std::uint64_t sector = (i * kPageBytes + at) / kSectorBytes;
      const bool written =
          fate == 1 || (fate == 2 && sector < prefix) || (fate == 3 && dice.permille(500));
      if (written) mixed.replace(at, kSectorBytes, fresh, at, kSectorBytes);
    }
    pages[i] = std::make_shared<std::string>(std::move(mixed));
  }
  const bool new_size = fate == 1 || (fate != 0 && dice.permille(500));
  inode.size = new_size ? inode.size : inode.durable_size;
  pages.resize(std::min(pages.size(), pages_in(inode.size)));
  inode.pages = pages;
  make_durable(inode);
}

// A file system with a journal keeps the order of names; one without keeps none of it.
void Disk::settle_directory(Inode& inode, Dice& dice) {
  const std::uint64_t fate = dice.below(3);  // nothing, a first part, any
  const std::size_t kept = fate == 0 ? 0 : dice.below(inode.changes.size() + 1);
  std::map<std::string, InodePtr> names = inode.durable_names;
  for (std::size_t i = 0; i < inode.changes.size(); ++i) {
    const Inode::Change& change = inode.changes[i];
    const bool happens = fate == 1 ? i < kept : fate == 2 && dice.permille(500);
    if (!happens) continue;
    if (change.to == nullptr) {
      names.erase(change.name);
      continue;
    }
    if (!change.also.empty()) {
      const auto old_name = names.find(change.also);
      if (old_name != names.end() && old_name->second == change.to) names.erase(old_name);
    }
    names[change.name] = change.to;
  }
  inode.names = std::move(names);
  make_durable(inode);
}

void Disk::lose_power() {
  Dice dice = world_.dice().fork();
  std::set<Inode*> settled;
  const std::function<void(Inode&)> settle = [&](Inode& inode) {
    if (!settled.insert(&inode).second) return;
    if (!inode.directory) {
      settle_file(inode, dice);
      return;
    }
    settle_directory(inode, dice);
    for (const auto& [name, child] : inode.names) settle(*child);
  };
  settle(*root_);
  locks_.clear();
}

std::string Disk::content(const Inode& inode) const {
  std::string out(static_cast<std::size_t>(inode.size), '\0');
  OpenFile file{std::make_shared<Inode>(inode), 0, 0};
  const_cast<Disk*>(this)->read(file, 0, out.data(), out.size());
  return out;
}

}  // namespace mxring::sim
