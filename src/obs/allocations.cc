#include "obs/allocations.h"

namespace mxring::obs {

namespace {

AllocationCounter g_counter = nullptr;

}  // namespace

void set_allocation_counter(AllocationCounter counter) {
  g_counter = counter;
}

std::uint64_t thread_allocations() {
  return g_counter == nullptr ? 0 : g_counter();
}

}  // namespace mxring::obs
