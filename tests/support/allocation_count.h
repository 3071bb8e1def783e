// How often this thread has called operator new since it began. Linking allocation_count.cc
// replaces the global operators of the program.
#pragma once

#include <cstdint>

namespace mxring::test {

std::uint64_t allocation_count();

}  // namespace mxring::test
