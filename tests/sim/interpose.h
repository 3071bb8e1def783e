// The system calls of the program under test, of c-ares and of wolfSSL end here instead of in the
// kernel: the simulator defines the C library's functions, and the linker prefers those of the
// program. Outside a life, and for descriptors and paths that are not simulated, the call goes on
// to the real one.
#pragma once

#include <dlfcn.h>

#include <cerrno>
#include <cstdint>

#include "tests/sim/net.h"
#include "tests/sim/world.h"

// The real function of the same name.
#define MXRING_SIM_REAL(name)                                                                \
  ([]() {                                                                                    \
    static const auto real = reinterpret_cast<decltype(&::name)>(::dlsym(RTLD_NEXT, #name)); \
    return real;                                                                             \
  }())

namespace mxring::sim {

inline Descriptor* simulated(int fd) {
  if (fd < kFirstDescriptor || World::current() == nullptr) return nullptr;
  return World::current()->net().find(fd);
}

// Negative results are errno values, as the kernel has it.
template <class T>
T answer(T result) {
  if (result >= 0) return result;
  errno = static_cast<int>(-result);
  return -1;
}

}  // namespace mxring::sim
