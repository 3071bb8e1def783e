// seccomp: the system calls that a running server makes, and no others. One table names each with
// the reason; whoever needs one more adds its row. What is not in it fails with EPERM, so that a
// library that tries something new gets along without it; what starts programs, looks into other
// processes or makes memory executable is not in it.
//
// Installed once everything has started, on all threads at once, so that calls of the start only
// (new rings, limits, listening) are gone as well.
#pragma once

#include <expected>
#include <span>
#include <string>
#include <string_view>

namespace mxring::server {

struct SystemCallRule {
  std::string_view name;
  std::string_view reason;
};

// For documentation and tests; a name stands more than once when its arguments are looked at.
std::span<const SystemCallRule> system_call_rules();

// On every thread of this process. Needs no_new_privs. The error says why it could not be done.
std::expected<void, std::string> confine_system_calls();

}  // namespace mxring::server
