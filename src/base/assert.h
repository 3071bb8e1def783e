// Assertions that stay on in release builds. They guard our own reasoning, never remote input:
// anything a client or a file can provoke is an error value instead.
#pragma once

namespace mxring::base {

// Prints the failed condition and aborts, so that no later step acts on a broken invariant.
[[noreturn]] void assertion_failed(const char* condition, const char* file, int line) noexcept;

}  // namespace mxring::base

#define MXRING_ASSERT(condition)                     \
  (__builtin_expect(static_cast<bool>(condition), 1) \
       ? static_cast<void>(0)                        \
       : ::mxring::base::assertion_failed(#condition, __FILE__, __LINE__))
