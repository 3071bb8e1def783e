// The counting allocator of this programme (allocation.cc).
#pragma once

namespace mxring::cli {

// Before any thread is started.
void install_allocation_counter();

}  // namespace mxring::cli
