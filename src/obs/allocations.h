// How many heap allocations the calling thread has made. The programme that replaces operator new
// (src/cli/allocation.cc, tests) installs the counter; without one the answer is always 0.
#pragma once

#include <cstdint>

namespace mxring::obs {

using AllocationCounter = std::uint64_t (*)();

void set_allocation_counter(AllocationCounter counter);  // before threads start
std::uint64_t thread_allocations();

}  // namespace mxring::obs
