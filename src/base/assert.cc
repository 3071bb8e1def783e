#include "base/assert.h"

#include <cstdio>
#include <cstdlib>

#include "base/assertion_hook.h"

namespace mxring::base {

namespace {
AssertionHook hook = nullptr;
}  // namespace

void set_assertion_hook(AssertionHook the_hook) {
  hook = the_hook;
}

void assertion_failed(const char* condition, const char* file, int line) noexcept {
  if (hook != nullptr) {
    hook(condition, file, line);
    std::abort();
  }
  std::fprintf(stderr, "mxring: assertion failed: %s (%s:%d)\n", condition, file, line);
  std::abort();
}

}  // namespace mxring::base
