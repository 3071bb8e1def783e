// A library to be preloaded: fdatasync waits, or fails, as the first eight bytes of the file named
// by MXRING_DISK_TROUBLE say at that moment: milliseconds, then an errno. The file is mapped before
// the program confines itself.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <ctime>

namespace {

struct Trouble {
  volatile std::int32_t wait_ms;
  volatile std::int32_t error;
};

const Trouble* map_trouble() {
  const char* path = std::getenv("MXRING_DISK_TROUBLE");
  const int fd = path == nullptr ? -1 : ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return nullptr;
  void* mapped = ::mmap(nullptr, sizeof(Trouble), PROT_READ, MAP_SHARED, fd, 0);
  ::close(fd);
  return mapped == MAP_FAILED ? nullptr : static_cast<const Trouble*>(mapped);
}

using Sync = int (*)(int);
const Trouble* const trouble = map_trouble();
const Sync real_sync = reinterpret_cast<Sync>(::dlsym(RTLD_NEXT, "fdatasync"));

}  // namespace

extern "C" int fdatasync(int fd) {
  if (trouble == nullptr) return real_sync(fd);
  if (const std::int32_t wait_ms = trouble->wait_ms; wait_ms > 0) {
    const timespec wait{wait_ms / 1000, wait_ms % 1000 * 1'000'000L};
    ::nanosleep(&wait, nullptr);
  }
  if (const std::int32_t error = trouble->error; error != 0) {
    errno = error;
    return -1;
  }
  return real_sync(fd);
}
