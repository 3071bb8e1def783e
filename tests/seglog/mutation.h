// Write a log, damage it, recover it, append, read it: one round, steered by arbitrary bytes. Used
// by the random test and by the fuzz target.
#pragma once

#include <string>
#include <string_view>

namespace mxring::seglog::test {

// An empty string, or what went wrong.
std::string write_mutate_recover(std::string_view script);

}  // namespace mxring::seglog::test
