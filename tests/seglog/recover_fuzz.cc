// Write a log, damage it, recover it, append, read: the input says what is written and what is
// damaged (mutation.cc).
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "tests/seglog/mutation.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string verdict =
      mxring::seglog::test::write_mutate_recover({reinterpret_cast<const char*>(data), size});
  if (!verdict.empty()) {
    std::fprintf(stderr, "%s\n", verdict.c_str());
    std::abort();
  }
  return 0;
}
