// Who is told of a failed assertion instead of standard error, which may have a reader that has
// stopped. What the hook does must be safe anywhere.
#pragma once

namespace mxring::base {

using AssertionHook = void (*)(const char* condition, const char* file, int line) noexcept;
void set_assertion_hook(AssertionHook hook);  // before threads start

}  // namespace mxring::base
