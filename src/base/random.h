// Random bytes: from the kernel, fetched in advance, or from a seed where a run must be repeatable.
// The one door through which randomness comes in, apart from the keys that wolfSSL makes.
//
// Thread: any; each thread has its own source. Failure: none, a kernel without randomness ends the
// process.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mxring::base {

void random_bytes(void* out, std::size_t size);
std::uint64_t random_u64();

// For simulations: what this thread asks for from now on follows from the seed and nothing else.
void seed_random(std::uint64_t seed);

}  // namespace mxring::base
